"""Work of a study in several processes of this machine, or in this one."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, TypeVar

from unlearnkit.progress import OnProgress, Run, running, silent

Result = TypeVar("Result")


def results_of(
    function: Callable[..., Result], calls: Iterable[tuple[Any, ...]], run: Run
) -> Iterator[Result]:
    """Call a function for each tuple of arguments, and yield the results as they come.

    With workers, results come in any order, and an object among the arguments is a copy.

    Args:
        function: a function of a module; its last argument is a callable that gets events.
        calls: the other arguments of each call.
        run: gives the number of workers; None of them calls the function here. It is checked
            before each call here, and after each result of a worker.

    Raises:
        Cancelled: the run was cancelled.
    """
    if run.parallel is None:
        for arguments in calls:
            run.check()
            yield function(*arguments, run.details)
        return
    waiting = list(calls)
    if not waiting:
        return
    import joblib

    # Memory maps are off, because they would write examples to files.
    pool = joblib.Parallel(
        run.parallel, return_as="generator_unordered", batch_size=1, max_nbytes=None
    )
    with closing(pool(joblib.delayed(_called)(function, each) for each in waiting)) as results:
        for result in results:
            yield result
            run.check()


def _called(
    function: Callable[..., Result], arguments: tuple[Any, ...], told: OnProgress = silent
) -> Result:
    with running(False):
        return function(*arguments, told)
