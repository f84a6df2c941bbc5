"""The audit: every claim of a store derived again, from its folder alone."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from unlearnkit.ledger import keyed_digest, read_lines
from unlearnkit.seeding import digest
from unlearnkit.store import Approximation, Checkpoint, DiskStore, StoreError


class AuditError(StoreError):
    """A claim of a store that does not hold."""


def audit(folder: str | os.PathLike[str], head: str | None = None) -> Iterator[str]:
    """Check a store claim by claim; each one that holds is a sentence.

    Args:
        folder: of the store; nothing in it is changed.
        head: of the ledger, as a certificate printed it.

    Yields:
        What holds, as soon as it has been checked.

    Raises:
        AuditError: the first claim that does not hold.
        StoreError: a file is damaged.
    """
    store = DiskStore(folder, read_only=True)
    extra = store.unlisted()
    if extra:
        raise AuditError(
            f"{extra[0]} is in the folder and not committed; if no run is going on, open the store "
            "in a session once, which takes it up or destroys it"
        )
    yield f"all {store.verify()} files are those that were committed"
    lines = list(store.ledger())
    if head is not None:
        heads = [found for _, found in lines]
        if head not in heads:
            raise AuditError(f"no line of the ledger has the head {head}; it was changed since")
        yield f"the head given is line {heads.index(head) + 1} of {len(heads)} of the ledger"
    secret = store.secret() if lines else b""
    try:
        for number, (line, _) in enumerate(lines, start=1):
            if line["kind"] == "unlearn":
                if keyed_digest(np.asarray(line["ids"], np.int64), secret) != line["digest"]:
                    raise AuditError(f"line {number} of the ledger: ids and digest differ")
        requests, _ = read_lines(line for line, _ in lines)
    except (KeyError, TypeError, OverflowError, AttributeError) as error:
        raise AuditError(
            f"the ledger has a line that is none of ours ({type(error).__name__}: {error})"
        ) from error
    yield f"the ledger's {len(lines)} lines follow on each other up to its head {store.head}"
    revoked = np.unique(np.concatenate([np.empty(0, np.int64), *requests]))
    yield from _lineage(store, revoked)


def _lineage(store: DiskStore, revoked: np.ndarray) -> Iterator[str]:
    arrays, run = store.arrays(), store.manifest or {}
    ids, shard, slices = (arrays.get(name) for name in ("ids", "shard", "slice"))
    if ids is None or shard is None or slices is None:
        raise AuditError("the partition lacks ids, shards or slices")
    found = digest(*(array.astype("<i8").tobytes() for array in (ids, shard, slices)))
    if found != run.get("partition"):
        raise AuditError(f"the partition's digest is {found}, and the run's {run.get('partition')}")
    yield f"the partition of {len(ids)} examples is that of the run"
    retained = ~np.isin(ids, revoked)

    def check(checkpoint: Checkpoint, debt: np.ndarray, what: str) -> None:
        pool = (shard == checkpoint.shard) & (slices <= checkpoint.stage)
        expected = retained[pool] | np.isin(ids[pool], debt)
        if np.packbits(expected).tobytes() != checkpoint.lineage:
            bits = np.unpackbits(np.frombuffer(checkpoint.lineage, np.uint8))[: len(expected)]
            wrong = ids[pool][: len(bits)][bits.astype(bool) & ~expected[: len(bits)]]
            raise AuditError(
                f"{what} of shard {checkpoint.shard}, stage {checkpoint.stage} is shaped by "
                f"{len(wrong)} examples that it should be free of, or lacks some that it names"
            )

    for key in sorted(store.keys):
        check(store.get(key), np.empty(0, np.int64), "the clean checkpoint")
    yield f"{len(store.keys)} clean checkpoints are shaped by no revoked example"
    owed: dict[str, Any] = {}
    for base in sorted(store.bases):
        approximation = store.approximation(base)
        assert isinstance(approximation, Approximation)  # by its base
        if not np.isin(approximation.debt, revoked).all():
            raise AuditError(f"shard {approximation.shard} owes examples that nobody revoked")
        for checkpoint in approximation.checkpoints.values():
            check(checkpoint, approximation.debt, "an approximate checkpoint")
        owed[base] = len(approximation.debt)
    yield (
        f"{len(owed)} approximate shards are shaped by no revoked example but the "
        f"{sum(owed.values())} of their debt"
    )
