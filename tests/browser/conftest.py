"""Fixtures of the browser tests: ``lab``, ``voila``, ``page``, ``traffic``, ``screenshot``.

``module_page`` and ``module_traffic`` are a page that the tests of a module share, one after the
other: starting Lab and a kernel takes longer than most tests.
"""

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab import (
    Server,
    Traffic,
    find_chromium,
    kernels,
    new_page,
    open_browser,
    screenshot_folder,
    serve,
    stop_kernels,
)

HERE = Path(__file__).parent
# Pages that are open, each with its traffic and the servers that it may show.
OPEN: list[tuple[Any, Traffic, list[Server]]] = []


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
    if report.failed and report.when != "teardown":
        used = [shown for shown in OPEN if any(arg is shown[0] for arg in item.funcargs.values())]
        for number, (page, traffic, servers) in enumerate(used):
            for server in servers:
                report.sections.append((server.log.name, server.log.read_text()[-5000:]))
            console = "\n".join(f"{kind}: {text}" for kind, text in traffic.console)
            report.sections.append(("browser console", console[-5000:]))
            picture = screenshot_folder(servers[0].root) / f"failed-{item.name}-{number}.png"
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


# Ends with the last of these tests, and its event loop with it.
@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Any]:
    """One Chromium; its pages share nothing else."""
    with open_browser() as browser:
        yield browser


@pytest.fixture
def traffic() -> Traffic:
    """What this test's page asked for and said."""
    return Traffic()


@pytest.fixture(scope="module")
def module_traffic() -> Traffic:
    """What the module's page asked for and said."""
    return Traffic()


@pytest.fixture
def page(browser: Any, traffic: Traffic, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Playwright's page; the test fails if any of its requests would leave this machine."""
    names = [name for name in ("lab", "voila") if name in request.fixturenames]
    with watched(browser, traffic, [request.getfixturevalue(name) for name in names]) as page:
        yield page


@pytest.fixture(scope="module")
def module_page(browser: Any, module_traffic: Traffic, lab: Server) -> Iterator[Any]:
    """A page for JupyterLab that a module's tests share; the last one fails for its requests."""
    with watched(browser, module_traffic, [lab]) as page:
        yield page


@contextmanager
def watched(browser: Any, traffic: Traffic, servers: list[Server]) -> Iterator[Any]:
    """Open a page; in the end stop its kernels, and see that it asked for nothing outside."""
    labs = {server: kernels(server) for server in servers if server.app == "lab"}
    with new_page(browser, traffic) as page:
        OPEN.append((page, traffic, servers))
        try:
            yield page
        finally:
            OPEN.pop()
    for server, others in labs.items():
        stop_kernels(server, kernels(server) - others)
    assert traffic.outside == [], f"requests beyond this machine: {traffic.outside}"


@pytest.fixture
def screenshot(tmp_path: Path) -> Callable[[Any, str], Path]:
    """``screenshot(page, name)`` saves a picture and returns its path."""

    def take(page: Any, name: str) -> Path:
        path = screenshot_folder(tmp_path) / f"{name}.png"
        page.screenshot(path=path)
        return path

    return take
