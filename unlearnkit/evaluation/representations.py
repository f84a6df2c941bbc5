"""Compares the hidden representations of one constituent in two models.

The representations are of test examples, which no model was trained on and nobody can revoke, and,
in the embedding, of the forgotten ones. They are compared one constituent at a time, because an
ensemble as a whole has no hidden layers.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from unlearnkit.data.examples import Dataset
from unlearnkit.display import as_html
from unlearnkit.evaluation.comparison import Comparison
from unlearnkit.evaluation.parameters import states_of
from unlearnkit.models.architecture import Architecture
from unlearnkit.models.chunks import chunks
from unlearnkit.models.vector import real_values
from unlearnkit.seeding import numpy_generator
from unlearnkit.store.checkpoint import State
from unlearnkit.torch_settings import own_settings

if TYPE_CHECKING:
    import pandas as pd

MOST_EXAMPLES = 300  # for CKA, whose cost grows with the square of their number
MOST_POINTS = 250  # upper limit for an embedding
HIDDEN, OUTPUT = "last hidden layer", "output"


@dataclass(frozen=True, eq=False)
class TwinEmbedding:
    """Two models' features of the same examples in one 2-D projection.

    Attributes:
        shard: shard of the constituent.
        model: the model beside the retrained one, ``"unlearned"`` or ``"original"``.
        layer: layer of the features: `HIDDEN`, or `OUTPUT` if the model has no hidden layer.
        ids: ids of the test examples, followed by those of the shard's forgotten examples.
        labels: labels of the examples; for a regression the first target, in its units.
        forgotten: which of the examples were forgotten.
        scratch: projected features of the retrained model. The projection was fitted to its test
            examples.
        other: features of the other model in the same projection.
        explained: share of the variance of the retrained model's features along the two axes, from
            0 to 1.
        identical: whether the features of both models are equal bit for bit.
    """

    shard: int
    model: str
    layer: str
    ids: Int[np.ndarray, " point"]
    labels: Int[np.ndarray, " point"] | Float[np.ndarray, " point"]
    forgotten: "np.ndarray[Any, np.dtype[np.bool_]]"
    scratch: Float[np.ndarray, "point 2"]
    other: Float[np.ndarray, "point 2"]
    explained: float
    identical: bool

    def to_frame(self) -> "pd.DataFrame":
        """Return a table with one row per point."""
        import pandas as pd

        columns = {"id": self.ids, "label": self.labels, "forgotten": self.forgotten}
        for name, places in (("scratch", self.scratch), (self.model, self.other)):
            columns |= {f"{name}_1": places[:, 0], f"{name}_2": places[:, 1]}
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        return (
            f"TwinEmbedding(shard {self.shard}, {self.model} beside scratch, {self.layer}: "
            f"{len(self.ids)} examples, {self.explained:.0%} of variance)"
        )

    def _repr_html_(self) -> str:
        return as_html(self)


@own_settings()
def layer_outputs(
    architecture: Architecture, state: State, inputs: Num[Tensor, "batch ..."]
) -> dict[str, Float[Tensor, "batch feature"]]:
    """Return the flattened outputs of every layer with parameters, in evaluation mode.

    They come in the order in which the layers are applied; of a layer that is applied several
    times, they are the last. Outputs whose first dimension is not the batch are left out. The entry
    `HIDDEN`, which exists unless the last linear layer is the first layer, holds the input of the
    last linear layer. If nothing else is found, the entry `OUTPUT` holds the module's outputs.
    """
    module = architecture.module(state)
    parts: dict[str, list[Tensor]] = {}
    layers = {
        layer: f"{name} {type(layer).__name__}".strip()
        for name, layer in module.named_modules()
        if next(layer.parameters(recurse=False), None) is not None
    }
    head = next((m for m in reversed(list(layers)) if isinstance(m, nn.Linear)), None)

    seen: dict[str, Tensor] = {}
    count = 0

    def keep(layer: nn.Module, given: Any, made: Any) -> None:
        if layer is head and seen and given:  # another layer ran before it
            put(HIDDEN, given[0])
        put(layers[layer], made)

    def put(name: str, made: Any) -> None:
        if isinstance(made, Tensor) and made.ndim and len(made) == count:
            seen[name] = real_values(made).reshape(count, -1)

    parted = chunks(architecture, inputs)
    for layer in layers:
        layer.register_forward_hook(keep)
    with torch.no_grad():
        for chunk in parted:
            seen, count = {}, len(chunk)
            outputs = module(chunk)
            for name, made in (seen or {OUTPUT: real_values(outputs).reshape(count, -1)}).items():
                parts.setdefault(name, []).append(made)
    return {name: torch.cat(some) for name, some in parts.items()}


@own_settings()
def linear_cka(x: Float[Tensor, "example feature"], y: Float[Tensor, "example other"]) -> float:
    """Return the linear centred kernel alignment of two representations of the same examples.

    With centred columns it is |Y'X|^2 / (|X'X| |Y'Y|) in Frobenius norms (Kornblith, Norouzi, Lee
    and Hinton 2019, section 3), computed in float64. It lies between 0 and 1, and is 1 if one
    representation is the other up to rotation and scale. The estimator is biased upwards if there
    are more features than examples, so compare it with the value for the original model. It is nan
    if a representation is constant.

    >>> x = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 3.0]])
    >>> round(linear_cka(x, 5 * x.flip(1)), 12), linear_cka(x, torch.ones(3, 1))
    (1.0, nan)
    """
    if x.shape == y.shape and torch.equal(x, y):
        return 1.0 if _gram(x).any() else math.nan
    return _alignment(_gram(x), _gram(y))


def _gram(x: Float[Tensor, "example feature"]) -> Float[Tensor, "example example"]:
    """Return XX' of the centred representation; |Y'X|^2 sums the entries of XX' times YY'."""
    x = x.double()
    centred = x - x.mean(0)
    return centred @ centred.T


def _alignment(a: Float[Tensor, "example example"], b: Float[Tensor, "example example"]) -> float:
    scale = float(a.norm() * b.norm())
    return min(float((a * b).sum()) / scale, 1.0) if scale else math.nan


@own_settings()
def layer_similarity(
    comparison: Comparison, dataset: Dataset, *, most: int = MOST_EXAMPLES
) -> "pd.DataFrame":
    """Return the linear CKA of every layer with that of the retrained model, for each shard.

    Args:
        comparison: the comparison of an unlearning.
        dataset: holds the test examples.
        most: the largest number of test examples, the first by id.

    Returns:
        One row per compared shard, model (unlearned, original) and layer, with the CKA
        (:func:`linear_cka`; best 1) and whether the layer's outputs are equal bit for bit.
    """
    import pandas as pd

    inputs, _ = dataset.examples(comparison.ids["test"][:most])
    rows = []
    for shard in comparison.shards:
        given = {
            name: layer_outputs(comparison.scratch.architecture, state, inputs)
            for name, state in states_of(comparison, shard).items()
        }
        for layer, target in given["scratch"].items():
            if layer == HIDDEN:
                continue
            gram = _gram(target)
            for model in ("unlearned", "original"):
                own = given[model][layer]
                same = torch.equal(own, target)
                cka = _alignment(gram if same else _gram(own), gram)
                rows.append((shard, model, layer, 1.0 if same and gram.any() else cka, same))
    return pd.DataFrame(rows, columns=["shard", "model", "layer", "cka", "identical"])


@own_settings()
def twin_embedding(
    comparison: Comparison,
    dataset: Dataset,
    shard: int,
    *,
    model: str = "unlearned",
    most: int = MOST_POINTS,
    seed: int = 0,
) -> TwinEmbedding:
    """Project the last hidden layers of two models into the same two dimensions.

    The projection is a principal component analysis (Pearson 1901), fitted to the retrained model's
    features of the test examples: the plane of greatest variance of (z - mean). The features of the
    other model are projected with the same mean and axes, so that a point that moves in the picture
    has moved in the network. Movements perpendicular to the plane do not show. Each axis is signed
    so that its largest component is positive. (Sharing one projection was devised for unlearnkit.)

    Args:
        comparison: the comparison of an unlearning.
        dataset: holds the examples.
        shard: a shard that was compared.
        model: model beside the retrained one, ``"unlearned"`` or ``"original"``.
        most: the largest number of test examples, and of forgotten ones; they are drawn by a
            generator keyed by the seed.
        seed: seed of the choice.

    Raises:
        KeyError: the shard was not compared.
    """
    states = states_of(comparison, shard)
    generator = numpy_generator(seed, "twin-embedding")
    gone = comparison.forgotten_of(shard)
    test, gone = (
        np.sort(generator.choice(ids, min(most, len(ids)), replace=False))
        for ids in (comparison.ids["test"], gone)
    )
    ids = np.concatenate([test, gone])
    inputs, labels = dataset.examples(ids)
    layer, features = OUTPUT, {}
    for name in ("scratch", model):
        given = layer_outputs(comparison.scratch.architecture, states[name], inputs)
        layer = HIDDEN if HIDDEN in given else OUTPUT
        features[name] = (given[HIDDEN] if HIDDEN in given else list(given.values())[-1]).double()
    mean = features["scratch"][: len(test)].mean(0)
    axes, explained = principal_axes(features["scratch"][: len(test)] - mean)
    places = {name: ((z - mean) @ axes).numpy() for name, z in features.items()}
    return TwinEmbedding(
        shard,
        model,
        layer,
        ids,
        dataset.label_values(labels),
        np.arange(len(ids)) >= len(test),
        places["scratch"],
        places[model],
        explained,
        bool(torch.equal(features["scratch"], features[model])),
    )


def principal_axes(
    centred: Float[Tensor, "example feature"],
) -> tuple[Float[Tensor, "feature 2"], float]:
    """Return the two directions of greatest variance, and their share of the variance."""
    _, sizes, rows = torch.linalg.svd(centred, full_matrices=False)
    axes = torch.zeros(centred.shape[1], 2, dtype=centred.dtype)
    axes[:, : min(2, len(rows))] = rows[:2].T
    greatest = axes.abs().argmax(0)
    axes *= torch.where(axes.gather(0, greatest[None]) < 0, -1.0, 1.0)
    total = float(sizes.square().sum())
    return axes, float(sizes[:2].square().sum()) / total if total else 0.0
