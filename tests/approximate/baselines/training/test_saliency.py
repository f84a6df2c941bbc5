"""SalUn: its mask and its training, computed by hand; what is masked out keeps its bits."""

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import unlearnkit as uk
from rounds import one_stored_state, uneven_session
from training_by_hand import batches_by_hand, optimizer_by_hand
from unlearnkit.approximate import SaliencyUnlearning
from unlearnkit.approximate.baselines.training.relabelling import wrong_labels
from unlearnkit.approximate.baselines.training.saliency import most_salient
from unlearnkit.models.vector import flatten
from unlearnkit.seeding import state_bytes


def test_salun_by_hand():
    session = uneven_session(uk.MLP((9,)))
    given, stored = one_stored_state(session, 2)
    found, visits = SaliencyUnlearning(share=0.3, alpha=0.7, passes=2, rate=0.5)(given, stored)
    given, stored = one_stored_state(session, 2)  # a generator that has not been used
    module = session.plan.architecture.module(stored.state)
    inputs, labels = given.state.data(stored.forget)
    cross_entropy(module(inputs), labels).backward()
    parameters = list(module.parameters())
    saliency = sorted((abs(float(v)) for p in parameters for v in p.grad.flatten()), reverse=True)
    least = saliency[int(0.3 * len(saliency)) - 1]
    masks = [p.grad.abs() >= least for p in parameters]
    wrong = wrong_labels(labels, 6, given.generator)
    optimizer = optimizer_by_hand(session, module, 0.5)
    keeps, drops = batches_by_hand(given, stored, 2)
    for number, (x, y) in enumerate(keeps):
        rows = drops[number % len(drops)]
        at = torch.from_numpy(np.searchsorted(stored.forget.rows, rows))
        optimizer.zero_grad()
        loss = 0.7 * cross_entropy(module(x), y)
        (loss + cross_entropy(module(inputs[at]), wrong[at])).backward()
        before = [p.detach().clone() for p in parameters]
        optimizer.step()
        with torch.no_grad():
            for p, mask, value in zip(parameters, masks, before, strict=True):
                p.copy_(torch.where(mask, p, value))
    for name, value in module.state_dict().items():
        assert (found[name] - value).abs().max() < 1e-5  # sums of two batches round differently
    assert visits > len(stored.forget)


def test_what_is_not_salient_keeps_its_bits_and_the_rest_moves():
    session = uneven_session(uk.MLP((9,)))
    names = session.plan.architecture.trainable_names
    for share in (0.0, 0.25, 1.0):
        given, stored = one_stored_state(session)
        found, _ = SaliencyUnlearning(share=share, rate=1.0)(given, stored)
        moved = flatten(found, names) != flatten(stored.state, names)
        assert int(moved.sum()) <= int(share * len(moved))
        assert int(moved.sum()) > 0.9 * share * len(moved) - 1
    given, stored = one_stored_state(session)
    empty, _ = SaliencyUnlearning(share=0.0)(given, stored)
    assert state_bytes(empty) == state_bytes(stored.state)


def test_the_mask_holds_the_largest_gradients():
    gradient = torch.randn(101, generator=torch.Generator().manual_seed(1))
    for share in (0.0, 0.3, 0.5, 1.0):
        mask = most_salient(gradient, share)
        assert int(mask.sum()) == int(101 * share)
        if 0 < share < 1:
            assert gradient.abs()[mask].min() > gradient.abs()[~mask].max()
    assert most_salient(torch.zeros(4), 0.5).tolist() == [True, True, False, False]
