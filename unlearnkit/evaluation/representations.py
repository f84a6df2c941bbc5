"""What the layers of one constituent make of the same examples, in two models.

Everything here looks at test examples, which no model was trained on and nobody can revoke. A
constituent at a time: an ensemble of several has no hidden layer of its own.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unlearnkit.data.examples import Dataset
from unlearnkit.evaluation.comparison import Comparison
from unlearnkit.evaluation.parameters import states_of
from unlearnkit.models.architecture import Architecture
from unlearnkit.seeding import numpy_generator
from unlearnkit.store.checkpoint import State
from unlearnkit.training.ensemble import CHUNK

if TYPE_CHECKING:
    import pandas as pd

MOST_EXAMPLES = 300  # for CKA, whose cost grows with their square
MOST_POINTS = 250  # of an embedding
HIDDEN, OUTPUT = "last hidden layer", "output"


@dataclass(frozen=True, eq=False)
class TwinEmbedding:
    """Two models' features of the same examples in one 2-D projection.

    Attributes:
        shard: whose constituent.
        model: the one beside scratch, ``"unlearned"`` or ``"original"``.
        layer: whose features, `HIDDEN`, or `OUTPUT` where the model has no hidden layer.
        ids: of the examples, test examples and then those forgotten of this shard.
        labels: theirs; of a regression the first target, in its units.
        forgotten: which of them were forgotten.
        scratch: places of the features of scratch; the projection was fitted to those of test.
        other: places of the other model's features, by the same projection.
        explained: part of the variance of scratch's features that the two axes carry, 0 to 1.
        identical: whether the two models' features are equal bit for bit.
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
        """One row a point."""
        import pandas as pd

        columns = {"id": self.ids, "label": self.labels, "forgotten": self.forgotten}
        for name, places in (("scratch", self.scratch), (self.model, self.other)):
            columns |= {f"{name}_1": places[:, 0], f"{name}_2": places[:, 1]}
        return pd.DataFrame(columns)


def layer_outputs(
    architecture: Architecture, state: State, inputs: Float[Tensor, "batch ..."]
) -> dict[str, Float[Tensor, "batch feature"]]:
    """What every layer with parameters gives, flattened, in evaluation mode, in order of use.

    The entry `HIDDEN`, where there is one, is what goes into the last linear layer.
    """
    module = architecture.module(state)
    parts: dict[str, list[Tensor]] = {}
    layers = {
        layer: f"{name} {type(layer).__name__}".strip()
        for name, layer in module.named_modules()
        if next(layer.parameters(recurse=False), None) is not None
    }
    head = next((m for m in reversed(list(layers)) if isinstance(m, nn.Linear)), None)

    def keep(layer: nn.Module, given: Any, made: Any) -> None:
        if layer is head and parts:  # some layer was before it
            parts.setdefault(HIDDEN, []).append(given[0].flatten(1))
        if isinstance(made, Tensor):
            parts.setdefault(layers[layer], []).append(made.flatten(1))

    for layer in layers:
        layer.register_forward_hook(keep)
    with torch.no_grad():
        for chunk in inputs.split(CHUNK):
            module(chunk)
    return {name: torch.cat(chunks) for name, chunks in parts.items()}


def linear_cka(x: Float[Tensor, "example feature"], y: Float[Tensor, "example other"]) -> float:
    """Linear centred kernel alignment of two representations of the same examples; best 1.

    Kornblith, Norouzi, Lee and Hinton 2019 (section 3): with centred columns, |Y'X|^2 / (|X'X|
    |Y'Y|) in Frobenius norms. From 0 to 1; 1 where one is the other up to rotation and scale. Their
    estimator, which is biased upwards where features outnumber examples: read it beside that of
    doing nothing, not by itself. nan where a representation is constant. In float64.

    >>> x = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 3.0]])
    >>> round(linear_cka(x, 5 * x.flip(1)), 12), linear_cka(x, torch.ones(3, 1))
    (1.0, nan)
    """
    if x.shape == y.shape and torch.equal(x, y):
        return 1.0 if _gram(x).any() else math.nan
    return _alignment(_gram(x), _gram(y))


def _gram(x: Float[Tensor, "example feature"]) -> Float[Tensor, "example example"]:
    """XX' of the centred representation: |Y'X|^2 is the sum over XX' times YY', entry by entry."""
    x = x.double()
    centred = x - x.mean(0)
    return centred @ centred.T


def _alignment(a: Float[Tensor, "example example"], b: Float[Tensor, "example example"]) -> float:
    scale = float(a.norm() * b.norm())
    return min(float((a * b).sum()) / scale, 1.0) if scale else math.nan


def layer_similarity(
    comparison: Comparison, dataset: Dataset, *, most: int = MOST_EXAMPLES
) -> "pd.DataFrame":
    """Linear CKA of every layer with scratch's, for each shard compared; best 1.

    One row a shard, model (unlearned, original) and layer, with the CKA and whether the outputs of
    the layer are equal bit for bit. On the first `most` test examples; :func:`linear_cka` names the
    source.
    """
    import pandas as pd

    inputs, _ = dataset.examples(dataset.test.ids[:most])
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


def twin_embedding(
    comparison: Comparison,
    dataset: Dataset,
    shard: int,
    *,
    model: str = "unlearned",
    most: int = MOST_POINTS,
    seed: int = 0,
) -> TwinEmbedding:
    """The last hidden layer of two models in the same two dimensions, for linked points.

    The projection is principal component analysis (Pearson 1901), fitted on scratch's features of
    the test examples alone: the plane of greatest variance of (z - mean). The other model's
    features are projected by the same mean and axes, so a point that moved in the picture moved in
    the network; movements across the plane are not seen. Axes are signed so that their greatest
    component is positive. One linear projection for both, so that links mean something: ours.

    Args:
        comparison: of an unlearning.
        dataset: for the examples.
        shard: a shard that was compared.
        model: beside scratch, ``"unlearned"`` or ``"original"``.
        most: test examples, drawn by a generator keyed by the seed, and most of the forgotten.
        seed: of the choice.

    Raises:
        KeyError: the shard was not compared.
    """
    states = states_of(comparison, shard)
    generator = numpy_generator(seed, "twin-embedding")
    gone = comparison.forgotten_of(shard)
    test, gone = (
        np.sort(generator.choice(ids, min(most, len(ids)), replace=False))
        for ids in (dataset.test.ids, gone)
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
    """The two directions of greatest variance, and the part of the variance they carry."""
    _, sizes, rows = torch.linalg.svd(centred, full_matrices=False)
    axes = torch.zeros(centred.shape[1], 2, dtype=centred.dtype)
    axes[:, : min(2, len(rows))] = rows[:2].T
    greatest = axes.abs().argmax(0)
    axes *= torch.where(axes.gather(0, greatest[None]) < 0, -1.0, 1.0)
    total = float(sizes.square().sum())
    return axes, float(sizes[:2].square().sum()) / total if total else 0.0
