"""Expected workloads of random requests, costs of groups, and the stages of a workload."""

import warnings
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from math import exp, lgamma
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from unlearnkit.data.reading.groups import Grouping
from unlearnkit.display import as_html, plural
from unlearnkit.training.partition import balanced_sizes
from unlearnkit.training.plan import Plan
from unlearnkit.unlearning.workload import Workload

if TYPE_CHECKING:
    import pandas as pd

MOST_POINTS = 60  # upper limit for a curve


def expected_visits(
    num_examples: int, num_shards: int, epochs: tuple[int, ...], num_revoked: int
) -> float:
    """Return the expected workload of ``num_revoked`` examples, revoked uniformly at random.

    E[W] = sum_s sum_r e_r m_sr [(1 - k/N) - q_sr], where m_sr is the number of examples in slices
    1..r of shard s, which differ by at most one between the slices of a shard and between shards
    (see :func:`~unlearnkit.training.partition.make_partition`), and
    q_sr = C(N - m_sr, k) / C(N, k) the probability that none of them is revoked. (The formula was
    derived for unlearnkit. :func:`expected_visits_of` takes the slice sizes of any partition.)

    >>> N, S, R = 10_000, 10, 5
    >>> scratch = sum(7 * r * N / R for r in range(1, R + 1))
    >>> share = expected_visits(N, S, (7,) * R, 1) / scratch  # one revocation
    >>> round(share, 3), round((2 * R + 1) / (3 * R * S), 3)
    (0.073, 0.073)

    Args:
        num_examples: N.
        num_shards: S.
        epochs: epochs of each stage, e_1..e_R.
        num_revoked: k.

    Returns:
        Expected visits (example gradients); 0 if all examples are revoked, of which a warning
        tells.

    Raises:
        ValueError: k is negative or more than N.
    """
    return _expected(balanced_sizes(num_examples, num_shards, len(epochs)), epochs, num_revoked)


def expected_visits_of(
    sizes: Int[np.ndarray, "shard slice"], epochs: tuple[int, ...], num_revoked: int
) -> float:
    """Return the expected workload of a uniform request on a partition with these slice sizes.

    Args:
        sizes: number of examples that take part, in each slice of each shard; for a plan it is
            ``plan.partition.sizes(plan.retained)``.
        epochs: epochs of each stage, e_1..e_R.
        num_revoked: k.

    Returns:
        Expected visits, as of :func:`expected_visits`.

    Raises:
        ValueError: k is negative or more than the number of examples.
    """
    return _expected(sizes, epochs, num_revoked)


def _expected(
    sizes: Int[np.ndarray, "shard slice"], epochs: tuple[int, ...], num_revoked: int
) -> float:
    n, k = int(sizes.sum()), num_revoked
    if not 0 <= k <= n:
        raise ValueError(
            f"num_revoked is {k}, but there are {n:,} examples; give a number from 0 to {n:,}"
        )
    if k == n:
        warnings.warn(
            f"all {n:,} examples are revoked, so that nothing remains to be trained on; the "
            "workload is 0",
            stacklevel=3,  # the caller of either function above
        )
        return 0.0
    members = np.cumsum(sizes, axis=1)
    return _expected_of(members, members, epochs, n, k)


def _expected_of(
    members: Int[np.ndarray, "shard slice"],
    holders: Int[np.ndarray, "shard slice"],
    epochs: Sequence[int],
    num_units: int,
    num_revoked: int,
) -> float:
    """Return the expected workload of k of n units, where a unit is an example or a group.

    Args:
        members: number of examples in slices 1..r of each shard.
        holders: number of units with an example there.
        epochs: epochs of each stage.
        num_units: n.
        num_revoked: k, below n.
    """
    n, k, total = num_units, num_revoked, 0.0
    for r, stage_epochs in enumerate(epochs):
        pairs = np.stack([members[:, r], holders[:, r]])
        for (m, h), shards in zip(*_counted(pairs), strict=True):
            untouched = exp(_log_binomial(n - h, k) - _log_binomial(n, k)) if n - h >= k else 0.0
            total += float(shards * stage_epochs * m * ((1 - k / n) - untouched))
    return total


def _counted(pairs: Int[np.ndarray, "two shard"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct columns, as rows, and how often each occurs."""
    found, counts = np.unique(pairs, axis=1, return_counts=True)
    return found.T, counts


def _log_binomial(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)


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
    group's. For k of G groups, chosen uniformly, the formula of :func:`expected_visits` holds with
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
    pairs, at, first = _places_of_groups(plan)
    own = np.bincount(at, later[slices - 1], len(pairs)).astype(np.int64)
    group, shard = np.divmod(pairs, num_shards)
    present, by_group = np.unique(group, return_inverse=True)

    def total(values: Int[np.ndarray, " pair"]) -> Int[np.ndarray, " group"]:
        return np.bincount(by_group, values, len(present)).astype(np.int64)

    visits, remaining = total(whole[shard, first - 1] - own), plan.total_visits - total(own)
    holders = _holders(plan, pairs, first)
    return GroupCosts(
        names=tuple(grouping.names[number] for number in present.tolist()),
        rows=total(np.bincount(at, minlength=len(pairs))),
        shards=total(np.ones(len(pairs), np.int64)),
        visits=visits,
        share=visits / np.maximum(1, remaining),
        shard_rows=float(kept.sum() / max(1, (members[:, -1] > 0).sum())),
        expected=partial(_expected_of, members, holders, epochs.tolist(), len(present)),
        total_visits=plan.total_visits,
    )


def _places_of_groups(
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


def _holders(
    plan: Plan, pairs: Int[np.ndarray, " pair"], first: Int[np.ndarray, " pair"]
) -> Int[np.ndarray, "shard slice"]:
    """Return how many groups have a remaining row in slices 1..r of each shard."""
    num_shards, num_slices = plan.partition.num_shards, plan.partition.num_slices
    places = pairs % num_shards * num_slices + first - 1
    held = np.bincount(places, minlength=num_shards * num_slices)
    counts: np.ndarray = held.reshape(num_shards, num_slices).cumsum(1)
    return counts


def whole_groups(plan: Plan, ids: Int[np.ndarray, " request"]) -> int | None:
    """Return how many groups a request consists of, with all their remaining training examples.

    None if the examples have no groups, or the request holds a part of one or no training example.
    """
    groups, rows = plan.examples.groups, plan.partition.rows(ids)
    if groups is None:
        return None
    asked = np.zeros(len(groups), bool)
    asked[rows] = True
    asked &= plan.retained
    found = np.unique(groups[asked])
    left = plan.retained & ~asked & np.isin(groups, found)
    return None if left.any() or not len(found) else len(found)


def expected_like(plan: Plan, ids: Int[np.ndarray, " request"]) -> float:
    """Return the expected visits of a random request of the same size as this one.

    A request of whole groups is compared with as many groups, another one with as many examples,
    chosen uniformly from the plan's retain set.
    """
    sizes, epochs = plan.partition.sizes(plan.retained), plan.spec.stage_epochs()
    count = whole_groups(plan, ids)
    if count is None:
        return expected_visits_of(sizes, epochs, len(ids))
    pairs, _, first = _places_of_groups(plan)
    held = len(np.unique(pairs // plan.num_shards))
    if count == held:
        return 0.0
    return _expected_of(sizes.cumsum(1), _holders(plan, pairs, first), epochs, held, count)


def stage_frame(workload: Workload) -> "pd.DataFrame":
    """Return a table of all stages: shard, slice, status, visits, share and seconds of each."""
    import pandas as pd

    shards, slices = np.indices(workload.stage_visits.shape)
    visits = workload.stage_visits.ravel()
    return pd.DataFrame(
        {
            "shard": shards.ravel(),
            "slice": slices.ravel() + 1,
            "status": np.ravel(np.array(workload.stage_status, object)),
            "visits": visits,
            "share": visits / max(1, workload.total_visits),
            "seconds": workload.stage_seconds.ravel(),
        }
    )


def expected_curve(plan: Plan, workload: Workload) -> "pd.DataFrame":
    """Return the expected workload of requests of up to half of the examples, chosen uniformly.

    Each row holds the number of revoked examples; the visits of :func:`expected_visits_of` for the
    examples that each slice still has; the share of training from scratch on the examples
    that remain; and the seconds at the mean rate of training from scratch, which are nan before any
    training was timed.

    Args:
        plan: the plan of the retain set before the request.
        workload: the workload of any request; it gives the seconds per visit.
    """
    import pandas as pd

    sizes = plan.partition.sizes(plan.retained)
    count = int(sizes.sum())
    revoked = np.unique(np.geomspace(1, max(1, count // 2), MOST_POINTS).round().astype(int))
    revoked = revoked[revoked < count]
    epochs = plan.spec.stage_epochs()
    visits = np.array([expected_visits_of(sizes, epochs, int(k)) for k in revoked])
    total = plan.total_visits
    rate = np.nan
    if workload.total_seconds is not None and workload.total_visits:
        rate = workload.total_seconds / workload.total_visits
    return pd.DataFrame(
        {
            "revoked": revoked,
            "visits": visits,
            "share": visits / (total * (1 - revoked / count)),
            "seconds": visits * rate,
        }
    )


def visits_without_debt(plan: Plan, workload: Workload, forget: Int[np.ndarray, " request"]) -> int:
    """Return the visits of a request if none of the shards that it hits had debt.

    Args:
        plan: gives the shard and slice of each example.
        workload: the workload of the request.
        forget: the ids of the request.
    """
    partition = plan.partition
    rows = partition.rows(forget)
    total = 0
    for shard in np.unique(partition.shard[rows]).tolist():
        first = int(partition.slice_[rows[partition.shard[rows] == shard]].min())
        total += int(workload.stage_visits[shard, first - 1 :].sum())
    return total


def visits_of_forgetting(plan: Plan, forget: Int[np.ndarray, " request"]) -> tuple[int, int]:
    """Return the visits of exact retraining after a request, and of training everything.

    Debt and other requests are left out, so the costs depend on the plan alone. Examples that are
    in no shard, or forgotten already, cost nothing.

    Args:
        plan: the plan of the retain set before the request.
        forget: the ids of the request.

    Returns:
        The visits of the stages that the request makes stale, and those of training all stages
        from scratch without its examples.
    """
    partition, kept = plan.partition, plan.retained
    lost = partition.sizes(kept & np.isin(partition.ids, forget)).cumsum(1)
    left = (partition.sizes(kept).cumsum(1) - lost) * np.array(plan.spec.stage_epochs())
    return int(left[lost > 0].sum()), int(left.sum())


def debt_places(plan: Plan, debt: "dict[int, np.ndarray]") -> Int[np.ndarray, "shard slice"]:
    """Return the number of owed examples in each shard and slice."""
    ids = np.concatenate([np.empty(0, np.int64), *debt.values()])
    return plan.partition.sizes(np.isin(plan.partition.ids, ids))
