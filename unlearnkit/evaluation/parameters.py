"""Compares a constituent's parameters before unlearning, after it, and retrained from scratch.

The three models start from the same weights and see the retained examples in the same order, so a
difference between their parameters is an effect of the forgotten examples and not of the seed. The
shift *needed* leads from the original to the retrained model, and the shift *made* from the
original to the unlearned model. The shift *left* is the unlearned minus the retrained model; it is
exactly 0 where retraining was exact.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unlearnkit.display import as_html
from unlearnkit.evaluation.comparison import MODELS, Comparison
from unlearnkit.models.architecture import Architecture
from unlearnkit.models.state import same_state
from unlearnkit.models.vector import real_values
from unlearnkit.seeding import numpy_generator
from unlearnkit.store.checkpoint import State
from unlearnkit.torch_settings import own_settings

if TYPE_CHECKING:
    import pandas as pd

MOST_PARAMETERS = 1500  # points of a scatter plot: more would overlap and be slow to draw
MOST_UNITS = 8


@dataclass(frozen=True, eq=False)
class ParameterSample:
    """A sample of one constituent's parameters.

    Attributes:
        shard: shard of the constituent.
        identical: whether the unlearned constituent equals the retrained one byte for byte.
        frame: one row per sampled parameter: layer, flat index within it, original, unlearned,
            scratch.
        sizes: number of parameters of each layer, before sampling.
    """

    shard: int
    identical: bool
    frame: "pd.DataFrame"
    sizes: dict[str, int]

    def __repr__(self) -> str:
        total = sum(self.sizes.values())
        return f"ParameterSample(shard {self.shard}: {len(self.frame)} of {total:,} parameters)"

    def to_frame(self) -> "pd.DataFrame":
        """One row per sampled parameter."""
        return self.frame

    def _repr_html_(self) -> str:
        return as_html(self)


@dataclass(frozen=True, eq=False)
class Shifts:
    """How all parameters of one constituent moved.

    Attributes:
        shard: shard of the constituent.
        identical: whether the unlearned constituent equals the retrained one byte for byte.
        frame: histogram with one row per bin: low, high, and the number of parameters whose shift
            needed, made and left lies in it.
        needed: L2 norm of the retrained minus the original parameters.
        made: L2 norm of the unlearned minus the original parameters; best equal to ``needed``.
        left: L2 norm of the unlearned minus the retrained parameters; best 0.
        cosine: cosine between the shifts needed and made, from -1 to 1; best 1, and nan if either
            is 0.
        num_parameters: number of parameters of the constituent.
    """

    shard: int
    identical: bool
    frame: "pd.DataFrame"
    needed: float
    made: float
    left: float
    cosine: float
    num_parameters: int

    def __repr__(self) -> str:
        return (
            f"Shifts(shard {self.shard}: needed {self.needed:.3g}, made {self.made:.3g}, "
            f"left {self.left:.3g}, cosine {self.cosine:.3f})"
        )

    def to_frame(self) -> "pd.DataFrame":
        """One row per bin."""
        return self.frame

    def _repr_html_(self) -> str:
        return as_html(self)


@dataclass(frozen=True, eq=False)
class WeightImages:
    """First-layer weights as images, for the units that had to change most.

    Attributes:
        shard: shard of the constituent.
        layer: name of the parameter.
        identical: whether this layer equals that of the retrained model bit for bit.
        units: rows of the layer, in descending order of the L2 norm of the retrained minus the
            original weights.
        images: weights of every unit in each model, averaged over channels.
    """

    shard: int
    layer: str
    identical: bool
    units: tuple[int, ...]
    images: dict[str, Float[np.ndarray, "unit height width"]]

    def to_frame(self) -> "pd.DataFrame":
        """Return one row per pixel: unit, row, column, original, unlearned, scratch."""
        import pandas as pd

        shape = self.images["scratch"].shape
        places = np.indices(shape).reshape(3, -1)
        columns = {
            "unit": np.array(self.units)[places[0]],
            "row": places[1],
            "column": places[2],
        }
        return pd.DataFrame(columns | {name: self.images[name].reshape(-1) for name in MODELS})

    def __repr__(self) -> str:
        return f"WeightImages(shard {self.shard}: {len(self.units)} units of {self.layer})"

    def _repr_html_(self) -> str:
        return as_html(self)


def parameter_sample(
    comparison: Comparison, shard: int, *, most: int = MOST_PARAMETERS, seed: int = 0
) -> ParameterSample:
    """Sample one constituent's parameters in all three models, with equal counts per layer.

    A uniform sample of all parameters would come almost entirely from the widest layer. Therefore
    each layer contributes equally many, or all if it has fewer (:func:`fair_counts`), drawn without
    replacement by a generator keyed by (seed, shard). (The sampling was devised for unlearnkit.)

    Args:
        comparison: the comparison of an unlearning.
        shard: a shard that was compared.
        most: the largest number of parameters in total.
        seed: seed of the sample.

    Raises:
        KeyError: the shard was not compared.
    """
    import pandas as pd

    states = states_of(comparison, shard)
    names = comparison.scratch.architecture.trainable_names
    sizes = {name: len(_flat(states["scratch"][name])) for name in names}
    generator = numpy_generator(seed, "parameter-sample", shard)
    parts = []
    for name, count in zip(names, fair_counts(list(sizes.values()), most), strict=True):
        index = np.sort(generator.choice(sizes[name], count, replace=False))
        values = {model: _flat(states[model][name])[index] for model in MODELS}
        parts.append(pd.DataFrame({"layer": name, "index": index, **values}))
    frame = pd.concat(parts, ignore_index=True)
    return ParameterSample(shard, _identical(states), frame, sizes)


def fair_counts(sizes: Sequence[int], most: int) -> list[int]:
    """Divide `most` equally among groups; a group that is smaller than its part gives all it has.

    >>> fair_counts([5000, 10, 640, 10], 200)
    [90, 10, 90, 10]
    >>> fair_counts([3, 4], 200)
    [3, 4]
    """
    counts, left = [0] * len(sizes), most
    # Smallest first: what a small group does not use is divided among the larger ones.
    for done, group in enumerate(sorted(range(len(sizes)), key=lambda i: sizes[i])):
        counts[group] = min(sizes[group], left // (len(sizes) - done))
        left -= counts[group]
    return counts


@own_settings()
def shifts(comparison: Comparison, shard: int, *, bins: int = 61) -> Shifts:
    """Compute histograms and norms of the shifts needed, made and left, over all parameters.

    With w the vector of parameters: needed = w_scratch - w_original, made = w_unlearned -
    w_original, left = w_unlearned - w_scratch, where scratch is the retrained model; all are in
    float64. The bins have equal widths, are symmetric about 0, and reach to the largest absolute
    shift. Golatkar, Achille and Soatto (2020), for example, evaluate unlearning by parameter
    distances; the division into needed, made and left was devised for unlearnkit.

    Args:
        comparison: the comparison of an unlearning.
        shard: a shard that was compared.
        bins: number of bins of the histogram; odd, so that one is centred on 0.

    Raises:
        KeyError: the shard was not compared.
        ValueError: `bins` is even or below 1.
    """
    import pandas as pd

    if bins < 1 or bins % 2 == 0:
        raise ValueError(
            f"bins={bins} is not a positive odd number; give an odd one, to centre a bin on 0"
        )
    states = states_of(comparison, shard)
    names = comparison.scratch.architecture.trainable_names
    flat = {
        model: np.concatenate([_flat(states[model][name]).astype(np.float64) for name in names])
        for model in MODELS
    }
    moves = {
        "needed": flat["scratch"] - flat["original"],
        "made": flat["unlearned"] - flat["original"],
        "left": flat["unlearned"] - flat["scratch"],
    }
    reach = max(float(np.abs(move).max()) for move in moves.values()) or 1.0
    edges = np.linspace(-reach, reach, bins + 1)
    counts = {name: np.histogram(move, edges)[0] for name, move in moves.items()}
    norms = {name: float(np.linalg.norm(move)) for name, move in moves.items()}
    product = norms["needed"] * norms["made"]
    cosine = float(moves["needed"] @ moves["made"]) / product if product else math.nan
    frame = pd.DataFrame({"low": edges[:-1], "high": edges[1:], **counts})
    return Shifts(
        shard, _identical(states), frame, **norms, cosine=cosine, num_parameters=len(moves["made"])
    )


def weight_images(
    comparison: Comparison, shard: int, *, most: int = MOST_UNITS
) -> WeightImages | None:
    """Return the first layer's weights as images, or None if that layer does not process images.

    Each unit of a linear layer on images of shape (channels, height, width) has an image of that
    size, and each unit of a convolution one of the size of its kernel. The units shown are those
    whose weights differ most, in L2, between the original and the retrained model. (This choice
    was made for unlearnkit.)

    Args:
        comparison: the comparison of an unlearning.
        shard: a shard that was compared.
        most: the largest number of units.

    Raises:
        KeyError: the shard was not compared.
    """
    states = states_of(comparison, shard)
    found = image_layer(comparison.scratch.architecture)
    if found is None:
        return None
    layer, shape = found
    images = {
        model: real_values(states[model][layer]).reshape(-1, *shape).double().mean(1).cpu().numpy()
        for model in MODELS
    }
    moved = np.linalg.norm(
        (images["scratch"] - images["original"]).reshape(len(images["scratch"]), -1), axis=1
    )
    units = np.argsort(-moved, kind="stable")[:most]
    identical = bool((images["unlearned"] == images["scratch"]).all())
    return WeightImages(
        shard,
        layer,
        identical,
        tuple(units.tolist()),
        {model: image[units] for model, image in images.items()},
    )


@own_settings()
def image_layer(architecture: Architecture) -> tuple[str, tuple[int, int, int]] | None:
    """Return name and (channels, height, width) of the first layer's weights if it reads images."""
    module = architecture.module()
    name, weight = next((n, p) for n, p in module.named_parameters() if p.requires_grad)
    shape = architecture.feature_shape
    if len(shape) == 2:
        shape = (1, *shape)
    if weight.ndim == 4 and min(weight.shape[2:]) > 1:
        return name, (weight.shape[1], weight.shape[2], weight.shape[3])
    pixels = math.prod(shape)
    if weight.ndim == 2 and len(shape) == 3 and min(shape[1:]) > 1 and weight.shape[1] == pixels:
        return name, (shape[0], shape[1], shape[2])
    return None


def states_of(comparison: Comparison, shard: int) -> dict[str, State]:
    """Return the parameters and buffers of one constituent in the three models.

    Raises:
        KeyError: the shard was not compared.
    """
    if shard not in comparison.shards:
        known = ", ".join(map(str, comparison.shards)) or "none"
        raise KeyError(f"shard {shard} was not compared; the compared shards are {known}")
    return {name: model.by_shard[shard].state for name, model in comparison.ensembles.items()}


def _identical(states: dict[str, State]) -> bool:
    return same_state(states["unlearned"], states["scratch"])


def _flat(tensor: Tensor) -> Float[np.ndarray, " parameter"]:
    values = real_values(tensor.detach()).reshape(-1).cpu()
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()  # numpy has no bfloat16
    flat: Float[np.ndarray, " parameter"] = values.numpy()
    return flat
