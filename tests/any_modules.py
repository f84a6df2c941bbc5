"""Small modules of every kind that users bring, each with what must become of it.

The names of :data:`ZOO` are what :mod:`training.test_any_module` runs through. A module either
trains and unlearns to the very bytes of a training without the revoked rows, or is refused in one
sentence that names the cause.
"""

import collections
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint

from unlearnkit.data.examples import Dataset, Examples

NUM_TRAIN, NUM_PROBE, NUM_TEST, NUM_CLASSES, NUM_TOKENS = 46, 8, 12, 3, 12

# One example's features. Tokens are whole numbers as real ones; large tokens stay whole, because
# float32 could not tell them apart.
SHAPES = {
    **{"table": (6,), "image": (2, 4, 4), "sequence": (5, 4), "tokens": (5,), "large tokens": (5,)}
}
FIRST_LARGE = 2**40


@dataclass(frozen=True)
class Kind:
    """A module and what must become of it.

    Attributes:
        model: what a user passes as ``model``.
        data: the kind of features, a key of :data:`SHAPES`.
        refused: words one of which a refusal must contain; none where the module must be exact.
        either: whether being exact is right too.
        shared: modules of the user's own that the model is built from; they must stay as they are.
    """

    model: Callable[[], nn.Module]
    data: str = "table"
    refused: tuple[str, ...] = ()
    either: bool = False
    shared: tuple[nn.Module, ...] = ()


def dataset(data: str) -> Dataset:
    """Rows whose label shows in their features, in a training, a probe and a test part."""
    rng = np.random.default_rng(4)
    count, shape = NUM_TRAIN + NUM_PROBE + NUM_TEST, SHAPES[data]
    labels = rng.integers(0, NUM_CLASSES, count)
    if "tokens" in data:
        draws = rng.integers(0, NUM_TOKENS, (count, *shape))
        features = torch.from_numpy(np.where(rng.random(draws.shape) < 0.4, labels[:, None], draws))
        features = features.float() if data == "tokens" else features + FIRST_LARGE
    else:
        centres = rng.normal(size=(NUM_CLASSES, *shape))
        rows = (centres[labels] + rng.normal(size=(count, *shape))) / 2
        features = torch.from_numpy(rows.astype(np.float32))
    ids, answers = 7 + 3 * np.arange(count), torch.from_numpy(labels)
    parts, begin = [], 0
    for size in (NUM_TRAIN, NUM_PROBE, NUM_TEST):
        own = slice(begin, begin + size)
        parts.append(Examples(ids[own], features[own].clone(), answers[own].clone()))
        begin += size
    return Dataset(data, *parts, NUM_CLASSES, ("a", "b", "c"))


class Body(nn.Module):
    """A hidden layer and a head; those below change what happens on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(self.before(x))) * self.factor(x))

    def before(self, x: Tensor) -> Tensor:
        return x

    def factor(self, x: Tensor) -> Any:
        return 1.0


# Attention


class Attention(nn.Module):
    """Fused attention over the places of a sequence."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.mix, self.head, self.dropout = nn.Linear(4, 24), nn.Linear(8, NUM_CLASSES), dropout

    def forward(self, x: Tensor) -> Tensor:
        mixed = self.mix(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        rate = self.dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(*mixed, dropout_p=rate)
        return self.head(seen.transpose(1, 2).flatten(2).mean(1))


class CausalAttention(nn.Module):
    """Masked attention with a relative bias that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Linear(4, 12), nn.Linear(4, NUM_CLASSES)
        self.bias = nn.Parameter(torch.zeros(5, 5))
        self.register_buffer("mask", torch.ones(5, 5).tril().log(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.mix(x).chunk(3, -1)
        weights = (q @ k.mT / 2 + self.bias + self.mask).softmax(-1)
        return self.head((weights @ v)[:, -1])


class Transformer(nn.Module):
    """torch's encoder layer, which takes a faster path in evaluation mode."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=dropout, batch_first=True)
        self.head = nn.Linear(4, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).mean(1))


# Recurrent


class Recurrent(nn.Module):
    """A layer of torch's that runs over the places of a sequence, and a head on its last output."""

    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.cell = kind(4, 5, batch_first=True, **options)
        self.head = nn.Linear(5 * (1 + self.cell.bidirectional), NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0][:, -1])


class OwnCell(nn.Module):
    """A recurrence written out, with an initial state that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(4, 5), nn.Linear(5, NUM_CLASSES)
        self.first = nn.Parameter(torch.zeros(5))

    def forward(self, x: Tensor) -> Tensor:
        state = self.first.expand(len(x), -1)
        for place in x.unbind(1):
            state = self.cell(place, state)
        return self.head(state)


class Stateful(nn.Module):
    """A recurrence that goes on from the batch before, as in truncated backpropagation."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head, self.state = nn.GRUCell(4, 5), nn.Linear(5, NUM_CLASSES), None

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 5)
        if self.state is not None:
            state = state + self.state.mean(0)
        for place in x.unbind(1):
            state = self.cell(place, state)
        self.state = state.detach()
        return self.head(state)


# Convolutional


class Convolutional(nn.Module):
    """Two convolutions with something between, flattened by ``view``."""

    def __init__(self, between: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.between, self.head = between(4), nn.Linear(4 * 2 * 2, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(torch.relu(self.between(self.one(x))), 2)
        return self.head(self.two(x).view(x.size(0), -1))


class Shuffle(nn.Module):
    """A channel shuffle, which views, transposes and views again."""

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)


def no_linear_head() -> nn.Module:
    """A network of convolutions alone."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, groups=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, NUM_CLASSES, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def over_time() -> nn.Module:
    """A convolution over the places of a sequence, with pooling."""
    return nn.Sequential(
        nn.Conv1d(5, 6, 2), nn.GELU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(6, NUM_CLASSES)
    )


# Tied and parametrised


class TiedLayers(nn.Module):
    """One matrix that is used in both directions, and one layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.code, self.twice = nn.Linear(6, 6, bias=False), nn.Linear(6, 6)
        self.decode = nn.Linear(6, 6, bias=False)
        self.decode.weight, self.head = self.code.weight, nn.Linear(6, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.decode(torch.tanh(self.code(x)))
        return self.head(torch.tanh(self.twice(torch.tanh(self.twice(x)))))


class TiedTokens(nn.Module):
    """Token vectors that are also the weights of the outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(NUM_TOKENS, 6), nn.Linear(6, NUM_TOKENS, bias=False)
        self.out.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.words(x.long()).mean(1))[:, :NUM_CLASSES]


class Reparametrised(nn.Module):
    """A network whose first layer's weight is computed from other parameters."""

    def __init__(self, change: Callable[[nn.Module], nn.Module]) -> None:
        super().__init__()
        self.one, self.two = change(nn.Linear(6, 8)), nn.Linear(8, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.relu(self.one(x)))


def reparametrised_sequence(change: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return nn.Sequential(change(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, NUM_CLASSES))


def pruned(layer: nn.Module) -> nn.Module:
    return prune.l1_unstructured(layer, "weight", 0.5)


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.abs()


def positive(layer: nn.Module) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return layer


# Tokens


class Tokens(nn.Module):
    """Token vectors, averaged."""

    def __init__(self, kind: type = nn.Embedding, **options: Any) -> None:
        super().__init__()
        self.words, self.head = kind(NUM_TOKENS, 6, **options), nn.Linear(6, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        found = self.words(x.long())
        return self.head(found if found.ndim == 2 else found.mean(1))


class LargeTokens(Tokens):
    """Token vectors by whole numbers that float32 cannot hold."""

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.words(x - FIRST_LARGE).mean(1))


class OneHot(nn.Module):
    """Tokens as columns of zeros and ones."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(NUM_TOKENS * 5, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.one_hot(x.long(), NUM_TOKENS).flatten(1).float())


# Other numbers


class Spectrum(nn.Module):
    """A filter in the frequency domain."""

    def __init__(self) -> None:
        super().__init__()
        self.filter, self.head = nn.Parameter(torch.ones(4, 2)), nn.Linear(6, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x) * torch.view_as_complex(self.filter)
        return self.head(torch.fft.irfft(spectrum, 6))


class ComplexWeights(nn.Module):
    """A layer whose parameters are complex numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 8, dtype=torch.complex64) / 3)
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((x.to(torch.complex64) @ self.weight).abs())


class Double(nn.Module):
    """A network that computes in double precision and returns what it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8).double(), nn.Linear(8, NUM_CLASSES).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x.double())))


class Mixed(Body):
    """A network whose hidden layer computes in bfloat16 on its own accord."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)


class HalfOut(Body):
    """Outputs in a shorter kind of number."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).bfloat16()


# State outside state_dict


class Annealed(Body):
    """A temperature that falls with each step."""

    def __init__(self) -> None:
        super().__init__()
        self.heat = 1.0

    def factor(self, x: Tensor) -> float:
        if self.training:
            self.heat *= 0.97
        return 1 + self.heat


class Counter(Body):
    """A counter of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def factor(self, x: Tensor) -> float:
        self.steps += self.training
        return 1 / (1 + 0.05 * self.steps)


class WarmUp(Body):
    """A counter of steps that is without effect for the first of them."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def factor(self, x: Tensor) -> float:
        self.steps += self.training
        return 1.0 if self.steps <= 11 else 0.5


class FirstBatch(Body):
    """Inputs are centred by the mean of the first batch that the module meets."""

    def __init__(self) -> None:
        super().__init__()
        self.mean: Tensor | None = None

    def before(self, x: Tensor) -> Tensor:
        if self.mean is None:
            self.mean = x.detach().mean(0)
        return x - self.mean


class FirstShape(Body):
    """A tensor that is computed once, from the shape of the inputs alone."""

    def before(self, x: Tensor) -> Tensor:
        if not hasattr(self, "angles"):
            self.angles = torch.arange(x.shape[1]).float().sin()
        return x + self.angles


class HiddenBuffer(Body):
    """A running mean in a buffer that state_dict leaves out."""

    def __init__(self, persistent: bool = False) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(6), persistent=persistent)

    def before(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return x - self.mean


class RunningAttribute(Body):
    """The same mean as a plain attribute, updated in place."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(6)

    def before(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean.mul_(0.9).add_(x.detach().mean(0), alpha=0.1)
        return x - self.mean


class PastActivations(Body):
    """A queue of the activations of batches before."""

    def __init__(self) -> None:
        super().__init__()
        self.past: collections.deque[Tensor] = collections.deque(maxlen=3)

    def before(self, x: Tensor) -> Tensor:
        if self.training:
            self.past.append(x.detach().mean(0))
        return x - sum(self.past) / max(1, len(self.past))


class OwnGenerator(Body):
    """Noise from a generator that belongs to the module."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(3)

    def factor(self, x: Tensor) -> Any:
        noise = torch.rand(len(x), 8, generator=self.generator)
        return 1 + noise / 4 if self.training else 1.0


class OwnNumpyGenerator(Body):
    """Noise from a numpy generator that belongs to the module."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng(3)

    def factor(self, x: Tensor) -> Any:
        return 1 + self.rng.random() / 4 if self.training else 1.0


class ExtraState(Body):
    """A counter that ``get_extra_state`` adds to the state_dict."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]

    def factor(self, x: Tensor) -> float:
        self.steps += self.training
        return 1 / (1 + 0.05 * self.steps)


# Random in odd places, and what changes by itself


class Noisy(Body):
    """A factor that a function computes of the module, its step and its batch."""

    def __init__(self, draw: Callable[[int, Tensor], Any]) -> None:
        super().__init__()
        self.draw, self.steps = draw, 0

    def factor(self, x: Tensor) -> Any:
        self.steps += 1
        return self.draw(self.steps, x) if self.training else 1.0


def noisy(draw: Callable[[int, Tensor], Any]) -> Callable[[], nn.Module]:
    return partial(Noisy, draw)


def by_python(step: int, x: Tensor) -> float:
    return 1 + random.random() / 4


def by_numpy(step: int, x: Tensor) -> float:
    return 1 + np.random.rand() / 4


def for_odd_batches(step: int, x: Tensor) -> Any:
    return torch.rand(8) if len(x) % 2 else 1.0


def for_batches_of_seven(step: int, x: Tensor) -> Any:
    return torch.rand(8) if len(x) == 7 else 1.0


def by_numpy_for_batches_of_seven(step: int, x: Tensor) -> float:
    return 1 + np.random.rand() / 4 if len(x) == 7 else 1.0


def at_times(step: int, x: Tensor) -> Any:
    return torch.rand(8) if step % 3 == 0 else 1.0


def at_times_by_python(step: int, x: Tensor) -> Any:
    return random.random() if step % 3 == 0 else 1.0


def functional_dropout(step: int, x: Tensor) -> Tensor:
    return F.dropout(torch.ones(len(x), 8), 0.3)


def by_time(step: int, x: Tensor) -> float:
    return 1 + (time.perf_counter() % 1) / 4


class ClassCounter(Body):
    """A counter that belongs to the class."""

    steps = 0

    def factor(self, x: Tensor) -> float:
        ClassCounter.steps += 1
        return 1 / (1 + 0.01 * ClassCounter.steps)


calls = 0


class GlobalCounter(Body):
    """A counter that belongs to the Python module, and takes effect late."""

    def factor(self, x: Tensor) -> float:
        global calls
        calls += 1
        return 1.0 if calls < 100 else 1.5


class ClassCache(Body):
    """Inputs are centred by the mean of the first batch that any module of the class meets."""

    mean: Tensor | None = None

    def before(self, x: Tensor) -> Tensor:
        if ClassCache.mean is None:
            ClassCache.mean = x.detach().mean(0)
        return x - ClassCache.mean


class DefaultArgument(Body):
    """The same mean, kept in a default argument by the size of the batch."""

    def before(self, x: Tensor, means: dict[int, Tensor] = {}) -> Tensor:  # noqa: B006 (a fault)
        if len(x) not in means:
            means[len(x)] = x.detach().mean(0)
        return x - means[len(x)]


class ClassList(Body):
    """The means of the first batches, in a list of the class."""

    means: ClassVar[list[Tensor]] = []

    def before(self, x: Tensor) -> Tensor:
        if len(self.means) < 6:
            self.means.append(x.detach().mean(0))
        return x - self.means[-1]


class MaskByShape(Body):
    """A class attribute that is computed once, from the width alone."""

    mask: Tensor | None = None

    def before(self, x: Tensor) -> Tensor:
        if MaskByShape.mask is None:
            MaskByShape.mask = torch.linspace(0, 1, x.shape[1])
        return x * MaskByShape.mask


masks: dict[int, Tensor] = {}


class MasksByShape(Body):
    """A table of masks, one for each batch size."""

    def before(self, x: Tensor) -> Tensor:
        return x * masks.setdefault(len(x), torch.linspace(0.5, 1, len(x))[:, None])


class Unseeded(Body):
    """Noise from a generator without a seed, for some batches."""

    def __init__(self) -> None:
        super().__init__()
        self.rng = np.random.default_rng()

    def factor(self, x: Tensor) -> float:
        return 1 + self.rng.random() / 4 if self.training and len(x) == 7 else 1.0


class Born(Body):
    """The time at which the module was built takes part for some batches."""

    def __init__(self) -> None:
        super().__init__()
        self.born = time.perf_counter() % 1

    def factor(self, x: Tensor) -> float:
        return 1 + self.born / 4 if self.training and len(x) == 7 else 1.0


# Inputs, outputs and structure


class WritesInputs(Body):
    """Inputs are changed in place."""

    def before(self, x: Tensor) -> Tensor:
        x[:, 0] = 0
        return x.mul_(2).add_(1)


class ReturnsView(Body):
    """Outputs are a part of a wider tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 2 * NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).view(len(x), NUM_CLASSES, 2).transpose(1, 2)[:, 0]


class Constant(nn.Module):
    """Outputs that are the same for all rows, without memory of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.prior = nn.Parameter(torch.zeros(NUM_CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        return self.prior.expand(len(x), NUM_CLASSES)


class OnBackbone(nn.Module):
    """A head on a module that the user made before and shares between builds."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(8, NUM_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.backbone(x)))


def made(*, frozen: bool, norm: bool = False) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        layers = [nn.Linear(6, 8), nn.BatchNorm1d(8)] if norm else [nn.Linear(6, 8)]
        return nn.Sequential(*layers).requires_grad_(not frozen)


FROZEN, TRAINED, NORMED = made(frozen=True), made(frozen=False), made(frozen=True, norm=True)


class Closure(nn.Module):
    """A step that is kept as a function of the module itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, NUM_CLASSES)
        self.step = lambda x: torch.tanh(self.body(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.step(x))


class Hooked(nn.Module):
    """A hook on a layer that reads a parameter of the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, NUM_CLASSES)
        self.scale = nn.Parameter(torch.ones(8))
        self.body.register_forward_hook(lambda layer, inputs, outputs: outputs * self.scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x)))


class BoundMethod(Body):
    """A method of the module that stands in a table of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.table = {"before": self.shift}

    def shift(self, x: Tensor) -> Tensor:
        return self.body.bias.mean() + x

    def before(self, x: Tensor) -> Tensor:
        return self.table["before"](x)


def hooked_sequence() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, NUM_CLASSES))
    model[0].register_forward_hook(lambda layer, inputs, outputs: outputs * 2)
    return model


def gradient_hooked_sequence() -> nn.Module:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, NUM_CLASSES))
    model[0].weight.register_hook(lambda gradient: gradient.clamp(-0.01, 0.01))
    return model


class Residual(nn.Sequential):
    """A subclass of nn.Sequential whose forward is another."""

    def forward(self, x: Tensor) -> Tensor:
        first, act, last = self
        return last(x + act(first(x)))


def residual() -> nn.Module:
    return Residual(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, NUM_CLASSES))


def twice_in_sequence() -> nn.Module:
    layer, act = nn.Linear(6, 6), nn.Tanh()
    return nn.Sequential(layer, act, layer, act, nn.Linear(6, NUM_CLASSES))


class Thawing(Body):
    """A layer whose gradient is switched on and off by forward."""

    def forward(self, x: Tensor) -> Tensor:
        self.body.requires_grad_(len(x) > 7)
        return super().forward(x)


class Checkpointed(Body):
    """A hidden layer that is computed again in the backward pass."""

    def __init__(self, reentrant: bool = False) -> None:
        super().__init__()
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        hidden = checkpoint(self.body, x, use_reentrant=self.reentrant)
        return self.head(torch.tanh(hidden))


class PartlyFixed(Body):
    """A part that is computed without gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.fixed = nn.Linear(6, 6)

    def before(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.relu(self.fixed(x))


class Squeezed(Body):
    """Outputs lose their first dimension for a single row."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze()


class KeepsActivations(Body):
    """The last hidden activations are kept for a look at them, with their graph."""

    def forward(self, x: Tensor) -> Tensor:
        self.hidden = torch.tanh(self.body(x))
        return self.head(self.hidden)


class ClipsWeights(Body):
    """Weights are clipped before they are used."""

    def before(self, x: Tensor) -> Tensor:
        if self.training:
            for parameter in self.parameters():
                parameter.data.clamp_(-0.3, 0.3)
        return x


class Teacher(Body):
    """A second layer that follows the first one slowly and takes no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = nn.Linear(6, 6).requires_grad_(False)
        self.student = nn.Linear(6, 6)

    def before(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.teacher.weight.lerp_(self.student.weight, 0.1)
        return self.student(x) + self.teacher(x)


class MadeInForward(Body):
    """A parameter that does not exist before the first call."""

    def factor(self, x: Tensor) -> Tensor:
        if not hasattr(self, "scale"):
            self.scale = nn.Parameter(torch.ones(8))
        return self.scale


class BufferMadeInForward(Body):
    """A buffer that does not exist before the first call."""

    def before(self, x: Tensor) -> Tensor:
        if not hasattr(self, "mean"):
            self.register_buffer("mean", x.detach().mean(0))
        return x - self.mean


class WritesWhilePredicting(Body):
    """Inputs are changed in place in evaluation mode only."""

    def before(self, x: Tensor) -> Tensor:
        return x if self.training else x.mul_(1).add_(0).clamp_(-1, 1)


class WritesUnseen(Body):
    """Inputs are changed in a way that torch does not count."""

    def before(self, x: Tensor) -> Tensor:
        x.data.mul_(2)
        return x


class DistanceOfRows(Body):
    """Rows take part in the outputs of others, in predictions too."""

    def before(self, x: Tensor) -> Tensor:
        return x + torch.softmax(x @ x.mT, -1) @ x


class BatchCentred(Body):
    """Inputs are centred by the mean of their batch."""

    def before(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Pair(Body):
    """Two outputs."""

    def forward(self, x: Tensor) -> Any:
        return super().forward(x), x


def writing_sequence() -> nn.Module:
    return nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


STATE = ("state", "attribute", "changes", "keeps")
RANDOM = ("random", "draws", "differ")

ZOO = {
    "attention": Kind(Attention, "sequence"),
    "attention with dropout": Kind(partial(Attention, 0.2), "sequence", RANDOM),
    "masked attention": Kind(CausalAttention, "sequence"),
    "encoder layer": Kind(Transformer, "sequence"),
    "encoder layer with dropout": Kind(partial(Transformer, 0.1), "sequence", RANDOM, True),
    "gru": Kind(partial(Recurrent, nn.GRU), "sequence"),
    "two-way lstm": Kind(partial(Recurrent, nn.LSTM, num_layers=2, bidirectional=True), "sequence"),
    "lstm with dropout": Kind(
        partial(Recurrent, nn.LSTM, num_layers=2, dropout=0.2), "sequence", RANDOM, True
    ),
    "own cell": Kind(OwnCell, "sequence"),
    "recurrence across batches": Kind(Stateful, "sequence", STATE, True),
    "view": Kind(partial(Convolutional, nn.Identity), "image"),
    "batch norm": Kind(partial(Convolutional, nn.BatchNorm2d), "image"),
    "batch norm without statistics": Kind(
        partial(Convolutional, partial(nn.BatchNorm2d, track_running_stats=False)),
        "image",
        ("statistics",),
    ),
    "group norm": Kind(partial(Convolutional, partial(nn.GroupNorm, 2)), "image"),
    "channel shuffle": Kind(partial(Convolutional, lambda width: Shuffle()), "image"),
    "no linear head": Kind(no_linear_head, "image"),
    "convolution over time": Kind(over_time, "sequence"),
    "tied layers": Kind(TiedLayers),
    "tied tokens": Kind(TiedTokens, "tokens"),
    "weight norm": Kind(partial(Reparametrised, parametrizations.weight_norm)),
    "spectral norm": Kind(partial(Reparametrised, parametrizations.spectral_norm)),
    "orthogonal": Kind(partial(Reparametrised, parametrizations.orthogonal)),
    "own parametrisation": Kind(partial(reparametrised_sequence, positive)),
    "weight norm in sequence": Kind(partial(reparametrised_sequence, parametrizations.weight_norm)),
    "old weight norm": Kind(
        partial(Reparametrised, nn.utils.weight_norm), "table", ("weight_norm",), True
    ),
    "old spectral norm": Kind(
        partial(reparametrised_sequence, nn.utils.spectral_norm), "table", ("spectral_norm",), True
    ),
    "pruned": Kind(partial(Reparametrised, pruned), "table", ("prun",), True),
    "tokens": Kind(Tokens, "tokens"),
    "large tokens": Kind(LargeTokens, "large tokens"),
    "no whole numbers": Kind(partial(nn.Linear, 5, NUM_CLASSES), "large tokens", ("x.float()",)),
    "tokens in bags": Kind(partial(Tokens, nn.EmbeddingBag), "tokens"),
    "tokens of bounded norm": Kind(
        partial(Tokens, max_norm=1.0), "tokens", ("max_norm", "embedding"), True
    ),
    "sparse tokens": Kind(partial(Tokens, sparse=True), "tokens", ("sparse",), True),
    "one-hot tokens": Kind(OneHot, "tokens"),
    "spectrum": Kind(Spectrum),
    "complex weights": Kind(ComplexWeights, "table", ("complex",), True),
    "double": Kind(Double),
    "mixed precision": Kind(Mixed),
    "half outputs": Kind(HalfOut),
    "annealed": Kind(Annealed, "table", STATE, True),
    "counter": Kind(Counter, "table", STATE, True),
    "warm-up": Kind(WarmUp, "table", STATE, True),
    "first batch": Kind(FirstBatch, "table", STATE, True),
    "first shape": Kind(FirstShape),
    "hidden buffer": Kind(HiddenBuffer, "table", STATE, True),
    "shown buffer": Kind(partial(HiddenBuffer, persistent=True)),
    "running attribute": Kind(RunningAttribute, "table", STATE, True),
    "past activations": Kind(PastActivations, "table", STATE, True),
    "own generator": Kind(OwnGenerator, "table", (*STATE, *RANDOM), True),
    "own numpy generator": Kind(OwnNumpyGenerator, "table", (*STATE, *RANDOM), True),
    "extra state": Kind(ExtraState, "table", ("extra_state", "extra state", *STATE), True),
    "python's random": Kind(noisy(by_python), "table", RANDOM),
    "numpy's random": Kind(noisy(by_numpy), "table", RANDOM),
    "random for odd batches": Kind(noisy(for_odd_batches), "table", RANDOM),
    "random for batches of seven": Kind(noisy(for_batches_of_seven), "table", RANDOM),
    "numpy for batches of seven": Kind(noisy(by_numpy_for_batches_of_seven), "table", RANDOM),
    "random at times": Kind(noisy(at_times), "table", (*STATE, *RANDOM)),
    "python's random at times": Kind(noisy(at_times_by_python), "table", (*STATE, *RANDOM)),
    "functional dropout": Kind(noisy(functional_dropout), "table", RANDOM),
    "time": Kind(noisy(by_time), "table", RANDOM),
    "class counter": Kind(ClassCounter, "table", (*STATE, *RANDOM)),
    "global counter": Kind(GlobalCounter, "table", (*STATE, *RANDOM)),
    "class cache": Kind(ClassCache, "table", STATE),
    "default argument": Kind(DefaultArgument, "table", STATE),
    "class list": Kind(ClassList, "table", STATE),
    "mask by shape": Kind(MaskByShape),
    "masks by shape": Kind(MasksByShape),
    "unseeded generator": Kind(Unseeded, "table", ("rng", *STATE, *RANDOM)),
    "born": Kind(Born, "table", ("born", *STATE, *RANDOM)),
    "writes inputs": Kind(WritesInputs),
    "writes inputs in sequence": Kind(writing_sequence),
    "returns a view": Kind(ReturnsView),
    "constant": Kind(Constant),
    "frozen backbone": Kind(lambda: OnBackbone(FROZEN), shared=(FROZEN,)),
    "trained backbone": Kind(
        lambda: OnBackbone(TRAINED), "table", ("shared", "same"), True, shared=(TRAINED,)
    ),
    "backbone with norm": Kind(
        lambda: OnBackbone(NORMED), "table", ("shared", "same"), True, shared=(NORMED,)
    ),
    "closure": Kind(Closure),
    "hook": Kind(Hooked),
    "bound method": Kind(BoundMethod),
    "hooked sequence": Kind(hooked_sequence),
    "gradient hook": Kind(gradient_hooked_sequence),
    "residual sequence": Kind(residual),
    "twice in sequence": Kind(twice_in_sequence),
    "thawing": Kind(Thawing, "table", ("requires_grad", *STATE), True),
    "checkpointed": Kind(Checkpointed),
    "checkpointed, reentrant": Kind(partial(Checkpointed, True), "table", ("checkpoint",), True),
    "partly fixed": Kind(PartlyFixed),
    "squeezed": Kind(Squeezed, "table", ("shape",)),
    "batch-centred": Kind(BatchCentred),
    "rows of the batch": Kind(DistanceOfRows),
    "keeps activations": Kind(KeepsActivations),
    "clips weights": Kind(ClipsWeights),
    "teacher": Kind(Teacher),
    "parameter made in forward": Kind(MadeInForward, "table", ("forward", "state")),
    "buffer made in forward": Kind(BufferMadeInForward, "table", ("forward", "state")),
    "writes while predicting": Kind(WritesWhilePredicting),
    "writes unseen": Kind(WritesUnseen),
    "pair": Kind(Pair, "table", ("tuple",)),
}
