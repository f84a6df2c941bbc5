"""The base of all panels: a titled box with an explanation, a message line and its Python call."""

import functools
import threading
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, ClassVar, ParamSpec, Self, TypeVar

import ipywidgets

from unlearnkit.evaluation.original import cut_traceback
from unlearnkit.widgets.parts.elements.fallback import bundle
from unlearnkit.widgets.parts.elements.head import Head
from unlearnkit.widgets.parts.elements.message import Message
from unlearnkit.widgets.parts.elements.subshells import survive_reloads
from unlearnkit.widgets.saved.outputs import Copy, show, touch
from unlearnkit.widgets.saved.picture import picture_of

P = ParamSpec("P")
R = TypeVar("R")


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
        runners: the runners of the panel's jobs; each adds itself.
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
        self._watchers: list[Callable[[], object]] = []
        self.runners: list[Any] = []
        self._copies: list[Copy] = []
        self._lock = threading.Lock()
        self._message = Message()
        self._code_line = Head(title=self.title, explanation=self.explanation, meaning=self.meaning)
        self.body = ipywidgets.VBox()
        self.body.add_class("uk-body")
        # The message stands above the body, where it is in sight however long the body is.
        self.widget = ipywidgets.VBox([self._code_line, self._message, self.body])
        self.widget.add_class("uk-panel")
        survive_reloads()

    @property
    def code(self) -> str:
        """The Python call equivalent to the current settings; empty if there is none."""
        return ""

    def refresh(self) -> None:
        """Update the body from its data; subclasses override this."""

    def moment(self) -> tuple[Any, ...]:
        """Return objects of which one is replaced whenever what the panel shows has changed."""
        return ()

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
        """Show an exception as one sentence.

        A sentence of this package, which says what was wrong with a value, stands alone; every
        other exception has its traceback in a fold-out.
        """
        frames = error.__traceback__
        if frames is not None and frames.tb_frame.f_code.co_name == "guarded":
            frames = frames.tb_next  # leave out the frame of the wrapper
        details = ""
        if not (_is_spoken(error) and _raised_here(frames)):
            details = "".join(traceback.format_exception(type(error), error, frames))
        cut_traceback(error)
        self._show({"kind": "error", "text": sentence_of(error), "details": details}, error)

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
                self._tell()
                return None
            self._code_line.code = code
            if clears and said == self._said and self.message:
                self.say("")
            self._tell()
            return result

        return guarded

    def watch(self, watcher: Callable[[], object]) -> None:
        """Call ``watcher`` after every callback of this panel, in the thread of the callback."""
        self._watchers.append(watcher)

    def _tell(self) -> None:
        touch()
        for watcher in self._watchers:
            watcher()

    def _show(self, message: dict[str, str], error: Exception | None) -> None:
        with self._lock:
            self._said += 1
            self.error = error
            self._message.message = message
        touch()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return bundle(self.widget, repr(self), picture_of(self.widget))

    def _ipython_display_(self) -> None:
        self._copies.append(show(self.widget, lambda: repr(self)))

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


def sentence_of(error: Exception) -> str:
    """Format an exception as one line.

    The package's own errors are sentences already; others are prefixed with their type.

    >>> sentence_of(ValueError("num_slices=12 is too many; use at most 10."))
    'num_slices=12 is too many; use at most 10.'
    >>> sentence_of(KeyError("no method 'x'; known: a, b"))
    "no method 'x'; known: a, b"
    >>> sentence_of(ZeroDivisionError("division by zero"))
    'ZeroDivisionError: division by zero'
    """
    text = _text(error)
    line = text.splitlines()[0] if text else "no further message"
    return line if _is_spoken(error) else f"{type(error).__name__}: {line}"


def _text(error: Exception) -> str:
    # str() of a KeyError is the repr of its message.
    return str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip()


def _is_spoken(error: Exception) -> bool:
    """Return whether the message of an exception is a sentence."""
    kinds = ValueError | TypeError | LookupError | RuntimeError
    return isinstance(error, kinds) and " " in _text(error)


def _raised_here(frames: TracebackType | None) -> bool:
    """Return whether an exception was raised by the code of this package."""
    while frames is not None and frames.tb_next is not None:
        frames = frames.tb_next
    name = "" if frames is None else str(frames.tb_frame.f_globals.get("__name__", ""))
    return name.partition(".")[0] == __name__.partition(".")[0]
