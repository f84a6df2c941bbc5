"""Methods of the literature: what tells each from the others, and what all have in common."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

import unlearnkit as uk
from cases import CASES
from rounds import quiet, rounds_of, states_of, tiny_session, uneven_rounds, uneven_session
from unlearnkit.approximate import (
    AMENDS,
    METHODS,
    Dampening,
    Distillation,
    EachState,
    FineTune,
    FineTuning,
    FixedDamping,
    GradientAscent,
    KroneckerInfluence,
    NegGradPlus,
    Relabelling,
    Scrub,
)
from unlearnkit.approximate.baselines.deltagrad import QuasiHessian, follow
from unlearnkit.approximate.baselines.kronecker_factors import factors
from unlearnkit.approximate.baselines.newton import Newton, Objective, newton
from unlearnkit.approximate.baselines.relabelling import wrong_labels
from unlearnkit.approximate.curvature import effective_time, mean_gradient
from unlearnkit.approximate.optimise import divergence_slope
from unlearnkit.approximate.stored_states import pool_of, stored_states_of
from unlearnkit.models.losses import CrossEntropy, SquaredError
from unlearnkit.models.vector import flatten, trainable_names, unflatten
from unlearnkit.records.audit import audit
from unlearnkit.seeding import state_bytes
from unlearnkit.training.kernels import compute_threads
from unlearnkit.training.schedule import make_job


@pytest.fixture(autouse=True)
def one_thread():
    """As in a session; two threads would wait for each other more than they compute."""
    with compute_threads(1):
        yield


@pytest.mark.parametrize("model", ["logistic", "mlp-dropout", "cnn-batchnorm"])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_leaves_a_store_that_passes_the_audit(
    name: str, model: str, tmp_path: Path
) -> None:
    session = CASES[model].session(store=tmp_path)
    session.train()
    before = all_states(session)
    ids = session.plan.partition.ids[::9]
    session.revoke(ids)
    reason = METHODS[name].unsuitable(session.plan)
    result = session.unlearn(0, method=name, amend="none")
    if reason:
        assert not result.decision.approximate
        assert all(reason in route.reason for route in result.decision.routes)
    else:
        assert result.debt_after == len(ids)
        assert result.approximate_visits > 0
    for state in all_states(session).values():
        assert all(torch.isfinite(tensor).all() for tensor in state.values())
    for shard in result.decision.approximate:
        if name == "ssd":  # dampens nothing here: see its module
            break
        assert state_bytes(all_states(session)[shard]) != state_bytes(before[shard])
    session.store.close()
    assert list(audit(tmp_path, dataset=CASES[model].dataset()))


def all_states(session):
    """Final states by shard."""
    return {s: c.state for s, c in enumerate(session.ensemble.constituents)}


@pytest.mark.parametrize("name", METHODS)
def test_later_rounds_go_on_from_what_a_method_left(name: str, tmp_path: Path) -> None:
    session = CASES["logistic"].session(store=tmp_path)
    session.train()
    ids = session.plan.partition.ids
    for gone, method in ((ids[:4], name), (ids[8:12], name), (ids[20:22], None)):
        session.revoke(gone)
        session.unlearn(0, method=method)
    assert sum(map(len, session.debt.values())) == 10
    session.repay()
    assert session.compare().bit_identical and not session.debt
    session.store.close()
    said = list(audit(tmp_path, dataset=CASES["logistic"].dataset()))
    assert any("have the bits that training from scratch" in sentence for sentence in said)


@pytest.mark.parametrize("model", ["logistic", uk.MLP((9,))], ids=["logistic", "mlp"])
@pytest.mark.parametrize("name", METHODS)
def test_a_shard_does_not_depend_on_those_handled_with_it(name, model):
    session = uneven_session(model)
    method = METHODS[name]
    if method.unsuitable(session.plan):
        pytest.skip(method.unsuitable(session.plan))
    together = method(uneven_rounds(session), on_progress=quiet)
    for found, given in zip(together, uneven_rounds(session), strict=True):
        [alone] = method([given], on_progress=quiet)
        ours, theirs = states_of(found), states_of(alone)
        assert set(ours) == set(theirs)
        for place, state in ours.items():
            for part, tensor in state.items():  # rounding of weights of size 1
                assert (tensor - theirs[place][part]).abs().max() < 1e-5


@pytest.mark.parametrize("name", METHODS)
def test_planned_work_covers_what_is_done(name):
    session = uneven_session("logistic" if name == "newton" else uk.MLP((9,)))
    method, rounds = METHODS[name], uneven_rounds(session)
    for given, found in zip(rounds, method(rounds, on_progress=quiet), strict=True):
        plan, shard = given.state.plan, given.state.shard
        assert 0 < found.visits <= method.visits(plan, shard, given.forget)
        planned = method.batches(plan, {shard: given.forget})
        assert planned.shards == 1 and planned.batches > 0 and planned.visits > 0


@pytest.mark.parametrize("name", METHODS)
def test_a_stage_that_loses_all_its_examples_is_handled(name):
    session = uneven_session("logistic")
    [_, given, _] = uneven_rounds(session, whole=1)
    [found] = METHODS[name]([given], on_progress=quiet)
    assert set(found.checkpoints) == {1, 2, 3}
    for state in states_of(found).values():
        assert all(torch.isfinite(tensor).all() for tensor in state.values())


@pytest.mark.parametrize("loss", [CrossEntropy(), SquaredError()], ids=lambda loss: loss.name)
def test_the_certificate_is_never_violated(loss):
    """Against minimisers solved for closely, from anywhere, whenever the solver stops."""
    tightness = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n, d, classes = (int(v) for v in rng.integers((5, 1, 2), (60, 12, 6)))
        inputs = torch.from_numpy(rng.normal(size=(n, d)) * 10 ** rng.uniform(-1, 1)).float()
        targets = torch.from_numpy(rng.integers(0, classes, n))
        decay = float(10 ** rng.uniform(-4, 0))
        objective = Objective(inputs, targets, loss, decay)
        zero = torch.zeros(classes, d + 1, dtype=torch.float64)
        best = newton(objective, zero, 1e-10, 60, 200)
        slack = objective.distance(best)  # the reference is itself no further off than this
        assert slack <= 1e-6
        start = torch.from_numpy(rng.normal(size=zero.shape))
        for steps in (0, 1, 2, 5):
            w = newton(objective, start, 0.0, steps, int(rng.integers(1, 20))).float().double()
            distance = float((w - best).norm())
            assert distance <= objective.distance(w) + slack
            tightness.append(objective.distance(w) / distance)
    assert min(tightness) < 1.5  # it is not vacuous either


def test_newton_reaches_the_minimiser_and_says_so():
    session = uneven_session("logistic")
    [_, given, _] = uneven_rounds(session)
    [found] = Newton()([given], on_progress=quiet)
    assert found.bound is not None and found.bound < 2e-3
    spec, retain = session.spec, given.retain
    for r, checkpoint in found.checkpoints.items():
        inputs, labels = given.state.data(retain.until(r))
        # scikit-learn's penalty is on the sum, and not on the bias: the bias is an input here.
        ones = torch.ones(len(inputs), 1)
        fitted = LogisticRegression(
            C=1 / (spec.weight_decay * len(inputs)), fit_intercept=False, tol=1e-12, max_iter=10**5
        ).fit(torch.cat([inputs, ones], 1).double().numpy(), labels.numpy())
        rows = torch.from_numpy(fitted.classes_)
        state = checkpoint.state
        w = torch.cat([state["1.weight"], state["1.bias"][:, None]], 1)
        assert (w[rows] - torch.from_numpy(fitted.coef_)).norm() < 5e-3


def test_the_certificate_is_kept_where_the_amend_leaves_it_true():
    session = tiny_session()
    session.train()
    session.revoke(count=6)
    replayed, kept = session.fork(), session.fork()
    assert replayed.unlearn(0, method="newton").bounds == {}
    result = kept.unlearn(0, method="newton", amend="none")
    assert set(result.bounds) == set(result.decision.approximate)
    assert "proven to lie within" in repr(result)


def test_newton_is_refused_where_nothing_is_proven():
    data = uk.load("digits", num_examples=100)
    for spec, model, word in (
        (uk.TrainSpec(weight_decay=0.0), "logistic", "penalty"),
        (uk.TrainSpec(optimizer="adamw"), "logistic", "penalty"),
        (uk.TrainSpec(), "mlp", "convex"),
    ):
        assert word in Newton().unsuitable(uk.Session(data, model=model, spec=spec).plan)


def one_stored_state(session, shard=0):
    """A round, and its final state as a stored state."""
    given = uneven_rounds(session)[shard]
    return given, stored_states_of(given)[-1]


def dense_gauss_newton(module, state, names, inputs):
    """G by automatic differentiation of everything, parameters in the order of the names."""

    def outputs(vector):
        return torch.func.functional_call(module, unflatten(vector, state, names), inputs)

    w = flatten(state, names)
    jacobian, p = torch.func.jacrev(outputs)(w), outputs(w).softmax(1).detach()
    hessian = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return torch.einsum("ncp,ncd,ndq->pq", jacobian, hessian, jacobian) / len(inputs)


def test_fixed_damping_is_the_dense_solve():
    session = uneven_session(uk.MLP((5,), activation="tanh"))
    given, stored = one_stored_state(session)
    rule = FixedDamping(damping=0.3, examples=10**6, iterations=400, tolerance=1e-9)
    found, _ = rule(given, stored)
    module, loss = session.plan.architecture.module(stored.state), CrossEntropy()
    names = trainable_names(module)
    inputs, _ = given.state.data(stored.retain)
    w = flatten(stored.state, names)
    dense = dense_gauss_newton(module, stored.state, names, inputs)
    system = dense + (0.3 + session.spec.weight_decay) * torch.eye(len(w))
    # The sum over the forget set, over all n, is what Koh and Liang write.
    total = mean_gradient(module, stored.state, names, *given.state.data(stored.forget), loss)
    total *= len(stored.forget)
    n = len(stored.forget) + len(stored.retain)
    expected = torch.linalg.solve(system, total) / n
    step = flatten(found, names) - w
    assert (step - expected).norm() < 1e-4 * expected.norm() + 1e-6


def forget_loss(given, stored, state):
    module = given.state.plan.architecture.module(state)
    inputs, labels = given.state.data(stored.forget)
    return float(CrossEntropy().value(module(inputs).detach(), labels).mean())


def test_ascent_raises_the_loss_of_the_forget_set_and_no_step_does_nothing():
    session = uneven_session(uk.MLP((9,)))
    given, stored = one_stored_state(session)
    losses = [
        forget_loss(given, stored, EachState(GradientAscent(steps))([given], on_progress=quiet)[0]
                    .checkpoints[3].state)
        for steps in (0, 2, 6)
    ]  # fmt: skip
    assert losses[0] == forget_loss(given, stored, stored.state)
    assert losses[0] < losses[1] < losses[2]


def test_a_step_of_ascent_is_the_gradient():
    """One step from no momentum: lr times the gradient of the first batch, less the decay."""
    session = uneven_session(uk.MLP((9,)))
    given, stored = one_stored_state(session)
    assert len(stored.forget) <= session.spec.batch_size
    found, visits = GradientAscent(1, rate=0.5)(given, stored)
    module = session.plan.architecture.module()
    names, spec = trainable_names(module), session.spec
    g = mean_gradient(module, stored.state, names, *given.state.data(stored.forget), spec.loss)
    w = flatten(stored.state, names)
    expected = w + 0.5 * spec.learning_rate * (g - spec.weight_decay * w)
    assert visits == len(stored.forget)
    assert (flatten(found, names) - expected).abs().max() < 1e-6


@pytest.mark.parametrize("model", ["logistic", uk.MLP((9,))], ids=["logistic", "mlp"])
def test_neggrad_plus_without_weight_on_the_forget_set_is_fine_tuning(model):
    session = uneven_session(model)
    tuned = FineTuning(passes=1, rate=0.5)(uneven_rounds(session), on_progress=quiet)
    plain = EachState(NegGradPlus(forget_weight=0.0, passes=1, rate=0.5))
    weighted = EachState(NegGradPlus(forget_weight=0.3, passes=1, rate=0.5))
    walked = plain(uneven_rounds(session), on_progress=quiet)
    pushed = weighted(uneven_rounds(session), on_progress=quiet)
    for a, b, c in zip(tuned, walked, pushed, strict=True):
        theirs, others = states_of(b), states_of(c)
        assert set(states_of(a)) == set(theirs)
        for place, state in states_of(a).items():
            for part, tensor in state.items():  # two kernels differ by rounding
                assert (tensor - theirs[place][part]).abs().max() < 1e-5
                assert (tensor - others[place][part]).abs().max() > 1e-4
        assert a.correction_norm > 1e-3


def test_fine_tuning_is_the_end_of_the_stage_once_more():
    """By hand, in double precision, from the batches that the schedule gives."""
    session = uneven_session("logistic")
    [given, *_] = uneven_rounds(session)
    [found] = FineTuning(passes=2)([given], on_progress=quiet)
    plan, spec = given.state.plan, session.spec
    stage = plan.chains[0][1]
    state = {k: v.double() for k, v in given.state.checkpoints[2].state.items()}
    w, v = torch.cat([state["1.weight"], state["1.bias"][:, None]], 1), 0.0
    for rows in make_job(plan, [stage], {}, stage.epochs - 2).rows:
        inputs, labels = plan.examples[plan.partition.ids[rows[rows >= 0]]]
        x = torch.cat([inputs, torch.ones(len(inputs), 1)], 1).double()
        slope = (x @ w.T).softmax(1) - torch.nn.functional.one_hot(labels, w.shape[0])
        v = spec.momentum * v + slope.T @ x / len(x) + spec.weight_decay * w
        w = w - spec.learning_rate * v
    ours = found.checkpoints[2].state
    assert (torch.cat([ours["1.weight"], ours["1.bias"][:, None]], 1) - w).abs().max() < 1e-5


def test_scrub_without_climbs_and_obedience_is_fine_tuning():
    session = uneven_session(uk.MLP((9,)))
    rule = EachState(Scrub(alpha=0.0, gamma=1.0, max_epochs=0, epochs=1, rate=0.5))
    walked = rule(uneven_rounds(session), on_progress=quiet)
    tuned = FineTuning(passes=1, rate=0.5)(uneven_rounds(session), on_progress=quiet)
    for a, b in zip(tuned, walked, strict=True):
        for place, state in states_of(a).items():
            for part, tensor in state.items():  # two kernels differ by rounding
                assert (tensor - states_of(b)[place][part]).abs().max() < 1e-5


def divergence(given, members, teacher, student):
    """Mean KL(teacher || student) on some members."""
    inputs, _ = given.state.data(members)
    module = given.state.plan.architecture.module
    p, q = (module(state)(inputs).detach().log_softmax(1) for state in (teacher, student))
    return float((p.exp() * (p - q)).sum(1).mean())


def test_scrub_leaves_its_teacher_on_the_forget_set():
    session = uneven_session(uk.MLP((9,)))
    given, stored = one_stored_state(session, 2)
    still, _ = Scrub(max_epochs=1, epochs=1, alpha=1.0, gamma=0.0)(given, stored)
    w = session.plan.architecture.module()
    names = trainable_names(w)
    # Student and teacher are one, so nothing moves but by the decay of the weights.
    moved = (flatten(still, names) - flatten(stored.state, names)).norm()
    assert moved < 0.01 * flatten(stored.state, names).norm()
    climbing, _ = Scrub(max_epochs=3, epochs=3)(given, stored)
    obeying, _ = Scrub(max_epochs=0, epochs=3)(given, stored)
    far, near = (divergence(given, stored.forget, stored.state, s) for s in (climbing, obeying))
    assert far > near
    tuned, _ = Scrub(max_epochs=0, epochs=3, alpha=0.0)(given, stored)
    kept = [divergence(given, stored.retain, stored.state, s) for s in (obeying, tuned)]
    assert kept[0] < kept[1]  # the teacher holds it back


@pytest.mark.parametrize("loss", [CrossEntropy(), SquaredError()], ids=lambda loss: loss.name)
def test_the_slope_of_the_divergence_is_its_gradient(loss):
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 7, 4, generator=generator, dtype=torch.float64)
    student.requires_grad_(True)
    if isinstance(loss, CrossEntropy):
        p, q = teacher.log_softmax(1), student.log_softmax(1)
        value = (p.exp() * (p - q)).sum()
    else:
        value = (student - teacher).square().sum() / 2
    [expected] = torch.autograd.grad(value, student)
    assert torch.allclose(divergence_slope(loss, student.detach(), teacher), expected)


def test_relabelling_trains_on_wrong_labels_and_leaves_the_data_alone():
    session = uneven_session("logistic")
    given, stored = one_stored_state(session, 2)
    before = given.state.data(stored.forget)[1].clone()
    found, _ = Relabelling(passes=3, rate=1.0)(given, stored)
    assert torch.equal(given.state.data(stored.forget)[1], before)
    tuned, _ = NegGradPlus(forget_weight=0.0, passes=3, rate=1.0)(given, stored)
    assert forget_loss(given, stored, found) > forget_loss(given, stored, tuned)
    labels = torch.arange(4).repeat(1000)
    wrong = wrong_labels(labels, 4, np.random.default_rng(0))
    assert (wrong != labels).all()
    counts = torch.bincount(4 * labels + wrong, minlength=16).view(4, 4)
    assert (counts[~torch.eye(4, dtype=torch.bool)] - 333).abs().max() < 80  # five deviations


def test_dampening_by_hand():
    """Logistic regression: the gradient of one example is (p - e_t) x^T, by hand in loops."""
    session = uneven_session("logistic")
    given, stored = one_stored_state(session, 2)
    rule = Dampening(alpha=1.2, lambda_=0.7, examples=10**6)
    found, _ = rule(given, stored)
    w, b = (stored.state[f"1.{part}"].double() for part in ("weight", "bias"))
    squares = []
    for members in (stored.forget, pool_of(stored)):
        inputs, labels = given.state.data(members)
        total = torch.zeros(w.shape[0], w.shape[1] + 1, dtype=torch.float64)
        for x, y in zip(inputs.double(), labels, strict=True):
            p = (w @ x + b).softmax(0)
            p[y] -= 1
            total += torch.outer(p, torch.cat([x, torch.ones(1)])) ** 2 / len(inputs)
        squares.append(total)
    expected = torch.cat([w, b[:, None]], 1)
    dampened = 0
    for i in range(expected.shape[0]):
        for j in range(expected.shape[1]):
            forget, training = float(squares[0][i, j]), float(squares[1][i, j])
            if forget > 1.2 * training:
                expected[i, j] *= min(0.7 * training / forget, 1)
                dampened += 1
    assert 0 < dampened < expected.numel()
    ours = torch.cat([found["1.weight"], found["1.bias"][:, None]], 1)
    assert torch.allclose(ours.double(), expected, rtol=1e-4, atol=1e-6)


def test_on_one_example_the_kronecker_form_of_linear_layers_is_exact():
    """Block by block: with one example E[a a^T] (x) E[s s^T] is E[a a^T (x) s s^T]."""
    module = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 4, generator=generator)
    state = {n: torch.randn(t.shape, generator=generator) for n, t in module.state_dict().items()}
    module.load_state_dict(state)
    found = factors(module, x, CrossEntropy())
    for name in ("0", "2"):
        a, s = found[f"{name}.A"], found[f"{name}.S"]
        names = (f"{name}.weight", f"{name}.bias")
        dense = dense_gauss_newton(module, state, names, x)
        inner = a.shape[0] - 1
        # Ours orders parameters as rows of [weight | bias], flatten puts the biases last.
        order = [i * inner + j if j < inner else 3 * inner + i
                 for i in range(3) for j in range(inner + 1)]  # fmt: skip
        assert torch.allclose(torch.kron(s, a), dense[order][:, order], atol=1e-6)


def test_with_a_convolution_over_the_whole_image_too():
    """One place only: a convolution is then a linear layer."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(20, 2, 3, 3, generator=generator)
    convolution = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten())
    linear = nn.Sequential(nn.Flatten(), nn.Linear(18, 4))
    linear[1].weight.data = convolution[0].weight.data.flatten(1)
    linear[1].bias.data = convolution[0].bias.data
    ours = factors(convolution, images, CrossEntropy())
    theirs = factors(linear, images, CrossEntropy())
    for part in ("A", "S"):
        assert torch.allclose(ours[f"0.{part}"], theirs[f"1.{part}"], atol=1e-5)


def test_the_factors_of_a_convolution_are_sums_and_means_over_places():
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(5, 1, 4, 4, generator=generator)
    module = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, stride=2), nn.Flatten())
    a, s = factors(module, images, SquaredError()).values()
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    expected = torch.zeros(10, 10)
    for image in padded:
        for i in (0, 2):
            for j in (0, 2):
                patch = torch.cat([image[0, i : i + 3, j : j + 3].flatten(), torch.ones(1)])
                expected += torch.outer(patch, patch) / 5
    assert torch.allclose(a, expected, atol=1e-5)
    # The Hessian is the identity and every output stands at one place: one of four for each.
    assert torch.allclose(s, torch.eye(2), atol=1e-6)


def test_the_kronecker_step_is_the_dense_solve_of_its_form():
    session = uneven_session("logistic")
    given, stored = one_stored_state(session)
    found, _ = KroneckerInfluence(damping=0.2, examples=10**6)(given, stored)
    module = session.plan.architecture.module(stored.state)
    inputs, _ = given.state.data(stored.retain)
    a, s = factors(module, inputs, CrossEntropy()).values()
    block = torch.kron(s, a)
    damping = 0.2 * block.diagonal().mean() + session.spec.weight_decay
    names = trainable_names(module)
    g = mean_gradient(module, stored.state, names, *given.state.data(stored.forget), CrossEntropy())
    rows = torch.cat([g[: s.shape[0] * 7].view(-1, 7), g[s.shape[0] * 7 :][:, None]], 1)
    n = len(stored.forget) + len(stored.retain)
    right = rows.flatten() * len(stored.forget) / n
    expected = torch.linalg.solve(block + damping * torch.eye(len(block)), right).view_as(rows)
    step = torch.cat(
        [found["1.weight"] - stored.state["1.weight"],
         (found["1.bias"] - stored.state["1.bias"])[:, None]], 1)  # fmt: skip
    assert (step - expected).norm() < 1e-3 * expected.norm() + 1e-6


def test_the_model_may_be_a_layer_by_itself():
    def layer():
        linear = nn.Linear(5, 3)
        nn.init.zeros_(linear.weight)  # as those of logistic regression are
        nn.init.zeros_(linear.bias)
        return linear

    states = []
    for model in (layer, "logistic"):
        session = uk.Session(CASES["adam"].dataset(), model=model, epochs=4, learning_rate=0.05)
        session.train()
        session.revoke(session.plan.partition.ids[::6])
        session.unlearn(0, method="kfac", amend="none")
        states.append([[*state.values()] for state in all_states(session).values()])
    for ours, theirs in zip(*states, strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert torch.allclose(a, b, atol=1e-5)


def test_single_gradients_add_up_along_the_stages():
    session = uneven_session(uk.MLP((9,)))
    given = uneven_rounds(session)[2]  # forgets from the second slice on
    [found] = METHODS["single-gradient"]([given], on_progress=quiet)
    plan, spec = session.plan, session.spec
    module, epochs = plan.architecture.module(), spec.stage_epochs()
    names, c = trainable_names(module), given.state.checkpoints
    expected = 0.0
    segments = [
        (2, c[1].state, epochs[1]),
        (3, c[2].state, epochs[2] - 4),
        (3, c[3].tails[4], 3),
        (3, c[3].tails[1], 1),
    ]
    sums = []
    for stage, start, count in segments:
        steps = count * -(-len(plan.pool(2, stage)) // spec.batch_size)
        h = effective_time(spec.learning_rate, spec.momentum, steps)
        data = given.state.data(given.forget.until(stage))
        g = mean_gradient(module, start, names, *data, spec.loss)
        pool = len(plan.pool(2, stage))
        expected = expected + h * len(data[0]) / pool * g
        sums.append(expected)
    states = [found.checkpoints[2].state, found.checkpoints[3].tails[4],
              found.checkpoints[3].tails[1], found.checkpoints[3].state]  # fmt: skip
    stored = [c[2].state, c[3].tails[4], c[3].tails[1], c[3].state]
    for state, before, total in zip(states, stored, sums, strict=True):
        change = flatten(state, names) - flatten(before, names)
        assert (change - total).abs().max() < 1e-5 * (1 + total.abs().max())


def test_one_step_of_plain_descent_is_given_back_in_full():
    """Where training was one full-batch step, the pull of the forget set is known exactly."""
    features = torch.randn(40, 4, generator=torch.Generator().manual_seed(3))
    labels = (features[:, 0] > 0).long()
    spec = uk.TrainSpec(
        num_shards=1, num_slices=1, epochs=1, batch_size=64, momentum=0.0, weight_decay=0.0
    )
    session = uk.Session((features, labels), model="logistic", spec=spec)
    session.train()
    rows = session.plan.partition.shard_rows(0)
    [given] = rounds_of(session, {0: rows[:7]})
    [found] = METHODS["single-gradient"]([given], on_progress=quiet)
    inputs, labels = session.plan.examples[session.plan.partition.ids[rows[7:]]]
    slope = torch.full((len(inputs), 2), 0.5) - torch.nn.functional.one_hot(labels, 2)
    # The batch then was a mean over all n: what is left is the sum of the others over n.
    expected = -spec.learning_rate * slope.T @ inputs / len(rows)
    assert torch.allclose(found.checkpoints[1].state["1.weight"], expected, atol=1e-7)


def quadratic(isotropic, steps, momentum=0.0):
    """Gradient descent on ridge regression with and without the first 6 examples, step by step."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(60, 5)))
    if isotropic:  # the retained examples have the identity as their second moment
        x[6:] = torch.linalg.qr(x[6:])[0] * 54**0.5
    y = torch.from_numpy(rng.normal(size=60))
    spec = uk.TrainSpec(learning_rate=0.05, momentum=momentum, weight_decay=0.01)

    def gradient(w, rows):
        return x[rows].T @ (x[rows] @ w - y[rows]) / len(x[rows])

    def descend(rows):
        w, v, path = torch.zeros(5).double(), 0.0, []
        for _ in range(steps):
            path.append(w)
            v = momentum * v + gradient(w, rows) + spec.weight_decay * w
            w = w - spec.learning_rate * v
        return w, path

    every, forget, kept = slice(0, 60), slice(0, 6), slice(6, 60)
    (w, path), (without, _) = descend(every), descend(kept)

    def explicit(step, difference):
        change = gradient(path[step] + difference, kept) - gradient(path[step], kept)
        return 0.1 * (gradient(path[step], forget) - gradient(path[step], kept)), change

    return spec, explicit, w, without


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_deltagrad_with_explicit_steps_alone_is_retraining(momentum):
    spec, explicit, w, without = quadratic(False, 40, momentum)
    zero = torch.zeros(5).double()
    found, count = follow(explicit, zero, 40, spec, lambda step: True, 2)
    assert count == 40
    assert torch.allclose(w + found, without, atol=1e-12)
    assert (w - without).norm() > 0.05


def test_deltagrad_is_retraining_where_its_hessian_is_exact():
    """On a quadratic with curvature alike in all directions one pair tells the Hessian.

    The forcing is held between explicit steps, so it is made constant here: then nothing else is
    left to be off, and a Hessian that is not used shows.
    """
    for isotropic in (True, False):
        spec, explicit, *_ = quadratic(isotropic, 40)
        forcing = explicit(20, torch.zeros(5).double())[0]

        def held(step, difference, forcing=forcing, explicit=explicit):
            return forcing, explicit(step, difference)[1]

        zero = torch.zeros(5).double()
        truth, _ = follow(held, zero, 40, spec, lambda step: True, 2)
        found, count = follow(held, zero, 40, spec, lambda step: step < 2, 2)
        flat, _ = follow(lambda s, d, f=forcing: (f, 0 * d), zero, 40, spec, lambda step: True, 2)
        assert count == 2
        error, without = (found - truth).norm() / truth.norm(), (flat - truth).norm() / truth.norm()
        assert without > 0.3
        assert error < (1e-10 if isotropic else 0.1)


def test_the_quasi_hessian_meets_its_last_pair_and_leaves_out_bad_ones():
    rng = np.random.default_rng(1)
    root = torch.from_numpy(rng.normal(size=(6, 6)))
    hessian, known = root @ root.T, QuasiHessian(3)
    assert (known.times(torch.ones(6)) == 0).all()
    for _ in range(5):
        s = torch.from_numpy(rng.normal(size=6))
        known.see(s, hessian @ s)
        assert torch.allclose(known.times(s), hessian @ s)
    before = known.times(s)
    known.see(s, -s)
    assert torch.equal(known.times(s), before) and len(known.pairs) == 3
    dense = torch.stack([known.times(e) for e in torch.eye(6).double()])
    assert torch.allclose(dense, dense.T) and torch.linalg.eigvalsh(dense).min() > 0


def test_no_pair_takes_the_quasi_hessian_beyond_its_limit():
    rng = np.random.default_rng(2)
    known, seen = QuasiHessian(2, limit=5.0), 0
    for _ in range(200):
        s, y = torch.from_numpy(rng.normal(size=(2, 4)))
        known.see(s, y + s)
        seen = max(seen, len(known.pairs))
        dense = torch.stack([known.times(e) for e in torch.eye(4).double()])
        assert torch.linalg.eigvalsh(dense).max() <= 15 + 1e-9
    assert seen == 2


@pytest.mark.parametrize("name", ["single-gradient", "deltagrad"])
def test_what_follows_sgd_is_refused_for_other_optimizers(name):
    plan = CASES["adam"].session().plan
    assert "trained with adam" in METHODS[name].unsuitable(plan)


@pytest.mark.parametrize("model", ["logistic", "mlp-dropout", "cnn-batchnorm"])
@pytest.mark.parametrize("amend", AMENDS)
def test_an_amend_leaves_a_store_that_passes_the_audit(
    amend: str, model: str, tmp_path: Path
) -> None:
    session = CASES[model].session(store=tmp_path)
    session.train()
    ids = session.plan.partition.ids[::9]
    session.revoke(ids)
    result = session.unlearn(0, amend=amend)
    assert result.debt_after == len(ids)
    for state in all_states(session).values():
        assert all(torch.isfinite(tensor).all() for tensor in state.values())
    session.store.close()
    assert list(audit(tmp_path, dataset=CASES[model].dataset()))


@pytest.mark.parametrize("name", AMENDS)
def test_amending_shards_together_is_amending_each(name):
    session = uneven_session(uk.MLP((9,)))
    method, rounds = METHODS["staged-influence"], uneven_rounds(session)
    found = method(rounds, on_progress=quiet)
    plan, amend = rounds[0].state.plan, AMENDS[name]
    for i, together in enumerate(amend(rounds, found, on_progress=quiet)):
        [alone] = amend([rounds[i]], [found[i]], on_progress=quiet)
        stage = rounds[i].state.chain[-1]
        assert together.epochs == amend.epochs(plan)
        assert together.visits == amend.epochs(plan) * stage.visits // stage.epochs
        assert set(together.checkpoint.tails) == set(plan.spec.tail_epochs())
        for part, tensor in together.checkpoint.state.items():
            assert (tensor - alone.checkpoint.state[part]).abs().max() < 1e-5


@pytest.mark.parametrize("slices", [1, 3])
def test_rewinding_behind_the_first_affected_stage_is_exact_retraining(slices):
    data = uk.load("digits", num_examples=200)
    spec = uk.TrainSpec(num_shards=2, num_slices=slices, epochs=8, batch_size=16)
    session = uk.Session(data, model=uk.MLP((8,)), spec=spec)
    session.train()
    partition = session.plan.partition
    ids = partition.ids[partition.slice_ == slices][:6]
    session.revoke(ids)
    exact, rewound = session.fork(), session.fork()
    exact.unlearn(1)
    rewound.unlearn(0, amend="rewind-and-replay")
    shards = [exact.plan.partition.shard[partition.rows(ids)].min()]
    for shard in shards:
        same = state_bytes(all_states(exact)[shard]) == state_bytes(all_states(rewound)[shard])
        assert same == (slices > 1)  # with one slice it starts from a tail that was corrected
    assert rewound.debt


def test_distillation_brings_the_outputs_closer_to_the_original():
    session = uneven_session(uk.MLP((9,)))
    rounds = uneven_rounds(session)
    found = EachState(GradientAscent(steps=6, rate=1.0))(rounds, on_progress=quiet)
    amended = Distillation(passes=4, rate=1.0)(rounds, found, on_progress=quiet)
    for given, modified, end in zip(rounds, found, amended, strict=True):
        original = given.state.checkpoints[3].state
        states = (modified.checkpoints[3].state, end.checkpoint.state)
        before, after = (divergence(given, given.retain, original, s) for s in states)
        assert after < before / 2


def test_fine_tuning_after_nothing_is_the_method_of_that_name():
    session = uneven_session(uk.MLP((9,)))
    rounds = uneven_rounds(session)
    nothing = EachState(GradientAscent(steps=0))(rounds, on_progress=quiet)
    amended = FineTune(passes=2)(rounds, nothing, on_progress=quiet)
    tuned = FineTuning(passes=2)(rounds, on_progress=quiet)
    for end, found in zip(amended, tuned, strict=True):
        assert state_bytes(end.checkpoint.state) == state_bytes(found.checkpoints[3].state)


def test_a_study_takes_methods_and_amends_by_name():
    frame = uk.study(
        "digits",
        models=("logistic",),
        num_shards=(4,),
        num_slices=(2,),
        epochs=3,
        revoked=(20,),
        policies={"approximate": uk.FixedBoundary(0.0)},
        methods=("scrub", "newton", "deltagrad"),
        amends=("none", "fine-tuning"),
    )
    approximate = frame[frame.policy == "approximate"]
    assert len(approximate) == 6
    assert set(zip(approximate.method, approximate.amend, strict=True)) >= {("scrub", "none")}
    assert (approximate.approximate_shards == 4).all() and (approximate.output_kl > 0).all()
