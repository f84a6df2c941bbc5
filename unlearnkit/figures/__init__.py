"""Figures: a result in, a plotly figure out; nothing is computed here, and no widget is known.

``import unlearnkit.figures``, then for example ``unlearnkit.figures.workload_map(workload)``.
"""

from unlearnkit.figures.drawing import Drawing, Figure
from unlearnkit.figures.judge import (
    comparison_accuracy,
    layer_distances,
    membership_gaps,
    output_divergence,
)
from unlearnkit.figures.route import boundary_bars, cost_curve, workload_map
from unlearnkit.figures.study import (
    stream_debt,
    study_frontier,
    study_gap,
    study_map,
    study_speed,
    study_workload,
)
from unlearnkit.figures.training import training_curves

__all__ = [
    "Drawing",
    "Figure",
    "boundary_bars",
    "comparison_accuracy",
    "cost_curve",
    "layer_distances",
    "membership_gaps",
    "output_divergence",
    "stream_debt",
    "study_frontier",
    "study_gap",
    "study_map",
    "study_speed",
    "study_workload",
    "training_curves",
    "workload_map",
]
