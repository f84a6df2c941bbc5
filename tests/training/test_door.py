"""The door: foreign modules are tried on real rows, along the route that trains them."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit import CNN, TrainSpec, from_arrays
from unlearnkit.models.architecture import as_architecture
from unlearnkit.models.handling import Handling
from unlearnkit.models.losses import CrossEntropy
from unlearnkit.seeding import state_bytes
from unlearnkit.store import MemoryStore
from unlearnkit.training.door import changed_attributes, try_module
from unlearnkit.training.plan import Plan, make_plan
from unlearnkit.training.train import train

SPEC = TrainSpec(num_shards=2, num_slices=2, epochs=2, batch_size=8)


class FunctionalDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 5)
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.dropout(self.body(x), 0.5, self.training))


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = FunctionalDropout()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


class Listed(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)
        self.layers = [nn.Dropout(0.5)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers[0](super().forward(x))


class Gumbel(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gumbel_softmax(super().forward(x))


class NumpyNoise(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + float(np.random.normal())


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.LSTM(1, 2, num_layers=2, dropout=0.5, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x.unsqueeze(-1))[0].flatten(1))


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.MultiheadAttention(1, 1, dropout=0.5, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.unsqueeze(-1)
        return self.head(self.body(x, x, x, need_weights=False)[0].flatten(1))


def plan_of(model: Callable[..., nn.Module], features: np.ndarray | None = None) -> Plan:
    if features is None:
        features = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
    data = from_arrays(features, np.arange(len(features)) % 3)
    architecture = as_architecture(model, data.feature_shape, 3)
    return make_plan(data.train, architecture, SPEC)


@pytest.mark.parametrize(
    ("model", "error", "match"),
    [
        (lambda: nn.Linear(4, 4), ValueError, r"shape \(3, 4\).*3 classes or targets, so \(3, 3\)"),
        (lambda: nn.Linear(9, 3), ValueError, r"trained with 3 examples of shape \(4,\)"),
        (
            FunctionalDropout,
            ValueError,
            r"FunctionalDropout draws .* nn.Dropout in place of the fun",
        ),
        (lambda: nn.Embedding(9, 3), ValueError, r"Note that features are .*\(x\.long\(\)\)"),
        (lambda: nn.EmbeddingBag(9, 3), ValueError, r"Note that features are .*\(x\.long\(\)\)"),
        (Nested, ValueError, r"layer 'inner' \(FunctionalDropout\) draws random"),
        (
            lambda: nn.Sequential(nn.Linear(4, 3), nn.RReLU()),
            ValueError,
            r"'1' \(RReLU\).*LeakyReLU",
        ),
        (
            lambda: nn.Sequential(nn.Linear(4, 3), nn.AlphaDropout()),
            ValueError,
            "in place of Alpha",
        ),
        (Recurrent, ValueError, r"layer 'body' \(LSTM\) draws random.*dropout=0"),
        (Attentive, ValueError, r"'body' \(MultiheadAttention\) draws random.*dropout=0"),
        (Listed, ValueError, "This Dropout is not registered.*nn.ModuleList"),
        (Gumbel, ValueError, "Use torch.softmax"),
        (
            NumpyNoise,
            ValueError,
            "NumpyNoise computes different bits.*first difference is in its outputs",
        ),
    ],
)
def test_unfit_modules_are_refused(model: object, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        try_module(plan_of(model))


class Squeezing(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze()


class Complex(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(super().forward(x))


def test_outputs_are_checked_for_one_example_too() -> None:
    with pytest.raises(ValueError, match=r"turns 1 example into an output of shape \(3,\)"):
        try_module(plan_of(Squeezing))


def test_complex_outputs_are_refused() -> None:
    with pytest.raises(TypeError, match="numbers of type complex64; real numbers"):
        try_module(plan_of(Complex))


def test_a_failed_trial_is_repeated() -> None:
    plan = plan_of(Squeezing)
    for _ in range(2):
        with pytest.raises(ValueError, match="1 example"):
            try_module(plan)


class Half(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).bfloat16()


class Writing(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clamp_(min=0))


def closing() -> nn.Module:
    """A module whose hook reads another layer of the same module, which a copy would share."""
    module, other = nn.Sequential(nn.Linear(4, 3)), nn.Linear(3, 3)
    module.register_module("other", nn.Identity())
    module.register_forward_hook(lambda _, given, outputs: other(outputs))
    module.register_parameter("scale", other.weight)
    return module


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda: nn.Linear(4, 3), Handling()),
        (Half, Handling(casts_outputs=True)),
        (Writing, Handling(clones_inputs=True)),
        (closing, Handling(rebuilt=True)),
    ],
    ids=["plain", "half", "writing", "closing"],
)
def test_handling(model: Callable[[], nn.Module], expected: Handling) -> None:
    plan = plan_of(model)
    assert try_module(plan) == expected
    assert plan.architecture.handling == expected
    assert try_module(plan) is plan.architecture.handling


def test_inputs_are_not_written_to_and_outputs_are_float32() -> None:
    inputs = torch.full((2, 4), -1.0)
    for model in (Writing, Half):
        plan = plan_of(model)
        try_module(plan)
        assert plan.architecture.module()(inputs).dtype == torch.float32
    assert (inputs == -1).all()


class Viewing(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.body, self.head, self.how = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * 36, 3), how

    def forward(self, x: Tensor) -> Tensor:
        return self.head(getattr(torch.relu(self.body(x)), self.how)(len(x), -1))


def test_a_view_trains_to_the_bits_of_a_reshape() -> None:
    images = np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype("float32")
    states = []
    for how in ("reshape", "view"):
        plan, store = plan_of(lambda how=how: Viewing(how), images), MemoryStore()
        train(plan, store)
        assert plan.architecture.handling == Handling(reshapes=how == "view")
        states.append([state_bytes(store.get(plan.final_key(s)).state) for s in range(2)])
    assert states[0] == states[1]


class Strided(nn.Module):
    """A module that computes something else in another layout, as it reads memory directly."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4 * 16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return self.head(x.as_strided((len(x), 64), (64, 1)))


def test_a_module_that_depends_on_the_layout_is_trained_in_its_own() -> None:
    images = np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype("float32")
    assert try_module(plan_of(Strided, images)) == Handling(channels_last=False)


class Annealed(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)
        self.heat = 1.0

    def forward(self, x: Tensor) -> Tensor:
        self.heat *= 0.9 if self.training else 1.0
        return super().forward(x) * self.heat


def test_state_outside_the_state_is_named() -> None:
    plan = plan_of(Annealed)
    with pytest.warns(UserWarning, match=r"Annealed remembers .*\(heat\).*register_buffer"):
        assert try_module(plan).forgets == ("heat",)


class Unseeded(nn.Linear):
    """A module with numbers that two builds do not have in common."""

    def __init__(self) -> None:
        super().__init__(4, 3)
        self.rng = np.random.default_rng()


class Growing(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "shift"):
            self.register_buffer("shift", x.mean(0))
        return super().forward(x - self.shift)


class Hidden(nn.Linear):
    """A module that writes to its inputs behind torch's back."""

    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x.data.mul_(2)
        return super().forward(x)


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (Unseeded, "holds rng, which differs between two modules built from the same seed"),
        (Growing, "creates or changes the shape of shift in its forward"),
    ],
)
def test_modules_without_a_fixed_content_are_refused(model: type[nn.Module], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        try_module(plan_of(model))


def test_hidden_writes_to_the_inputs_are_met() -> None:
    assert try_module(plan_of(Hidden)) == Handling(clones_inputs=True)


def test_changed_attributes_are_those_outside_the_state() -> None:
    one, other = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    other(torch.ones(3, 2))
    other.cache = torch.ones(2)
    assert changed_attributes(one, other) == ("cache",)


def test_only_retained_rows_are_read() -> None:
    features = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
    plan = plan_of(lambda: nn.Linear(4, 3), features)
    revoked = plan.partition.ids[:5]
    plan.examples.features[:5] = torch.nan

    class Seeing(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            assert not x.isnan().any()
            return super().forward(x)

    architecture = as_architecture(Seeing, (4,), 3)
    try_module(make_plan(plan.examples, architecture, SPEC, revoked=revoked))
    with pytest.raises(ValueError, match="AssertionError"):
        try_module(make_plan(plan.examples, as_architecture(Seeing, (4,), 3), SPEC))


def test_a_built_in_model_that_does_not_take_the_examples_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = np.zeros((40, 1, 8, 8), "float32")
        assert try_module(plan_of(CNN(), images)) == Handling()


class MaskByShape(nn.Linear):
    """A module that keeps a table in its class, which depends on the shape of the inputs alone."""

    table: Tensor | None = None

    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if MaskByShape.table is None:
            MaskByShape.table = torch.ones(x.shape[1]).cumsum(0)
        return super().forward(x * MaskByShape.table)


def test_a_table_outside_the_module_may_depend_on_shapes() -> None:
    plan = plan_of(MaskByShape)
    train(plan, MemoryStore())
    assert plan.architecture.handling == Handling()


class MeanInTheClass(nn.Linear):
    """A module that keeps the mean of the first batch that any of its objects meets."""

    mean: Tensor | None = None

    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if MeanInTheClass.mean is None:
            MeanInTheClass.mean = x.mean(0)
        return super().forward(x - MeanInTheClass.mean)


def test_what_outlives_a_revocation_is_refused_and_put_back() -> None:
    with pytest.raises(ValueError, match=r"keeps something of the rows .* MeanInTheClass\.mean"):
        try_module(plan_of(MeanInTheClass))
    assert MeanInTheClass.mean is None


@dataclass(frozen=True)
class Counting(CrossEntropy):
    """A loss that changes with every call."""

    calls: list[int] = field(default_factory=list, repr=False)

    def output_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        self.calls.append(1)
        return super().output_gradient(outputs, targets) * max(1, len(self.calls) - self.spared)

    spared: int = 0


@dataclass(frozen=True)
class Doubled(CrossEntropy):
    """A subclass of cross-entropy with other gradients."""

    def output_gradient(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return 2 * super().output_gradient(outputs, targets)


def with_loss(loss: CrossEntropy, model: str = "mlp") -> Plan:
    plan = plan_of(lambda: nn.Linear(4, 3))
    spec = SPEC.with_(loss=loss)
    return make_plan(plan.examples, as_architecture(model, (4,), 3), spec)


def test_a_loss_that_changes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"loss .* has other gradients when it is computed again"):
        train(with_loss(Counting()), MemoryStore())
    with pytest.raises(ValueError, match="has other gradients than when the session began"):
        train(with_loss(Counting(spared=4)), MemoryStore())


def test_a_loss_derived_from_a_built_in_one_is_trained_as_it_is() -> None:
    states = []
    for loss, rate in ((Doubled(), 0.03), (CrossEntropy(), 0.06)):
        plan, store = with_loss(loss), MemoryStore()
        plan = make_plan(
            plan.examples, plan.architecture, plan.spec.with_(learning_rate=rate, weight_decay=0.0)
        )
        assert plan.stacked
        train(plan, store)
        states.append(store.get(plan.final_key(0)).state)
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name])


def test_modules_that_a_factory_changes_in_time_are_refused() -> None:
    builds: list[int] = []

    def factory() -> nn.Module:
        builds.append(1)
        module = nn.Sequential(nn.Linear(4, 3), nn.Identity())
        module.register_buffer("late", torch.tensor(float(len(builds) > limit)))
        return module

    limit = 10**9
    plan = plan_of(factory)
    try_module(plan)
    limit = len(builds)
    with pytest.raises(ValueError, match="is built with other weights from the same seed"):
        train(plan, MemoryStore())


def test_a_view_of_a_parameter_stays_one() -> None:
    class Viewed(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)
            self.register_buffer("first", self.weight.detach()[:1])

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + self.first.sum()

    plan = plan_of(Viewed)
    assert try_module(plan) == Handling(rebuilt=True)
    module = plan.architecture.module()
    assert module.first.data_ptr() == module.weight.data_ptr()


def hooked(calls: list[int] | None = None, spared: int = 1) -> nn.Module:
    """A layer whose gradient is halved after some calls, which its hook counts in a list."""
    module, own = nn.Linear(4, 3), [0] if calls is None else calls

    def halve(gradient: Tensor) -> Tensor:
        own[0] += 1
        return gradient / (1 + (own[0] > spared))

    module.weight.register_hook(halve)
    return module


def test_functions_that_keep_something_are_not_shared_by_modules() -> None:
    plan = plan_of(lambda: hooked(spared=1000))
    assert try_module(plan).rebuilt
    plan = plan_of(hooked)
    plan.architecture.trials["Handling"] = Handling(rebuilt=True)
    one, other = (plan.architecture.module() for _ in range(2))
    for module in (one, one, other):
        module.zero_grad()
        module(torch.ones(2, 4)).sum().backward()
    assert torch.equal(2 * one.weight.grad, other.weight.grad)


def test_what_a_hook_keeps_outside_the_module_is_refused() -> None:
    calls = [0]
    with pytest.raises(ValueError, match=r"<lambda> changes .* whenever it is called"):
        try_module(plan_of(lambda: hooked(calls, spared=1000)))
    assert calls == [0]


class Logarithm(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(torch.log(x))


class Freezing(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.bias.requires_grad_(False)
        return super().forward(x)


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (Logarithm, "returns NaN for 3 examples with its first weights"),
        (Freezing, "changes requires_grad of bias in its forward"),
    ],
)
def test_what_a_first_step_shows_is_named(model: type[nn.Module], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        try_module(plan_of(model))


def normalised() -> nn.Module:
    body = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.2)
    return nn.Sequential(*body, nn.Linear(64, 3))


def test_images_with_dropout_are_tried_and_plans_of_other_seeds_share_the_trial() -> None:
    images = np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype("float32")
    plan = plan_of(normalised, images)
    assert try_module(plan) == Handling()
    train(plan, MemoryStore())
    spec = plan.spec.with_(seed=1)
    train(make_plan(plan.examples, plan.architecture, spec), MemoryStore())


def test_an_embedding_that_is_too_small_is_told_the_range() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(4, 3), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.table(x).mean(1))

    data = from_arrays(np.arange(80).reshape(40, 2) % 7, np.arange(40) % 2, dtype=torch.int64)
    architecture = as_architecture(Small, data.feature_shape, 2, version="1")
    with pytest.raises(ValueError, match=r"range from 0 to 6 .*an embedding needs a row for each"):
        try_module(make_plan(data.train, architecture, SPEC))
