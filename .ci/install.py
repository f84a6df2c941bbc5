"""Install unlearnkit into the virtual environment that runs this file.

    .venv/bin/python .ci/install.py EXTRA...

Torch comes first and alone, because the newest build that pip finds by itself on Linux brings
gigabytes of CUDA packages. In this order: what the user asks for in $TORCH, a torch that is
already there, the public CPU wheel index where it answers, pip's own sources at our pin.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "binder" / "constraints.txt"
# binder/constraints.txt with the torch that is really there, so that pip never replaces it.
ACTUAL_PINS = Path(sys.prefix) / "constraints.txt"
ASKED = Path(sys.prefix) / "torch-asked-for"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PROBE_SECONDS = 5
GPU_PACKAGE = re.compile(r"(nvidia|cuda|triton)([-_]|$)", re.IGNORECASE)


def main(extras: list[str]) -> None:
    """Install torch, then unlearnkit with `extras`, and check that no CUDA package came along."""
    asked = os.environ.get("TORCH", "").strip()
    install_torch(asked)
    pins = [line for line in PINS.read_text().splitlines() if not line.startswith("torch==")]
    ACTUAL_PINS.write_text("\n".join([*pins, f"torch=={version('torch')}", ""]))
    print(
        f"unlearnkit[{','.join(extras)}]: installing (about three minutes the first time)",
        flush=True,
    )
    with compiling_torch():
        pip("-c", str(ACTUAL_PINS), "-e", f"{ROOT}[{','.join(extras)}]")
    if not (asked or ASKED.exists()):
        names = {dist.metadata["Name"] or "" for dist in importlib.metadata.distributions()}
        refuse_gpu_packages(sorted(names))


def install_torch(asked: str) -> None:
    """Leave one torch in the environment; see the module docstring for which."""
    found = version("torch")
    if asked and (not ASKED.exists() or ASKED.read_text() != asked):
        print(f"torch: installing {asked!r}, as TORCH says", flush=True)
        if found:
            subprocess.run([sys.executable, "-m", "pip", "uninstall", "-qq", "-y", "torch"])
        pip(*shlex.split(asked))
        ASKED.write_text(asked)
    elif found:
        print(f"torch: keeping {found}", flush=True)
    else:
        pin = next(line for line in PINS.read_text().splitlines() if line.startswith("torch=="))
        install_cpu_torch(pin)


def install_cpu_torch(pin: str) -> None:
    """Install `pin` without its dependencies, and refuse it if these are CUDA packages."""
    print(f"torch: looking for {CPU_INDEX}", flush=True)
    found = cpu_index_answers() and pip(
        *("--no-deps", "--index-url", CPU_INDEX, "--retries", "1", "--timeout", "30", pin),
        must=False,
    )
    if not found:
        print(f"torch: not there, so {pin} comes from pip's own sources", flush=True)
        pip("--no-deps", pin)
    # Requirements for other platforms ("; platform_system == 'Windows'") do not count. pip's
    # copy of `packaging` is there before anything else is installed.
    from pip._vendor.packaging.requirements import Requirement

    needs = [Requirement(text) for text in importlib.metadata.requires("torch") or []]
    environment = {"extra": ""}
    here = [need.name for need in needs if not need.marker or need.marker.evaluate(environment)]
    try:
        refuse_gpu_packages(here)
    except SystemExit:
        # Kept, it would pass for a torch that the user wants at the next try.
        subprocess.run([sys.executable, "-m", "pip", "uninstall", "-qq", "-y", "torch"])
        raise


def compiling_torch() -> subprocess.Popen[bytes]:
    """Compile torch, whose import needs most of it, while pip looks up and downloads the rest."""
    folder = importlib.metadata.distribution("torch").locate_file("torch")
    return subprocess.Popen(
        [sys.executable, "-m", "compileall", "-qq", str(folder)], stderr=subprocess.DEVNULL
    )


def cpu_index_answers() -> bool:
    """Ask once, in a process of its own: a socket's time-out does not cover a slow resolver."""
    code = f"import urllib.request as r; r.urlopen('{CPU_INDEX}/torch/', timeout={PROBE_SECONDS})"
    try:
        probe = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, timeout=PROBE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0


def refuse_gpu_packages(names: list[str]) -> None:
    """Stop if `names` holds a CUDA package."""
    found = [name for name in names if GPU_PACKAGE.match(name)]
    if found:
        sys.exit(
            f"torch {version('torch')} brings CUDA packages ({', '.join(found)}); expected the CPU "
            f"build. Make {CPU_INDEX} reachable, or say which torch you want, for example\n"
            f'  make lab TORCH="torch --index-url {CPU_INDEX}"\n'
            "and TORCH=torch for pip's default build, CUDA included. An environment that holds "
            "them already: `make clean` first."
        )


def version(name: str) -> str | None:
    """Return the installed version of `name`, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def pip(*arguments: str, must: bool = True) -> bool:
    """Run `pip install` and show how far it is; its messages are shown if it fails.

    Compiling all files would take longer than installing them, so that is left to the first import.

    Return whether it worked; if it `must` and does not, stop.
    """
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"]
    command += ["--no-compile", "--progress-bar", "off", *arguments]
    worked, said = follow(command)
    if must and not worked:
        sys.exit("\n".join([*said[-20:], f"This failed: {shlex.join(command)}"]))
    importlib.invalidate_caches()
    return worked


def follow(command: list[str], every: float | None = None) -> tuple[bool, list[str]]:
    """Run pip, and print what it does with the seconds so far, on one line of a terminal.

    Elsewhere, as in CI, there is a line every ten seconds, or every `every`. Return whether the
    command worked and the lines that it wrote.
    """
    terminal = sys.stdout.isatty()
    every = every or (1 if terminal else 10)
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore", "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(map(str.rstrip, process.stdout or ())))
    reader.start()
    begun, shown = time.monotonic(), False
    while reader.is_alive():
        reader.join(every)
        if reader.is_alive():
            text = f"  {time.monotonic() - begun:4.0f} s  {doing(said)}"
            print(
                f"\r{text:<79.79}" if terminal else text, end="" if terminal else "\n", flush=True
            )
            shown = True
    if terminal and shown:
        print()
    return process.wait() == 0, said


def doing(said: list[str]) -> str:
    """Say in a few words what pip is at, from the lines that it has written."""
    found = [line.split()[1] for line in said if line.startswith("Collecting ")]
    if any(line.startswith("Installing collected packages") for line in said):
        return f"installing {len(found)} packages"
    if found:
        return f"looking up and downloading: {found[-1]} ({len(found)} packages so far)"
    return "starting"


if __name__ == "__main__":
    main(sys.argv[1:])
