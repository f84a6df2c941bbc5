"""Bad Teacher: its training by torch's own KL divergence, and what its teachers do."""

import numpy as np
import torch
from torch.nn.functional import kl_div

import unlearnkit as uk
from rounds import divergence, one_stored_state, uneven_session
from training_by_hand import optimizer_by_hand
from unlearnkit.approximate import BadTeacher
from unlearnkit.approximate.optimise import retained_batches
from unlearnkit.models.state import get_state


def test_bad_teacher_by_hand():
    session, temperature = uneven_session(uk.MLP((9,))), 2.0
    given, stored = one_stored_state(session, 2)
    found, _ = BadTeacher(temperature, passes=2, rate=0.5)(given, stored)
    given, stored = one_stored_state(session, 2)
    architecture = session.plan.architecture
    seed = int(given.generator.integers(2**31))
    competent = architecture.module(stored.state)
    incompetent = architecture.module(architecture.initial(seed, given.state.shard))
    student = architecture.module(stored.state)
    optimizer = optimizer_by_hand(session, student, 0.5)
    gone, examples = set(stored.forget.rows.tolist()), given.state.plan.examples
    ids = given.state.plan.partition.ids
    for batches in retained_batches(given.state.plan, 2, stored.stage, 2):
        order = given.generator.permutation(stored.forget.rows)
        for keep, drop in zip(batches, np.array_split(order, len(batches)), strict=True):
            rows = [*keep.tolist(), *drop.tolist()]
            total = torch.zeros(())
            for row in rows:
                x, _ = examples[ids[[row]]]
                teacher = incompetent if row in gone else competent
                target = (teacher(x).detach() / temperature).softmax(1)
                log = (student(x) / temperature).log_softmax(1)
                total = total + kl_div(log, target, reduction="sum")
            optimizer.zero_grad()
            (total / len(rows)).backward()
            optimizer.step()
    for name, value in get_state(student).items():
        assert (found[name] - value).abs().max() < 1e-5  # single examples round differently


def test_the_student_leaves_the_competent_teacher_on_the_forget_set_alone():
    session = uneven_session(uk.MLP((9,)))
    given, stored = one_stored_state(session)
    found, _ = BadTeacher(passes=4, rate=1.0)(given, stored)
    gone, kept = (
        divergence(given, members, stored.state, found)
        for members in (stored.forget, stored.retain)
    )
    assert gone > 2 * kept


def test_logistic_regression_has_a_teacher_without_a_preference():
    session = uneven_session("logistic")
    given, stored = one_stored_state(session)
    found, _ = BadTeacher(passes=4, rate=1.0)(given, stored)
    inputs, _ = given.state.data(stored.forget)
    before, after = (
        session.plan.architecture.module(state)(inputs).softmax(1)
        for state in (stored.state, found)
    )
    entropy = [-(p * p.log()).sum(1).mean() for p in (before, after)]
    assert entropy[1] > entropy[0]
