"""Machine unlearning on torch, inside Jupyter.

The hybrid of exact and approximate unlearning that Li, Yu, Wang et al. describe (CSE 2024, arXiv
2412.14505): estimate the retraining workload of a request; retrain exactly where it is light;
modify the parameters directly, and amend them, where it is heavy. Only the abstract of the paper is
public to us; formulas, operators, boundary rule and defaults are our own.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unlearnkit.approximate import AMENDS, METHODS, Replay, StagedInfluence
from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.datasets import DATASETS, as_dataset, load
from unlearnkit.data.examples import Dataset, Examples
from unlearnkit.data.frames import from_file, from_frame
from unlearnkit.data.from_hugging_face import from_hugging_face
from unlearnkit.data.from_torch import from_torch
from unlearnkit.evaluation.comparison import Comparison, compare
from unlearnkit.evaluation.relearn import relearn_time
from unlearnkit.evaluation.stage_scores import stage_accuracies
from unlearnkit.metrics.metrics import METRICS
from unlearnkit.models.architecture import Architecture, as_architecture
from unlearnkit.models.builtin import CNN, MLP, MODELS, Linear, Logistic
from unlearnkit.models.losses import LOSSES, CrossEntropy, SquaredError, WeightedCrossEntropy
from unlearnkit.notebook import Session
from unlearnkit.progress import Cancelled, ProgressEvent
from unlearnkit.selection.example_map import ExampleMap, example_map, example_table, hardest
from unlearnkit.selection.queries import ids_in
from unlearnkit.store import DiskStore, MemoryStore, StoreError, StoreInUseError, StoreIOError
from unlearnkit.studies.population import Population, klom, populate, ulira
from unlearnkit.studies.stream import stream
from unlearnkit.studies.study import read_study, study
from unlearnkit.training.ensemble import AGGREGATIONS, Ensemble, assemble
from unlearnkit.training.partition import Partition, make_partition
from unlearnkit.training.plan import Plan, make_plan
from unlearnkit.training.spec import TrainSpec
from unlearnkit.training.train import TrainReport, train
from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.adaptive import AdaptiveBoundary
from unlearnkit.unlearning.boundary.chosen import ChosenBoundary, OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Decision
from unlearnkit.unlearning.expected_workload import expected_visits
from unlearnkit.unlearning.repay import repay
from unlearnkit.unlearning.unlearn import Unlearned, unlearn
from unlearnkit.unlearning.workload import Workload, estimate

if TYPE_CHECKING:
    from unlearnkit.estimators import UnlearnableClassifier, UnlearnableRegressor
    from unlearnkit.widgets.study import explore

__version__ = "0.1.0"

__all__ = [
    "AGGREGATIONS",
    "AMENDS",
    "BOUNDARIES",
    "CNN",
    "DATASETS",
    "LOSSES",
    "METHODS",
    "METRICS",
    "MLP",
    "MODELS",
    "AdaptiveBoundary",
    "Architecture",
    "Cancelled",
    "ChosenBoundary",
    "Comparison",
    "CrossEntropy",
    "Dataset",
    "Decision",
    "DiskStore",
    "Ensemble",
    "ExampleMap",
    "Examples",
    "FixedBoundary",
    "Linear",
    "Logistic",
    "MemoryStore",
    "OverriddenBoundary",
    "Partition",
    "Plan",
    "Population",
    "ProgressEvent",
    "Replay",
    "Session",
    "SquaredError",
    "StagedInfluence",
    "StoreError",
    "StoreIOError",
    "StoreInUseError",
    "TrainReport",
    "TrainSpec",
    "UnlearnableClassifier",
    "UnlearnableRegressor",
    "Unlearned",
    "WeightedCrossEntropy",
    "Workload",
    "as_architecture",
    "as_dataset",
    "assemble",
    "compare",
    "estimate",
    "example_map",
    "example_table",
    "expected_visits",
    "explore",
    "from_arrays",
    "from_file",
    "from_frame",
    "from_hugging_face",
    "from_torch",
    "hardest",
    "ids_in",
    "klom",
    "load",
    "make_partition",
    "make_plan",
    "populate",
    "read_study",
    "relearn_time",
    "repay",
    "stage_accuracies",
    "stream",
    "study",
    "train",
    "ulira",
    "unlearn",
]


# What is slow to import: scikit-learn; widgets and plotly.
_LATER = {
    "UnlearnableClassifier": "estimators",
    "UnlearnableRegressor": "estimators",
    "explore": "widgets.study",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"unlearnkit.{_LATER[name]}"), name)
