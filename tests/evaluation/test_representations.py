"""Representations compared, against scikit-learn and dense formulas."""

import math

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from comparisons import compared, shard_of
from unlearnkit.evaluation import representations
from unlearnkit.models import chunks
from unlearnkit.models.architecture import as_architecture


def test_cka_is_the_dense_formula_both_ways_round():
    generator = torch.Generator().manual_seed(0)
    for size in (6, 30):  # fewer and more examples than features
        x = torch.randn(size, 9, generator=generator, dtype=torch.float64)
        y = torch.randn(size, 4, generator=generator, dtype=torch.float64) + x[:, :4]
        centre = torch.eye(size, dtype=torch.float64) - 1 / size

        def hsic(a, b, centre=centre):
            return torch.trace(a @ a.T @ centre @ b @ b.T @ centre)

        expected = hsic(x, y) / (hsic(x, x) * hsic(y, y)).sqrt()
        assert representations.linear_cka(x, y) == pytest.approx(float(expected), rel=1e-10)
        rotation, _ = torch.linalg.qr(torch.randn(9, 9, generator=generator, dtype=torch.float64))
        assert representations.linear_cka(x, 3 * x @ rotation + 7) == pytest.approx(1)
    assert representations.linear_cka(x, x) == 1
    assert math.isnan(representations.linear_cka(x, torch.zeros(30, 2)))


def test_layers_give_what_the_module_gives(mixed, images):
    for comparison, dataset in (mixed, images):
        architecture = comparison.scratch.architecture
        state = comparison.scratch.constituents[0].state
        inputs, _ = dataset.examples(dataset.test.ids)
        given = representations.layer_outputs(architecture, state, inputs)
        module = architecture.module(state)
        with torch.no_grad():
            assert torch.equal(list(given.values())[-1], module(inputs))
            hidden = torch.nn.Sequential(*list(module)[:-1])(inputs)
        assert torch.equal(given[representations.HIDDEN], hidden.flatten(1))


def test_layer_similarity_is_one_where_exact_and_less_where_not(mixed):
    comparison, dataset = mixed
    frame = representations.layer_similarity(comparison, dataset)
    exact = frame["shard"] == shard_of(comparison, True)
    unlearned = frame["model"] == "unlearned"
    assert (frame["cka"][exact & unlearned] == 1).all() and frame["identical"][
        exact & unlearned
    ].all()
    rest = frame[~exact | ~unlearned]
    assert rest["cka"].between(0, 1).all() and not rest["identical"].all()
    assert representations.HIDDEN not in set(frame["layer"])


@pytest.mark.parametrize("model", ["unlearned", "original"])
def test_twins_stand_where_scikit_learns_pca_puts_them(mixed, model):
    comparison, dataset = mixed
    shard = shard_of(comparison, False)
    twin = representations.twin_embedding(comparison, dataset, shard, model=model, most=9)
    assert (~twin.forgotten).sum() == 9 and 0 < twin.forgotten.sum() < 3
    assert twin.ids[9:].tolist() == comparison.forgotten_of(shard).tolist()
    inputs, labels = dataset.examples(twin.ids)
    assert twin.labels.tolist() == labels.tolist()
    hidden = {
        name: representations.layer_outputs(
            comparison.scratch.architecture, getattr(comparison, name).by_shard[shard].state, inputs
        )[representations.HIDDEN]
        .double()
        .numpy()
        for name in ("scratch", model)
    }
    pca = PCA(2, svd_solver="full").fit(hidden["scratch"][:9])
    signs = [1 if row[np.abs(row).argmax()] > 0 else -1 for row in pca.components_]
    assert twin.scratch == pytest.approx(pca.transform(hidden["scratch"]) * signs, abs=1e-6)
    assert twin.other == pytest.approx(pca.transform(hidden[model]) * signs, abs=1e-6)
    assert twin.explained == pytest.approx(pca.explained_variance_ratio_.sum())
    assert not twin.identical and len(twin.to_frame()) == len(twin.ids)


def test_twins_of_an_exact_constituent_do_not_move(mixed):
    comparison, dataset = mixed
    twin = representations.twin_embedding(comparison, dataset, shard_of(comparison, True))
    assert twin.identical and (twin.scratch == twin.other).all()


def test_a_model_without_hidden_layers_is_shown_by_its_output():
    comparison, dataset = compared("logistic", 0.0)
    shard = comparison.shards[0]
    twin = representations.twin_embedding(comparison, dataset, shard)
    assert twin.layer == representations.OUTPUT and not twin.identical


class Odd(nn.Module):
    """Uses a layer twice, another by keyword, and one whose outputs have no batch in front."""

    def __init__(self):
        super().__init__()
        self.twice, self.turned, self.head = nn.Linear(4, 4), nn.Linear(1, 3), nn.Linear(4, 3)

    def forward(self, x):
        hidden = self.twice(self.twice(x).tanh()).tanh()
        return self.head(input=hidden) + self.turned(x.T.unsqueeze(2)).mean(0)


class Raw(nn.Module):
    """Has no layer but itself."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3))

    def forward(self, x):
        return x @ self.weight


@pytest.mark.parametrize("model", [Odd, Raw])
def test_layers_give_one_row_for_each_example_however_they_are_used(model, monkeypatch):
    architecture, inputs = as_architecture(model, (4,), 3), torch.randn(7, 4)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 80)  # 4 rows at a time
    state = architecture.initial(0, 0)
    found = representations.layer_outputs(architecture, state, inputs)
    module = architecture.module(state)
    if model is Raw:
        assert torch.equal(next(iter(found.values())), module(inputs).detach())
        return
    assert {name: tuple(each.shape) for name, each in found.items()} == {
        "twice Linear": (7, 4),
        "head Linear": (7, 3),
    }
    last = module.twice(module.twice(inputs).tanh()).detach()
    torch.testing.assert_close(found["twice Linear"], last)
