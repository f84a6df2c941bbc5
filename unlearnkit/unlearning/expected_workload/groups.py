"""What it costs to forget each group of the data, such as a person, and several together."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from unlearnkit.data.reading.groups import Grouping
from unlearnkit.display import as_html, plural
from unlearnkit.training.plan import Plan
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
        expected: expected visits by number of groups that are forgotten together, chosen uniformly.
        total_visits: visits of training everything from scratch on the current retain set.
    """

    names: tuple[Hashable, ...]
    rows: Int[np.ndarray, " group"]
    shards: Int[np.ndarray, " group"]
    visits: Int[np.ndarray, " group"]
    share: Float[np.ndarray, " group"]
    shard_rows: float
    expected: Callable[[int], float] = field(repr=False)
    total_visits: int

    @property
    def mean_share(self) -> float:
        """What one group costs on average, as a share of training everything from scratch."""
        return float(self.share.mean()) if len(self.share) else 0.0

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

        The groups are chosen uniformly, as those of a month that are forgotten together at its end.

        Raises:
            ValueError: there are not as many groups, or all would be forgotten.
        """
        count = len(self.names)
        if not 0 <= num_groups < max(count, 1):
            raise ValueError(
                f"num_groups is {num_groups}, but {count:,} groups have rows in the training part; "
                f"give a number from 0 to {max(0, count - 1):,}"
            )
        return self.expected(num_groups) / (self.total_visits * (1 - num_groups / max(count, 1)))

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
        text = (
            f"GroupCosts({plural(count, 'group')}: forgetting one costs {self.mean_share:.1%} of "
            f"training from scratch on average, {self.share.max():.1%} at worst ({self.worst!r})"
        )
        return text + (f", ten together {self.share_of(10):.1%})" if count > 10 else ")")

    def to_frame(self) -> "pd.DataFrame":
        """One row per group, the most expensive first: group, rows, shards, visits and share."""
        import pandas as pd

        names = np.fromiter(self.names, object, len(self.names))
        columns = {n: getattr(self, n) for n in ("rows", "shards", "visits", "share")}
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
    slices 1..r of shard s.

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

    visits, remaining = total(whole[shard, first - 1] - own), plan.total_visits - total(own)
    holders = holders_of(plan, pairs, first)
    return GroupCosts(
        names=tuple(grouping.names[number] for number in present.tolist()),
        rows=total(np.bincount(at, minlength=len(pairs))),
        shards=total(np.ones(len(pairs), np.int64)),
        visits=visits,
        share=visits / np.maximum(1, remaining),
        shard_rows=float(kept.sum() / max(1, (members[:, -1] > 0).sum())),
        expected=partial(expected_of, members, holders, epochs.tolist(), len(present)),
        total_visits=plan.total_visits,
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
