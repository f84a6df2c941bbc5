"""How far each shard's model is from the retrained one, before and after unlearning."""

from typing import TYPE_CHECKING

from unlearnkit.data.examples import Dataset
from unlearnkit.evaluation.comparison import MODELS, Comparison

if TYPE_CHECKING:
    import pandas as pd

PARAMETERS = "parameters"
MEASURES = ("forget", "test", PARAMETERS)


def shard_moves(
    comparison: Comparison, dataset: Dataset, measure: str = "forget"
) -> "pd.DataFrame":
    """Return the distance of each shard's original and unlearned model from the retrained one.

    Args:
        comparison: the comparison of an unlearning.
        dataset: the data set that was trained on.
        measure: ``"forget"`` or ``"test"`` for the mean divergence of the outputs on these
            examples, in nats, or ``"parameters"`` for the Euclidean norm of the difference of all
            parameters.

    Returns:
        A table with one row per compared shard: ``shard``, ``exact`` (whether the unlearned model
        equals the retrained one bit for bit), and the distances ``original`` and ``unlearned``.

    Raises:
        ValueError: the measure is not known, or the part has no examples.
    """
    import pandas as pd

    if measure not in MEASURES:
        raise ValueError(f"measure={measure!r} is not known; choose from {', '.join(MEASURES)}")
    frame = comparison.constituents
    found = {"shard": frame["shard"].tolist(), "exact": frame["bit_identical"].tolist()}
    if measure == PARAMETERS:
        found |= {
            model: frame[f"{model}_to_scratch_l2"].astype(float).tolist() for model in MODELS[:2]
        }
        return pd.DataFrame(found)
    ids = comparison.ids[measure]
    if not len(ids):
        raise ValueError(f"there are no {measure} examples; choose another measure")
    inputs, _ = dataset.examples(ids)
    outputs = {
        name: dict(
            zip(
                (each.shard for each in ensemble.constituents),
                ensemble.constituent_probabilities(inputs),
                strict=True,
            )
        )
        for name, ensemble in comparison.ensembles.items()
    }
    for model in MODELS[:2]:
        found[model] = [
            max(0.0, _mean(comparison, outputs["scratch"].get(shard), outputs[model].get(shard)))
            for shard in found["shard"]
        ]
    return pd.DataFrame(found)


def _mean(comparison: Comparison, reference: object, own: object) -> float:
    """Return the mean divergence; nan where a shard has no model, because it is empty."""
    if reference is None or own is None:
        return float("nan")
    return float(comparison.task.divergence(reference, own).mean())  # type: ignore[arg-type]
