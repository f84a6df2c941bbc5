"""Single-gradient unlearning, along stages and by hand."""

import torch

import unlearnkit as uk
from rounds import quiet, rounds_of, uneven_rounds, uneven_session
from unlearnkit.approximate import (
    METHODS,
)
from unlearnkit.approximate.curvature import effective_time, mean_gradient
from unlearnkit.models.vector import flatten, trainable_names


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
