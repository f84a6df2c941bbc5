"""Rewind-to-Delete: exact if rewound to the beginning, and never beyond its certificate."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import unlearnkit as uk
from cases import CASES
from rounds import one_stored_state, quiet, rounds_of, states_of, uneven_rounds, uneven_session
from unlearnkit.approximate import Replay, RewindToDelete
from unlearnkit.approximate.baselines.certified.rewind import rewind_distance, start_of
from unlearnkit.models.losses import CrossEntropy
from unlearnkit.models.vector import flatten
from unlearnkit.seeding import state_bytes


@pytest.mark.parametrize("name", ["logistic", "mlp-dropout", "cnn-batchnorm", "uneven", "adam"])
def test_rewound_to_the_beginning_it_is_exact_retraining(name):
    session = CASES[name].session()
    session.train()
    plan = session.plan
    for shard in range(plan.num_shards):
        gone = plan.partition.shard_rows(shard)[::5]
        [given] = rounds_of(session, {shard: gone})
        [found] = RewindToDelete(back=99)([given], on_progress=quiet)
        retrained = session.fork()
        retrained.revoke(plan.partition.ids[gone])
        retrained.unlearn(1)
        for stage, checkpoint in found.checkpoints.items():
            exact = retrained.store.get(retrained.plan.chains[shard][stage - 1].key)
            assert state_bytes(checkpoint.state) == state_bytes(exact.state)
            assert set(checkpoint.tails) == set(exact.tails)
            for tail, state in checkpoint.tails.items():
                assert state_bytes(state) == state_bytes(exact.tails[tail])


def test_one_stored_state_back_it_is_a_replay_from_the_tail_as_it_was():
    session = uneven_session(uk.MLP((9,)))
    for given in uneven_rounds(session):
        [found] = RewindToDelete()([given], on_progress=quiet)
        last = len(given.state.chain)
        tails = given.state.checkpoints[last].tails
        untouched = replace(found.checkpoints[last], tails=tails)
        before = replace(found, checkpoints={**found.checkpoints, last: untouched})
        [replayed] = Replay(min(tails))([given], [before], on_progress=quiet)
        assert state_bytes(found.checkpoints[last].state) == state_bytes(replayed.checkpoint.state)


def small(**options):
    """Logistic regression on 64 examples with inputs of norm 1."""
    generator = torch.Generator().manual_seed(5)
    features = torch.nn.functional.normalize(torch.randn(64, 4, generator=generator), dim=1)
    labels = (features[:, 0] > 0).long() + (features[:, 1] > 0.4)
    options = {"num_shards": 1, "num_slices": 2, "epochs": 8, "tails": (2, 1)} | options
    session = uk.Session((features.numpy(), labels.numpy()), model="logistic", **options)
    session.train()
    return session


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("back", [1, 2, 3, 4])
def test_the_certificate_is_never_violated(momentum, back):
    session = small(learning_rate=0.05, momentum=momentum, batch_size=16)
    plan, rng = session.plan, np.random.default_rng(0)
    names = plan.architecture.trainable_names
    for count in (1, 4):
        gone = np.sort(rng.choice(plan.partition.shard_rows(0), count, replace=False))
        [given] = rounds_of(session, {0: gone})
        method = RewindToDelete(back)
        certificate = method.certificate(plan, given.state.plan, 0, largest_norm=1.0001)
        state, _ = method.rewound(given, 2)
        exact, _ = RewindToDelete(99).rewound(given, 2)
        distance = float((flatten(state, names) - flatten(exact, names)).norm())
        assert distance <= certificate.distance < math.inf
        if back == 4:  # from the beginning of the training
            assert certificate.distance == 0
        if certificate.distance == 0:  # no forgotten example took part before the rewound place
            assert distance == 0
        elif not momentum:
            assert certificate.distance < 50 * distance  # it is not vacuous either
            assert certificate.noise(1.0, 1e-5) == pytest.approx(3.73 * certificate.distance, 1e-3)


def test_for_full_batches_it_is_the_bound_of_the_source():
    session = small(
        num_slices=1, learning_rate=0.3, momentum=0.0, weight_decay=0.0, batch_size=100, epochs=9
    )
    plan = session.plan
    after = plan.without(plan.partition.ids[:3])
    n, m, total, rewound, g, curvature, eta = len(plan.partition.ids), 3, 9, 2, 1.7, 0.9, 0.3
    start = start_of(plan, (1, 9), 2)
    assert start == (1, 7)
    found = rewind_distance(plan, after, 0, start, gradient=g, smoothness=curvature, convex=False)
    growth = 1 + eta * curvature
    expected = 2 * g * m / (curvature * n) * (growth ** (total - rewound) - 1) * growth**rewound
    assert found == pytest.approx(expected, rel=1e-9)


class Steep(CrossEntropy):
    """A subclass with larger gradients than the certificate reckons with."""

    def output_gradient(self, outputs, targets):
        return 10 * super().output_gradient(outputs, targets)


def test_nothing_is_certified_where_the_constants_are_not_known():
    cases = (
        (small(), {"largest_norm": 0.5}, "above largest_norm=0.5"),
        (small(optimizer="adam", learning_rate=0.01), {"largest_norm": 2.0}, "SGD, not for adam"),
        (small(loss="squared-error"), {"largest_norm": 2.0}, "cross-entropy only"),
        (small(loss=Steep()), {"largest_norm": 2.0}, "cross-entropy only"),
        (uneven_session(uk.MLP((9,))), {"largest_norm": 99.0}, "logistic regression"),
    )
    for session, options, why in cases:
        plan = session.plan
        after = plan.without(plan.partition.ids[:1])
        with pytest.raises(ValueError, match=why):
            RewindToDelete().certificate(plan, after, 0, **options)
    session = small(momentum=0.0, batch_size=1)
    after = session.plan.without(session.plan.partition.ids[:1])
    assert RewindToDelete().certificate(session.plan, after, 0, 2.0).distance == math.inf


def test_noise_has_its_deviation_and_differs_between_stored_states():
    session = uneven_session(uk.MLP((60,)))
    given, _ = one_stored_state(session)
    [plain] = RewindToDelete()([given], on_progress=quiet)
    [noisy] = RewindToDelete(noise=0.5)([given], on_progress=quiet)
    names, drawn = session.plan.architecture.trainable_names, []
    for place, state in states_of(plain).items():
        drawn.append(flatten(states_of(noisy)[place], names) - flatten(state, names))
        assert 0.45 < float(drawn[-1].std()) < 0.55  # of 846 numbers, 4 standard errors
    assert abs(float(torch.corrcoef(torch.stack(drawn[:2]))[0, 1])) < 0.2


@pytest.mark.parametrize("bad", [{"back": 0}, {"back": 1.5}, {"noise": -1}, {"noise": math.nan}])
def test_bad_settings_are_refused(bad):
    with pytest.raises((TypeError, ValueError), match=next(iter(bad))):
        RewindToDelete(**bad)
