"""Relearn time: nothing between equal models, and less for one that still remembers."""

import math
from dataclasses import replace

import numpy as np

import unlearnkit as uk
from unlearnkit.evaluation.relearn import relearn_time


def unlearned(share):
    session = uk.Session("digits", model="logistic", num_shards=3, num_slices=2, epochs=10)
    session.train()
    session.revoke(share=0.1)
    return session, session.unlearn(share)


def test_exact_unlearning_relearns_as_scratch_does():
    session, result = unlearned(1.0)
    measure = relearn_time(session.compare(), result, session.dataset)
    assert measure.value == 0 and measure.interval == (0, 0)


def test_doing_nothing_has_nothing_to_relearn():
    session, result = unlearned(0.0)
    comparison = session.compare()
    nothing = replace(comparison, unlearned=comparison.original)
    forgot = relearn_time(comparison, result, session.dataset)
    remembers = relearn_time(nothing, result, session.dataset)
    # The original is where the descent is to arrive, so its own count is 0.
    assert remembers.value < 0
    assert abs(forgot.value) < abs(remembers.value)


def test_the_count_is_capped_and_an_empty_request_says_so():
    session, result = unlearned(1.0)
    comparison = session.compare()
    far = relearn_time(
        replace(comparison, unlearned=comparison.original),
        result,
        session.dataset,
        learning_rate=1e-9,
        max_steps=4,
    )
    assert far.value == -4
    nothing = replace(result, ids=np.empty(0, np.int64))
    measure = relearn_time(comparison, nothing, session.dataset)
    assert math.isnan(measure.value) and measure.note == "nothing was forgotten"
