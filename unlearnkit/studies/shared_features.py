"""Features of a frozen backbone that the sessions of a study share."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from unlearnkit.data.examples import Dataset
from unlearnkit.models.frozen.backbone import Frozen
from unlearnkit.models.frozen.features import features_of, with_features
from unlearnkit.training.spec import TrainSpec
from unlearnkit.unlearning.inspection import PROBE_MAX


def with_shared_features(
    dataset: Dataset, options: Mapping[str, Any], others: Int[np.ndarray, " other"]
) -> Dataset:
    """Return a data set whose inputs a frozen backbone has computed, for all sessions to share.

    Args:
        dataset: the data.
        options: arguments of the sessions.
        others: ids besides training and probe examples whose inputs are needed.
    """
    model, threads = options.get("model"), options.get("num_threads")
    if not isinstance(model, Frozen):
        return dataset.with_computed(None)
    spec = options.get("spec")
    usual = spec.num_threads if isinstance(spec, TrainSpec) else TrainSpec.num_threads
    dataset = with_features(dataset, model, usual if threads is None else threads)
    features = features_of(dataset.train)
    assert features is not None
    features.compute(np.concatenate([dataset.train.ids, dataset.probe.ids[:PROBE_MAX], others]))
    return dataset
