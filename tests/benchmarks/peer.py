"""The exact engine against the published SISA code, cleverhans-lab/machine-unlearning.

    make bench NAME=peer ARGS=folder       three repeats of three workloads

``folder`` is a checkout of that repository. It is copied to a temporary directory; a generated data
set of Purchase's shape goes there in the layout that its loader reads, and its ``sisa.py`` runs as
its ``train.sh`` runs it: a process a shard, for the training and again for every request, whether
the shard is hit or not. Requests are drawn by its ``distribution.py``. Our side gets the same
files, shards, slices and requests, and one process for the training and one for every request:
read, train, store on disk; read, open a copy of the store, unlearn exactly, store. One compute
thread on both sides, no GPU. Epochs per slice follow the same rule on both, so visits agree; that
the stages trained do, and with R > 1 their epochs, is checked against the files theirs leaves.

Measured, in wall and CPU seconds:

- whole: all their processes; our one process.
- hit shards: only those of their processes that trained something; our one process.
- less start-up: the same, from the end of imports on: reading the data (theirs in every process),
  training, storing; for us also opening the store, digests of all rows, plan, destroying.
- reported: the time that their code writes down, which is forward, backward and step only, summed
  over the slices trained; of ours everything but imports and reading the data. Wall seconds only.
- reported, plan kept: the same; of ours the call of train or unlearn alone, storing included, as in
  a session, which makes its plan and digests once.

A ratio is the median over the repeats of theirs over ours. What cannot be made alike is in `NOTES`.
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import report
import torch

import unlearnkit as uk
from unlearnkit.models.architecture import as_architecture
from unlearnkit.training.ensemble import assemble
from unlearnkit.training.partition import Partition
from unlearnkit.training.plan import make_plan
from unlearnkit.training.train import train as train_plan
from unlearnkit.unlearning.unlearn import unlearn

ROWS, TEST_ROWS, WIDTH, HIDDEN = 20_000, 2_000, 600, 128
BATCH, RATE = 16, 0.001
DATASET = "datasets/purchase"
NOTES = (
    "Order: theirs visits a shard by ascending id, every epoch alike; ours permutes every epoch.",
    "Seeds: theirs sets none, so initial weights and requests differ from run to run; each request "
    "is done by both sides.",
    "Partition: theirs deals out shards and slices by ascending id; ours is given that one.",
    "Alike: SGD without momentum, a 600-128-C perceptron with tanh, torch's default initial "
    "weights, batch 16, constant learning rate 0.001, which is too little to learn 100 classes.",
    "Storing: theirs saves the weights after every epoch, as its script asks, and keeps those that "
    "knew the forgotten examples; ours saves every stage and two tails and destroys what is stale.",
    "Seconds reported: theirs shows the last slice's only; here its files of all slices trained "
    "are summed.",
    "Processes: theirs is started for every shard, hit or not; `hit shards` leaves the idle ones "
    "out.",
    "Patch: none to its files. sisa.py is started by a line that imports torch first and notes the "
    "time (INSIDE). distribution.py, which is not timed, fails on NumPy 1.24 or newer "
    "and is run by a few lines that restore the older behaviour (SHIM). Its time.py looks for a "
    "file that data.sh names otherwise, so it is not used.",
)
# NumPy 1.24 made an error of what used to give an array of objects, with a warning.
SHIM = """
import runpy, sys
import numpy
strict = numpy.array
def lenient(values, *rest, **more):
    try:
        return strict(values, *rest, **more)
    except ValueError:
        return strict(values, dtype=object)
numpy.array = lenient
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# Runs a script unchanged and prints the seconds since torch was imported, lazy parts included.
INSIDE = """
import runpy, sys, time
import numpy, torch
torch.optim.SGD([torch.zeros(1, requires_grad=True)])
wall, cpu = time.perf_counter(), time.process_time()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(time.perf_counter() - wall, time.process_time() - cpu)
"""
Seconds = tuple[float, float]  # wall, CPU


@dataclass(frozen=True)
class Work:
    """What is trained: shards S, slices R, epochs E, classes C."""

    name: str
    shards: int
    slices: int
    epochs: int
    classes: int

    @property
    def spec(self) -> uk.TrainSpec:
        """The same for our side."""
        return uk.TrainSpec(
            num_shards=self.shards,
            num_slices=self.slices,
            epochs=self.epochs,
            batch_size=BATCH,
            learning_rate=RATE,
            momentum=0.0,
            weight_decay=0.0,
        )


WORKS = (
    Work("as its train.sh: C=2 S=5 R=1 E=20", 5, 1, 20, 2),
    Work("sliced: C=2 S=10 R=5, 2 epochs a stage", 10, 5, 6, 2),
    Work("sliced: C=100 S=5 R=5, 2 epochs a stage", 5, 5, 6, 100),
)


def run_process(command: list[str], folder: Path, *, ours: bool = False) -> tuple[str, Seconds]:
    """Output, and wall and CPU seconds of the process."""
    environment = dict(os.environ, OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
    environment["CUDA_VISIBLE_DEVICES"] = ""
    if not ours:
        environment.pop("PYTHONPATH", None)
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[1:4])} failed:\n{done.stderr}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, (wall, cpu)


def write_data(folder: Path, classes: int) -> None:
    """Whole numbers, as the repository's own preparation leaves them."""
    from workloads import generate  # here, so that our timed process does not import it

    features, labels = generate(ROWS + TEST_ROWS, (WIDTH,), classes)
    x, y = features.numpy().astype(int), labels.numpy()
    place = folder / DATASET
    # Its loader knows these two names only, whatever the number of classes.
    np.save(place / "purchase2_train.npy", {"X": x[:ROWS], "y": y[:ROWS]})
    np.save(place / "purchase2_test.npy", {"X": x[ROWS:], "y": y[ROWS:]})
    about = {"nb_train": ROWS, "nb_test": TEST_ROWS, "input_shape": [WIDTH], "nb_classes": classes}
    (place / "datasetfile").write_text(json.dumps({**about, "dataloader": "dataloader"}))


class Theirs:
    """Their side: a container within the copy of the checkout."""

    def __init__(self, work: Work, folder: Path, name: str) -> None:
        self.work, self.folder, self.name = work, folder, name
        self.container = folder / "containers" / name
        for part in ("cache", "times", "outputs"):
            (self.container / part).mkdir(parents=True)
        (self.container / "times" / "null.time").write_text("0\n")
        self.distribute("0", "--shards", str(work.shards))

    def distribute(self, label: str, *what: str) -> None:
        """Let its script deal out shards, or draw a request."""
        command = [sys.executable, "-c", SHIM, "distribution.py", *what, "--distribution"]
        command += ["uniform", "--container", self.name, "--dataset", f"{DATASET}/datasetfile"]
        run_process([*command, "--label", label], self.folder)

    def request(self, count: int) -> np.ndarray:
        """Draw a request; its ids."""
        self.distribute(str(count), "--requests", str(count))
        path = self.container / f"requestfile:{count}.npy"
        parts = np.load(path, allow_pickle=True)
        return np.sort(np.concatenate(list(parts)).astype(np.int64))

    def slices_timed(self) -> dict[str, float]:
        """Seconds of every slice trained so far, by the hash of its ids."""
        files = (self.container / "times").glob("*.time")
        return {
            f.stem: float(f.read_text())
            for f in files
            if not f.is_symlink() and "_" not in f.stem and f.stem != "null"
        }

    def run(self, label: str) -> list[dict[str, Any]]:
        """A process a shard, as its script does it."""
        work, calls = self.work, []
        for shard in range(work.shards):
            before = self.slices_timed()
            command = [sys.executable, "-c", INSIDE, "sisa.py", "--model", "purchase", "--train"]
            command += ["--slices", str(work.slices), "--dataset", f"{DATASET}/datasetfile"]
            command += ["--label", label, "--epochs", str(work.epochs), "--batch_size", str(BATCH)]
            command += ["--learning_rate", str(RATE), "--optimizer", "sgd", "--chkpt_interval", "1"]
            command += ["--container", self.name, "--shard", str(shard)]
            output, (wall, cpu) = run_process(command, self.folder)
            inside = dict(zip(("inner wall", "inner cpu"), output.split()[-2:], strict=True))
            new = {h: s for h, s in self.slices_timed().items() if h not in before}
            self.check_epochs(set(new))
            call = {"wall": wall, "cpu": cpu, **{k: float(v) for k, v in inside.items()}}
            calls.append({**call, "reported": sum(new.values()), "stages": len(new)})
        return calls

    def check_epochs(self, hashes: set[str]) -> None:
        """Its last checkpoint of a slice, which it leaves where R > 1, counts the epochs."""
        each = set(self.work.spec.stage_epochs())
        left = (self.container / "times").glob("*_*.time")
        found = {int(f.stem.split("_")[1]) + 1 for f in left if f.stem.split("_")[0] in hashes}
        if len(each) != 1 or not found <= each:
            raise SystemExit(f"their epochs per slice are {found}, ours {each}")

    def accuracy(self) -> float:
        """Of the majority vote on the test rows."""
        test = np.load(self.folder / DATASET / "purchase2_test.npy", allow_pickle=True).item()
        x, votes = torch.from_numpy(test["X"]).float(), torch.zeros(TEST_ROWS, self.work.classes)
        for shard in range(self.work.shards):
            state = torch.load(self.container / "cache" / f"shard-{shard}:0.pt")
            w1, b1, w2, b2 = state.values()
            choice = (torch.tanh(x @ w1.T + b1) @ w2.T + b2).argmax(1)
            votes[torch.arange(TEST_ROWS), choice] += 1
        return float((votes.argmax(1) == torch.from_numpy(test["y"])).float().mean())


def clocks() -> dict[str, float]:
    """Wall and CPU seconds of this process so far."""
    return {"wall": time.perf_counter(), "cpu": time.process_time()}


def run_ours(job: dict[str, Any]) -> dict[str, Any]:
    """Our process: read their files, make the plan of their split, train or unlearn."""
    work, place = Work(**job["work"]), Path(job["data"])
    model = as_architecture(uk.MLP((HIDDEN,), "tanh"), (WIDTH,), work.classes)
    begun = clocks()
    train, test = (
        np.load(place / f"purchase2_{part}.npy", allow_pickle=True).item()
        for part in ("train", "test")
    )
    half = TEST_ROWS // 2
    data = uk.from_arrays(
        train["X"],
        train["y"],
        probe=(test["X"][:half], test["y"][:half]),
        test=(test["X"][half:], test["y"][half:]),
        num_classes=work.classes,
    )
    split = np.load(job["split"], allow_pickle=True)
    shard, slice_ = np.empty(ROWS, np.int32), np.empty(ROWS, np.int32)
    for s, ids in enumerate(split):
        shard[ids] = s
        size = len(ids) // work.slices
        slice_[ids] = np.minimum(np.arange(len(ids)) // size + 1, work.slices)
    read = clocks()
    store = uk.DiskStore(job["store"])
    partition = Partition(data.train.ids, shard, slice_, data.train.digests)
    plan = make_plan(data.train, model, work.spec, partition=partition)
    ready = clocks()
    if job["ids"] is None:
        report = train_plan(plan, store)
        visits, stages = report.visits, len(report.runs)
    else:
        ids = np.asarray(job["ids"], np.int64)
        stages = len(plan.without(ids).missing(store))
        visits = unlearn(plan, store, ids, uk.FixedBoundary(1.0)).visits
    end, found = clocks(), {"visits": visits, "stages": stages}
    for name, start in (("inner", begun), ("after reading", read), ("after planning", ready)):
        found[name] = {unit: end[unit] - start[unit] for unit in end}
    if job["ids"] is None:
        ensemble = assemble(plan, store, "majority-vote")
        hits = ensemble.predict(torch.from_numpy(test["X"]).float()) == torch.from_numpy(test["y"])
        found["accuracy"] = float(hits.float().mean())
    return found


def start_ours(work: Work, theirs: Theirs, store: Path, ids: np.ndarray | None) -> dict[str, Any]:
    """Run our side as a process of its own."""
    job = {
        "work": asdict(work),
        "data": str(theirs.folder / DATASET),
        "split": str(theirs.container / "splitfile.npy"),
        "store": str(store),
        "ids": None if ids is None else ids.tolist(),
    }
    command = [sys.executable, str(Path(__file__).resolve()), "--ours", json.dumps(job)]
    output, (wall, cpu) = run_process(command, Path(__file__).resolve().parents[2], ours=True)
    return {**json.loads(output.splitlines()[-1]), "whole": {"wall": wall, "cpu": cpu}}


def repeat(work: Work, folder: Path, number: int) -> list[dict[str, Any]]:
    """Train, unlearn 1, unlearn 20, on both sides; theirs first in every other repeat."""
    theirs = Theirs(work, folder, f"{work.shards}-{work.classes}-{number}")
    trained, rows = theirs.container / "ours", []
    for count in (0, 1, 20):
        ids = theirs.request(count) if count else None
        store = trained if ids is None else theirs.container / f"ours-{count}"
        if ids is not None:
            shutil.copytree(trained, store)
        if number % 2:
            ours = start_ours(work, theirs, store, ids)
        calls = theirs.run(str(count))
        if not number % 2:
            ours = start_ours(work, theirs, store, ids)
        if sum(call["stages"] for call in calls) != ours["stages"]:
            raise SystemExit(f"{work.name}, {count}: not the same stages: {calls}, {ours}")
        accuracy = None if count else {"theirs": theirs.accuracy(), "ours": ours["accuracy"]}
        what = f"unlearn {count}" if count else "train all"
        row = {"work": work.name, "what": what, "ids": ids, "theirs": calls, "ours": ours}
        rows.append({**row, "test accuracy": accuracy})
    shutil.rmtree(theirs.container)
    return rows


def summarise(repeats: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Lines of the table: medians over the repeats."""
    lines = []
    for number in range(3):
        found: dict[str, list[dict[str, float]]] = {}
        for rows in repeats:
            calls, ours = rows[number]["theirs"], rows[number]["ours"]
            hit = [call for call in calls if call["stages"]]
            sides: dict[str, dict[str, Seconds]] = {}
            for unit in ("wall", "cpu"):
                whole = ours["whole"][unit]
                pairs = {
                    "whole": (sum(c[unit] for c in calls), whole),
                    "hit shards": (sum(c[unit] for c in hit), whole),
                    "less start-up": (sum(c[f"inner {unit}"] for c in hit), ours["inner"][unit]),
                }
                if unit == "wall":
                    reported = sum(c["reported"] for c in hit)
                    pairs["reported"] = (reported, ours["after reading"]["wall"])
                    pairs["reported, plan kept"] = (reported, ours["after planning"]["wall"])
                for measure, pair in pairs.items():
                    sides.setdefault(measure, {})[unit] = pair
            for measure, by in sides.items():
                numbers = {}
                for unit, (a, b) in by.items():
                    numbers |= {f"theirs {unit} s": a, f"ours {unit} s": b, f"{unit} ratio": a / b}
                found.setdefault(measure, []).append(numbers)
        first = repeats[0][number]
        for measure, several in found.items():
            if measure == "hit shards" and first["what"] == "train all":
                continue
            names = {"work": first["work"], "what": first["what"], "measure": measure}
            values = {name: median(one[name] for one in several) for name in several[0]}
            spread = " to ".join(f"{f(o['wall ratio'] for o in several):.2f}" for f in (min, max))
            visits = median(rows[number]["ours"]["visits"] for rows in repeats)
            lines.append({**names, "visits": visits, **values, "wall ratio range": spread})
    return lines


def condense(row: dict[str, Any]) -> dict[str, Any]:
    """A row for the file: sums over their processes."""
    calls, ids = row["theirs"], row["ids"]
    sums = {name: sum(call[name] for call in calls) for name in calls[0]}
    counts = {"processes": len(calls), "hit": sum(call["stages"] > 0 for call in calls)}
    return {**row, "ids": None if ids is None else str(ids.tolist()), "theirs": {**counts, **sums}}


def measure(work: Work, checkout: Path, count: int) -> list[list[dict[str, Any]]]:
    """All repeats of a workload, in a temporary copy of the checkout."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "peer"
        leave = shutil.ignore_patterns(".git", "containers", "*.npy", "*.npz")
        shutil.copytree(checkout, folder, ignore=leave)
        write_data(folder, work.classes)
        repeats = []
        for number in range(count):
            print(f"{work.name}, repeat {number + 1} of {count} ...", flush=True)
            repeats.append(repeat(work, folder, number))
        return repeats


def show(lines: list[dict[str, Any]], raw: list[dict[str, Any]]) -> None:
    """Print the table, both sides' test accuracies and the notes."""
    table = pd.DataFrame(lines)
    number = "{:,.0f}".format
    with pd.option_context("display.width", 250, "display.float_format", "{:.3g}".format):
        print(
            table.to_string(index=False, justify="left", na_rep="", formatters={"visits": number})
        )
    for row in raw:
        if row["test accuracy"]:
            theirs, ours = (f"{row['test accuracy'][side]:.4g}" for side in ("theirs", "ours"))
            print(f"test accuracy, {row['work']}: theirs {theirs}, ours {ours}")
    print("\nNotes", *NOTES, sep="\n- ")


def table_of(lines: list[dict[str, Any]]) -> str:
    """As Markdown, with NOTES below."""
    shown = [
        {
            "workload": line["work"],
            "job": line["what"],
            "measure": line["measure"],
            "theirs, wall s": f"{line['theirs wall s']:.3g}",
            "ours, wall s": f"{line['ours wall s']:.3g}",
            "wall ratio (range)": f"{line['wall ratio']:.2g}x ({line['wall ratio range']})",
            "CPU ratio": f"{line['cpu ratio']:.2g}x" if "cpu ratio" in line else "",
        }
        for line in lines
    ]
    return report.markdown(pd.DataFrame(shown)) + "\n" + "".join(f"* {note}\n" for note in NOTES)


def provenance(checkout: Path) -> dict[str, Any]:
    """Which files of theirs were run."""
    names = ["sisa.py", "sharded.py", "distribution.py", "architectures/purchase.py"]
    names.append(f"{DATASET}/dataloader.py")
    digests = {n: hashlib.sha256((checkout / n).read_bytes()).hexdigest() for n in names}
    return {"repository": "cleverhans-lab/machine-unlearning", "sha256": digests}


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", nargs="?", type=Path, help="of the published code")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of workloads, from 0")
    parser.add_argument("--ours", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        print(json.dumps(run_ours(options.ours)))
        return
    if options.checkout is None or not (options.checkout / "sisa.py").exists():
        raise SystemExit(
            "give a checkout of cleverhans-lab/machine-unlearning: make bench NAME=peer ARGS=folder"
        )
    lines, raw = [], []
    for number, work in enumerate(WORKS):
        if options.only is not None and number not in options.only:
            continue
        repeats = measure(work, options.checkout, options.repeats)
        lines += summarise(repeats)
        raw += [condense(row) for rows in repeats for row in rows]
    show(lines, raw)
    command = report.command(__file__, f"folder --repeats {options.repeats}")
    rows = {"peer": provenance(options.checkout), "table": lines, "repeats": raw}
    report.keep("peer", command, rows)
    if options.only is None and options.repeats >= 3:
        seeds = "no seed on their side"
        report.publish("peer", lines, table_of, command, file=__file__, seeds=seeds)


if __name__ == "__main__":
    main()
