"""The models from before a request, which are kept for comparison until they are discarded."""

import sys
from collections.abc import Callable
from types import TracebackType
from weakref import WeakMethod

from unlearnkit.training.ensemble import Ensemble

PACKAGE = __name__.partition(".")[0]


class Original:
    """The models from before a request: one object for a session, its forks and their panels.

    Attributes:
        ensemble: the models; None before the first request, and once they are discarded.
    """

    def __init__(self, ensemble: Ensemble | None = None) -> None:
        self.ensemble = ensemble
        self._watchers: list[WeakMethod[Callable[[], object]]] = []

    def __repr__(self) -> str:
        return f"Original({'discarded' if self.ensemble is None else self.ensemble!r})"

    def watch(self, callback: Callable[[], object]) -> None:
        """Call a method, which is referred to weakly, once the models are to be released.

        It must release what its object holds of them, and must not raise.
        """
        alive = [each for each in self._watchers if each() is not None]
        self._watchers = [*alive, WeakMethod(callback)]

    def discard(self) -> None:
        """Drop the models, also those that watchers and errors hold."""
        self.ensemble = None
        self.tell()
        cut_last_error()

    def tell(self) -> None:
        """Call all watchers; a session does so when the next request replaces its original."""
        for reference in self._watchers:
            callback = reference()
            if callback is not None:
                callback()


def cut_last_error() -> None:
    """Take this package's functions out of Python's last uncaught error, as cut_traceback does.

    Python keeps that error for debuggers.
    """
    for name in ("last_exc", "last_value"):
        error = getattr(sys, name, None)
        if isinstance(error, BaseException):
            cut_traceback(error)


def cut_traceback(error: BaseException) -> None:
    """End the traceback of an error, and of those behind it, before this package's first function.

    A traceback keeps the local variables of all functions in it, and their closures; in those of
    this package, and in those that they called, there are models and data.
    """
    todo: list[BaseException | None] = [error]
    seen: set[int] = set()
    while todo:
        each = todo.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        todo += [each.__cause__, each.__context__]
        trace = each.__traceback__
        if trace is not None and _is_own(trace):
            each.__traceback__ = None
        # Cut in place, because others may hold the same traceback, such as IPython.
        while trace is not None:
            following = trace.tb_next
            if following is not None and _is_own(following):
                trace.tb_next = None
            trace = following


def _is_own(trace: TracebackType) -> bool:
    return str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0] == PACKAGE
