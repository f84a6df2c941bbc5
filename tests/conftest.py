"""What every test runs under: checked shapes, and a plain word when a browser is missing."""

import importlib.util
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from shapes import check_package

# Several processes of pytest-xdist use one core each: torch reads this when it is imported, and by
# default no more threads train shards than torch computes with.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A wrong shape in a call of our own then fails the test that makes the call. It has to happen
# before anything imports unlearnkit; UNLEARNKIT_TYPECHECK=0 shows what an unchecked user sees.
if os.environ.get("UNLEARNKIT_TYPECHECK", "1") != "0":
    check_package("unlearnkit")


# Two shared cores make single examples slow now and then, which says nothing about the code.
settings.register_profile("unlearnkit", deadline=None)
settings.load_profile("unlearnkit")

# Set by .ci/run: there a skipped browser test is a failure.
REQUIRE_BROWSER = os.environ.get("UNLEARNKIT_REQUIRE_BROWSER", "0") not in ("", "0")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A notebook or a browser test starts a kernel and imports torch, on two shared cores.
NOTEBOOK_SECONDS = 600
BROWSER_SECONDS = 300


@pytest.fixture(autouse=True, scope="session")
def no_power_failures() -> Iterator[None]:
    """Wait for no disk: tests kill processes, but cut nobody's power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which refuses a closed file as well
        yield


@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without data, without scikit-learn's cache and without a network."""
    from unlearnkit.data.sources import locate

    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("no network in this test")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "cache"))
    monkeypatch.delenv("UNLEARNKIT_DATA", raising=False)
    monkeypatch.setattr(locate, "SYSTEM_ROOTS", ("data", "~/data"))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return tmp_path


@pytest.fixture(scope="module")
def indebted():
    """Shard 2 owes an example of its first slice and one of its third; nothing is pending."""
    from cases import CASES

    session = CASES["uneven"].session()
    session.train()
    partition = session.plan.partition
    places = ((2, 1), (2, 3))
    session.revoke(
        [int(partition.ids[(partition.shard == s) & (partition.slice_ == r)][0]) for s, r in places]
    )
    session.unlearn(0.0)
    return session


def find_chromium() -> str | None:
    """Return the Chromium to drive: $UNLEARNKIT_CHROMIUM, else the first one on the path."""
    chosen = os.environ.get("UNLEARNKIT_CHROMIUM")
    candidates = (chosen,) if chosen else (*CHROMIUM_NAMES, "/usr/bin/chromium")
    return next((path for name in candidates if (path := shutil.which(name))), None)


def missing_for_browser() -> str | None:
    """Say what a browser test lacks on this machine, or return None."""
    missing = [name for name in ("playwright", "jupyterlab") if not importlib.util.find_spec(name)]
    if find_chromium() is None:
        missing.append("Chromium (Debian: apt-get install chromium, or set UNLEARNKIT_CHROMIUM)")
    return f"browser tests need {', '.join(missing)}" if missing else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give notebooks and browser tests the time that they need, and run the browser last."""
    for item in items:
        if item.get_closest_marker("timeout"):
            continue
        if item.path.suffix == ".ipynb":
            item.add_marker(pytest.mark.timeout(NOTEBOOK_SECONDS))
        elif item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.timeout(BROWSER_SECONDS))
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Where browser tests are required, a run that selects none of them is a failure as well."""
    chosen = any(item.get_closest_marker("browser") for item in session.items)
    if REQUIRE_BROWSER and not chosen:
        raise pytest.UsageError("UNLEARNKIT_REQUIRE_BROWSER is set, but no browser test is chosen")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a browser test that lacks something, saying what."""
    if item.get_closest_marker("browser") and (reason := missing_for_browser()):
        pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Turn each skip of a browser test into a failure where browser tests are required."""
    report = yield
    if REQUIRE_BROWSER and report.skipped and item.get_closest_marker("browser"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{Path(item.path).name}: required here, but it was skipped: {reason}"
    return report
