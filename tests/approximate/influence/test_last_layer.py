"""Corrections of last layers, against automatic differentiation."""

import pytest
import torch
from torch import nn

import unlearnkit as uk
from rounds import check_lanes, corrections_of, quiet, uneven_rounds, uneven_session
from unlearnkit.approximate import (
    StagedInfluence,
)
from unlearnkit.approximate.influence import last_layer, staged
from unlearnkit.approximate.routes import head_stack
from unlearnkit.models.stack import as_head


class Images(nn.Module):
    """A convolution with batch statistics on the seven features laid out as an image."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv1d(1, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(20, 6)

    def forward(self, x):
        return self.head(self.body(x.unsqueeze(1)))


class Scaled(Images):
    """Changed in place after its last layer, though not at every output."""

    def forward(self, x):
        return super().forward(x).clamp_(-1.0, 1.0)


class Tied(nn.Module):
    """Its last layer is used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(7, 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.head(self.head(self.first(x)).tanh())


class Shared(Tied):
    """Its last layer's weight is used before it."""

    def forward(self, x):
        return self.head(nn.functional.linear(self.first(x), self.head.weight).tanh())


class Reordered(Images):
    """The bias comes first."""

    def __init__(self):
        super().__init__()
        weight = self.head.weight
        del self.head.weight
        self.head.weight = weight


class Hooked(Images):
    """Another's hook changes what its last layer returns."""

    def __init__(self):
        super().__init__()
        self.head.register_forward_hook(lambda layer, given, outputs: 3 * outputs)


class Named(Images):
    """Calls its last layer with a keyword."""

    def forward(self, x):
        return self.head(input=self.body(x.unsqueeze(1)))


class Low(Images):
    """In a lower precision."""

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)


HEADS = {
    "convolution": (Images, {}),
    "perceptron": (uk.MLP((9,)), {}),
    "squared error, dropout": (uk.MLP((9,), dropout=0.2), {"loss": "squared-error"}),
}

BLIND = {
    "changed in place": Scaled,
    "used twice": Tied,
    "weight used before": Shared,
    "bias first": Reordered,
    "changed by a hook": Hooked,
    "called by keyword": Named,
    "no bias": lambda: nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 6, bias=False)),
    "more behind it": lambda: nn.Sequential(nn.Linear(7, 6), nn.Tanh()),
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("together", [3, 2, 1])
def test_heads_agree_with_automatic_differentiation(name, together, monkeypatch):
    model, options = HEADS[name]
    session = uneven_session(model, **options)
    method = StagedInfluence(
        scope="head", iterations=5, candidates=25, curvature_min=9, damping=20.0
    )
    monkeypatch.setattr(last_layer, "last_layers_together", lambda stack, curvature: together)
    monkeypatch.setattr(last_layer, "CHUNK", 7)
    told = []
    found = method(uneven_rounds(session), on_progress=lambda *step: told.append(step))
    assert len(told) == {3: 4, 2: 4 + 3, 1: 4 + 2 + 3}[together] and told[0][1] == 0
    check_lanes(session, method, found)


@pytest.mark.parametrize("together", [3, 1])
def test_heads_agree_where_early_stages_are_merged(together, monkeypatch):
    session = uneven_session(Images)
    method = StagedInfluence(scope="head", iterations=5, curvature_min=9, merge=2)
    monkeypatch.setattr(last_layer, "last_layers_together", lambda stack, curvature: together)
    check_lanes(session, method, method(uneven_rounds(session), on_progress=quiet))


@pytest.mark.parametrize("name", BLIND)
def test_a_last_layer_that_does_not_give_the_outputs_is_differentiated(name, monkeypatch):
    session = uneven_session(BLIND[name])
    assert head_stack(session.plan) is None
    monkeypatch.setattr(staged, "modify_last_layers", None)
    method = StagedInfluence(scope="head", curvature_min=9)
    rounds = uneven_rounds(session)
    found = method(rounds, on_progress=quiet)
    for lane, given in zip(found, uneven_rounds(session), strict=True):
        assert lane.correction_norm == method.modify(given, quiet).correction_norm > 1e-3
    work = [method.batches(each.state.plan, {each.state.shard: each.forget}) for each in rounds]
    forget = {each.state.shard: each.forget for each in rounds}
    together = method.batches(rounds[0].state.plan, forget)
    assert together.batches == sum(each.batches for each in work)


def test_other_last_layers_are_not_taken_for_plain_ones():
    inputs = torch.randn(3, 7)
    assert as_head(nn.Linear(7, 6), inputs) is None  # there is no body
    assert as_head(nn.Flatten(), inputs) is None
    assert as_head(Low(), inputs) is None
    assert as_head(nn.Sequential(nn.Unflatten(1, (7, 1)), nn.Linear(1, 6)), inputs) is None
    normed = nn.Sequential(nn.Tanh(), nn.utils.parametrizations.weight_norm(nn.Linear(7, 6)))
    assert as_head(normed, inputs) is None


def test_products_with_heads_are_planned_to_be_shared(monkeypatch):
    session, method = uneven_session(Images), StagedInfluence(scope="head")
    plan = session.plan
    forget = {each.state.shard: each.forget for each in uneven_rounds(session)}
    alone = [method.batches(plan, {shard: some}) for shard, some in forget.items()]
    together = method.batches(plan, forget)
    assert together.batches < sum(each.batches for each in alone)
    assert together.visits == pytest.approx(sum(each.visits for each in alone), abs=3)
    monkeypatch.setattr(last_layer, "GROUP_BYTES", 1)
    assert method.batches(plan, forget).batches == sum(each.batches for each in alone)


def test_where_few_are_forgotten_less_is_done_to_heads_too():
    session = uneven_session(uk.MLP((9,)))
    method = StagedInfluence(
        scope="head", curvature_share=0.5, curvature_min=5, candidates=40, few=0.15
    )
    rounds, counts = uneven_rounds(session), set()
    found = method(rounds, on_progress=quiet)
    for given, got in zip(uneven_rounds(session), found, strict=True):
        forgotten = len(given.forget)
        fit = method.settings_for(forgotten, forgotten + len(given.retain))
        counts.add(fit.substeps)
        theirs = corrections_of(session, fit.modify(given, quiet))
        for place, change in corrections_of(session, got).items():
            assert (change - theirs[place]).abs().max() < 1e-6 + 1e-3 * change.abs().max()
    assert counts == {1, 2}
