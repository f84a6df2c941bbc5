"""Training by torch's own optimizers and automatic differentiation, to compare methods with."""

import torch

from unlearnkit.approximate.optimise import batches_of, retained_batches


def optimizer_by_hand(session, module, rate):
    """The session's optimizer from torch, at a multiple of its learning rate."""
    spec = session.spec
    if spec.optimizer == "adam":
        return torch.optim.Adam(
            module.parameters(), lr=rate * spec.learning_rate, weight_decay=spec.weight_decay
        )
    assert spec.optimizer == "sgd"
    return torch.optim.SGD(
        module.parameters(),
        lr=rate * spec.learning_rate,
        momentum=spec.momentum,
        weight_decay=spec.weight_decay,
    )


def batches_by_hand(given, stored, passes):
    """Inputs and labels of the keyed retained batches, and the rows of the forgotten ones."""
    plan = given.state.plan
    forget = batches_of(stored.forget, plan.spec.batch_size, given.generator)
    retained = retained_batches(plan, given.state.shard, stored.stage, passes)
    ids = plan.partition.ids
    return [plan.examples[ids[rows]] for epoch in retained for rows in epoch], forget
