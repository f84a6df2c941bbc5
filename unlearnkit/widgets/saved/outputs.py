"""The two outputs of a widget: the widget itself, and what is left of it without a kernel.

They are two because one output that holds both shows only "model not found" where there is no
kernel, and because a picture can then be replaced without drawing the widget again. The picture has
a display id. It is replaced a moment after something changes, so that a saved notebook shows the
state in which it was saved, and it is hidden while the widget beside it is alive: by its style
sheet where that knows the page, and elsewhere by the widget, which has the picture's id.
"""

import threading
import uuid
import weakref
from collections.abc import Callable
from typing import Any

import ipywidgets

from unlearnkit.widgets.parts.elements.fallback import bundle
from unlearnkit.widgets.saved.picture import made, picture_of

PAUSE = 0.4  # seconds without a change, after which pictures are replaced
_MOST = 24  # as many displays are kept up to date; widgets live as long as their kernel
# In JupyterLab, Notebook 7, Voila and pages made from notebooks, a widget that is alive has
# elements; one that is not is a line of text, for which the picture stands.
_STYLE = (
    "<style>.jp-OutputArea-child:has(.jupyter-widgets *) + .jp-OutputArea-child:has(.uk-copy) "
    "{ display: none } .jp-OutputArea-child:has(+ .jp-OutputArea-child .uk-copy) "
    ".jupyter-widgets:not(:has(*), .jupyter-widgets *) { display: none } "
    ".uk-copy figure { display: inline-block; margin: 0 6px 6px 0 } "
    ".uk-copy img { max-width: 100% }"
    "</style>"
)


class Copy:
    """The picture of one display, which follows the state of its widget.

    Args:
        widget: the widget.
        words: returns its state in one line of text.
    """

    def __init__(self, widget: ipywidgets.Widget, words: Callable[[], str]) -> None:
        self.id = uuid.uuid4().hex
        self._widget, self._words = widget, words
        self._shown = ""

    def bundle(self) -> dict[str, str]:
        """Return the MIME data of the picture."""
        self._shown = picture_of(self._widget)
        return {
            "text/html": f'<div class="uk-copy" data-uk-copy="{self.id}">{self._shown}'
            f"<p><small>{made()}</small></p></div>{_STYLE}",
            "text/plain": self._words(),
        }

    def replace(self) -> None:
        """Show the present picture in place of an earlier one, if they differ."""
        if picture_of(self._widget) != self._shown:
            _publish(self.bundle(), display_id=self.id, update=True)


_copies: list["weakref.ref[Copy]"] = []
_lock = threading.Lock()
_timer: list[threading.Timer] = []


def show(widget: ipywidgets.Widget, words: Callable[[], str]) -> Copy:
    """Display a widget and a picture of it, each as an output.

    Args:
        widget: the widget.
        words: returns its state in one line of text.

    Returns:
        The copy, which is kept up to date as long as the caller holds it.
    """
    copy = Copy(widget, words)
    hiding = _hiding(widget)
    if hiding is not None:
        hiding.copies = [*hiding.copies, copy.id]
    view = bundle(widget, "", "")
    del view["text/html"]
    _publish(view)
    _publish(copy.bundle(), display_id=copy.id)
    with _lock:
        _copies.append(weakref.ref(copy))
        del _copies[:-_MOST]
    return copy


def _publish(bundle: dict[str, Any], **options: Any) -> None:
    from IPython.display import display

    display(bundle, raw=True, **options)  # type: ignore[no-untyped-call]


def _hiding(widget: ipywidgets.Widget) -> Any:
    """Return the first part of a widget that hides pictures in the page; None if none does."""
    if widget.has_trait("copies"):
        return widget
    parts = (_hiding(child) for child in getattr(widget, "children", ()))
    return next((part for part in parts if part is not None), None)


def touch() -> None:
    """Note that something has changed: pictures are replaced once that has paused."""
    with _lock:
        if not _copies:
            return
        for timer in _timer:
            timer.cancel()
        timer = threading.Timer(PAUSE, replace_all)
        timer.daemon = True
        _timer[:] = [timer]
        timer.start()


def replace_all() -> None:
    """Replace the pictures of all displays whose state has changed."""
    with _lock:
        copies = [copy for reference in _copies if (copy := reference()) is not None]
    for copy in copies:
        try:
            copy.replace()
        except Exception:  # a picture must not disturb the work that it shows
            continue
