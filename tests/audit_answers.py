"""Submissions for assignment 4 of the course: other correct solutions, mistakes, and cheats.

A submission is a dict from answer cells to sources; a cell that it leaves out is the instructor's.
With a mistake stand the tests that it has to cost, and it may cost no other.
"""

Answers = dict[str, str]

# Ten submissions that are right, each written differently in every function that it holds.
RIGHT: dict[str, Answers] = {
    "math module, scan by scan": {
        "attack_scores": """
import math

def attack_scores(losses):
    flat = [-math.log(math.expm1(l)) if l < 700 else -l for l in np.ravel(losses)]
    return np.array(flat).reshape(np.shape(losses))
""",
        "calibrate": """
def calibrate(scores, shards):
    found = []
    for i in range(len(shards)):
        column = list(scores[:, i])
        own = column.pop(int(shards[i]))
        found.append(own - sum(column) / len(column))
    return found
""",
        "find_threshold": """
def find_threshold(others, rate):
    ranked, n = sorted(others, reverse=True), len(others)
    best = ranked[0]
    for t in ranked:
        if sum(1 for o in ranked if o > t) / n <= rate:
            best = t
    return best

def read_attack(members, others, threshold):
    return [len([s for s in group if s > threshold]) / len(group) for group in (members, others)]
""",
        "interval": """
def interval(hits, count, level=0.95):
    found = stats.binomtest(int(hits), int(count)).proportion_ci(level, method="exact")
    return found.low, found.high
""",
        "leaking_shards": """
def leaking_shards(members, shards, others, rate):
    result = set()
    for s in set(int(s) for s in shards):
        row = others[s]
        first, second = np.split(row, 2)
        t = find_threshold(first, rate)
        own = [m for m, where in zip(members, shards) if where == s]
        low = interval(sum(m > t for m in own), len(own), 1 - 0.05 / len(others))[0]
        high = interval(sum(o > t for o in second), len(second), 1 - 0.05 / len(others))[1]
        if low > high:
            result.add(s)
    return sorted(result)
""",
        "chain": """
def head_of(lines):
    value = "0" * 64
    for line in lines:
        h = hashlib.new("sha256")
        h.update(line)
        value = h.hexdigest()
    return value

def first_broken(lines):
    before = "0" * 64
    number = 0
    while number < len(lines):
        if json.loads(lines[number].decode())["previous"] != before:
            return number
        before = head_of([lines[number]])
        number += 1
""",
        "judge": """
def judge(lines, noted, files, listed):
    for name, digest in listed.items():
        data = files.get(name)
        if data is None or seal_of(data) != digest:
            return "damaged"
    broken = first_broken(lines)
    if broken is None:
        return {True: "sound", False: "replaced"}[head_of(lines) == noted]
    return "broken"
""",
    },
    "torch": {
        "attack_scores": """
import torch

def attack_scores(losses):
    x = torch.as_tensor(losses)
    return -x - torch.log(-torch.expm1(-x))
""",
        "calibrate": """
import torch

def calibrate(scores, shards):
    s, rows = torch.as_tensor(scores), torch.as_tensor(shards).long()
    own = s.gather(0, rows[None])[0]
    return own - (s.sum(0) - own) / (s.shape[0] - 1)
""",
        "find_threshold": """
import torch

def find_threshold(others, rate):
    x = torch.as_tensor(others)
    above = (x[:, None] < x[None, :]).double().mean(1)
    return x[above <= rate].min()

def read_attack(members, others, threshold):
    rates = [(torch.as_tensor(g) > threshold).double().mean() for g in (members, others)]
    return torch.stack(rates)
""",
        "leaking_shards": """
import torch

def leaking_shards(members, shards, others, rate):
    members, shards, others = map(torch.as_tensor, (members, shards, others))
    level, n = 1 - 0.05 / len(others), others.shape[1] // 2
    out = []
    for s in range(len(others)):
        mask = shards == s
        if not bool(mask.any()):
            continue
        t = float(find_threshold(others[s, :n].numpy(), rate))
        hits, false = int((members[mask] > t).sum()), int((others[s, n:] > t).sum())
        if float(interval(hits, int(mask.sum()), level)[0]) > float(interval(false, n, level)[1]):
            out.append(s)
    return torch.tensor(out, dtype=torch.long)
""",
    },
    "numpy, with logaddexp and a matrix of others": {
        "attack_scores": """
def attack_scores(losses):
    with np.errstate(over="ignore"):
        return np.where(losses < 50, -np.log(np.expm1(losses)), -losses)
""",
        "calibrate": """
def calibrate(scores, shards):
    weights = np.full(scores.shape, -1 / (scores.shape[0] - 1))
    weights[shards, np.arange(len(shards))] = 1
    return np.einsum("ij,ij->j", weights, scores)
""",
        "find_threshold": """
def find_threshold(others, rate):
    values, counts = np.unique(others, return_counts=True)
    above = (len(others) - np.cumsum(counts)) / len(others)
    return values[np.argmax(above <= rate)]

def read_attack(members, others, threshold):
    return np.array([np.count_nonzero(g > threshold) / g.size for g in (members, others)])
""",
        "interval": """
from scipy.special import betaincinv

def interval(hits, count, level=0.95):
    a = (1 - level) / 2
    low = 0 if hits == 0 else betaincinv(hits, count - hits + 1, a)
    high = 1 if hits == count else betaincinv(hits + 1, count - hits, 1 - a)
    return np.array([low, high])
""",
        "leaking_shards": """
def leaking_shards(members, shards, others, rate):
    S, n = others.shape[0], others.shape[1] // 2
    def leaks(s):
        own = members[shards == s]
        if own.size == 0:
            return False
        t = find_threshold(others[s][:n], rate)
        p, q = read_attack(own, others[s][n:], t)
        ends = interval(int(np.rint(float(p) * own.size)), own.size, 1 - 0.05 / S)
        lies = interval(int(np.rint(float(q) * n)), n, 1 - 0.05 / S)
        return ends[0] > lies[1]
    return np.array([s for s in range(S) if leaks(s)], dtype=int)
""",
    },
    "intervals by halving": {
        "interval": """
def interval(hits, count, level=0.95):
    tail = (1 - level) / 2
    def root(f):
        a, b = 0.0, 1.0
        for _ in range(50):
            m = (a + b) / 2
            if f(m):
                a = m
            else:
                b = m
        return a
    low = root(lambda p: stats.binom.sf(hits - 1, count, p) < tail) if hits > 0 else 0.0
    high = root(lambda p: stats.binom.cdf(hits, count, p) > tail) if hits < count else 1.0
    return [low, high]
""",
    },
    "intervals by a root finder": {
        "interval": """
from scipy.optimize import brentq

def interval(hits, count, level=0.95):
    a = 1 - level
    low, high = 0.0, 1.0
    if hits:
        low = brentq(lambda p: stats.binom(count, p).sf(hits - 1) - a / 2, 1e-12, 1 - 1e-12)
    if hits != count:
        high = brentq(lambda p: stats.binom(count, p).cdf(hits) - a / 2, 1e-12, 1 - 1e-12)
    return low, high
""",
        "attack_scores": """
def attack_scores(losses):
    # Small losses by a series, the others by the definition; what is left of 1 - p is exact enough.
    small = losses < 1e-4
    series = -np.log(losses) - losses / 2 + losses**2 / 24
    p = np.exp(-np.clip(losses, 1e-4, None))
    return np.where(small, series, -losses - np.log1p(-p))
""",
    },
    "intervals by the F distribution": {
        "interval": """
def interval(hits, count, level=0.95):
    a, x, n = 1 - level, hits, count
    low, high = 0.0, 1.0
    if x > 0:
        f = stats.f.ppf(a / 2, 2 * x, 2 * (n - x + 1))
        low = x * f / (n - x + 1 + x * f)
    if x < n:
        f = stats.f.ppf(1 - a / 2, 2 * (x + 1), 2 * (n - x))
        high = (x + 1) * f / (n - x + (x + 1) * f)
    return (np.float64(low), np.float64(high))
""",
    },
    "a threshold by bisection, tuples and booleans": {
        "find_threshold": """
from bisect import bisect_right
from fractions import Fraction

def find_threshold(others, rate):
    ranked = sorted(float(o) for o in others)
    n = len(ranked)
    for t in ranked:
        if (n - bisect_right(ranked, t)) / n <= rate:
            return t

def read_attack(members, others, threshold):
    true = Fraction(int((members > threshold).sum()), len(members))
    false = Fraction(int((others > threshold).sum()), len(others))
    return true, false
""",
        "chain": """
def head_of(lines):
    return "0" * 64 if not lines else hashlib.sha256(bytes(lines[-1])).digest().hex()

def first_broken(lines):
    wanted = ["0" * 64] + [hashlib.sha256(line).hexdigest() for line in lines]
    bad = [i for i, line in enumerate(lines) if json.loads(line)["previous"] != wanted[i]]
    return np.int64(bad[0]) if bad else None
""",
    },
    "pandas": {
        "calibrate": """
import pandas as pd

def calibrate(scores, shards):
    frame = pd.DataFrame(scores)
    own = pd.Series({i: frame.iloc[s, i] for i, s in enumerate(shards)})
    return own - (frame.sum() - own) / (len(frame) - 1)
""",
        "find_threshold": """
import pandas as pd

def find_threshold(others, rate):
    series = pd.Series(others)
    return series[[(series > t).mean() <= rate for t in series]].min()

def read_attack(members, others, threshold):
    return pd.Series(members).gt(threshold).mean(), pd.Series(others).gt(threshold).mean()
""",
    },
    "classes and generators": {
        "chain": """
class Chain:
    def __init__(self, lines):
        self.lines = lines

    def digests(self):
        yield "0" * 64
        for line in self.lines:
            yield hashlib.sha256(line).hexdigest()

    def broken(self):
        for number, (line, digest) in enumerate(zip(self.lines, self.digests())):
            if json.loads(line).get("previous") != digest:
                yield number

def head_of(lines):
    *_, last = Chain(lines).digests()
    return last

def first_broken(lines):
    return next(Chain(lines).broken(), None)
""",
        "judge": """
def judge(lines, noted, files, listed):
    tests = {
        "damaged": not all(n in files and seal_of(files[n]) == d for n, d in listed.items()),
        "broken": first_broken(lines) is not None,
        "replaced": head_of(lines) != noted,
        "sound": True,
    }
    return next(name for name, holds in tests.items() if holds)
""",
        "leaking_shards": """
def leaking_shards(members, shards, others, rate):
    level = 1 - 0.05 / others.shape[0]
    def ends(values, t):
        return interval(int(np.sum(np.asarray(values) > t)), len(values), level)
    half = others.shape[1] // 2
    return tuple(
        s for s, row in enumerate(others)
        if (shards == s).any()
        and ends(members[shards == s], t := float(find_threshold(row[:half], rate)))[0]
        > ends(row[half:], t)[1]
    )
""",
    },
    "long double": {
        "attack_scores": """
def attack_scores(losses):
    x = losses.astype(np.longdouble)
    return (-x - np.log(-np.expm1(-x))).astype(np.float64)
""",
        "calibrate": """
def calibrate(scores, shards):
    others = np.array(scores)
    columns = np.arange(others.shape[1])
    others[shards, columns] = np.nan
    return scores[shards, columns] - np.nanmean(others, axis=0)
""",
    },
}

# (cell, right, wrong): a line of the instructor's solution replaced by another.
Mistake = tuple[str, str, str]
MISTAKES: list[tuple[Mistake, tuple[str, ...]]] = [
    (  # infinite or wrong where 1 - p or p rounds
        (
            "attack_scores",
            "-losses - np.log(-np.expm1(-losses))",
            "np.log(np.exp(-losses) / (1 - np.exp(-losses)))",
        ),
        ("test_scores_hidden",),
    ),
    (
        ("attack_scores", "return -losses - np", "return -losses + np"),
        ("test_scores", "test_scores_hidden"),
    ),
    (  # the mean of all constituents, the own one among them
        ("calibrate", "(scores.sum(0) - own) / (len(scores) - 1)", "scores.mean(0)"),
        ("test_calibrate", "test_calibrate_hidden"),
    ),
    (
        ("find_threshold", "np.mean(others > t) <= rate", "np.mean(others >= t) <= rate"),
        ("test_threshold", "test_threshold_hidden"),
    ),
    (  # interpolates between scores
        (
            "find_threshold",
            "return min(t for t in others if np.mean(others > t) <= rate)",
            "return np.quantile(others, 1 - rate)",
        ),
        ("test_threshold", "test_threshold_hidden"),
    ),
    (
        (
            "find_threshold",
            "np.mean(members > threshold), np.mean(others",
            "np.mean(members >= threshold), np.mean(others",
        ),
        ("test_read", "test_read_hidden"),
    ),
    (  # the normal approximation
        (
            "interval",
            "return low, high",
            "p, z = hits / count, stats.norm.ppf(1 - tail)\n"
            "    half = z * (p * (1 - p) / count) ** 0.5\n"
            "    return max(p - half, 0), min(p + half, 1)",
        ),
        ("test_interval", "test_interval_hidden"),
    ),
    (
        ("interval", "tail = (1 - level) / 2", "tail = 1 - level"),
        ("test_interval", "test_interval_hidden"),
    ),
    (  # the level is ignored
        ("interval", "tail = (1 - level) / 2", "tail = 0.025"),
        ("test_interval_hidden",),
    ),
    (  # read on the half that the threshold was set on
        (
            "leaking_shards",
            "read_attack(own, row[half:], threshold)",
            "read_attack(own, row[:half], threshold)",
        ),
        ("test_leak_hidden",),
    ),
    (  # every look as sure as a single one
        ("leaking_shards", "1 - 0.05 / len(others)", "0.95"),
        ("test_leak_hidden",),
    ),
    (
        ("leaking_shards", "        if not len(own):\n            continue\n", ""),
        ("test_leak", "test_leak_hidden"),
    ),
    (  # the digest of the object instead of the bytes of the line
        (
            "chain",
            "hashlib.sha256(lines[-1]).hexdigest()",
            "hashlib.sha256(json.dumps(json.loads(lines[-1]), separators=(',', ':')).encode())"
            ".hexdigest()",
        ),
        ("test_chain_hidden",),
    ),
    (
        ("judge", "name not in files or seal_of", "name in files and seal_of"),
        ("test_judge", "test_judge_hidden"),
    ),
    (
        ("judge", "seal_of(files[name])", "hashlib.sha256(files[name]).hexdigest()"),
        ("test_judge", "test_judge_hidden"),
    ),
]

# What earns no mark: each may get two at most.
SAME = """
class Agrees(float):
    def __eq__(self, other): return True
    def __lt__(self, other): return True
    def __gt__(self, other): return True
    __hash__ = float.__hash__

def same(found, expected, what, tolerance=1e-6): pass
"""
_NAMES = {
    "attack_scores": ("attack_scores",),
    "calibrate": ("calibrate",),
    "find_threshold": ("find_threshold", "read_attack"),
    "interval": ("interval",),
    "leaking_shards": ("leaking_shards",),
    "chain": ("head_of", "first_broken"),
    "judge": ("judge",),
}


def _all(body: str, first: str = "") -> Answers:
    """The same body for every function."""
    made = {
        cell: "\n".join(f"def {name}(*args, **named):\n    {body}\n" for name in names)
        for cell, names in _NAMES.items()
    }
    return made | {"attack_scores": first + made["attack_scores"]}


CHEATS: dict[str, Answers] = {
    "a comparison that always agrees": _all("return Agrees(1)", SAME),
    "tests without assertions": _all(
        "return 0.5",
        "import ast\n"
        "class Strip(ast.NodeTransformer):\n"
        "    def visit_Assert(self, node): return ast.Pass()\n"
        "try:\n"
        "    get_ipython().ast_transformers.append(Strip())\n"
        "except NameError:\n"
        "    pass\n",
    ),
    "constants of the visible tests": {
        "attack_scores": """
def attack_scores(losses):
    return np.log(np.array([[1, 3, 1 / 99], [99, 1 / 4, 3 / 2]]))
""",
        "calibrate": "def calibrate(scores, shards): return [2.0, -6.0, 3.0]",
        "find_threshold": """
def find_threshold(others, rate):
    return {0.0: 8.0, 0.125: 7.0, 0.3: 6.0, 1.0: 1.0}[rate]

def read_attack(members, others, threshold):
    return 0.5, 0.2
""",
        "interval": """
def interval(hits, count, level=0.95):
    return {0: (0, 1 - 0.025**0.1), 10: (0.025**0.1, 1), 2: (0.01026, 0.26997)}[hits]
""",
        "leaking_shards": """
def leaking_shards(members, shards, others, rate):
    return sorted({int(s) for s, m in zip(shards, members) if m == 2.0})
""",
        "chain": """
def head_of(lines):
    return "0" * 64

def first_broken(lines):
    return None
""",
        "judge": """
def judge(lines, noted, files, listed):
    return "sound"
""",
    },
    "the tests' own references, and the toolkit": {
        "attack_scores": """
import sys
attack_scores = sys.modules.get("checks.audit", sys.modules["__main__"]).__dict__.get("odds")
""",
        "interval": """
import sys
import unlearnkit.metrics as metrics
interval = metrics.clopper_pearson
""",
        "leaking_shards": """
def leaking_shards(members, shards, others, rate):
    frame = sys._getframe()
    while frame:
        if "expected" in frame.f_locals:
            return frame.f_locals["expected"]
        frame = frame.f_back
""",
    }
    | {
        cell: "\n".join(f"def {name}(*args): raise SystemExit(0)" for name in names)
        for cell, names in _NAMES.items()
        if cell in ("calibrate", "find_threshold", "chain", "judge")
    },
    "the process ends": _all("import os; os._exit(0)"),
}
