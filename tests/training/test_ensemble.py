"""The ensemble: what its constituents say together, and which of them are exact."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

import unlearnkit as uk
from cases import CASES
from unlearnkit.store import MemoryStore
from unlearnkit.training.ensemble import Ensemble, assemble, majority_vote, mean_probability

VOTES = torch.tensor([[[0.5, 0.3, 0.2]], [[0.0, 0.6, 0.4]], [[0.6, 0.0, 0.4]], [[0.4, 0.5, 0.1]]])


def test_means_and_votes_are_by_hand():
    assert torch.allclose(mean_probability(VOTES), torch.tensor([[0.375, 0.35, 0.275]]))
    assert torch.allclose(majority_vote(VOTES), torch.tensor([[0.5, 0.5, 0.0]]))


@pytest.mark.parametrize("name", ["mlp-dropout", "uneven", "regression"])
def test_an_ensemble_says_what_its_modules_say_together(name):
    session = CASES[name].session()
    session.train()
    ensemble, inputs = session.ensemble, session.dataset.test.inputs()
    outputs = []
    for shard in range(session.plan.num_shards):
        state = session.store.get(session.plan.final_key(shard)).state
        outputs.append(session.plan.architecture.module(state)(inputs).detach())
    stacked = torch.stack(outputs)
    if name == "regression":
        assert torch.allclose(ensemble.predict(inputs), stacked.mean(0), atol=1e-6)
        with pytest.raises(ValueError, match="counts votes for classes"):
            Ensemble(ensemble.architecture, ensemble.loss, (), "majority-vote", True)
    else:
        expected = stacked.softmax(-1).mean(0)
        assert torch.allclose(ensemble.probabilities(inputs), expected, atol=1e-6)
        assert torch.equal(ensemble.predict(inputs), expected.argmax(1))


def test_a_shard_without_examples_has_no_constituent_and_one_with_debt_is_not_exact(indebted):
    plan, store = indebted.plan, indebted.store
    ensemble = assemble(plan, store)
    assert [each.exact for each in ensemble.constituents] == [True, True, False]
    assert ensemble.by_shard[2].debt.tolist() == np.sort(indebted.debt[2]).tolist()
    left = plan.without(plan.partition.ids[plan.partition.shard == 0])
    assert list(assemble(left, store).by_shard) == [1, 2]
    with pytest.raises(LookupError, match="shard 0 has no model yet"):
        assemble(plan, MemoryStore())


def test_the_digest_is_of_the_bits_of_every_constituent(indebted):
    ensemble = assemble(indebted.plan, indebted.store)
    assert ensemble.digest == assemble(indebted.plan, indebted.store).digest
    state = ensemble.constituents[1].state
    name = next(iter(state))
    changed = {**state, name: state[name].clone()}
    changed[name].view(torch.int32).flatten()[0] ^= 1  # the last bit of one number
    parts = list(ensemble.constituents)
    parts[1] = type(parts[1])(1, changed, parts[1].debt)
    assert Ensemble(ensemble.architecture, ensemble.loss, tuple(parts)).digest != ensemble.digest


class Precise(nn.Module):
    """Computes in a precision other than that of its inputs."""

    def __init__(self, dtype):
        super().__init__()
        self.dtype, self.weight = dtype, nn.Parameter(torch.randn(3, 2, dtype=dtype))

    def forward(self, x):
        return (x.to(self.dtype) @ self.weight).abs().float()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.complex64])
def test_a_module_of_another_precision_is_trained_retrained_and_predicts(dtype):
    features = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    labels = (features[:, 0] > 0).long()
    session = uk.Session(
        (features, labels), model=partial(Precise, dtype), num_shards=2, num_slices=2, epochs=2
    )
    session.train()
    session.revoke(count=2)
    result = session.unlearn(0)
    assert not result.decision.approximate and session.compare().bit_identical
    assert all("torch.float32" in route.reason for route in result.decision.routes)
    assert session.ensemble.probabilities(features).dtype == torch.float32


def test_inputs_may_be_arrays_and_are_checked() -> None:
    session = CASES["logistic"].session()
    session.train()
    ensemble, inputs = session.ensemble, session.dataset.test.inputs()
    expected = ensemble.probabilities(inputs)
    for given in (inputs.numpy(), inputs.tolist()):
        assert torch.allclose(ensemble.probabilities(given).float(), expected, atol=1e-6)
    assert torch.equal(ensemble.predict(inputs.numpy()), ensemble.predict(inputs))
    with pytest.raises(ValueError, match="give the number of examples first"):
        ensemble.predict(inputs[0])
    with pytest.raises(TypeError, match="inputs are of type uint8, but the models take real"):
        ensemble.predict(inputs.to(torch.uint8))
    with pytest.raises(TypeError, match="inputs: features with values of kind"):
        ensemble.predict([["a"]])  # type: ignore[arg-type]
