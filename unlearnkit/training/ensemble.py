"""The ensemble: one constituent per shard, and the aggregation of their outputs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unlearnkit.display import as_html
from unlearnkit.models.architecture import Architecture
from unlearnkit.models.ensemble_module import EnsembleModule
from unlearnkit.models.losses import Loss
from unlearnkit.registry import Registry
from unlearnkit.seeding import digest, state_bytes
from unlearnkit.store import Store
from unlearnkit.store.checkpoint import State
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.kernels.finite import NotFiniteError, check_state
from unlearnkit.training.plan import Plan
from unlearnkit.training.shard_model import ShardModel

CHUNK = 4096  # examples in a forward pass, to bound memory

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
    regression's predictions, to a tensor (example, class).
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
        debt: ids that were removed only approximately; empty if the constituent is exact.
    """

    shard: int
    state: State
    debt: Int[np.ndarray, " debt"]

    def __repr__(self) -> str:
        return f"Constituent(shard {self.shard}, {len(self.debt)} examples of debt)"

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

    Raises:
        KeyError: there is no aggregation of that name.
        ValueError: the aggregation does not fit a regression.
    """

    architecture: Architecture
    loss: Loss
    constituents: tuple[Constituent, ...]
    aggregation: str = "mean-probability"
    is_regression: bool = False

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
        parts = [(each.shard, state_bytes(each.state)) for each in self.constituents]
        return digest(*(part for pair in parts for part in pair))

    @own_settings()
    def constituent_probabilities(
        self, inputs: Float[Tensor, "batch ..."]
    ) -> Float[Tensor, "constituent batch class"]:
        """Return the probabilities of each constituent, in evaluation mode.

        Raises:
            NotFiniteError: a constituent holds NaN or infinite numbers, or its outputs do.
        """
        for constituent in self.constituents:
            names = self.architecture.trainable_names
            check_state(constituent.state, names, constituent.shard, "predict")
        return torch.stack(
            [
                state_probabilities(self.architecture, self.loss, constituent.state, inputs)
                for constituent in self.constituents
            ]
        )

    @own_settings()
    def probabilities(self, inputs: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch class"]:
        """Return the probabilities of the ensemble."""
        return AGGREGATIONS[self.aggregation](self.constituent_probabilities(inputs))

    def predict(
        self, inputs: Float[Tensor, "batch ..."]
    ) -> Int[Tensor, " batch"] | Float[Tensor, "batch target"]:
        """Return the most probable classes, or a regression's predictions of scaled targets.

        ``dataset.in_units(...)`` converts such predictions to the original units of the targets.
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

        Its models compute in float32; ``module.double()`` computes in float64.

        Raises:
            NotFiniteError: a constituent holds NaN or infinite numbers.
            ValueError: there are no constituents.
        """
        self._check_usable("become a module")
        models = [self.architecture.module(each.state) for each in self.constituents]
        return EnsembleModule(models, self.loss, AGGREGATIONS[self.aggregation])

    def _check_usable(self, what: str) -> None:
        if not self.constituents:
            raise ValueError(f"the ensemble has no constituents, so it cannot {what}")
        for each in self.constituents:
            check_state(each.state, self.architecture.trainable_names, each.shard, what)


@own_settings()
def state_probabilities(
    architecture: Architecture, loss: Loss, state: State, inputs: Float[Tensor, "batch ..."]
) -> Float[Tensor, "batch class"]:
    """Return one model's probabilities in evaluation mode.

    A model of float32 parameters computes in the inputs' precision.

    Raises:
        NotFiniteError: the model holds NaN or infinite numbers, or has such outputs for finite
            inputs.
    """
    check_state(state, architecture.trainable_names, what="predict")
    module = architecture.module(state)
    if inputs.dtype != torch.float32:
        module = module.to(inputs.dtype)
    with torch.no_grad():
        parts = [loss.probabilities(module(chunk)) for chunk in inputs.split(CHUNK)]
    found = torch.cat(parts) if parts else inputs.new_empty(0, architecture.num_outputs)
    if not torch.isfinite(found).all() and torch.isfinite(inputs).all():
        raise NotFiniteError(
            "a model has NaN or infinite outputs for finite inputs: they are too large for it; "
            "scale inputs and targets, or train with a lower learning_rate"
        )
    return found


def assemble(plan: Plan, store: Store, aggregation: str = "mean-probability") -> Ensemble:
    """Return the current ensemble: exact constituents where stored, approximate ones elsewhere.

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
    regression = plan.examples.labels.is_floating_point()
    return Ensemble(plan.architecture, plan.spec.loss, tuple(constituents), aggregation, regression)
