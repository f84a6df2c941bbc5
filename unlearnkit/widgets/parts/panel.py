"""The base of all panels: a titled box with an explanation, a message line and its Python call."""

import functools
import html
import threading
import traceback
from collections.abc import Callable
from typing import Any, ClassVar, ParamSpec, Self, TypeVar

import anywidget
import ipywidgets
import traitlets

from unlearnkit.evaluation.original import cut_traceback

P = ParamSpec("P")
R = TypeVar("R")

# All colours come from Jupyter's theme; the fallbacks are for pages without one.
_CSS = """
.uk-panel {
  --uk-ink: var(--jp-ui-font-color1, var(--vscode-foreground, rgba(0, 0, 0, 0.87)));
  --uk-quiet: var(--jp-ui-font-color2, var(--vscode-foreground, rgba(0, 0, 0, 0.6)));
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
  gap: 10px; overflow: hidden; border: 1px solid var(--uk-line); border-radius: 6px;
  color: var(--uk-ink); font: 13px/1.45 var(--uk-ui);
}
.uk-panel .jupyter-widgets { max-width: 100%; }
.uk-panel > .jupyter-widgets, .uk-panel .uk-body, .uk-panel .uk-row {
  margin: 0; width: auto; min-width: 0; overflow: visible; flex-shrink: 0;
}
.uk-panel .uk-body { gap: 8px; }
.uk-panel .uk-row { flex-flow: row wrap; align-items: center; gap: 6px 12px; }
.uk-panel .uk-head .widget-html-content { line-height: inherit; white-space: normal; }
.uk-panel .uk-head p { margin: 0; color: var(--uk-quiet); max-width: 80ch; }
.uk-panel .uk-title { margin: 0; color: var(--uk-ink); font: 600 15px/1.5 var(--uk-ui); }
.uk-panel details { color: var(--uk-quiet); max-width: 80ch; }
.uk-panel summary { cursor: pointer; width: fit-content; }
.uk-panel .uk-row > .widget-slider { flex: 1 1 300px; max-width: 480px; }
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
/* the class is repeated to override ipywidgets, which removes the outline */
.uk-panel.uk-panel :focus-visible { outline: 2px solid var(--uk-brand); outline-offset: 2px; }
.uk-message:empty { display: none; }
.uk-message {
  border-left: 3px solid var(--uk-brand); border-radius: 3px; padding: 6px 10px;
  background: var(--uk-wash); color: var(--uk-ink);
}
.uk-message.uk-error { border-left-color: var(--uk-error); }
.uk-message p { margin: 0; overflow-wrap: anywhere; }
.uk-message .uk-kind { font-weight: 600; }
.uk-message.uk-error .uk-kind { color: var(--uk-error); }
.uk-message details { max-width: none; margin-top: 2px; }
.uk-message pre {
  margin: 6px 0 2px; max-height: 260px; overflow: auto; color: var(--uk-ink);
  font: 12px/1.4 var(--uk-mono); white-space: pre; background: none;
}
.uk-code {
  display: flex; flex-wrap: wrap; align-items: baseline; gap: 4px 8px; color: var(--uk-quiet);
}
.uk-code[hidden] { display: none; }
.uk-code > span { flex: none; }
.uk-code code {
  flex: 0 1 auto; min-width: 0; overflow-wrap: anywhere; white-space: pre-wrap; padding: 1px 6px;
  border-radius: 3px; background: var(--uk-wash); color: var(--uk-ink);
  font: 12px/1.5 var(--uk-mono);
}
.uk-code button {
  flex: none; border: 1px solid var(--uk-line); border-radius: 3px; padding: 0 8px;
  background: none; color: var(--uk-quiet); font: 12px/1.6 var(--uk-ui); cursor: pointer;
}
.uk-code button:hover { color: var(--uk-ink); background: var(--uk-wash); }
"""

# Only textContent is set, so no message or user-supplied name is interpreted as markup.
_MESSAGE_ESM = """
function render({ model, el }) {
  el.classList.add("uk-message");
  const make = (tag, text, parent) => {
    const node = parent.appendChild(document.createElement(tag));
    node.textContent = text;
    return node;
  };
  const show = () => {
    const { kind, text, details } = model.get("message");
    el.replaceChildren();
    el.classList.toggle("uk-error", kind === "error");
    el.setAttribute("role", kind === "error" ? "alert" : "status");
    if (!text) return;
    const line = make("p", "", el);
    make("span", kind === "error" ? "Error: " : "Note: ", line).className = "uk-kind";
    make("span", text, line).className = "uk-text";
    if (!details) return;
    const fold = make("details", "", el);
    make("summary", "Traceback", fold);
    make("pre", details, fold).tabIndex = 0;
  };
  show();
  model.on("change:message", show);
  return () => model.off("change:message", show);
}
export default { render };
"""

_CODE_ESM = """
function render({ model, el }) {
  el.classList.add("uk-code");
  el.innerHTML = '<span>The same in Python</span><code></code><button type="button"></button>';
  const [, code, button] = el.children;
  const show = () => {
    code.textContent = model.get("code");
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy the Python call");
    el.hidden = !model.get("code");
  };
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {   // no permission, or no https: select the text for Ctrl+C
      getSelection().selectAllChildren(code);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  show();
  button.addEventListener("click", copy);
  model.on("change:code", show);
  return () => model.off("change:code", show);
}
export default { render };
"""

_SILENCE = {"kind": "note", "text": "", "details": ""}


class _Message(anywidget.AnyWidget):
    """The message line with an optional traceback; it also carries the CSS of all panels."""

    _esm = _MESSAGE_ESM
    _css = _CSS
    message = traitlets.Dict(_SILENCE).tag(sync=True)


class CodeLine(anywidget.AnyWidget):
    """A Python call with a button that copies it."""

    _esm = _CODE_ESM
    code = traitlets.Unicode().tag(sync=True)


class Panel:
    """A box with a title, a line of explanation, a body, a message line and its Python call.

    Subclass it: set :attr:`title` and :attr:`explanation`, fill ``self.body.children`` in
    ``__init__``, write :meth:`refresh` and :attr:`code`, and pass every callback through
    :meth:`guard`. A panel displays itself as the result of a cell; use ``panel.widget`` in layouts.

    Observers may run in other threads than cells, buttons wait for a busy cell, and the callbacks
    of a job run in the job's thread. Traits can be set in all of them; the output of ``print`` is
    not shown, so use :meth:`say`.

    Attributes:
        title: the heading.
        explanation: one sentence below the heading on what the panel shows.
        meaning: the text of the fold-out "What does this mean?", with its source.
        widget: the whole panel.
        body: the box for the widgets of the subclass.
        error: the exception behind the current error message, or None. Its traceback is
            kept as text only, because the local variables in it hold models and data.

    >>> class Greeting(Panel):
    ...     title = "Greeting"
    ...     def refresh(self):
    ...         self.body.children = [ipywidgets.Label("hello")]
    >>> Greeting().update().body.children[0].value
    'hello'
    """

    title: ClassVar[str] = ""
    explanation: ClassVar[str] = ""
    meaning: ClassVar[str] = ""

    def __init__(self) -> None:
        self.error: Exception | None = None
        # Counts messages, to tell whether a callback has left one.
        self._said = 0
        self._lock = threading.Lock()
        self._message = _Message()
        self._code_line = CodeLine()
        self.body = ipywidgets.VBox()
        self.body.add_class("uk-body")
        head = ipywidgets.HTML(_heading(self.title, self.explanation, self.meaning))
        head.add_class("uk-head")
        self.widget = ipywidgets.VBox([head, self.body, self._message, self._code_line])
        self.widget.add_class("uk-panel")

    @property
    def code(self) -> str:
        """The Python call equivalent to the current settings; empty if there is none."""
        return ""

    def refresh(self) -> None:
        """Update the body from its data; subclasses override this."""

    def update(self) -> Self:
        """Refresh the body and the code line; an error is shown in the message line."""
        self.guard(self.refresh)()
        return self

    @property
    def message(self) -> str:
        """The current message; empty if there is none."""
        return str(self._message.message["text"])

    @property
    def traceback(self) -> str:
        """The traceback of the current error as text; empty if there is none."""
        return str(self._message.message["details"])

    def say(self, text: str) -> None:
        """Show a note, not an error, in the message line; an empty text clears it."""
        self._show({"kind": "note", "text": text, "details": ""}, None)

    def show_error(self, error: Exception) -> None:
        """Show an exception as one sentence, with its traceback in a fold-out."""
        frames = error.__traceback__
        if frames is not None and frames.tb_frame.f_code.co_name == "guarded":
            frames = frames.tb_next  # leave out the frame of the wrapper
        details = "".join(traceback.format_exception(type(error), error, frames))
        cut_traceback(error)
        self._show({"kind": "error", "text": _sentence(error), "details": details}, error)

    def guard(self, callback: Callable[P, R], *, clears: bool = True) -> Callable[P, R | None]:
        """Wrap a widget's callback so that its exceptions are shown in the panel.

        After a success, an older message is cleared and the code line updated. The wrapped
        callback returns None where the original would raise.

        Args:
            callback: any callable.
            clears: whether a success clears an older message; False for progress callbacks, which
                must not remove a message that the user is reading.
        """

        @functools.wraps(callback)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R | None:
            said = self._said
            try:
                result = callback(*args, **kwargs)
                code = self.code
            # The only place that catches every exception: the panel shows it with its traceback.
            except Exception as error:
                self.show_error(error)
                return None
            self._code_line.code = code
            if clears and said == self._said and self.message:
                self.say("")
            return result

        return guarded

    def _show(self, message: dict[str, str], error: Exception | None) -> None:
        with self._lock:
            self._said += 1
            self.error = error
            self._message.message = message

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = self.widget._repr_mimebundle_(**kwargs)
        call = f"<p><code>{html.escape(self.code)}</code></p>" if self.code else ""
        return {
            **(bundle[0] if isinstance(bundle, tuple) else bundle),
            "text/plain": repr(self),
            # For viewers that run no widgets, such as a preview on the web.
            "text/html": f"<p><b>{html.escape(self.title)}</b>: a panel, interactive when the "
            f"notebook runs. {html.escape(self.explanation)}</p>{call}",
        }

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.message!r})"
            if self.message
            else (f"{type(self).__name__}()")
        )


def row(*children: ipywidgets.Widget) -> ipywidgets.HBox:
    """Put widgets side by side; on narrow pages they wrap."""
    box = ipywidgets.HBox(children)
    box.add_class("uk-row")
    return box


def _heading(title: str, explanation: str, meaning: str) -> str:
    fold = f"<details><summary>What does this mean?</summary>{html.escape(meaning)}</details>"
    return f'<h3 class="uk-title">{html.escape(title)}</h3><p>{html.escape(explanation)}</p>' + (
        fold if meaning else ""
    )


def _sentence(error: Exception) -> str:
    """Format an exception as one line.

    The package's own errors are sentences already; others are prefixed with their type.

    >>> _sentence(ValueError("num_slices=12 is too many; use at most 10."))
    'num_slices=12 is too many; use at most 10.'
    >>> _sentence(KeyError("no method 'x'; known: a, b"))
    "no method 'x'; known: a, b"
    >>> _sentence(ZeroDivisionError("division by zero"))
    'ZeroDivisionError: division by zero'
    """
    # str() of a KeyError is the repr of its message.
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip()
    line = text.splitlines()[0] if text else "no further message"
    spoken = isinstance(error, ValueError | TypeError | KeyError | RuntimeError) and " " in text
    return line if spoken else f"{type(error).__name__}: {line}"
