"""The approximate branch against closed forms, dense solves, and doing nothing."""

import numpy as np
import pytest
import torch
from torch import nn

import unlearnkit as uk
from unlearnkit.approximate import AMENDS, METHODS, Members, ShardState, StagedInfluence
from unlearnkit.approximate.staged import implicit_euler, recompute_buffers
from unlearnkit.curvature import (
    effective_time,
    flatten,
    gauss_newton,
    mean_gradient,
    trainable_names,
)
from unlearnkit.losses import CrossEntropy, SquaredError
from unlearnkit.models import get_state
from unlearnkit.seeding import numpy_generator, state_bytes


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


def tiny_session(model="logistic", **options):
    return uk.Session(
        uk.load("digits", num_examples=200),
        model=model,
        num_shards=2,
        num_slices=3,
        epochs=12,
        batch_size=16,
        **options,
    )


def test_stages_are_chained_as_the_definition_says():
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
    gone = rows[slices == 2][:5]
    after = plan.without(plan.partition.ids[gone])
    kept = rows[after.retained[rows]]
    forget = Members(gone, plan.partition.slice_[gone])
    retain = Members(kept, plan.partition.slice_[kept])
    checkpoints = {s.index: session.store.get(s.key) for s in plan.chains[0]}
    exhaustive = StagedInfluence(
        iterations=60, tolerance=1e-9, curvature_min=10**6, curvature_max=10**6, centre_max=10**6
    )
    found = exhaustive(
        ShardState(after, 0, checkpoints),
        forget,
        retain,
        generator=numpy_generator(0),
        on_progress=lambda sentence: None,
    )
    # The same by hand: stage 2, then the two stretches of stage 3 up to its tails.
    module = session.plan.architecture.module()
    names, epochs = trainable_names(module), spec.stage_epochs()
    last = checkpoints[3]
    stretches = [
        (2, checkpoints[2].state, epochs[1]),
        (3, last.tails[4], epochs[2] - 4),
        (3, last.tails[1], 3),
    ]
    correction = torch.zeros(15)
    corrections = []
    for stage, at, count in stretches:
        f, r = forget.until(stage), retain.until(stage)
        steps = count * -(-int((slices <= stage).sum()) // spec.batch_size)
        h = effective_time(spec.learning_rate, spec.momentum, steps)
        data = [plan.examples[plan.partition.ids[m.rows]] for m in (f, r)]
        g_f, g_r = (mean_gradient(module, at, names, *d, spec.loss) for d in data)
        c = len(f) / (len(f) + len(r)) * (g_f - g_r)
        product = gauss_newton(module, at, names, data[1][0], spec.loss)
        dense = torch.stack([product(e) for e in torch.eye(15)])
        system = dense.double() + (1 / h + spec.weight_decay) * torch.eye(15).double()
        correction = torch.linalg.solve(system, (c + correction / h).double()).float()
        corrections.append((at, correction))
    states = [found.checkpoints[2].state, found.checkpoints[3].tails[4]]
    states.append(found.checkpoints[3].tails[1])
    for state, (at, expected) in zip(states, corrections, strict=True):
        moved = flatten(state, names) - flatten(at, names)
        # float32 weights of size about 1 hold the small correction to about 1e-7 absolutely
        assert (moved - expected).abs().max() < 1e-6 + 1e-3 * expected.abs().max()
    assert set(found.checkpoints) == {2, 3}
    assert expected.abs().max() > 1e-4


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("amend", AMENDS)
def test_every_method_and_amend_keeps_the_contract(method, amend):
    session = tiny_session("mlp", hidden=(8,))
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
