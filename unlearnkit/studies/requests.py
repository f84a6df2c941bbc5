"""Requests of a study: which training examples are revoked, and how many."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
from jaxtyping import Int

from unlearnkit.seeding import digest
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.request import as_ids

Ids = Int[np.ndarray, " request"]
Amount = int | float


def uniform(plan: Plan, amount: Amount, generator: np.random.Generator) -> Ids:
    """Any examples alike."""
    return _draw(plan.partition.ids, amount, generator)


def of_class(plan: Plan, amount: Amount, generator: np.random.Generator) -> Ids:
    """Examples of one class, drawn at random; a share is one of that class."""
    labels = plan.examples.labels.numpy()
    if plan.examples.labels.is_floating_point():
        raise ValueError("requests of kind 'class' need classes, and this is a regression")
    label = generator.choice(np.unique(labels))
    return _draw(plan.partition.ids[labels == label], amount, generator)


def costly(plan: Plan, amount: Amount, generator: np.random.Generator) -> Ids:
    """What costs exact retraining most: first slices, and as many shards as can be hit."""
    partition = plan.partition
    # Within each slice of each shard at random; then the first of each shard, the second, ...
    order = np.lexsort((generator.random(len(partition.ids)), partition.shard, partition.slice_))
    place = (partition.slice_ * partition.num_shards + partition.shard)[order]
    turn = np.empty(len(order), np.int64)
    turn[order] = np.arange(len(order)) - np.searchsorted(place, place)
    ranked = np.lexsort((partition.shard, turn, partition.slice_))
    return np.sort(partition.ids[ranked[: _count(amount, len(ranked))]])


def alike(plan: Plan, amount: Amount, generator: np.random.Generator) -> Ids:
    """An example and those that are most like it, by Euclidean distance of their features."""
    partition = plan.partition
    features, _ = plan.examples[partition.ids]
    features = features.flatten(1)
    centre = features[int(generator.integers(len(features)))]
    ranked = (features - centre).square().sum(1).argsort(stable=True).numpy()
    return np.sort(partition.ids[ranked[: _count(amount, len(ranked))]])


KINDS: dict[str, Callable[[Plan, Amount, np.random.Generator], Ids]] = {
    "uniform": uniform,
    "class": of_class,
    "costly": costly,
    "alike": alike,
}


@dataclass(frozen=True)
class Revoked:
    """A kind of request and its size, or the very examples.

    Attributes:
        kind: a name in ``KINDS``; of given examples any other.
        amount: a number of examples, or a share above 0 and at most 1, written as a float.
        ids: of given examples.
    """

    kind: str
    amount: Amount
    ids: tuple[int, ...] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, what: "What") -> "Revoked":
        """From what :func:`~unlearnkit.studies.study.study` takes.

        >>> Revoked.of(0.1), Revoked.of("half-class")
        (Revoked(kind='uniform', amount=0.1), Revoked(kind='class', amount=0.5))
        >>> Revoked.of(("mislabelled", [7, 3, 7])).ids
        (3, 7)

        Raises:
            KeyError: no kind has this name.
            TypeError: ids that are no whole numbers, or without a name.
            ValueError: an amount out of range, or no ids.
        """
        if isinstance(what, Revoked):
            return what
        if isinstance(what, str):
            what = {"class": ("class", 1.0), "half-class": ("class", 0.5)}.get(what, (what, 0))
        pair = isinstance(what, tuple) and len(what) == 2 and isinstance(what[0], str)
        if isinstance(what, Iterable) and not pair:
            raise TypeError(
                "ids alone were given; give a pair of a name and the ids: ('mislabelled', [3, 7])"
            )
        kind, amount = what if isinstance(what, tuple) else ("uniform", what)
        if isinstance(amount, Iterable):
            return cls._given(kind, amount)
        amount = int(amount) if isinstance(amount, Integral) else float(amount)
        if kind not in KINDS:
            raise KeyError(f"no kind of request is named {kind!r}; known are {', '.join(KINDS)}")
        if not (amount >= 1 if isinstance(amount, int) else 0 < amount <= 1):
            raise ValueError(
                f"amount={amount!r} is out of range; give a whole number of examples from 1 on, or "
                "a share above 0 and at most 1 as a float"
            )
        return cls(kind, amount)

    @classmethod
    def _given(cls, name: str, ids: Iterable[int]) -> "Revoked":
        chosen = tuple(np.unique(as_ids(ids)).tolist())
        if name in KINDS:
            raise ValueError(
                f"{name!r} is a kind of request that draws its examples; give your ids another name"
            )
        if not chosen:
            raise ValueError(f"the ids named {name!r} are none; give at least one")
        return cls(name, len(chosen), chosen)

    def draw(self, plan: Plan, generator: np.random.Generator) -> Ids:
        """The ids, ascending."""
        if self.ids is None:
            return KINDS[self.kind](plan, self.amount, generator)
        return np.array(self.ids)

    @property
    def key(self) -> str:
        """The same only for the same request."""
        return repr(self) if self.ids is None else f"{self!r} {digest(str(self.ids))}"


What = Amount | str | tuple[str, Amount | Iterable[int]] | Revoked


def _count(amount: Amount, available: int) -> int:
    wanted = amount if isinstance(amount, int) else round(amount * available)
    return min(max(wanted, 1), available)


def _draw(
    ids: Int[np.ndarray, " candidate"], amount: Amount, generator: np.random.Generator
) -> Ids:
    chosen: np.ndarray = generator.choice(ids, _count(amount, len(ids)), replace=False)
    return np.sort(chosen)
