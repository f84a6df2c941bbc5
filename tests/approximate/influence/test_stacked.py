"""Corrections of several shards at once, against automatic differentiation and dense solves."""

from dataclasses import replace

import pytest
import torch

import unlearnkit as uk
from rounds import check_lanes, corrections_of, quiet, uneven_rounds, uneven_session
from unlearnkit.approximate import (
    StagedInfluence,
)
from unlearnkit.approximate.curvature import gauss_newton
from unlearnkit.approximate.influence import stacked
from unlearnkit.approximate.linearised import (
    Linearised,
    add_correction,
    clear_padding,
    solve,
    solve_dual,
    stack_parameters,
)
from unlearnkit.models.vector import flatten

STACKS = {
    "logistic": ("logistic", {}),
    "relu": (uk.MLP((9,), "relu"), {}),
    "deep tanh": (uk.MLP((6, 5), activation="tanh"), {}),
    "gelu, squared error": (uk.MLP((20,), activation="gelu"), {"loss": "squared-error"}),
    "dropout": (uk.MLP((9,), dropout=0.2), {}),
    "relu, dropout": (uk.MLP((8, 5), "relu", 0.2), {}),
}


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("size", [5, 40], ids=["in products", "in inputs"])
@pytest.mark.parametrize(
    ("candidates", "damping"), [(0, 0.0), (25, 20.0)], ids=["alike", "by curvature, damped"]
)
def test_lanes_agree_with_automatic_differentiation(name, size, candidates, damping):
    model, options = STACKS[name]
    session = uneven_session(model, **options)
    method = StagedInfluence(
        iterations=5,
        candidates=candidates,
        curvature_share=1,
        curvature_min=2,
        curvature_max=size,
        damping=damping,
    )
    together = method(uneven_rounds(session), on_progress=quiet)
    check_lanes(session, method, together)


@pytest.mark.parametrize("name", ["logistic", "deep tanh", "gelu, squared error"])
@pytest.mark.parametrize("by_outputs", [False, True])
def test_lanes_agree_where_early_stages_are_merged(name, by_outputs):
    """Of the uneven rounds one begins with stage 1 and merges, two begin later and do not."""
    model, options = STACKS[name]
    session = uneven_session(model, **options)
    method = StagedInfluence(
        iterations=100 if by_outputs else 5,
        tolerance=1e-6,
        candidates=25,
        by_outputs=by_outputs,
        merge=2,
        damping=5.0,
    )
    together = method(uneven_rounds(session), on_progress=quiet)
    check_lanes(session, method, together)
    alone = replace(method, merge=1)(uneven_rounds(session), on_progress=quiet)
    changed = [
        a.correction_norm != pytest.approx(b.correction_norm, rel=1e-3)
        for a, b in zip(together, alone, strict=True)
    ]
    assert changed == [True, False, False]


@pytest.mark.parametrize("name", ["logistic", "relu"])
def test_lanes_agree_however_much_is_kept_and_linearised_at_once(name, monkeypatch):
    model, options = STACKS[name]
    session = uneven_session(model, **options)
    method = StagedInfluence(iterations=5, candidates=0, curvature_min=5)
    found = []
    for kept, together in [(0, 0), (1 << 20, 3000), (1 << 20, 1 << 20)]:
        monkeypatch.setattr(stacked, "KEPT_BYTES", kept)
        monkeypatch.setattr(stacked, "BATCH_BYTES", together)
        found.append(method(uneven_rounds(session), on_progress=quiet))
        check_lanes(session, method, found[-1])
    for i, first in enumerate(found[0]):
        assert first.visits == found[1][i].visits == found[2][i].visits


@pytest.mark.parametrize("name", STACKS)
def test_by_way_of_the_outputs_the_same_is_found(name):
    model, options = STACKS[name]
    session = uneven_session(model, **options)
    method = StagedInfluence(iterations=100, tolerance=1e-6, by_outputs=True, damping=20.0)
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
        pieces = stack_parameters(stack, right, spec.loss)
        clear_padding(stack, pieces)
        found = way(
            Linearised(stack, spec.loss, stack_parameters(stack, states, spec.loss), inputs),
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
            vector = flatten(add_correction(stack, zero, found.pieces, lane), names)
            off.append(float((vector - expected[lane]).abs().max()))
        if limit == 200:
            assert max(off) < 1e-9
        else:
            assert max(off[:2]) > 1e-3 and off[2] == 0


def test_a_lane_does_not_depend_on_the_others():
    session = uneven_session(uk.MLP((9,)))
    method = StagedInfluence(curvature_min=10, curvature_max=10)
    together = method(uneven_rounds(session), on_progress=quiet)
    for found, given in zip(together, uneven_rounds(session), strict=True):
        [alone] = method([given], on_progress=quiet)
        ours, theirs = corrections_of(session, found), corrections_of(session, alone)
        for place, change in ours.items():
            assert (change - theirs[place]).abs().max() < 1e-6  # rounding of weights of size 1
