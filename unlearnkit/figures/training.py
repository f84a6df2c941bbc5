"""Figures of training: loss and accuracy of each shard over its epochs."""

from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from unlearnkit.figures.drawing import GREY, Drawing, Spec, axis, layout, line_colors
from unlearnkit.progress import ProgressEvent
from unlearnkit.training.spec import TrainSpec
from unlearnkit.training.train import TrainReport

if TYPE_CHECKING:
    import pandas as pd

MOST_NAMED = 7  # lines up to which there is a legend; the hover names them anyway
MOST_POINTS = 300  # points of a line


@Drawing
def training_curves(progress: TrainReport | Iterable[ProgressEvent], spec: TrainSpec) -> Spec:
    """Training loss of every shard over its epochs, with dotted lines where a slice is added.

    Args:
        progress: a report (one point per stage), or the events of a run (one point per epoch).
        spec: spec of the training, which gives the number of epochs of each stage.
    """
    epochs = spec.stage_epochs()
    starts = [0, *accumulate(epochs)]
    lines: dict[int, tuple[list[int], list[float]]] = {}
    for shard, stage, epoch, loss in _points(progress):
        xs, ys = lines.setdefault(shard, ([], []))
        xs.append(starts[stage - 1] + epoch)
        ys.append(loss)
    colors = line_colors(spec.num_shards)
    mode = "lines+markers" if isinstance(progress, TrainReport) else "lines"
    data = [
        {
            "type": "scatter",
            "mode": mode,
            "name": f"shard {shard}",
            "x": _thinned(xs),
            "y": _thinned(ys),
            "line": {"color": colors[shard % len(colors)], "width": 1.75},
            "hovertemplate": f"shard {shard}, epoch %{{x}}: loss %{{y:.3f}}<extra></extra>",
        }
        for shard, (xs, ys) in sorted(lines.items())
    ]
    return {
        "data": data,
        "layout": layout(
            "Training loss of each shard",
            316,
            xaxis=axis(_epochs(spec), range=[0, starts[-1]]),
            yaxis=axis("mean loss of the epoch"),
            shapes=_slice_lines(starts),
            showlegend=spec.num_shards <= MOST_NAMED,
        ),
    }


@Drawing
def accuracy_curves(frame: "pd.DataFrame", spec: TrainSpec) -> Spec:
    """Accuracy (or R2) of every shard's model on probe examples, after each stage.

    Args:
        frame: table that :func:`~unlearnkit.evaluation.stage_scores.stage_accuracies` returned.
        spec: spec of the training.
    """
    starts = [0, *accumulate(spec.stage_epochs())]
    colors = line_colors(spec.num_shards)
    name = "accuracy" if "accuracy" in frame else "R2"
    form = ".1%" if name == "accuracy" else ".2f"
    parts = [(shard, frame[frame["shard"] == shard]) for shard in range(spec.num_shards)]
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": f"shard {shard}",
            "x": part["epoch"].tolist(),
            "y": part[name].tolist(),
            "customdata": part["stage"].tolist(),
            "line": {"color": colors[shard % len(colors)], "width": 1.75},
            "hovertemplate": f"shard {shard} after slice %{{customdata}}: %{{y:{form}}}"
            "<extra></extra>",
        }
        for shard, part in parts
        if len(part)
    ]
    return {
        "data": data,
        "layout": layout(
            f"{name[0].upper()}{name[1:]} of each shard's model on probe examples",
            316,
            xaxis=axis(_epochs(spec), range=[0, starts[-1] * 1.02 or 1]),
            yaxis=axis(name, tickformat=".0%" if name == "accuracy" else "~g"),
            shapes=_slice_lines(starts),
            showlegend=spec.num_shards <= MOST_NAMED,
        ),
    }


def _epochs(spec: TrainSpec) -> str:
    """Return the title of the axis of epochs, which are more than ``spec.epochs``.

    A stage trains on the slices that have joined so far, so its epochs are shorter than those of
    training on all data.

    >>> _epochs(TrainSpec(num_slices=3, epochs=20))
    'epoch; dotted: the next slice joins<br>30 epochs on growing data: the work of 20 on all of it'
    >>> _epochs(TrainSpec(num_slices=1, epochs=20))
    'epoch'
    """
    epochs = spec.stage_epochs()
    if len(epochs) == 1:
        return "epoch"
    slices = len(epochs)
    work = sum(count * stage / slices for stage, count in enumerate(epochs, 1))
    return (
        f"epoch; dotted: the next slice joins<br>{sum(epochs)} epochs on growing data: the work of "
        f"{work:.0f} on all of it"
    )


def _slice_lines(starts: list[int]) -> list[Spec]:
    """Draw dotted lines where slices are added."""
    return [
        {
            "type": "line",
            "x0": start,
            "x1": start,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "layer": "below",
            "line": {"color": GREY, "width": 1, "dash": "dot"},
        }
        for start in starts[1:-1]
    ]


def _thinned(values: list[Any]) -> list[Any]:
    """Keep at most about `MOST_POINTS` evenly spaced values, always including the last.

    A live figure is sent to the browser often, so it has to be small.

    >>> _thinned([1, 2, 3]), len(_thinned(list(range(1000)))), _thinned(list(range(1000)))[-1]
    ([1, 2, 3], 251, 999)
    """
    step = -(-len(values) // MOST_POINTS)
    if step < 2:
        return values
    return values[::step] + ([] if (len(values) - 1) % step == 0 else values[-1:])


def _points(
    progress: TrainReport | Iterable[ProgressEvent],
) -> Iterable[tuple[int, int, int, float]]:
    if isinstance(progress, TrainReport):
        return [(run.shard, run.stage, run.epochs, run.loss) for run in progress.runs]
    return [
        (event.shard, event.stage, event.epoch, event.loss)
        for event in progress
        if event.shard is not None and event.stage is not None and event.loss is not None
    ]
