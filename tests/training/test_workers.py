"""Training by workers: the same bits as in one process, and nothing of revoked examples with them.

Workers are real processes. They are started once, and again after a test that ends them: such tests
are slow, since every worker imports torch.
"""

import importlib.util
import os
import re
import signal
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cloudpickle
import joblib
import pytest
import torch
from torch import Tensor

from cases import CASES, Case, stop_after
from unlearnkit import Cancelled, SquaredError
from unlearnkit.progress import ProgressEvent
from unlearnkit.store import MemoryStore, Store
from unlearnkit.training.plan import Plan, make_plan
from unlearnkit.training.train import train
from unlearnkit.training.workers import WorkerDiedError
from worker import content, poisoned

HAS_DASK = bool(importlib.util.find_spec("distributed"))


def contents(plan: Plan, store: Store) -> dict[str, object]:
    """Raw bytes of every checkpoint of a plan."""
    return {key: content(store.get(key)) for key in plan.keys}


def one_process(plan: Plan) -> dict[str, object]:
    """What a plan gives without workers."""
    store = MemoryStore()
    train(plan, store)
    return contents(plan, store)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_workers_give_the_bits_of_one_process(case: Case) -> None:
    plan, store, events = case.session().plan, MemoryStore(), list[ProgressEvent]()
    report = train(plan, store, parallel=2, on_progress=events.append)
    assert contents(plan, store) == one_process(plan)
    assert report.visits == plan.total_visits
    assert {(run.shard, run.stage, run.steps) for run in report.runs} == {
        (run.shard, run.stage, run.steps) for run in train(plan, MemoryStore()).runs
    }
    ended = {(e.shard, e.stage) for e in events if e.epoch == e.num_epochs}
    assert ended == {(stage.shard, stage.index) for stage in plan.stages}
    assert events[-1].done_visits == events[-1].total_visits == plan.total_visits
    assert not train(plan, store, parallel=2).runs


@pytest.mark.parametrize("name", ["mlp-dropout", "uneven", "adam"])
def test_unlearned_by_workers_equals_from_scratch_without_the_contents(name: str) -> None:
    case = CASES[name]
    session = case.session(parallel=2)
    session.train()
    revoked = session.plan.partition.ids[::7]
    session.revoke(revoked)
    session.unlearn(1)
    poison = poisoned(session.dataset.train, revoked)
    partition = case.partition(poison)
    plan = make_plan(poison, case.architecture(), case.spec, partition=partition, revoked=revoked)
    assert session.plan.chains == plan.chains
    assert contents(session.plan, session.store) == one_process(plan)
    assert session.compare().bit_identical


def test_threads_of_a_worker_are_those_of_the_spec() -> None:
    case = CASES["mlp-dropout"]
    case = replace(case, spec=case.spec.with_(num_threads=2))
    plan, store = case.session().plan, MemoryStore()
    train(plan, store, parallel=2)
    assert contents(plan, store) == one_process(plan)


def test_a_plan_cut_down_has_no_more_than_its_shards_retained_examples() -> None:
    case = CASES["logistic"]
    whole = case.session().plan
    plan = whole.without(whole.partition.ids[::3])
    sent = cloudpickle.dumps(plan.only([1]))
    mine = plan.partition.shard == 1
    for row, example in enumerate(plan.examples.features):
        assert (example.numpy().tobytes() in sent) == (mine[row] and plan.retained[row])
        assert plan.partition.digests[row].tobytes() not in sent
    # The same stages, and the same rows in every pool.
    assert plan.only([1]).chains == plan.chains
    for stage in range(1, case.spec.num_slices + 1):
        assert plan.only([1]).lineage(1, stage) == plan.lineage(1, stage)


def test_a_store_in_a_folder_is_resumed_by_workers(tmp_path: Path) -> None:
    case = CASES["adam"]
    session = case.session(store=tmp_path)
    with pytest.raises(Cancelled):
        session.train(**stop_after(7))
    started = session.store.keys
    assert 0 < len(started) < len(session.plan.keys)
    again = case.session(store=tmp_path, parallel=2)
    report = again.train()
    assert len(report.runs) == len(again.plan.keys - started)
    assert contents(again.plan, case.session(store=tmp_path).store) == one_process(again.plan)


@pytest.mark.parametrize("name", ["mlp-dropout", "uneven"])
def test_a_first_training_by_workers_times_two_stages_here(name: str) -> None:
    session = CASES[name].session(parallel=2)
    report = session.train()
    assert report.visits == session.plan.total_visits
    assert contents(session.plan, session.store) == one_process(session.plan)
    first = sum(chain[0].visits for chain in session.plan.chains[:2])
    assert sum(work.visits for work, _ in report.timed) == first
    session.revoke(count=2)
    assert session.workload().seconds is not None


def test_the_clock_learns_nothing_from_workers() -> None:
    session = CASES["logistic"].session()
    session.train()
    session.revoke(count=3)
    session.unlearn(1)
    clock = session.clock
    session.parallel = 2
    session.revoke(count=3)
    result = session.unlearn(1)
    assert result.visits
    assert (session.clock.exact, session.clock.request) == (clock.exact, clock.request)
    assert session.clock.errors == clock.errors
    # It predicts one process, so nothing is said of this one.
    assert result.predicted_seconds is None and result.predicted_interval is None


@pytest.mark.slow
def test_cancelling_keeps_what_has_come_in() -> None:
    plan, store = CASES["uneven"].session().plan, MemoryStore()
    with pytest.raises(Cancelled), pytest.warns(UserWarning, match="cancelled|not used"):
        train(plan, store, parallel=2, **stop_after(1))
    assert 0 < len(store.keys) < len(plan.keys)
    train(plan, store, parallel=2)
    assert contents(plan, store) == one_process(plan)


class TroubledError(RuntimeError):
    """Raised by no code of the package."""


@dataclass(frozen=True)
class Troubled(SquaredError):
    """A loss that fails in a worker."""

    home: int = 0

    def output_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if os.getpid() != self.home:
            raise TroubledError("not here")
        return super().output_gradient(outputs, targets)


@pytest.mark.slow
def test_an_error_of_a_worker_arrives_as_itself_and_names_the_shard() -> None:
    case = CASES["uneven"]
    case = replace(case, spec=case.spec.with_(loss=Troubled(os.getpid())))
    with pytest.raises(TroubledError, match="not here") as caught:
        train(case.session().plan, MemoryStore(), parallel=2)
    [note] = caught.value.__notes__
    assert re.search(r"raised by a worker .* that trained shard \d$", note)


@pytest.mark.slow
def test_a_worker_in_another_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if before == "high" else "high")
    try:
        plan = CASES["adam"].session().plan
        with pytest.raises(ValueError, match="bits would differ") as caught:
            train(plan, MemoryStore(), parallel=2)
    finally:
        torch.set_float32_matmul_precision(before)
    assert "trained shard" in caught.value.__notes__[0]


def test_a_number_of_workers_is_checked() -> None:
    plan = CASES["adam"].session().plan
    with pytest.raises(ValueError, match="parallel=0 leaves no worker to train"):
        train(plan, MemoryStore(), parallel=0)
    with pytest.raises(TypeError, match="parallel='loky' is a str; give a number of workers"):
        train(plan, MemoryStore(), parallel="loky")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="parallel=True is a bool"):
        CASES["adam"].session(parallel=True)


# Workers that die


@dataclass(frozen=True)
class Held(SquaredError):
    """A loss that in a worker holds up training until some worker has been killed.

    Attributes:
        folder: where workers say that they are at it.
        home: the process that is not held up.
    """

    folder: str = ""
    home: int = 0

    def output_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if os.getpid() != self.home:
            (Path(self.folder) / f"{os.getpid()}.pid").touch()
            while not (Path(self.folder) / "killed").exists():
                time.sleep(0.01)
        return super().output_gradient(outputs, targets)


def kill_one(folder: Path) -> None:
    """Kill a worker that is at work as soon as two are, then let the others go on."""
    while len(found := sorted(folder.glob("*.pid"))) < 2:
        time.sleep(0.01)
    os.kill(int(found[0].stem), signal.SIGKILL)
    (folder / "killed").touch()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp-dropout", "uneven"])
@pytest.mark.parametrize("step", ["train", "unlearn"])
def test_a_killed_worker_is_one_error_and_the_next_call_ends_with_the_same_bits(
    step: str, name: str, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    pids.mkdir()
    case = CASES[name]
    case = replace(case, spec=case.spec.with_(loss=Held(str(pids), os.getpid())))
    session = case.session(store=tmp_path / "store")
    revoked = session.plan.partition.ids[::5]
    if step == "unlearn":
        session.train()
        session.revoke(revoked)
    before, session.parallel = session.store.keys, 2
    killer = threading.Thread(target=kill_one, args=(pids,), daemon=True)
    killer.start()
    with pytest.raises(WorkerDiedError, match="a worker process ended in the middle of a shard"):
        session.train() if step == "train" else session.unlearn(1)
    killer.join()
    assert not session.ledger().size and not len(session.revoked)
    if step == "train":
        assert session.store.keys > before  # what was timed in this process
        session.train()
    else:
        assert session.trained and session.store.keys >= before
        assert session.pending.tolist() == revoked.tolist()
        session.unlearn(1)
        assert len(session.ledger()) == 1 and session.compare().bit_identical
    assert contents(session.plan, session.store) == one_process(session.plan)
    session.store.close()
    again = case.session(store=tmp_path / "store")
    assert again.plan.digest == session.plan.digest and again.trained


@pytest.mark.slow
@pytest.mark.skipif(not HAS_DASK, reason="needs Dask: pip install 'unlearnkit[dask]'")
@pytest.mark.parametrize("name", ["mlp-dropout", "uneven"])
def test_a_run_completes_with_the_same_bits_when_a_dask_worker_is_killed(
    name: str, tmp_path: Path
) -> None:
    from distributed import Client, LocalCluster

    case = CASES[name]
    case = replace(case, spec=case.spec.with_(loss=Held(str(tmp_path), os.getpid())))
    plan, store = case.session().plan, MemoryStore()
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        killer = threading.Thread(target=kill_one, args=(tmp_path,), daemon=True)
        killer.start()
        with joblib.parallel_config("dask"):
            report = train(plan, store, parallel=-1)
        killer.join()
    assert len(list(tmp_path.glob("*.pid"))) >= 2
    assert report.visits == plan.total_visits
    assert contents(plan, store) == one_process(plan)
