"""Downloads through scikit-learn's fetchers, which keep a cache, within bounded time."""

import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

OPENML_URL = "https://www.openml.org/api/v1/json/data/"
PROBE_SECONDS = 5.0
DOWNLOAD_SECONDS = 600.0


def from_openml(name: str, version: int, data_id: int, *, as_frame: bool = False) -> Any:
    """OpenML's dataset of this name, or scikit-learn's cache of it, as its fetcher returns it.

    Raises:
        OSError: not cached, and not delivered in time or not usable.
    """

    def fetch() -> Any:
        from sklearn.datasets import fetch_openml  # slow to import, seldom needed

        return fetch_openml(name=name, version=version, as_frame=as_frame, n_retries=1, delay=0.1)

    cached = f"openml/**/{name.lower()}/**/*.gz"
    return bounded(fetch, f"{OPENML_URL}{data_id}", cached)


def bounded(fetch: Callable[[], T], address: str, cached: str) -> T:
    """What a fetcher returns.

    Args:
        fetch: one of scikit-learn's.
        address: asked first whether it can be reached, unless there are cached files.
        cached: pattern of these, in scikit-learn's folder.

    Raises:
        OSError: not cached, and not delivered in time or not usable.
    """
    home = Path(os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")).expanduser()
    if not any(home.glob(cached)):
        _within(PROBE_SECONDS, partial(_reach, address))
    try:
        return _within(DOWNLOAD_SECONDS, fetch)
    except ValueError as error:  # OpenML's own errors, a damaged download
        raise OSError(f"the answer is unusable: {error}") from error


def _reach(address: str) -> None:
    request = urllib.request.Request(address, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        pass  # an answer, whatever it says: the machine can be reached


def _within(seconds: float, function: Callable[[], T]) -> T:
    """The function's result, or TimeoutError after so many seconds.

    A daemon thread, because neither name resolution nor the fetchers take a time limit, and
    because it must not keep the interpreter from ending (a thread pool would).
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # not swallowed: result() raises it in the caller
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="unlearnkit-download").start()
    try:
        return future.result(seconds)
    except TimeoutError as error:
        # Future.result says nothing of its own; a socket's time-out does.
        raise TimeoutError(str(error) or f"no answer within {seconds:g} seconds") from error
