"""Progress events as metrics for TensorBoard, MLflow, or Weights & Biases.

None of them is a dependency: what is given is recognised by its methods.
"""

import inspect
from typing import Any

from unlearnkit.progress.events import OnProgress, ProgressEvent


def log_to(tracker: Any, prefix: str = "") -> OnProgress:
    """Return an ``on_progress`` that logs the loss of every epoch, and the share of work done.

    Metrics are named by phase and shard, such as ``train/shard-3/loss`` and ``train/share``. Their
    step is the number of visits (gradients of one example) so far, by which the shards can be
    compared. Weights & Biases counts steps itself; the visits are logged as ``train/visits``.

    Args:
        tracker: one of

            - a ``SummaryWriter`` of ``torch.utils.tensorboard`` or ``tensorboardX``: any object
              with a method ``add_scalar(tag, scalar_value, global_step)``;
            - the module ``mlflow``, or any object with a method ``log_metric(key, value, step)``.
              Metrics go to the run that is active now;
            - a run that ``wandb.init`` returned, or the module ``wandb``: any object with a method
              ``log(data)``.
        prefix: text before the names of all metrics, such as ``"retrained/"``.

    Raises:
        TypeError: the tracker has none of these methods.

    >>> class Printer:
    ...     def add_scalar(self, tag, scalar_value, global_step=None):
    ...         print(tag, scalar_value, global_step)
    >>> log_to(Printer())(ProgressEvent("train", 3, 1, 40, 160, loss=0.5))
    train/shard-3/loss 0.5 40
    train/share 0.25 40
    """
    add_scalar, log_metric, log = (
        method if callable(method := getattr(tracker, name, None)) else None
        for name in ("add_scalar", "log_metric", "log")
    )
    if add_scalar is not None:

        def to_tensorboard(event: ProgressEvent) -> None:
            for name, value in _metrics(event, prefix).items():
                add_scalar(name, value, event.done_visits)

        return to_tensorboard
    if log_metric is not None:
        options = _active_run(tracker)

        def to_mlflow(event: ProgressEvent) -> None:
            for name, value in _metrics(event, prefix).items():
                log_metric(name, value, step=event.done_visits, **options)

        return to_mlflow
    if log is not None:

        def to_wandb(event: ProgressEvent) -> None:
            # A later call begins with fewer visits, and a step below the last would be dropped.
            log({**_metrics(event, prefix), f"{prefix}{event.phase}/visits": event.done_visits})

        return to_wandb
    raise TypeError(
        f"a {type(tracker).__name__} cannot log metrics; give TensorBoard's SummaryWriter (with "
        "add_scalar), the module mlflow (with log_metric), a run of wandb.init (with log), or a "
        "callable of your own as on_progress"
    )


def _metrics(event: ProgressEvent, prefix: str) -> dict[str, float]:
    """Return the metrics of an event by name."""
    found = {}
    if event.loss is not None:
        shard = "" if event.shard is None else f"shard-{event.shard}/"
        found[f"{prefix}{event.phase}/{shard}loss"] = float(event.loss)
    found[f"{prefix}{event.phase}/share"] = event.share
    return found


def _active_run(tracker: Any) -> dict[str, str]:
    """Return the argument that names MLflow's active run.

    MLflow keeps the active run for each thread, and events come from the threads that do the work,
    where it would begin another run.
    """
    active = getattr(tracker, "active_run", None)
    run = active() if callable(active) else None
    if run is None or "run_id" not in inspect.signature(tracker.log_metric).parameters:
        return {}
    return {"run_id": run.info.run_id}
