"""Submissions for the course: other correct solutions, and typical wrong ones.

A mistake is a line of the instructor's solution replaced by another: (cell, right, wrong). With it
stand the test cells that it has to cost, and it may cost no other.
"""

import audit_answers

Mistake = tuple[str, str, str]

WRONG: dict[str, tuple[Mistake, tuple[str, ...]]] = {
    # The survivors of a spared stage are charged, and the revoked examples are visited.
    "workload": (
        ("expected_visits", "(1 - num_revoked / total - untouched)", "(1 - untouched)"),
        ("test_expected", "test_expected_uneven", "test_expected_ends"),
    ),
    # A key that names its own slice and forgets what came before.
    "retraining": (
        ("stage_key", "slices[shard][:stage]", "slices[shard][stage - 1 : stage]"),
        ("test_key", "test_key_hidden", "test_together"),
    ),
    # The classic influence function: the curvature of all rows, the forgotten ones included.
    "influence": (
        (
            "influence_update",
            "hessian(w, X[keep], y[keep], lam, loss)",
            "hessian(w, X, y, lam, loss)",
        ),
        (
            *("test_influence", "test_influence_squared", "test_influence_logistic"),
            "test_influence_ends",
        ),
    ),
}

MISTAKES: dict[str, list[tuple[Mistake, tuple[str, ...]]]] = {
    "workload": [
        (
            ("scratch_visits", "np.cumsum(sizes, axis=1)", "sizes"),
            ("test_scratch", "test_scratch_hidden"),
        ),
        (  # draws with replacement
            (
                "untouched_probability",
                "comb(others, num_revoked) / comb(num_examples, num_revoked)",
                "(others / num_examples) ** num_revoked",
            ),
            ("test_untouched", "test_untouched_hidden"),
        ),
        (("simulated_visits", "replace=False", "replace=True"), ("test_simulated_hidden",)),
        (  # the mean instead of single requests
            ("simulated_visits", "return found", "return np.full(rounds, found.mean())"),
            ("test_simulated", "test_simulated_hidden"),
        ),
        (
            ("largest_request", "return within[-1]", "return len(within)"),
            ("test_largest", "test_largest_hidden"),
        ),
        (  # the stage of the person's own slice alone
            (
                "whole_person_visits",
                "np.dot(epochs[r:], members[r:] - size)",
                "epochs[r] * (members[r] - size)",
            ),
            ("test_whole", "test_whole_hidden"),
        ),
        (  # large persons count more
            (
                "whole_person_visits",
                "return np.mean(costs)",
                "sizes = [n for shard in persons for one in shard for n in one]\n"
                "    return np.average(costs, weights=sizes)",
            ),
            ("test_whole", "test_whole_hidden"),
        ),
        (  # a person of mean size
            (
                "scattered_person_visits",
                "return np.mean([expected_visits(sizes, epochs, size) for size in everybody])",
                "return expected_visits(sizes, epochs, round(np.mean(everybody) + 0.1))",
            ),
            ("test_scattered", "test_scattered_hidden"),
        ),
    ],
    "retraining": [
        (
            ("make_slices", "np.array_split(shard, num_slices)", "np.array_split(shard, 2)"),
            ("test_slices", "test_slices_hidden", "test_together"),
        ),
        (  # a checkpoint changed in place
            ("train_stage", "weights = weights - RATE * gradient", "weights -= RATE * gradient"),
            ("test_stage", "test_stage_hidden", "test_together"),
        ),
        (  # survivors move up: exact all the same, but not the order that was asked for
            (
                "train_stage",
                "batches(pool, shard",
                "batches(np.array([i for i in pool if int(i) not in revoked], int), shard",
            ),
            ("test_stage_hidden",),
        ),
        (  # how many are revoked, not who
            (
                "stage_key",
                "tuple(i for i in original if i not in revoked)",
                "sum(i not in revoked for i in original)",
            ),
            ("test_key_hidden",),
        ),
        (("train", "if key not in store:", "if True:"), ("test_train_work",)),
        (
            ("workload", "i not in revoked for", "True for"),
            ("test_workload", "test_workload_hidden"),
        ),
        (
            ("proof", "clean_features[rows], clean_labels[rows] = torch.nan, -1", "pass"),
            ("test_proof_leaks",),
        ),
        (("proof", "all(same_bytes(", "all(torch.equal("), ("test_proof_bytes",)),
        (("proof", "features.clone(), labels.clone()", "features, labels"), ("test_proof_leaks",)),
    ],
    "influence": [
        (
            ("influence_update", "w - torch.linalg.solve", "w + torch.linalg.solve"),
            (
                "test_influence",
                "test_influence_squared",
                "test_influence_logistic",
                "test_influence_ends",
            ),
        ),
        (
            ("decide", "key=lambda s: (visits[s], s)", "key=lambda s: (-visits[s], s)"),
            ("test_decide", "test_decide_hidden"),
        ),
    ],
}

OTHERS: dict[str, dict[str, str]] = {
    "workload": {
        "scratch_visits": """
def scratch_visits(sizes, epochs):
    R = len(epochs)
    return sum(int(row[r]) * sum(epochs[q] for q in range(r, R)) for row in sizes for r in range(R))
""",
        "untouched_probability": """
from scipy.stats import hypergeom

def untouched_probability(num_examples, num_members, num_revoked):
    return hypergeom(num_examples, num_members, num_revoked).pmf(0)
""",
        "expected_visits": """
def expected_visits(sizes, epochs, num_revoked):
    # Condition on the number of examples that the stage loses.
    N, k, found = int(sizes.sum()), num_revoked, np.float64(0)
    for row in sizes:
        for r, e in enumerate(epochs):
            m = int(row[: r + 1].sum())
            lost = np.arange(1, min(m, k) + 1)
            found += e * np.dot(m - lost, hypergeom(N, m, k).pmf(lost))
    return found
""",
        "simulated_visits": """
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
        "largest_request": """
def largest_request(sizes, epochs, max_share):
    N = sizes.sum()
    low, high = 0, N  # the share grows, so halve
    while high - low > 1:
        k = (low + high) // 2
        scratch = scratch_visits(sizes, epochs) * (1 - k / N)
        within = expected_visits(sizes, epochs, k) / scratch <= max_share + 1e-9
        low, high = (k, high) if within else (low, k)
    return np.int64(low)
""",
        "whole_person_visits": """
def whole_person_visits(persons, epochs):
    # Every stage charges each of its persons with all the others.
    visits, count = np.int64(0), sum(len(one) for shard in persons for one in shard)
    for shard in persons:
        for r, e in enumerate(epochs):
            there = np.array([size for one in shard[: r + 1] for size in one])
            visits += e * (there.sum() - there).sum()
    return visits / count
""",
        "scattered_person_visits": """
def scattered_person_visits(persons, epochs):
    sizes = np.array([[sum(one) for one in shard] for shard in persons])
    everybody = np.array([size for shard in persons for one in shard for size in one])
    kinds, counts = np.unique(everybody, return_counts=True)
    costs = [float(expected_visits(sizes, epochs, int(kind))) for kind in kinds]
    return float(np.dot(costs, counts)) / len(everybody)
""",
    },
    "retraining": {
        "make_slices": """
def make_slices(num_examples, num_shards, num_slices, seed):
    ids = torch.randperm(num_examples, generator=torch.Generator().manual_seed(seed)).numpy()
    shards = [ids[s::num_shards] for s in range(num_shards)]
    return [[shard[r::num_slices] for r in range(num_slices)] for shard in shards]
""",
        "train_stage": """
def train_stage(weights, features, labels, pool, revoked, shard, stage):
    w = weights.numpy().copy()
    for epoch in range(EPOCHS):
        for slots in batches(pool, shard, stage, epoch):
            ids = np.array(sorted(set(slots.tolist()) - revoked), dtype=int)  # other sums
            if len(ids) == 0:
                continue
            x, y = features[ids].numpy(), labels[ids].numpy()
            p = np.exp(x @ w)
            p = p / p.sum(axis=1, keepdims=True) - np.eye(CLASSES)[y]
            w -= RATE * (x.T @ p) / len(ids)
    return torch.tensor(w)
""",
        "stage_key": """
from hashlib import sha256

def stage_key(slices, revoked, shard, stage):
    before = "start" if stage == 1 else stage_key(slices, revoked, shard, stage - 1)
    members = sorted(map(int, slices[shard][stage - 1]))
    alive = [i for i in members if i not in revoked]
    return sha256(repr((before, shard, members, alive)).encode()).hexdigest()
""",
        "train": """
def train(features, labels, slices, revoked, store):
    def checkpoint(shard, stage):
        if stage == 0:
            return initial_weights(features, shard)
        key = stage_key(slices, revoked, shard, stage)
        if key in store:
            return store[key]
        pool = np.array(sorted(int(i) for ids in slices[shard][:stage] for i in ids))
        start = checkpoint(shard, stage - 1)
        store[key] = train_stage(start, features, labels, pool, revoked, shard=shard, stage=stage)
        return store[key].clone()

    return [checkpoint(shard, len(slices[shard])) for shard in range(len(slices))]
""",
        "workload": """
def workload(slices, revoked, store):
    visits = np.int64(0)
    for s, parts in enumerate(slices):
        pool = set()
        for r, ids in enumerate(parts, start=1):
            pool |= {int(i) for i in ids}
            if stage_key(slices, revoked, s, r) not in store:
                visits += EPOCHS * len(pool - revoked)
    return visits
""",
        "proof": """
def proof(train, features, labels, slices, revoked):
    store = {}
    train(features.clone(), labels.clone(), slices, set(), store)
    unlearned = [w.clone() for w in train(features.clone(), labels.clone(), slices, revoked, store)]
    gone = torch.tensor([i in revoked for i in range(len(features))])
    x = torch.where(gone[:, None], torch.tensor(float("nan")).double(), features)
    y = torch.where(gone, -1, labels)
    scratch = train(x, y, slices, revoked, dict())
    pairs = [[w.numpy().view(np.int64) for w in pair] for pair in zip(unlearned, scratch)]
    return np.all([np.array_equal(a, b) for a, b in pairs])
""",
    },
    "influence": {
        "derivatives": """
def gradient(w, X, y, lam, loss):
    w = w.detach().clone().requires_grad_()
    return torch.autograd.grad(objective(w, X, y, lam, loss), w)[0].numpy()

def hessian(w, X, y, lam, loss):
    return torch.autograd.functional.hessian(lambda v: objective(v, X, y, lam, loss), w).numpy()
""",
        "influence_update": """
def influence_update(w, X, y, lam, loss, forget):
    # The slope at the optimum is 0, so the forgotten rows are enough for both.
    rows = torch.tensor(np.array(forget, dtype=np.int64))
    g = np.asarray(gradient(w, X[rows], y[rows], 0.0, loss))
    H = np.asarray(hessian(w, X, y, lam, loss))
    H = H - np.asarray(hessian(w, X[rows], y[rows], 0.0, loss))
    return w.numpy() + np.linalg.solve(H, g)
""",
        "gap_removed": """
def gap_removed(before, after, scratch):
    a, b = (np.sqrt(((np.asarray(x) - np.asarray(scratch)) ** 2).sum()) for x in (after, before))
    return 1 if b == 0 else (b - a) / b
""",
        "decide": """
def decide(visits, total, max_share):
    order = sorted(visits.items(), key=lambda item: item[::-1])
    sums = np.cumsum([v for _, v in order])
    return {s for (s, _), spent in zip(order, sums) if spent / total <= max_share or max_share == 1}
""",
        "unlearn": """
def unlearn(shards, weights, forget, exact, lam, loss):
    def one(s):
        (X, y), w = shards[s], weights[s]
        if s not in forget:
            return w
        if s not in set(exact):
            return influence_update(w, X, y, lam, loss, forget[s])
        alive = torch.ones(len(X)).bool()
        alive[torch.as_tensor(forget[s])] = False
        return fit(X[alive], y[alive], lam, loss).weights.numpy()

    return [one(s) for s in range(len(shards))]
""",
        "find_boundary": """
def find_boundary(shards, weights, forget, visits, total, target, grid, lam, loss):
    def stack(list_of_weights):
        return torch.stack([torch.as_tensor(w) for w in list_of_weights])

    scratch = stack(unlearn(shards, weights, forget, set(forget), lam, loss))
    low, high = 0, len(grid) - 1  # more exact shards leave less of the gap, so halve
    while low < high:
        middle = (low + high) // 2
        exact = decide(visits, total, grid[middle])
        after = stack(unlearn(shards, weights, forget, exact, lam, loss))
        enough = gap_removed(stack(weights), after, scratch) >= target
        low, high = (low, middle) if enough else (middle + 1, high)
    return np.float64(grid[low])
""",
    },
}

# Assignment 4 has a file of its own.
WRONG["audit"], *MISTAKES["audit"] = audit_answers.MISTAKES
OTHERS["audit"] = audit_answers.RIGHT["math module, scan by scan"]
