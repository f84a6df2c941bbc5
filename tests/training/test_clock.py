"""The clock: rates found again from work whose cost is known, and what it says of its own error."""

import copy
import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import nnls

import unlearnkit as uk
from cases import CASES
from unlearnkit.store import MemoryStore
from unlearnkit.training.clock import (
    EXACT_PRIOR,
    Batches,
    Checks,
    Clock,
    Work,
    nonnegative_least_squares,
)
from unlearnkit.training.kernels.cpu_time import cpu_clock
from unlearnkit.training.train import train, work_of
from worker import content


@pytest.mark.parametrize("seed", range(100))
def test_nonnegative_least_squares_is_as_close_as_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 30), rng.integers(1, 8)
    a = rng.random((rows, columns)) * (rng.random((rows, columns)) < 0.8)
    b = rng.normal(size=rows) + (seed % 2) * a @ rng.random(columns)
    ours, theirs = nonnegative_least_squares(a, b), nnls(a, b)[0]
    assert (ours >= 0).all()
    # Two methods meet at one minimum, up to rounding of sums of at most thirty squares.
    assert np.linalg.norm(a @ ours - b) <= np.linalg.norm(a @ theirs - b) + 1e-12


RATES = np.array([2e-4, 5e-5, 1e-3, 3e-4, 1e-7, 4e-4, 2e-3])  # seconds of causes of training


def ran(*works: Work) -> Clock:
    """A clock of a machine that has just these rates."""
    return Clock().observe([(work, float(RATES @ work.row())) for work in works])


def test_rates_are_found_again() -> None:
    rng = np.random.default_rng(0)
    works = []
    for _ in range(12):
        lockstep = int(rng.integers(50, 500))
        steps = lockstep * int(rng.integers(1, 12))
        works.append(
            Work(
                int(rng.integers(1, 20)),
                int(rng.integers(1, 90)),
                lockstep,
                steps,
                32 * steps,
                int(rng.integers(0, 5)),
                int(rng.integers(0, 3)),
            )
        )
    clock = ran(*works)
    for work in works:
        # The assumed rates enter with a millionth of the weight of a measurement.
        assert clock.exact_seconds(work) == pytest.approx(RATES @ work.row(), rel=1e-3)


def test_a_step_may_cost_less_than_lanes_make_it_seem() -> None:
    # One lane fits a cache and ten do not: a line through both meets no lane below 0 seconds.
    clock = Clock().observe([(Work(0, 0, 10, 10, 0), 0.5), (Work(0, 0, 10, 100, 0), 9.5)])
    assert clock.exact_seconds(Work(0, 0, 10, 10, 0)) == pytest.approx(0.5, rel=1e-3)
    assert clock.exact_seconds(Work(0, 0, 10, 50, 0)) == pytest.approx(4.5, rel=1e-3)


def test_what_no_measurement_determines_keeps_its_assumed_rate() -> None:
    clock = Clock(tick=1.0).observe([(Work(0, 0, 100, 100, 0), 1e5)])
    further = clock.exact_seconds(Work(0, 0, 0, 1, 0))
    assert further == pytest.approx(EXACT_PRIOR[3]) and further > 0
    clock = clock.observe_request(0, 4, 50.0, 100.0, None)
    assert clock.request_seconds(1, 4) > clock.request_seconds(0, 4)  # none retrained anything


def test_recent_runs_weigh_more() -> None:
    work = Work(1, 1, 10, 10, 100)
    slow_then_fast = Clock().observe([(work, 2.0)] * 150 + [(work, 1.0)] * 150)
    fast_then_slow = Clock().observe([(work, 1.0)] * 150 + [(work, 2.0)] * 150)
    assert slow_then_fast.exact_seconds(work) < fast_then_slow.exact_seconds(work)


def test_work_whose_seconds_vary_is_predicted_at_their_mean() -> None:
    work = Work(1, 1, 10, 10, 100)
    clock = Clock().observe([(work, 0.7), (work, 1.3)] * 20)
    # The latest measurement counts for a little more than the one before it.
    assert clock.exact_seconds(work) == pytest.approx(1.0, rel=0.02)


def test_one_disturbed_measurement_does_not_outweigh_the_others() -> None:
    work = Work(1, 1, 10, 10, 100)
    clock = Clock().observe([(work, 1.0)] * 10 + [(work, 50.0)])
    assert clock.exact_seconds(work) < 1.3


def test_checks_made_once_for_a_request_are_told_from_those_of_its_shards() -> None:
    clock = ran(Work(1, 1, 10, 10, 100))
    assert Clock().check_seconds(Checks(1, 1, 1)) is None
    for once, each, amount in ((0.5, 0.0, Checks(1, 0, 0)), (0.0, 0.1, Checks(0, 2, 600))):
        clock = clock.observe_checks(amount, once + each * amount.shards)
    assert clock.check_seconds(Checks(1, 6, 1800)) == pytest.approx(0.5 + 6 * 0.1, rel=1e-3)


def test_a_modification_counts_more_than_batches_timed_by_themselves() -> None:
    clock = ran(Work(1, 1, 10, 10, 100)).observe_probe(Batches(0, 4, 100), 4.0)
    for shards in (1, 5):
        whole = Batches(shards, 40 * shards, 1000 * shards)
        clock = clock.observe_modify(whole, 20.0 * shards)
    assert clock.modify_seconds(Batches(10, 400, 10_000)) == pytest.approx(200.0, rel=0.05)


def test_nothing_is_predicted_before_anything_was_timed() -> None:
    clock = Clock()
    assert clock.exact_seconds(Work(1, 1, 1, 1, 1)) is None
    assert clock.modify_seconds(Batches(1, 1, 1)) is None
    with pytest.raises(LookupError, match="no training has been timed yet"):
        _ = clock.rates


def test_an_interval_covers_nine_in_ten_of_like_errors() -> None:
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(200):
        clock, errors = ran(Work(1, 1, 10, 10, 100)), rng.normal(0, 0.2, 40)
        for error in errors[:-1]:
            clock = clock.observe_request(1, 0, 0.1, float(np.exp(error)), 1.0)
        inside.append(abs(errors[-1]) <= np.log(clock.multiple(approximate=False)))
    # Conformal intervals cover at least .9 and, of 39 errors, .925 on average; this is four
    # standard errors of a mean of 200 below .9.
    assert np.mean(inside) > 0.9 - 4 * (0.09 / 200) ** 0.5


def test_few_errors_give_a_wide_interval() -> None:
    clock = ran(Work(1, 1, 10, 10, 100))
    assert clock.multiple(approximate=False) == clock.multiple(approximate=True) == 1.5
    clock = clock.observe_request(1, 0, 0.1, 3.0, 1.0)  # three times as long as predicted
    assert clock.multiple(approximate=False) == pytest.approx(3.0)
    assert clock.multiple(approximate=True) == 1.5


def test_a_training_is_cut_into_work_that_adds_up() -> None:
    session = CASES["logistic"].session()
    report = session.train()
    timed = [work for work, _ in report.timed]
    assert sum(seconds for _, seconds in report.timed) > 0
    whole = work_of(session.plan, session.plan.stages)
    for cause in ("stages", "epochs", "visits", "starts", "groups"):
        assert sum(getattr(work, cause) for work in timed) == getattr(whole, cause)
    lockstep = [work for work in timed if work.steps > work.lockstep]
    assert 0 < sum(work.lockstep for work in lockstep) <= whole.lockstep
    assert 0 < sum(work.steps for work in lockstep) <= whole.steps


@pytest.mark.parametrize("name", ["logistic", "mlp-dropout", "adam"])
def test_timing_one_lane_leaves_no_trace(name: str) -> None:
    case = CASES[name]
    plan = case.session().plan
    stores = MemoryStore(), MemoryStore()
    reports = [train(plan, store, probe=p) for store, p in zip(stores, (False, True), strict=True)]
    assert reports[1].probe_seconds > 0 == reports[0].probe_seconds
    assert [run.loss for run in reports[0].runs] == [run.loss for run in reports[1].runs]
    for key in plan.keys:
        assert content(stores[0].get(key)) == content(stores[1].get(key))


def test_predictions_come_with_an_interval() -> None:
    session = CASES["logistic"].session()
    session.train()
    for share in (1.0, 0.0):
        session.revoke(count=3, seed=int(share))
        workload, decision = session.workload(), session.preview(share)
        assert workload.interval.low < workload.seconds < workload.interval.high
        assert decision.interval.low < decision.seconds < decision.interval.high
        assert repr(decision.interval) in repr(decision)
        assert repr(workload.interval) in repr(workload)
        result = session.unlearn(share)
        assert result.predicted_interval == decision.interval
        assert f"predicted {decision.interval}" in repr(result)
    assert [len(errors) for errors in session.clock.errors] == [1, 1]


def test_the_clock_is_kept_with_the_store(tmp_path: Path) -> None:
    case = CASES["logistic"]
    session = case.session(store=tmp_path)
    session.train()
    session.revoke(count=3)
    session.unlearn(0)
    assert case.session(store=tmp_path).clock == session.clock


def test_rates_of_another_machine_are_not_taken(tmp_path: Path) -> None:
    case = CASES["logistic"]
    before = case.session(store=tmp_path)
    before.train()
    run = copy.deepcopy(before.store.manifest)
    run["clock"]["machine"]["cpu"] = "abacus"
    before.store.commit(run)
    session = case.session(store=tmp_path)
    assert not session.clock.calibrated and session.trained
    assert "another machine (cpu was abacus and is " in repr(session.clock)
    session.revoke(count=3)
    assert session.preview(1).seconds is None
    session.unlearn(1)
    assert session.clock.calibrated


def test_of_batches_by_themselves_the_fastest_measurement_counts() -> None:
    small, large = Batches(0, 4, 100), Batches(0, 4, 900)
    clock = Clock().observe_probe(small, 2.0).observe_probe(large, 5.0).observe_probe(small, 1.0)
    assert dict(clock.observe_probe(large, 6.0).modify) == {small: 1.0, large: 5.0}


def test_a_first_measurement_that_is_far_off_does_not_stand() -> None:
    """Or a session would go on retraining, whatever modifying takes."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(4000, 200)).astype(np.float32)
    data = features, generator.integers(0, 3, 4000)
    session = uk.Session(data, model=uk.MLP((256,)), num_shards=2, num_slices=1, epochs=40)
    session.train()
    far_off = Batches(0, 4, 1000), 1e3
    session._journal.clock = replace(session._journal.clock, modify=(far_off,))
    session.revoke(count=5)
    assert session.unlearn(boundary=uk.AdaptiveBoundary(light=0)).decision.exact
    first, *later = session._journal.clock.modify
    assert first == far_off and later
    assert all(work.shards == 0 and seconds < 1e3 for work, seconds in later)
    session.revoke(count=5)
    session.unlearn(0.0)
    timed = session._journal.clock.modify
    session.revoke(count=5)
    session.unlearn(1.0)
    assert session._journal.clock.modify == timed  # once a modification was timed, no more is


PATHS = ["exact.0.0.4", "exact.0.1", "modify.0.0.1", "modify.0.1", "checks.0.0.2", "tick"]


@pytest.mark.parametrize("value", [None, "1", True, [], -1, 10**400, float("nan"), float("inf")])
@pytest.mark.parametrize("path", PATHS)
def test_what_was_not_measured_is_not_taken_from_a_manifest(path: str, value: object) -> None:
    clock = Clock().observe([(Work(1, 2, 3, 4, 5), 0.5)]).observe_modify(Batches(1, 2, 3), 0.25)
    clock = clock.observe_checks(Checks(0, 1, 2), 0.5)
    kept = clock.to_dict()
    assert Clock.from_dict(copy.deepcopy(kept)) == clock
    *outer, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    node = kept
    for key in outer:
        node = node[key]
    node[last] = value
    with pytest.raises((TypeError, ValueError, OverflowError)):
        Clock.from_dict(kept)


def test_work_that_an_earlier_version_stored_without_groups_is_taken() -> None:
    clock = ran(Work(1, 2, 30, 40, 500, 1, 1))
    kept = clock.to_dict()
    kept["exact"] = [[amounts[:6], seconds] for amounts, seconds in kept["exact"]]
    assert Clock.from_dict(kept).exact == ((Work(1, 2, 30, 40, 500, 1, 0), clock.exact[0][1]),)


def test_rates_in_wall_time_of_an_earlier_version_are_not_taken(tmp_path: Path) -> None:
    case = CASES["logistic"]
    before = case.session(store=tmp_path)
    before.train()
    run = copy.deepcopy(before.store.manifest)
    del run["clock"]["unit"], run["clock"]["paces"]
    before.store.commit(run)
    session = case.session(store=tmp_path)
    assert not session.clock.calibrated and session.trained
    assert "were measured by an earlier version in another way" in repr(session.clock)


def test_the_pace_is_the_median_of_the_last_runs() -> None:
    clock = Clock()
    assert clock.pace == 1
    for wall in (90.0, 80.0, 3.0, 2.0, 1.0, 2.5, 70.0):
        clock = clock.observe_pace(1.0, wall)
    assert clock.pace == 2.5
    assert clock.observe_pace(None, 100.0) == clock


@pytest.mark.skipif(os.name == "nt", reason="Windows counts the time of a thread too coarsely")
def test_the_clock_of_the_process_is_read_if_torch_computes_in_several_threads() -> None:
    plan = CASES["logistic"].session(num_threads=8).plan
    assert cpu_clock(plan) is time.process_time
    assert cpu_clock(plan, 1000)() < time.process_time()
    assert cpu_clock(CASES["logistic"].session().plan, 3) is time.thread_time


def test_nothing_predicted_or_decided_depends_on_wall_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine the wall clock runs seven times as fast as the CPU time of the work."""
    seen, paces = [], []
    for busy in (1, 7):
        readings = dict.fromkeys(("thread_time", "perf_counter"), 0)

        def read(name: str, step: int, readings: dict[str, int] = readings) -> float:
            readings[name] += 1
            return readings[name] * step * 1e-3

        for name, step in (("thread_time", 1), ("perf_counter", busy)):
            monkeypatch.setattr(time, name, partial(read, name, step))
        session = CASES["logistic"].session()
        session.train()
        clock, _ = session.clock, session.revoke(count=3, seed=0)
        decision = session.preview(boundary=uk.AdaptiveBoundary(light=0))
        session.unlearn(0)
        later = session.clock
        assert later.modify and later.checks and later.request
        seen.append((replace(clock, paces=()), decision, replace(later, paces=())))
        paces.append(later.pace)
    assert seen[0] == seen[1]
    assert paces[1] == pytest.approx(7 * paces[0])
