"""Figures: functions that take a result and return a plotly figure.

They compute nothing of their own and do not know the widgets. Usage: ``import unlearnkit.figures``,
then for example ``unlearnkit.figures.workload_map(workload)``.
"""

from unlearnkit.figures.compared.measures import (
    comparison_accuracy,
    layer_distances,
    membership_gaps,
    output_divergence,
    seed_distances,
)
from unlearnkit.figures.compared.membership import membership_losses, membership_roc, shard_attack
from unlearnkit.figures.compared.moves import shard_moves
from unlearnkit.figures.compared.parameters import (
    parameter_scatter,
    shift_histogram,
    shift_scatter,
    weight_images,
)
from unlearnkit.figures.compared.predictions import (
    class_accuracy,
    class_divergence,
    predicted_targets,
    prediction_confusion,
)
from unlearnkit.figures.compared.representations import layer_similarity, twin_embedding
from unlearnkit.figures.decision import boundary_bars, workload_map
from unlearnkit.figures.drawing import Drawing, Figure
from unlearnkit.figures.example_map import example_map
from unlearnkit.figures.ledger import ledger_costs
from unlearnkit.figures.studies.stream import stream_debt
from unlearnkit.figures.studies.study import (
    study_frontier,
    study_gap,
    study_speed,
)
from unlearnkit.figures.studies.study_routes import study_map, study_workload
from unlearnkit.figures.theme import set_theme
from unlearnkit.figures.training import accuracy_curves, training_curves
from unlearnkit.figures.workload import expected_curve, stage_map

__all__ = [
    "Drawing",
    "Figure",
    "accuracy_curves",
    "boundary_bars",
    "class_accuracy",
    "class_divergence",
    "comparison_accuracy",
    "example_map",
    "expected_curve",
    "layer_distances",
    "layer_similarity",
    "ledger_costs",
    "membership_gaps",
    "membership_losses",
    "membership_roc",
    "output_divergence",
    "parameter_scatter",
    "predicted_targets",
    "prediction_confusion",
    "seed_distances",
    "set_theme",
    "shard_attack",
    "shard_moves",
    "shift_histogram",
    "shift_scatter",
    "stage_map",
    "stream_debt",
    "study_frontier",
    "study_gap",
    "study_map",
    "study_speed",
    "study_workload",
    "training_curves",
    "twin_embedding",
    "weight_images",
    "workload_map",
]
