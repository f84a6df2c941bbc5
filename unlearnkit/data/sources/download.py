"""Downloads through scikit-learn's fetchers, which keep a cache, with a time limit."""

import http.client
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
    """Fetch a dataset from OpenML or from scikit-learn's cache.

    Args:
        name: name of the dataset at OpenML.
        version: its version.
        data_id: its id, to check whether the server can be reached.
        as_frame: whether to return a DataFrame.

    Returns:
        The result of scikit-learn's ``fetch_openml``.

    Raises:
        OSError: the dataset is not cached, and was not delivered in time or is unusable.
    """

    def fetch() -> Any:
        from sklearn.datasets import fetch_openml  # slow to import, seldom needed

        return fetch_openml(name=name, version=version, as_frame=as_frame, n_retries=1, delay=0.1)

    cached = f"openml/**/{name.lower()}/**/*.gz"
    return bounded(fetch, f"{OPENML_URL}{data_id}", cached)


def bounded(fetch: Callable[[], T], address: str, cached: str) -> T:
    """Call a fetcher with a time limit and return its result.

    Args:
        fetch: one of scikit-learn's fetchers.
        address: address that must answer first, unless there are cached files.
        cached: pattern of the cached files in scikit-learn's folder.

    Raises:
        OSError: the data are not cached, and were not delivered in time or are unusable.
    """
    home = Path(os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")).expanduser()
    if not any(home.glob(cached)):
        _within(PROBE_SECONDS, partial(_reach, address))
    try:
        return _within(DOWNLOAD_SECONDS, fetch)
    except ValueError as error:  # an error that OpenML reports, or a damaged download
        raise OSError(f"the answer is unusable: {error}") from error


def fetched(title: str, network: str, download: Callable[[], T]) -> T:
    """Download a dataset that is not searched in folders.

    Args:
        title: name of the dataset for display.
        network: service for the download, for the error message.
        download: downloads the dataset, and may raise OSError.

    Raises:
        FileNotFoundError: the dataset was not delivered; the message says how to get it.
    """
    try:
        return download()
    except (OSError, http.client.HTTPException) as error:
        raise FileNotFoundError(
            f"{title} is not on this machine and {network} did not deliver it "
            f"({type(error).__name__}: {error}). Any of these helps: connect to the network; copy "
            "scikit-learn's data folder from another machine and set SCIKIT_LEARN_DATA to it; "
            "read your own file with from_file; or use load('digits'), which needs no files."
        ) from error


def not_published(title: str, what: str) -> ValueError:
    """Make the error for a download that differs from the published dataset."""
    return ValueError(
        f"the downloaded copy of {title} is not the published data: {what}; delete scikit-learn's "
        "copy and fetch it again, or load your own file of it with from_file"
    )


def _reach(address: str) -> None:
    request = urllib.request.Request(address, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=PROBE_SECONDS).close()
    except urllib.error.HTTPError:
        pass  # any answer shows that the server can be reached


def _within(seconds: float, function: Callable[[], T]) -> T:
    """Return the function's result, or raise TimeoutError after this many seconds.

    The function runs in a daemon thread, because neither name resolution nor the fetchers accept a
    time limit, and because other threads would keep the interpreter from exiting.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # result() raises it in the caller
            future.set_exception(error)

    threading.Thread(target=run, daemon=True, name="unlearnkit-download").start()
    try:
        return future.result(seconds)
    except TimeoutError as error:
        # A socket's timeout has a message; that of Future.result has none.
        raise TimeoutError(str(error) or f"no answer within {seconds:g} seconds") from error
