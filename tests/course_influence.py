"""Correct solutions of assignment 3, each written in another way.

Solution i takes answer i of each cell, from the start again where a cell has fewer. Cells with ten
answers rely on the kind of object that the same solution's earlier functions return.
"""

ANSWERS: dict[str, list[str]] = {
    "derivatives": [
        # 0: numpy from autograd
        """
def gradient(w, X, y, lam, loss):
    w = w.detach().clone().requires_grad_()
    return torch.autograd.grad(objective(w, X, y, lam, loss), w)[0].numpy()

def hessian(w, X, y, lam, loss):
    return torch.autograd.functional.hessian(lambda v: objective(v, X, y, lam, loss), w).numpy()
""",
        # 1: numpy by formula
        """
def gradient(w, X, y, lam, loss):
    w, X, y = w.numpy(), X.numpy(), y.numpy()
    z = X @ w
    r = z - y if loss == "squared" else 1 / (1 + np.exp(-z)) - y
    return X.T @ r + lam * w

def hessian(w, X, y, lam, loss):
    w, X = w.numpy(), X.numpy()
    s = 1 / (1 + np.exp(-(X @ w)))
    d = np.ones(len(X)) if loss == "squared" else s * (1 - s)
    return X.T * d @ X + lam * np.identity(len(w))
""",
        # 2: torch.func
        """
def gradient(w, X, y, lam, loss):
    return torch.func.grad(objective)(w, X, y, lam, loss)

def hessian(w, X, y, lam, loss):
    return torch.func.hessian(objective)(w, X, y, lam, loss)
""",
        # 3: lists of Python floats
        """
import math

def gradient(w, X, y, lam, loss):
    w, X, y = w.tolist(), X.tolist(), y.tolist()
    g = [lam * v for v in w]
    for row, label in zip(X, y):
        z = sum(a * b for a, b in zip(row, w))
        r = z - label if loss == "squared" else 1 / (1 + math.exp(-z)) - label
        for j, a in enumerate(row):
            g[j] += r * a
    return g

def hessian(w, X, y, lam, loss):
    w, X = w.tolist(), X.tolist()
    H = [[lam if i == j else 0.0 for j in range(len(w))] for i in range(len(w))]
    for row in X:
        z = sum(a * b for a, b in zip(row, w))
        s = 1 / (1 + math.exp(-z))
        c = 1.0 if loss == "squared" else s * (1 - s)
        for i, a in enumerate(row):
            for j, b in enumerate(row):
                H[i][j] += c * a * b
    return H
""",
        # 4: torch, row by row
        """
def gradient(w, X, y, lam, loss):
    g = torch.zeros_like(w)
    g += lam * w
    for row, label in zip(X, y):
        z = torch.dot(row, w)
        g += row * ((z if loss == "squared" else z.sigmoid()) - label)
    return g

def hessian(w, X, y, lam, loss):
    H = torch.diag(torch.full_like(w, lam))
    for row in X:
        s = torch.dot(row, w).sigmoid()
        H += torch.outer(row, row) * (1 if loss == "squared" else s * (1 - s))
    return H
""",
        # 5: an array and a tensor
        """
def gradient(w, X, y, lam, loss):
    outputs = X.mv(w)
    if loss == "logistic":
        outputs = outputs.sigmoid()
    return np.asarray(X.t().mv(outputs - y).add(w, alpha=lam))

def hessian(w, X, y, lam, loss):
    weight = torch.ones(len(X)).double()
    if loss == "logistic":
        p = X.mv(w).sigmoid()
        weight = p - p ** 2
    return torch.einsum("ni,n,nj->ij", X, weight, X) + lam * torch.eye(X.shape[1]).double()
""",
        # 6: the Hessian as the Jacobian of the gradient
        """
def gradient(w, X, y, lam, loss):
    return jacobian(lambda v: objective(v, X, y, lam, loss), w)

def hessian(w, X, y, lam, loss):
    def slope(v):
        z = X @ v
        return X.T @ ((z if loss == "squared" else torch.special.expit(z)) - y) + lam * v
    return jacobian(slope, w)
""",
        # 7: scipy, as a tuple of rows
        """
from scipy.special import expit

def gradient(w, X, y, lam, loss):
    z = np.dot(X, w)
    return tuple(np.dot((z if loss == "squared" else expit(z)) - y.numpy(), X) + lam * np.array(w))

def hessian(w, X, y, lam, loss):
    z = np.dot(X, w)
    weight = np.ones(len(X)) if loss == "squared" else expit(z) * expit(-z)
    root = np.sqrt(weight)[:, None] * np.array(X)
    return tuple(root.T @ root + lam * np.eye(len(w)))
""",
        # 8: backward
        """
def gradient(w, X, y, lam, loss):
    leaf = w.clone().requires_grad_(True)
    objective(leaf, X, y, lam, loss).backward()
    return leaf.grad

def hessian(w, X, y, lam, loss):
    leaf = w.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(objective(leaf, X, y, lam, loss), leaf, create_graph=True)
    return torch.stack([torch.autograd.grad(v, leaf, retain_graph=True)[0] for v in g])
""",
        # 9: columns
        """
def gradient(w, X, y, lam, loss):
    z = (X * w).sum(1)
    r = z - y if loss == "squared" else torch.exp(z) / (1 + torch.exp(z)) - y
    return torch.stack([(column * r).sum() for column in X.T]) + lam * w

def hessian(w, X, y, lam, loss):
    c = torch.ones(len(X), dtype=torch.float64)
    if loss != "squared":
        e = torch.exp(-(X * w).sum(1))
        c = e / (1 + e) ** 2
    H = np.empty((len(w), len(w)))
    for i in range(len(w)):
        for j in range(i + 1):
            H[i, j] = H[j, i] = float((X[:, i] * c * X[:, j]).sum()) + (lam if i == j else 0)
    return H
""",
    ],
    "influence_update": [
        """
def influence_update(w, X, y, lam, loss, forget):
    # The gradient at the optimum is 0, so the forgotten rows are enough for both.
    rows = torch.tensor(np.array(forget, dtype=np.int64))
    g = gradient(w, X[rows], y[rows], 0.0, loss)
    H = hessian(w, X, y, lam, loss) - hessian(w, X[rows], y[rows], 0.0, loss)
    return w.numpy() + np.linalg.solve(H, g)
""",
        """
def influence_update(w, X, y, lam, loss, forget):
    keep = np.delete(np.arange(len(X)), np.asarray(forget, dtype=int))
    H, g = hessian(w, X[keep], y[keep], lam, loss), gradient(w, X[keep], y[keep], lam, loss)
    return w.numpy() - np.linalg.inv(H).dot(g)
""",
        """
def influence_update(w, X, y, lam, loss, forget):
    mask = torch.ones(X.shape[0], dtype=torch.bool)
    mask[list(forget)] = False
    L = torch.linalg.cholesky(hessian(w, X[mask], y[mask], lam, loss))
    return w - torch.cholesky_solve(gradient(w, X[mask], y[mask], lam, loss)[:, None], L)[:, 0]
""",
        """
def influence_update(w, X, y, lam, loss, forget):
    gone = set(int(i) for i in forget)
    rest = [i for i in range(len(X)) if i not in gone]
    A = [row + [b] for row, b in zip(hessian(w, X[rest], y[rest], lam, loss),
                                     gradient(w, X[rest], y[rest], lam, loss))]
    n = len(A)
    for i in range(n):  # Gauss with pivots
        p = max(range(i, n), key=lambda r: abs(A[r][i]))
        A[i], A[p] = A[p], A[i]
        for r in range(i + 1, n):
            f = A[r][i] / A[i][i]
            A[r] = [a - f * b for a, b in zip(A[r], A[i])]
    step = [0.0] * n
    for i in reversed(range(n)):
        step[i] = (A[i][n] - sum(A[i][j] * step[j] for j in range(i + 1, n))) / A[i][i]
    return [v - s for v, s in zip(w.tolist(), step)]
""",
        """
def influence_update(w, X, y, lam, loss, forget):
    stays = torch.tensor([i not in set(map(int, forget)) for i in range(len(X))])
    values, vectors = torch.linalg.eigh(hessian(w, X[stays], y[stays], lam, loss))
    slope = gradient(w, X[stays], y[stays], lam, loss)
    new = w.clone()
    new -= vectors @ ((vectors.T @ slope) / values)
    return new
""",
        """
def influence_update(w, X, y, lam, loss, forget):
    rest = np.setdiff1d(np.arange(len(X)), forget).astype(int)
    g = torch.from_numpy(gradient(w, X[rest], y[rest], lam, loss))
    return np.array(w - torch.linalg.solve(hessian(w, X[rest], y[rest], lam, loss), g))
""",
        """
def influence_update(w, X, y, lam, loss, forget):
    keep = sorted(set(range(len(X))) - set(np.asarray(forget, dtype=int).tolist()))
    H = hessian(w, X[keep], y[keep], lam, loss)
    x = torch.zeros_like(w)  # conjugate gradients
    r = gradient(w, X[keep], y[keep], lam, loss).clone()
    p = r.clone()
    for _ in range(200):
        if r.norm() < 1e-14:
            break
        Hp = H @ p
        a = (r @ r) / (p @ Hp)
        x, old = x + a * p, r
        r = r - a * Hp
        p = r + (r @ r) / (old @ old) * p
    return w - x
""",
        """
import scipy.linalg

def influence_update(w, X, y, lam, loss, forget):
    keep = np.ones(len(X), bool)
    keep[np.array(forget, int)] = False
    keep = torch.from_numpy(keep)
    H, g = hessian(w, X[keep], y[keep], lam, loss), gradient(w, X[keep], y[keep], lam, loss)
    assert isinstance(H, tuple) and isinstance(g, tuple)
    return tuple(np.array(w) - scipy.linalg.solve(H, g, assume_a="pos"))
""",
        """
def influence_update(w, X, y, lam, loss, forget):
    if len(forget) == 0:
        return w.clone()
    x = X.clone()
    x[torch.as_tensor(forget)] = 0  # rows of zeros weigh nothing
    g, H = gradient(w, x, y, lam, loss), hessian(w, x, y, lam, loss)
    return torch.linalg.lstsq(H, (H @ w - g).unsqueeze(1)).solution.squeeze(1)
""",
        """
def influence_update(w, X, y, lam, loss, forget):
    Xr, yr = np.delete(X.numpy(), list(forget), axis=0), np.delete(y.numpy(), list(forget))
    Xr, yr = torch.tensor(Xr), torch.tensor(yr)
    H = hessian(w, Xr, yr, lam, loss)
    assert isinstance(H, np.ndarray)
    return w - torch.linalg.inv(torch.tensor(H)) @ gradient(w, Xr, yr, lam, loss)
""",
    ],
    "gap_removed": [
        """
def gap_removed(before, after, scratch):
    a, b = (np.sqrt(((np.asarray(x) - np.asarray(scratch)) ** 2).sum()) for x in (after, before))
    return 1 if b == 0 else (b - a) / b
""",
        """
def gap_removed(before, after, scratch):
    if np.array_equal(before, scratch):
        return 1.0
    return 1 - np.linalg.norm(after - scratch) / np.linalg.norm(before - scratch)
""",
        """
def gap_removed(before, after, scratch):
    gap = torch.linalg.norm(before - scratch)
    return torch.ones(()).double() if gap < 1e-12 else 1 - torch.linalg.norm(after - scratch) / gap
""",
        """
import math

def gap_removed(before, after, scratch):
    def distance(a, b):
        a, b = (np.array(v, dtype=float).ravel().tolist() for v in (a, b))
        return math.dist(a, b)
    gap = distance(before, scratch)
    return 1 if math.isclose(gap, 0, abs_tol=1e-15) else 1 - distance(after, scratch) / gap
""",
        """
def gap_removed(before, after, scratch):
    gap = (before - scratch).pow(2).sum().sqrt()
    if torch.equal(before, scratch):
        return torch.tensor(1.0)
    return ((gap - (after - scratch).pow(2).sum().sqrt()) / gap).item()
""",
        """
def gap_removed(before, after, scratch):
    before, after, scratch = (np.asarray(v) for v in (before, after, scratch))
    whole = np.linalg.norm((before - scratch).flatten())
    if not whole:
        return np.float64(1)
    return np.float64(1.0) - np.linalg.norm((after - scratch).flatten()) / whole
""",
        """
def gap_removed(before, after, scratch):
    gap, left = (torch.dist(v, scratch) for v in (before, after))
    return float(torch.where(gap == 0, torch.ones_like(gap), 1 - left / gap))
""",
        """
def gap_removed(before, after, scratch):
    a, b, c = (np.array(v) for v in (before, after, scratch))
    left, gap = (float(np.sum(np.square(np.subtract(v, c)))) ** 0.5 for v in (b, a))
    try:
        return 1 - left / gap
    except ZeroDivisionError:
        return True
""",
        """
def gap_removed(before, after, scratch):
    def norm(t):
        return torch.linalg.vector_norm(t)
    return (1 - norm(after - scratch) / norm(before - scratch)).nan_to_num(1.0)
""",
        """
def gap_removed(before, after, scratch):
    gap = np.linalg.norm(np.array(before) - np.array(scratch))
    return 1.0 if gap <= 0 else 1.0 - np.linalg.norm(np.array(after) - np.array(scratch)) / gap
""",
    ],
    "decide": [
        """
def decide(visits, total, max_share):
    order = sorted(visits.items(), key=lambda item: item[::-1])
    sums = np.cumsum([v for _, v in order])
    return {s for (s, _), spent in zip(order, sums) if spent / total <= max_share or max_share == 1}
""",
        """
def decide(visits, total, max_share):
    shards, costs = np.array(list(visits), int), np.array(list(visits.values()), int)
    order = np.lexsort((shards, costs))
    within = np.cumsum(costs[order]) <= max_share * total
    return shards[order][within | (max_share >= 1)]
""",
        """
def decide(visits, total, max_share):
    if max_share == 1:
        return list(visits.keys())
    budget, chosen = max_share * total, []
    for cost, shard in sorted((cost, shard) for shard, cost in visits.items()):
        budget -= cost
        if budget < 0:
            return chosen
        chosen.append(shard)
    return chosen
""",
        """
def decide(visits, total, max_share):
    left = dict(visits)
    exact, spent = (), 0
    while left:
        shard = min(left, key=lambda s: (left[s], s))
        spent += left.pop(shard)
        if max_share < 1 and spent > max_share * total:
            break
        exact += (shard,)
    return exact
""",
        """
from itertools import accumulate

def decide(visits, total, max_share):
    order = sorted(sorted(visits), key=visits.get)
    sums = accumulate(visits[s] for s in order)
    return [s for s, spent in zip(order, sums) if max_share == 1.0 or spent <= max_share * total]
""",
        """
import pandas as pd

def decide(visits, total, max_share):
    table = pd.Series(visits, dtype=float).sort_index().sort_values(kind="stable")
    limit = np.inf if max_share == 1 else max_share * total
    return table.index[table.cumsum() <= limit].tolist()
""",
    ],
    "unlearn": [
        """
def unlearn(shards, weights, forget, exact, lam, loss):
    def one(s):
        (X, y), w = shards[s], weights[s]
        if s not in forget:
            return w.numpy()
        if s not in exact:
            return influence_update(w, X, y, lam, loss, forget[s])
        alive = torch.ones(len(X)).bool()
        alive[torch.as_tensor(forget[s])] = False
        return fit(X[alive], y[alive], lam, loss).weights.numpy()

    return [one(s) for s in range(len(shards))]
""",
        """
def unlearn(shards, weights, forget, exact, lam, loss):
    new = np.stack([w.numpy() for w in weights])
    for s in forget:
        X, y = shards[s]
        if s in exact:
            keep = np.delete(np.arange(len(X)), forget[s])
            new[s] = fit(X[keep], y[keep], lam, loss).weights
        else:
            new[s] = influence_update(weights[s], X, y, lam, loss, forget[s])
    return new
""",
        """
def unlearn(shards, weights, forget, exact, lam, loss):
    new = []
    for s, ((X, y), w) in enumerate(zip(shards, weights)):
        gone = forget.get(s, None)
        if gone is None:
            new.append(w.clone())
        elif s in exact:
            rest = torch.tensor([i for i in range(len(X)) if i not in gone], dtype=torch.long)
            new.append(fit(X[rest], y[rest], lam, loss)[0])
        else:
            new.append(influence_update(w, X, y, lam, loss, gone))
    return torch.stack(new)
""",
        """
def unlearn(shards, weights, forget, exact, lam, loss):
    result = {s: w.tolist() for s, w in enumerate(weights)}
    for s, rows in forget.items():
        x, y = shards[s]
        rest = sorted(set(range(len(x))) - set(rows.tolist()))
        result[s] = (
            fit(x[rest], y[rest], lam, loss).weights.tolist() if s in set(exact)
            else influence_update(weights[s], x, y, lam, loss, rows)
        )
    return [result[s] for s in sorted(result)]
""",
        """
def unlearn(shards, weights, forget, exact, lam, loss):
    weights = list(weights)
    for s in forget:
        if s not in exact:
            weights[s] = influence_update(weights[s], *shards[s], lam, loss, forget[s])
    for s in exact:
        X, y = shards[s]
        keep = np.setdiff1d(range(len(X)), forget[s])
        weights[s] = fit(X[keep], y[keep], lam, loss).weights
    return weights
""",
        """
def unlearn(shards, weights, forget, exact, lam, loss):
    retrain, modify = set(exact) & set(forget), set(forget) - set(exact)
    out = [np.array(w) for w in weights]
    for s in retrain:
        X, y = (np.delete(np.array(part), forget[s], axis=0) for part in shards[s])
        out[s] = np.array(fit(torch.tensor(X), torch.tensor(y), lam, loss).weights)
    for s in modify:
        out[s] = influence_update(weights[s], shards[s][0], shards[s][1], lam, loss, forget[s])
    return out
""",
        """
def unlearn(shards, weights, forget, exact, lam, loss):
    def retrained(s):
        X, y = shards[s]
        mask = ~torch.isin(torch.arange(len(X)), torch.as_tensor(forget[s]))
        return fit(X[mask], y[mask], lam, loss).weights

    def modified(s):
        return influence_update(weights[s], *shards[s], lam, loss, forget[s])

    ways = [retrained if s in exact else modified if s in forget else weights.__getitem__
            for s in range(len(shards))]
    return [way(s) for s, way in enumerate(ways)]
""",
        """
def unlearn(shards, weights, forget, exact, lam, loss):
    rows = []
    for s in range(len(weights)):
        x, y = shards[s]
        if s in forget and s in exact:
            rest = np.array([i for i in range(len(x)) if i not in forget[s].tolist()], int)
            rows.append(np.array(fit(x[rest], y[rest], lam, loss).weights))
        elif s in forget:
            rows.append(np.array(influence_update(weights[s], x, y, lam, loss, forget[s])))
        else:
            rows.append(np.array(weights[s]))
    return tuple(rows)
""",
        """
def unlearn(shards, weights, forget, exact, lam, loss):
    new = torch.stack(list(weights))
    for s, rows in forget.items():
        X, y = shards[s]
        keep = torch.ones(len(X), dtype=bool)
        keep[rows] = False
        new[s] = (fit(X[keep], y[keep], lam, loss).weights if s in exact
                  else influence_update(weights[s], X, y, lam, loss, rows))
    return list(new)
""",
        """
def unlearn(shards, weights, forget, exact, lam, loss):
    out = [w for w in weights]
    todo = list(forget.items())
    while todo:
        s, rows = todo.pop()
        X, y = shards[s]
        if any(int(s) == int(e) for e in exact):
            keep = [i for i in range(len(y)) if i not in set(rows.tolist())]
            out[s] = fit(X[keep], y[keep], lam, loss).weights
        else:
            out[s] = influence_update(weights[s], X, y, lam, loss, rows)
    return out
""",
    ],
    "find_boundary": [
        """
def find_boundary(shards, weights, forget, visits, total, target, grid, lam, loss):
    before = np.stack([w.numpy() for w in weights])
    scratch = np.stack(unlearn(shards, weights, forget, set(forget), lam, loss))
    low, high = 0, len(grid) - 1  # more exact shards leave less of the gap, so halve
    while low < high:
        middle = (low + high) // 2
        exact = decide(visits, total, grid[middle])
        after = np.stack(unlearn(shards, weights, forget, exact, lam, loss))
        enough = gap_removed(before, after, scratch) >= target
        low, high = (low, middle) if enough else (middle + 1, high)
    return np.float64(grid[low])
""",
        """
def find_boundary(shards, weights, forget, visits, total, target, grid, lam, loss):
    before = np.array([np.array(w) for w in weights])
    scratch = unlearn(shards, weights, forget, np.array(list(forget)), lam, loss)
    for max_share in grid:
        after = unlearn(shards, weights, forget, decide(visits, total, max_share), lam, loss)
        if gap_removed(before, after, scratch) >= target:
            return max_share
""",
        """
def find_boundary(shards, weights, forget, visits, total, target, grid, lam, loss):
    before = torch.stack(weights)
    scratch = unlearn(shards, weights, forget, list(forget), lam, loss)
    removed = []
    for m in grid:
        after = unlearn(shards, weights, forget, decide(visits, total, m), lam, loss)
        removed.append(gap_removed(before, after, scratch))
    return grid[int(np.argmax(torch.stack(removed).numpy() >= target))]
""",
        """
def find_boundary(shards, weights, forget, visits, total, target, grid, lam, loss):
    before = [w.tolist() for w in weights]
    scratch = unlearn(shards, weights, forget, tuple(forget), lam, loss)
    good = [m for m in grid if gap_removed(
        before, unlearn(shards, weights, forget, decide(visits, total, m), lam, loss), scratch
    ) >= target]
    return min(good)
""",
        """
def find_boundary(shards, weights, forget, visits, total, target, grid, lam, loss):
    stack, seen = torch.stack, {}
    scratch = stack(unlearn(shards, weights, forget, list(visits), lam, loss))
    for m in grid:
        exact = decide(visits, total, m)
        name = frozenset(exact)
        if name not in seen:
            after = stack(unlearn(shards, weights, forget, exact, lam, loss))
            seen[name] = float(gap_removed(stack(weights), after, scratch))
        if seen[name] >= target:
            break
    return m
""",
        """
def find_boundary(shards, weights, forget, visits, total, target, grid, lam, loss):
    def run(exact):
        return np.vstack(unlearn(shards, weights, forget, exact, lam, loss))
    before, scratch, answer = np.vstack([np.array(w) for w in weights]), run(list(forget)), grid[-1]
    for m in grid[::-1]:  # downwards, as long as it is enough
        if gap_removed(before, run(decide(visits, total, m)), scratch) < target:
            return answer
        answer = m
    return answer
""",
        """
def find_boundary(shards, weights, forget, visits, total, target, grid, lam, loss):
    flat = lambda list_: torch.cat([w.reshape(1, -1) for w in list_])
    scratch = flat(unlearn(shards, weights, forget, list(forget), lam, loss))
    ask = lambda m: unlearn(shards, weights, forget, decide(visits, total, m), lam, loss)
    return next(m for m in grid if gap_removed(flat(weights), flat(ask(m)), scratch) >= target)
""",
        """
def find_boundary(shards, weights, forget, visits, total, target, grid, lam, loss):
    start = np.array([np.array(w) for w in weights])
    best = np.array(unlearn(shards, weights, forget, list(forget), lam, loss))
    share = np.float64("nan")
    for m in sorted(grid, reverse=True):
        after = np.array(unlearn(shards, weights, forget, decide(visits, total, m), lam, loss))
        share = m if gap_removed(start, after, best) >= target else share
    return share
""",
        """
def find_boundary(shards, weights, forget, visits, total, target, grid, lam, loss):
    scratch = torch.stack(unlearn(shards, weights, forget, list(forget), lam, loss))
    index = 0
    while True:
        exact = decide(visits, total, grid[index])
        after = torch.stack(unlearn(shards, weights, forget, exact, lam, loss))
        if gap_removed(torch.stack(weights), after, scratch) >= target:
            return torch.tensor(grid[index], dtype=torch.float64)
        index += 1
""",
        """
def find_boundary(shards, weights, forget, visits, total, target, grid, lam, loss):
    def stack(rows):
        return torch.stack([torch.as_tensor(row) for row in rows])
    scratch = stack(unlearn(shards, weights, forget, list(forget), lam, loss))
    for m, exact in ((m, decide(visits, total, m)) for m in grid):
        after = stack(unlearn(shards, weights, forget, exact, lam, loss))
        if not gap_removed(stack(weights), after, scratch) < target:
            return float(m)
    raise ValueError("no threshold is enough")
""",
    ],
}
