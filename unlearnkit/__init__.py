"""Machine unlearning on torch, inside Jupyter.

The hybrid of exact and approximate unlearning that Li, Yu, Wang et al. describe (CSE 2024, arXiv
2412.14505): estimate the retraining workload of a request; retrain exactly where it is light;
modify the parameters directly, and amend them, where it is heavy. Only the abstract of the paper is
public to us; formulas, operators, boundary rule and defaults are our own.

>>> import unlearnkit as uk
>>> session = uk.Session("digits", model="logistic", epochs=2, seed=0)
>>> report = session.train(on_progress=False)
>>> request = session.revoke([3, 141, 592])
>>> session.unlearn(max_share=1, on_progress=False).debt_after
0

Start with ``Session``: it trains, estimates, decides, unlearns and compares. The other names:

* Data: ``load`` (by name, see ``DATASETS``), ``from_arrays``, ``from_frame``, ``from_file``,
  ``from_torch`` and ``from_hugging_face`` turn data into what a session takes, with options.
* Training: ``TrainSpec`` holds every setting; ``MLP`` and ``CNN`` are built-in models with options
  (all names are in ``MODELS``); ``CrossEntropy``, ``WeightedCrossEntropy`` and ``SquaredError`` are
  the losses.
* The boundary: ``FixedBoundary``, ``AdaptiveBoundary``, ``ChosenBoundary`` and
  ``OverriddenBoundary`` choose between retraining and modifying (names in ``BOUNDARIES``).
* Approximation: ``METHODS`` and ``AMENDS`` hold the methods and amends by name;
  ``StagedInfluence`` and ``Replay`` are the default ones, with their settings as fields.
* Choosing examples: ``hardest``; costs beforehand: ``expected_visits``.
* Judging: ``METRICS`` is what a comparison reports; ``relearn_time``; over many models
  ``populate`` with ``klom`` and ``ulira``.
* Many requests: ``study`` and ``explore``, ``stream``.
* Keeping and proving: ``DiskStore``, ``StoreError``, ``audit``.
* ``Cancelled`` is raised where work is stopped.
* scikit-learn: ``UnlearnableClassifier`` and ``UnlearnableRegressor``.

Everything else is imported from its wing, for example ``from unlearnkit.training.plan import
make_plan``.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from unlearnkit.approximate import AMENDS, METHODS, Replay, StagedInfluence
from unlearnkit.data.arrays import from_arrays
from unlearnkit.data.datasets import DATASETS, load
from unlearnkit.data.frames import from_file, from_frame
from unlearnkit.data.from_hugging_face import from_hugging_face
from unlearnkit.data.from_torch import from_torch
from unlearnkit.evaluation.relearn import relearn_time
from unlearnkit.metrics.metrics import METRICS
from unlearnkit.models.builtin import CNN, MLP, MODELS
from unlearnkit.models.losses import CrossEntropy, SquaredError, WeightedCrossEntropy
from unlearnkit.notebook import Session
from unlearnkit.progress import Cancelled
from unlearnkit.records.audit import audit
from unlearnkit.selection.example_map import hardest
from unlearnkit.store import DiskStore, StoreError
from unlearnkit.studies.population import klom, populate, ulira
from unlearnkit.studies.stream import stream
from unlearnkit.studies.study import study
from unlearnkit.training.spec import TrainSpec
from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.adaptive import AdaptiveBoundary
from unlearnkit.unlearning.boundary.chosen import ChosenBoundary, OverriddenBoundary
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.expected_workload import expected_visits

if TYPE_CHECKING:
    from unlearnkit.estimators import UnlearnableClassifier, UnlearnableRegressor
    from unlearnkit.widgets.study import explore

__version__ = "0.1.0"

__all__ = [
    "AMENDS",
    "BOUNDARIES",
    "CNN",
    "DATASETS",
    "METHODS",
    "METRICS",
    "MLP",
    "MODELS",
    "AdaptiveBoundary",
    "Cancelled",
    "ChosenBoundary",
    "CrossEntropy",
    "DiskStore",
    "FixedBoundary",
    "OverriddenBoundary",
    "Replay",
    "Session",
    "SquaredError",
    "StagedInfluence",
    "StoreError",
    "TrainSpec",
    "UnlearnableClassifier",
    "UnlearnableRegressor",
    "WeightedCrossEntropy",
    "audit",
    "expected_visits",
    "explore",
    "from_arrays",
    "from_file",
    "from_frame",
    "from_hugging_face",
    "from_torch",
    "hardest",
    "klom",
    "load",
    "populate",
    "relearn_time",
    "stream",
    "study",
    "ulira",
]

# Names whose modules are slow to import (scikit-learn, ipywidgets, plotly).
_LAZY = {
    "UnlearnableClassifier": "estimators",
    "UnlearnableRegressor": "estimators",
    "explore": "widgets.study",
}
# Names that were here in version 0.1, and the modules that they are imported from now.
_MOVED = {
    "AGGREGATIONS": "training.ensemble",
    "Architecture": "models.architecture",
    "Comparison": "evaluation.comparison",
    "Dataset": "data.examples",
    "Decision": "unlearning.boundary.protocol",
    "Ensemble": "training.ensemble",
    "ExampleMap": "selection.example_map",
    "Examples": "data.examples",
    "LOSSES": "models.losses",
    "Linear": "models.builtin",
    "Logistic": "models.builtin",
    "MemoryStore": "store",
    "Partition": "training.partition",
    "Plan": "training.plan",
    "Population": "studies.population",
    "ProgressEvent": "progress",
    "StoreIOError": "store",
    "StoreInUseError": "store",
    "TrainReport": "training.train",
    "Unlearned": "unlearning.unlearn",
    "Workload": "unlearning.workload",
    "as_architecture": "models.architecture",
    "as_dataset": "data.datasets",
    "assemble": "training.ensemble",
    "compare": "evaluation.comparison",
    "estimate": "unlearning.workload",
    "example_map": "selection.example_map",
    "example_table": "selection.example_map",
    "ids_in": "selection.queries",
    "make_partition": "training.partition",
    "make_plan": "training.plan",
    "read_study": "studies.log",
    "repay": "unlearning.repay",
    "stage_accuracies": "evaluation.stage_scores",
    "train": "training.train",
    "unlearn": "unlearning.unlearn",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(f"unlearnkit.{_LAZY[name]}"), name)
    if name in _MOVED:
        module = f"unlearnkit.{_MOVED[name]}"
        warnings.warn(
            f"unlearnkit.{name} has moved: from {module} import {name}",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
