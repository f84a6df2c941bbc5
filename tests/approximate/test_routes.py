"""Which approximate routes are open for a module, and the reasons for the others."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import unlearnkit as uk
from unlearnkit.approximate import METHODS, StagedInfluence
from unlearnkit.approximate.defaults import default_method
from unlearnkit.approximate.routes import ROWS, Routes, cause_of, head_stack, refusal, tried
from unlearnkit.approximate.timing import time_large_batches
from unlearnkit.unlearning.boundary.protocol import Decision


class Opaque(torch.autograd.Function):
    """The hyperbolic tangent; its backward pass leaves torch and so has no derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.slope = 1 - x.tanh().square()
        return x.tanh()

    @staticmethod
    def backward(ctx, given):
        return torch.from_numpy((given * ctx.slope).detach().numpy())


class Wrong(torch.autograd.Function):
    """The identity; its backward pass is linear, but one that torch differentiates to another."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, given):
        return given / 2 + given.detach() / 2


class Body(nn.Module):
    """A layer, an operation and a last layer."""

    def __init__(self, operation):
        super().__init__()
        self.first, self.head, self.operation = nn.Linear(4, 5), nn.Linear(5, 3), operation

    def forward(self, x):
        return self.head(self.operation(self.first(x)))


class Shared(nn.Module):
    """Two layers with one weight, the second with a bias that stands in the way of a plain head."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.last(self.second(self.first(x).tanh()).tanh())


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.head = nn.GRU(2, 3, batch_first=True), nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.cells(x.view(-1, 2, 2))[0][:, -1])


class Convolution(nn.Module):
    """A convolutional network without a linear layer."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(1, 3, 2), nn.Tanh(), nn.AdaptiveAvgPool1d(1))

    def forward(self, x):
        return self.layers(x.unsqueeze(1)).flatten(1)


def session_of(model, **options):
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(48, 4, generator=generator)
    labels = (features[:, :2] > 0).sum(1)
    return uk.Session(
        (features, labels),
        model=model,
        num_shards=2,
        num_slices=2,
        epochs=2,
        batch_size=8,
        **options,
    )


def opaque():
    return Body(Opaque.apply)


def test_a_module_that_torch_differentiates_twice_is_open_for_every_route():
    routes = Routes(session_of(lambda: Body(torch.tanh)).plan)
    assert routes.predictions == routes.gradients == routes.products == routes.head == ""


def test_a_backward_pass_without_a_derivative_closes_the_products_and_leaves_the_head():
    plan = session_of(opaque).plan
    routes = Routes(plan)
    assert routes.gradients == "" and "backward pass" in routes.products and routes.head == ""
    assert "curvature products" in StagedInfluence().unsuitable(plan)
    assert default_method(plan) == METHODS["last-layer-influence"]
    assert "curvature products" in METHODS["fixed-damping"].unsuitable(plan)
    assert METHODS["single-gradient"].unsuitable(plan) == ""


def test_a_backward_pass_with_a_wrong_derivative_is_found():
    assert "wrong derivative" in Routes(session_of(lambda: Body(Wrong.apply)).plan).products


def test_second_derivatives_that_are_not_finite_close_the_products():
    plan = session_of(lambda: Body(lambda x: x.logcumsumexp(1))).plan
    assert Routes(plan).gradients == "" and "not finite" in Routes(plan).products


def test_a_convolutional_network_without_a_linear_layer_is_corrected_in_all_parameters():
    plan = session_of(Convolution).plan
    assert "no nn.Linear" in METHODS["last-layer-influence"].unsuitable(plan)
    assert default_method(plan) == METHODS["staged-influence"]
    assert default_method(plan).unsuitable(plan) == ""


def test_a_frozen_last_layer_is_not_corrected():
    def frozen():
        body = Body(torch.tanh)
        body.head.requires_grad_(False)
        return body

    plan = session_of(frozen).plan
    assert "frozen" in Routes(plan).head and Routes(plan).products == ""


def test_rivals_refuse_what_they_cannot_do():
    recurrent = session_of(Recurrent).plan
    assert "vectorise" in METHODS["ssd"].unsuitable(recurrent)
    assert METHODS["kfac"].unsuitable(recurrent) == ""
    shared = session_of(Shared).plan
    assert "used more than once" in METHODS["kfac"].unsuitable(shared)
    assert METHODS["ssd"].unsuitable(shared) == ""


def test_a_closed_route_sends_its_shards_to_retraining_with_the_reason():
    session = session_of(opaque)
    session.train()
    session.revoke(count=2)
    result = session.unlearn(0, method="staged-influence")
    assert {route.kind for route in result.decision.routes} == {"exact"}
    assert all("backward pass" in route.reason for route in result.decision.routes)
    assert session.compare().bit_identical
    session.revoke(count=2)
    assert session.unlearn(0).decision.approximate


def test_a_boundary_that_ignores_the_reason_is_overruled():
    class Modifies:
        def decide(self, workload, costs, debts):
            routes = [costs.route(w, "approximate", 0.0, "mine") for w in workload.shards]
            return Decision.of(routes, self, costs)

    session = session_of(opaque)
    session.train()
    session.revoke(count=2)
    decision = session.unlearn(boundary=Modifies(), method="fixed-damping").decision
    assert decision.exact and not decision.approximate
    assert all("backward pass" in r.reason and "mine" in r.reason for r in decision.routes)
    assert decision.seconds == pytest.approx(sum(r.seconds for r in decision.routes))


def test_large_batches_are_not_timed_where_nothing_could_be_modified():
    class Ends(nn.Linear):
        def forward(self, x):
            return Opaque.apply(super().forward(x))

    session = session_of(lambda: Ends(4, 3))
    session.train()
    assert time_large_batches(session.plan, session.store, 600.0) == ()
    session.revoke(count=2)
    assert session.unlearn(0).decision.approximate == ()


def test_attempts_are_made_once_on_retained_examples():
    plan = session_of(lambda: Body(torch.tanh)).plan
    gone = plan.partition.ids[: len(plan.partition.ids) - 2]
    after, seen = plan.without(gone), []
    for _ in range(2):
        assert tried(after, "something", lambda *given: seen.append(given) or "no") == "no"
    ((inputs, targets),) = seen
    assert len(inputs) == len(targets) == 2 < ROWS
    assert torch.equal(inputs, plan.examples[plan.partition.ids[-2:]][0])
    nobody = plan.without(plan.partition.ids)
    assert tried(nobody, "something else", lambda *given: "no") == ""
    assert "route: something else" not in plan.architecture.trials


def test_built_in_models_are_not_tried():
    plan = session_of("mlp").plan
    assert Routes(plan).products == "" and tried(plan, "x", lambda *given: "no") == ""
    assert not [name for name in plan.architecture.trials if name.startswith("route")]
    assert head_stack(plan).widths[-1] == 3


def test_attempts_do_not_depend_on_the_settings_of_the_caller():
    plan = session_of(lambda: Body(torch.tanh)).plan
    with torch.inference_mode(), np.errstate(all="raise"):
        assert Routes(plan).products == ""


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("derivative for aten::_flash_backward is not implemented", "derivative of flash"),
        ("the derivative for 'bucketize' is not implemented.", "no derivative of bucketize"),
        ("a leaf Variable that requires grad is used in an in-place operation.", "in place"),
        ("add(sparse, dense) is not supported.", "sparse=True"),
        ("element 0 of tensors does not require grad", "has no derivative"),
        ("index out of range in self", "the module fails with: index out of range in self"),
        ("", "the module fails with: RuntimeError"),
    ],
)
def test_errors_of_torch_become_causes(text, cause):
    assert cause in cause_of(RuntimeError(text))
    assert refusal("this", cause_of(RuntimeError(text))).endswith("so it is retrained exactly")


def test_tied_weights_are_corrected_under_both_of_their_names():
    session = session_of(Shared, learning_rate=0.1)
    session.train()
    session.revoke(count=4)
    session.unlearn(0, amend="none")
    for each in session.ensemble.constituents:
        assert torch.equal(each.state["first.weight"], each.state["second.weight"])


@dataclass(frozen=True)
class Curved:
    """Cross-entropy with a Hessian that is multiplied by a factor."""

    factor: float
    name: ClassVar[str] = "curved"

    def value(self, outputs, targets):
        return uk.CrossEntropy().value(outputs, targets)

    def output_gradient(self, outputs, targets):
        return uk.CrossEntropy().output_gradient(outputs, targets)

    def output_hessian_product(self, outputs, vectors):
        return self.factor * uk.CrossEntropy().output_hessian_product(outputs, vectors)

    def probabilities(self, outputs):
        return outputs.softmax(-1)


@pytest.mark.parametrize(
    ("factor", "cause"),
    [
        (1, ""),
        (3, ""),  # more damping than needed, which does no harm
        (0, "is far below the slope of its output_gradient"),
        (-1, "is not positive semidefinite"),
        (float("nan"), "is not finite"),
    ],
)
@pytest.mark.parametrize("method", ["staged-influence", "fixed-damping", "kfac"])
def test_a_loss_whose_hessian_contradicts_its_gradient_is_retrained(factor, cause, method):
    features = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    data = uk.from_arrays(features, (features[:, 0] > 0).long())
    session = uk.Session(data, model="logistic", loss=Curved(factor), num_shards=1, num_slices=2)
    said = METHODS[method].unsuitable(session.plan)
    assert (cause in said and "retrained exactly" in said) if cause else said == ""
