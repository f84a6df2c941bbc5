"""Requests of a study: which training examples are revoked, and how many."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np
from jaxtyping import Float64, Int

from unlearnkit.data.reading.propensities import has_unequal
from unlearnkit.seeding import digest
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.request import as_ids

Ids = Int[np.ndarray, " request"]
Amount = int | float  # a number of examples or groups, or as a float a share of the candidates
NO_GROUPS = (
    "requests of kind 'group' need groups; say which rows belong together when the data are read "
    "(groups=), or use another kind"
)
NO_PROPENSITIES = (
    "requests of kind 'likely' need propensities; say how likely each row is to be revoked when "
    "the data are read (propensity=), or use 'uniform'"
)


def uniform(plan: Plan, amount: Amount, generator: np.random.Generator) -> Ids:
    """Training examples drawn uniformly at random."""
    return _draw(plan.partition.ids, amount, generator)


def likely(plan: Plan, amount: Amount, generator: np.random.Generator) -> Ids:
    """Training examples drawn in proportion to their propensities; those of 0 never are.

    Raises:
        ValueError: the data have no propensities.
    """
    rates = plan.examples.propensity
    if rates is None:
        raise ValueError(NO_PROPENSITIES)
    return _draw(plan.partition.ids, amount, generator, rates)


def of_class(plan: Plan, amount: Amount, generator: np.random.Generator) -> Ids:
    """Examples of one class, both drawn at random; a share refers to the size of the class.

    Raises:
        ValueError: this is a regression.
    """
    labels = plan.examples.labels.numpy()
    if plan.examples.labels.is_floating_point():
        raise ValueError(
            "requests of kind 'class' need classes, and this is a regression; use 'uniform', "
            "'costly' or 'alike'"
        )
    label = generator.choice(np.unique(labels))
    return _draw(plan.partition.ids[labels == label], amount, generator)


def costly(plan: Plan, amount: Amount, generator: np.random.Generator) -> Ids:
    """The examples whose removal costs exact retraining most.

    They lie in the first slices and are spread over as many shards as possible.
    """
    partition = plan.partition
    # Shuffle each slice of each shard, then take one example of every shard in turn.
    order = np.lexsort((generator.random(len(partition.ids)), partition.shard, partition.slice_))
    place = (partition.slice_ * partition.num_shards + partition.shard)[order]
    turn = np.empty(len(order), np.int64)
    turn[order] = np.arange(len(order)) - np.searchsorted(place, place)
    ranked = np.lexsort((partition.shard, turn, partition.slice_))
    return np.sort(partition.ids[ranked[: _count(amount, len(ranked))]])


def nearest(plan: Plan, amount: Amount, generator: np.random.Generator) -> Ids:
    """A random example and its nearest neighbours, by Euclidean distance of the features."""
    partition = plan.partition
    features, _ = plan.examples[partition.ids]
    features = features.flatten(1)
    centre = features[int(generator.integers(len(features)))]
    ranked = (features - centre).square().sum(1).argsort(stable=True).numpy()
    return np.sort(partition.ids[ranked[: _count(amount, len(ranked))]])


def of_groups(plan: Plan, amount: Amount, generator: np.random.Generator) -> Ids:
    """All training examples of groups, such as persons, that are drawn at random.

    The amount is a number of groups, or a share of them. Groups of unequal propensities are drawn
    in proportion to them.

    Raises:
        ValueError: the data have no groups.
    """
    groups = plan.examples.groups
    if groups is None:
        raise ValueError(NO_GROUPS)
    numbers, first = np.unique(groups, return_index=True)
    rates = plan.examples.propensity
    if rates is not None:  # all rows of a group have the same
        rates = rates[first] if has_unequal(rates) else None
    chosen = _draw(numbers, amount, generator, rates)
    ids: Ids = plan.partition.ids[np.isin(groups, chosen)]
    return ids


KINDS: dict[str, Callable[[Plan, Amount, np.random.Generator], Ids]] = {
    "uniform": uniform,
    "likely": likely,
    "class": of_class,
    "costly": costly,
    "alike": nearest,
    "group": of_groups,
}


@dataclass(frozen=True)
class Revoked:
    """A request of a study: a rule that draws examples, or given examples.

    Attributes:
        kind: a name in ``KINDS``, or for given examples a name of your choice.
        amount: the number of examples (an int), or for the kind ``"group"`` of groups; or a share
            of the candidates, above 0 and at most 1 (a float).
        ids: the given examples, or None if the examples are drawn.
    """

    kind: str
    amount: Amount
    ids: tuple[int, ...] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, request: "RequestLike", usual: str = "uniform") -> "Revoked":
        """Convert an entry of ``revoked`` in :func:`~unlearnkit.studies.study.study`.

        Args:
            request: the entry.
            usual: the kind of an amount without a kind.

        >>> Revoked.of(0.1), Revoked.of("half-class")
        (Revoked(kind='uniform', amount=0.1), Revoked(kind='class', amount=0.5))
        >>> Revoked.of(("mislabelled", [7, 3, 7])).ids
        (3, 7)

        Raises:
            KeyError: no kind of request has this name.
            TypeError: the ids are not whole numbers, or they have no name.
            ValueError: the amount is out of range, there are no ids, or their name is one of
                ``KINDS``.
        """
        if isinstance(request, Revoked):
            return request
        if isinstance(request, str):
            short = {"class": ("class", 1.0), "half-class": ("class", 0.5)}
            request = short.get(request, (request, 0))
        named = isinstance(request, tuple) and len(request) == 2 and isinstance(request[0], str)
        if isinstance(request, Iterable) and not named:
            raise TypeError(
                "ids alone were given; give a pair of a name and the ids, such as "
                "('mislabelled', [3, 7])"
            )
        kind, amount = request if isinstance(request, tuple) else (usual, request)
        if isinstance(amount, Iterable):
            return cls._given(kind, amount)
        amount = int(amount) if isinstance(amount, Integral) else float(amount)
        if kind not in KINDS:
            raise KeyError(f"no kind of request is named {kind!r}; choose from {', '.join(KINDS)}")
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
            raise ValueError(f"the request {name!r} holds no ids; give at least one")
        return cls(name, len(chosen), chosen)

    def draw(self, plan: Plan, generator: np.random.Generator) -> Ids:
        """The ids of the request, ascending; equal generators draw equal ids."""
        if self.ids is None:
            return KINDS[self.kind](plan, self.amount, generator)
        return np.array(self.ids)

    @property
    def key(self) -> str:
        """A text that identifies the request."""
        return repr(self) if self.ids is None else f"{self!r} {digest(str(self.ids))}"


RequestLike = Amount | str | tuple[str, Amount | Iterable[int]] | Revoked


def _count(amount: Amount, available: int) -> int:
    wanted = amount if isinstance(amount, int) else round(amount * available)
    return min(max(wanted, 1), available)


def _draw(
    ids: Int[np.ndarray, " candidate"],
    amount: Amount,
    generator: np.random.Generator,
    rates: Float64[np.ndarray, " candidate"] | None = None,
) -> Ids:
    """Draw some of the candidates, each time one of the rest, in proportion to its rate if given.

    Candidates with a rate of 0 are left out.
    """
    odds = None
    if rates is not None:
        ids, rates = ids[rates > 0], rates[rates > 0]
        odds = rates / rates.sum()
    chosen: np.ndarray = generator.choice(ids, _count(amount, len(ids)), replace=False, p=odds)
    return np.sort(chosen)
