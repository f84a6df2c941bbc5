"""What a store in a folder keeps of a session beside its checkpoints: written, and read back."""

import os
import warnings
from dataclasses import asdict, dataclass, field
from typing import Any

from unlearnkit.data.examples import Dataset
from unlearnkit.records.history import History, read_history
from unlearnkit.records.ledger import with_ids
from unlearnkit.store import DiskStore, MemoryStore, StoreError, StoreInUseError
from unlearnkit.training.clock import Clock
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.deadlines import Queue
from unlearnkit.unlearning.request import Revocations, check_request

AnyStore = MemoryStore | DiskStore


@dataclass(frozen=True, eq=False)
class Kept:
    """What a session goes on from.

    Attributes:
        history: what was completed.
        clock: measured rates.
        queue: requests that wait for their deadline.
    """

    history: History = field(default_factory=History)
    clock: Clock = Clock()
    queue: Queue = field(default_factory=Queue)


def open_store(store: str | os.PathLike[str] | AnyStore | None) -> AnyStore:
    """The store that a session was given: a folder's, or memory by default.

    Raises:
        StoreError: the folder is in use and has nothing to read yet, or cannot be read.
    """
    if isinstance(store, MemoryStore | DiskStore):
        return store
    if store is None:
        return MemoryStore()
    try:
        return DiskStore(store)
    except StoreInUseError as held:
        try:
            reader = DiskStore(store, read_only=True)
        except StoreError:  # nothing is committed yet
            raise held from None
        warnings.warn(
            f"{held}. This session reads what is committed there, and changes nothing",
            stacklevel=3,
        )
        return reader


def provenance(dataset: Dataset, plan: Plan) -> dict[str, Any]:
    """What tells a run apart from others: of one folder it never changes."""
    return {
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "spec": repr(plan.spec),
        "model": {"name": plan.architecture.name, "digest": plan.architecture.digest},
        "partition": plan.partition.digest,
        "environment": asdict(plan.environment),
    }


def _rebuild(plan: Plan) -> dict[str, Any]:
    """What an audit makes spec and model of, where that can be said in plain values."""
    architecture = plan.architecture
    model = {"built-in": architecture.described, "version": architecture.version}
    return {"spec": plan.spec.to_dict(), "model": model}


def resume(store: AnyStore, dataset: Dataset, plan: Plan) -> Kept:
    """What a store keeps of a session, if it is of this run; nothing in memory or a new folder.

    Args:
        store: to go on from.
        dataset: of this run.
        plan: of all its examples.

    Raises:
        StoreError: it is of another run, and both provenances are named; or something in it is
            none of ours.
    """
    if not isinstance(store, DiskStore):
        return Kept()
    if store.manifest is None:
        if store.keys:
            raise StoreError(f"{store.folder} has checkpoints but no manifest; use another folder")
        return Kept()
    for part, mine in provenance(dataset, plan).items():
        theirs = store.manifest.get(part)
        if theirs != mine:
            if part == "model":  # digests alone do not tell what differs
                kept = (store.manifest.get("rebuild") or {}).get("model", {})
                theirs, mine = kept.get("built-in") or theirs, plan.architecture.described or mine
            raise StoreError(
                f"{store.folder} belongs to another run. Its {part}: {theirs}. This session's "
                f"{part}: {mine}. Use another folder, or start the session as it was."
            )
    history = _history(store, dataset, plan.num_shards)
    return Kept(history, _clock(store), _queue(store, dataset, history.revocations))


def keep(
    store: AnyStore,
    dataset: Dataset,
    plan: Plan,
    clock: Clock,
    queue: Queue,
    line: dict[str, Any] | None = None,
) -> None:
    """Commit what is in a store, with what a session goes on from, and a line of the ledger.

    In memory there is nothing to do.
    """
    if not isinstance(store, DiskStore):
        return
    partition = plan.partition
    if store.manifest is None:
        whole = {"ids": partition.ids, "shard": partition.shard, "slice": partition.slice_}
        store.keep_arrays({**whole, "probe": dataset.probe.ids})
    run = {
        **provenance(dataset, plan),
        "rebuild": _rebuild(plan),
        "clock": clock.to_dict(),
        "queue": queue.to_dict(),
    }
    store.commit(run, [] if line is None else [line])


def _history(store: DiskStore, dataset: Dataset, num_shards: int) -> History:
    try:
        ids = [*dataset.train.ids.tolist(), *dataset.probe.ids.tolist()]
        return read_history(with_ids((line for line, _ in store.ledger()), store, ids), num_shards)
    except StoreError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise StoreError(
            f"the ledger in {store.folder} has a line that is none of ours "
            f"({type(error).__name__}: {error}); restore it from a copy, or use another folder"
        ) from error


def _clock(store: DiskStore) -> Clock:
    """The rates kept; an empty clock, with a note, if they are of another machine."""
    try:
        return Clock.from_dict((store.manifest or {}).get("clock"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _not_ours(store, "rates", error) from error


def _queue(store: DiskStore, dataset: Dataset, revocations: Revocations) -> Queue:
    """Requests that wait."""
    try:
        queue = Queue.from_dict((store.manifest or {}).get("queue"))
        check_request(queue.ids, dataset, revocations)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _not_ours(store, "requests", error) from error
    return queue.without(revocations.ids.tolist())


def _not_ours(store: DiskStore, what: str, error: Exception) -> StoreError:
    return StoreError(
        f"the {what} kept in {store.folder} are none of ours ({type(error).__name__}: {error}); "
        "restore it from a copy, or use another folder"
    )
