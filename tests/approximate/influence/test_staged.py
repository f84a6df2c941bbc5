"""Staged influence: how stages are chained, how much is computed, and that it beats nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import unlearnkit as uk
from rounds import (
    corrections_of,
    long_session,
    quiet,
    rounds_of,
    uneven_rounds,
    uneven_session,
)
from unlearnkit.approximate import (
    StagedInfluence,
)
from unlearnkit.approximate.curvature import effective_time, gauss_newton, mean_gradient
from unlearnkit.approximate.influence import any_module, settings
from unlearnkit.approximate.influence.any_module import Difference
from unlearnkit.approximate.segments import merged, segments_of
from unlearnkit.models.vector import flatten, trainable_names, unflatten


def exhaustive(substeps, **options):
    """With all examples, solved out."""
    return StagedInfluence(
        **options,
        substeps=substeps,
        iterations=60,
        tolerance=1e-9,
        curvature_min=10**6,
        curvature_max=10**6,
    )


@pytest.mark.parametrize("substeps", [1, 3])
@pytest.mark.parametrize("first", [1, 2])
@pytest.mark.parametrize(("damping", "short"), [(0.0, 50.0), (0.6, 0.0), (0.6, 50.0)])
def test_stages_are_chained_as_the_definition_says(first, substeps, damping, short, monkeypatch):
    monkeypatch.setattr(settings, "SHORT", short)
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(120, 4, generator=generator)
    data = (features, (features[:, 0] > 0).long() + (features[:, 1] > 0).long())
    session = uk.Session(
        data,
        model="logistic",
        num_shards=2,
        num_slices=3,
        epochs=12,
        batch_size=8,
        tails=(4, 1),
    )
    session.train()
    plan, spec = session.plan, session.spec
    rows = plan.partition.shard_rows(0)
    slices = plan.partition.slice_[rows]
    [given] = rounds_of(session, {0: rows[slices == first][:5]})
    forget, retain, checkpoints = given.forget, given.retain, given.state.checkpoints
    [found] = exhaustive(substeps, damping=damping)([given], on_progress=quiet)
    # The same by hand: the stages before the last, then its two segments up to its tails.
    module = session.plan.architecture.module()
    names, epochs = trainable_names(module), spec.stage_epochs()
    c = {r: checkpoint.state for r, checkpoint in checkpoints.items()}
    tails = checkpoints[3].tails
    segments = [
        (1, c[1], c[1], epochs[0]),
        (2, c[1], c[2], epochs[1]),
        (3, c[2], tails[4], epochs[2] - 4),
        (3, tails[4], tails[1], 3),
    ]
    pools = [int((slices <= stage).sum()) for stage in (1, 2, 3)]
    steps = [e * -(-pool // spec.batch_size) for e, pool in zip(epochs, pools, strict=True)]
    whole = sum(effective_time(spec.learning_rate, spec.momentum, each) for each in steps)
    assert 0 < whole < 50
    extra = spec.weight_decay + damping / (whole if short == 0 else 50)
    correction = torch.zeros(15).double()
    corrections = []
    for stage, start, end, count in segments[first - 1 :]:
        f, r = forget.until(stage), retain.until(stage)
        steps = count * -(-int((slices <= stage).sum()) // spec.batch_size)
        h = effective_time(spec.learning_rate, spec.momentum, steps)
        data = [plan.examples[plan.partition.ids[m.rows]] for m in (f, r)]
        g_f = sum(mean_gradient(module, w, names, *data[0], spec.loss) for w in (start, end)) / 2
        path, g_h = (start, end), h
        if stage == 1:  # its end, and on from there through stage 2
            g_f = mean_gradient(module, end, names, *data[0], spec.loss)
            steps = epochs[1] * -(-int((slices <= 2).sum()) // spec.batch_size)
            path, g_h = (c[1], c[2]), effective_time(spec.learning_rate, spec.momentum, steps)
        v, w = (flatten(state, names).double() for state in path)
        g = (v - w) / g_h - spec.weight_decay * (v + w) / 2
        forced = len(f) / len(r) * (g_f - g)
        parts = 1 if stage == 1 else substeps
        for substep in range(1, parts + 1):
            share = substep / parts
            way = (1 - share) * flatten(start, names) + share * flatten(end, names)
            at = {**end, **unflatten(way, end, names)}
            product = gauss_newton(module, at, names, data[1][0], spec.loss)
            dense = torch.stack([product(e) for e in torch.eye(15)])
            inverse = parts / h
            system = dense.double() + (inverse + extra) * torch.eye(15).double()
            correction = torch.linalg.solve(system, forced + correction * inverse)
        corrections.append((end, correction))
    states = [found.checkpoints[r].state for r in range(first, 3)]
    states += [found.checkpoints[3].tails[4], found.checkpoints[3].tails[1]]
    for state, (at, expected) in zip(states, corrections, strict=True):
        moved = flatten(state, names) - flatten(at, names)
        # float32 weights of size about 1 hold the small correction to about 1e-7 absolutely
        assert (moved - expected).abs().max() < 1e-6 + 1e-3 * expected.abs().max()
    assert set(found.checkpoints) == set(range(first, 4))
    assert expected.abs().max() > 1e-4


def merging_session():
    features = torch.randn(120, 4, generator=torch.Generator().manual_seed(2))
    data = (features, (features[:, 0] > 0).long() + (features[:, 1] > 0).long())
    spec = uk.TrainSpec(num_shards=2, num_slices=4, epochs=15, batch_size=8)
    session = uk.Session(data, model="logistic", spec=spec)
    session.train()
    return session


@pytest.mark.parametrize("merge", [2, 3, 9])
def test_early_stages_are_merged_as_the_definition_says(merge):
    """A dense solve with every forgotten example's gradient weighted by itself."""
    session = merging_session()
    plan, spec = session.plan, session.spec
    rows = plan.partition.shard_rows(0)
    slices = plan.partition.slice_[rows]
    gone = np.concatenate([rows[slices == s][:count] for s, count in ((1, 3), (2, 1), (3, 4))])
    [given] = rounds_of(session, {0: gone})
    method = exhaustive(1, merge=merge)
    [found] = method([given], on_progress=quiet)
    module, stages = plan.architecture.module(), min(merge, 3)
    names, epochs = trainable_names(module), spec.stage_epochs()
    states = {r: checkpoint.state for r, checkpoint in given.state.checkpoints.items()}
    times, kept, lost = {}, {}, {}
    for r in range(1, 5):
        kept[r], lost[r] = len(given.retain.until(r)), len(given.forget.until(r))
        steps = epochs[r - 1] * -(-int((slices <= r).sum()) // spec.batch_size)
        times[r] = effective_time(spec.learning_rate, spec.momentum, steps)
    early = range(1, stages + 1)
    h, end = sum(times[r] for r in early), states[stages]
    forced = torch.zeros(15).double()
    for row, own in zip(given.forget.rows, given.forget.slices, strict=True):
        example = plan.examples[plan.partition.ids[[row]]]
        weight = sum(times[r] / h / kept[r] for r in early if r >= own)
        forced += weight * mean_gradient(module, end, names, *example, spec.loss)
    after, h_after = states[stages + 1] if stages < 3 else None, times.get(stages + 1)
    if stages == 3:  # on from there to the first tail of the last stage
        after, steps = given.state.checkpoints[4].tails[4], 2 * -(-len(rows) // spec.batch_size)
        h_after = effective_time(spec.learning_rate, spec.momentum, steps)
    v, w = (flatten(state, names).double() for state in (end, after))
    g = (v - w) / h_after - spec.weight_decay * (v + w) / 2
    forced -= sum(times[r] / h * lost[r] / kept[r] for r in early) * g
    inputs, _ = given.state.data(given.retain.until(stages))
    product = gauss_newton(module, end, names, inputs, spec.loss)
    dense = torch.stack([product(e) for e in torch.eye(15)]).double()
    expected = torch.linalg.solve(
        dense + (1 / h + spec.weight_decay) * torch.eye(15).double(), forced
    )
    reached = np.cumsum([times[r] * lost[r] / kept[r] for r in early])
    for r, share in zip(early, reached / reached[-1], strict=True):
        moved = flatten(found.checkpoints[r].state, names) - flatten(states[r], names)
        assert (moved - share * expected).abs().max() < 1e-6 + 1e-3 * expected.abs().max()
    assert set(found.checkpoints) == {1, 2, 3, 4} and expected.abs().max() > 1e-4
    assert found.visits <= method.visits(given.state.plan, 0, given.forget)


def test_one_stage_that_is_merged_equals_the_stage():
    session = merging_session()
    rows = session.plan.partition.shard_rows(0)
    [given] = rounds_of(session, {0: rows[session.plan.partition.slice_[rows] == 1][:5]})
    module, method = session.plan.architecture.module(), StagedInfluence()
    names, segments = trainable_names(module), segments_of(given)
    candidates = method.candidates_of(given, segments)
    alone = merged(segments[:1])
    assert (alone.time, alone.path_time) == (segments[0].time, segments[0].path_time)
    assert alone.weights == (1 / len(given.retain.until(1)),) and alone.parts == ()
    one = replace(alone, path=segments[0].path)
    run = Difference(method, given, module, names, candidates)
    whole = Difference(method, given, module, names, candidates)
    assert torch.allclose(run._merged_forcing(one), whole.forcing(segments[0]), rtol=1e-5)
    assert torch.allclose(run.sum, whole.sum, rtol=1e-5)


def test_merged_stages_land_on_the_leave_out_solution_of_a_quadratic_loss():
    """All slices hold the same rows, so that merging is exact once training has converged."""
    generator = torch.Generator().manual_seed(5)
    copies = torch.randn(15, 4, generator=generator), torch.randn(15, 1, generator=generator)
    spec = uk.TrainSpec(
        num_shards=1,
        num_slices=4,
        epochs=500,
        batch_size=64,
        learning_rate=0.05,
        weight_decay=0.1,
        loss="squared-error",
    )
    data = [torch.rand(60, some.shape[1]) for some in copies]
    blank = uk.Session(uk.from_arrays(*data, test=data, probe=data), model="linear", spec=spec)
    partition = blank.plan.partition
    for whole, some in zip(data, copies, strict=True):
        for slice_ in range(1, 5):
            whole[torch.from_numpy(partition.ids[partition.slice_ == slice_])] = some
    session = uk.Session(uk.from_arrays(*data, test=data, probe=data), model="linear", spec=spec)
    session.train()
    plan = session.plan
    gone = np.concatenate([np.flatnonzero(plan.partition.slice_ == s)[:2] for s in (1, 2, 3, 4)])
    method = exhaustive(1, merge=3)
    [given] = rounds_of(session, {0: gone})
    [found] = method([given], on_progress=quiet)
    inputs, targets = (some.double() for some in given.state.data(given.retain.until(1)))
    design = torch.cat([inputs, torch.ones(13, 1).double()], 1)
    system = design.T @ design / 13 + 0.1 * torch.eye(5)
    expected = torch.linalg.solve(system, design.T @ targets / 13).flatten()
    names = trainable_names(plan.architecture.module())
    before = flatten(given.state.checkpoints[3].state, names) - expected
    after = flatten(found.checkpoints[3].state, names) - expected
    # A step over the time h leaves about 1/(1 + h lambda) of the difference.
    h = segments_of(given, merge=3)[0].time
    assert after.norm() < 1.5 / (1 + 0.1 * h) * before.norm() and 0.1 * h > 20


def test_where_many_are_forgotten_the_retained_are_read_at_the_same_points(monkeypatch):
    """All of them: the difference of two means. Some of them: nearer to what the path says."""
    features = torch.randn(60, 4, generator=torch.Generator().manual_seed(3))
    spec = uk.TrainSpec(num_shards=1, num_slices=1, epochs=12, batch_size=8, learning_rate=0.05)
    session = uk.Session((features, (features[:, 0] > 0).long()), model="logistic", spec=spec)
    session.train()
    rows = session.plan.partition.shard_rows(0)
    module = session.plan.architecture.module()
    names = trainable_names(module)
    monkeypatch.setattr(settings, "REFERENCES_FROM", 9)

    def forcings(method, caution, gone=9):
        [given] = rounds_of(session, {0: rows[:gone]})
        monkeypatch.setattr(any_module, "NOISE_WEIGHT", caution)
        segments = segments_of(given)
        candidates = method.candidates_of(given, segments)
        run = Difference(method, given, module, names, candidates)
        return given, segments, [run.forcing(each) for each in segments]

    head = StagedInfluence(scope="head", candidates=0)
    referred, twice = (replace(head, references=count) for count in (10**6, 2))
    given, segments, means = forcings(referred, 4.0)
    path, cautious, some, bold = (
        forcings(*way)[2] for way in ((head, 4), (twice, 1e9), (twice, 0.1), (twice, 0))
    )
    assert torch.equal(torch.stack(path), torch.stack(cautious))
    assert torch.equal(path[0], means[0]) and segments[0].start is None
    for i, each in enumerate(segments[1:], 1):
        gradients = [
            sum(
                mean_gradient(module, at, names, *given.state.data(members), spec.loss)
                for at in each.points
            )
            / 2
            for members in (given.forget, given.retain)
        ]
        expected = 9 / len(rows) * (gradients[0] - gradients[1])
        assert torch.allclose(means[i], expected, rtol=1e-3, atol=1e-6)
        assert not torch.allclose(path[i], expected, rtol=0.1, atol=1e-4)
        whole = bold[i] - path[i]
        part = (some[i] - path[i]) @ whole / whole.square().sum()
        assert 0 < part < 1
        assert torch.allclose(some[i], path[i] + part * whole, atol=1e-6)
    fewer = [forcings(method, 0.0, gone=8)[2] for method in (head, referred)]
    assert torch.equal(torch.stack(fewer[0]), torch.stack(fewer[1]))
    [found] = referred([given], on_progress=quiet)
    assert found.visits <= referred.visits(given.state.plan, 0, given.forget)
    [given] = rounds_of(session, {0: rows[:9]})
    assert found.correction_norm == pytest.approx(
        referred.modify(given, quiet).correction_norm, rel=1e-4
    )
    [given] = rounds_of(session, {0: rows[:9]})
    [without] = head([given], on_progress=quiet)
    assert abs(without.correction_norm / found.correction_norm - 1) > 1e-3
    assert found.visits - without.visits >= len(segments) * len(given.retain)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"scope": "tail"}, "scope='tail' is not known; use 'all' or 'head'"),
        ({"references": 4}, "references=4 does not work with scope='all'"),
        ({"merge": 0}, "merge=0 is no number of stages; give 1 or more"),
        ({"damping": -0.1}, "damping=-0.1 is out of range; give a number from 0 up"),
        ({"damping": float("nan")}, "damping=nan is out of range"),
        ({"scope": "head", "by_outputs": True}, "by_outputs=True does not work with scope='head'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        StagedInfluence(**options)


def test_an_undamped_method_is_described_as_before_there_was_damping():
    """Ledgers record this text, and their modifications are replayed by it."""
    assert repr(StagedInfluence()) == (
        "StagedInfluence(scope='all', substeps=2, iterations=13, tolerance=0.01, candidates=4096, "
        "curvature_share=0.03571428571428571, curvature_min=80, curvature_max=640, few=0.004, "
        "references=0, by_outputs=False)"
    )
    damped = StagedInfluence(damping=0.5)
    merging = StagedInfluence(merge=2)
    assert repr(damped).endswith("by_outputs=False, damping=0.5)")
    assert repr(merging).endswith("by_outputs=False, merge=2)")
    for method in (StagedInfluence(), damped, merging):
        assert eval(repr(method)) == method


def test_a_long_stage_is_corrected_early_on_too():
    session, method = long_session(), StagedInfluence(iterations=5)
    gone = {shard: session.plan.partition.shard_rows(shard)[:7] for shard in (0, 1)}
    rounds = rounds_of(session, gone)
    assert [each.tail for each in segments_of(rounds[0])] == [11, 4, 1]
    for lane, given in zip(
        method(rounds, on_progress=quiet), rounds_of(session, gone), strict=True
    ):
        ours = corrections_of(session, lane)
        theirs = corrections_of(session, method.modify(given, quiet))
        assert set(ours) == {(1, None), (1, 11), (1, 4), (1, 1)}
        norms = [float(ours[1, tail].norm()) for tail in (11, 4, 1)]
        assert 1e-3 < norms[0] < norms[1] < norms[2]  # the difference grows with time
        for place, change in ours.items():
            assert (change - theirs[place]).abs().max() < 1e-6 + 1e-3 * change.abs().max()


@pytest.mark.parametrize("merge", [1, 2])
def test_curvature_is_sampled_in_proportion_to_the_pool_and_planned_so(merge):
    session = uneven_session("logistic")
    method = StagedInfluence(
        iterations=3, tolerance=0.0, curvature_share=0.5, curvature_min=2, merge=merge
    )
    rounds = uneven_rounds(session)
    for given, found in zip(rounds, method(rounds, on_progress=quiet), strict=True):
        plan, shard = given.state.plan, given.state.shard
        assert found.visits == method.visits(plan, shard, given.forget)
        sizes, total = [], len(given.forget) + len(given.retain)
        for each in segments_of(given):
            pool = each.num_forget + each.num_retain
            sizes.append(method.sample_size(pool, total))
            assert abs(sizes[-1] - pool / 2) <= 1
        assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1]


def test_where_few_are_forgotten_less_is_done_and_planned_so(monkeypatch):
    monkeypatch.setattr(settings, "FEW_CURVATURE", 12)
    monkeypatch.setattr(settings, "FEW_CANDIDATES", 30)
    session = uneven_session(uk.MLP((9,)))
    method = StagedInfluence(
        tolerance=0.0, iterations=2, curvature_share=0.5, curvature_min=5, candidates=40, few=0.15
    )
    light = replace(method, substeps=1, curvature_max=12, candidates=30, few=0.0)
    rounds = uneven_rounds(session)
    found, whole = method(rounds, on_progress=quiet), []
    for number, (given, got) in enumerate(zip(uneven_rounds(session), found, strict=True)):
        plan, shard, forget = given.state.plan, given.state.shard, given.forget
        size = len(forget) + len(given.retain)
        whole.append(len(forget) >= 0.15 * size)
        fit = method.settings_for(len(forget), size)
        assert fit == (method if whole[-1] else light)
        assert got.visits == method.visits(plan, shard, forget) == fit.visits(plan, shard, forget)
        assert method.batches(plan, {shard: forget}) == fit.batches(plan, {shard: forget})
        [alone] = fit([uneven_rounds(session)[number]], on_progress=quiet)
        ours, theirs = corrections_of(session, got), corrections_of(session, alone)
        for place, change in ours.items():
            assert (change - theirs[place]).abs().max() < 1e-6
    assert set(whole) == {True, False}  # lanes of both kinds, in one call
    work = [method.batches(each.state.plan, {each.state.shard: each.forget}) for each in rounds]
    together = method.batches(
        rounds[0].state.plan, {each.state.shard: each.forget for each in rounds}
    )
    # Each is rounded by itself.
    assert together.visits == pytest.approx(sum(each.visits for each in work), abs=3)


def test_where_few_are_forgotten_of_a_small_shard_half_of_the_substeps_are_taken():
    alike = StagedInfluence(
        substeps=4, candidates=0, curvature_share=0.05, curvature_min=64, few=0.004
    )
    assert alike.settings_for(3, 1000) == replace(alike, substeps=2, few=0.0)
    assert replace(alike, substeps=1).settings_for(3, 1000).substeps == 1
    for forgotten, size in [(4, 1000), (3, 1300)]:  # not so few, and not so small
        assert alike.settings_for(forgotten, size) is alike
    for other in (replace(alike, scope="head"), StagedInfluence()):
        assert other.settings_for(3, 1000) is other
    fixed = replace(alike, curvature_max=64)
    assert fixed.settings_for(1, 60_000) is fixed


def test_a_shard_may_lose_whole_slices():
    session = uneven_session("logistic")
    method = StagedInfluence()
    [_, found, _] = method(uneven_rounds(session, whole=1), on_progress=quiet)
    changes = corrections_of(session, found)
    assert changes[1, None].abs().max() == 0  # nothing is left to train stage 1 on
    assert changes[2, None].abs().max() > 0
    for tried in (method, StagedInfluence(scope="head")):
        [_, found, _] = tried(uneven_rounds(session, whole=1), on_progress=quiet)
        [_, given, _] = uneven_rounds(session, whole=1)
        alone = corrections_of(session, tried.modify(given, quiet))
        for place, change in corrections_of(session, found).items():
            assert (change - alone[place]).abs().max() < 1e-6 + 1e-3 * change.abs().max()


def test_optimizers_without_a_derived_difference_are_retrained_exactly():
    spec = uk.TrainSpec(num_shards=2, num_slices=2, epochs=4, optimizer="adam")
    session = uk.Session(uk.load("digits", num_examples=100), model="logistic", spec=spec)
    session.train()
    session.revoke(count=3)
    decision = session.preview(0)
    assert not decision.approximate
    assert all("adam" in route.reason for route in decision.routes)


def gaps(session, count, seeds):
    """Mean output KL to scratch on the test part: (unlearned approximately, doing nothing)."""
    values = []
    for seed in seeds:
        fork = session.fork()
        fork.revoke(count=count, seed=seed)
        fork.unlearn(0)
        kl = fork.compare().output_kl
        values.append((kl["unlearned"], kl["original"]))
    return np.mean(values, axis=0)


@pytest.mark.parametrize("model", ["logistic", "mlp", "cnn"])
def test_it_beats_doing_nothing_on_digits(model):
    session = uk.Session("digits", model=model)
    session.train()
    ours, nothing = gaps(session, 100, seeds=(1,))
    print(f"\ndigits {model}: output KL to scratch {ours:.2e}, doing nothing {nothing:.2e}")
    assert ours < nothing


@pytest.mark.slow
@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_it_beats_doing_nothing_on_fashion_mnist(model):
    try:
        data = uk.load("fashion-mnist", num_examples=10_000)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    session = uk.Session(data, model=model, num_shards=5, num_slices=3, epochs=10)
    session.train()
    ours, nothing = gaps(session, 1000, seeds=(1,))
    print(f"\nfashion-mnist {model}: output KL {ours:.2e}, doing nothing {nothing:.2e}")
    assert ours < nothing
