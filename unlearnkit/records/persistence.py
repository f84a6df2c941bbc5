"""Saving a session in its store beside the checkpoints, and restoring it."""

import errno
import os
import warnings
from dataclasses import asdict, dataclass, field
from typing import Any

from unlearnkit.data.examples import Dataset
from unlearnkit.records.history import History, read_history
from unlearnkit.records.inventory import Inventory, differences, inventory_of
from unlearnkit.records.ledger import with_ids
from unlearnkit.records.tombstones import NOTHING_FORGOTTEN, Tombstones
from unlearnkit.store import (
    DiskStore,
    MemoryStore,
    NoLocksError,
    StoreError,
    StoreInUseError,
    StoreIOError,
)
from unlearnkit.store.files import COPIED
from unlearnkit.training.clock import Clock
from unlearnkit.training.door import CODE
from unlearnkit.training.kernels.repeats import NOTHING_REPEATED, Repeated
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.deadlines import Queue
from unlearnkit.unlearning.request import Revocations, check_request, revocable_ids

AnyStore = MemoryStore | DiskStore

# What reading a value that unlearnkit has not written may raise.
NOT_OURS = (KeyError, TypeError, ValueError, OverflowError, AttributeError)
MOST_SHOWN = 1000  # characters of a stored value in an error


@dataclass(frozen=True, eq=False)
class Kept:
    """Restored session state.

    Attributes:
        history: completed requests and repayments.
        clock: measured rates.
        queue: requests that wait for their deadline.
        repeated: how many steps of a foreign module were repeated in all training so far.
        inventory: what the lines of the ledger fix.
        tombstones: those that the run was given.
    """

    history: History = field(default_factory=History)
    clock: Clock = Clock()
    queue: Queue = field(default_factory=Queue)
    repeated: Repeated = NOTHING_REPEATED
    inventory: Inventory = field(default_factory=Inventory)
    tombstones: Tombstones = NOTHING_FORGOTTEN


def open_store(store: str | os.PathLike[str] | AnyStore | None) -> AnyStore:
    """Open the store that a session was given: a folder, a store, or memory by default.

    A folder that another process holds, that cannot be written or locked, is opened read-only, with
    a warning.

    Raises:
        StoreError: the folder is in use before its first commit, or cannot be read.
        StoreIOError: it cannot be written, and nothing has been committed.
        TypeError: the store is of another kind.
    """
    if isinstance(store, MemoryStore | DiskStore):
        return store
    if store is None:
        return MemoryStore()
    if not isinstance(store, str | os.PathLike):
        raise TypeError(
            f"store={store!r} is no store; give the path of a folder, a DiskStore(folder), a "
            "MemoryStore(), or None to keep everything in memory"
        )
    try:
        return DiskStore(store)
    except (StoreInUseError, NoLocksError) as error:
        reason: Exception = error
    except StoreIOError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        reason = error
    try:
        reader = DiskStore(store, read_only=True)
    except StoreError:  # nothing has been committed yet
        raise reason from None
    warnings.warn(
        f"{reason}. This session opens the folder read-only: it sees what is committed and "
        "changes nothing",
        stacklevel=3,
    )
    return reader


def provenance(dataset: Dataset, plan: Plan) -> dict[str, Any]:
    """Identity of a run; constant for a store."""
    backbone = plan.architecture.backbone
    return {
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "spec": repr(plan.spec),
        **({} if backbone is None else {"backbone": backbone.described}),
        "model": {"name": plan.architecture.title, "digest": plan.architecture.digest},
        "partition": plan.partition.digest,
        "environment": asdict(plan.environment),
    }


def _rebuild(plan: Plan) -> dict[str, Any]:
    """Plain values from which an audit rebuilds the spec and a built-in model."""
    architecture = plan.architecture
    built_in = None if architecture.backbone is not None else architecture.described
    model = {"built-in": built_in, "version": architecture.version}
    return {"spec": plan.spec.to_dict(), "model": model}


def resume(dataset: Dataset, plan: Plan, store: AnyStore) -> Kept:
    """Restore a session's state from a store; empty for memory and for a new folder.

    Args:
        dataset: the dataset of this run.
        plan: the plan of this run, before any revocation.
        store: the store of the session.

    Raises:
        StoreError: the store belongs to another run (the message names both provenances), or holds
            something that was not written by unlearnkit.
    """
    if not isinstance(store, DiskStore):
        return Kept()
    if store.manifest is None:
        if store.keys:
            raise StoreError(
                f"{store.folder} has checkpoints but no manifest; use another folder{COPIED}"
            )
        return Kept()
    for part, mine in {"backbone": None, **provenance(dataset, plan)}.items():
        theirs = store.manifest.get(part)
        if theirs != mine:
            if part == "model":  # digests alone do not show what differs
                theirs = _stored(store, "rebuild", "model", "built-in") or theirs
                mine = plan.architecture.described or mine
            raise StoreError(
                f"{store.folder} belongs to another run. Its {part}: {str(theirs)[:MOST_SHOWN]}. "
                f"This session's {part}: {mine}. Use another folder, or start the session with the "
                "same settings."
            )
    history = _history(store, dataset, plan.num_shards)
    queue = _queue(store, dataset, history.revocations)
    clock, tombstones = _clock(store), _tombstones(store)
    return Kept(history, clock, queue, _repeated(store), _inventory(store), tombstones)


def keep(
    dataset: Dataset,
    plan: Plan,
    store: AnyStore,
    clock: Clock,
    queue: Queue,
    repeated: Repeated,
    line: dict[str, Any] | None = None,
    tombstones: Tombstones = NOTHING_FORGOTTEN,
) -> None:
    """Commit a store's checkpoints together with the session's state and a line of the ledger.

    A store in memory needs no commit.
    """
    if not isinstance(store, DiskStore):
        return
    partition = plan.partition
    if store.manifest is None:
        whole = {"ids": partition.ids, "shard": partition.shard, "slice": partition.slice_}
        needed = dataset.grouping is not None or plan.architecture.backbone is not None
        tested = {"test": dataset.test.ids} if needed else {}
        store.keep_arrays({**whole, "probe": dataset.probe.ids, **tested})
    run = {
        **provenance(dataset, plan),
        "rebuild": _rebuild(plan),
        "clock": clock.to_dict(),
        "queue": queue.to_dict(),
    }
    if tombstones.marks:
        run["tombstones"] = tombstones.to_dict()
    if plan.architecture.foreign:
        run["repeated"] = repeated.to_dict()
        # The code of the first checkpoints stays on record.
        run["code"] = (store.manifest or {}).get("code") or plan.architecture.trials.get(CODE, {})
    store.commit(run, [] if line is None else [line])


def warn_of_changed_code(plan: Plan, store: AnyStore) -> None:
    """Warn if the code of a foreign module differs from that which made a store's checkpoints.

    Stores of earlier versions do not know it, and other versions of Python compile other code.
    """
    kept = _stored(store, "code") if isinstance(store, DiskStore) else None
    now = plan.architecture.trials.get(CODE)
    if not isinstance(kept, dict) or not now or kept.get("python") != now["python"]:
        return
    names = sorted(name for name in kept.keys() | now.keys() if kept.get(name) != now.get(name))
    if names:
        warnings.warn(
            f"{', '.join(names[:3])} differs from that with which the checkpoints in "
            f"{store.folder if isinstance(store, DiskStore) else ''} were made. If the model now "
            "computes something else, exact retraining mixes both; then use another folder and "
            "another version='...'.",
            stacklevel=3,
        )


def _stored(store: DiskStore, *names: str) -> Any:
    """Return a part of the manifest's run; None if it is absent."""
    value: Any = store.manifest
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _history(store: DiskStore, dataset: Dataset, num_shards: int) -> History:
    try:
        ids = revocable_ids(dataset).tolist()
        return read_history(with_ids((line for line, _ in store.ledger()), store, ids), num_shards)
    except StoreError:
        raise
    except NOT_OURS as error:
        raise StoreError(
            f"the ledger in {store.folder} has a line that was not written by unlearnkit "
            f"({type(error).__name__}: {error}); restore it from a copy, or use another folder"
        ) from error


def _clock(store: DiskStore) -> Clock:
    """The stored rates; an empty clock with a note if they were measured on another machine."""
    try:
        return Clock.from_dict((store.manifest or {}).get("clock"))
    except NOT_OURS as error:
        raise _not_ours(store, "rates", error) from error


def _queue(store: DiskStore, dataset: Dataset, revocations: Revocations) -> Queue:
    """The stored queue, without requests that were completed since."""
    try:
        queue = Queue.from_dict((store.manifest or {}).get("queue"))
        check_request(queue.ids, dataset, revocations)
    except NOT_OURS as error:
        raise _not_ours(store, "requests", error) from error
    return queue.without(revocations.ids.tolist())


def _tombstones(store: DiskStore) -> Tombstones:
    """The tombstones that the run was given; none in stores of earlier versions."""
    try:
        return Tombstones.from_dict((store.manifest or {}).get("tombstones"))
    except NOT_OURS as error:
        raise _not_ours(store, "tombstones", error) from error


def _inventory(store: DiskStore) -> Inventory:
    """What the ledger fixes, after checking that files and queue of the folder are the same."""
    try:
        inventory = inventory_of(line for line, _ in store.ledger())
    except StoreError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _not_ours(store, "inventories", error) from error
    if inventory.known:
        try:
            secret = store.secret()
        except StoreIOError:
            if not store.read_only:
                raise
            return inventory  # someone who may read the store, but not its owner's key
        differ = differences(inventory, store, secret)
        if differ:
            raise StoreError(
                f"{differ[0]}; the folder was changed by something else than unlearnkit. Restore "
                "it from a copy, or use another folder"
            )
    return inventory


def _repeated(store: DiskStore) -> Repeated:
    """The stored counts; zero for built-in models and stores of earlier versions."""
    try:
        return Repeated.from_dict((store.manifest or {}).get("repeated"))
    except NOT_OURS as error:
        raise _not_ours(store, "repeated steps", error) from error


def _not_ours(store: DiskStore, what: str, error: Exception) -> StoreError:
    return StoreError(
        f"the {what} kept in {store.folder} were not written by unlearnkit "
        f"({type(error).__name__}: {error}); restore the folder from a copy, or use another one"
    )
