"""Fixtures of the browser tests: ``lab``, ``voila``, ``page``, ``traffic``, ``screenshot``."""

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
WATCHED = pytest.StashKey[tuple[Any, Any, list[Path], Path]]()
# So that `from lab import ...` works under every import mode of pytest.
sys.path.insert(0, str(HERE))

from lab import Server, Traffic, find_chromium, open_page, screenshot_folder, serve, stop_kernels  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Chromium and Playwright")


# First, so that `-m` sees the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """On failure, keep the end of the server's log and what the page looked like."""
    report = yield
    watched = item.stash.get(WATCHED, None)
    if report.failed and watched and report.when != "teardown":
        page, traffic, logs, folder = watched
        for log in logs:
            report.sections.append((log.name, log.read_text()[-5000:]))
        console = "\n".join(f"{kind}: {text}" for kind, text in traffic.console)
        report.sections.append(("browser console", console[-5000:]))
        picture = screenshot_folder(folder) / f"failed-{item.name}.png"
        page.screenshot(path=picture)
        report.sections.append(("screenshot", str(picture)))
    return report


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Chromium; without it or Playwright the test is skipped, or fails in CI."""
    path = find_chromium()
    missing = None
    if path is None:
        missing = "no Chromium: apt-get install chromium, or set UNLEARNKIT_CHROMIUM"
    elif importlib.util.find_spec("playwright") is None:
        missing = "no Playwright: pip install 'unlearnkit[test]'"
    if missing and os.environ.get("UNLEARNKIT_REQUIRE_BROWSER") == "1":
        pytest.fail(f"UNLEARNKIT_REQUIRE_BROWSER=1, but {missing}")
    if missing:
        pytest.skip(missing)
    return str(path)


@pytest.fixture(scope="session")
def lab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A JupyterLab that serves ``lab.root``; one for all tests, so give notebooks own names."""
    with serve(tmp_path_factory.mktemp("lab"), "lab") as server:
        yield server


@pytest.fixture(scope="session")
def voila(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A Voila that serves ``voila.root``."""
    with serve(tmp_path_factory.mktemp("voila"), "voila") as server:
        yield server


@pytest.fixture
def traffic() -> Traffic:
    """What this test's page asked for and said."""
    return Traffic()


@pytest.fixture
def page(
    chromium: str, traffic: Traffic, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Any]:
    """Playwright's page; the test fails if any of its requests would leave this machine."""
    names = [name for name in ("lab", "voila") if name in request.fixturenames]
    servers = [request.getfixturevalue(name) for name in names]
    with open_page(traffic) as page:
        request.node.stash[WATCHED] = (page, traffic, [server.log for server in servers], tmp_path)
        yield page
    for server in servers:
        if server.app == "lab":
            stop_kernels(server)
    assert traffic.outside == [], f"requests beyond this machine: {traffic.outside}"


@pytest.fixture
def screenshot(tmp_path: Path) -> Callable[[Any, str], Path]:
    """``screenshot(page, name)`` saves a picture and returns its path."""

    def take(page: Any, name: str) -> Path:
        path = screenshot_folder(tmp_path) / f"{name}.png"
        page.screenshot(path=path)
        return path

    return take
