"""Scores of each shard's model after each stage, computed from the stored checkpoints."""

import math
from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from unlearnkit.metrics.tasks import task_of
from unlearnkit.torch_settings import compute_threads, own_settings
from unlearnkit.training.ensemble import state_probabilities
from unlearnkit.training.kernels.finite import NotFiniteError
from unlearnkit.training.session_view import SessionView

if TYPE_CHECKING:
    import pandas as pd

MOST_EXAMPLES = 1000  # the most examples of the probe part that are used; the first by id


@own_settings()
def stage_accuracies(
    session: SessionView, known: Mapping[str, float] | None = None
) -> "pd.DataFrame":
    """Score every exact checkpoint in the store on the probe part of the data.

    The score is the accuracy, or R2 for a regression. The probe part is held out and separate from
    the test part, so that monitoring training on it does not bias the test scores.

    Args:
        session: trained, partly trained, or being trained in another thread.
        known: known scores by checkpoint key, which are not measured again.

    Returns:
        One row per stage: shard, stage, epochs trained by the end of the stage, key of the
        checkpoint, and the score of this model alone; nan if its outputs are not finite.
    """
    import pandas as pd

    plan, store, probe = session.plan, session.store, session.dataset.probe
    ids = probe.ids[~np.isin(probe.ids, session.revoked)][:MOST_EXAMPLES]
    inputs, labels = session.dataset.examples(ids)
    epochs = list(accumulate(plan.spec.stage_epochs()))
    rows, task = [], task_of(session.dataset)
    with compute_threads(1):  # another thread may be training
        for stage in plan.stages:
            if not len(ids) or not plan.alive(stage.shard) or stage.key not in store:
                continue
            value = (known or {}).get(stage.key)
            if value is None:
                state = store.get(stage.key).state
                try:
                    outputs = state_probabilities(plan.architecture, plan.spec.loss, state, inputs)
                    value = task.score(outputs, labels)
                except NotFiniteError:  # training is about to stop
                    value = math.nan
            rows.append((stage.shard, stage.index, epochs[stage.index - 1], stage.key, value))
    return pd.DataFrame(rows, columns=["shard", "stage", "epoch", "key", task.score_name])
