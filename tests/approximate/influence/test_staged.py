"""The approximate branch against closed forms, dense solves, and doing nothing."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import unlearnkit as uk
from rounds import quiet, rounds_of, tiny_session, uneven_rounds, uneven_session
from unlearnkit.approximate import (
    AMENDS,
    METHODS,
    Replay,
    StagedInfluence,
)
from unlearnkit.approximate.buffers import recompute_buffers
from unlearnkit.approximate.curvature import effective_time, gauss_newton, mean_gradient
from unlearnkit.approximate.defaults import default_method
from unlearnkit.approximate.influence import any_module, last_layer, settings, stacked, staged
from unlearnkit.approximate.influence.any_module import Difference, implicit_euler
from unlearnkit.approximate.linearised import (
    Linearised,
    clear_padding,
    gather,
    moved,
    solve,
    solve_dual,
)
from unlearnkit.approximate.segments import segments_of
from unlearnkit.models.losses import CrossEntropy, SquaredError
from unlearnkit.seeding import state_bytes


def ridge(inputs, targets, weight_decay):
    """Minimiser of mean 1/2 |Wx + b - t|^2 + lambda/2 (|W|^2 + |b|^2), by its normal equations."""
    ones = torch.ones(len(inputs), 1, dtype=inputs.dtype)
    design = torch.cat([inputs, ones], 1)
    gram = design.T @ design / len(design) + weight_decay * torch.eye(
        design.shape[1], dtype=inputs.dtype
    )
    solution = torch.linalg.solve(gram, design.T @ targets / len(design))
    return solution[:-1].T.contiguous(), solution[-1].contiguous()


def linear_problem():
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    inputs, targets, decay = draw(60, 5), draw(60, 3), 0.01
    module = nn.Linear(5, 3).double()
    weight, bias = ridge(inputs, targets, decay)
    return module, {"weight": weight, "bias": bias}, inputs, targets, decay


def forcing(module, state, names, inputs, targets, loss, num_forget):
    """The c of the difference equation, the first k rows being forgotten."""
    k, n = num_forget, len(inputs)
    g_forget = mean_gradient(module, state, names, inputs[:k], targets[:k], loss)
    g_retain = mean_gradient(module, state, names, inputs[k:], targets[k:], loss)
    return k / n * (g_forget - g_retain)


def test_the_step_lands_on_the_leave_out_solution_of_a_quadratic_loss():
    module, state, inputs, targets, decay = linear_problem()
    names, loss = trainable_names(module), SquaredError()
    product = gauss_newton(module, state, names, inputs[7:], loss)
    step, _ = implicit_euler(
        product,
        forcing(module, state, names, inputs, targets, loss, 7),
        torch.zeros(18, dtype=torch.float64),
        float("inf"),
        decay,
        iterations=200,
        tolerance=1e-14,
    )
    weight, bias = ridge(inputs[7:], targets[7:], decay)
    expected = torch.cat([weight.reshape(-1), bias])
    found = flatten(state, names) + step
    assert (found - expected).abs().max() < 1e-8
    assert (flatten(state, names) - expected).abs().max() > 1e-2  # doing nothing is far off


@pytest.mark.parametrize("h", [0.05, 3.0])
def test_at_finite_time_the_step_solves_the_dense_system(h):
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(30, 4, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, 3, (30,), generator=generator)
    state, names, loss = get_state(module), trainable_names(module), CrossEntropy()
    c = forcing(module, state, names, inputs, targets, loss, 5)
    before = torch.randn(len(c), generator=generator, dtype=torch.float64)

    def outputs(vector):
        parts, at = {}, 0
        for name, parameter in module.named_parameters():
            parts[name] = vector[at : at + parameter.numel()].view_as(parameter)
            at += parameter.numel()
        return torch.func.functional_call(module, parts, inputs[5:])

    at = flatten(state, names)
    jacobian = torch.func.jacrev(outputs)(at)
    p = outputs(at).softmax(1).detach()
    hessian = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    dense = torch.einsum("ncp,ncd,ndq->pq", jacobian, hessian, jacobian) / 25
    system = dense + (1 / h + 0.02) * torch.eye(len(c), dtype=torch.float64)
    expected = torch.linalg.solve(system, c + before / h)
    found, _ = implicit_euler(
        gauss_newton(module, state, names, inputs[5:], loss),
        c,
        before,
        h,
        0.02,
        iterations=300,
        tolerance=1e-14,
    )
    assert (found - expected).norm() < 1e-9 * expected.norm()


def exhaustive(substeps):
    """With all examples, solved out."""
    return StagedInfluence(
        substeps=substeps,
        iterations=60,
        tolerance=1e-9,
        curvature_min=10**6,
        curvature_max=10**6,
    )


@pytest.mark.parametrize("substeps", [1, 3])
@pytest.mark.parametrize("first", [1, 2])
def test_stages_are_chained_as_the_definition_says(first, substeps):
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(120, 4, generator=generator)
    data = (features, (features[:, 0] > 0).long() + (features[:, 1] > 0).long())
    session = uk.Session(
        data, model="logistic", num_shards=2, num_slices=3, epochs=12, batch_size=8
    )
    session.train()
    plan, spec = session.plan, session.spec
    rows = plan.partition.shard_rows(0)
    slices = plan.partition.slice_[rows]
    [given] = rounds_of(session, {0: rows[slices == first][:5]})
    forget, retain, checkpoints = given.forget, given.retain, given.state.checkpoints
    [found] = exhaustive(substeps)([given], on_progress=quiet)
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
            system = dense.double() + (inverse + spec.weight_decay) * torch.eye(15).double()
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


def test_the_mean_gradient_can_be_read_off_the_way():
    """Full-batch training without momentum: exactly the mean of the gradients along the way."""
    features = torch.randn(40, 4, generator=torch.Generator().manual_seed(3))
    spec = uk.TrainSpec(num_shards=1, num_slices=1, epochs=6, batch_size=64, momentum=0.0)
    session = uk.Session((features, (features[:, 0] > 0).long()), model="logistic", spec=spec)
    session.train()
    rows = session.plan.partition.shard_rows(0)
    [given] = rounds_of(session, {0: rows[:3]})
    module, plan = session.plan.architecture.module(), session.plan
    names, (first, segment) = trainable_names(module), segments_of(given)
    assert first.start is None
    data = plan.examples[plan.partition.ids[rows]]
    at, passed = flatten(segment.start, names), []
    for _ in range(3):  # from the tail of four epochs to that of one
        state = unflatten(at, segment.end, names)
        passed.append((at, mean_gradient(module, state, names, *data, spec.loss)))
        at = at - spec.learning_rate * (passed[-1][1] + spec.weight_decay * at)
    assert (at - flatten(segment.end, names)).abs().max() < 1e-6  # float32
    mean = sum(g for _, g in passed) / 3
    # Weights change by so little on the way that their decay is that of their mean.
    found = segment.pool(passed[0][0], at, spec.weight_decay)
    assert torch.allclose(found, mean, rtol=1e-3, atol=1e-6)


def test_where_many_are_forgotten_the_retained_are_read_at_the_same_points(monkeypatch):
    """All of them: the difference of two means. Some of them: nearer to what the path says."""
    features = torch.randn(60, 4, generator=torch.Generator().manual_seed(3))
    spec = uk.TrainSpec(num_shards=1, num_slices=1, epochs=12, batch_size=8, learning_rate=0.05)
    session = uk.Session((features, (features[:, 0] > 0).long()), model="logistic", spec=spec)
    session.train()
    rows = session.plan.partition.shard_rows(0)
    module = session.plan.architecture.module()
    names = trainable_names(module)
    monkeypatch.setattr(settings, "MANY", 9)

    def forcings(method, caution, gone=9):
        [given] = rounds_of(session, {0: rows[:gone]})
        monkeypatch.setattr(any_module, "CAUTION", caution)
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


def corrections_of(session, found):
    """What was added to every corrected checkpoint and tail of a shard, as one vector each."""
    changes = {}
    for r, new in found.checkpoints.items():
        old = session.store.get(session.plan.chains[new.shard][r - 1].key)
        names = tuple(old.state)
        changes[r, None] = flatten(new.state, names) - flatten(old.state, names)
        for q, tail in new.tails.items():
            changes[r, q] = flatten(tail, names) - flatten(old.tails[q], names)
    return changes


STACKS = {
    "logistic": ("logistic", {}),
    "relu": (uk.MLP((9,), "relu"), {}),
    "deep tanh": (uk.MLP((6, 5), activation="tanh"), {}),
    "gelu, squared error": (uk.MLP((20,), activation="gelu"), {"loss": "squared-error"}),
    "dropout": (uk.MLP((9,), dropout=0.2), {}),
    "relu, dropout": (uk.MLP((8, 5), "relu", 0.2), {}),
}


def check_lanes(session, method, found):
    """What was found for uneven rounds in lanes is what is found for each by itself."""
    for lane, given in zip(found, uneven_rounds(session), strict=True):
        alone = method.modify(given, quiet)
        if not method.by_outputs:
            assert lane.visits == alone.visits
        assert lane.correction_norm == pytest.approx(alone.correction_norm, rel=1e-4)
        ours, theirs = corrections_of(session, lane), corrections_of(session, alone)
        assert set(ours) == set(theirs)
        for place, change in ours.items():
            # The same iterates but for float32 rounding, also of the weights they are added to.
            assert (change - theirs[place]).abs().max() < 1e-6 + 1e-3 * change.abs().max()
    assert min(lane.correction_norm for lane in found) > 1e-3


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("size", [5, 40], ids=["in products", "in inputs"])
@pytest.mark.parametrize("candidates", [0, 25], ids=["alike", "by curvature"])
def test_lanes_agree_with_automatic_differentiation(name, size, candidates):
    model, options = STACKS[name]
    session = uneven_session(model, **options)
    method = StagedInfluence(
        iterations=5, candidates=candidates, curvature_share=1, curvature_min=2, curvature_max=size
    )
    together = method(uneven_rounds(session), on_progress=quiet)
    check_lanes(session, method, together)


@pytest.mark.parametrize("name", ["logistic", "relu"])
def test_lanes_agree_however_much_is_kept_and_linearised_at_once(name, monkeypatch):
    model, options = STACKS[name]
    session = uneven_session(model, **options)
    method = StagedInfluence(iterations=5, candidates=0, curvature_min=5)
    found = []
    for kept, together in [(0, 0), (1 << 20, 3000), (1 << 20, 1 << 20)]:
        monkeypatch.setattr(stacked, "KEPT", kept)
        monkeypatch.setattr(stacked, "TOGETHER", together)
        found.append(method(uneven_rounds(session), on_progress=quiet))
        check_lanes(session, method, found[-1])
    for i, first in enumerate(found[0]):
        assert first.visits == found[1][i].visits == found[2][i].visits


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"scope": "tail"}, "scope='tail' is not known; use 'all' or 'head'"),
        ({"references": 4}, "references=4 with scope='all'"),
        ({"scope": "head", "by_outputs": True}, "by_outputs=True with scope='head'"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        StagedInfluence(**options)


@pytest.mark.parametrize("name", STACKS)
def test_by_way_of_the_outputs_the_same_is_found(name):
    model, options = STACKS[name]
    session = uneven_session(model, **options)
    method = StagedInfluence(iterations=100, tolerance=1e-6, by_outputs=True)
    check_lanes(session, method, method(uneven_rounds(session), on_progress=quiet))


@pytest.mark.parametrize("name", ["logistic", "relu", "deep tanh", "gelu, squared error"])
def test_solves_of_lanes_are_dense_solves(name):
    model, options = STACKS[name]
    session = uneven_session(model, **options)
    plan, spec = session.plan, session.spec
    stack, names = plan.architecture.stack, plan.architecture.trainable_names
    generator, damping = torch.Generator().manual_seed(1), torch.tensor([0.3, 2.0, 1.0])

    def double(state):
        return {key: tensor.double() for key, tensor in state.items()}

    states = [double(session.store.get(plan.final_key(shard)).state) for shard in range(3)]
    inputs = torch.randn(3, 11, 7, generator=generator, dtype=torch.float64)
    weights = torch.rand(3, 11, generator=generator, dtype=torch.float64)
    weights[1, 8:] = 0  # padding
    right = [
        double({key: torch.randn(part.shape, generator=generator) for key, part in state.items()})
        for state in states[:2]
    ]
    right.append({key: torch.zeros_like(part) for key, part in states[2].items()})
    expected = []
    for lane, state in enumerate(states):
        module = plan.architecture.module().double()
        curved = [
            gauss_newton(module, state, names, inputs[lane], spec.loss, weights[lane])(v)
            for v in torch.eye(len(flatten(state, names)), dtype=torch.float64)
        ]
        system = torch.stack(curved) + damping[lane] * torch.eye(len(curved))
        expected.append(torch.linalg.solve(system, flatten(right[lane], names)))
    for way, limit in [(way, limit) for way in (solve, solve_dual) for limit in (0, 1, 200)]:
        pieces = gather(stack, right, spec.loss)
        clear_padding(stack, pieces)
        found = way(
            Linearised(stack, spec.loss, gather(stack, states, spec.loss), inputs),
            weights,
            damping.double(),
            pieces,
            iterations=limit,
            tolerance=1e-12,
        )
        first, second, third = found.iterations.tolist()
        assert (first == second == limit or 1 < second < first < limit) and third == 0
        zero = {key: torch.zeros_like(part) for key, part in states[0].items()}
        off = []
        for lane in range(3):
            vector = flatten(moved(stack, zero, found.pieces, lane), names)
            off.append(float((vector - expected[lane]).abs().max()))
        if limit == 200:
            assert max(off) < 1e-9
        else:
            assert max(off[:2]) > 1e-3 and off[2] == 0


def test_solving_by_outputs_stops_where_they_are_right():
    """Inputs of widely different size: what the right side does to the outputs tells little."""
    generator = torch.Generator().manual_seed(2)
    stack, loss = Stack(("head",), (60, 3), (), ()), SquaredError()
    inputs = 4 * torch.randn(200, 60, generator=generator) / torch.arange(1, 61) ** 2
    right = {
        "head.weight": torch.randn(3, 60, generator=generator),
        "head.bias": torch.randn(3, generator=generator),
    }
    state = {name: torch.zeros_like(part) for name, part in right.items()}
    design = torch.cat([inputs, torch.ones(200, 1)], 1)
    flat = torch.cat([right["head.weight"], right["head.bias"].unsqueeze(1)], 1)
    for damping in (0.01, 0.1, 1.0):
        system = design.T @ design / 200 + damping * torch.eye(61)
        expected = design @ torch.linalg.solve(system.double(), flat.T.double()).float()
        for tolerance in (0.1, 0.01):
            found = solve_dual(
                Linearised(stack, loss, gather(stack, [state], loss), inputs.unsqueeze(0)),
                torch.full((1, 200), 1 / 200),
                torch.tensor([damping]),
                [piece.clone() for piece in gather(stack, [right], loss)],
                iterations=50,
                tolerance=tolerance,
            )
            weight, bias = (piece[0] for piece in found.pieces)
            off = (inputs @ weight.T + bias - expected).norm() / expected.norm()
            assert off < tolerance and int(found.iterations) < 20
        seen = design @ flat.T / damping
        assert seen.norm() > 4 * expected.norm()  # a part of which is no part of the outputs


class Images(nn.Module):
    """A convolution with batch statistics on the seven features laid out as an image."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(20, 6)

    def forward(self, x):
        return self.head(self.body(x.unsqueeze(1)))


class Scaled(Images):
    """Changed in place after its last layer, though not at every output."""

    def forward(self, x):
        return super().forward(x).clamp_(-1.0, 1.0)


class Tied(nn.Module):
    """Its last layer is used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(7, 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.head(self.head(self.first(x)).tanh())


class Shared(Tied):
    """Its last layer's weight is used before it."""

    def forward(self, x):
        return self.head(nn.functional.linear(self.first(x), self.head.weight).tanh())


class Reordered(Images):
    """The bias comes first."""

    def __init__(self):
        super().__init__()
        weight = self.head.weight
        del self.head.weight
        self.head.weight = weight


class Hooked(Images):
    """Another's hook changes what its last layer returns."""

    def __init__(self):
        super().__init__()
        self.head.register_forward_hook(lambda layer, given, outputs: 3 * outputs)


class Named(Images):
    """Calls its last layer with a keyword."""

    def forward(self, x):
        return self.head(input=self.body(x.unsqueeze(1)))


class Low(Images):
    """In a lower precision."""

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)


HEADS = {
    "convolution": (Images, {}),
    "perceptron": (uk.MLP((9,)), {}),
    "squared error, dropout": (uk.MLP((9,), dropout=0.2), {"loss": "squared-error"}),
}

BLIND = {
    "changed in place": Scaled,
    "used twice": Tied,
    "weight used before": Shared,
    "bias first": Reordered,
    "changed by a hook": Hooked,
    "called by keyword": Named,
    "no bias": lambda: nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 6, bias=False)),
    "more behind it": lambda: nn.Sequential(nn.Linear(7, 6), nn.Tanh()),
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("together", [3, 2, 1])
def test_heads_agree_with_automatic_differentiation(name, together, monkeypatch):
    model, options = HEADS[name]
    session = uneven_session(model, **options)
    method = StagedInfluence(scope="head", iterations=5, candidates=25, curvature_min=9)
    monkeypatch.setattr(last_layer, "last_layers_together", lambda stack, curvature: together)
    monkeypatch.setattr(last_layer, "CHUNK", 7)
    told = []
    found = method(uneven_rounds(session), on_progress=lambda *step: told.append(step))
    assert len(told) == {3: 4, 2: 4 + 3, 1: 4 + 2 + 3}[together] and told[0][1] == 0
    check_lanes(session, method, found)


@pytest.mark.parametrize("name", BLIND)
def test_a_last_layer_that_does_not_give_the_outputs_is_differentiated(name, monkeypatch):
    session = uneven_session(BLIND[name])
    assert session.plan.architecture.head is None
    monkeypatch.setattr(staged, "modify_last_layers", None)
    method = StagedInfluence(scope="head", curvature_min=9)
    rounds = uneven_rounds(session)
    found = method(rounds, on_progress=quiet)
    for lane, given in zip(found, uneven_rounds(session), strict=True):
        assert lane.correction_norm == method.modify(given, quiet).correction_norm > 1e-3
    work = [method.batches(each.state.plan, {each.state.shard: each.forget}) for each in rounds]
    forget = {each.state.shard: each.forget for each in rounds}
    together = method.batches(rounds[0].state.plan, forget)
    assert together.batches == sum(each.batches for each in work)


def test_other_last_layers_are_not_taken_for_plain_ones():
    inputs = torch.randn(3, 7)
    assert as_head(nn.Linear(7, 6), inputs) is None  # there is no body
    assert as_head(nn.Flatten(), inputs) is None
    assert as_head(Low(), inputs) is None
    assert as_head(nn.Sequential(nn.Unflatten(1, (7, 1)), nn.Linear(1, 6)), inputs) is None
    normed = nn.Sequential(nn.Tanh(), nn.utils.parametrizations.weight_norm(nn.Linear(7, 6)))
    assert as_head(normed, inputs) is None


def test_products_with_heads_are_planned_to_be_shared(monkeypatch):
    session, method = uneven_session(Images), StagedInfluence(scope="head")
    plan = session.plan
    forget = {each.state.shard: each.forget for each in uneven_rounds(session)}
    alone = [method.batches(plan, {shard: some}) for shard, some in forget.items()]
    together = method.batches(plan, forget)
    assert together.batches < sum(each.batches for each in alone)
    assert together.visits == pytest.approx(sum(each.visits for each in alone), abs=3)
    monkeypatch.setattr(last_layer, "GROUP_BYTES", 1)
    assert method.batches(plan, forget).batches == sum(each.batches for each in alone)


@cache
def long_session():
    """Two shards of one slice, trained long enough for a tail early on."""
    session = uk.Session(
        uk.load("digits", num_examples=200),
        model=uk.MLP((9,)),
        num_shards=2,
        num_slices=1,
        epochs=17,
        batch_size=16,
    )
    session.train()
    return session


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


def test_a_longer_replay_is_of_four_epochs_however_early_the_first_tail_is():
    plan = long_session().plan
    assert plan.spec.tail_epochs() == (11, 4, 1)
    assert Replay().longer(plan) == Replay(4) and Replay(4).longer(plan) is None
    assert AMENDS["rewind-and-replay"].epochs(plan) == 4


def test_curvature_is_sampled_in_proportion_to_the_pool_and_planned_so():
    session = uneven_session("logistic")
    method = StagedInfluence(iterations=3, tolerance=0.0, curvature_share=0.5, curvature_min=2)
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


def test_a_lane_does_not_depend_on_the_others():
    session = uneven_session(uk.MLP((9,)))
    method = StagedInfluence(curvature_min=10, curvature_max=10)
    together = method(uneven_rounds(session), on_progress=quiet)
    for found, given in zip(together, uneven_rounds(session), strict=True):
        [alone] = method([given], on_progress=quiet)
        ours, theirs = corrections_of(session, found), corrections_of(session, alone)
        for place, change in ours.items():
            assert (change - theirs[place]).abs().max() < 1e-6  # rounding of weights of size 1


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
        fit = method.fit_for(len(forget), size)
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
    assert alike.fit_for(3, 1000) == replace(alike, substeps=2, few=0.0)
    assert replace(alike, substeps=1).fit_for(3, 1000).substeps == 1
    for forgotten, size in [(4, 1000), (3, 1300)]:  # not so few, and not so small
        assert alike.fit_for(forgotten, size) is alike
    for other in (replace(alike, scope="head"), StagedInfluence()):
        assert other.fit_for(3, 1000) is other
    fixed = replace(alike, curvature_max=64)
    assert fixed.fit_for(1, 60_000) is fixed


def test_where_few_are_forgotten_less_is_done_to_heads_too():
    session = uneven_session(uk.MLP((9,)))
    method = StagedInfluence(
        scope="head", curvature_share=0.5, curvature_min=5, candidates=40, few=0.15
    )
    rounds, counts = uneven_rounds(session), set()
    found = method(rounds, on_progress=quiet)
    for given, got in zip(uneven_rounds(session), found, strict=True):
        forgotten = len(given.forget)
        fit = method.fit_for(forgotten, forgotten + len(given.retain))
        counts.add(fit.substeps)
        theirs = corrections_of(session, fit.modify(given, quiet))
        for place, change in corrections_of(session, got).items():
            assert (change - theirs[place]).abs().max() < 1e-6 + 1e-3 * change.abs().max()
    assert counts == {1, 2}


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


def test_replaying_shards_together_is_replaying_each():
    session = uneven_session(uk.MLP((9,)))
    rounds = uneven_rounds(session)
    modified = StagedInfluence()(rounds, on_progress=quiet)
    together = Replay()(rounds, modified, on_progress=quiet)
    for given, found, amended in zip(rounds, modified, together, strict=True):
        [alone] = Replay()([given], [found], on_progress=quiet)
        assert amended.checkpoint.shard == given.state.shard
        assert state_bytes(amended.checkpoint.state) == state_bytes(alone.checkpoint.state)
        assert set(amended.checkpoint.tails) == set(found.checkpoints[3].tails)
        assert amended.visits == alone.visits == len(given.retain)


def test_progress_is_told_between_stages_and_can_stop():
    session = uneven_session("logistic")
    told = []
    method = StagedInfluence()
    method(uneven_rounds(session), on_progress=lambda sentence, share: told.append(share))
    assert len(told) == 4 and told == sorted(told) and told[0] == 0 and told[-1] < 1

    def stop(sentence, share):
        if share > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        method(uneven_rounds(session), on_progress=stop)


EACH = [("staged-influence", amend) for amend in AMENDS] + [
    (method, "replay") for method in METHODS
]


@pytest.mark.parametrize(("method", "amend"), EACH)
def test_every_method_and_amend_keeps_the_contract(method, amend):
    model = {"newton": "logistic"}.get(method, uk.MLP((8,)))
    session = tiny_session(model)
    session.train()
    before = {key: state_bytes(session.store.get(key).state) for key in session.store.keys}
    session.revoke(count=6, seed=3)
    fork = session.fork()
    result = fork.unlearn(0, method=method, amend=amend)
    assert set(result.decision.approximate) == set(fork.debt)
    assert np.array_equal(np.concatenate(list(fork.debt.values())).size, 6)
    after = {key: state_bytes(session.store.get(key).state) for key in session.store.keys}
    assert before == after  # the fork's work left the session as it was
    assert all(
        torch.isfinite(t).all() for c in fork.ensemble.constituents for t in c.state.values()
    )
    repaid = fork.repay()
    assert repaid.debt_after == 0
    assert fork.compare().bit_identical


def test_running_statistics_are_those_of_the_retained_examples():
    module = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))
    inputs = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 4 + 7
    state = recompute_buffers(module, get_state(module), inputs, chunk=50)
    assert torch.allclose(state["0.running_mean"], inputs.mean(0))
    assert torch.allclose(state["0.running_var"], inputs.var(0))
    assert module[0].momentum == 0.1


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


@pytest.mark.parametrize(
    ("shard_size", "slices", "most", "substeps"),
    [(1_000, 5, 432, 2), (12_000, 1, 432, 4), (15_000, 2, 535, 2), (60_000, 1, 768, 4)],
)
def test_linear_models_of_large_shards_take_more_examples(shard_size, slices, most, substeps):
    count = 2 * shard_size
    arrays = np.zeros((count, 3), np.float32), np.arange(count) % 2
    data = uk.from_arrays(*arrays, test=arrays, probe=arrays)
    session = uk.Session(data, model="logistic", num_shards=2, num_slices=slices)
    method = default_method(session.plan)
    assert (method.curvature_max, method.substeps) == (most, substeps)
