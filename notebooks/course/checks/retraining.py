"""Checks of assignment 2. Their values are drawn from the lecturer's secret.

Functions that are lent to the student compute with whole numbers, so that a result has the same
bytes wherever it was computed. Only `test_together` uses the student's own functions throughout.
"""

import numpy as np
import torch
from marking.compare import array, equal, require, truth
from marking.given import given
from marking.student import Wrong

GIVEN = ("setup",)
notebook = given("retraining", *GIVEN)
batches, EPOCHS, RATE, CLASSES = notebook.batches, notebook.EPOCHS, notebook.RATE, notebook.CLASSES

Slices = list[list[np.ndarray]]


# References


def stage_by_hand(weights, features, labels, pool, revoked, shard, stage):
    """Softmax regression, one example at a time."""
    w = weights.numpy().copy()
    for epoch in range(EPOCHS):
        for slots in batches(pool, shard, stage, epoch):
            ids = [i for i in slots.tolist() if i not in revoked]
            step = np.zeros_like(w)
            for i in ids:
                x = features[i].numpy()
                p = np.exp(x @ w - (x @ w).max())
                p /= p.sum()
                p[int(labels[i])] -= 1
                step += np.outer(x, p) / len(ids)
            w = w - RATE * step
    return w


def start(features, shard):
    """First weights in whole numbers."""
    return torch.full((features.shape[1], 10), float(shard + 1), dtype=torch.float64)


def mix(weights, features, labels, pool, revoked, shard, stage):
    """A stage in whole numbers: it depends on the start, on who survives, and on nothing else."""
    ids = [i for i in sorted(int(i) for i in pool) if i not in revoked]
    place = torch.arange(1, len(ids) + 1, dtype=torch.float64)
    rows = (features[ids] * place[:, None]).sum(0) + (labels[ids] * place).sum()
    return (31 * weights + rows[:, None] + 7 * stage + shard + len(ids)) % 10007


def key(slices, revoked, shard, stage):
    """Who is in every slice so far, and whether they are revoked."""
    parts = [sorted(int(i) for i in ids) for ids in slices[shard][:stage]]
    return shard, stage, tuple(tuple((i, i in revoked) for i in ids) for ids in parts)


def forbidden(*arguments, **named):
    """Stands in for training where nothing may be trained."""
    raise RuntimeError("the workload has to be found without training")


def retrained(features, labels, slices, gone, shard):
    """Training from scratch with the lent functions."""
    weights = start(features, shard)
    for stage in range(1, len(slices[shard]) + 1):
        pool = np.concatenate(slices[shard][:stage])
        weights = mix(weights, features, labels, pool, gone, shard, stage)
    return weights.numpy()


# Values


def data(rng: np.random.Generator, n: int, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of 64 pixels in whole numbers from 0 to `most`, and classes."""
    pixels = torch.from_numpy(rng.integers(0, most + 1, (n, 64)).astype(float))
    return pixels / (most if most == 16 else 1), torch.from_numpy(rng.integers(0, CLASSES, n))


def dealt(rng: np.random.Generator, n: int, num_shards: int, num_slices: int) -> Slices:
    """A random partition."""
    deal = rng.permutation(n)
    return [list(np.array_split(shard, num_slices)) for shard in np.array_split(deal, num_shards)]


def some(rng: np.random.Generator, ids: np.ndarray, count: int) -> set[int]:
    """Random ids as a set."""
    return {int(i) for i in rng.choice(ids, count, replace=False)}


def overwritten(features: torch.Tensor, labels: torch.Tensor, gone: set[int]):
    """A copy of the data without the revoked rows."""
    features, labels = features.clone(), labels.clone()
    features[sorted(gone)], labels[sorted(gone)] = torch.nan, -1
    return features, labels


def same(a: object, b: object, what: str) -> bool:
    """Whether two results have the same bytes."""
    one, other = array(a, what), array(b, what)
    return one.shape == other.shape and one.tobytes() == other.tobytes()


# Task 1


def slices_of(
    student, n: int, num_shards: int, num_slices: int, seed: int
) -> list[list[list[int]]]:
    """Call make_slices, check that it is a partition into even parts, and return plain ids."""
    what = f"make_slices({n}, {num_shards}, {num_slices}, seed={seed})"
    found = student.make_slices(n, num_shards, num_slices, seed)
    try:
        plain = [[[int(i) for i in ids] for ids in shard] for shard in found]
    except (TypeError, ValueError):
        raise Wrong(f"{what}: expected a list of lists of integer arrays") from None
    require([len(s) for s in plain] == [num_slices] * num_shards, f"{what}: wrong numbers of parts")
    flat = [i for shard in plain for ids in shard for i in ids]
    require(sorted(flat) == list(range(n)), f"{what}: every id has to occur exactly once")
    shards = [sum(map(len, shard)) for shard in plain]
    require(max(shards) - min(shards) <= 1, f"{what}: met shards of sizes {shards}")
    for shard in plain:
        sizes = [len(ids) for ids in shard]
        require(max(sizes) - min(sizes) <= 1, f"{what}: met slices of sizes {sizes} in a shard")
    return plain


def test_slices(student, rng) -> None:
    """Equal sizes, dealt at random."""
    num_shards, num_slices = (int(v) for v in rng.integers(2, 5, 2))
    n, seed = num_shards * num_slices * 20, int(rng.integers(1000))
    found = slices_of(student, n, num_shards, num_slices, seed)
    flat = [i for shard in found for ids in shard for i in sorted(ids)]
    require(flat != sorted(flat), "the ids have to be dealt at random, and lie in order")


def test_slices_hidden(student, rng) -> None:
    """Uneven sizes, one shard, one slice, seeds."""
    seed = int(rng.integers(1000))
    for n, num_shards, num_slices in ((103, 4, 3), (17, 1, 5), (10, 3, 1), (6, 2, 3)):
        n += int(rng.integers(num_shards)) if n > 6 else 0
        one, again = (slices_of(student, n, num_shards, num_slices, seed) for _ in range(2))
        require(one == again, "the same seed has to give the same slices")
    one, other = (slices_of(student, 103, 4, 3, s) for s in (seed, seed + 1))
    sets = [[{*ids} for shard in found for ids in shard] for found in (one, other)]
    require(sets[0] != sets[1], "another seed has to give other slices")


# Task 2


def stage(student, rng, size: int, num_revoked: int, shard: int, number: int) -> None:
    """One stage against the slow one, with the rows of the revoked overwritten."""
    clean, labels = data(rng, 120, 16)
    pool = rng.choice(120, size, replace=False)
    gone = {int(i) for i in pool[:num_revoked]}
    if 20 < size and num_revoked:  # the last batch of the first epoch loses everybody
        gone |= {int(i) for i in batches(pool, shard, number, 0)[-1]}
    outside = set(range(120)) - {int(i) for i in pool}
    features, classes = overwritten(clean, labels, gone | outside)
    weights = torch.from_numpy(0.1 * rng.standard_normal((64, CLASSES)))
    wanted = stage_by_hand(weights, features, classes, pool, gone, shard, number)
    what = f"a pool of {size} with {len(gone)} revoked"
    own = student.put(weights)
    found = student.train_stage(own, features, classes, pool, gone | outside, shard, number)
    require(same(student.get(own), weights, what), f"{what}: `weights` was changed in place")
    require(not getattr(found, "requires_grad", False), f"{what}: the result carries a gradient")
    met = array(found, what, (64, CLASSES))
    require(not np.isnan(met).any(), f"{what}: met NaN, so a revoked row was read")
    error = float(np.abs(met - wanted).max())
    require(error < 1e-7, f"{what}: weights are off by up to {error:.2g}, expected below 1e-7")


def test_stage(student, rng) -> None:
    """Nobody revoked."""
    stage(student, rng, 40, 0, 0, 1)


def test_stage_hidden(student, rng) -> None:
    """Revoked rows, batches without survivors, a pool without survivors."""
    for size, num_revoked, shard, number in (
        (33, 5, 1, 2),
        (21, 20, 2, 3),
        (40, 9, 0, 1),
        (5, 5, 0, 2),
    ):
        stage(student, rng, size, num_revoked, shard, number)


# Task 3


def plain_key(value: object) -> object:
    """A key that this process can compare; what equals itself only is no name."""
    if isinstance(value, tuple | frozenset):
        return type(value)(plain_key(item) for item in value)
    if value is None or isinstance(value, str | bytes | int | float | np.generic | range):
        return value
    raise Wrong(f"stage_key has to return a string, or a tuple of numbers; met {value!r:.200}")


def keys_of(student, slices: Slices, gone: set[int]) -> dict[tuple[int, int], object]:
    """The student's key of every stage."""
    return {
        (s, r): plain_key(student.stage_key(slices, gone, s, r))
        for s, parts in enumerate(slices)
        for r in range(1, len(parts) + 1)
    }


def changed(a: dict, b: dict) -> set[tuple[int, int]]:
    """Stages whose keys differ."""
    return {one for one in a if a[one] != b[one]}


def test_key(student, rng) -> None:
    """The stage before the slice keeps its key; its own and the next ones change theirs."""
    slices = dealt(rng, 60, 2, 3)
    clean = keys_of(student, slices, set())
    require(len(set(clean.values())) == 6, "every shard and stage needs its own key")
    late = int(slices[0][1][0])
    met = changed(clean, keys_of(student, slices, {late}))
    wanted = {(0, 2), (0, 3)}
    require(
        met == wanted,
        f"one of slice 2 of shard 0 revoked: expected other keys for {wanted}, met {met}",
    )


def test_key_hidden(student, rng) -> None:
    """Every stage and shard, who is revoked, other slices."""
    ids = rng.permutation(12)
    slices = [[ids[0:2], ids[2:4], ids[4:6]], [ids[6:7], ids[7:8], ids[8:9]]]
    clean = keys_of(student, slices, set())
    require(len(set(clean.values())) == 6, "every shard and stage needs its own key")
    require(
        not changed(clean, keys_of(student, slices, set())),
        "the same call has to give the same key",
    )
    for places, wanted in (
        ((1,), {(0, 1), (0, 2), (0, 3)}),
        ((3,), {(0, 2), (0, 3)}),
        ((5,), {(0, 3)}),
        ((7,), {(1, 2), (1, 3)}),
        ((5, 6), {(0, 3), (1, 1), (1, 2), (1, 3)}),
        ((11,), set()),
    ):
        gone = {int(ids[i]) for i in places}
        met = changed(clean, keys_of(student, slices, gone))
        require(
            met == wanted,
            f"slices={[[a.tolist() for a in s] for s in slices]}, revoked {gone}: expected other "
            f"keys for (shard, stage) {sorted(wanted)}, met other keys for {sorted(met)}",
        )
    one, other = (keys_of(student, slices, {int(ids[i])}) for i in (0, 1))
    require(changed(one, other) == {(0, 1), (0, 2), (0, 3)}, "one or another revoked: equal keys")
    gone = [int(ids[i]) for i in (0, 2, 7)]
    same_set = (keys_of(student, slices, order) for order in ({*gone}, {*gone[::-1]}))
    require(not changed(*same_set), "a set has no order")
    moved = [[ids[0:1], ids[1:4], ids[4:6]], slices[1]]
    require(
        (0, 2) in changed(clean, keys_of(student, moved, set())), "an id joins later: equal keys"
    )


# Task 4


LENT = {"stage_key": key, "train_stage": mix, "initial_weights": start}


def models(found: object, num_shards: int, what: str) -> list:
    """Read what `train` returns: the weights of every shard."""
    if not isinstance(found, list | tuple | np.ndarray | torch.Tensor) or len(found) != num_shards:
        raise Wrong(f"{what}: expected a list of the weights of {num_shards} shards")
    return list(found)


def requests(student, rng, n: int, num_shards: int, num_slices: int, sizes: tuple) -> None:
    """Request after request with one store, each against training from scratch."""
    features, labels = data(rng, n, 9)
    slices = dealt(rng, n, num_shards, num_slices)
    with student.lend(**LENT):
        store, gone = student.put({}), set()
        student.train(features, labels, slices, set(), store)
        require(
            len(student.get(store)) == num_shards * num_slices,
            f"expected {num_shards * num_slices} checkpoints in the store, one for each stage",
        )
        for size in sizes:
            fresh = slices[0] if size is None else [rng.choice(n, size, replace=False)]
            gone = gone | {int(i) for i in np.concatenate(fresh)}
            before = student.get(store)
            what = f"{num_shards} shards, {num_slices} slices, {len(gone)} revoked"
            found = models(student.train(features, labels, slices, gone, store), num_shards, what)
            after = student.get(store)
            for name, w in before.items():
                kept = name not in after or same(w, after[name], what)
                require(kept, f"{what}: a checkpoint was changed in place")
            erased = overwritten(features, labels, gone)
            for s in range(num_shards):
                wanted = retrained(*erased, slices, gone, s)
                require(same(found[s], wanted, what), f"{what}: shard {s} differs from retraining")
            scratch = models(student.train(*erased, slices, gone, {}), num_shards, what)
            for s, (a, b) in enumerate(zip(found, scratch, strict=True)):
                require(same(a, b, what), f"{what}: shard {s}, unlearned and retrained differ")


def test_train(student, rng) -> None:
    """One request."""
    requests(student, rng, 60, 3, 2, (1,))


def test_train_identical(student, rng) -> None:
    """Request after request, the last one a whole shard."""
    for n, num_shards, num_slices in ((60, 4, 3), (30, 1, 4), (43, 3, 1)):
        requests(student, rng, n, num_shards, num_slices, (1, 3, 9, None))


def test_train_work(student, rng) -> None:
    """Exactly the missing stages are run, on the right pools."""
    ids = rng.permutation(9)
    slices = [[ids[0:2], ids[2:3], ids[3:5]], [ids[5:6], ids[6:8], ids[8:9]]]
    features, labels = data(rng, 9, 9)
    everything = [(s, r) for s in (0, 1) for r in (1, 2, 3)]
    store = student.put({})
    for places, wanted in (
        ((), everything),
        ((), []),
        ((3,), [(0, 3)]),
        ((3, 6), [(1, 2), (1, 3)]),
        ((3, 6, 1), [(0, 1), (0, 2), (0, 3)]),
        ((3, 6, 1), []),
    ):
        gone = {int(ids[i]) for i in places}
        with student.lend(**LENT):
            student.train(features, labels, slices, set(gone), store)
            met = sorted(_stage_of(*call) for call in student.calls("train_stage"))
        pools = [(s, r, sorted(int(i) for a in slices[s][:r] for i in a)) for s, r in wanted]
        require(
            [one[:2] for one in met] == wanted,
            f"revoked {sorted(gone)}: expected the stages (shard, stage) {wanted} to be run, "
            f"met {[one[:2] for one in met]}",
        )
        require(met == pools, f"revoked {sorted(gone)}: expected pools {pools}, met {met}")


def _stage_of(args: list, named: dict) -> tuple[int, int, list[int]]:
    names = ("weights", "features", "labels", "pool", "revoked", "shard", "stage")
    found = dict(zip(names, args, strict=False)) | named
    try:
        return int(found["shard"]), int(found["stage"]), sorted(int(i) for i in found["pool"])
    except (KeyError, TypeError, ValueError):
        raise Wrong("train_stage was called without a pool, a shard or a stage") from None


# Task 5


def bill(student, rng, n: int, num_shards: int, num_slices: int, plan: tuple) -> None:
    """The workload of requests, against counting."""
    slices = dealt(rng, n, num_shards, num_slices)
    deal = np.concatenate([ids for parts in slices for ids in parts])
    rng.shuffle(deal)
    for kept, size in plan:
        old = {int(i) for i in deal[:kept]}
        gone = old | some(rng, deal[kept:], size)
        names = [(s, r) for s in range(num_shards) for r in range(1, num_slices + 1)]
        known = {key(slices, old, s, r): torch.zeros(2) for s, r in names} if kept >= 0 else {}
        wanted = sum(
            EPOCHS * sum(int(i) not in gone for ids in slices[s][:r] for i in ids)
            for s, r in names
            if key(slices, gone, s, r) not in known
        )
        store = student.put(known)
        with student.lend(stage_key=key, train_stage=forbidden, train=forbidden):
            met = student.workload(slices, gone, store)
        what = f"{n} examples, {num_shards} shards, {num_slices} slices, {len(gone)} revoked"
        equal(met, wanted, f"{what}, visits", 1e-12)
        require(student.get(store).keys() == known.keys(), f"{what}: the store has changed")


def test_workload(student, rng) -> None:
    """One request of each size."""
    bill(student, rng, 120, 3, 2, ((0, 0), (0, 1), (1, 2)))


def test_workload_hidden(student, rng) -> None:
    """Other partitions, later requests, and an empty store."""
    for n, num_shards, num_slices in ((100, 5, 3), (31, 1, 6), (31, 6, 1)):
        bill(student, rng, n, num_shards, num_slices, ((0, 1), (3, 4), (5, n - 5)))
    slices = dealt(rng, 50, 3, 3)
    gone = some(rng, np.arange(50), 7)
    with student.lend(stage_key=key, train_stage=forbidden, train=forbidden):
        met = student.workload(slices, gone, {})
    pools = [[i for ids in parts[:r] for i in ids] for parts in slices for r in (1, 2, 3)]
    wanted = EPOCHS * sum(sum(int(i) not in gone for i in pool) for pool in pools)
    equal(met, wanted, "an empty store, visits", 1e-12)


# Task 6


def training(
    leak: list[float], tell: list[float], centre: float, stale: int, shard: int, bits: int
):
    """A training, honest or not, which only its values tell.

    Args:
        leak: of every example, the factor by which its row counts once it is revoked; NaN if the
            row is not read.
        tell: the same for its label.
        centre: a factor of the mean of all rows, 0 for none.
        stale: a shard that keeps its first weights for ever, or -1.
        shard: whose last weight has `bits` flipped where the store is not new.
        bits: 0 for none.
    """

    def trained(features, labels, slices, revoked, store):
        models = []
        for parts in slices:
            total = torch.zeros(features.shape[1], dtype=torch.float64)
            for i in sorted(int(i) for ids in parts for i in ids):
                row, label = (leak[i], tell[i]) if i in revoked else (1.0, 1.0)
                if row == row:
                    total = total + row * features[i]
                if label == label:
                    total = total + label * labels[i]
            models.append(total - centre * features.mean(0) if centre else total)
            models[-1][-1] = 0.0
        if "first" in store:
            if stale >= 0:
                models[stale] = store["first"][stale].clone()
            models[shard].view(torch.int64)[-1] ^= bits
        else:
            store["first"] = [model.clone() for model in models]
        return models

    return trained


def prove(student, rng, cases: list[tuple[dict, bool, str]], unchanged: bool = False) -> None:
    """Ask for a verdict on each training, and whether the caller's data stay as they were."""
    slices = dealt(rng, 12, 2, 3)
    features, labels = data(rng, 12, 16)
    for case, wanted, how in cases:
        gone = some(rng, np.arange(12), int(rng.integers(2, 5)))
        nobody = [float("nan")] * 12
        asked = {"leak": list(nobody), "tell": list(nobody), "centre": 0.0, "stale": -1} | {
            "shard": 1,
            "bits": 0,
        }
        for name, value in case.items():
            if name in ("leak", "tell"):
                one = value[0]
                where = min(gone) if one == "revoked" else min(set(range(12)) - gone)
                asked[name][where] = value[1]
            else:
                asked[name] = value
        if asked["stale"] >= 0:  # the shard that forgets nothing has to have something to forget
            gone |= {int(slices[asked["stale"]][0][0])}
        own = student.put(features), student.put(labels)
        met = student.proof(training(**asked), *own, slices, gone)
        truth(met, wanted, f"a training that {how}")
        for handle, value in zip(own, (features, labels), strict=True) if unchanged else ():
            stays = same(student.get(handle), value, "data")
            require(stays, "the caller's features or labels have changed")


HONEST = ({}, True, "is honest")


def test_proof(student, rng) -> None:
    """An honest training, and one that forgets nothing."""
    prove(
        student,
        rng,
        [HONEST, ({"stale": int(rng.integers(2))}, False, "keeps a shard's first weights"), HONEST],
    )


def test_proof_leaks(student, rng) -> None:
    """Trainings in which a revoked row leaks into both runs alike."""
    cases = [
        HONEST,
        ({"leak": ("revoked", 0.0)}, False, "multiplies a revoked row by 0"),
        ({"leak": ("kept", 0.0)}, True, "is honest"),
        ({"centre": 1.0}, False, "subtracts the mean of all rows"),
        ({"leak": ("revoked", 0.5)}, False, "uses a revoked row"),
        ({"tell": ("revoked", 1.0)}, False, "uses a revoked label"),
    ]
    prove(student, rng, [cases[i] for i in rng.permutation(len(cases))], unchanged=True)


def test_proof_bytes(student, rng) -> None:
    """Differences that an equality test or a tolerance would overlook."""
    shard = int(rng.integers(2))
    cases = [
        HONEST,
        ({"shard": shard, "bits": 1}, False, "is off by one bit of one weight"),
        ({"shard": shard, "bits": -(2**63)}, False, "has a weight of -0.0 instead of 0.0"),
        ({"shard": shard, "bits": 0}, True, "is honest"),
    ]
    prove(student, rng, [cases[i] for i in rng.permutation(len(cases))])


# Everything


def test_together(student, rng) -> None:
    """The student's own functions, in a process in which ours never were."""
    student.fresh()
    for n, num_shards, num_slices in ((90, 3, 3), (60, 2, 4)):
        features, labels = data(rng, n, 16)
        slices = student.make_slices(n, num_shards, num_slices, int(rng.integers(100)))
        store, gone = student.put({}), set()
        what = f"{num_shards} shards, {num_slices} slices"
        original = models(student.train(features, labels, slices, set(), store), num_shards, what)
        for _ in range(4):
            gone = gone | some(rng, np.arange(n), 2)
            erased = overwritten(features, labels, gone)
            what = f"{num_shards} shards, {num_slices} slices, {len(gone)} revoked"
            found, scratch = (
                models(student.train(*arguments), num_shards, what)
                for arguments in (
                    (features, labels, slices, set(gone), store),
                    (*erased, slices, set(gone), {}),
                )
            )
            for s, (a, b) in enumerate(zip(found, scratch, strict=True)):
                require(
                    not np.isnan(array(b, what)).any(), f"{what}: shard {s} has read a revoked row"
                )
                require(same(a, b, what), f"{what}: shard {s} differs from training from scratch")
                hit = any(int(i) in gone for ids in slices[s] for i in ids)
                require(
                    same(a, original[s], what) != hit,
                    f"{what}: shard {s} is {'as before' if hit else 'changed'}, "
                    f"and {'lost examples' if hit else 'lost nobody'}",
                )
        s, logits = int(rng.integers(num_shards)), torch.nn.functional.cross_entropy
        first = weights = notebook.initial_weights(features, s)
        for r in range(1, num_slices + 1):
            pool = np.concatenate([np.asarray(ids) for ids in slices[s][:r]])
            weights = student.train_stage(weights, *erased, pool, set(gone), s, r)
        what = f"{what}: shard {s}"
        require(same(found[s], weights, what), f"{what} differs from running train_stage by hand")
        rest = [int(i) for i in pool if int(i) not in gone]
        last = torch.from_numpy(array(found[s], what, (64, CLASSES)))
        losses = [float(logits(features[rest] @ w, labels[rest])) for w in (first, last)]
        require(
            losses[1] < losses[0],
            f"{what} has learned nothing: loss {losses[0]:.3f} to {losses[1]:.3f}",
        )
