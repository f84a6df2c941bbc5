"""l1-sparse: fine-tuning and no more without its penalty; with it, what autograd says."""

import pytest
import torch
from torch.nn.functional import cross_entropy

import unlearnkit as uk
from rounds import one_stored_state, quiet, states_of, uneven_rounds, uneven_session
from training_by_hand import optimizer_by_hand
from unlearnkit.approximate import EachState, FineTuning, L1Sparse
from unlearnkit.approximate.optimise import retained_batches
from unlearnkit.models.vector import flatten


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_l1_sparse_by_hand(optimizer):
    session = uneven_session(uk.MLP((9,)), optimizer=optimizer)
    given, stored = one_stored_state(session, 2)
    found, _ = L1Sparse(gamma=0.03, passes=3, rate=0.5)(given, stored)
    module = session.plan.architecture.module(stored.state)
    stepper = optimizer_by_hand(session, module, 0.5)
    ids, examples = given.state.plan.partition.ids, given.state.plan.examples
    for epoch, batches in enumerate(retained_batches(given.state.plan, 2, stored.stage, 3)):
        for rows in batches:
            x, y = examples[ids[rows]]
            norm = sum(p.abs().sum() for p in module.parameters())
            stepper.zero_grad()
            (cross_entropy(module(x), y) + 0.03 * (1 - epoch / 3) * norm).backward()
            stepper.step()
    for name, value in module.state_dict().items():
        assert (found[name] - value).abs().max() < 1e-5


def test_without_a_penalty_it_is_fine_tuning():
    session = uneven_session(uk.MLP((9,)))
    plain = EachState(L1Sparse(gamma=0.0, passes=1, rate=0.5))
    walked = plain(uneven_rounds(session), on_progress=quiet)
    tuned = FineTuning(passes=1, rate=0.5)(uneven_rounds(session), on_progress=quiet)
    for a, b in zip(tuned, walked, strict=True):
        for place, state in states_of(a).items():
            for part, tensor in state.items():  # two kernels differ by rounding
                assert (tensor - states_of(b)[place][part]).abs().max() < 1e-5


def test_a_larger_penalty_leaves_a_smaller_norm():
    session, norms = uneven_session(uk.MLP((9,))), []
    names = session.plan.architecture.trainable_names
    for gamma in (0.0, 0.01, 0.1):
        given, stored = one_stored_state(session)
        found, _ = L1Sparse(gamma=gamma)(given, stored)
        norms.append(float(torch.linalg.vector_norm(flatten(found, names), 1)))
    assert norms[0] > norms[1] > norms[2]
