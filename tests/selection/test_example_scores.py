"""Example scores against autograd; the hardest come first."""

import numpy as np
import pytest
import torch

import unlearnkit as uk
from cases import CASES
from unlearnkit.selection import example_scores
from unlearnkit.selection.example_map import example_table


def gradients_by_autograd(session, module, ids):
    """Squared norm of each example's gradient in the last layer, one example at a time."""
    loss, found = session.spec.loss, []
    last = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear)][-1]
    for i in ids:
        inputs, labels = session.dataset.examples([int(i)])
        outputs = module(inputs)
        if loss.name == "squared-error":
            target = torch.nn.functional.one_hot(labels, 3).float()
            value = 0.5 * (outputs - target).square().sum()
        else:
            value = torch.nn.functional.cross_entropy(outputs, labels, reduction="sum")
        parts = torch.autograd.grad(value, [last.weight, last.bias])
        found.append((float(value.detach()), sum(float(part.square().sum()) for part in parts)))
    return np.array(found)


def test_scores_are_those_of_autograd_under_the_shards_own_models(session):
    plan, store = session.plan, session.store
    losses = example_scores.example_losses(plan, store)
    influence = example_scores.self_influence(plan, store)
    epochs, partition = plan.spec.stage_epochs(), plan.partition
    for shard in range(plan.num_shards):
        rows = np.flatnonzero(partition.shard == shard)
        expected = np.zeros(len(rows))
        for stage in range(1, plan.spec.num_slices + 1):
            state = store.get(plan.chains[shard][stage - 1].key).state
            module = plan.architecture.module(state)
            found = gradients_by_autograd(session, module, partition.ids[rows])
            seen = partition.slice_[rows] <= stage
            expected += seen * epochs[stage - 1] * plan.spec.learning_rate * found[:, 1]
        np.testing.assert_allclose(losses[rows], found[:, 0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(influence[rows], expected, rtol=1e-4, atol=1e-8)


def test_the_hardest_come_first_and_revoked_ones_never(session):
    fork = session.fork()
    scores = ("held_out_loss", "loss", "self_influence")
    frame = example_table(fork, scores)
    for score in scores:
        hard = uk.hardest(fork, 3, score)
        assert hard.tolist() == frame.nlargest(3, score)["id"].tolist()
    worst = uk.hardest(fork, 2)
    assert worst.tolist() == uk.hardest(fork, 2, by="held-out loss").tolist()
    fork.revoke(worst)
    fork.unlearn(0.0)  # approximate: corrected checkpoints stand for those that are gone
    assert not set(uk.hardest(fork, 5).tolist()) & set(worst.tolist())
    assert uk.hardest(fork, 1, "self_influence").tolist() != []
    only = uk.hardest(fork, 1, label="b")
    assert (fork.dataset.examples(only)[1] == 1).all()


def test_a_score_needs_models_of_the_right_kind():
    untrained = CASES["uneven"].session()
    with pytest.raises(LookupError, match="no model yet; train first"):
        uk.hardest(untrained, 1)
    with pytest.raises(KeyError, match="named 'size'; choose from held_out_loss, loss, self_"):
        uk.hardest(untrained, 1, "size")
    softly = uk.Session(
        CASES["uneven"].dataset(),
        model=lambda shape, n: torch.nn.Sequential(torch.nn.Linear(4, n), torch.nn.Tanh()),
        num_shards=2,
        num_slices=1,
        epochs=1,
    )
    softly.train()
    with pytest.raises(ValueError, match="does not end in a linear layer"):
        uk.hardest(softly, 1, "self_influence")
    with pytest.raises(ValueError, match="count=0 is out of range; give 1 to 34"):
        uk.hardest(softly, 0)
