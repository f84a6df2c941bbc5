"""Correct solutions of assignment 2, each written in another way.

Solution i takes answer i of each cell, from the start again where a cell has fewer.
"""

ANSWERS: dict[str, list[str]] = {
    "make_slices": [
        """
def make_slices(num_examples, num_shards, num_slices, seed):
    ids = torch.randperm(num_examples, generator=torch.Generator().manual_seed(seed)).numpy()
    shards = [ids[s::num_shards] for s in range(num_shards)]
    return [[shard[r::num_slices] for r in range(num_slices)] for shard in shards]
""",
        """
import random

def make_slices(num_examples, num_shards, num_slices, seed):
    ids = list(range(num_examples))
    random.Random(seed).shuffle(ids)
    result = []
    for s in range(num_shards):
        shard = ids[s * num_examples // num_shards : (s + 1) * num_examples // num_shards]
        bounds = [r * len(shard) // num_slices for r in range(num_slices + 1)]
        result.append([np.array(shard[a:b], dtype=int) for a, b in zip(bounds, bounds[1:])])
    return result
""",
        """
def make_slices(num_examples, num_shards, num_slices, seed):
    rng = np.random.RandomState(seed)
    order = rng.permutation(num_examples)
    return [list(np.array_split(part, num_slices)) for part in np.array_split(order, num_shards)]
""",
        """
def make_slices(num_examples, num_shards, num_slices, seed):
    slices = [[[] for _ in range(num_slices)] for _ in range(num_shards)]
    order = np.argsort(np.random.default_rng(seed).random(num_examples), kind="stable")
    for place, i in enumerate(order):
        slices[place % num_shards][place // num_shards % num_slices].append(i)
    return [[np.asarray(ids, dtype=np.int32) for ids in shard] for shard in slices]
""",
        """
def make_slices(num_examples, num_shards, num_slices, seed):
    ids = np.arange(num_examples)
    np.random.default_rng([seed, 7]).shuffle(ids)
    return [np.array_split(ids[s::num_shards], num_slices) for s in range(num_shards)]
""",
    ],
    "train_stage": [
        """
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
        """
def train_stage(weights, features, labels, pool, revoked, shard, stage):
    w = torch.nn.Parameter(weights.clone())
    optimizer = torch.optim.SGD([w], lr=RATE)
    for epoch in range(EPOCHS):
        for slots in batches(pool, shard, stage, epoch):
            ids = [i for i in slots.tolist() if i not in revoked]
            if ids:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(features[ids] @ w, labels[ids]).backward()
                optimizer.step()
    return w.detach()
""",
        """
def train_stage(weights, features, labels, pool, revoked, shard, stage):
    result = weights.detach().clone()
    for epoch in range(EPOCHS):
        for slots in batches(pool, shard, stage, epoch):
            alive = slots[~np.isin(slots, list(revoked))]
            if alive.size:
                x, y = features[alive], labels[alive]
                slope = torch.softmax(x @ result, dim=1)
                slope[torch.arange(len(y)), y] -= 1
                result.sub_(x.T @ slope, alpha=RATE / len(y))
    return result
""",
        """
def train_stage(weights, features, labels, pool, revoked, shard, stage):
    def loss(w, ids):
        z = torch.stack([features[i] for i in ids]) @ w
        return (z.logsumexp(1) - z[range(len(ids)), [int(labels[i]) for i in ids]]).mean()

    w, epoch = weights + 0, 0
    while epoch < EPOCHS:
        for slots in batches(pool, shard, stage, epoch):
            ids = [int(i) for i in slots if int(i) not in revoked]
            if len(ids) > 0:
                w = w - RATE * torch.func.grad(loss)(w, ids)
        epoch += 1
    return w
""",
        """
def train_stage(weights, features, labels, pool, revoked, shard, stage):
    gone, w = frozenset(int(i) for i in revoked), weights.clone().requires_grad_(True)
    for epoch in range(EPOCHS):
        for slots in batches(pool, shard, stage, epoch):
            ids = torch.tensor([i for i in map(int, slots) if i not in gone], dtype=torch.long)
            if not ids.numel():
                continue
            log_p = torch.log_softmax(features.index_select(0, ids) @ w, 1)
            (-log_p.gather(1, labels[ids][:, None]).sum() / len(ids)).backward()
            with torch.no_grad():
                w -= RATE * w.grad
                w.grad = None
    return w.detach()
""",
    ],
    "stage_key": [
        """
from hashlib import sha256

def stage_key(slices, revoked, shard, stage):
    before = "start" if stage == 1 else stage_key(slices, revoked, shard, stage - 1)
    members = sorted(map(int, slices[shard][stage - 1]))
    alive = [i for i in members if i not in revoked]
    return sha256(repr((before, shard, members, alive)).encode()).hexdigest()
""",
        """
def stage_key(slices, revoked, shard, stage):
    return (shard,) + tuple(
        (frozenset(ids.tolist()), frozenset(ids.tolist()) & frozenset(revoked))
        for ids in slices[shard][:stage]
    )
""",
        """
import json

def stage_key(slices, revoked, shard, stage):
    pools = [sorted(int(i) for i in ids) for ids in slices[shard][:stage]]
    return json.dumps({"shard": shard, "alive": [[i for i in p if i not in revoked] for p in pools],
                       "gone": [[i for i in p if i in revoked] for p in pools]})
""",
        """
def stage_key(slices, revoked, shard, stage):
    text = f"{shard}/{stage}"
    for ids in slices[shard][:stage]:
        text += ";" + ",".join(f"{i}{'x' if i in revoked else ''}" for i in np.sort(ids))
    return text.encode()
""",
        """
from dataclasses import dataclass

@dataclass(frozen=True)
class Key:
    shard: int
    stage: int
    parts: tuple

def stage_key(slices, revoked, shard, stage):
    parts = tuple(tuple(np.sort(np.where(np.isin(ids, list(revoked)), -1 - ids, ids)).tolist())
                  for ids in slices[shard][:stage])
    return Key(shard, stage, parts)
""",
        """
from typing import NamedTuple

class Name(NamedTuple):
    where: tuple
    survivors: tuple
    members: tuple

def stage_key(slices, revoked, shard, stage):
    members = [np.sort(ids) for ids in slices[shard][:stage]]
    survivors = [tuple(np.setdiff1d(ids, np.array(list(revoked), int))) for ids in members]
    return Name((shard, stage), tuple(survivors), tuple(map(tuple, members)))
""",
        """
def stage_key(slices, revoked, shard, stage):
    number = shard + 1  # one long integer
    for ids in slices[shard][:stage]:
        number = number * 2 + 1
        for i in sorted(int(i) for i in ids):
            number = number * 100_000 + 2 * i + (i in revoked)
    return number, len(slices[shard][:stage])
""",
    ],
    "train": [
        """
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
        """
def train(features, labels, slices, revoked, store):
    final = {}
    for s in range(len(slices)):
        w, pool = initial_weights(features, s), np.array([], dtype=int)
        for r, ids in enumerate(slices[s], 1):
            pool = np.append(pool, ids)
            key = stage_key(slices, revoked, s, r)
            try:
                w = store[key]
            except KeyError:
                w = store[key] = train_stage(w, features, labels, pool, revoked, s, r)
        final[s] = w.clone()
    return list(final.values())
""",
        """
def train(features, labels, slices, revoked, store):
    result = []
    for shard, parts in enumerate(slices):
        keys = [stage_key(slices, revoked, shard, r + 1) for r in range(len(parts))]
        done = max((r + 1 for r, key in enumerate(keys) if key in store), default=0)
        weights = store[keys[done - 1]] if done else initial_weights(features, shard)
        for r in range(done, len(parts)):
            weights = train_stage(
                weights=weights, features=features, labels=labels,
                pool=np.concatenate(parts[: r + 1]), revoked=revoked, shard=shard, stage=r + 1,
            )
            store.update({keys[r]: weights})
        result.append(weights)
    return result
""",
        """
def train(features, labels, slices, revoked, store):
    models = [initial_weights(features, s) for s in range(len(slices))]
    for r in range(1, len(slices[0]) + 1):  # stage by stage instead of shard by shard
        for s in range(len(slices)):
            key = stage_key(slices, set(revoked), s, r)
            if store.get(key) is None:
                pool = np.hstack(slices[s][:r])
                new = train_stage(models[s], features, labels, pool, set(revoked), s, r)
                store[key] = new.clone()
            models[s] = store[key]
    return tuple(models)
""",
    ],
    "workload": [
        """
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
        """
def workload(slices, revoked, store):
    return sum(
        EPOCHS * sum(int(i) not in revoked for ids in parts[:r] for i in ids)
        for s, parts in enumerate(slices)
        for r in range(1, len(parts) + 1)
        if stage_key(slices, revoked, s, r) not in store.keys()
    )
""",
        """
def workload(slices, revoked, store):
    missing, gone = [], np.array(sorted(revoked), dtype=int)
    for s in range(len(slices)):
        sizes = np.cumsum([len(np.setdiff1d(ids, gone)) for ids in slices[s]])
        missing += [n for r, n in enumerate(sizes)
                    if stage_key(slices, revoked, s, r + 1) not in store]
    return float(EPOCHS * np.sum(missing))
""",
        """
def workload(slices, revoked, store):
    total = torch.tensor(0)
    for s, parts in enumerate(slices):
        alive = 0
        for r, ids in enumerate(parts):
            alive += np.isin(ids, list(revoked), invert=True).sum()
            known = stage_key(slices, revoked, s, r + 1) in store
            total += 0 if known else int(alive) * EPOCHS
    return total
""",
    ],
    "proof": [
        """
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
        """
def proof(train, features, labels, slices, revoked):
    x, y = features.detach().numpy().copy(), labels.numpy().copy()
    x[list(revoked)] = np.nan
    y[list(revoked)] = -1
    reference = train(torch.from_numpy(x), torch.from_numpy(y), slices, revoked, {})
    store = {}
    train(features, labels, slices, set(), store)
    found = train(features, labels, slices, revoked, store)
    return b"".join(w.numpy().tobytes() for w in found) == b"".join(
        w.numpy().tobytes() for w in reference
    )
""",
        """
import io

def proof(train, features, labels, slices, revoked):
    store, x, y = {}, features.clone(), labels.clone()
    for i in revoked:
        x[i].fill_(float("nan"))
        y[i] = -1
    train(features, labels, slices, set(), store)
    for a, b in zip(train(features, labels, slices, set(revoked), store),
                    train(x, y, slices, set(revoked), {}), strict=True):
        if not same_bytes(a, b):
            return False
    return True
""",
        """
import struct

def proof(train, features, labels, slices, revoked):
    keep = torch.ones(len(features), dtype=torch.bool)
    keep[sorted(revoked)] = False
    x = features.masked_fill(~keep[:, None], torch.nan)
    y = labels.masked_fill(~keep, -1)
    store = {}
    train(features, labels, slices, set(), store)
    results = train(features, labels, slices, revoked, store), train(x, y, slices, revoked, {})
    bits = [[struct.pack("d", v) for w in one for v in w.flatten().tolist()] for one in results]
    return torch.tensor(bits[0] == bits[1])
""",
    ],
}
