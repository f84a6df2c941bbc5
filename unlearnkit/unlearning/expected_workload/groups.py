"""What it costs to forget each group of the data, such as a person, and several together."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from unlearnkit.data.reading.groups import Grouping
from unlearnkit.data.reading.propensities import has_unequal
from unlearnkit.display import as_html, plural
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.expected_workload.unequal import departures
from unlearnkit.unlearning.expected_workload.uniform import expected_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class GroupCosts:
    """The cost of retraining exactly after a group is forgotten, for each group, without debt.

    Groups without remaining rows in the training part cost nothing and are left out.

    Attributes:
        names: name of each group.
        rows: number of its remaining rows in the training part.
        shards: number of shards that hold them.
        visits: example gradients of retraining.
        share: visits as a share of training everything from scratch without the group.
        shard_rows: mean number of remaining rows of a shard.
        expected: expected visits by number of groups that are forgotten together, each chosen in
            proportion to its rate.
        remaining: expected visits of training everything from scratch without them.
        total_visits: visits of training everything from scratch on the current retain set.
        rates: relative rate at which each group leaves: its propensity, or 1 without propensities.
    """

    names: tuple[Hashable, ...]
    rows: Int[np.ndarray, " group"]
    shards: Int[np.ndarray, " group"]
    visits: Int[np.ndarray, " group"]
    share: Float[np.ndarray, " group"]
    shard_rows: float
    expected: Callable[[int], float] = field(repr=False)
    remaining: Callable[[int], float] = field(repr=False)
    total_visits: int
    rates: Float[np.ndarray, " group"]

    @property
    def mean_share(self) -> float:
        """What one group costs on average, as a share of training everything from scratch.

        Propensities weight the average; it is 0 if no group is left that may leave.
        """
        return float(np.average(self.share, weights=self.rates)) if self.rates.any() else 0.0

    @property
    def worst(self) -> Hashable:
        """Name of the group that costs most; the first if several do.

        Raises:
            LookupError: no group has a row left.
        """
        if not self.names:
            raise LookupError("no group has a row left in the training part")
        return self.names[int(self.share.argmax())]

    def share_of(self, num_groups: int) -> float:
        """Return the expected share of forgetting this many groups in one request.

        The groups are those of a month, say, which are forgotten together at its end. Each is
        chosen in proportion to its propensity, or uniformly without propensities.

        Raises:
            ValueError: there are not as many groups that may leave, or all would be forgotten.
        """
        count, most = len(self.names), self._most
        if not 0 <= num_groups <= most:
            may_leave = int((self.rates > 0).sum())
            some = f", {may_leave:,} of which may leave," if may_leave < count else ""
            raise ValueError(
                f"num_groups is {num_groups}, but {count:,} groups{some} have rows in the training "
                f"part; give a number from 0 to {most:,}"
            )
        return self.expected(num_groups) / max(1.0, self.remaining(num_groups))

    @property
    def _most(self) -> int:
        """How many groups may leave so that one remains."""
        return max(0, min(int((self.rates > 0).sum()), len(self.names) - 1))

    @property
    def note(self) -> str:
        """A sentence on the groups that had to be divided among shards; empty if there are none."""
        divided = np.flatnonzero(self.shards > 1)
        if not len(divided):
            return ""
        most = divided[np.argsort(-self.rows[divided], kind="stable")]
        shown = [
            f"{self.names[i]!r} ({self.rows[i]:,} rows, {self.shards[i]} shards, "
            f"{self.share[i]:.1%})"
            for i in most[:3].tolist()
        ]
        more = f" and {len(divided) - 3} more" if len(divided) > 3 else ""
        return (
            f"A shard holds {self.shard_rows:,.0f} rows on average, so larger groups are divided "
            f"among several, all of which are retrained: {', '.join(shown)}{more}."
        )

    def __repr__(self) -> str:
        count = len(self.names)
        if not count:
            return "GroupCosts(no group has a row left)"
        weighted = " by propensity" if has_unequal(self.rates) else ""
        text = (
            f"GroupCosts({plural(count, 'group')}: forgetting one costs {self.mean_share:.1%} of "
            f"training from scratch on average{weighted}, {self.share.max():.1%} at worst "
            f"({self.worst!r})"
        )
        return text + (f", ten together {self.share_of(10):.1%})" if self._most >= 10 else ")")

    def to_frame(self) -> "pd.DataFrame":
        """One row per group, the most expensive first: group, rows, shards, visits and share.

        Unequal propensities follow as a further column.
        """
        import pandas as pd

        names = np.fromiter(self.names, object, len(self.names))
        columns = {n: getattr(self, n) for n in ("rows", "shards", "visits", "share")}
        if has_unequal(self.rates):
            columns["propensity"] = self.rates
        frame = pd.DataFrame({"group": names, **columns})
        return frame.sort_values("share", ascending=False, kind="stable", ignore_index=True)

    def _repr_html_(self) -> str:
        return as_html(self, formatters={"share": "{:.1%}".format}) + f"<p>{escape(self.note)}</p>"


def group_costs(plan: Plan, grouping: Grouping) -> GroupCosts:
    """Return what it costs to forget each group of a plan's data.

    A group that has its first row of shard s in slice r costs sum_q>=r e_q (m_sq - g_sq) there,
    where m_sq and g_sq count the remaining rows of slices 1..q, and those of them that are the
    group's. For k of G groups, chosen uniformly, the formula of
    :func:`~unlearnkit.unlearning.expected_workload.uniform.expected_visits` holds with
    k / G, and with q_sr = C(G - n_sr, k) / C(G, k), where n_sr counts the groups with a row in
    slices 1..r of shard s. With unequal propensities the formula of
    :class:`~unlearnkit.unlearning.expected_workload.unequal.Departures` takes its place.

    Args:
        plan: the plan of the current retain set.
        grouping: names of the groups.

    Raises:
        ValueError: the examples have no groups.
    """
    if plan.examples.groups is None:
        raise ValueError("the examples of this plan have no groups; give groups= with the data")
    kept, partition, epochs = plan.retained, plan.partition, np.array(plan.spec.stage_epochs())
    num_shards = partition.num_shards
    members = partition.sizes(kept).cumsum(1)
    later = epochs[::-1].cumsum()[::-1]  # epochs that a row of each slice takes part in
    whole = (epochs * members)[:, ::-1].cumsum(1)[:, ::-1]  # visits from each stage on
    slices = partition.slice_[kept]
    pairs, at, first = places_of_groups(plan)
    own = np.bincount(at, later[slices - 1], len(pairs)).astype(np.int64)
    group, shard = np.divmod(pairs, num_shards)
    present, by_group = np.unique(group, return_inverse=True)

    def total(values: Int[np.ndarray, " pair"]) -> Int[np.ndarray, " group"]:
        return np.bincount(by_group, values, len(present)).astype(np.int64)

    visits, left = total(whole[shard, first - 1] - own), plan.total_visits - total(own)
    expected, remaining = _expectation(plan, members, holders_of(plan, pairs, first), len(present))
    return GroupCosts(
        names=tuple(grouping.names[number] for number in present.tolist()),
        rows=total(np.bincount(at, minlength=len(pairs))),
        shards=total(np.ones(len(pairs), np.int64)),
        visits=visits,
        share=visits / np.maximum(1, left),
        shard_rows=float(kept.sum() / max(1, (members[:, -1] > 0).sum())),
        expected=expected,
        remaining=remaining,
        total_visits=plan.total_visits,
        rates=departures(plan).rates,
    )


def _expectation(
    plan: Plan,
    members: Int[np.ndarray, "shard slice"],
    holders: Int[np.ndarray, "shard slice"],
    num_groups: int,
) -> tuple[Callable[[int], float], Callable[[int], float]]:
    """Return the expected visits of forgetting some groups, and of what then remains."""
    units = departures(plan)
    if has_unequal(units.rates):
        return units.visits, units.remaining
    epochs, total = plan.spec.stage_epochs(), plan.total_visits
    return (
        partial(expected_of, members, holders, epochs, num_groups),
        lambda k: total * (1 - k / num_groups),
    )


def places_of_groups(
    plan: Plan,
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " row"], Int[np.ndarray, " pair"]]:
    """Return the pairs of a group and a shard that holds remaining rows of it.

    Returns:
        The pairs, as group * S + shard, ascending; the pair of each remaining row; and the first
        slice of each pair.
    """
    assert plan.examples.groups is not None
    kept, partition = plan.retained, plan.partition
    places = plan.examples.groups[kept] * partition.num_shards + partition.shard[kept]
    pairs, at = np.unique(places, return_inverse=True)
    first = np.full(len(pairs), partition.num_slices, np.int64)
    np.minimum.at(first, at, partition.slice_[kept])
    return pairs, at, first


def holders_of(
    plan: Plan, pairs: Int[np.ndarray, " pair"], first: Int[np.ndarray, " pair"]
) -> Int[np.ndarray, "shard slice"]:
    """Return how many groups have a remaining row in slices 1..r of each shard."""
    num_shards, num_slices = plan.partition.num_shards, plan.partition.num_slices
    places = pairs % num_shards * num_slices + first - 1
    held = np.bincount(places, minlength=num_shards * num_slices)
    counts: np.ndarray = held.reshape(num_shards, num_slices).cumsum(1)
    return counts
