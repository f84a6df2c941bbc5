"""SCRUB: what it is without its parts, and that it leaves its teacher."""

import unlearnkit as uk
from rounds import divergence, one_stored_state, quiet, states_of, uneven_rounds, uneven_session
from unlearnkit.approximate import (
    EachState,
    FineTuning,
    Scrub,
)
from unlearnkit.models.vector import flatten, trainable_names


def test_scrub_without_climbs_and_obedience_is_fine_tuning():
    session = uneven_session(uk.MLP((9,)))
    rule = EachState(Scrub(alpha=0.0, gamma=1.0, max_epochs=0, epochs=1, rate=0.5))
    walked = rule(uneven_rounds(session), on_progress=quiet)
    tuned = FineTuning(passes=1, rate=0.5)(uneven_rounds(session), on_progress=quiet)
    for a, b in zip(tuned, walked, strict=True):
        for place, state in states_of(a).items():
            for part, tensor in state.items():  # two kernels differ by rounding
                assert (tensor - states_of(b)[place][part]).abs().max() < 1e-5


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
