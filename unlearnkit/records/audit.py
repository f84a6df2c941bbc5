"""The audit: checks every claim of a store against the files in its folder.

Given the data as well, the audit also retrains every clean checkpoint from scratch, or replays
every modification that led to an approximation (:mod:`unlearnkit.records.replay`), and compares bit
for bit.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from unlearnkit.data.datasets import as_dataset
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.data.reading.texts import Texts
from unlearnkit.display import plural
from unlearnkit.models.architecture import Architecture, as_architecture
from unlearnkit.models.frozen.backbone import Frozen
from unlearnkit.models.frozen.features import features_of, with_features
from unlearnkit.models.state import is_finite
from unlearnkit.records.history import debts_after, owing_shards, requests_of
from unlearnkit.records.inventory import Inventory, differences, missing_files
from unlearnkit.records.ledger import keyed_digest, plan_digest, read_lines, with_ids
from unlearnkit.records.replay import replay as replay_modifications
from unlearnkit.records.same_bits import AuditError, different_bits
from unlearnkit.records.stored_features import check_features, compare_features
from unlearnkit.records.stored_run import stored_model, stored_partition
from unlearnkit.seeding import digest
from unlearnkit.store import Approximation, Checkpoint, DiskStore, StoreError
from unlearnkit.store.ledger_chain import START
from unlearnkit.training.defaults import choose_model_and_spec
from unlearnkit.training.door import try_module
from unlearnkit.training.kernels import run_jobs
from unlearnkit.training.kernels.finite import NotFiniteError
from unlearnkit.training.plan import Plan, make_plan
from unlearnkit.training.schedule import make_job
from unlearnkit.training.spec import TrainSpec, as_recorded, spec_from


def audit(
    store: str | os.PathLike[str] | DiskStore,
    head: str | None = None,
    *,
    dataset: Any = None,
    model: Any = None,
    spec: TrainSpec | None = None,
    replay: bool = False,
    retrain: bool | None = None,
) -> Iterator[str]:
    """Check the claims of a store one by one.

    Args:
        store: the store or its folder; nothing in it is changed.
        head: the ledger's head, as a certificate printed it.
        dataset: the data of the run, in any form that a session takes.
        model: the model of the run, if it was not a built-in one.
        spec: the spec of the run, if its loss was not a built-in one.
        replay: whether the modifications that the ledger records are carried out again on the
            original models, and every approximation is compared with the result bit for bit. This
            needs the data; a method or amend of your own has to be in ``METHODS`` or ``AMENDS``.
        retrain: whether every clean checkpoint is retrained from scratch and compared bit for bit.
            This needs the data, and by default it is done if they are given without ``replay``.

    Yields:
        One sentence for each claim that holds, as soon as it has been checked.

    Raises:
        AuditError: the first claim that does not hold.
        StoreError: a file is damaged.
        ValueError: data, model, spec or environment are not those of the run.

    >>> import tempfile
    >>> import unlearnkit as uk
    >>> folder = tempfile.TemporaryDirectory()
    >>> session = uk.Session("digits", model="logistic", epochs=2, seed=0, store=folder.name)
    >>> report = session.train()
    >>> for claim in uk.audit(folder.name):
    ...     print(claim)  # doctest: +ELLIPSIS
    all 15 files are those that were committed
    the ledger's 2 lines follow on each other up to its head ...
    >>> folder.cleanup()
    """
    folder = store.folder if isinstance(store, DiskStore) else store
    store = DiskStore(folder, read_only=True)
    data = None if dataset is None else _data_of(store, as_dataset(dataset))
    if data is None and (replay or retrain):
        raise ValueError("replay and retrain need the data of the run: give dataset=")
    extra = store.unlisted()
    if extra:
        raise AuditError(
            f"{extra[0]} is in the folder but not committed; if no run is going on, open the store "
            "in a session once, which commits or destroys it"
        )
    yield f"all {store.verify()} files are those that were committed"
    lines = list(store.ledger())
    if head is not None:
        heads = [START, *(found for _, found in lines)]  # a certificate may be older than any line
        if head not in heads:
            raise AuditError(
                f"no line of the ledger has the head {head}; it is mistyped, or the ledger "
                "was rewritten after it was noted"
            )
        place = heads.index(head)
        later = len(lines) - place
        yield f"the head given is that of line {place} of the {len(lines)} of the ledger" + (
            f"; the {later} lines after it are fixed by no head that was given" if later else ""
        )
    secret = store.secret() if lines else b""
    try:
        arrays = store.arrays() if lines else {}
        parts = ("ids", "probe", "test")
        ids = [i for part in parts for i in arrays.get(part, np.empty(0)).tolist()]
        plain = list(with_ids((line for line, _ in lines), store, ids))
        for number, line in enumerate(plain, start=1):
            if line["kind"] == "unlearn":
                if keyed_digest(np.asarray(line["ids"], np.int64), secret) != line["digest"]:
                    raise AuditError(
                        f"line {number} of the ledger holds ids that do not match its digest"
                    )
        records = read_lines(plain)
        requests = requests_of(records)
        known = owing_shards(plain) is not None  # False for ledgers of earlier versions
    except StoreError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise AuditError(
            f"the ledger has a line that was not written by unlearnkit "
            f"({type(error).__name__}: {error})"
        ) from error
    yield f"the ledger's {len(lines)} lines follow on each other up to its head {store.head}"
    revoked = np.unique(np.concatenate([np.empty(0, np.int64), *requests]))
    completed = [line for line, _ in records if line]
    yield from _lineage(store, revoked, completed if known else None)
    yield from check_features(store, revoked, data)
    yield from _inventory(store, plain, secret, None if head is None else heads.index(head))
    if data is None:
        return
    plan = _plan_of(store, data, model, spec)
    if retrain or (retrain is None and not replay):
        yield from _retrain(store, completed, revoked, plan)
    if replay:
        yield from replay_modifications(store, plain, plan)


def _inventory(
    store: DiskStore, lines: list[dict[str, Any]], secret: bytes, place: int | None
) -> Iterator[str]:
    """Compare files, queue and run with those that the lines of the ledger record.

    Args:
        store: the store.
        lines: all lines of the ledger.
        secret: the store's key.
        place: the number of lines that a given head fixes; None if none was given.
    """
    inventory, fixed = Inventory(), Inventory()
    try:
        for number, line in enumerate(lines, start=1):
            inventory = inventory.after(line)
            fixed = inventory if number == place else fixed
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AuditError(
            f"line {number} of the ledger contradicts those before: {error}"
        ) from error
    if not inventory.known:
        yield "the ledger, written by an earlier version, records no checkpoints"
        return
    for difference in differences(inventory, store, secret):
        raise AuditError(difference)
    missing, unknown = missing_files(inventory, store, secret)
    if missing:
        raise AuditError(f"{missing} checkpoints that the ledger records are not in the folder")
    if unknown:
        raise AuditError(f"{unknown[0]} is in the folder, but no line of the ledger records it")
    text = f"the {len(inventory.files)} checkpoints, the queue and the run are those of the ledger"
    if place is not None:
        now = sum(fixed.files.get(name) == digest for name, digest in inventory.files.items())
        text += f"; the head given fixes {now} of these checkpoints"
        if (fixed.queue, fixed.run) == (inventory.queue, inventory.run):
            text += " and the queue"
    yield text


def _lineage(
    store: DiskStore, revoked: np.ndarray, completed: list[dict[str, Any]] | None
) -> Iterator[str]:
    arrays, run = store.arrays(), store.manifest or {}
    ids, shard, slices = (arrays.get(name) for name in ("ids", "shard", "slice"))
    if ids is None or shard is None or slices is None or not ids.ndim:
        raise AuditError("the stored partition lacks ids, shards or slices")
    if any(a.shape != (len(ids),) or a.dtype.kind != "i" for a in (ids, shard, slices)):
        raise AuditError("the stored partition is not three integer arrays of equal length")
    found = digest(*(array.astype("<i8").tobytes() for array in (ids, shard, slices)))
    if found != run.get("partition"):
        raise AuditError(
            f"the stored partition has the digest {found}, but the run records "
            f"{run.get('partition')}"
        )
    yield f"the partition of {len(ids)} examples is that of the run"
    retained = ~np.isin(ids, revoked)

    def check(checkpoint: Checkpoint, debt: np.ndarray, what: str) -> None:
        pool = (shard == checkpoint.shard) & (slices <= checkpoint.stage)
        expected = retained[pool] | np.isin(ids[pool], debt)
        if np.packbits(expected).tobytes() != checkpoint.lineage:
            bits = np.unpackbits(np.frombuffer(checkpoint.lineage, np.uint8))[: len(expected)]
            wrong = ids[pool][: len(bits)][bits.astype(bool) & ~expected[: len(bits)]]
            raise AuditError(
                f"{what} of shard {checkpoint.shard}, stage {checkpoint.stage} was trained with "
                f"{len(wrong)} examples that should have been removed, or its lineage is incomplete"
            )
        if not is_finite(checkpoint.state):
            raise AuditError(
                f"{what} of shard {checkpoint.shard}, stage {checkpoint.stage} holds NaN, because "
                "its training diverged; such a model equals no other, so nothing can be claimed "
                "about it. Train again with scaled data or a lower learning_rate"
            )

    for key in sorted(store.keys):
        check(store.get(key), np.empty(0, np.int64), "the clean checkpoint")
    yield f"{len(store.keys)} clean checkpoints are shaped by no revoked example"
    owed: dict[int, frozenset[int]] = {}
    for base in sorted(store.bases):
        approximation = store.approximation(base)
        assert isinstance(approximation, Approximation)  # bases name approximations
        if not np.isin(approximation.debt, revoked).all():
            raise AuditError(
                f"shard {approximation.shard} declares a debt of examples that were never revoked"
            )
        for checkpoint in approximation.checkpoints.values():
            check(checkpoint, approximation.debt, "an approximate checkpoint")
        owed[approximation.shard] = frozenset(approximation.debt.tolist())
    yield (
        f"{len(owed)} approximate shards are shaped by no revoked example but the "
        f"{_total(owed)} of their debt"
    )
    if completed is None:
        return  # the ledger of an earlier version
    debts = _debts(completed, dict(zip(ids.tolist(), shard.tolist(), strict=True)))
    if debts.keys() != owed.keys():
        raise AuditError(
            f"according to the ledger the shards with debt are {sorted(debts)}, but the folder "
            f"holds approximations of {sorted(owed)}"
        )
    for at in sorted(owed):
        if debts[at] != owed[at]:
            raise AuditError(
                f"the ledger and the approximation of shard {at} disagree about the examples that "
                f"it owes ({len(debts[at])} in the ledger, {len(owed[at])} in the approximation)"
            )
    yield "the ledger names the same shards with debt, and the same examples"


def _debts(completed: list[dict[str, Any]], shards: dict[int, int]) -> dict[int, frozenset[int]]:
    """Derive each shard's debt from the ledger and check the sums that it states."""
    debts: dict[int, frozenset[int]] = {}
    try:
        for number, line in enumerate(completed, start=1):
            before, debts = _total(debts), debts_after(debts, line, shards)
            said = line["debt_before"], line.get("debt_after", _total(debts))
            if said != (before, _total(debts)):
                raise AuditError(
                    f"entry {number} of the ledger states a debt of {said[0]} before and {said[1]} "
                    f"after; the entries up to this one give {before} and {_total(debts)}"
                )
    except (KeyError, TypeError) as error:
        raise AuditError(
            f"the ledger has a line that was not written by unlearnkit "
            f"({type(error).__name__}: {error})"
        ) from error
    return debts


def _total(debts: dict[int, frozenset[int]]) -> int:
    return sum(map(len, debts.values()))


# Retraining


def _retrain(
    store: DiskStore,
    completed: list[dict[str, Any]],
    revoked: np.ndarray,
    plan: Plan,
) -> Iterator[str]:
    """Retrain every clean checkpoint from scratch and compare the bits.

    Args:
        store: the store.
        completed: the completion lines of its ledger.
        revoked: the ids of all requests.
        plan: the plan of the run, before any revocation.
    """
    for number, line in enumerate(completed, start=1):
        plan = plan.without(line["ids"])
        key = None if line.get("format") is None else store.secret()
        if line.get("plan", plan.digest) != plan_digest(plan, key):
            raise AuditError(
                f"entry {number} of the ledger names the plan {line['plan']}, but the data, spec "
                f"and model lead to {plan_digest(plan, key)}"
            )
    yield f"{len(completed)} requests and repayments name the plans that the data lead to"
    strange = sorted(store.keys - plan.keys)
    if strange:
        kept = store.get(strange[0])
        raise AuditError(
            f"{len(strange)} clean checkpoints belong to no stage of the plan that the run's data, "
            f"spec, model and requests lead to; the first is of shard {kept.shard}, stage "
            f"{kept.stage}"
        )
    yield from compare_features(store, plan)
    # Overwrite the revoked rows, since a leak in both runs would otherwise go unnoticed.
    plan = replace(plan, examples=_overwritten(plan.examples, revoked))
    begun, count, visits, jobs = time.perf_counter(), 0, 0, []
    for shard, chain in enumerate(plan.chains):
        last = max((stage.index for stage in chain if stage.key in store), default=0)
        if last:
            start = plan.architecture.initial(plan.spec.seed, shard)
            jobs.append(make_job(plan, chain[:last], start))
            visits += sum(stage.visits for stage in chain[:last])

    def compare(fresh: Checkpoint) -> None:
        nonlocal count
        if fresh.key in store:
            _same(store.get(fresh.key), fresh)
            count += 1

    try:
        try_module(plan)
    except (TypeError, ValueError) as error:
        raise AuditError(f"the model cannot be retrained exactly: {error}") from error
    try:
        run_jobs(plan, jobs, keep=compare)
    except NotFiniteError as error:  # the revoked rows hold NaN, so they may have been read
        raise AuditError(
            f"retraining from scratch without the {plural(len(revoked), 'revoked example')} did "
            f"not stay finite, but the stored checkpoints are: {error}"
        ) from error
    yield (
        f"{count} clean checkpoints have the bits that retraining from scratch without the "
        f"{plural(len(revoked), 'revoked example')} gives ({visits:,} visits, "
        f"{time.perf_counter() - begun:.1f} s)"
    )
    shards = [s for s in range(plan.num_shards) if plan.alive(s)]
    missing = [s for s in shards if plan.final_key(s) not in store]
    owing = [s for s in missing if plan.final_key(s) in store.bases]
    if owing:
        yield (
            f"{len(owing)} of {len(shards)} constituents are approximate, as their debt says; they "
            "cannot be compared with retrained ones bit for bit before session.repay()"
        )
    if len(missing) > len(owing):
        yield f"{len(missing) - len(owing)} of {len(shards)} constituents are not trained yet"


def _same(kept: Checkpoint, fresh: Checkpoint) -> None:
    if different := different_bits(kept, fresh):
        raise AuditError(
            f"the clean checkpoint of shard {kept.shard}, stage {kept.stage} (key {kept.key}) is "
            f"not what retraining from scratch gives: {different}"
        )


def _overwritten(examples: Examples, revoked: np.ndarray) -> Examples:
    """The examples with the features and labels of the revoked rows overwritten."""
    gone = torch.from_numpy(np.isin(examples.ids, revoked))
    labels = examples.labels.clone()
    if isinstance(examples.features, Texts):
        features: Any = examples.features.overwritten(gone.numpy())
    else:
        features = examples.features.clone()
        features[gone] = torch.nan if features.is_floating_point() else ~features[gone]
    labels[gone] = torch.nan if labels.is_floating_point() else -1
    overwritten = Examples(examples.ids, features, labels, examples.offset, examples.scale)
    computed = features_of(examples)
    return overwritten if computed is None else computed.of_others(overwritten)


# Rebuilding the run


def _data_of(store: DiskStore, dataset: Dataset) -> Dataset:
    """Check that the data is the run's, by its fingerprint."""
    theirs = (store.manifest or {}).get("dataset")
    theirs = theirs if isinstance(theirs, dict) else {}
    if theirs.get("fingerprint") != dataset.fingerprint:
        raise ValueError(
            f"the run in {store.folder} was trained on {theirs.get('name')!r} with fingerprint "
            f"{theirs.get('fingerprint')}; the data given is {dataset.name!r} with fingerprint "
            f"{dataset.fingerprint}. Give the data of the run, with the same size and split"
        )
    return dataset


def _plan_of(store: DiskStore, dataset: Dataset, model: Any, spec: TrainSpec | None) -> Plan:
    """Rebuild the initial plan from the manifest.

    Raises:
        AuditError: the manifest describes an impossible run.
        ValueError: the data, model, spec or environment are not the run's.
    """
    run, given = store.manifest or {}, spec is not None
    said = run.get("rebuild")
    if said is None and (model is None or spec is None):
        raise ValueError(
            f"the run in {store.folder} was written by an earlier version and does not say how to "
            "build its model and spec. Open it in a session with the same settings and call "
            "train(), which adds them, or call audit(..., model=..., spec=...)"
        )
    try:
        said = {"spec": {}, "model": {"built-in": None, "version": None}} if said is None else said
        built, version = said["model"]["built-in"], said["model"]["version"]
        if spec is None and "loss" in said["spec"]:
            spec = spec_from(said["spec"])
        if model is None and built is not None:
            model = stored_model(built, dataset, store)
        if not isinstance(version, str | None):
            raise TypeError(f"version={version!r} is not a string")
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, OverflowError) as error:
        raise AuditError(
            f"the run's spec or model cannot be built ({type(error).__name__}: {error})"
        ) from error
    if spec is None:
        raise ValueError(
            f"the run used a custom loss ({run.get('spec')}); give its spec: audit(spec=...)"
        )
    if model is None:
        named = run.get("model")
        name = named.get("name") if isinstance(named, dict) else None
        raise ValueError(
            f"the run's model {name!r} is not a built-in one; give it: --model module:name, or "
            "audit(..., model=...)"
        )
    spec = as_recorded(spec, run.get("spec"))
    dataset = with_features(dataset, model, spec.num_threads)
    if isinstance(model, Frozen):
        architecture, _ = choose_model_and_spec(dataset, model, version=version, spec=spec)
    else:
        architecture = as_architecture(
            model, dataset.feature_shape, dataset.num_outputs, version=version
        )
    train = dataset.train
    partition = stored_partition(store, train)
    try:
        plan = make_plan(train, architecture, spec, partition=partition)
    except ValueError as error:
        if given:
            raise
        raise AuditError(f"the store describes a run that is not possible: {error}") from error
    _agree(run, plan)
    return plan


def _agree(run: dict[str, Any], plan: Plan) -> None:
    architecture: Architecture = plan.architecture
    ours = {
        "spec": repr(plan.spec),
        "model": {"name": architecture.title, "digest": architecture.digest},
        "environment": asdict(plan.environment),
    }
    for part, mine in ours.items():
        if run.get(part) != mine:
            raise ValueError(
                f"the run's {part} was {run.get(part)}, but here it is {mine}; audit with the "
                "same, because bits can be compared only then"
            )
