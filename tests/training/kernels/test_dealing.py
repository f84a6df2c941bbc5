"""Threads that train shards give the bits of one thread, and stop, fail and count as one does."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from cases import CASES, SMALL, Case, norm_and_dropout, plan_of, stop_after
from unlearnkit import MLP, Session
from unlearnkit.interrupts import Cancelled
from unlearnkit.models.builtin import Logistic
from unlearnkit.models.losses import CrossEntropy
from unlearnkit.seeding import state_bytes
from unlearnkit.store import DiskStore
from unlearnkit.store.memory import MemoryStore
from unlearnkit.training.door import BUILT_IN_LOSSES, try_module
from unlearnkit.training.kernels import dealing
from unlearnkit.training.kernels.dealing import group_sizes, products_of_example, threads_used
from unlearnkit.training.kernels.finite import NotFiniteError
from unlearnkit.training.train import bytes_at_work, train, work_of


@pytest.fixture
def any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let threads train the tiny models of these tests."""
    monkeypatch.setattr(dealing, "STACKED_LAYER", 0)
    monkeypatch.setattr(dealing, "LOOP_STEP", 1)


def bits(store) -> dict[str, tuple[bytes, ...]]:
    """Everything that a store keeps, in bytes."""
    found = {}
    for key in store.keys:
        kept = store.get(key)
        states = (kept.state, *(kept.tails[q] for q in sorted(kept.tails)))
        found[key] = (*map(state_bytes, states), kept.witness.encode())
    return found


@pytest.mark.parametrize("name", CASES)
def test_threads_give_the_bits_of_one_thread(name: str, any_size: None) -> None:
    stores = []
    for threads in (1, 2, 3):
        plan, store = plan_of(CASES[name]), MemoryStore()
        report = train(plan, store, threads=threads)
        own_loss = type(plan.spec.loss) not in BUILT_IN_LOSSES
        used = 1 if own_loss else min(threads, plan.num_shards)
        assert threads_used(plan, plan.num_shards, threads) == used
        assert sorted((r.shard, r.stage) for r in report.runs) == sorted(
            (stage.shard, stage.index) for stage in plan.stages
        )
        assert sum(work.stages for work, _ in report.timed) == len(list(plan.stages))
        stores.append((bits(store), report.visits, report.repeated))
    assert stores[0] == stores[1] == stores[2]


def test_training_resumes_after_it_was_cancelled_in_the_middle(any_size: None, tmp_path) -> None:
    case = CASES["uneven"]
    whole = MemoryStore()
    train(plan_of(case), whole, threads=1)
    store = DiskStore(tmp_path / "run")
    with pytest.raises(Cancelled):
        train(plan_of(case), store, threads=3, **stop_after(6))
    kept = bits(store)
    assert kept.items() < bits(whole).items()
    train(plan_of(case), store, threads=2)
    assert bits(store) == bits(whole)


def test_pausing_ends_every_thread_at_a_stage(any_size: None) -> None:
    pause, store, whole = threading.Event(), MemoryStore(), MemoryStore()
    plan = plan_of(CASES["logistic"])
    report = train(plan, store, threads=3, pause=pause, on_progress=lambda event: pause.set())
    assert report.paused and report.timed == ()
    train(plan, store, threads=2)
    train(plan, whole, threads=1)
    assert bits(store) == bits(whole)


@pytest.mark.parametrize("kernel", ["auto", "loop"])
def test_a_diverging_shard_stops_the_others(kernel: str, any_size: None) -> None:
    case = CASES["logistic"]
    plan = plan_of(case, kernel=kernel)
    bad = plan.partition.ids[plan.partition.shard == 1]
    plan.examples.features[plan.examples.rows(bad)] = 1e38
    store = MemoryStore()
    with pytest.raises(NotFiniteError) as caught:
        train(plan, store, threads=3)
    assert caught.value.shard == 1
    assert {store.get(key).shard for key in store.keys} <= {0, 2}


class Reseeds(nn.Linear):
    """Draws from numpy's global generator, which it sets and restores."""

    def forward(self, x):
        before = np.random.get_state()
        np.random.seed(3)
        noise = torch.from_numpy(np.random.normal(size=x.shape).astype(np.float32))
        np.random.set_state(before)
        return super().forward(x + noise / 10)


def scaled(kind: type[nn.Linear]):
    """Return what builds a model of such a layer."""
    return lambda shape, num_outputs: kind(shape[0], num_outputs)


def test_modules_of_the_user_are_trained_in_one_thread(any_size: None) -> None:
    plan = plan_of(Case("reseeds", scaled(Reseeds), SMALL, (4,), 31))
    try_module(plan)
    assert threads_used(plan, 3, 3) == 1


@dataclass(frozen=True)
class Halved(CrossEntropy):
    """Half of the cross-entropy."""

    def value(self, outputs, targets):
        return super().value(outputs, targets) / 2

    def output_gradient(self, outputs, targets):
        return super().output_gradient(outputs, targets) / 2


def test_sequences_of_torchs_layers_are_trained_by_threads_unless_they_have_hooks(
    any_size: None,
) -> None:
    def hooked(shape, num_outputs):
        module = norm_and_dropout(shape, num_outputs)
        module[1].register_forward_hook(lambda layer, given, found: found / 2)
        return module

    for build, used in ((norm_and_dropout, 3), (hooked, 1)):
        plan = plan_of(Case("layers", build, SMALL, (4,), 31))
        try_module(plan)
        assert threads_used(plan, 3, 3) == used


@pytest.mark.parametrize(("loss", "used"), [(CrossEntropy(), 2), (Halved(), 1)])
def test_a_loss_of_the_user_is_used_in_one_thread(loss, used, any_size: None) -> None:
    plan = plan_of(Case("loss", MLP((5,)), SMALL.with_(loss=loss), (4,), 31))
    try_module(plan)
    assert threads_used(plan, 3, 2) == used


def test_small_models_are_trained_in_one_thread() -> None:
    for case in CASES.values():
        plan = plan_of(case)
        assert threads_used(plan, plan.num_shards, 8) == 1


def test_large_models_use_as_many_threads_as_pay() -> None:
    spec = SMALL.with_(num_shards=8, batch_size=64)
    plan = plan_of(Case("wide", MLP((1024,)), spec, (784,), 640))
    assert threads_used(plan, 8, 2) == 2
    assert threads_used(plan, 8, 64) == 8
    assert threads_used(plan, 1, 64) == 1
    compute = plan_of(Case("wide", MLP((1024,)), spec.with_(num_threads=2), (784,), 640))
    assert threads_used(compute, 8, 4) == 2  # two compute threads each
    middle = plan_of(Case("middle", Logistic(), spec, (8192,), 640))
    few = threads_used(middle, 8, 64)
    assert 1 < few < 8  # more would wait for each other


def test_groups_are_even_and_fit_the_cache() -> None:
    plan = plan_of(CASES["logistic"])  # lanes of it all fit
    assert group_sizes(plan, 10, 1) == [10]
    assert group_sizes(plan, 10, 3) == [4, 3, 3]
    loop = plan_of(CASES["logistic"], kernel="loop")
    assert group_sizes(loop, 3, 2) == [1, 1, 1]
    wide = plan_of(Case("wide", MLP((64,)), SMALL, (784,), 60))  # about 7 lanes fit
    assert max(group_sizes(wide, 20, 1)) > max(group_sizes(wide, 20, 2))
    assert len(group_sizes(wide, 20, 2)) % 2 == 0 and sum(group_sizes(wide, 20, 2)) == 20


def test_multiplications_are_counted_by_place() -> None:
    plan = plan_of(CASES["cnn-batchnorm"])
    # 3 x 3 filters, 1 to 3 channels at 4 x 4 places, 3 to 5 at 2 x 2, and 5 x 2 x 2 to 3 outputs.
    assert products_of_example(plan) == 9 * 3 * 16 + 9 * 15 * 4 + 20 * 3


def test_memory_and_work_count_every_thread(any_size: None) -> None:
    loop = plan_of(CASES["adam"], kernel="loop")
    assert bytes_at_work(loop, 2) == 2 * bytes_at_work(loop, 1)
    plan = plan_of(CASES["adam"])
    assert bytes_at_work(plan, 3) == bytes_at_work(plan, 1)  # all lanes fit one thread's group
    assert work_of(plan, plan.stages, 3).lockstep == work_of(plan, plan.stages, 1).steps


def test_a_session_announces_the_memory_of_its_threads(any_size: None) -> None:
    session = CASES["uneven"].session(threads=1)
    one = session.footprint
    session.threads = 3
    assert session.footprint.at_work == 3 * one.at_work
    assert session.footprint.modifying > one.modifying
    with pytest.raises(ValueError, match="threads=0 leaves no thread"):
        Session(threads=0)


def test_unlearning_by_threads_is_exact(any_size: None) -> None:
    digests = []
    for threads in (1, 3):
        session = CASES["uneven"].session(threads=threads)
        session.train()
        session.revoke(session.plan.partition.ids[[0, 9, 20]])
        session.unlearn(1.0)
        digests.append(session.ensemble.digest)
    assert digests[0] == digests[1]
