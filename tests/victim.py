"""A process to be killed: it trains, unlearns exactly and approximately, and repays.

Run as a script it reads lines of JSON, ``[folder, case, seconds]``, and for each one forks a child
that takes the session in the folder to its end. With a number of seconds the child is killed after
them (SIGKILL). It answers with a line: whether the child got to its end.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

from cases import CASES
from unlearnkit import DiskStore, Session

REQUESTS = ((slice(0, 3), 1.0), (slice(7, 12), 0.5), (slice(15, 18), 0.0), (slice(20, 22), 1.0))


def finish(session: Session) -> None:
    """Do what is not done yet; a request that was interrupted is made again."""
    session.train()
    for chosen, max_share in REQUESTS:
        ids = session.plan.partition.ids[chosen]
        if ids[0] not in session.revoked:
            session.withdraw()
            session.revoke(ids)
            session.unlearn(max_share)
    session.repay()


def main() -> None:
    """Answer until there are no more lines."""
    for line in sys.stdin:
        folder, case, seconds = json.loads(line)
        child = os.fork()
        if not child:
            code = 1
            try:
                finish(CASES[case].session(store=DiskStore(Path(folder))))
                code = 0
            finally:
                os._exit(code)
        if seconds is not None:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(json.dumps(status == 0), flush=True)


if __name__ == "__main__":
    main()
