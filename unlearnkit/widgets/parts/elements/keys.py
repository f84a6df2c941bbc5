"""Keys that belong to a focused control rather than to JupyterLab."""

# JupyterLab moves between cells on arrow keys, and enters a cell on Enter, unless the focused
# element carries an attribute that turns all its shortcuts off. The attribute is set for plain keys
# only, just before JupyterLab looks at it, so that Ctrl+S still saves the notebook.
KEYS_JS = """
const NEEDS_KEYS = ":is(.uk-panel, .uk-dashboard) :is(input, select, button, summary, a)";
const OFF = "data-lm-suppress-shortcuts";
if (!globalThis.__unlearnkit_keys) {
  globalThis.__unlearnkit_keys = true;
  window.addEventListener("keydown", (event) => {
    const { target } = event;
    if (!target.matches?.(NEEDS_KEYS)) return;
    const shortcut = event.ctrlKey || event.metaKey || (event.shiftKey && event.key === "Enter");
    if (shortcut) target.removeAttribute(OFF); else target.setAttribute(OFF, "true");
  }, true);
}
"""
