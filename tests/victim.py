"""A process to be killed: it trains, unlearns exactly and approximately, and repays.

Run as a script it reads lines of JSON, ``[folder, case, step, share]``, and for each one forks a
child that takes the session in the folder to its end. With a step the child is killed (SIGKILL) in
that step, when a share of the time has passed that the step took the child before which had none.
It answers with a line: whether the child got to its end.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch.fx.experimental.symbolic_shapes  # noqa: F401 - or each child imports it

from cases import CASES
from unlearnkit import DiskStore, Session

REQUESTS = {
    "unlearn exactly": (slice(0, 3), 1.0),
    "unlearn both ways": (slice(7, 12), 0.5),
    "unlearn approximately": (slice(15, 18), 0.0),
    "unlearn exactly beside debt": (slice(20, 22), 1.0),
}
STEPS = ("train", *REQUESTS, "repay")


def finish(session: Session, begins: Callable[[str], object] = lambda step: None) -> None:
    """Do what is not done yet; a request that was interrupted is made again."""
    begins("train")
    session.train()
    for step, (chosen, max_share) in REQUESTS.items():
        ids = session.plan.partition.ids[chosen]
        if ids[0] not in session.revoked:
            begins(step)
            session.withdraw()
            session.revoke(ids)
            session.unlearn(max_share)
    begins("repay")
    session.repay()


def run_child(folder: str, case: str, pipe: int) -> None:
    """Take the session to its end, and tell when a step begins; does not return."""
    code = 1
    try:
        session = CASES[case].session(store=DiskStore(Path(folder)))
        finish(session, lambda step: os.write(pipe, f"{step}\n".encode()))
        code = 0
    finally:
        os._exit(code)


def main() -> None:
    """Answer until there are no more lines."""
    took: dict[str, float] = {}
    for line in sys.stdin:
        folder, case, fatal, share = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            run_child(folder, case, writing)
        os.close(writing)
        begun: dict[str, float] = {}
        with os.fdopen(reading) as steps:
            for step in map(str.strip, steps):
                begun[step] = time.perf_counter()
                if step == fatal:
                    time.sleep(share * took[step])
                    os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if fatal is None:
            ends = [*list(begun.values())[1:], time.perf_counter()]
            took = {s: e - b for (s, b), e in zip(begun.items(), ends, strict=True)}
        print(json.dumps(status == 0), flush=True)


if __name__ == "__main__":
    main()
