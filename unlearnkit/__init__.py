"""Machine unlearning on torch, inside Jupyter.

The hybrid of exact and approximate unlearning that Li, Yu, Wang et al. describe (CSE 2024, arXiv
2412.14505): estimate the retraining workload of a request; retrain exactly where it is light;
modify the parameters directly, and amend them, where it is heavy. Only the abstract of the paper is
public to us; formulas, operators, boundary rule and defaults are our own.
"""

from unlearnkit.adaptive import AdaptiveBoundary
from unlearnkit.approximate import AMENDS, METHODS, Replay, StagedInfluence
from unlearnkit.boundary import BOUNDARIES, Decision, FixedBoundary
from unlearnkit.comparison import Comparison, compare
from unlearnkit.datasets import DATASETS, Dataset, Examples, from_arrays, from_frame, load
from unlearnkit.ensemble import AGGREGATIONS, Ensemble, assemble
from unlearnkit.losses import LOSSES, CrossEntropy, SquaredError
from unlearnkit.metrics import METRICS
from unlearnkit.models import CNN, MLP, MODELS, Architecture, Logistic, as_architecture
from unlearnkit.partition import Partition, make_partition
from unlearnkit.plan import Plan, make_plan
from unlearnkit.population import Population, klom, populate, ulira
from unlearnkit.progress import Cancelled, ProgressEvent
from unlearnkit.relearn import relearn_time
from unlearnkit.session import Session
from unlearnkit.spec import TrainSpec
from unlearnkit.store import DiskStore, MemoryStore, StoreError, StoreIOError
from unlearnkit.stream import stream
from unlearnkit.study import study
from unlearnkit.training import TrainReport, train
from unlearnkit.unlearning import Unlearned, repay, unlearn
from unlearnkit.workload import Workload, estimate, expected_visits

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
    "Comparison",
    "CrossEntropy",
    "Dataset",
    "Decision",
    "DiskStore",
    "Ensemble",
    "Examples",
    "FixedBoundary",
    "Logistic",
    "MemoryStore",
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
    "TrainReport",
    "TrainSpec",
    "Unlearned",
    "Workload",
    "as_architecture",
    "assemble",
    "compare",
    "estimate",
    "expected_visits",
    "from_arrays",
    "from_frame",
    "klom",
    "load",
    "make_partition",
    "make_plan",
    "populate",
    "relearn_time",
    "repay",
    "stream",
    "study",
    "train",
    "ulira",
    "unlearn",
]
