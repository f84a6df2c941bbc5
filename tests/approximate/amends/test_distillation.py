"""Distillation brings the outputs closer to the original."""

import unlearnkit as uk
from rounds import divergence, quiet, uneven_rounds, uneven_session
from unlearnkit.approximate import (
    Distillation,
    EachState,
    GradientAscent,
)


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
