"""An ensemble as one torch module: it predicts the same, is frozen, and can be exported."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

import unlearnkit as uk
from cases import CASES, SMALL
from unlearnkit.models.ensemble_module import EnsembleModule
from unlearnkit.training.ensemble import Constituent, Ensemble
from unlearnkit.training.kernels.finite import NotFiniteError


class Own(nn.Module):
    """Writes to its inputs and returns float64, which the package has to make good for."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 3) / 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x.mul_(2)
        return (x @ self.weight).double()


WEIGHTED = SMALL.with_(loss=uk.WeightedCrossEntropy((1, 2, 3)))


def trained(name: str, **options: Any) -> uk.Session:
    session = CASES[name].session(**options)
    session.train(on_progress=False)
    return session


def own() -> uk.Session:
    session = uk.Session(CASES["logistic"].dataset(), model=Own, spec=SMALL)
    session.train(on_progress=False)
    return session


@pytest.mark.parametrize(
    "session",
    [
        pytest.param(lambda: trained("mlp-dropout"), id="dropout"),
        pytest.param(lambda: trained("cnn-batchnorm"), id="batch normalisation"),
        pytest.param(lambda: trained("uneven", aggregation="majority-vote"), id="votes"),
        pytest.param(lambda: trained("logistic", spec=WEIGHTED), id="weighted"),
        pytest.param(lambda: trained("regression-norm"), id="regression"),
        pytest.param(own, id="a module of the user"),
    ],
)
def test_module_export_and_copy_predict_as_the_ensemble(session: Any) -> None:
    made = session()
    ensemble, inputs = made.ensemble, made.dataset.test.inputs()
    expected, module = ensemble.probabilities(inputs), ensemble.module()
    assert torch.equal(module(inputs.clone()), expected)
    assert torch.equal(copy.deepcopy(module)(inputs.clone()), expected)
    assert torch.equal(module.double()(inputs.double()), ensemble.probabilities(inputs.double()))
    module = ensemble.module()
    shapes = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(module, (inputs[:3].clone(),), dynamic_shapes=shapes).module()
    for size in (1, len(inputs)):  # other sizes than it was exported with
        part = inputs[:size]
        torch.testing.assert_close(program(part.clone()), ensemble.probabilities(part))


def test_the_module_is_a_frozen_copy_in_evaluation_mode() -> None:
    ensemble = trained("mlp-dropout").ensemble
    module, digest = ensemble.module(), ensemble.digest
    module.train()
    assert not any(layer.training for layer in module.modules())
    assert not any(parameter.requires_grad for parameter in module.parameters())
    state = module.state_dict()
    first = ensemble.constituents[0].state
    assert len(state) == len(first) * len(ensemble.constituents)
    assert all(torch.equal(state[f"constituents.0.{name}"], first[name]) for name in first)
    for tensor in state.values():
        tensor.zero_()
    assert ensemble.digest == digest
    assert torch.equal(module(torch.ones(1, 5)), torch.full((1, 3), 1 / 3))
    module.load_state_dict(ensemble.module().state_dict())
    inputs = torch.randn(4, 5, requires_grad=True)
    module(inputs)[:, 0].sum().backward()
    assert inputs.grad is not None and inputs.grad.abs().sum() > 0


def test_models_that_predict_nothing_become_no_module() -> None:
    ensemble = trained("logistic").ensemble
    state = {n: torch.full_like(t, torch.nan) for n, t in ensemble.constituents[0].state.items()}
    broken = Constituent(0, state, ensemble.constituents[0].debt)
    with pytest.raises(NotFiniteError, match=r"shard 0 .* cannot become a module"):
        Ensemble(ensemble.architecture, ensemble.loss, (broken,)).module()
    with pytest.raises(ValueError, match="no constituents, so it cannot become a module"):
        Ensemble(ensemble.architecture, ensemble.loss, ()).module()


def test_gradients_of_the_models_given_are_switched_off() -> None:
    model = nn.Linear(2, 2)
    EnsembleModule([model], uk.CrossEntropy(), lambda stacked: stacked.mean(0))
    assert not model.weight.requires_grad and not model.training
