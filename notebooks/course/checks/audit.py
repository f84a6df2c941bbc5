"""Checks of assignment 4. Their values are drawn from the lecturer's secret.

Each function is one line of the rubric. It gets the student, whose functions run in a process of
their own, and a random generator; it returns if the answer is right and raises `Wrong` if not.
The references are slow and obvious: they count, and solve the definition of an interval by halving.
"""

import hashlib
import json
import math

import numpy as np
from marking.compare import array, close, equal, number, require, same_numbers

GIVEN = ("setup",)  # cells of the notebook that run before the student's

START = "0" * 64
RATES = 1e-4  # tolerance of the ends of an interval, as the text says


# References


def odds(losses: np.ndarray) -> np.ndarray:
    """Log-odds of labels; expm1 keeps the digits of small losses, and large ones need no more."""
    losses = np.asarray(losses, dtype=float)
    small = losses < 30
    return np.where(small, -np.log(np.expm1(np.where(small, losses, 1.0))), -losses)


def calibrated(scores: np.ndarray, shards: np.ndarray) -> np.ndarray:
    """Own score minus the mean of the others, scan by scan."""
    scores, found = np.asarray(scores), []
    for scan, shard in enumerate(np.asarray(shards)):
        rest = [scores[row, scan] for row in range(len(scores)) if row != shard]
        found.append(scores[shard, scan] - sum(rest) / len(rest))
    return np.array(found)


def threshold(others: np.ndarray, rate: float) -> float:
    """The smallest score with no more than this share strictly above it."""
    others = np.asarray(others, dtype=float)
    fit = [t for t in others if np.sum(others > t) <= rate * len(others) + 1e-9]
    return float(min(fit))


def rates(members: np.ndarray, others: np.ndarray, at: float) -> tuple[float, float]:
    """Shares strictly above a threshold."""
    return tuple(float(np.mean(np.asarray(group) > at)) for group in (members, others))


def tail(hits: int, count: int, rate: float) -> float:
    """Probability of `hits` or more of `count`."""
    if rate in (0.0, 1.0):
        return float(hits <= count * rate)
    logs = math.log(rate), math.log1p(-rate)
    return sum(
        math.exp(
            math.lgamma(count + 1)
            - math.lgamma(k + 1)
            - math.lgamma(count - k + 1)
            + k * logs[0]
            + (count - k) * logs[1]
        )
        for k in range(hits, count + 1)
    )


def ends(hits: int, count: int, level: float = 0.95) -> tuple[float, float]:
    """The Clopper-Pearson interval, by halving."""
    hits, count, alpha = int(hits), int(count), 1 - level

    def solve(least: int, wanted: float) -> float:
        low, high = 0.0, 1.0
        for _ in range(40):  # `least` or more get more probable as the rate grows
            middle = (low + high) / 2
            low, high = (middle, high) if tail(least, count, middle) < wanted else (low, middle)
        return (low + high) / 2

    low = solve(hits, alpha / 2) if hits else 0.0
    high = solve(hits + 1, 1 - alpha / 2) if hits < count else 1.0
    return low, high


def leaks(members: np.ndarray, shards: np.ndarray, others: np.ndarray, rate: float) -> list[int]:
    """Shards whose interval lies above that of the held-out scans."""
    found = []
    for shard, row in enumerate(others):
        own, half = members[shards == shard], len(row) // 2
        if len(own):
            true, false = (
                int(np.sum(group > threshold(row[:half], rate))) for group in (own, row[half:])
            )
            level = 1 - 0.05 / len(others)
            if ends(true, len(own), level)[0] > ends(false, half, level)[1]:
                found.append(shard)
    return found


def digest(line: bytes) -> str:
    """The digest of a line of a ledger."""
    return hashlib.sha256(line).hexdigest()


def head(lines: list[bytes]) -> str:
    """The digest of the last line."""
    return digest(lines[-1]) if lines else START


def broken(lines: list[bytes]) -> int | None:
    """The first line that does not follow on the one before it."""
    for number_, line in enumerate(lines):
        if json.loads(line)["previous"] != head(lines[:number_]):
            return number_
    return None


def seal(data: bytes) -> str:
    """The digest of a checkpoint file, which leaves itself out."""
    begin = 8 + len('{"__metadata__":{"digest":"')
    return digest(data[:begin] + data[begin + 64 :])


# Values


def ledger(rng: np.random.Generator, count: int) -> list[bytes]:
    """A sound ledger of this number of lines."""
    lines: list[bytes] = []
    for _ in range(count):
        kind = str(rng.choice(["train", "unlearn", "outcome", "repay"]))
        body = {"previous": head(lines), "kind": kind, "ids": rng.integers(1, 999, 3).tolist()}
        lines.append(json.dumps(body, separators=(",", ":")).encode())
    return lines


def edited(rng: np.random.Generator, lines: list[bytes], at: int) -> list[bytes]:
    """The same lines, one of which names other ids."""
    body = json.loads(lines[at])
    body["ids"][0] += int(rng.integers(1, 9))
    return [*lines[:at], json.dumps(body, separators=(",", ":")).encode(), *lines[at + 1 :]]


def word(found: object, expected: str, what: str) -> None:
    """Compare two texts."""
    require(
        isinstance(found, str) and found == expected,
        f"{what}: expected {expected!r}, met {found!r:.100}",
    )


def pair(found: object, expected: tuple[float, float], what: str, tolerance: float = 1e-6) -> None:
    """Compare two shares with an absolute tolerance."""
    met = array(found, what, (2,))
    wanted = np.asarray(expected)
    require(
        bool((np.abs(met - wanted) <= tolerance).all()),
        f"{what}: expected {wanted.tolist()}, met {met.tolist()}",
    )


def untouched(student, handle, before: np.ndarray, what: str) -> None:
    """Whether an argument still has the values that were passed in."""
    after = array(student.get(handle), what, before.shape)
    require(np.array_equal(after, before), f"{what} that were passed in have changed")


# Task 1


def test_scores(student, rng) -> None:
    """Probabilities between 1 % and 99 %; the losses stay as they are."""
    for shape in ((5,), (3, 4)):
        losses = -np.log(rng.uniform(0.01, 0.99, shape))
        kept = student.put(losses)
        close(student.attack_scores(kept), odds(losses), f"losses {losses.round(4).tolist()}")
        untouched(student, kept, losses, "the losses")


def test_scores_hidden(student, rng) -> None:
    """Losses from 1e-12 to 1000."""
    small = 10.0 ** -rng.uniform(4, 12, 6)
    large = rng.uniform(40, 1000, 6)
    for losses in (small, large, np.array([1e-12, 0.5, 1000.0]), rng.uniform(0.1, 30, (2, 3, 2))):
        met = array(student.attack_scores(losses), "scores", losses.shape)
        wanted = odds(losses)
        wrong = np.abs(met - wanted) > 1e-6 * np.maximum(1, np.abs(wanted))
        require(
            not (wrong | ~np.isfinite(met)).any(),
            f"losses {losses.tolist()}: expected {wanted.tolist()}, met {met.tolist()}",
        )


# Task 2


def test_calibrate(student, rng) -> None:
    """Three constituents; the scores stay as they are."""
    scores, shards = rng.normal(size=(3, 6)) * 4, rng.permutation([0, 0, 1, 1, 2, 2])
    kept = student.put(scores)
    what = f"3 constituents, shards {shards.tolist()}"
    close(student.calibrate(kept, shards), calibrated(scores, shards), what)
    untouched(student, kept, scores, "the scores")


def test_calibrate_hidden(student, rng) -> None:
    """Two constituents, many, a single scan, all scans held against one constituent."""
    for constituents, scans in ((2, 1), (2, 9), (7, 30), (11, 4)):
        scores = rng.normal(size=(constituents, scans)) * 6
        one = np.full(scans, int(rng.integers(constituents)))
        for shards in (rng.integers(0, constituents, scans), one):
            what = f"{constituents} constituents, shards {shards.tolist()}"
            close(student.calibrate(scores, shards), calibrated(scores, shards), what)


# Task 3


def between(rng: np.random.Generator, count: int) -> float:
    """A rate between two that can occur, so that rounding decides nothing."""
    return (int(rng.integers(0, count - 1)) + 0.5) / count


def test_threshold(student, rng) -> None:
    """Distinct scores, rates between those that can occur, and 0 and 1."""
    others = rng.permutation(np.arange(40.0)) + float(rng.integers(-50, 50))
    for rate in (0.0, between(rng, 40), between(rng, 40), 1.0):
        met = student.find_threshold(others, rate)
        equal(met, threshold(others, rate), f"40 distinct scores, rate {rate:.4f}")


def test_read(student, rng) -> None:
    """Groups of different sizes, with ties at the threshold."""
    members, others = (rng.integers(0, 9, int(n)).astype(float) for n in rng.integers(9, 40, 2))
    for at in (2.0, float(rng.integers(3, 7)), 7.5):
        met = student.read_attack(members, others, at)
        pair(met, rates(members, others, at), f"whole scores from 0 to 8, threshold {at}")


def test_threshold_hidden(student, rng) -> None:
    """Ties, a single score, many scores."""
    ties = rng.choice([1.0, 2.0, 3.0], 23)
    for others in (ties, rng.normal(size=1), np.full(7, float(rng.normal())), rng.normal(size=401)):
        for rate in (0.0, 1.0, *(between(rng, max(len(others), 2)) for _ in range(3))):
            met = student.find_threshold(others, rate)
            equal(met, threshold(others, rate), f"{len(others)} scores, rate {rate:.4f}")


def test_read_hidden(student, rng) -> None:
    """All or none above the threshold; a single score."""
    for m, n in ((1, 1), (1, 30), (50, 3)):
        members, others = rng.integers(0, 6, m).astype(float), rng.integers(0, 6, n).astype(float)
        for at in (-1.0, 6.0, float(members[0]), float(others[0])):
            met = student.read_attack(members, others, at)
            pair(met, rates(members, others, at), f"{m} members, {n} others, threshold {at}")


# Task 4


def test_interval(student, rng) -> None:
    """A few dozen scans at the level of 95 %; nothing found, all found."""
    count = int(rng.integers(15, 40))
    for hits in (0, count, int(rng.integers(1, 5)), int(rng.integers(5, count))):
        pair(student.interval(hits, count), ends(hits, count), f"{hits} of {count}", RATES)


def test_interval_hidden(student, rng) -> None:
    """Other levels, a single scan, hundreds of scans."""
    many = int(rng.integers(200, 400))
    for hits, count in ((0, 1), (1, 1), (int(rng.integers(1, 9)), many), (many - 2, many)):
        for level in (0.95, 0.99, float(rng.uniform(0.5, 0.9))):
            met = student.interval(hits, count, level)
            pair(met, ends(hits, count, level), f"{hits} of {count}, level {level:.3f}", RATES)


# Task 5

LENT = {"find_threshold": threshold, "read_attack": rates, "interval": ends}


def case(rng: np.random.Generator, told: list[int], num: int, scans: int, half: int = 100):
    """Members, their shards and held-out scores; the shards of `told` leak, the last is empty."""
    others = rng.normal(size=(num, 2 * half))
    shards = rng.permutation(np.repeat(np.arange(num - 1), scans))
    members = rng.normal(size=len(shards)) + np.where(np.isin(shards, told), 4.0, -1.0)
    return members, shards, others


def find_leaks(student, given, rate: float, what: str) -> None:
    """Ask for the leaking shards with correct functions of the earlier tasks in place."""
    expected = leaks(*given, rate)
    same_numbers(student.leaking_shards(*given, rate), expected, what)


def test_leak(student, rng) -> None:
    """Shards that leak clearly, or not at all; one of them without withdrawn scans."""
    with student.lend(**LENT):
        for told in ([], [int(rng.integers(4))], [0, 3]):
            given = case(rng, told, 5, 20)
            find_leaks(student, given, 0.025, f"5 shards of 20 withdrawn scans, {told} leak")


def test_leak_hidden(student, rng) -> None:
    """Halves that differ, few scans, cases on both sides of the line."""
    with student.lend(**LENT):
        for scans in (4, 9, 25):
            members, shards, others = case(rng, [0, 2], 4, scans, 60)
            find_leaks(
                student, (members, shards, others), 0.045, f"{scans} withdrawn scans a shard"
            )
            # The second half scores high: what lies above the threshold is no evidence there.
            others[0, 60:] += 4.0
            what = f"{scans} withdrawn scans a shard, the second half of row 0 raised"
            find_leaks(student, (members, shards, others), 0.045, what)
            others[2] = others[2, ::-1]
        # From none to all of the scans of a shard above the threshold, one after the other.
        num, half = 9, 60
        others = np.tile(np.linspace(-1, 1, 2 * half), (num, 1))
        others = np.concatenate([others[:, ::2], others[:, 1::2]], axis=1)
        shards = np.repeat(np.arange(num), num - 1)
        members = np.where(np.tile(np.arange(num - 1), num) < shards, 2.0, -2.0)
        order = rng.permutation(len(shards))
        what = "shards with 0 to 8 of 8 withdrawn scans above the threshold"
        find_leaks(student, (members[order], shards[order], others), 0.035, what)


# Task 6


def test_chain(student, rng) -> None:
    """A sound ledger, an edited line, no lines."""
    lines = ledger(rng, 5)
    at = int(rng.integers(0, 4))
    for given, what in (
        (lines, "five lines that follow on each other"),
        (edited(rng, lines, at), f"line {at} of 5 edited"),
        ([], "no lines"),
    ):
        follow(student, given, what)


def follow(student, lines: list[bytes], what: str) -> None:
    """Ask for the head and for the first broken line."""
    word(student.head_of(lines), head(lines), f"the head, {what}")
    met, expected = student.first_broken(lines), broken(lines)
    if met is not None:
        met = number(met, f"first_broken, {what}")
    require(
        met == expected and met is not True, f"first_broken, {what}: expected {expected}, met {met}"
    )


def test_chain_hidden(student, rng) -> None:
    """Lines removed, swapped, added and edited at the end; a chain that begins elsewhere."""
    lines = ledger(rng, 9)
    at = int(rng.integers(1, 7))
    swapped = [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]
    spaced = json.dumps(json.loads(lines[at]), indent=None).encode()  # the same object, other bytes
    for given, what in (
        (lines[1:], "the first line removed"),
        ([*lines[:at], *lines[at + 1 :]], f"line {at} of 9 removed"),
        (lines[:at], f"all lines from {at} on removed"),
        (swapped, f"the lines {at} and {at + 1} swapped"),
        ([*lines, lines[0]], "the first line added at the end"),
        (edited(rng, lines, 8), "the last line edited"),
        ([*lines[:at], spaced, *lines[at + 1 :]], f"line {at} written with other spaces"),
    ):
        follow(student, given, what)


# Task 7


def folder(rng: np.random.Generator) -> tuple[dict[str, bytes], dict[str, str]]:
    """Files of a folder and their digests."""
    files = {
        f"shard-{i:04}/{rng.integers(10**9)}": rng.bytes(int(rng.integers(150, 400)))
        for i in range(4)
    }
    return files, {name: seal(data) for name, data in files.items()}


def flipped(files: dict[str, bytes], name: str, at: int) -> dict[str, bytes]:
    """The same files, with one bit of one of them flipped."""
    data = bytearray(files[name])
    data[at] ^= 1
    return {**files, name: bytes(data)}


def judged(student, lines, noted, files, listed, what: str) -> None:
    """Ask for the verdict on a folder."""
    if any(name not in files or seal(files[name]) != value for name, value in listed.items()):
        expected = "damaged"
    elif broken(lines) is not None:
        expected = "broken"
    else:
        expected = "sound" if head(lines) == noted else "replaced"
    word(student.judge(lines, noted, files, listed), expected, what)


CHAIN = {"head_of": head, "first_broken": broken}


def test_judge(student, rng) -> None:
    """One thing wrong at a time."""
    lines, (files, listed) = ledger(rng, 5), folder(rng)
    name = sorted(files)[int(rng.integers(4))]
    missing = {key: data for key, data in files.items() if key != name}
    with student.lend(**CHAIN):
        judged(student, lines, head(lines), files, listed, "nothing changed")
        judged(student, lines, head(lines), missing, listed, "a file missing")
        judged(student, lines, head(lines), flipped(files, name, -1), listed, "one bit flipped")
        judged(student, edited(rng, lines, 2), head(lines), files, listed, "a line edited")
        judged(student, ledger(rng, 5), head(lines), files, listed, "another ledger")


def test_judge_hidden(student, rng) -> None:
    """Several things wrong at once, files that are not listed, the digest in the file itself."""
    lines, (files, listed) = ledger(rng, 7), folder(rng)
    name, noted = sorted(files)[int(rng.integers(4))], head(lines)
    wrong = edited(rng, lines, 3)
    with student.lend(**CHAIN):
        judged(student, lines, noted, {**files, "notes": b"x"}, listed, "a file that is not listed")
        judged(student, wrong, START, flipped(files, name, 3), listed, "all of it wrong")
        judged(student, wrong, START, files, listed, "a line edited, another head")
        judged(student, lines[:4], noted, files, listed, "the last lines removed")
        judged(student, edited(rng, lines, 6), noted, files, listed, "the last line edited")
        judged(
            student, lines, noted, flipped(files, name, 40), listed, "a bit of the digest in a file"
        )
        judged(student, [], START, {}, {}, "an empty folder")
        judged(student, lines, noted, {}, listed, "no files at all")
