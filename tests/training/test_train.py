"""Training: what a run computes, against slow code of its own, and what it must not depend on."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import joblib
import numpy as np
import pytest
import torch

from cases import CASES, NUM_CLASSES, Case, plan_of, stop_after
from reference import Problem, train_shard
from unlearnkit import Cancelled, DiskStore, Session
from unlearnkit.models.dropout import StepContext
from unlearnkit.progress import ProgressEvent
from unlearnkit.store import MemoryStore
from unlearnkit.store.checkpoint import State
from unlearnkit.training.kernels import run_jobs, stacked
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import make_job
from unlearnkit.training.train import train
from worker import content, contents


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Bits depend on the number of threads; the product takes the spec's one, and so do we."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def problem_of(plan: Plan, case: Case, shard: int, revoked: np.ndarray) -> Problem:
    """The same as plain numbers, revoked contents left out."""
    partition, spec = plan.partition, case.spec
    members = {int(partition.ids[row]): row for row in np.flatnonzero(partition.shard == shard)}
    kept = {i: row for i, row in members.items() if i not in revoked}
    return Problem(
        case.name,
        lambda: case.model(case.feature_shape, case.num_targets or NUM_CLASSES),
        {i: plan.examples.features[row] for i, row in kept.items()},
        {i: plan.examples.labels[row] for i, row in kept.items()},
        {i: int(partition.slice_[row]) for i, row in members.items()},
        set(members) - set(kept),
        spec.stage_epochs(),
        spec.batch_size,
        spec.seed,
        shard,
        spec.optimizer,
        spec.learning_rate,
        spec.momentum,
        spec.weight_decay,
        spec.loss.name == "squared-error",
        spec.tails,
    )


def differing(ours: State, theirs: State) -> list[str]:
    assert ours.keys() == theirs.keys()
    return [n for n in ours if ours[n].numpy().tobytes() != theirs[n].numpy().tobytes()]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("share", [0, 0.2, 0.7])
def test_training_gives_the_bits_of_slow_and_obvious_code(name: str, share: float) -> None:
    case, rng = CASES[name], np.random.default_rng(1)
    ids = case.dataset().train.ids
    revoked = rng.choice(ids, round(share * len(ids)), replace=False)
    plan, store = plan_of(case, revoked, "loop"), MemoryStore()
    report = train(plan, store)
    visits = 0
    for shard in filter(plan.alive, range(plan.num_shards)):
        expected = train_shard(problem_of(plan, case, shard, revoked))
        visits += expected.visits
        for stage, end in zip(plan.chains[shard], expected.ends, strict=True):
            assert differing(store.get(stage.key).state, end) == []
        tails = store.get(plan.final_key(shard)).tails
        assert tails.keys() == expected.tails.keys()
        for q, tail in expected.tails.items():
            assert differing(tails[q], tail) == []
    assert report.visits == visits


def test_tails_that_are_given_change_the_bits_of_the_last_stage_alone() -> None:
    usual = CASES["logistic"]
    case, plain = replace(usual, spec=usual.spec.with_(tails=(2,))), MemoryStore()
    plan, store = plan_of(case, kernel="loop"), MemoryStore()
    train(plan, store)
    train(plan_of(usual, kernel="loop"), plain)
    for shard in range(plan.num_shards):
        expected = train_shard(problem_of(plan, case, shard, np.zeros(0, np.int64)))
        end = store.get(plan.final_key(shard))
        assert differing(end.state, expected.ends[-1]) == []
        assert set(end.tails) == {2} and differing(end.tails[2], expected.tails[2]) == []
        others = [plain.get(each.key) for each in plan_of(usual, kernel="loop").chains[shard]]
        for stage, other in zip(plan.chains[shard], others, strict=True):
            same = differing(store.get(stage.key).state, other.state) == []
            assert same == (stage.index < case.spec.num_slices)
            assert stage.key != other.key


def test_training_learns() -> None:
    session = CASES["logistic"].session()
    session.train()
    inputs, labels = session.dataset.examples(session.dataset.train.ids)
    assert (session.ensemble.predict(inputs) == labels).float().mean() > 2 / 3  # a third by chance


def test_a_second_training_finds_nothing_to_do() -> None:
    session = CASES["logistic"].session()
    assert session.train().visits == session.plan.total_visits
    again = session.train()
    assert again.runs == () and again.visits == 0


@pytest.mark.parametrize("on_disk", [False, True])
def test_training_stopped_at_any_epoch_and_resumed_gives_the_same_bits(on_disk, tmp_path) -> None:
    case = CASES["mlp-dropout"]
    whole = case.session()
    whole.train()
    epochs = 2 * sum(case.spec.stage_epochs())
    stopped = [0]
    for at in range(1, epochs, 3):
        session = case.session(store=tmp_path / str(at) if on_disk else None)
        with pytest.raises(Cancelled, match="finished stages are kept"):
            session.train(**stop_after(at))
        stopped.append(len(session.store.keys))
        if on_disk:
            session = case.session(store=tmp_path / str(at))
        session.train()
        assert session.store.keys == whole.store.keys
        for key in whole.store.keys:
            assert content(session.store.get(key)) == content(whole.store.get(key))
    assert len(set(stopped)) > 3  # it was stopped in different stages


@pytest.mark.parametrize("name", ["logistic", "cnn-batchnorm", "uneven", "adam", "adamw"])
def test_replay_from_a_tail_reproduces_the_end_of_training(name: str) -> None:
    plan, store = plan_of(CASES[name]), MemoryStore()
    train(plan, store)
    for shard in range(plan.num_shards):
        stage = plan.chains[shard][-1]
        end = store.get(stage.key)
        assert set(end.tails) == {1, min(4, stage.epochs)} | (
            {2 * stage.epochs // 3} if stage.epochs >= 16 else set()
        )
        for q, tail in end.tails.items():
            [again] = run_jobs(plan, [make_job(plan, [stage], tail, stage.epochs - q)])
            assert differing(again.state, end.state) == []


@pytest.mark.parametrize("kernel", ["auto", "loop"])
def test_masks_differ_between_steps_epochs_stages_and_shards(kernel: str, monkeypatch) -> None:
    plan, drawn = plan_of(CASES["mlp-dropout"], kernel=kernel), list[tuple]()
    derive, begin = stacked.derive, StepContext.begin_step
    monkeypatch.setattr(stacked, "derive", lambda *key: drawn.append(key) or derive(*key))
    monkeypatch.setattr(
        StepContext,
        "begin_step",
        lambda self, slots, count, *key: drawn.append(key) or begin(self, slots, count, *key),
    )
    train(plan, MemoryStore())
    drawn = [key for key in drawn if key[0] != "trial"]
    layers = 2 if kernel == "auto" else 1
    assert len(drawn) == layers * sum(stage.steps for stage in plan.stages)
    assert len(set(drawn)) == len(drawn)


def test_a_stage_without_survivors_is_no_training() -> None:
    case = CASES["logistic"]
    partition = plan_of(case).partition
    first = partition.ids[(partition.shard == 1) & (partition.slice_ == 1)]
    plan, store = plan_of(case, first), MemoryStore()
    report = train(plan, store, shards=[1])
    assert report.runs[0].visits == report.runs[0].steps == 0
    initial = plan.architecture.initial(case.spec.seed, 1)
    assert differing(store.get(plan.chains[1][0].key).state, initial) == []
    assert differing(store.get(plan.final_key(1)).state, initial) != []


def test_progress_counts_up_to_all_visits() -> None:
    plan, events = plan_of(CASES["cnn-batchnorm"], revoked=(10, 13)), list[ProgressEvent]()
    train(plan, MemoryStore(), on_progress=events.append)
    done = [event.done_visits for event in events]
    assert done == sorted(done) and done[-1] == plan.total_visits == events[0].total_visits
    assert events[-1].share == 1 and events[-1].epoch == events[-1].num_epochs


def test_training_leaves_the_global_state_of_torch_and_numpy_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    torch.set_num_threads(2)
    session = CASES["uneven"].session()
    session.train()
    assert torch.get_num_threads() == 2
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_bits_depend_neither_on_global_seeds_nor_on_the_order_of_shards() -> None:
    plan = plan_of(CASES["mlp-dropout"])
    torch.manual_seed(1)
    forward, backward = MemoryStore(), MemoryStore()
    train(plan, forward)
    torch.manual_seed(2)
    for shard in reversed(range(plan.num_shards)):
        train(plan, backward, shards=[shard])
    assert forward.keys == backward.keys
    for key in forward.keys:
        assert content(forward.get(key)) == content(backward.get(key))


def test_two_sessions_in_two_threads_do_not_disturb_each_other(tmp_path) -> None:
    case = CASES["uneven"]
    alone = case.session()
    alone.train()
    sessions = [case.session(), case.session(store=DiskStore(tmp_path))]
    threads = [threading.Thread(target=session.train) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for session in sessions:
        assert_same_store(session, alone)


def assert_same_store(a: Session, b: Session) -> None:
    assert a.store.keys == b.store.keys
    for key in a.store.keys:
        assert content(a.store.get(key)) == content(b.store.get(key))


def pause_at(count):
    """Arguments that ask for a pause at event number ``count``."""
    pause, events = threading.Event(), iter(range(1, count))
    return {
        "pause": pause,
        "on_progress": lambda event: None if next(events, None) else pause.set(),
    }


@pytest.mark.parametrize("name", ["logistic", "uneven"])  # one of each kernel
@pytest.mark.parametrize("moment", [1, 4, 7])
def test_a_pause_keeps_whole_stages_and_goes_on_to_the_same_bits(name, moment):
    case = CASES[name]
    whole, paused = case.session(), case.session()
    whole.train()
    asked = []
    options = pause_at(moment)
    tell = options.pop("on_progress")

    def hear(event):
        asked.append((event.shard, event.stage, event.epoch, options["pause"].is_set()))
        tell(event)

    report = paused.train(on_progress=hear, **options)
    assert report.paused and not paused.trained and len(paused.store.keys) == len(report.runs)
    # Every epoch that was told of belongs to a stage that is kept, but for lanes in lockstep that
    # went on while others came to an end.
    kept = {(run.shard, run.stage) for run in report.runs}
    begun_before = {(shard, stage) for shard, stage, _, late in asked if not late}
    assert begun_before <= kept
    more = paused.train()
    assert not more.paused and paused.trained
    assert len(report.runs) + len(more.runs) == sum(1 for _ in paused.plan.stages)
    assert contents(paused.store) == contents(whole.store)


def test_a_pause_that_comes_too_late_is_none():
    session = CASES["logistic"].session()
    report = session.train(**pause_at(10**6))
    assert not report.paused and session.trained and session.clock.calibrated


def test_a_pause_of_workers_keeps_what_they_have_done():
    case = CASES["uneven"]
    whole, paused = case.session(), case.session(parallel=2)
    whole.train()
    with joblib.parallel_config("sequential"):  # so that one task is given out at a time
        report = train(paused.plan, paused.store, parallel=2, **pause_at(1))
        assert report.paused and 0 < len(report.runs) < sum(1 for _ in paused.plan.stages)
        paused.train()
    assert {key: content(paused.store.get(key)) for key in whole.store.keys} == contents(
        whole.store
    )
