"""Sessions and shards' rounds on which approximate methods and their amends are tested."""

from functools import cache

import numpy as np
import pytest
import torch

import unlearnkit as uk
from unlearnkit.approximate import (
    Members,
    ShardRound,
    ShardState,
)
from unlearnkit.approximate.stored_states import stored_states_of
from unlearnkit.models.losses import CrossEntropy
from unlearnkit.models.vector import flatten, unflatten
from unlearnkit.seeding import numpy_generator


def quiet(sentence, share):
    """Take progress and do nothing with it."""


def tiny_session(model="logistic", **options):
    return uk.Session(
        uk.load("digits", num_examples=200),
        model=model,
        num_shards=2,
        num_slices=3,
        epochs=12,
        batch_size=16,
        **options,
    )


def rounds_of(session, gone):
    """A round of each shard of these that forgets these rows."""
    plan, rounds = session.plan, []
    after = plan.without(plan.partition.ids[np.concatenate(list(gone.values()))])
    for shard, forget in gone.items():
        rows = plan.partition.shard_rows(shard)
        kept = rows[after.retained[rows]]
        members = [Members(some, plan.partition.slice_[some]) for some in (np.sort(forget), kept)]
        checkpoints = {s.index: session.store.get(s.key) for s in plan.chains[shard]}
        state = ShardState(after, shard, checkpoints)
        rounds.append(ShardRound(state, *members, numpy_generator(0, shard)))
    return rounds


@cache
def uneven_session(model, **options):
    """Three shards of different sizes; generated data with odd widths."""
    generator = torch.Generator().manual_seed(4)
    features = torch.randn(151, 7, generator=generator)
    labels = (features[:, :2] > 0).sum(1) + 3 * (features[:, 2] > 0.5)
    spec = uk.TrainSpec(
        num_shards=3, num_slices=3, epochs=12, batch_size=8, learning_rate=0.05, **options
    )
    session = uk.Session((features, labels), model=model, spec=spec)
    session.train()
    return session


def uneven_rounds(session, whole=None):
    """Rounds of all shards; each forgets some examples from a first slice on, or one whole."""
    plan, gone = session.plan, {}
    for shard, (first, count) in enumerate([(1, 5), (3, 2), (2, 9)]):
        rows = plan.partition.shard_rows(shard)
        slices = plan.partition.slice_[rows]
        late = rows[slices >= first][1 - count :]
        gone[shard] = np.union1d(rows[slices == first][:1], late)
        if shard == whole:
            gone[shard] = rows[slices == 1]
    return rounds_of(session, gone)


def states_of(found):
    """All states that a method or an amend has made, by place."""
    states = {}
    for r, checkpoint in found.checkpoints.items():
        states[r, None] = checkpoint.state
        states |= {(r, q): tail for q, tail in checkpoint.tails.items()}
    return states


def corrections_of(session, found):
    """What was added to every corrected checkpoint and tail of a shard, as one vector each."""
    changes = {}
    for r, new in found.checkpoints.items():
        old = session.store.get(session.plan.chains[new.shard][r - 1].key)
        names = tuple(old.state)
        changes[r, None] = flatten(new.state, names) - flatten(old.state, names)
        for q, tail in new.tails.items():
            changes[r, q] = flatten(tail, names) - flatten(old.tails[q], names)
    return changes


def check_lanes(session, method, found):
    """What was found for uneven rounds in lanes is what is found for each by itself."""
    for lane, given in zip(found, uneven_rounds(session), strict=True):
        alone = method.modify(given, quiet)
        if not method.by_outputs:
            assert lane.visits == alone.visits
        assert lane.correction_norm == pytest.approx(alone.correction_norm, rel=1e-4)
        ours, theirs = corrections_of(session, lane), corrections_of(session, alone)
        assert set(ours) == set(theirs)
        for place, change in ours.items():
            # The same iterates but for float32 rounding, also of the weights they are added to.
            assert (change - theirs[place]).abs().max() < 1e-6 + 1e-3 * change.abs().max()
    assert min(lane.correction_norm for lane in found) > 1e-3


@cache
def long_session():
    """Two shards of one slice, trained long enough for a tail early on."""
    session = uk.Session(
        uk.load("digits", num_examples=200),
        model=uk.MLP((9,)),
        num_shards=2,
        num_slices=1,
        epochs=17,
        batch_size=16,
        learning_rate=0.015,
        tails=(11, 4, 1),
    )
    session.train()
    return session


def all_states(session):
    """Final states by shard."""
    return {s: c.state for s, c in enumerate(session.ensemble.constituents)}


def one_stored_state(session, shard=0):
    """A round, and its final state as a stored state."""
    given = uneven_rounds(session)[shard]
    return given, stored_states_of(given)[-1]


def dense_gauss_newton(module, state, names, inputs):
    """G by automatic differentiation of everything, parameters in the order of the names."""

    def outputs(vector):
        return torch.func.functional_call(module, unflatten(vector, state, names), inputs)

    w = flatten(state, names)
    jacobian, p = torch.func.jacrev(outputs)(w), outputs(w).softmax(1).detach()
    hessian = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    return torch.einsum("ncp,ncd,ndq->pq", jacobian, hessian, jacobian) / len(inputs)


def forget_loss(given, stored, state):
    module = given.state.plan.architecture.module(state)
    inputs, labels = given.state.data(stored.forget)
    return float(CrossEntropy().value(module(inputs).detach(), labels).mean())


def divergence(given, members, teacher, student):
    """Mean KL(teacher || student) on some members."""
    inputs, _ = given.state.data(members)
    module = given.state.plan.architecture.module
    p, q = (module(state)(inputs).detach().log_softmax(1) for state in (teacher, student))
    return float((p.exp() * (p - q)).sum(1).mean())
