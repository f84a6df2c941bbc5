"""Fine-tuning is the end of the stage once more."""

import torch

import unlearnkit as uk
from rounds import quiet, uneven_rounds, uneven_session
from unlearnkit.approximate import (
    EachState,
    FineTune,
    FineTuning,
    GradientAscent,
)
from unlearnkit.seeding import state_bytes
from unlearnkit.training.schedule import make_job


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


def test_fine_tuning_after_nothing_is_the_method_of_that_name():
    session = uneven_session(uk.MLP((9,)))
    rounds = uneven_rounds(session)
    nothing = EachState(GradientAscent(steps=0))(rounds, on_progress=quiet)
    amended = FineTune(passes=2)(rounds, nothing, on_progress=quiet)
    tuned = FineTuning(passes=2)(rounds, on_progress=quiet)
    for end, found in zip(amended, tuned, strict=True):
        assert state_bytes(end.checkpoint.state) == state_bytes(found.checkpoints[3].state)
