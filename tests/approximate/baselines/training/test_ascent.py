"""Gradient ascent on the forget set, alone and with descent on the retained."""

import pytest

import unlearnkit as uk
from rounds import forget_loss, one_stored_state, quiet, states_of, uneven_rounds, uneven_session
from unlearnkit.approximate import (
    EachState,
    FineTuning,
    GradientAscent,
    NegGradPlus,
)
from unlearnkit.approximate.curvature import mean_gradient
from unlearnkit.models.vector import flatten, trainable_names


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
