"""Numbers that are not finite: training stops at the first of them, and says what helps.

A diverged training ends with NaN in every parameter. Bytes of NaN equal those of NaN, so such a
model would pass for one that was retrained exactly. Kernels therefore look at loss and parameters
at the end of every epoch, and what reads stored models refuses those that are not finite.
"""

import math
from collections.abc import Collection, Iterable, Sequence

import torch
from torch import Tensor

from unlearnkit.data.column_constants import NOT_SILENTLY
from unlearnkit.models.state import all_finite, is_finite
from unlearnkit.store.checkpoint import State
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import EPOCH, Job, Mark

LARGE = 10.0  # inputs or targets beyond this are named as the likely reason


class NotFiniteError(ArithmeticError):
    """Loss, parameters or outputs of a model are NaN or infinite.

    Stages that were finished before are kept, and nothing of the stage in question is stored.

    Attributes:
        shard: 0-based shard of the model, if it is known.
        stage: 1-based stage, if it was in training.
        epoch: 1-based epoch of the stage, if it was in training.

    >>> import unlearnkit as uk
    >>> session = uk.Session("digits", model="linear", loss="squared-error", learning_rate=1e30)
    >>> try:
    ...     session.train()
    ... except uk.NotFiniteError as error:
    ...     print(error.stage)
    1
    """

    def __init__(
        self,
        message: str,
        shard: int | None = None,
        stage: int | None = None,
        epoch: int | None = None,
    ) -> None:
        """Create the error with a message, and with the place where training met the numbers."""
        super().__init__(message)
        self.shard, self.stage, self.epoch = shard, stage, epoch


def check_epoch(
    plan: Plan, shard: int, mark: Mark, loss: float | None, parameters: Iterable[Tensor]
) -> None:
    """Check loss and parameters of one shard at the end of an epoch.

    Args:
        plan: plan of the retain set.
        shard: 0-based shard.
        mark: the end of the epoch.
        loss: mean loss of the epoch, if it was measured.
        parameters: the trainable parameters.

    Raises:
        NotFiniteError: the loss or a parameter is not finite.
    """
    if loss is not None and not math.isfinite(loss):
        raise diverged(plan, shard, mark, "the loss")
    with torch.no_grad():
        if not all(map(all_finite, parameters)):
            raise diverged(plan, shard, mark, "the parameters")


def check_lanes(
    plan: Plan,
    jobs: Sequence[Job],
    marks: Iterable[tuple[int, Mark]],
    flat: Tensor,
    pieces: Sequence[Tensor],
) -> None:
    """Check the parameters of those lanes of a group at which an epoch has ended.

    Args:
        plan: plan of the retain set.
        jobs: the lanes' jobs.
        marks: marks of this step with the number of their lane.
        flat: the parameters of all lanes.
        pieces: views of them, whose first dimension is the lane.

    Raises:
        NotFiniteError: a parameter of such a lane is not finite.
    """
    if math.isfinite(flat.sum()):
        return
    for lane, mark in marks:
        if mark.kind == EPOCH:
            check_epoch(plan, jobs[lane].shard, mark, None, [piece[lane] for piece in pieces])


def diverged(plan: Plan, shard: int, mark: Mark, what: str) -> NotFiniteError:
    """Return the error for a training that met numbers that are not finite."""
    stage = mark.stage
    return NotFiniteError(
        f"training diverged: in shard {shard}, slice {stage.index}, {what} became NaN or infinite "
        f"in epoch {mark.number} of {stage.epochs}; {advice(plan, shard)}",
        shard,
        stage.index,
        mark.number,
    )


def advice(plan: Plan, shard: int) -> str:
    """Say what is likely to keep a shard's training finite, from the ranges of its retained rows.

    Scaling constants must not be computed from the data, so the ranges are only told.
    """
    rows = plan.partition.shard_rows(shard)
    inputs, targets = plan.examples[plan.partition.ids[rows[plan.retained[rows]]]]
    ranges, constants = [], []
    for name, constant, values in (
        ("inputs", "scale", inputs),
        ("targets", "target_scale", targets),
    ):
        if not values.is_floating_point() or not values.numel():
            continue
        low, high = float(values.min()), float(values.max())
        if (largest := max(abs(low), abs(high))) > LARGE:
            ranges.append(f"{name} range from {low:.4g} to {high:.4g}")
            constants.append(f"{constant}={10.0 ** round(math.log10(largest)):.10g}")
    rate = plan.spec.learning_rate
    lower = f"lower the learning_rate (from {rate:g} to {rate / 10:g}, for example)"
    if not ranges:
        return lower
    return (
        f"its retained {' and its '.join(ranges)}: make the data with constants known beforehand "
        f"that bring them near 1 ({', '.join(constants)}, for example; offset and scale take one "
        f"constant for each column, and uk.suggest_scaling(X, y) prints some to copy), or {lower}. "
        f"{NOT_SILENTLY}"
    )


def check_state(
    state: State, trainable: Collection[str], shard: int | None = None, what: str = "be used"
) -> None:
    """Check that a stored model is finite.

    Args:
        state: parameters and buffers.
        trainable: names of the trained parameters.
        shard: 0-based shard of the model, if it is known.
        what: what cannot be done with the model, for the message.

    Raises:
        NotFiniteError: the model is not finite.
    """
    if not is_finite(state, trainable):
        whose = "a model" if shard is None else f"the model of shard {shard}"
        raise NotFiniteError(
            f"{whose} holds NaN or infinite numbers, so it cannot {what}: its training diverged; "
            "train again with scaled inputs and targets, or with a lower learning_rate",
            shard,
        )
