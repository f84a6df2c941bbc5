"""How long a ledger of many requests takes to append to, open and audit.

    make bench NAME=ledger [ARGS="--requests 10000"]

Each request has two lines, committed one after the other as a session does. At 1/8, 1/4, 1/2 and
all of the requests the store is opened by a session, trained on what is left, and audited.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

import unlearnkit as uk
from unlearnkit.data.examples import Dataset
from unlearnkit.records.audit import audit
from unlearnkit.records.ledger import Entry, outcome_line, request_line
from unlearnkit.unlearning.boundary.protocol import Decision, Route


def session_on(folder: Path, data: Dataset) -> uk.Session:
    """A small session: what is measured is the ledger."""
    sizes = {"num_shards": 2, "num_slices": 2, "epochs": 1, "batch_size": 512}
    return uk.Session(data, model="logistic", store=folder, **sizes)


def append(session: uk.Session, number: int) -> float:
    """Commit the lines of one request of one example; the seconds of both commits."""
    store, plan = session.store, session.plan
    ids = plan.partition.ids[number : number + 1]
    route = Route(0, "exact", 1000, 0.5, 0.1, "0.5 of from scratch, within 1")
    decision = Decision((route,), "FixedBoundary(max_share=1)", 0.1)
    begun = time.perf_counter()
    line = request_line(ids, plan, decision, 0, store.secret(), method=None, amend=None)
    store.commit(None, [line])
    entry = Entry(line["time"], "unlearn", 1, 1, 0, 1000, 1000, 0.1, 0.1, 0, 0, decision.boundary)
    store.commit(None, [outcome_line(entry)])
    return time.perf_counter() - begun


def main() -> None:
    """Print a row a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    total = parser.parse_args().requests
    rng = np.random.default_rng(0)
    rows = 2 * total + 400
    data = uk.from_arrays(
        rng.normal(size=(rows, 4)).astype(np.float32), rng.integers(0, 2, rows), num_classes=2
    )
    print("requests   append ms   open s   audit s   ledger MB")
    with tempfile.TemporaryDirectory() as name:
        folder, done = Path(name) / "store", 0
        session = session_on(folder, data)
        session.train()
        for size in (0, total // 8, total // 4, total // 2, total):
            appended = [append(session, number) for number in range(done, size)]
            done = size
            session.store.close()
            begun = time.perf_counter()
            session = session_on(folder, data)
            opened = time.perf_counter() - begun
            assert len(session.revoked) == size
            session.train()
            begun = time.perf_counter()
            list(audit(folder, session.store.head))
            audited = time.perf_counter() - begun
            median = 1000 * statistics.median(appended[-500:]) if appended else float("nan")
            ledger = folder / "ledger.jsonl"
            megabytes = ledger.stat().st_size / 1e6 if ledger.exists() else 0
            print(f"{size:8,} {median:11.1f} {opened:8.2f} {audited:9.2f} {megabytes:11.2f}")


if __name__ == "__main__":
    main()
