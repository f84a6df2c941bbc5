"""The plan: a chain of content-addressed stages for every shard.

``key(s, 0) = H(spec, seed, s, model, kernel, environment)`` and ``key(s, r) = H(key(s, r-1), e_r,
original ids of slice r, retained ids of slice r with their content digests)``. Revoking an example
of slice b changes the keys r >= b of its shard and no others. The stages whose keys a store lacks
have to be trained. Training, retraining from scratch and exact unlearning are therefore one
operation with different stores and retain sets.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Int

from unlearnkit.data.examples import Examples
from unlearnkit.data.reading.propensities import has_unequal
from unlearnkit.display import as_html, plural
from unlearnkit.models.architecture import Architecture
from unlearnkit.models.frozen.features import features_of
from unlearnkit.seeding import digest
from unlearnkit.store.footprint import announced, free_memory, size
from unlearnkit.training.environment import STACKED_KERNEL, Environment, environment, resolve_device
from unlearnkit.training.partition import Partition, make_partition
from unlearnkit.training.partition.likely_late import share_of_last_slices
from unlearnkit.training.spec import TrainSpec

if TYPE_CHECKING:
    import pandas as pd

# The schedule of a shard holds a row number for every slot of a batch, and a copy while it is made;
# a batch holds four bytes for every feature, and its gradients and copies as many. Less than a
# gigabyte is not compared with the memory that is free.
SLOT_BYTES, FEATURE_BYTES, FEW_BYTES = 8, 16, 2**30


class HasKeys(Protocol):
    """A container of checkpoint keys, such as a store."""

    def __contains__(self, key: object) -> bool:
        """Whether an exact checkpoint with this key is stored."""
        ...


@dataclass(frozen=True)
class Stage:
    """Training of one shard on its slices 1..index.

    Attributes:
        shard: 0-based shard.
        index: r, the 1-based number of the stage.
        epochs: e_r, the epochs of the stage.
        key: key of the checkpoint at its end.
        parent: key of the checkpoint that it starts from; ``key(s, 0)`` denotes the initial
            weights.
        visits: example gradients: e_r times the retained examples of slices 1..r.
        steps: optimizer steps, including those of batches that lost all their examples.
    """

    shard: int
    index: int
    epochs: int
    key: str
    parent: str
    visits: int
    steps: int


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """The stages that train the ensemble on the retain set.

    Attributes:
        spec: the training specification.
        architecture: model of every constituent.
        examples: the training part of the data.
        partition: shard and slice of every example.
        retained: mask of the examples that are not revoked.
        environment: the settings of this process on which bits depend.
        chains: stages 1..R of each shard.
    """

    spec: TrainSpec
    architecture: Architecture
    examples: Examples
    partition: Partition
    retained: Bool[np.ndarray, " example"]
    environment: Environment
    chains: tuple[tuple[Stage, ...], ...]

    def __repr__(self) -> str:
        return (
            f"Plan({self.partition.num_shards} shards x {self.partition.num_slices} slices, "
            f"{int(self.retained.sum())} examples{self._groups_text}, {self.total_visits:,} visits"
            f"{self._rates_text}{announced(self.checkpoint_bytes)})"
        )

    @property
    def _groups_text(self) -> str:
        """How many groups are left, and how many of them are spread over several shards."""
        if self.examples.groups is None:
            return ""
        groups, shards = self.examples.groups[self.retained], self.partition.shard[self.retained]
        pairs = np.unique(groups * self.partition.num_shards + shards)
        _, places = np.unique(pairs // self.partition.num_shards, return_counts=True)
        divided = int((places > 1).sum())
        text = f" of {plural(len(places), 'group')}"
        return f"{text}, {divided} of them in several shards" if divided else text

    @property
    def _rates_text(self) -> str:
        """Which share of requests is expected in the last slices, if propensities are unequal."""
        if not has_unequal(self.examples.propensity) or self.spec.num_slices == 1:
            return ""
        share = share_of_last_slices(self.examples, self.partition.slice_, self.retained)
        return f", {share:.0%} of requests expected in the last slices"

    @property
    def num_shards(self) -> int:
        """Number of shards S."""
        return len(self.chains)

    @property
    def stages(self) -> Iterator[Stage]:
        """All stages, shard by shard."""
        return (stage for chain in self.chains for stage in chain)

    @property
    def total_visits(self) -> int:
        """Example gradients of training all shards from scratch."""
        return sum(stage.visits for stage in self.stages)

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes that the checkpoints of all stages take, tails included, in memory or on disk."""
        models = sum(map(self.alive, range(self.num_shards)))
        states = self.spec.num_slices + len(self.spec.tail_epochs())
        return models * states * self.architecture.state_bytes

    @property
    def stacked(self) -> bool:
        """Whether shards are trained in lockstep."""
        return self.environment.kernel == STACKED_KERNEL

    @cached_property
    def device(self) -> torch.device:
        """The device for training."""
        return resolve_device(self.spec.device)

    @property
    def keys(self) -> frozenset[str]:
        """Keys of all stages."""
        return frozenset(stage.key for stage in self.stages)

    def alive(self, shard: int) -> bool:
        """Whether the shard has a retained example; otherwise it has no constituent."""
        return self.chains[shard][-1].visits > 0

    @property
    def digest(self) -> str:
        """Digest of every shard's final key; it identifies everything that parameters depend on."""
        return digest(*(chain[-1].key for chain in self.chains))

    def final_key(self, shard: int) -> str:
        """Return the key of the shard's last stage."""
        return self.chains[shard][-1].key

    def missing(self, store: HasKeys, shards: Iterable[int] | None = None) -> tuple[Stage, ...]:
        """Return the stages that the store lacks, of all shards or of these.

        Shards without retained examples have no missing stage.
        """
        chosen = range(self.num_shards) if shards is None else sorted(set(shards))
        return tuple(
            stage
            for s in chosen
            if self.alive(s)
            for stage in self.chains[s]
            if stage.key not in store
        )

    def pool(self, shard: int, stage: int) -> Int[np.ndarray, " slot"]:
        """Return the rows of slices 1..stage, including revoked examples, ascending."""
        rows = self.partition.shard_rows(shard)
        pool: np.ndarray = rows[self.partition.slice_[rows] <= stage]
        return pool

    def lineage(self, shard: int, stage: int, debt: np.ndarray | None = None) -> bytes:
        """Return as packed bits which members of a stage's pool its checkpoint depends on.

        Args:
            shard: 0-based shard.
            stage: 1-based stage.
            debt: ids of examples that were removed only approximately; they count as well.
        """
        pool = self.pool(shard, stage)
        shaped = self.retained[pool]
        if debt is not None:
            owed = np.zeros(len(self.retained), bool)
            owed[self.partition.rows(debt)] = True
            shaped = shaped | owed[pool]
        return np.packbits(shaped).tobytes()

    def without(self, ids: Iterable[int] | np.ndarray) -> "Plan":
        """Return the plan after these ids are revoked; chains of other shards are shared."""
        rows = self.partition.rows(np.asarray(list(ids), np.int64))
        retained = self.retained.copy()
        retained[rows] = False
        changed = replace(self, retained=retained)
        hit = set(np.unique(self.partition.shard[rows]).tolist())
        chains = tuple(
            _chain(changed, s) if s in hit else chain for s, chain in enumerate(self.chains)
        )
        return replace(changed, chains=chains)

    def with_seed(self, seed: int) -> "Plan":
        """Return the plan of another training on the same retained examples.

        Shards and slices stay as they are; initial weights and batches are those of the seed.
        """
        return make_plan(
            self.examples,
            self.architecture,
            self.spec.with_(seed=seed),
            partition=self.partition,
            revoked=self.partition.ids[~self.retained],
        )

    def only(self, shards: Iterable[int]) -> "Plan":
        """Return the plan reduced to the data needed to train some shards in another process.

        The reduced plan holds no example of other shards, and no contents of revoked examples, only
        their slots. Stages and keys are those of the whole plan.
        """
        rows = np.flatnonzero(np.isin(self.partition.shard, sorted(set(shards))))
        retained, whole = self.retained[rows], self.partition
        kept = torch.from_numpy(rows[retained])  # the rows of partition and examples coincide
        ids = self.examples.ids[kept.numpy()]
        if self.examples.computed is None:
            examples = replace(
                self.examples,
                ids=ids,
                features=self.examples.features[kept],
                labels=self.examples.labels[kept],
                groups=None,  # the partition is made
                propensity=None,
            )
        else:  # workers get what a backbone has computed, and not the backbone
            examples = Examples(ids, *self.examples[ids])
        return replace(
            self,
            examples=examples,
            architecture=replace(self.architecture, backbone=None),
            partition=Partition(
                whole.ids[rows],
                whole.shard[rows],
                whole.slice_[rows],
                np.zeros((len(rows), 16), np.uint8),  # content digests are not read by workers
            ),
            retained=retained,
        )

    def without_contents(self, owed: Iterable[np.ndarray] = ()) -> "Plan":
        """Return the plan without any content of a revoked example: no feature, label or digest.

        Ids, shards, slices and the keys of all stages stay. Features and targets of revoked
        examples become NaN, bytes 0, whole numbers and class numbers -1. The features are copied,
        so that nobody's array changes; during the call they take twice their memory.

        Args:
            owed: ids of examples that were removed only approximately. Their class numbers stay
                until the debt is repaid, because a later request counts how much of a class a shard
                has lost.
        """
        gone, whole = ~self.retained, self.partition
        features, labels = self.examples.features, self.examples.labels.clone()
        if whole.digests[gone].any():  # otherwise all of them were erased before
            features = features.clone()
            nothing = torch.nan if features.is_floating_point() else -1
            features[torch.from_numpy(gone)] = 0 if features.dtype == torch.uint8 else nothing
        unlabelled = gone.copy()
        if not labels.is_floating_point():
            unlabelled[whole.rows(np.concatenate([np.empty(0, np.int64), *owed]))] = False
        labels[torch.from_numpy(unlabelled)] = torch.nan if labels.is_floating_point() else -1
        # A digest would let a reader check guesses about the content.
        digests = np.where(gone[:, None], np.uint8(0), whole.digests)
        rates = self.examples.propensity
        rates = None if rates is None else np.where(gone, 0, rates)
        examples = replace(
            self.examples, features=features, labels=labels, propensity=rates, computed=None
        )
        examples.__dict__["digests"] = digests  # in place of those that would be computed of NaN
        partition = Partition(whole.ids, whole.shard, whole.slice_, digests)
        computed = features_of(self.examples)
        if computed is not None:
            computed.forget(whole.ids[gone])
            computed.release_contents("train", examples)
            examples = replace(examples, computed=computed)
        return replace(self, examples=examples, partition=partition)

    def check_environment(self) -> None:
        """Check that this environment reproduces the plan's bits.

        Raises:
            ValueError: a setting on which bits depend differs.
        """
        now = environment(self.architecture, self.spec)
        if now != self.environment:
            raise ValueError(self.environment.changes(now))

    def shards_of(self, ids: np.ndarray) -> tuple[int, ...]:
        """Return the shards that hold any of these ids, ascending."""
        return tuple(np.unique(self.partition.shard[self.partition.rows(ids)]).tolist())

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with one row per stage."""
        import pandas as pd

        columns = ("shard", "index", "epochs", "visits", "steps", "key")
        return pd.DataFrame(
            [[getattr(stage, column) for column in columns] for stage in self.stages],
            columns=["shard", "stage", *columns[2:]],
        )

    def _repr_html_(self) -> str:
        return as_html(self)


def make_plan(
    examples: Examples,
    architecture: Architecture,
    spec: TrainSpec,
    *,
    partition: Partition | None = None,
    revoked: Iterable[int] | np.ndarray = (),
) -> Plan:
    """Plan the training of an ensemble.

    Args:
        examples: the training part, including revoked examples, whose contents are not read.
        architecture: model of every constituent.
        spec: the training specification.
        partition: an existing partition; a new one is made by default.
        revoked: ids to leave out.

    Raises:
        TypeError: the partition is not a :class:`~unlearnkit.training.partition.Partition`.
        ValueError: the partition does not fit the examples or the spec, or a built-in model is to
            be trained on whole numbers.
    """
    if architecture.described is not None and examples.input_dtype == torch.int64:
        raise ValueError(
            f"{architecture.name} is a built-in model, which takes real numbers, but the features "
            "are kept as int64; make the data without dtype=torch.int64, or give a model of your "
            "own that looks whole numbers up, such as one that begins with nn.Embedding"
        )
    partition = make_partition(examples, spec) if partition is None else partition
    _check_partition(partition, examples, spec)
    retained = np.ones(len(examples), bool)
    retained[partition.rows(np.asarray(list(revoked), np.int64))] = False
    plan = Plan(
        spec, architecture, examples, partition, retained, environment(architecture, spec), ()
    )
    return replace(plan, chains=tuple(_chain(plan, s) for s in range(partition.num_shards)))


def _check_partition(partition: Partition, examples: Examples, spec: TrainSpec) -> None:
    if not isinstance(partition, Partition):
        raise TypeError(
            f"partition={partition!r} is not a Partition; give one, such as that of another "
            "session (session.plan.partition), or None for a random one"
        )
    if not np.array_equal(partition.ids, examples.ids):
        raise ValueError(
            f"the partition's {len(partition.ids)} ids and the {len(examples)} ids of the training "
            "part differ; use a partition of this training part."
        )
    found = (partition.num_shards, partition.num_slices)
    if found != (spec.num_shards, spec.num_slices):
        raise ValueError(
            f"the partition has {found[0]} shards x {found[1]} slices, the spec "
            f"{spec.num_shards} x {spec.num_slices}; give the spec num_shards={found[0]} and "
            f"num_slices={found[1]}."
        )
    check_schedule(partition, examples, spec)


def check_schedule(partition: Partition, examples: Examples, spec: TrainSpec) -> None:
    """Check that the schedule and a batch of the largest shard fit into memory.

    Raises:
        ValueError: they take more than is free.
    """
    pools = partition.sizes(np.ones(len(partition.ids), bool)).max(0).cumsum().tolist()
    batch = spec.batch_size
    slots = sum(
        epochs * batch * -(-pool // batch)
        for epochs, pool in zip(spec.stage_epochs(), pools, strict=True)
    )
    taken = slots * SLOT_BYTES + batch * math.prod(examples.input_shape) * FEATURE_BYTES
    if taken < FEW_BYTES:
        return
    free = free_memory()
    if free is not None and taken > free:
        raise ValueError(
            f"epochs={spec.epochs} and batch_size={batch} make {slots:,} slots in the batches of a "
            f"shard, whose schedule and inputs take {size(taken)}, and {size(free)} are free; use "
            "fewer epochs, or batches no larger than a shard"
        )


def _chain(plan: Plan, shard: int) -> tuple[Stage, ...]:
    """Return the stages of one shard with their chained keys."""
    spec, partition = plan.spec, plan.partition
    key = digest(
        "stage-0",
        spec.digest,
        spec.seed,
        shard,
        plan.architecture.digest,
        plan.environment.kernel,
        plan.environment.digest,
    )
    stages, slots, living = [], 0, 0
    for r, epochs in enumerate(spec.stage_epochs(), start=1):
        members, contents = partition.slice_members(shard, r)
        alive = plan.retained[members]
        kept = int(alive.sum())
        parent, slots, living = key, slots + len(members), living + kept
        # Ids of the slice, a mask of those that are retained, and the contents of the latter.
        key = digest(
            parent,
            epochs,
            partition.slice_digests[shard][r - 1],
            np.packbits(alive).tobytes(),
            hashlib.sha256(contents[alive]).digest(),  # faster than BLAKE2b on long inputs
        )
        steps = epochs * -(-slots // spec.batch_size) if living else 0
        stages.append(Stage(shard, r, epochs, key, parent, epochs * living, steps))
    return tuple(stages)
