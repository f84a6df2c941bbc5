"""The style sheet of all panels, whose colours come from Jupyter's theme."""

# The fallbacks are for pages without a theme. Quiet text is the ink, thinned only so far that it
# keeps a contrast of 4.5:1 on the page and on a wash.
CSS = """
.uk-panel, .uk-dashboard {
  --uk-ink: var(--jp-ui-font-color1, var(--vscode-foreground, rgba(0, 0, 0, 0.87)));
  --uk-quiet: color-mix(in srgb, var(--uk-ink) 80%, transparent);
  --uk-line: var(--jp-border-color2, rgba(128, 128, 128, 0.35));
  --uk-wash: var(--jp-layout-color2, rgba(128, 128, 128, 0.1));
  --uk-brand: var(--jp-brand-color1, #0072b2);
  --uk-page: var(--jp-layout-color0, var(--vscode-editor-background, Canvas));
  --uk-error: var(--jp-error-color1, #c62828);
  --uk-ui: var(--jp-ui-font-family, system-ui, sans-serif);
  --uk-mono: var(--jp-code-font-family, ui-monospace, Menlo, monospace);
}
.jupyter-widgets.uk-panel {
  box-sizing: border-box; width: 100%; min-width: 0; margin: 0; padding: 12px 16px;
  gap: 10px; overflow: clip; border: 1px solid var(--uk-line); border-radius: 6px;
  color: var(--uk-ink); font: 13px/1.45 var(--uk-ui);
}
.uk-panel .jupyter-widgets { max-width: 100%; }
.uk-panel > .jupyter-widgets, .uk-panel .uk-body, .uk-panel .uk-row {
  margin: 0; width: auto; min-width: 0; overflow: visible; flex-shrink: 0;
}
.uk-panel .uk-body { gap: 8px; }
.uk-panel .uk-row { flex-flow: row wrap; align-items: center; gap: 6px 12px; }
.uk-panel details { color: var(--uk-quiet); max-width: 80ch; }
.uk-panel summary { cursor: pointer; width: fit-content; }
.uk-panel .uk-row > .widget-slider { flex: 1 1 300px; max-width: 480px; }
/* what acts on a long list stays in sight below it */
.uk-panel .uk-row.uk-actions {
  position: sticky; bottom: 0; z-index: 4; padding: 4px 0; background: var(--uk-page);
}
/* ipywidgets truncates labels after 80 px */
.uk-panel .widget-label { color: var(--uk-ink); width: auto; min-width: 0; flex-shrink: 0; }
.uk-panel .widget-checkbox .widget-label-basic {
  display: flex; align-items: center; height: var(--jp-widgets-inline-height, 28px);
}
.uk-panel .widget-checkbox input { margin: 0 8px 0 0; }
.uk-panel .widget-readout { color: var(--uk-ink); }
/* the arrow of ipywidgets is black even in dark themes; this grey is visible in both */
.uk-panel .widget-dropdown > select {
  background-image: url("data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' \
viewBox='0 0 18 18'%3E%3Cpath d='M4 7l5 5 5-5' fill='none' stroke='%23888' \
stroke-width='2'/%3E%3C/svg%3E");
}
.uk-panel :is(input, textarea)::placeholder { color: var(--uk-quiet); opacity: 1; }
/* the class is repeated to override ipywidgets, which removes the outline */
.uk-panel.uk-panel :focus-visible, .uk-dashboard.uk-dashboard :focus-visible {
  outline: 2px solid var(--uk-brand); outline-offset: 2px;
}
/* ipywidgets marks every part of a panel whose kernel is gone; one sentence says it better */
.uk-panel .jupyter-widgets-disconnected::before,
.uk-dashboard .jupyter-widgets-disconnected::before { content: none; }
.uk-panel.jupyter-widgets-disconnected::before,
.uk-dashboard.jupyter-widgets-disconnected::before {
  content: "The kernel that drives this panel has stopped or was restarted. Run the cell again."
    !important;
  position: static; display: block; margin: 0 0 8px; padding: 6px 10px; width: auto; height: auto;
  border-left: 3px solid var(--uk-error); border-radius: 3px; background: var(--uk-wash);
  color: var(--uk-ink); font: 13px/1.45 var(--uk-ui); text-align: left; opacity: 1;
}
.uk-dashboard.jupyter-widgets-disconnected .uk-panel::before { content: none !important; }
"""
