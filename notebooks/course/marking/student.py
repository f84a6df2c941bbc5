"""The student as the checks see them: functions that are called in another process."""

import contextlib
import inspect
import itertools
import json
import os
import secrets
import select
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .codec import Handle, decode, encode, kind_of

HERE = Path(__file__).resolve().parent
COURSE = HERE.parent
ROOT = COURSE.parent.parent
# What answers import takes long, and torch imports more when it is used.
IMPORTS = (
    *("numpy", "pandas", "plotly.express", "scipy.stats", "torch._dynamo", "torch.func"),
    *("torch.optim", "unlearnkit"),
)
STARTING = 300  # seconds for the imports of the marking process


class Wrong(AssertionError):
    """The student's answer is wrong; the message says how."""


class Unmarked(Exception):
    """No answer came, for a reason that need not be the student's: a person has to look."""


class NotStarted(Exception):
    """The marking process itself does not run, whatever the submission."""


class Process:
    """The process that student code runs in; see `child.py`.

    Args:
        prefix: a command put in front of Python's, such as a sandbox.
        python: the interpreter, where the sandbox has another one.
    """

    def __init__(self, prefix: Sequence[str] = (), python: str = sys.executable) -> None:
        self.command = [*prefix, python]
        self.running: subprocess.Popen | None = None

    def start(self) -> None:
        """Start Python without anything that tells where the tests or the secret are."""
        code = (HERE / "codec.py").read_text() + (HERE / "child.py").read_text()
        own = {name: value for name, value in os.environ.items() if "SECRET" not in name}
        own |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "agg"}
        try:
            self.running = subprocess.Popen(
                [*self.command, "-P", "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=tempfile.gettempdir(),
                env=own,
            )
        except OSError as error:
            raise NotStarted(f"{shlex.join(self.command)} does not run: {error}") from None
        reply = self.exchange({"imports": IMPORTS}, STARTING)
        if reply:
            raise NotStarted(
                f"the marking process did not start, see the error stream; the command was "
                f"{shlex.join(self.command)} -P -c ..."
            )

    def stop(self) -> None:
        """End the process and the child in it."""
        if self.running:
            self.running.stdin.close()
            try:
                self.running.wait(5)
            except subprocess.TimeoutExpired:
                self.running.kill()
                self.running.wait()
            self.running.stdout.close()
        self.running = None

    def __enter__(self) -> "Process":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def exchange(self, order: dict, seconds: float) -> dict:
        """Send an order and wait for its reply."""
        if self.running is None:
            self.start()
        process, end = self.running, time.monotonic() + 10 * seconds + 30
        try:
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
            parts = []
            while not (parts and parts[-1].endswith(b"\n")):
                left = end - time.monotonic()
                if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                    process.kill()
                    break
                parts.append(os.read(process.stdout.fileno(), 1 << 20))
                if not parts[-1]:
                    break
            return json.loads(b"".join(parts))
        except (OSError, ValueError):
            with contextlib.suppress(OSError):
                process.kill()
            process.wait()
            self.running = None
            return {"ended": "the whole marking process"}


def bubblewrap(hidden: Sequence[Path]) -> list[str]:
    """A sandbox by bubblewrap, on Linux: no network, nothing to write, other processes unseen.

    Args:
        hidden: files and folders that student code must not see, besides those of the course.
    """
    command = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    needed = [ROOT, Path(sys.prefix), Path(sys.base_prefix)]
    private = [Path("/tmp"), Path.home()]
    for folder in private:
        command += ["--tmpfs", str(folder)]
    for folder in needed:  # Python and the package may lie in what was just hidden
        if any(folder.is_relative_to(one) for one in private):
            command += ["--ro-bind", str(folder), str(folder)]
    for path in (COURSE, ROOT / "tests", *(path.resolve() for path in hidden)):
        if path.is_dir() and not any(one.is_relative_to(path) for one in [*needed, *private]):
            command += ["--tmpfs", str(path)]
        elif path.is_file():
            command += ["--ro-bind", os.devnull, str(path)]
    return [*command, "--chdir", "/tmp", "--unshare-all", "--new-session", "--die-with-parent"]


class Student:
    """A submission whose functions can be called as attributes.

    `student.scratch_visits(sizes, epochs)` runs the student's function in the child and returns the
    value. What the function raises becomes `Wrong`; a dead process or a time-out `Unmarked`.
    """

    def __init__(self, process: Process, orders: dict, seconds: float) -> None:
        self._process, self._orders, self._seconds = process, orders, seconds
        self._kinds: dict[str, object] = {}
        self._refs = itertools.count()
        self._functions: list[tuple[Callable[..., object], list]] = []
        self._lent: dict[str, int] = {}
        self._open: set[int] = set()  # functions that may be called back just now
        self.errors: list[tuple[str, str]] = []
        self.denied: set[str] = set()
        self._loaded, self._broken = False, ""

    def _load(self) -> None:
        if self._broken:
            raise Unmarked(self._broken)
        try:
            reply = self._send({"do": "load", "orders": self._orders})
        except Unmarked as reason:
            self._broken = str(reason)
            raise
        self.errors = [tuple(pair) for pair in reply.get("errors", [])]
        self._loaded = True

    def _ask(self, order: dict) -> dict:
        if not self._loaded:
            self._load()
        return self._send(order)

    def _send(self, order: dict) -> dict:
        nonce = secrets.token_hex(8)
        order |= {"nonce": nonce, "seconds": self._seconds}
        reply = self._process.exchange(order, self._seconds)
        if "late" in reply:
            self._loaded = False
            what = "the notebook's own cells" if order["do"] == "load" else order.get("name", "")
            raise Unmarked(f"no answer within {self._seconds:g} seconds of CPU ({what})")
        if "ended" in reply or reply.get("nonce") != nonce:
            self._loaded = False
            status = reply.get("ended", "an answer that was not asked for")
            raise Unmarked(f"the process ended while it ran the submission: {status}")
        self.denied |= set(map(str, reply.get("denied", [])))
        if "failed" in reply:
            raise Unmarked(f"the marking process failed: {reply['failed']}")
        return reply

    def fresh(self) -> None:
        """Start the submission again in a new process, with nothing of what came before."""
        self._loaded = False

    def __getattr__(self, name: str) -> Callable[..., object]:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*args: object, **named: object) -> object:
            lent = set(self._open)
            order = {"do": "call", "name": name, "args": self._plain(args)}
            try:
                reply = self._ask(order | {"named": self._plain(named)})
                end = time.monotonic() + 10 * self._seconds
                while "callback" in reply:
                    if time.monotonic() > end:
                        self._loaded = False
                        raise Unmarked(f"{name} went on calling other functions without an end")
                    reply = self._send({"do": "return", "name": name} | self._call_back(reply))
            finally:
                self._open = lent
            if "missing" in reply:
                raise Wrong(f"there is no function {name}")
            if "error" in reply:
                raise Wrong(f"{name} raised {reply['error']}")
            self._kinds.setdefault(name, kind_of(reply["value"]))
            return decode(reply["value"])

        return call

    def _call_back(self, reply: dict) -> dict:
        """Run a function of ours that the student's code has called."""
        try:
            if reply["callback"] not in self._open:
                raise PermissionError("this function is not lent any more")
            function, log = self._functions[reply["callback"]]
            args, named = decode(reply["args"])
            log.append((args, named))
            value = function(*args, **named)
            own = enumerate([*args, *named.values()])
            dicts = [[place, encode(one)] for place, one in own if isinstance(one, dict)]
            return {"value": encode(value), "dicts": dicts}
        except Exception as error:  # a wrong argument, which is the student's to hear of
            return {"error": f"{type(error).__name__}: {error}"[:500]}

    def put(self, value: object) -> Handle:
        """Keep an object in the child, so that several calls share it; pass the handle on."""
        handle = Handle(next(self._refs))
        self._ask({"do": "put", "ref": handle.number, "value": self._plain(value)})
        return handle

    def get(self, handle: Handle) -> object:
        """The object as it is now, after what the student's functions did to it."""
        return decode(self._ask({"do": "get", "ref": handle.number})["value"])

    @contextlib.contextmanager
    def lend(self, **functions: Callable[..., object]) -> Iterator[None]:
        """Put correct functions in the place of the student's for a while.

        They return the kind of object that the student's own function returned when it was
        checked (an array, a list, a tensor), since the rest of the answers may rely on it.
        """
        made = [
            [name, self._number(function), self._kinds.get(name)]
            for name, function in functions.items()
        ]
        self._lent = {name: number for name, number, _ in made}
        self._ask({"do": "lend", "functions": made})
        try:
            yield
        finally:
            self._open.difference_update(number for _, number, _ in made)
            if self._loaded:
                self._ask({"do": "take back"})

    def calls(self, name: str) -> list[tuple[tuple, dict]]:
        """Arguments of every call of a function that is lent: positional ones, and by name."""
        return self._functions[self._lent[name]][1]

    def _number(self, function: Callable[..., object]) -> int:
        number = len(self._functions)
        self._functions.append((function, []))
        self._open.add(number)
        return number

    def _plain(self, value: object) -> object:
        """Encode arguments; of a function, only its number crosses the pipe."""
        if isinstance(value, tuple | list):
            return {type(value).__name__: [self._plain(item) for item in value]}
        if isinstance(value, dict):
            return {"dict": [[self._plain(k), self._plain(v)] for k, v in value.items()]}
        return {"function": self._number(value)} if inspect.isfunction(value) else encode(value)
