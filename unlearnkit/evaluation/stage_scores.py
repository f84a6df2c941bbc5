"""How well each shard's model did after each slice, read off the checkpoints that are kept."""

from collections.abc import Mapping
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from unlearnkit.metrics.tasks import task_of
from unlearnkit.training.ensemble import state_probabilities
from unlearnkit.training.kernels.loop import compute_threads
from unlearnkit.training.session_view import SessionView

if TYPE_CHECKING:
    import pandas as pd

MOST_EXAMPLES = 1000  # of the probe part; the first by id


def stage_accuracies(
    session: SessionView, known: Mapping[str, float] | None = None
) -> "pd.DataFrame":
    """Accuracy, or R2 of a regression, on the probe part of every exact checkpoint that there is.

    One row a stage: shard, stage, the epochs that the shard was trained for by its end, the
    checkpoint's key, and the accuracy (of a regression in a column ``R2``: that) of this model
    alone. The probe part is held out and not the test part, so looking at it while training runs
    judges nothing that is judged later.

    Args:
        session: trained, partly trained, or being trained in another thread.
        known: scores by key, which are not measured again.
    """
    import pandas as pd

    plan, store, probe = session.plan, session.store, session.dataset.probe
    ids = probe.ids[~np.isin(probe.ids, session.revoked)][:MOST_EXAMPLES]
    inputs, labels = session.dataset.examples(ids)
    epochs = list(accumulate(plan.spec.stage_epochs()))
    rows, task = [], task_of(session.dataset)
    with compute_threads(1):  # training may be going on beside
        for stage in plan.stages:
            if not len(ids) or not plan.alive(stage.shard) or stage.key not in store:
                continue
            value = (known or {}).get(stage.key)
            if value is None:
                state = store.get(stage.key).state
                outputs = state_probabilities(plan.architecture, plan.spec.loss, state, inputs)
                value = task.score(outputs, labels)
            rows.append((stage.shard, stage.index, epochs[stage.index - 1], stage.key, value))
    return pd.DataFrame(rows, columns=["shard", "stage", "epoch", "key", task.score_name])
