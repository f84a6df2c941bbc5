"""Correct solutions of assignment 1, each written in another way.

Solution i takes answer i of each cell, from the start again where a cell has fewer.
"""

ANSWERS: dict[str, list[str]] = {
    "scratch_visits": [
        """
def scratch_visits(sizes, epochs):
    return sum(e * int(np.sum(sizes[:, : r + 1])) for r, e in enumerate(epochs))
""",
        """
def scratch_visits(sizes, epochs):
    total = 0
    for shard in sizes.tolist():
        seen = 0
        for size, e in zip(shard, epochs):
            seen += size
            total += e * seen
    return total
""",
        """
def scratch_visits(sizes, epochs):
    return np.cumsum(sizes, 1) @ np.array(epochs, float) @ np.ones(len(sizes))
""",
        """
def scratch_visits(sizes, epochs):
    return np.einsum("sr,r->", sizes.cumsum(1), epochs)
""",
        """
import torch

def scratch_visits(sizes, epochs):
    return (torch.as_tensor(sizes).cumsum(1).double() @ torch.tensor(epochs).double()).sum()
""",
        """
from fractions import Fraction

def scratch_visits(sizes, epochs):
    return sum(Fraction(int(e)) * int(sizes[:, : r + 1].sum()) for r, e in enumerate(epochs))
""",
        """
def scratch_visits(sizes, epochs):
    later = np.cumsum(np.asarray(epochs)[::-1])[::-1]  # a slice is visited in all later stages
    return np.dot(sizes.sum(0), later)
""",
        """
from math import fsum

def scratch_visits(sizes, epochs):
    return fsum(
        float(e) * sizes[s, q] for s in range(len(sizes)) for r, e in enumerate(epochs)
        for q in range(r + 1)
    )
""",
        """
def scratch_visits(sizes, epochs):
    members = np.array(sizes)
    for r in range(1, len(epochs)):
        members[:, r] += members[:, r - 1]
    members *= epochs
    return members.sum()
""",
        """
import pandas as pd

def scratch_visits(sizes, epochs):
    return pd.DataFrame(sizes).cumsum(axis=1).mul(list(epochs)).to_numpy().sum()
""",
    ],
    "untouched_probability": [
        """
from math import comb

def untouched_probability(num_examples, num_members, num_revoked):
    possible = comb(num_examples, num_revoked)
    return comb(num_examples - num_members, num_revoked) / possible
""",
        """
from math import exp, lgamma

def untouched_probability(num_examples, num_members, num_revoked):
    n, m, k = num_examples, num_members, num_revoked
    if k > n - m:
        return 0
    return exp(lgamma(n - m + 1) - lgamma(n - m - k + 1) - lgamma(n + 1) + lgamma(n - k + 1))
""",
        """
def untouched_probability(num_examples, num_members, num_revoked):
    return np.prod(1 - num_members / (num_examples - np.arange(num_revoked)))
""",
        """
def untouched_probability(num_examples, num_members, num_revoked):
    chance = 1.0
    for j in range(num_members):  # nobody of the group is among the k
        chance *= max(num_examples - num_revoked - j, 0) / (num_examples - j)
    return chance
""",
        """
from scipy.stats import hypergeom

def untouched_probability(num_examples, num_members, num_revoked):
    return hypergeom(num_examples, num_members, num_revoked).pmf(0)
""",
        """
from fractions import Fraction

def untouched_probability(num_examples, num_members, num_revoked):
    chance = Fraction(1)
    for i in range(num_revoked):
        chance *= Fraction(max(num_examples - num_members - i, 0), num_examples - i)
    return chance
""",
        """
from decimal import Decimal
from math import comb

def untouched_probability(num_examples, num_members, num_revoked):
    others = num_examples - num_members
    return Decimal(comb(others, num_revoked)) / Decimal(comb(num_examples, num_revoked))
""",
        """
from scipy.special import gammaln

def untouched_probability(num_examples, num_members, num_revoked):
    n, m, k = (np.float64(v) for v in (num_examples, num_members, num_revoked))
    if k > n - m:
        return np.float64(0)
    return np.exp(gammaln(n - m + 1) - gammaln(n - m - k + 1) - gammaln(n + 1) + gammaln(n - k + 1))
""",
        """
from functools import reduce

def untouched_probability(num_examples, num_members, num_revoked):
    def step(chance, left):
        return chance * max(left - num_members, 0) / left
    return reduce(step, range(num_examples, num_examples - num_revoked, -1), 1)
""",
        """
import math

def untouched_probability(num_examples, num_members, num_revoked):
    if num_revoked > num_examples - num_members:
        return False
    return math.perm(num_examples - num_members, num_revoked) / math.perm(num_examples, num_revoked)
""",
    ],
    "expected_visits": [
        """
def expected_visits(sizes, epochs, num_revoked):
    members = np.cumsum(sizes, axis=1)
    n = int(members[:, -1].sum())
    q = np.array([[untouched_probability(n, int(m), num_revoked) for m in row] for row in members])
    return np.sum(np.asarray(epochs) * members * (1 - num_revoked / n - q))
""",
        """
from scipy.stats import hypergeom

def expected_visits(sizes, epochs, num_revoked):
    # Condition on the number of examples that the stage loses.
    n, k, found = int(sizes.sum()), num_revoked, np.float64(0)
    for row in sizes:
        for r, e in enumerate(epochs):
            m = int(row[: r + 1].sum())
            lost = np.arange(1, min(m, k) + 1)
            found += e * np.dot(m - lost, hypergeom(n, m, k).pmf(lost))
    return found
""",
        """
def expected_visits(sizes, epochs, num_revoked):
    n = sizes.sum()
    return sum(
        e * (m * (n - num_revoked) / n - m * untouched_probability(n, m, num_revoked))
        for row in sizes for m, e in zip(np.cumsum(row), epochs)
    )
""",
        """
def expected_visits(sizes, epochs, num_revoked):
    chances, total, n = {}, 0.0, int(np.sum(sizes))
    for row in sizes:
        m = 0
        for size, e in zip(row, epochs):
            m = m + int(size)
            if m not in chances:
                chances[m] = untouched_probability(n, m, num_revoked)
            total += e * m * (1 - num_revoked / n) - e * m * chances[m]
    return total
""",
        """
import torch

def expected_visits(sizes, epochs, num_revoked):
    total, n = torch.zeros((), dtype=torch.float64), int(sizes.sum())
    for row in torch.as_tensor(sizes).cumsum(1):
        for m, e in zip(row, epochs):
            total += e * m * (1 - num_revoked / n - untouched_probability(n, int(m), num_revoked))
    return total
""",
        """
from fractions import Fraction

def expected_visits(sizes, epochs, num_revoked):
    n, total = int(sizes.sum()), Fraction(0)
    for row in sizes:
        for r in range(len(epochs)):
            m = int(row[: r + 1].sum())
            survive = Fraction(n - num_revoked, n)
            total += epochs[r] * m * (survive - untouched_probability(n, m, num_revoked))
    return total
""",
        """
def expected_visits(sizes, epochs, num_revoked):
    n, terms = int(sizes.sum()), []
    for m, e in zip(np.cumsum(sizes, axis=1).T.reshape(-1), np.repeat(epochs, len(sizes))):
        spared = float(untouched_probability(n, int(m), num_revoked))
        terms.append(float(e) * float(m) * (1 - num_revoked / n - spared))
    return sum(sorted(terms))
""",
        """
import math

def expected_visits(sizes, epochs, num_revoked):
    n, k = int(sizes.sum()), num_revoked
    hit = [
        (e, m, (n - k) / n - untouched_probability(n, m, k))
        for row in sizes.tolist()
        for e, m in zip(epochs, [sum(row[: i + 1]) for i in range(len(row))])
    ]
    return math.fsum(e * m * chance for e, m, chance in hit)
""",
        """
def expected_visits(sizes, epochs, num_revoked):
    # All that survives a request, less what lies in stages that are spared.
    n = int(sizes.sum())
    spared = 0
    for s in range(sizes.shape[0]):
        for r in range(sizes.shape[1]):
            m = int(sizes[s][: r + 1].sum())
            spared += epochs[r] * m * untouched_probability(n, m, num_revoked)
    return scratch_visits(sizes, epochs) * (1 - num_revoked / n) - spared
""",
        """
def expected_visits(sizes, epochs, num_revoked):
    n, found, s = sizes.sum().item(), 0, 0
    while s < len(sizes):
        r = 0
        while r < len(epochs):
            m = sizes[s, : r + 1].sum().item()
            if num_revoked > 0:
                found += epochs[r] * m * (1 - num_revoked / n)
                found -= epochs[r] * m * untouched_probability(n, m, num_revoked)
            r += 1
        s += 1
    return found
""",
    ],
    "simulated_visits": [
        """
def simulated_visits(sizes, epochs, num_revoked, rounds, generator):
    shard, slice_ = (np.repeat(index.ravel(), sizes.ravel()) for index in np.indices(sizes.shape))
    visits = np.empty(rounds)
    for i in range(rounds):
        gone = np.zeros(len(shard), bool)
        gone[generator.permutation(len(shard))[:num_revoked]] = True
        visits[i] = 0
        for s in range(len(sizes)):
            for r, e in enumerate(epochs):
                pool = (shard == s) & (slice_ <= r)
                if (pool & gone).any():
                    visits[i] += e * (pool & ~gone).sum()
    return visits
""",
        """
def simulated_visits(sizes, epochs, num_revoked, rounds, generator):
    place = np.repeat(np.arange(sizes.size), sizes.ravel())
    drawn = place[generator.random((rounds, len(place))).argsort(1)[:, :num_revoked]]
    lost = (drawn[:, :, None] == np.arange(sizes.size)).sum(1).reshape(rounds, *sizes.shape)
    lost = lost.cumsum(2)
    return ((sizes.cumsum(1) - lost) * (lost > 0) * np.array(epochs)).sum((1, 2))
""",
        """
def simulated_visits(sizes, epochs, num_revoked, rounds, generator):
    flat = np.asarray(sizes).reshape(-1)
    found = []
    for lost in generator.multivariate_hypergeometric(flat, num_revoked, size=rounds):
        visits = 0
        for row, gone in zip(sizes, lost.reshape(sizes.shape)):
            for r, e in enumerate(epochs):
                if gone[: r + 1].any():
                    visits += e * (row[: r + 1].sum() - gone[: r + 1].sum())
        found.append(visits)
    return found
""",
        """
def simulated_visits(sizes, epochs, num_revoked, rounds, generator):
    # As parts of a stage, so that every cost is rounded.
    place = np.repeat(np.arange(sizes.size), sizes.ravel())
    members, found = np.cumsum(sizes, axis=1), []
    for _ in range(rounds):
        gone = generator.choice(place, num_revoked, replace=False)
        lost = np.bincount(gone, minlength=sizes.size).reshape(sizes.shape).cumsum(1)
        left = (members - lost) / members / 3
        found.append(float(np.sum(left * (lost > 0) * members * np.array(epochs)) * 3))
    return np.array(found)
""",
        """
def simulated_visits(sizes, epochs, num_revoked, rounds, generator):
    homes = [(s, r) for s, row in enumerate(sizes.tolist()) for r, n in enumerate(row)
             for _ in range(n)]
    costs = []
    for _ in range(rounds):
        gone = set(generator.choice(len(homes), size=num_revoked, replace=False).tolist())
        first = {}
        for i in gone:
            s, r = homes[i]
            first[s] = min(r, first.get(s, r))
        cost = 0
        for s, r in first.items():
            for q in range(r, len(epochs)):
                left = [i for i, (t, p) in enumerate(homes) if t == s and p <= q and i not in gone]
                cost += epochs[q] * len(left)
        costs.append(cost)
    return tuple(costs)
""",
        """
import torch

def simulated_visits(sizes, epochs, num_revoked, rounds, generator):
    counts = generator.multivariate_hypergeometric(sizes.ravel(), num_revoked, size=rounds)
    lost = torch.from_numpy(counts).reshape(rounds, *sizes.shape).cumsum(2).double()
    members = torch.from_numpy(np.cumsum(sizes, 1)).double()
    return ((members - lost) * (lost > 0) * torch.tensor(epochs).double()).sum((1, 2))
""",
        """
def simulated_visits(sizes, epochs, num_revoked, rounds, generator):
    order = np.repeat(np.arange(sizes.size), sizes.ravel())
    members, visits = sizes.cumsum(axis=1), []
    for _ in range(rounds):
        generator.shuffle(order)
        lost = np.zeros(sizes.size, int)
        np.add.at(lost, order[:num_revoked], 1)
        lost = lost.reshape(sizes.shape).cumsum(axis=1)
        visits.append(sum(
            e * (m - x)
            for row, gone in zip(members, lost) for e, m, x in zip(epochs, row, gone) if x
        ))
    return np.asarray(visits, dtype=object).astype(int)
""",
        """
def simulated_visits(sizes, epochs, num_revoked, rounds, generator):
    def one(own):
        gone = np.sort(own.permutation(sizes.sum())[:num_revoked])
        ends = np.cumsum(sizes.ravel())
        lost = np.diff(np.searchsorted(gone, ends), prepend=0).reshape(sizes.shape).cumsum(1)
        return np.where(lost > 0, sizes.cumsum(1) - lost, 0) @ np.array(epochs)
    return np.array([one(own).sum() for own in generator.spawn(rounds)], dtype=np.float32)
""",
        """
import pandas as pd

def simulated_visits(sizes, epochs, num_revoked, rounds, generator):
    members = np.cumsum(sizes, axis=1)
    rows = generator.multivariate_hypergeometric(sizes.reshape(-1), num_revoked, rounds)
    def price(row):
        lost = np.cumsum(row.to_numpy().reshape(sizes.shape), axis=1)
        return float(((members - lost) * np.sign(lost)).dot(epochs).sum())
    return pd.DataFrame(rows).apply(price, axis=1)
""",
        """
def simulated_visits(sizes, epochs, num_revoked, rounds, generator):
    flat, found = sizes.ravel().tolist(), []
    for _ in range(rounds):
        left, rest, lost = num_revoked, sum(flat), []
        for size in flat:
            rest -= size
            lost.append(int(generator.hypergeometric(size, rest, left)) if left else 0)
            left -= lost[-1]
        cost, pairs = 0, iter(zip(flat, lost))
        for _ in range(len(sizes)):
            pool = gone = 0
            for e in epochs:
                size, some = next(pairs)
                pool, gone = pool + size, gone + some
                cost += e * (pool - gone) if gone else 0
        found.append(cost)
    return found
""",
    ],
    "largest_request": [
        """
def largest_request(sizes, epochs, max_share):
    n, scratch = sizes.sum(), scratch_visits(sizes, epochs)
    k = 0
    while k < n - 1:
        share = expected_visits(sizes, epochs, k + 1) / (scratch * (1 - (k + 1) / n))
        if share > max_share + 1e-9:
            break
        k += 1
    return k
""",
        """
def largest_request(sizes, epochs, max_share):
    n = int(sizes.sum())
    low, high = 0, n  # the share grows, so halve
    while high - low > 1:
        k = (low + high) // 2
        scratch = float(scratch_visits(sizes, epochs)) * (1 - k / n)
        within = float(expected_visits(sizes, epochs, k)) / scratch <= max_share + 1e-9
        low, high = (k, high) if within else (low, k)
    return np.int64(low)
""",
        """
def largest_request(sizes, epochs, max_share):
    ks = np.arange(int(sizes.sum()))
    cost = np.array([float(expected_visits(sizes, epochs, int(k))) for k in ks])
    share = cost / (float(scratch_visits(sizes, epochs)) * (1 - ks / sizes.sum()))
    return np.flatnonzero(share <= max_share * (1 + 1e-12) + 1e-12)[-1]
""",
        """
import math

def largest_request(sizes, epochs, max_share):
    n, full = int(sizes.sum()), float(scratch_visits(sizes, epochs))
    def allowed(k):
        part = float(expected_visits(sizes, epochs, k)) / (full * (n - k) / n)
        return part <= max_share or math.isclose(part, max_share, rel_tol=1e-9, abs_tol=1e-12)
    return max(k for k in range(n) if allowed(k))
""",
        """
def largest_request(sizes, epochs, max_share):
    n = sum(int(v) for v in sizes.flat)
    for k in range(n - 1, -1, -1):
        budget = max_share * float(scratch_visits(sizes, epochs)) * (n - k) / n
        if float(expected_visits(sizes, epochs, k)) - budget < 1e-8:
            return float(k)
""",
        """
import bisect

def largest_request(sizes, epochs, max_share):
    n, full = int(sizes.sum()), float(scratch_visits(sizes, epochs))
    share = lambda k: round(float(expected_visits(sizes, epochs, k)) * n / full / (n - k), 10)
    return bisect.bisect_right(range(n), max_share, key=share) - 1
""",
    ],
    "whole_person_visits": [
        """
def whole_person_visits(persons, epochs):
    # Every stage charges each of its persons with all the others.
    visits, count = np.int64(0), sum(len(one) for shard in persons for one in shard)
    for shard in persons:
        for r, e in enumerate(epochs):
            there = np.array([size for one in shard[: r + 1] for size in one])
            visits += e * (there.sum() - there).sum()
    return visits / count
""",
        """
def whole_person_visits(persons, epochs):
    total = people = 0
    for shard in persons:
        for r, here in enumerate(shard):
            for size in here:
                people += 1
                for q in range(r, len(epochs)):
                    total += epochs[q] * (sum(map(sum, shard[: q + 1])) - size)
    return total / people
""",
        """
from statistics import mean

def whole_person_visits(persons, epochs):
    return mean(
        sum(epochs[q] * (sum(n for one in shard[: q + 1] for n in one) - size)
            for q in range(r, len(epochs)))
        for shard in persons for r, here in enumerate(shard) for size in here
    )
""",
        """
from fractions import Fraction

def whole_person_visits(persons, epochs):
    costs = []
    for shard in persons:
        seen = [sum(n for one in shard[: q + 1] for n in one) for q in range(len(shard))]
        for r, here in enumerate(shard):
            costs += [sum(e * (m - size) for e, m in zip(epochs[r:], seen[r:])) for size in here]
    return Fraction(sum(costs), len(costs))
""",
        """
def whole_person_visits(persons, epochs):
    flat = [(s, r, n) for s, a in enumerate(persons) for r, one in enumerate(a) for n in one]
    s, r, n = np.array(flat).T
    stays = (s[:, None] == s) & ~np.eye(len(n), dtype=bool)
    cost = np.zeros(len(n))
    for q, e in enumerate(epochs):
        cost += e * (r <= q) * (stays * (r <= q) * n).sum(1)
    return cost.mean()
""",
    ],
    "scattered_person_visits": [
        """
def scattered_person_visits(persons, epochs):
    sizes = np.array([[sum(one) for one in shard] for shard in persons])
    everybody = np.array([size for shard in persons for one in shard for size in one])
    kinds, counts = np.unique(everybody, return_counts=True)
    costs = [float(expected_visits(sizes, epochs, int(kind))) for kind in kinds]
    return float(np.dot(costs, counts)) / len(everybody)
""",
        """
from collections import Counter

def scattered_person_visits(persons, epochs):
    sizes = np.array([list(map(sum, shard)) for shard in persons])
    people = Counter(n for shard in persons for one in shard for n in one)
    total = sum(count * expected_visits(sizes, epochs, n) for n, count in people.items())
    return total / sum(people.values())
""",
        """
def scattered_person_visits(persons, epochs):
    sizes = np.zeros((len(persons), len(epochs)), dtype=int)
    requests = []
    for s, shard in enumerate(persons):
        for r, one in enumerate(shard):
            sizes[s, r] = np.sum(one)
            requests.extend(one)
    total = 0
    for k in requests:
        total = total + expected_visits(sizes, epochs, k) / len(requests)
    return total
""",
        """
def scattered_person_visits(persons, epochs):
    # Without expected_visits: the stages one by one.
    people = [n for shard in persons for one in shard for n in one]
    total, everybody = 0.0, sum(people)
    for k in people:
        for shard in persons:
            m = 0
            for one, e in zip(shard, epochs):
                m += sum(one)
                total += e * m * (1 - k / everybody - float(untouched_probability(everybody, m, k)))
    return total / len(people)
""",
        """
def scattered_person_visits(persons, epochs):
    sizes = np.array([[sum(one) for one in shard] for shard in persons])
    cost = np.vectorize(lambda k: float(expected_visits(sizes, epochs, int(k))))
    return cost([n for shard in persons for one in shard for n in one]).mean()
""",
    ],
}
