"""Jupyter servers of our own and a Chromium to drive them, for the browser tests.

Nothing here touches the user's Jupyter folders, and no request of the browser gets anywhere but
127.0.0.1: every other host name fails to resolve, and :class:`Traffic` remembers the attempt.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat

TOKEN = "browser-tests"
LOCAL = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:")
# Voila's own page template asks a CDN for two icon style sheets; nothing of ours does.
VOILA_ICONS = "https://cdn.jsdelivr.net/npm/@fortawesome/"
# Milliseconds that a server, a kernel or a page may need to come up on a busy machine.
SLOW = 60_000
# Milliseconds that a page may take to answer a click, a resize or a theme.
PATIENCE = 30_000
# What is cut off or would need sideways scrolling, and plots that are not as wide as their place.
MISFITS = """() => {
  const parts = '.uk-panel, .uk-panel *, .jp-OutputArea-output:has(.uk-panel)';
  const cut = [...document.querySelectorAll(parts)].filter((node) =>
    node.clientWidth && node.scrollWidth > node.clientWidth + 1
    && getComputedStyle(node).overflowX !== 'visible' && !node.closest('.uk-scroll'))
    .map((node) => node.className);
  const late = [...document.querySelectorAll('.uk-plotview')].flatMap((view) => {
    const drawn = Number(view.querySelector('.main-svg')?.getAttribute('width') ?? 0);
    return view.clientWidth && Math.abs(view.clientWidth - drawn) > 1
      ? [`a plot ${drawn} px wide in ${view.clientWidth} px`] : [];
  });
  return [...cut, ...late];
}"""
# Titles and ticks of plots that are still in the ink of the other theme.
OTHER_INK = """(ink) => [...document.querySelectorAll('.uk-plotview')]
  .filter((view) => view.clientWidth)
  .flatMap((view) => [...view.querySelectorAll('.gtitle, .xtick text, .ytick text')])
  .filter((node) => getComputedStyle(node).fill.startsWith(ink)).map((node) => node.textContent)"""
WINDOW = {"width": 1280, "height": 900}
READY = """() => {
  const widget = window.jupyterapp?.shell.currentWidget;
  return widget?.sessionContext?.session?.kernel?.status === "idle";
}"""


@dataclass(frozen=True)
class Server:
    """A running Jupyter server.

    Attributes:
        base: its address, without a slash at the end.
        root: the folder that it serves; put notebooks here.
        log: the file with all that it printed.
        app: ``"lab"`` or ``"voila"``.
    """

    base: str
    root: Path
    log: Path
    app: str


@dataclass
class Traffic:
    """What a page asked for and said.

    Attributes:
        outside: addresses beyond this machine that were asked for.
        console: (kind, text) of all console messages and uncaught page errors.
        allowed: beginnings of outside addresses that the test knows about.
    """

    outside: list[str] = field(default_factory=list)
    console: list[tuple[str, str]] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        """The page's errors."""
        return [text for kind, text in self.console if kind in ("error", "pageerror")]


def find_chromium() -> str | None:
    """Return Chromium's path: ``$UNLEARNKIT_CHROMIUM``, Debian's place, or on PATH."""
    named = os.environ.get("UNLEARNKIT_CHROMIUM")
    if named:
        return named if os.access(named, os.X_OK) else None
    if os.access("/usr/bin/chromium", os.X_OK):
        return "/usr/bin/chromium"
    return shutil.which("chromium") or shutil.which("chromium-browser")


def write_notebook(path: Path, cells: Sequence[str]) -> Path:
    """Write a notebook of code cells for this environment's kernel."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


@contextlib.contextmanager
def serve(root: Path, app: str = "lab") -> Iterator[Server]:
    """Run JupyterLab or Voila on a free port with private folders, until the block ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = Path(tempfile.mkdtemp(prefix="unlearnkit-jupyter-"))
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "IPYTHONDIR": "ipython",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    environment = os.environ | {name: str(home / part) for name, part in folders.items()}
    # The "Jupyter news" pop-up would lie over the plots.
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(
        '{"fetchNews": "false", "checkForUpdates": false}'
    )
    base = f"http://127.0.0.1:{port}"
    if app == "lab":
        command = [
            *(sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"),
            *(f"--port={port}", "--ServerApp.ip=127.0.0.1", f"--ServerApp.root_dir={root}"),
            *(f"--IdentityProvider.token={TOKEN}", "--LabApp.expose_app_in_browser=True"),
            *("--LabApp.news_url=", "--LabApp.extension_manager=readonly"),
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ]
        ready = f"{base}/api?token={TOKEN}"
    else:
        command = [sys.executable, "-m", "voila", str(root), f"--port={port}", "--no-browser"]
        command += ["--Voila.ip=127.0.0.1"]
        ready = f"{base}/voila/static/"
    log = root / f".{app}.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command, env=environment, stdout=out, stderr=subprocess.STDOUT, cwd=root
        )
        try:
            _await_answer(process, ready, log)
            yield Server(base, root, log, app)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            shutil.rmtree(home, ignore_errors=True)


def _await_answer(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n{log.read_text()}")
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except urllib.error.HTTPError:
            return  # it answers, so it is up
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@contextlib.contextmanager
def open_browser() -> Iterator[Any]:
    """Start a Chromium that can reach 127.0.0.1 only."""
    # Playwright keeps an event loop on the thread that uses it until the block ends: other tests,
    # nbmake's for one, start loops of their own.
    from playwright.sync_api import sync_playwright

    flags = ["--disable-gpu", "--disable-quic", "--disable-background-networking"]
    flags += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium's sandbox refuses to run as root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=flags)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def new_page(browser: Any, traffic: Traffic) -> Iterator[Any]:
    """Open a page that shares nothing with the browser's others, and note what it asks for."""
    context = browser.new_context(viewport=WINDOW)

    def note(url: str) -> None:
        if not url.startswith((*LOCAL, *traffic.allowed)):
            traffic.outside.append(url)

    context.on("request", lambda request: note(request.url))
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("websocket", lambda socket: note(socket.url))
    page.on("console", lambda said: traffic.console.append((said.type, said.text)))
    page.on("pageerror", lambda error: traffic.console.append(("pageerror", str(error))))
    try:
        yield page
    finally:
        context.close()


@contextlib.contextmanager
def open_page(traffic: Traffic) -> Iterator[Any]:
    """Open a page in a Chromium of its own."""
    with open_browser() as browser, new_page(browser, traffic) as page:
        yield page


def open_notebook(page: Any, server: Server | str, notebook: str | Path) -> None:
    """Open a notebook in JupyterLab and wait until its kernel is idle.

    Args:
        page: Playwright's page.
        server: the ``lab`` fixture, or a JupyterLab's address.
        notebook: path under the server's root.
    """
    base = server if isinstance(server, str) else server.base
    # A workspace of its own, or Lab would open the notebooks of earlier tests beside this one.
    address = f"{base}/lab/workspaces/{uuid.uuid4().hex}/tree/{notebook}?token={TOKEN}"
    page.goto(address, wait_until="domcontentloaded")
    await_kernel(page)


def await_kernel(page: Any) -> None:
    """Wait until JupyterLab shows a notebook whose kernel is idle."""
    page.wait_for_selector(".jp-NotebookPanel .jp-Notebook .jp-Cell", timeout=SLOW)
    page.wait_for_function(READY, timeout=SLOW)


def open_and_run(page: Any, server: Server | str, notebook: str | Path) -> None:
    """Open a notebook in JupyterLab, run all its cells, and wait for the last one."""
    open_notebook(page, server, notebook)
    command(page, "notebook:run-all-cells")


def open_voila(page: Any, server: Server, notebook: str | Path, traffic: Traffic) -> None:
    """Open a notebook as a stand-alone Voila page, and wait until its cells have run."""
    traffic.allowed.append(VOILA_ICONS)
    page.goto(f"{server.base}/voila/render/{notebook}", wait_until="load", timeout=SLOW)
    page.wait_for_selector(".jp-OutputArea", timeout=SLOW)


def kernels(server: Server) -> set[str]:
    """The sessions of JupyterLab's notebooks, each with a kernel."""
    with urllib.request.urlopen(_sessions(server)) as answer:
        return {session["id"] for session in json.load(answer)}


def stop_kernels(server: Server, sessions: set[str]) -> None:
    """End kernels of JupyterLab's notebooks, so that the next test has the machine's memory."""
    for session in sessions:
        urllib.request.urlopen(_sessions(server, f"/{session}", "DELETE")).close()


def _sessions(server: Server, one: str = "", method: str = "GET") -> urllib.request.Request:
    head = {"Authorization": f"token {TOKEN}"}
    address = f"{server.base}/api/sessions{one}"
    return urllib.request.Request(address, headers=head, method=method)


def command(page: Any, name: str, **arguments: Any) -> None:
    """Run one of JupyterLab's commands and wait for it."""
    page.evaluate(
        "async ([name, args]) => { await window.jupyterapp.commands.execute(name, args); }",
        [name, arguments],
    )


def set_theme(page: Any, theme: str) -> None:
    """Switch JupyterLab to ``"light"`` or ``"dark"``."""
    command(page, "apputils:change-theme", theme=f"JupyterLab {theme.title()}")
    light = "true" if theme == "light" else "false"
    page.wait_for_selector(f'body[data-jp-theme-light="{light}"]', state="attached")
    page.wait_for_selector("#jupyterlab-splash", state="detached")
    ink = "rgb(255, 255, 255" if theme == "light" else "rgb(0, 0, 0"
    eventually(page, lambda: page.evaluate(OTHER_INK, ink), f"in the wrong ink for {theme}")


def fresh(page: Any) -> None:
    """Give a page that tests share the size and the theme that it had, and one view."""
    page.set_viewport_size(WINDOW)
    page.evaluate(
        """() => { for (const view of [...window.jupyterapp.shell.widgets("main")])
          if (!view.sessionContext) view.close(); }"""
    )
    set_theme(page, "light")


def eventually(page: Any, look: Callable[[], Sequence[object]], says: str) -> None:
    """Wait until nothing wrong is found any more.

    Args:
        page: Playwright's page.
        look: returns what is wrong just now.
        says: what the error calls that, should it last.
    """
    deadline = time.monotonic() + PATIENCE / 1000
    while found := look():
        if time.monotonic() > deadline:
            raise AssertionError(f"{says}: {found}")
        page.wait_for_timeout(50)


def settled(page: Any, where: object) -> None:
    """Wait until nothing is cut off: plots follow a change of width a moment later."""
    eventually(page, lambda: page.evaluate(MISFITS), f"cut off at {where}")


def ask(page: Any, code: str) -> str:
    """Run code in the notebook's kernel, as a cell would, and return what it printed."""
    return str(
        page.evaluate(
            """async (code) => {
              const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
              const future = kernel.requestExecute({ code });
              let said = "";
              future.onIOPub = ({ content }) => {
                said += content.text ?? content.traceback?.join("\\n") ?? "";
              };
              await future.done;
              return said.trim();
            }""",
            code,
        )
    )


def screenshot_folder(otherwise: Path) -> Path:
    """Return where screenshots go: ``$UNLEARNKIT_SCREENSHOTS``, else the test's own folder."""
    folder = Path(os.environ.get("UNLEARNKIT_SCREENSHOTS") or otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
