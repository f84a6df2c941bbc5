"""The ensemble: one constituent per shard, and the aggregation of their outputs."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from unlearnkit.data.conversion import Array, as_tensor
from unlearnkit.display import as_html, plural
from unlearnkit.models.architecture import Architecture
from unlearnkit.models.chunks import chunks
from unlearnkit.models.ensemble_module import EnsembleModule
from unlearnkit.models.frozen.backbone import is_module
from unlearnkit.models.losses import Loss, plain_loss
from unlearnkit.models.signature import UNKNOWN, Signature
from unlearnkit.registry import Registry
from unlearnkit.seeding import digest_of, state_bytes
from unlearnkit.store import Store
from unlearnkit.store.checkpoint import State
from unlearnkit.store.model_folder import write_models
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.kernels.finite import NotFiniteError, check_state
from unlearnkit.training.plan import Plan
from unlearnkit.training.shard_model import ShardModel

Aggregation = Callable[[Float[Tensor, "constituent batch class"]], Float[Tensor, "batch class"]]


def mean_probability(
    probabilities: Float[Tensor, "constituent batch class"],
) -> Float[Tensor, "batch class"]:
    """Return the mean of the constituents' probabilities, or of a regression's predictions.

    >>> mean_probability(torch.tensor([[[1.0, 0.0]], [[0.5, 0.5]]]))
    tensor([[0.7500, 0.2500]])
    """
    return probabilities.mean(0)


def majority_vote(
    probabilities: Float[Tensor, "constituent batch class"],
) -> Float[Tensor, "batch class"]:
    """Return the share of constituents that predict each class (Bourtoule et al. 2021, section IV).

    >>> majority_vote(torch.tensor([[[0.9, 0.1]], [[0.4, 0.6]], [[0.2, 0.8]], [[0.3, 0.7]]]))
    tensor([[0.2500, 0.7500]])
    """
    num_classes = probabilities.shape[-1]
    votes = torch.nn.functional.one_hot(probabilities.argmax(-1), num_classes)
    return votes.to(probabilities.dtype).mean(0)


AGGREGATIONS: Registry[Aggregation] = Registry(
    "training.ensemble.AGGREGATIONS",
    "aggregation",
    """Aggregations by name, for ``aggregation=``: they combine the constituents' outputs.

    An entry is a function from a tensor (constituent, example, class) of probabilities, or of a
    regression's predictions, to a tensor (example, class). To add an entry, assign it:

    >>> import unlearnkit as uk
    >>> from unlearnkit.training.ensemble import AGGREGATIONS
    >>> AGGREGATIONS["median"] = lambda probabilities: probabilities.median(0).values
    >>> session = uk.Session("digits", model="logistic", epochs=2, seed=0, aggregation="median")
    >>> report = session.train()
    >>> session.ensemble.aggregation
    'median'
    >>> del AGGREGATIONS["median"]
    """,
    {"mean-probability": mean_probability, "majority-vote": majority_vote},
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Constituent:
    """The model of one shard.

    Attributes:
        shard: 0-based shard.
        state: parameters and buffers.
        debt: ids that were removed only approximately; empty if the constituent is exact. A saved
            ensemble keeps only their number; each id is -1 after loading.
    """

    shard: int
    state: State
    debt: Int[np.ndarray, " debt"]

    def __repr__(self) -> str:
        return f"Constituent(shard {self.shard}, {plural(len(self.debt), 'example')} of debt)"

    @property
    def exact(self) -> bool:
        """Whether the parameters equal those of retraining from scratch on the retain set."""
        return len(self.debt) == 0


@dataclass(frozen=True, eq=False, repr=False)
class Ensemble:
    """The constituents of all shards that have examples left, with their aggregation.

    For a regression, ``probabilities`` are predictions of the scaled targets.

    Attributes:
        architecture: model of every constituent.
        loss: loss whose ``probabilities`` map outputs to what is averaged.
        constituents: models of the shards.
        aggregation: name in :data:`AGGREGATIONS`.
        is_regression: whether the targets are numbers instead of classes.
        signature: how features become inputs, and the names of classes and targets.

    Raises:
        KeyError: there is no aggregation of that name.
        ValueError: the aggregation does not fit a regression.
    """

    architecture: Architecture
    loss: Loss
    constituents: tuple[Constituent, ...]
    aggregation: str = "mean-probability"
    is_regression: bool = False
    signature: Signature = UNKNOWN

    def __post_init__(self) -> None:
        """Check the aggregation."""
        AGGREGATIONS[self.aggregation]  # refuses an unknown name
        if self.is_regression and self.aggregation == "majority-vote":
            raise ValueError(
                "aggregation='majority-vote' counts votes for classes, and a regression has none; "
                "use 'mean-probability', which averages its predictions"
            )

    def __repr__(self) -> str:
        exact = sum(constituent.exact for constituent in self.constituents)
        return f"Ensemble({len(self.constituents)} constituents, {exact} exact)"

    def to_frame(self) -> "pd.DataFrame":
        """One row per constituent: shard, whether it is exact, and the number of ids it owes."""
        import pandas as pd

        rows = [(each.shard, each.exact, len(each.debt)) for each in self.constituents]
        return pd.DataFrame(rows, columns=["shard", "exact", "debt"])

    def _repr_html_(self) -> str:
        return as_html(self)

    @cached_property
    def by_shard(self) -> dict[int, Constituent]:
        """Constituents by shard."""
        return {constituent.shard: constituent for constituent in self.constituents}

    @cached_property
    def digest(self) -> str:
        """Digest of the bits of all parameters and buffers, as 32 hexadecimal digits."""
        pairs = ((each.shard, state_bytes(each.state)) for each in self.constituents)
        return digest_of(part for pair in pairs for part in pair)

    @own_settings()
    def constituent_probabilities(self, inputs: Array) -> Float[Tensor, "constituent batch class"]:
        """Return the probabilities of each constituent, in evaluation mode.

        Args:
            inputs: examples as ``dataset.test.inputs()`` returns them, that is, scaled by the
                constants of the data set; a tensor, or an array, a table or lists of numbers. On
                a frozen backbone these are features; rows as ``dataset.raw(ids)`` returns them go
                through the backbone first.

        Raises:
            NotFiniteError: a constituent holds NaN or infinite numbers, or its outputs do.
            TypeError: the inputs are not real numbers, or whole numbers where the models take
                scaled ones.
            ValueError: an example does not have the shape that a built-in model takes.
        """
        inputs = self._checked(inputs)
        for constituent in self.constituents:
            names = self.architecture.trainable_names
            check_state(constituent.state, names, constituent.shard, "predict")
        return torch.stack(
            [
                state_probabilities(self.architecture, self.loss, constituent.state, inputs)
                for constituent in self.constituents
            ]
        )

    def _checked(self, inputs: Array) -> Num[Tensor, "batch ..."]:
        """Return inputs as a tensor, after checking their type and the shape of an example."""
        backbone = self.architecture.backbone
        if backbone is not None and backbone.takes(inputs):
            double = isinstance(inputs, Tensor) and inputs.dtype == torch.float64
            return backbone(inputs).to(torch.float64 if double else torch.float32)
        found = inputs if isinstance(inputs, Tensor) else as_tensor(inputs, "inputs", "features")
        if self.architecture.described is None:  # a model of the user's own may take other inputs
            return found
        if not found.is_floating_point():
            kind = str(found.dtype).removeprefix("torch.")
            raise TypeError(
                f"inputs are of type {kind}, but the models take real numbers; give what "
                "dataset.test.inputs() returns, which is (features - offset) / scale as float32"
            )
        shape = tuple(self.architecture.feature_shape)
        if tuple(found.shape[1:]) != shape:
            raise ValueError(
                f"inputs have the shape {tuple(found.shape)}; give the number of examples first, "
                f"and then the shape of an example, {shape}"
            )
        return found

    @own_settings()
    def probabilities(self, inputs: Array) -> Float[Tensor, "batch class"]:
        """Return the probabilities of the ensemble, or a regression's predictions.

        Args:
            inputs: inputs of the examples, one row each, as ``dataset.examples(ids)`` returns them.
        """
        return AGGREGATIONS[self.aggregation](self.constituent_probabilities(inputs))

    def predict(self, inputs: Array) -> Int[Tensor, " batch"] | Float[Tensor, "batch target"]:
        """Return the most probable classes, or a regression's predictions of scaled targets.

        ``dataset.in_units(...)`` converts such predictions to the original units of the targets.

        Args:
            inputs: as for :meth:`probabilities`.
        """
        outputs = self.probabilities(inputs)
        return outputs if self.is_regression else outputs.argmax(1)

    @own_settings()
    def module(self) -> EnsembleModule:
        """Return the ensemble as one ``nn.Module`` that maps inputs to :meth:`probabilities`.

        The module is for prediction: it stays in evaluation mode, and its parameters need no
        gradient. It is a copy, which later requests do not change. It can be exported::

            module, inputs = session.ensemble.module(), session.dataset.test.inputs()
            batch = {0: torch.export.Dim("batch")}
            program = torch.export.export(module, (inputs[:2],), dynamic_shapes=(batch,))

        For this, a model of your own must read the batch size from ``x.shape[0]``: ``len(x)`` and
        ``int`` of a size fix the number of examples.

        Its models compute in float32; ``module.double()`` computes in float64. They compute all
        examples in one pass, where :meth:`probabilities` splits many examples into chunks, so that
        large batches may differ in their last bits.

        Raises:
            NotFiniteError: a constituent holds NaN or infinite numbers.
            ValueError: there are no constituents.
        """
        self._check_usable("become a module")
        backbone = self.architecture.backbone
        if backbone is not None and not is_module(backbone):
            raise ValueError(
                f"{backbone.name}, the frozen backbone, is no nn.Module, so that the ensemble "
                "cannot become one; use the ensemble itself, which takes rows as well"
            )
        models = [self.architecture.module(each.state) for each in self.constituents]
        body = None if backbone is None else backbone.as_module()
        return EnsembleModule(models, self.loss, AGGREGATIONS[self.aggregation], body)

    @own_settings()
    def save(
        self,
        folder: str | os.PathLike[str],
        *,
        card: str | None = None,
        overwrite: bool = False,
    ) -> None:
        """Save what prediction needs in a folder, for :func:`unlearnkit.load_ensemble`.

        The folder holds one safetensors file for each constituent, and ``ensemble.json`` with the
        model, the loss, the aggregation, the shape and scaling of the inputs, and the names of the
        classes. It holds no data and no ids: of the debt of a constituent it states the number. A
        model of your own is not saved as code; only its parameters and buffers are.

        Args:
            folder: a new or empty folder. If saving is interrupted, it holds no saved ensemble.
            card: text of a ``README.md``, such as ``session.certificate().model_card()``.
            overwrite: whether an ensemble that was saved in this folder before is replaced; its
                other files are kept.

        Raises:
            FileExistsError: the folder is not empty, or is a file.
            NotFiniteError: a constituent holds NaN or infinite numbers.
            StoreError: the folder holds a damaged ensemble, so that it is not replaced.
            StoreIOError: the folder cannot be written.
            TypeError: a tensor has a dtype that a file cannot hold.
            ValueError: there are no constituents.
        """
        self._check_usable("be saved")
        states = {each.shard: each.state for each in self.constituents}
        path = Path(folder).expanduser()
        write_models(path, self._description(), states, card=card, overwrite=overwrite)

    def _description(self) -> dict[str, Any]:
        architecture, handling = self.architecture, self.architecture.handling
        backbone, head = architecture.backbone, architecture.described
        signature = self.signature.to_dict()
        return {
            "unlearnkit": sys.modules["unlearnkit"].__version__,
            "torch": str(torch.__version__),
            "digest": self.digest,
            "model": {
                "name": architecture.title,
                "built-in": head if backbone is None else None,
                "version": architecture.version,
                "rebuilt": handling.rebuilt,
                "clones inputs": handling.clones_inputs,
                "casts outputs": handling.casts_outputs,
            },
            "loss": {"name": self.loss.name, "plain": plain_loss(self.loss)},
            "backbone": None if backbone is None else {**backbone.described, "head": head},
            "aggregation": self.aggregation,
            "regression": self.is_regression,
            "inputs": {
                "shape": list(architecture.feature_shape),
                **signature["inputs"],
            },
            "outputs": {"number": architecture.num_outputs, **signature["outputs"]},
            "probabilities of ones": self.probabilities_of_ones() if architecture.foreign else None,
            "constituents": [
                {"shard": each.shard, "exact": each.exact, "debt": len(each.debt)}
                for each in self.constituents
            ],
        }

    def probabilities_of_ones(self) -> list[float] | None:
        """Return the probabilities of an example of ones; None if the model does not accept it.

        They tell models apart whose parameters have the same names and shapes.
        """
        backbone = self.architecture.backbone
        kind = torch.float32 if backbone is not None else getattr(torch, self.signature.dtype)
        ones = torch.ones(1, *self.architecture.feature_shape, dtype=kind)
        try:
            return self.probabilities(ones)[0].double().tolist()
        except Exception:  # a module of the user may raise anything
            return None

    def _check_usable(self, what: str) -> None:
        if not self.constituents:
            raise ValueError(f"the ensemble has no constituents, so it cannot {what}")
        for each in self.constituents:
            check_state(each.state, self.architecture.trainable_names, each.shard, what)


@own_settings()
def state_probabilities(
    architecture: Architecture, loss: Loss, state: State, inputs: Num[Tensor, "batch ..."]
) -> Float[Tensor, "batch class"]:
    """Return one model's probabilities in evaluation mode.

    A model of float32 parameters computes in the inputs' precision.

    Raises:
        NotFiniteError: the model holds NaN or infinite numbers, or has such outputs for finite
            inputs.
    """
    check_state(state, architecture.trainable_names, what="predict")
    module = architecture.module(state)
    if inputs.is_floating_point() and inputs.dtype != torch.float32:
        module = module.to(inputs.dtype)
    with torch.no_grad():
        parts = [loss.probabilities(module(some)) for some in chunks(architecture, inputs)]
    found = torch.cat(parts) if parts else torch.empty(0, architecture.num_outputs)
    if not torch.isfinite(found).all() and torch.isfinite(inputs).all():
        raise NotFiniteError(
            "a model has NaN or infinite outputs for finite inputs: they are too large for it; "
            "scale inputs and targets, or train with a lower learning_rate"
        )
    return found


def assemble(
    plan: Plan,
    store: Store,
    aggregation: str = "mean-probability",
    signature: Signature | None = None,
) -> Ensemble:
    """Return the current ensemble: exact constituents where stored, approximate ones elsewhere.

    Args:
        plan: the plan of the current retain set.
        store: the store that holds the models.
        aggregation: name in :data:`AGGREGATIONS`.
        signature: what inputs and outputs mean; None takes the constants of the plan's examples.

    Raises:
        LookupError: a shard has neither.
    """
    constituents = []
    for shard in range(plan.num_shards):
        if not plan.alive(shard):
            continue
        model = ShardModel(plan, store, shard)
        end = model.checkpoint(plan.spec.num_slices)
        if end is None:
            raise LookupError(f"shard {shard} has no model yet; train first: session.train()")
        debt = model.debt if model.owes else np.empty(0, np.int64)
        constituents.append(Constituent(shard, end.state, debt))
    return Ensemble(
        plan.architecture,
        plan.spec.loss,
        tuple(constituents),
        aggregation,
        plan.examples.labels.is_floating_point(),
        signature or Signature(plan.examples.offset, plan.examples.scale),
    )
