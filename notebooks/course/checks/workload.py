"""Checks of assignment 1. Their values are drawn from the lecturer's secret.

Each function is one line of the rubric. It gets the student, whose functions run in a process of
their own, and a random generator; it returns if the answer is right and raises `Wrong` if not.
The references derive what the student derives, most of them by counting every possible request.
"""

from functools import cache
from itertools import combinations
from math import comb

import numpy as np
from marking.compare import array, equal, number, require

GIVEN = ("setup", "example")  # cells of the notebook that run before the student's

Persons = list[list[list[int]]]


# References


def untouched(num_examples: int, num_members: int, num_revoked: int) -> float:
    """Chance that none of a group is revoked."""
    if num_examples > 1_000_000:  # student code may call this, and would keep us busy
        raise ValueError("at most a million examples")
    others = int(num_examples) - int(num_members)
    return comb(others, int(num_revoked)) / comb(int(num_examples), int(num_revoked))


def scratch(sizes: np.ndarray, epochs: tuple[int, ...]) -> float:
    """Visits of training everything."""
    members = np.cumsum(np.asarray(sizes), axis=1)
    return float((members * np.asarray(epochs)).sum())


def expected(sizes: np.ndarray, epochs: tuple[int, ...], num_revoked: int) -> float:
    """Expected visits, by the formula."""
    total, found = int(np.asarray(sizes).sum()), 0.0
    for row in np.asarray(sizes):
        for r, e in enumerate(epochs):
            m = int(row[: r + 1].sum())
            found += e * m * (1 - int(num_revoked) / total - untouched(total, m, num_revoked))
    return float(found)


def homes(sizes: np.ndarray) -> list[tuple[int, int]]:
    """Shard and slice of every example."""
    return [(s, r) for s, row in enumerate(sizes) for r, n in enumerate(row) for _ in range(n)]


def cost(home: list[tuple[int, int]], epochs: tuple[int, ...], gone: set[int]) -> int:
    """Visits of one request, by counting."""
    visits = 0
    for s in {s for s, _ in home}:
        for r, e in enumerate(epochs):
            pool = {i for i, (t, q) in enumerate(home) if t == s and q <= r}
            if pool & gone:
                visits += e * len(pool - gone)
    return visits


@cache
def count(sizes: tuple[tuple[int, ...], ...], epochs: tuple[int, ...], k: int) -> tuple[int, ...]:
    """Visits of every possible request, counted once for all students."""
    home = homes(sizes)
    return tuple(cost(home, epochs, set(gone)) for gone in combinations(range(len(home)), k))


def costs(sizes: np.ndarray, epochs: tuple[int, ...], k: int) -> tuple[int, ...]:
    """Visits of every possible request of k examples."""
    return count(tuple(map(tuple, sizes.tolist())), epochs, k)


# Values


def partition(rng: np.random.Generator, shards: int, slices: int, most: int) -> np.ndarray:
    """Sizes of slices from 1 to `most`, not all of them equal."""
    while True:
        sizes = rng.integers(1, most + 1, (shards, slices))
        if sizes.size == 1 or sizes.min() < sizes.max():
            return sizes


def schedule(rng: np.random.Generator, slices: int) -> tuple[int, ...]:
    """Epochs of every stage."""
    return tuple(int(e) for e in rng.integers(1, 5, slices))


def people(rng: np.random.Generator, shards: int, slices: int, most: int) -> Persons:
    """Persons of one to `most` examples, one to three in a slice."""
    return [
        [rng.integers(1, most + 1, rng.integers(1, 4)).tolist() for _ in range(slices)]
        for _ in range(shards)
    ]


def about(sizes: np.ndarray, epochs: tuple[int, ...], k: int | None = None) -> str:
    """Name a case in a message."""
    return f"sizes={np.asarray(sizes).tolist()}, epochs={epochs}" + (
        f", k={k}" if k is not None else ""
    )


# Task 1


def test_scratch(student, rng) -> None:
    """Three uneven partitions."""
    for shards, slices in ((1, 3), (3, 3), (4, 2)):
        sizes, epochs = partition(rng, shards, slices, 9), schedule(rng, slices)
        equal(student.scratch_visits(sizes, epochs), scratch(sizes, epochs), about(sizes, epochs))


def test_scratch_hidden(student, rng) -> None:
    """A single slice, a single shard, sixty thousand examples."""
    for shards, slices, most in ((2, 1, 9), (5, 1, 9), (1, 4, 9), (10, 5, 2400)):
        sizes, epochs = partition(rng, shards, slices, most), schedule(rng, slices)
        equal(student.scratch_visits(sizes, epochs), scratch(sizes, epochs), about(sizes, epochs))


# Task 2


def test_untouched(student, rng) -> None:
    """Groups of a few dozen examples."""
    for _ in range(4):
        n = int(rng.integers(12, 40))
        m, k = (int(v) for v in rng.integers(2, n // 3, 2))
        equal(student.untouched_probability(n, m, k), untouched(n, m, k), f"N={n}, m={m}, k={k}")


def test_untouched_hidden(student, rng) -> None:
    """Nobody, everybody, more revoked than there are others; large N."""
    n = int(rng.integers(7, 15))
    for m, k in ((3, 0), (0, n), (3, n), (n, 1), (n - 4, 5), (n - 5, 5), (0, 0), (n, 0)):
        equal(student.untouched_probability(n, m, k), untouched(n, m, k), f"N={n}, m={m}, k={k}")
    for _ in range(2):
        n, m, k = (
            60_000 + int(rng.integers(99)),
            int(rng.integers(3000, 6000)),
            int(rng.integers(300, 500)),
        )
        product = float(np.prod([(n - m - i) / (n - i) for i in range(k)]))
        ratio = student.untouched_probability(n, m, k)
        equal(
            number(ratio, "a probability") / product,
            1,
            f"N={n}, m={m}, k={k}, relative to {product:.6g}",
        )


# Task 3


def test_expected(student, rng) -> None:
    """Shards and slices of equal size."""
    with student.lend(scratch_visits=scratch, untouched_probability=untouched):
        for shards, slices in ((5, 3), (3, 4)):
            sizes = np.full((shards, slices), int(rng.integers(5, 12)))
            epochs = schedule(rng, slices)
            for k in (1, 2, int(rng.integers(3, 12)), int(sizes.sum()) // 2):
                met = student.expected_visits(sizes, epochs, k)
                equal(met, expected(sizes, epochs, k), about(sizes, epochs, k))


def test_expected_uneven(student, rng) -> None:
    """Small uneven partitions, against the mean over every possible request."""
    with student.lend(scratch_visits=scratch, untouched_probability=untouched):
        for shards, slices, most in ((2, 2, 3), (2, 3, 2), (3, 1, 4)):
            sizes, epochs = partition(rng, shards, slices, most), schedule(rng, slices)
            for k in (1, 2, min(4, int(sizes.sum()) - 1)):
                mean = float(np.mean(costs(sizes, epochs, k)))
                equal(student.expected_visits(sizes, epochs, k), mean, about(sizes, epochs, k))


def test_expected_ends(student, rng) -> None:
    """Nobody, everybody, and everybody but one."""
    with student.lend(scratch_visits=scratch, untouched_probability=untouched):
        for shards, slices in ((2, 2), (2, 1), (1, 1)):
            sizes, epochs = partition(rng, shards, slices, 9) + 1, schedule(rng, slices)
            n = int(sizes.sum())
            for k, wanted in ((0, 0.0), (n, 0.0), (n - 1, scratch(sizes, epochs) / n)):
                equal(student.expected_visits(sizes, epochs, k), wanted, about(sizes, epochs, k))


# Task 4


def simulate(
    student, sizes: np.ndarray, epochs: tuple[int, ...], k: int, rounds: int, seed: int
) -> np.ndarray:
    """Call the student's simulation and read one number a round."""
    found = student.simulated_visits(sizes, epochs, k, rounds, np.random.default_rng(seed))
    return array(
        found, f"simulated_visits with rounds={rounds}, {about(sizes, epochs, k)}", (rounds,)
    )


def near(found: np.ndarray, possible: list[float]) -> bool:
    """Whether every cost is one of the possible ones, within the tolerance of the text."""
    gap = np.abs(found[:, None] - np.asarray(possible, float)).min(axis=1)
    return bool((gap <= 1e-6 * np.abs(found) + 1e-9).all())


def test_simulated(student, rng) -> None:
    """Possible costs only, several of them; the seed decides."""
    sizes, epochs = partition(rng, 3, 3, 5), schedule(rng, 3)
    seed, possible = int(rng.integers(1 << 30)), sorted(set(costs(sizes, epochs, 1)))
    found = simulate(student, sizes, epochs, 1, 60, seed)
    require(
        near(found, possible),
        f"expected only the costs {possible}, met {sorted(set(found.tolist()))}",
    )
    again = simulate(student, sizes, epochs, 1, 60, seed)
    require(np.array_equal(found, again), "the same seed has to give the same numbers")
    other = simulate(student, sizes, epochs, 1, 60, seed + 1)
    require(not np.array_equal(found, other), "another seed has to give other numbers")


def test_simulated_hidden(student, rng) -> None:
    """Requests whose cost is certain; how often each cost occurs; the mean."""
    seed, n, e = int(rng.integers(1 << 30)), int(rng.integers(4, 8)), int(rng.integers(2, 5))
    for k in range(1, n + 1):
        met = simulate(student, np.array([[n]]), (e,), k, 5, seed)
        require(near(met, [e * (n - k)]), f"one shard of {n}, {e} epochs, k={k}: met {met}")
    sizes, epochs = partition(rng, 2, 3, 6), schedule(rng, 3)
    for k in (0, int(sizes.sum())):
        met = simulate(student, sizes, epochs, k, 3, seed)
        require(near(met, [0.0]), f"{about(sizes, epochs, k)}: expected no visits, met {met}")
    # Five standard errors: a correct simulation fails once in two million tries.
    rounds = 4000
    small, large = int(rng.integers(2, 5)), int(rng.integers(6, 9))
    found = simulate(student, np.array([[small, large]]), (1, 1), 1, rounds, seed)
    p, both = small / (small + large), small + large
    share = float(np.isclose(found, both - 1 + small - 1).mean())
    error = 5 * (p * (1 - p) / rounds) ** 0.5
    require(
        abs(share - p) < error,
        f"slice 1 holds {small} of {both} examples, but is hit in {share:.1%} of the rounds",
    )
    sizes, epochs = partition(rng, 4, 2, 3), schedule(rng, 2)
    for k in (2, 4):
        every = np.asarray(costs(sizes, epochs, k), float)
        found = simulate(student, sizes, epochs, k, rounds, seed + k)
        require(
            near(found, np.unique(every)),
            f"{about(sizes, epochs, k)}: met a cost that cannot occur",
        )
        error = 5 * every.std() / rounds**0.5 + 1e-6 * every.mean()
        require(
            abs(found.mean() - every.mean()) < error,
            f"{about(sizes, epochs, k)}: expected a mean of {every.mean():.2f}, "
            f"met {found.mean():.2f}",
        )


# Task 5


def shares(sizes: np.ndarray, epochs: tuple[int, ...]) -> np.ndarray:
    """Expected part of training from scratch on what remains, for every k."""
    n, everything = int(sizes.sum()), scratch(sizes, epochs)
    return np.array([expected(sizes, epochs, k) / everything / (1 - k / n) for k in range(n)])


def find_largest(student, rng, shapes, ks: tuple[int, ...]) -> None:
    """Thresholds half way between the shares of neighbouring k."""
    lent = {"scratch_visits": scratch, "expected_visits": expected}
    with student.lend(untouched_probability=untouched, **lent):
        for shards, slices in shapes:
            sizes, epochs = partition(rng, shards, slices, 12) + 4, schedule(rng, slices)
            part = shares(sizes, epochs)
            for k in ks:
                middle = float(part[k] + part[k + 1]) / 2
                what = f"{about(sizes, epochs)}, max_share={middle:.6f}"
                equal(student.largest_request(sizes, epochs, middle), k, what)


def test_largest(student, rng) -> None:
    """A few thresholds, and 1."""
    find_largest(student, rng, ((2, 1), (3, 2)), (1, 2, int(rng.integers(3, 6))))
    lent = {"scratch_visits": scratch, "expected_visits": expected}
    with student.lend(untouched_probability=untouched, **lent):
        sizes, epochs = partition(rng, 3, 3, 6), schedule(rng, 3)
        met = student.largest_request(sizes, epochs, 1.0)
        equal(met, int(sizes.sum()) - 1, f"{about(sizes, epochs)}, max_share=1")


def test_largest_hidden(student, rng) -> None:
    """Other partitions and thresholds, none of them close to a tie, and 0."""
    find_largest(student, rng, ((6, 2), (2, 3)), (0, 1, 3, 7))
    lent = {"scratch_visits": scratch, "expected_visits": expected}
    with student.lend(untouched_probability=untouched, **lent):
        sizes, epochs = partition(rng, 3, 2, 6), schedule(rng, 2)
        met = student.largest_request(sizes, epochs, 0.0)
        equal(met, 0, f"{about(sizes, epochs)}, max_share=0")


# Task 6


def whole(persons: Persons, epochs: tuple[int, ...]) -> float:
    """Mean cost of a person, by counting."""
    home = [
        (s, r)
        for s, shard in enumerate(persons)
        for r, one in enumerate(shard)
        for n in one
        for _ in range(n)
    ]
    visits, first, count = 0, 0, 0
    for shard in persons:
        for one in shard:
            for size in one:
                visits += cost(home, epochs, set(range(first, first + size)))
                first, count = first + size, count + 1
    return visits / count


def scattered(persons: Persons, epochs: tuple[int, ...]) -> float:
    """Mean cost of a person over every way to deal the examples."""
    sizes = np.array([[sum(one) for one in shard] for shard in persons])
    means = [np.mean(costs(sizes, epochs, n)) for shard in persons for one in shard for n in one]
    return float(np.mean(means))


def test_whole(student, rng) -> None:
    """Persons of small sizes."""
    for shards, slices in ((2, 2), (1, 3)):
        persons, epochs = people(rng, shards, slices, 4), schedule(rng, slices)
        what = f"persons={persons}, epochs={epochs}"
        equal(student.whole_person_visits(persons, epochs), whole(persons, epochs), what)


def test_whole_hidden(student, rng) -> None:
    """A single slice, persons of very different sizes, persons who are a whole slice."""
    alone = [[[int(n)] for n in rng.integers(1, 5, 4)]]
    for persons in (people(rng, 1, 1, 9), people(rng, 3, 1, 7), people(rng, 2, 3, 20), alone):
        epochs = schedule(rng, len(persons[0]))
        what = f"persons={persons}, epochs={epochs}"
        equal(student.whole_person_visits(persons, epochs), whole(persons, epochs), what)


def deal(student, rng, shapes) -> None:
    """Few and small persons, so that every way to deal them can be counted."""
    lent = {"scratch_visits": scratch, "expected_visits": expected}
    with student.lend(untouched_probability=untouched, **lent):
        for shards, slices in shapes:
            persons = [[[int(n)] for n in rng.integers(1, 4, slices)] for _ in range(shards)]
            persons[0][0].append(int(rng.integers(1, 4)))
            epochs = schedule(rng, slices)
            what = f"persons={persons}, epochs={epochs}"
            equal(
                student.scattered_person_visits(persons, epochs), scattered(persons, epochs), what
            )


def test_scattered(student, rng) -> None:
    """Two shards without slices."""
    deal(student, rng, ((2, 1), (3, 1)))


def test_scattered_hidden(student, rng) -> None:
    """Uneven slices and persons."""
    deal(student, rng, ((2, 2), (2, 3), (3, 2)))
