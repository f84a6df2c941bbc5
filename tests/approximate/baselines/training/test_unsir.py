"""UNSIR: its noise maximises the error, and the forgotten inputs are never read."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

import unlearnkit as uk
from cases import CASES
from rounds import one_stored_state, uneven_session
from unlearnkit.approximate import Unsir
from unlearnkit.data.arrays import from_arrays
from unlearnkit.models.losses import CrossEntropy
from unlearnkit.seeding import state_bytes


def test_a_step_of_the_noise_is_a_step_of_adam_on_the_stated_objective():
    session = uneven_session(uk.MLP((9,)))
    given, stored = one_stored_state(session)
    module, (_, labels) = (
        session.plan.architecture.module(stored.state),
        given.state.data(stored.forget),
    )
    start = torch.randn(len(labels), 7, generator=torch.Generator().manual_seed(2))
    for steps in (1, 7):
        found = Unsir(noise_steps=steps, noise_rate=0.05, penalty=0.2).noise(
            module, start, labels, CrossEntropy()
        )
        noise = start.clone().requires_grad_(True)
        adam = torch.optim.Adam([noise], lr=0.05)
        for _ in range(steps):
            adam.zero_grad()
            error = cross_entropy(module(noise), labels, reduction="sum")
            (-error + 0.2 * noise.square().sum()).backward()
            adam.step()
        assert (found - noise).abs().max() < 1e-4  # Adam divides by gradients near zero
    errors = [float(cross_entropy(module(each), labels).detach()) for each in (start, found)]
    assert errors[1] > errors[0]


def test_the_forgotten_inputs_are_never_read():
    session = uneven_session(uk.MLP((9,)))
    given, stored = one_stored_state(session)
    plan = given.state.plan
    poisoned = plan.examples.features.clone()
    poisoned[torch.from_numpy(stored.forget.rows)] = float("nan")
    # Rows of the partition are rows of the examples here, because all examples are partitioned.
    assert (plan.partition.ids == plan.examples.ids).all()
    blind = replace(plan, examples=replace(plan.examples, features=poisoned))
    seen, visits = Unsir()(given, stored)
    given, stored = one_stored_state(session)
    unseen, _ = Unsir()(replace(given, state=replace(given.state, plan=blind)), stored)
    assert all(tensor.isfinite().all() for tensor in unseen.values())
    assert state_bytes(seen) == state_bytes(unseen)
    assert visits > 40 * len(stored.forget)


def test_repairing_lowers_the_loss_that_impairing_has_raised():
    session, losses = uneven_session("logistic"), []
    for repair in (1e-9, 1.0):
        given, stored = one_stored_state(session, 2)
        rule = Unsir(impair_rate=2.0, repair_rate=repair, repair_passes=3)
        found, _ = rule(given, stored)
        inputs, labels = given.state.data(stored.retain)
        outputs = session.plan.architecture.module(found)(inputs).detach()
        losses.append(float(cross_entropy(outputs, labels)))
    assert losses[1] < losses[0]


def test_whole_number_inputs_are_refused():
    class Embedded(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = torch.nn.Embedding(5, 4), torch.nn.Linear(12, 2)

        def forward(self, x):
            return self.out(self.table(x).flatten(1))

    generator = torch.Generator().manual_seed(0)
    words = torch.randint(0, 5, (60, 3), generator=generator)
    data = from_arrays(words, words[:, 0] % 2, dtype=torch.int64)
    session = uk.Session(data, model=Embedded, num_shards=2, num_slices=2)
    assert "inputs are whole numbers" in uk.METHODS["unsir"].unsuitable(session.plan)
    for name in ("salun", "bad-teacher", "l1-sparse"):
        assert not uk.METHODS[name].unsuitable(session.plan)


@pytest.mark.parametrize("name", ["salun", "unsir"])
def test_methods_that_need_classes_refuse_a_regression(name):
    assert "this is a regression" in uk.METHODS[name].unsuitable(CASES["regression"].session().plan)
