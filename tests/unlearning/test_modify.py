"""Modifying shards: who forgets what, what is missing, and what an amend is charged for."""

import pytest
import torch

import unlearnkit as uk
from cases import CASES, plan_of
from unlearnkit.approximate import AMENDS, Replay
from unlearnkit.threads import deal
from unlearnkit.training.clock import Checks
from unlearnkit.training.kernels import dealing
from unlearnkit.unlearning import modify
from unlearnkit.unlearning.inspection import Probe


def test_a_shard_forgets_what_the_plans_differ_in_and_keeps_the_rest():
    before = plan_of(CASES["uneven"], revoked=(7, 10))
    plan = before.without(before.partition.ids[5:12])
    for shard in range(plan.num_shards):
        forget, keep = modify.members_of(before, plan, shard)
        mine = plan.partition.ids[plan.partition.shard == shard]
        gone = set(mine) & set(plan.partition.ids[5:12])
        assert set(plan.partition.ids[forget.rows]) == gone
        assert set(plan.partition.ids[keep.rows]) == set(mine) - gone - {7, 10}
        for members in (forget, keep):
            assert members.slices.tolist() == plan.partition.slice_[members.rows].tolist()


def test_a_shard_that_lacks_a_checkpoint_cannot_be_modified():
    session = CASES["uneven"].session()
    session.train()
    plan, store = session.plan, session.store
    assert [modify.incomplete(plan, store, shard) for shard in range(3)] == ["", "", ""]
    store.prune(plan.keys - {plan.chains[1][1].key}, ())
    found = [modify.incomplete(plan, store, shard) for shard in range(3)]
    assert [bool(sentence) for sentence in found] == [False, True, False]
    assert "is missing from the store" in found[1]


def test_an_amend_is_charged_for_the_epochs_of_the_last_stages_that_it_replays():
    plan = plan_of(CASES["uneven"])
    pools = [int((plan.partition.shard == shard).sum()) for shard in (0, 2)]
    for asked, epochs in ((1, 1), (4, 3)):  # from the tail that is at most so far from the end
        work = modify.replayed(plan, [0, 2], Replay(asked))
        assert work.visits == epochs * sum(pools)
        assert work.steps == epochs * sum(-(-pool // plan.spec.batch_size) for pool in pools)
        assert work.starts == 0
    assert modify.replayed(plan, [0, 2], AMENDS["none"]).visits == 0


@pytest.mark.parametrize("amend", ["replay", "none"])
@pytest.mark.parametrize("name", ["logistic", "cnn-batchnorm"])
def test_the_checks_are_charged_for_the_outputs_that_they_compare(name, amend, monkeypatch):
    session = CASES[name].session()
    session.train()
    session.revoke(count=7, seed=0)
    session.preview(0.0)  # which also rehearses
    seen, outputs = [], Probe.outputs

    def counted(self, states):
        seen.append(len(states) * len(self.inputs))
        return outputs(self, states)

    monkeypatch.setattr(Probe, "outputs", counted)
    monkeypatch.setattr(modify, "sharpness_of", lambda *given: None)  # is charged by itself
    result = session.unlearn(0.0, amend=amend, spot_check=False)
    (once, _), (each, _) = session.clock.checks[-2:]
    assert once == Checks(1, 0, 0)
    assert each == Checks(0, len(result.decision.approximate), round(sum(seen) / 3))


def test_a_replay_of_a_foreign_module_is_charged_for_a_module_of_each_shard():
    plan = plan_of(CASES["cnn-batchnorm"])
    assert modify.replayed(plan, [0, 1], Replay(1)).groups == 2


class Method(uk.StagedInfluence):
    """The default method, or what a test puts in the place of its results."""

    result, work = staticmethod(list), None

    def __call__(self, rounds, *, on_progress):
        return self.result(super().__call__(rounds, on_progress=on_progress))

    def batches(self, plan, forget):
        return self.work and self.work(super().batches(plan, forget))


class Amend(Replay):
    """A replay, or what a test puts in the place of its results; it cannot be hashed."""

    __hash__ = None
    result, more = staticmethod(list), None

    def __call__(self, rounds, modified, *, on_progress):
        return self.result(super().__call__(rounds, modified, on_progress=on_progress))

    def longer(self, plan):
        return self.more


def same(value):
    return value


@pytest.fixture(scope="module")
def waiting():
    return CASES["uneven"].waiting(6)


WRONG = (lambda done: None, lambda done: 3, lambda done: done[1:], lambda done: ["x"] * len(done))


@pytest.mark.parametrize(
    ("base", "parts", "sentence"),
    [
        *(
            (Method, {"result": w}, r"^Mine returned .*; expected a list of [12] Modi")
            for w in WRONG
        ),
        *(
            (Amend, {"result": w}, r"^Mine returned .*; expected a list of [12] Amen")
            for w in WRONG
        ),
        (Method, {"work": None}, "^Mine.batches returned None; expected a Batches"),
        (Amend, {"more": "replay"}, "^Mine.longer returned 'replay'; expected an amend"),
        (Amend, {"more": 3}, "^Mine.longer returned 3; expected an amend"),
    ],
)
def test_what_a_part_of_ones_own_returns_is_checked(waiting, base, parts, sentence):
    members = {
        name: part and staticmethod(part) if callable(part) else part
        for name, part in ({"work": same} | parts).items()
    }
    mine = type("Mine", (base,), members)()
    fork = waiting.fork()
    keys = fork.store.keys
    with pytest.raises(TypeError, match=sentence):
        fork.unlearn(0.0, **{"method" if base is Method else "amend": mine})
    assert fork.store.keys == keys and not fork.debt and len(fork.pending) == 6


def test_an_amend_need_not_be_hashable(waiting):
    fork = waiting.fork()
    assert fork.unlearn(0.0, amend=Amend()).decision.approximate


def test_a_separate_method_gets_one_shard_at_a_time_and_finds_the_same(waiting):
    class Counting(Method):
        work, separate = staticmethod(same), True

        def is_separate(self, plan):
            return self.separate

        @staticmethod
        def result(done):
            calls.append(len(done))
            return done

    class Together(Counting):
        separate = False

    calls, forks, events = list[int](), [waiting.fork() for _ in range(2)], list[int]()
    forks[0].unlearn(0.0, method=Together())
    forks[1].unlearn(
        0.0, method=Counting(), on_progress=lambda event: events.append(event.done_visits)
    )
    count = calls[0]
    assert calls == [count] + [1] * count and count > 1
    assert events == sorted(events)
    for one, other in zip(*(fork.ensemble.constituents for fork in forks), strict=True):
        for name, tensor in one.state.items():
            torch.testing.assert_close(tensor, other.state[name])


@pytest.mark.parametrize("name", ["uneven", "regression-norm"])
def test_threads_modify_shards_to_the_same_bits(name, monkeypatch):
    monkeypatch.setattr(dealing, "LOOP_STEP", 1)
    found, used = [], []

    def dealt(parts, work, threads):
        used.append(threads)
        deal(parts, work, threads)

    monkeypatch.setattr(modify, "deal", dealt)
    for threads in (1, 3):
        session = CASES[name].session(threads=threads)
        session.train()
        plan = session.plan
        session.revoke(
            [int(plan.partition.ids[plan.partition.shard == s][-1]) for s in range(plan.num_shards)]
        )
        session.preview(0.0)  # which also rehearses
        used.clear()
        events = []
        result = session.unlearn(boundary=uk.FixedBoundary(0.0), on_progress=events.append)
        checks = [repr(check) for check in result.decision.checks]
        done = [event.done_visits for event in events if event.phase == "modify"]
        assert done and done == sorted(done) and result.decision.approximate
        found.append((session.ensemble.digest, checks, result.approximate_visits))
        assert used == [min(threads, plan.num_shards)]
    assert found[0] == found[1]


def test_objects_of_the_users_are_called_in_one_thread():
    class Own(uk.FixedBoundary):
        pass

    own = modify._is_own
    assert own(uk.FixedBoundary(0.5)) and own(Replay()) and own(None)
    assert not own(Own(0.5)) and not own(lambda rounds, on_progress: []) and not own([])
