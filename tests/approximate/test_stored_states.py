"""Stored states: a rule meets each of them once, and is charged for what it computes."""

from dataclasses import dataclass

import torch

from rounds import quiet, states_of, uneven_rounds, uneven_session
from unlearnkit.approximate import EachState
from unlearnkit.approximate.stored_states import sizes_of, stored_states_of


@dataclass(frozen=True)
class Half:
    """A rule that halves every parameter and computes a gradient of each forgotten example."""

    def __call__(self, given, stored):
        """Halve."""
        return {name: value / 2 for name, value in stored.state.items()}, len(stored.forget)

    def cost(self, plan, size):
        """One batch, the forgotten examples, and as many of other work as there are epochs."""
        return 1, size.forget, size.epochs

    def unsuitable(self, plan):
        """It fits every plan."""
        return ""


def test_a_rule_is_applied_to_every_stored_state_by_itself():
    session, method = uneven_session("logistic"), EachState(Half())
    for given, found in zip(
        uneven_rounds(session), method(uneven_rounds(session), on_progress=quiet), strict=True
    ):
        first, last = int(given.forget.slices.min()), len(given.state.chain)
        assert list(found.checkpoints) == list(range(first, last + 1))
        assert set(found.checkpoints[last].tails) == set(given.state.checkpoints[last].tails)
        for (stage, tail), state in states_of(found).items():
            old = given.state.checkpoints[stage]
            old = old.state if tail is None else old.tails[tail]
            assert all(torch.equal(state[name], old[name] / 2) for name in old)
        end = given.state.checkpoints[last].state
        norm = torch.cat([value.flatten() for value in end.values()]).norm() / 2
        assert abs(found.correction_norm - norm) < 1e-5 * norm
        assert found.visits == method.visits(session.plan, given.state.shard, given.forget)


def test_sizes_are_those_of_the_stored_states():
    session = uneven_session("logistic")
    for given in uneven_rounds(session):
        plan = given.state.plan
        states = stored_states_of(given)
        sizes = sizes_of(plan, given.state.shard, given.forget)
        assert [(s.stage, s.forget, s.retain) for s in sizes] == [
            (each.stage, len(each.forget), len(each.retain)) for each in states
        ]
        # Together the sizes of the last stage have its epochs.
        last = [size.epochs for size in sizes if size.stage == 3]
        assert sum(last) == plan.chains[given.state.shard][-1].epochs
    work = EachState(Half()).batches(plan, {given.state.shard: given.forget})
    assert (work.shards, work.batches) == (1, len(sizes))
    assert work.visits == sum(size.forget + size.epochs for size in sizes)
