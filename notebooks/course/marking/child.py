"""The process in which a student's code runs. It holds no test, no expected value and no secret.

The marking script starts it with the text of `codec.py` and this file, so that it needs no file of
the course. It imports what takes long, and then forks a child for each submission and stands
between it and the script: it enforces the time limits, and the child never holds the script's pipe.

This is no sandbox. The hook below stops what is easy to try; a container stops the rest.
"""

import ast
import contextlib
import importlib
import io
import json
import linecache
import os
import resource
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
import types

STATEMENT = 20  # seconds of CPU for one statement outside a function, such as an experiment
WAITING = 10  # an answer may take so many times its seconds of CPU, on a busy machine
LARGEST = 1 << 28  # bytes of one answer


def _error(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:2000]
    except BaseException:
        return type(error).__name__


class Stranger:
    """Stands where the package was."""

    def __getattr__(self, name: str) -> object:
        raise PermissionError("your functions are marked without unlearnkit; write them yourself")


def guard(denied: list, hidden: tuple, folders: tuple, home: str) -> None:
    """Stop what no answer needs: other processes, the network, and files of the course."""
    real, own = os.path.realpath, os.getpid()
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
    never = (
        *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
        *("os.forkpty", "pty.spawn", "socket.connect", "socket.bind", "gc.get_objects"),
        *("gc.get_referrers", "gc.get_referents", "sys.addaudithook"),
    )
    changing = (
        *("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"),
        *("os.chmod", "os.chown", "shutil.rmtree", "shutil.move", "shutil.copyfile"),
    )

    def path_of(value: object) -> str | None:
        if isinstance(value, int) or value is None:
            return None
        return real(os.fsdecode(value))

    def stop(what: str) -> None:
        denied.append(what)
        raise PermissionError(f"not while this is marked: {what}")

    def hook(event: str, args: tuple) -> None:
        if event == "import":
            if any(args[0] == name or args[0].startswith(name + ".") for name in hidden):
                stop(f"import {args[0]}")
        elif event in never:
            stop(event)
        elif event in ("os.kill", "os.killpg"):
            if args[0] != own:
                stop(event)
        elif event == "open" or event in ("os.listdir", "os.scandir"):
            path = path_of(args[0])
            if path is None or path == os.devnull:
                return
            if any(path == folder or path.startswith(folder + os.sep) for folder in folders):
                stop(f"{event} {path}")
            parts = path.split(os.sep)
            if (
                parts[1:2] == ["proc"]
                and parts[2:3]
                and parts[2].isdigit()
                and parts[2] != str(own)
            ):
                stop(f"{event} {path}")
            if event == "open" and args[2] & writing and not path.startswith(home + os.sep):
                stop(f"writing {path}")
        elif event in changing:
            path = path_of(args[0])
            if path and not path.startswith(home + os.sep):
                stop(f"{event} {path}")

    sys.addaudithook(hook)


class Answers:
    """The namespace of a submission, and what is asked of it."""

    def __init__(self, orders: dict, stream: io.BufferedRWPair) -> None:
        self.stream, self.nonce = stream, ""
        self.denied: list[str] = []
        self.handles: dict[int, object] = {}
        self.lent: list[tuple[str, object]] = []
        self.orders = orders
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self.names = module.__dict__

    def load(self) -> dict:
        """Run the cells that are given, and then the student's, statement by statement."""
        for label, code in self.orders["given"]:
            exec(compile(code, label, "exec"), self.names)
        hidden = tuple(self.orders["hidden"])
        for name, value in list(self.names.items()):
            owner = getattr(value, "__module__", None) or type(value).__module__
            owner = value.__name__ if isinstance(value, types.ModuleType) else owner
            if str(owner).split(".")[0] in hidden:
                self.names[name] = Stranger()
        for name in [name for name in sys.modules if name.split(".")[0] in hidden]:
            del sys.modules[name]
        guard(self.denied, hidden, tuple(self.orders["folders"]), self.orders["home"])
        errors = []
        for label, code in self.orders["cells"]:
            linecache.cache[label] = (len(code), None, code.splitlines(True), label)
            try:
                statements = ast.parse(code, label).body
            except (SyntaxError, ValueError, RecursionError) as error:
                errors.append([label, _error(error)])
                continue
            for statement in statements:
                try:
                    signal.setitimer(signal.ITIMER_PROF, STATEMENT)
                    exec(compile(ast.Module([statement], []), label, "exec"), self.names)
                except BaseException as error:
                    errors.append([label, _error(error)])
                finally:
                    signal.setitimer(signal.ITIMER_PROF, 0)
        return {"errors": errors}

    def stub(self, number: int, kind: object = None, name: str = "given") -> object:
        """A function of the marking script: its arguments go there, and its result comes back.

        So there is nothing of it here that could be read or kept. Dictionaries among the arguments
        are brought up to date afterwards, as a store has to be.
        """

        def call(*args: object, **named: object) -> object:
            self.write({"callback": number, "args": encode([args, named])})
            back = self.read()
            if "error" in back:
                raise RuntimeError(back["error"])
            own = [*args, *named.values()]
            for place, content in back["dicts"]:
                own[place].clear()
                own[place].update(decode(content, self.handles))
            return as_kind(decode(back["value"], self.handles), kind)

        call.__name__ = call.__qualname__ = name
        return call

    def read(self) -> dict:
        """The next order of the marking script; it sets how much CPU may be used."""
        text = self.stream.readline()
        if not text:
            os._exit(0)
        order = json.loads(text)
        self.nonce = order["nonce"]
        if order["do"] == "return":  # the call that called back goes on
            return order
        _, most = resource.getrlimit(resource.RLIMIT_CPU)
        soft = int(time.process_time() + order["seconds"]) + 1
        if most != resource.RLIM_INFINITY:
            soft = min(soft, most)
        resource.setrlimit(resource.RLIMIT_CPU, (soft, most))
        return order

    def write(self, reply: dict) -> None:
        """Answer the order that was read last."""
        reply |= {"nonce": self.nonce, "denied": self.denied[:5]}
        self.stream.write(json.dumps(reply).encode() + b"\n")
        self.stream.flush()

    def lend(self, functions: list) -> None:
        """Put functions of the marking script in the place of the student's."""
        for name, number, kind in functions:
            self.lent.append((name, self.names.get(name)))
            self.names[name] = self.stub(number, kind, name)

    def take_back(self) -> None:
        while self.lent:
            name, own = self.lent.pop()
            self.names[name] = own

    def answer(self, order: dict) -> dict:
        """Do one thing that the marking script asks for."""
        do = order["do"]
        if do == "load":
            return self.load()
        if do == "put":
            self.handles[order["ref"]] = decode(order["value"], self.handles, self.stub)
            return {}
        if do == "get":
            return {"value": encode(self.handles[order["ref"]])}
        if do == "lend":
            self.lend(order["functions"])
            return {}
        if do == "take back":
            self.take_back()
            return {}
        if not callable(self.names.get(order["name"])):
            return {"missing": order["name"]}
        args = decode(order["args"], self.handles, self.stub)
        named = decode(order["named"], self.handles, self.stub)
        try:
            return {"value": encode(self.names[order["name"]](*args, **named))}
        except BaseException as error:
            return {"error": _error(error)}


def serve(line: socket.socket, orders: dict) -> None:
    """Answer the marking script until it hangs up."""
    os.setsid()
    os.chdir(orders["home"])
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    sys.stdin = open(os.devnull)
    sys.stdout = sys.stderr = open(os.devnull, "w")
    sys.argv = [""]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 28, 1 << 28))
    signal.signal(signal.SIGPROF, _late)
    answers = Answers(orders, line.makefile("rwb"))
    while True:
        order = answers.read()
        try:
            reply = answers.answer(order)
        except BaseException as error:
            reply = {"failed": _error(error)}
        answers.write(reply)


def _late(*_: object) -> None:
    raise TimeoutError(f"a statement ran for more than {STATEMENT} seconds")


class Relay:
    """Stands between the marking script and the child that runs a submission."""

    def __init__(self, incoming: io.BufferedReader, outgoing: io.BufferedWriter) -> None:
        self.incoming, self.outgoing = incoming, outgoing
        self.child, self.line, self.home = 0, None, ""

    def start(self, orders: dict) -> None:
        self.stop()
        self.line, theirs = socket.socketpair()
        self.home = orders["home"] = os.path.realpath(tempfile.mkdtemp())
        self.child = os.fork()
        if not self.child:
            try:
                self.line.close()
                self.incoming.close()
                self.outgoing.close()
                serve(theirs, orders)
            finally:
                os._exit(0)
        theirs.close()

    def stop(self) -> int:
        """End the child and what it started; return how it ended."""
        if not self.child:
            return 0
        for kill in (
            lambda: os.killpg(self.child, signal.SIGKILL),
            lambda: os.kill(self.child, signal.SIGKILL),
        ):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill()
        self.line.close()
        _, status = os.waitpid(self.child, 0)
        self.child = 0
        shutil.rmtree(self.home, ignore_errors=True)
        return os.waitstatus_to_exitcode(status)

    def ask(self, text: bytes, seconds: float) -> bytes:
        """Pass an order on, and wait for the answer no longer than allowed."""
        if not self.child:
            return b'{"ended": "no process"}'
        end, parts, size = time.monotonic() + WAITING * seconds, [], 0
        try:
            self.line.sendall(text)
            while True:
                left = end - time.monotonic()
                if left <= 0 or not select.select([self.line], [], [], left)[0]:
                    self.stop()
                    return json.dumps({"late": seconds}).encode()
                part = self.line.recv(1 << 20)
                size += len(part)
                if not part or size > LARGEST:
                    break
                parts.append(part)
                if b"\n" in part:
                    reply = b"".join(parts)
                    if reply.find(b"\n") == len(reply) - 1 and reply.startswith(b"{"):
                        return reply[:-1]
                    self.stop()
                    return b'{"ended": "an answer that was not asked for"}'
        except OSError:
            pass
        time.sleep(0.05)  # so that a process that just died can say how
        status = self.stop()
        return json.dumps(
            {"late": seconds} if status == -signal.SIGXCPU else {"ended": status}
        ).encode()


def main() -> None:
    """Serve the marking script until its pipe is closed."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    hello = json.loads(incoming.readline())
    for name in hello["imports"]:
        importlib.import_module(name)
    torch.set_num_threads(1)  # a fork keeps no threads
    relay = Relay(incoming, outgoing)
    outgoing.write(b"{}\n")
    outgoing.flush()
    for text in incoming:
        order = json.loads(text)
        if order["do"] == "load":
            relay.start(order.pop("orders"))
            text = json.dumps(order).encode() + b"\n"
        reply = relay.ask(text, order["seconds"])
        outgoing.write(reply + b"\n")
        outgoing.flush()
    relay.stop()


if __name__ == "__main__":
    main()
