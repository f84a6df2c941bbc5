"""Checks of assignment 3. Their values are drawn from the lecturer's secret.

Every check of the influence update takes a logistic step as well: retraining gives the same answer
on the squared loss, and only there.
"""

from itertools import pairwise

import numpy as np
import torch
from marking.compare import array, close, equal, number, require, same_numbers
from marking.given import given
from marking.student import Wrong

GIVEN = ("setup", "data")
notebook = given("influence", *GIVEN)
fit, X_ALL, Y_ALL = notebook.fit, notebook.X_ALL, notebook.Y_ALL
LOSSES = ("squared", "logistic")

Shards = list[tuple[torch.Tensor, torch.Tensor]]


# References. They take arrays, tensors and lists of them, and return tensors.


def tensor(value):
    """Read an array, a tensor or a list of either as a tensor."""
    if isinstance(value, list | tuple):
        return torch.stack([tensor(item) for item in value])
    return torch.as_tensor(value, dtype=torch.float64).detach()


def slope(w, X, y, lam, loss):
    """The gradient."""
    w, X, y = tensor(w), tensor(X), tensor(y)
    outputs = X @ w
    return X.T @ ((outputs if loss == "squared" else torch.sigmoid(outputs)) - y) + lam * w


def curvature(w, X, y, lam, loss):
    """The Hessian."""
    w, X = tensor(w), tensor(X)
    s = torch.sigmoid(X @ w)
    weight = torch.ones_like(s) if loss == "squared" else s * (1 - s)
    return X.T @ (weight[:, None] * X) + lam * torch.eye(len(w), dtype=torch.float64)


def step(w, X, y, lam, loss, forget):
    """One Newton step on the rows that remain."""
    w, X, y = tensor(w), tensor(X), tensor(y)
    keep = np.setdiff1d(np.arange(len(X)), np.asarray(forget, dtype=np.int64))
    H, g = curvature(w, X[keep], y[keep], lam, loss), slope(w, X[keep], y[keep], lam, loss)
    return w - torch.linalg.solve(H, g)


def gap(before, after, scratch):
    """The part of the gap that is gone."""
    before, after, scratch = tensor(before), tensor(after), tensor(scratch)
    whole = (before - scratch).norm()
    return 1.0 if whole == 0 else float(1 - (after - scratch).norm() / whole)


def boundary(visits, total, max_share):
    """The shards to retrain."""
    exact, spent = [], 0
    for s in sorted(visits, key=lambda s: (visits[s], s)):
        spent += visits[s]
        if spent <= max_share * total or max_share == 1:
            exact.append(s)
    return exact


def both_ways(shards, weights, forget, exact, lam, loss):
    """Retrain some of the hit shards and modify the others."""
    result, exact = list(weights), [int(s) for s in exact]
    for s, rows in forget.items():
        x, y = (tensor(part) for part in shards[s])
        if s in exact:
            keep = np.setdiff1d(np.arange(len(x)), np.asarray(rows, dtype=np.int64))
            result[s] = fit(x[keep], y[keep], lam, loss).weights
        else:
            result[s] = step(weights[s], x, y, lam, loss, rows)
    return result


def optimum(x, y, lam, loss):
    """The weights of `fit`, by formula; many of them are needed here."""
    w = torch.zeros(x.shape[1], dtype=torch.float64)
    for _ in range(100):
        move = torch.linalg.solve(curvature(w, x, y, lam, loss), slope(w, x, y, lam, loss))
        w = w - move * min(1.0, 20.0 / float(move.norm() + 1e-9))
        if move.norm() < 1e-10:
            return w
    raise ValueError("Newton's method did not converge; draw other rows")


def expected_of(shards, weights, forget, exact, lam, loss):
    """What `both_ways` gives, without the notebook's `fit`."""
    result = list(weights)
    for s, gone in forget.items():
        x, y = shards[s]
        if s in exact:
            keep = np.setdiff1d(np.arange(len(x)), gone)
            result[s] = optimum(x[keep], y[keep], lam, loss)
        else:
            result[s] = step(weights[s], x, y, lam, loss, gone)
    return result


DERIVATIVES = {"gradient": slope, "hessian": curvature}


# Values


def rows(rng: np.random.Generator, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures and labels of n random digits."""
    ids = rng.choice(len(X_ALL), n, replace=False)
    return X_ALL[ids], Y_ALL[ids]


def penalty(rng: np.random.Generator) -> float:
    """A weight of the penalty from 0.2 to 4."""
    return float(np.exp(rng.uniform(np.log(0.2), np.log(4))))


# Task 1


def derivative(student, rng, name: str, reference) -> None:
    """One of the two, for both losses, with and without rows."""
    for loss in LOSSES:
        for n in (1, 30, 120, 0):
            x, y = rows(rng, n)
            w, lam = torch.from_numpy(rng.standard_normal(x.shape[1])), penalty(rng)
            what = f"{name}, {loss} loss, {n} rows, lam={lam:.3g}"
            close(getattr(student, name)(w, x, y, lam, loss), reference(w, x, y, lam, loss), what)


def test_derivatives(student, rng) -> None:
    """Both, in two dimensions."""
    for loss in LOSSES:
        w, x = (torch.from_numpy(rng.standard_normal(shape)) for shape in (2, (3, 2)))
        point = (w, x, torch.tensor([0.0, 1.0, 1.0]).double(), penalty(rng), loss)
        close(student.gradient(*point), slope(*point), f"gradient, {loss} loss, three rows of two")
        close(
            student.hessian(*point), curvature(*point), f"Hessian, {loss} loss, three rows of two"
        )


def test_gradient_hidden(student, rng) -> None:
    """Both losses, no rows."""
    derivative(student, rng, "gradient", slope)


def test_hessian_hidden(student, rng) -> None:
    """Both losses, no rows."""
    derivative(student, rng, "hessian", curvature)


# Task 2


def check_step(student, rng, loss: str, n: int, num_forgotten: int, as_list: bool = False) -> None:
    """One update; the step itself is compared, since weights hardly differ for a single row."""
    lam, (x, y) = penalty(rng), rows(rng, n)
    w = optimum(x, y, lam, loss)
    forget = rng.choice(n, num_forgotten, replace=False)
    wanted = step(w, x, y, lam, loss, forget)
    own = student.put(w)
    found = student.influence_update(own, x, y, lam, loss, forget.tolist() if as_list else forget)
    what = f"{loss} loss, lam={lam:.3g}, {num_forgotten} of {n} rows forgotten"
    close(array(found, what, (len(w),)) - w.numpy(), wanted - w, f"{what}, the step")
    require(
        array(student.get(own), what).tobytes() == w.numpy().tobytes(), f"{what}: `w` has changed"
    )


def test_influence(student, rng) -> None:
    """A few rows and many."""
    with student.lend(**DERIVATIVES):
        for loss in LOSSES:
            check_step(student, rng, loss, 200, 10, as_list=True)
            check_step(student, rng, loss, 200, 100)


def test_influence_squared(student, rng) -> None:
    """The squared loss up to forgetting every row, and a logistic step."""
    with student.lend(**DERIVATIVES):
        for n, num_forgotten in ((60, 30), (60, 1), (60, 60)):
            check_step(student, rng, "squared", n, num_forgotten)
        check_step(student, rng, "logistic", 60, 30)


def test_influence_logistic(student, rng) -> None:
    """The logistic loss up to forgetting every row."""
    with student.lend(**DERIVATIVES):
        for n, num_forgotten in ((200, 20), (90, 45), (50, 1), (40, 40)):
            check_step(student, rng, "logistic", n, num_forgotten)


def test_influence_ends(student, rng) -> None:
    """Nobody, lists and arrays, any order."""
    with student.lend(**DERIVATIVES):
        lam, (x, y) = penalty(rng), rows(rng, 80)
        w = optimum(x, y, lam, "logistic")
        for nobody in ([], np.array([], dtype=np.int64)):
            found = student.influence_update(w, x, y, lam, "logistic", nobody)
            close(found, w, "nobody forgotten")
        some = rng.choice(80, 12, replace=False)
        wanted = step(w, x, y, lam, "logistic", some) - w
        for forget in (some, some.tolist(), np.sort(some), sorted(some.tolist(), reverse=True)):
            found = student.influence_update(w, x, y, lam, "logistic", forget)
            what = f"{type(forget).__name__} of 12 rows, the step"
            close(array(found, what, (len(w),)) - w.numpy(), wanted, what)


# Task 3


def test_gap(student, rng) -> None:
    """All of it, nothing, and parts."""
    before, scratch = (torch.from_numpy(rng.standard_normal(5)) for _ in range(2))
    for part in (1.0, 0.0, float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.2, 0.8))):
        after = scratch + (1 - part) * (before - scratch)
        equal(student.gap_removed(before, after, scratch), part, f"{part:.0%} of the gap removed")


def test_gap_hidden(student, rng) -> None:
    """Worse than nothing, matrices, no gap."""
    for shape in ((4,), (3, 5), (6, 2)):
        before, after, scratch = (torch.from_numpy(rng.standard_normal(shape)) for _ in range(3))
        wanted = gap(before, after, scratch)
        equal(
            student.gap_removed(before, after, scratch), wanted, f"random values of shape {shape}"
        )
        met = student.gap_removed(before, scratch - 2 * (before - scratch), scratch)
        equal(met, -1, f"an update that doubles the gap, shape {shape}")
        equal(student.gap_removed(before, before, before.clone()), 1, f"no gap, shape {shape}")


# Task 4


def decided(student, visits: dict[int, int], total: int, max_share: float) -> None:
    """Compare one decision."""
    found = student.decide(dict(visits), total, max_share)
    wanted = boundary(visits, total, max_share)
    same_numbers(found, wanted, f"visits={visits}, total={total}, max_share={max_share:.4g}")


def bill(rng: np.random.Generator, num_shards: int) -> tuple[dict[int, int], int]:
    """Visits of hit shards, in no order, and a total."""
    shards = rng.choice(10, num_shards, replace=False)
    visits = {int(s): int(v) for s, v in zip(shards, rng.integers(5, 90, num_shards), strict=True)}
    return visits, int(sum(visits.values()) * rng.uniform(1, 2))


def test_decide(student, rng) -> None:
    """Thresholds half way between the running sums, 0 and 1."""
    visits, total = bill(rng, 4)
    sums = np.cumsum([0, *sorted(visits.values())])
    for low, high in pairwise(sums):
        decided(student, visits, total, float(low + high) / 2 / total)
    decided(student, visits, total, 0.0)
    decided(student, visits, total, 1.0)


def test_decide_hidden(student, rng) -> None:
    """Ties, no shard, a running sum that is just affordable, visits beyond the total."""
    for _ in range(12):
        visits, total = bill(rng, int(rng.integers(2, 8)))
        decided(student, visits, total, float(rng.uniform(0.05, 0.9)))
    one, two, three, four = (int(s) for s in rng.choice(10, 4, replace=False))
    half = int(rng.integers(3, 9))
    for visits, total, max_share in (
        ({one: half, two: half, three: half}, 16 * half, 0.125),
        ({one: 4 * half, two: half, three: half}, 8 * half, 0.25),
        ({one: 60, two: 41, three: 7}, 90, 1.0),
        ({four: half, one: half, three: half, two: half}, 8 * half, 0.4),
        ({}, 100, 0.5),
        ({two: 100}, 100, 0.99),
    ):
        decided(student, visits, total, max_share)


# Task 5


def ensemble(
    rng: np.random.Generator, sizes: tuple[int, ...], lam: float, loss: str
) -> tuple[Shards, list]:
    """Shards of random digits, and the optimum of each."""
    shards = [rows(rng, n) for n in sizes]
    return shards, [optimum(x, y, lam, loss) for x, y in shards]


def unlearned(
    student, rng, sizes: tuple[int, ...], loss: str, every: tuple[tuple[int, ...], ...]
) -> None:
    """Both ways at once, for several choices of what is retrained."""
    lam = penalty(rng)
    shards, weights = ensemble(rng, sizes, lam, loss)
    hit = sorted({s for exact in every for s in exact})
    forget = {s: rng.choice(sizes[s], sizes[s] // 3, replace=False) for s in hit[::-1]}
    with student.lend(influence_update=step, **DERIVATIVES):
        for exact in every:
            own = student.put(weights)
            found = student.unlearn(shards, own, forget, list(exact), lam, loss)
            what = f"{loss} loss, {len(sizes)} shards, hit {hit}, exact={list(exact)}"
            if not isinstance(found, list | tuple | np.ndarray | torch.Tensor) or len(found) != len(
                sizes
            ):
                raise Wrong(f"{what}: expected weights for {len(sizes)} shards")
            for s, wanted in enumerate(expected_of(shards, weights, forget, exact, lam, loss)):
                how = "retrained" if s in exact else "modified" if s in forget else "kept"
                close(found[s], wanted, f"{what}: shard {s}, which is {how}")
            close(
                student.get(own), torch.stack(weights), f"{what}: the weights that were passed in"
            )


def test_unlearn(student, rng) -> None:
    """One shard retrained, one modified, the others kept."""
    hit = [int(s) for s in rng.choice(4, 2, replace=False)]
    unlearned(student, rng, (40, 50, 45, 60), "logistic", ((hit[0],), (hit[1],)))


def test_unlearn_hidden(student, rng) -> None:
    """Other shards, both losses, all and none exact."""
    for loss in LOSSES[::-1]:
        unlearned(student, rng, (50, 70, 30), loss, ((), (0,), (2,), (0, 2)))


# Task 6


def frontier(student, rng, sizes: tuple[int, ...], part: int) -> None:
    """Targets half way between what the thresholds reach."""
    lam = 0.5
    hit = list(range(len(sizes) - 1))
    while True:
        shards, weights = ensemble(rng, sizes, lam, "logistic")
        forget = {s: rng.choice(sizes[s], sizes[s] // part, replace=False) for s in hit}
        visits = {s: int(v) for s, v in zip(hit, rng.permutation([20, 50, 90]), strict=True)}
        total, grid = 400, [0.0, 0.03, 0.1, 0.25, 0.7, 1.0]
        before = torch.stack(weights)
        scratch = expected_of(shards, weights, forget, hit, lam, "logistic")
        reached = []
        for max_share in grid:
            exact = boundary(visits, total, max_share)
            after = expected_of(shards, weights, forget, exact, lam, "logistic")
            reached.append(gap(before, after, scratch))
        steps = np.diff([reached[i] for i in (0, 2, 3, 4)])
        if steps.min() > 1e-3 and reached[0] > 0.01:
            break
    lent = {"influence_update": step, "gap_removed": gap, "decide": boundary, "unlearn": both_ways}
    with student.lend(**DERIVATIVES, **lent):
        for at in rng.permutation([0, 2, 3, 4]):
            low = reached[[0, 0, 0, 2, 3][at]] if at else 0.0
            target = (low + reached[at]) / 2
            met = number(
                student.find_boundary(
                    shards, weights, forget, visits, total, target, grid, lam, "logistic"
                ),
                "find_boundary",
            )
            require(
                abs(met - grid[at]) < 1e-9,
                f"the thresholds {grid} remove {np.round(reached, 4).tolist()} of the gap; "
                f"target {target:.4f}: expected {grid[at]}, met {met}",
            )


def test_boundary(student, rng) -> None:
    """Targets between those that the thresholds reach."""
    frontier(student, rng, (60, 40, 50, 30), 2)


def test_boundary_hidden(student, rng) -> None:
    """Other shards, another request."""
    frontier(student, rng, (80, 50, 60, 20), 3)
