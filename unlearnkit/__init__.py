"""Machine unlearning on torch, inside Jupyter.

unlearnkit implements the hybrid of exact and approximate unlearning that Li, Yu, Wang et al.
describe (CSE 2024, arXiv 2412.14505). It estimates the retraining workload of a request, retrains
exactly where the workload is light, and modifies and amends parameters directly where it is heavy.
Only the abstract of the paper is available to us, so formulas, operators, boundary rule and
defaults are our own.

>>> import unlearnkit as uk
>>> session = uk.Session("digits", model="logistic", epochs=2, seed=0)
>>> report = session.train(on_progress=False)
>>> request = session.revoke([3, 141, 592])
>>> session.unlearn(max_share=1, on_progress=False).debt_after
0

Start with ``Session``: it trains, assesses, decides, unlearns and compares. Its ``dashboard()``
does the same with the mouse. The other names, and when to use them:

Data. A session takes most data as they are; call these functions to set options.

* ``load`` loads a dataset by name; ``DATASETS`` lists the names, ``help(uk.load)`` describes them.
* ``from_arrays`` takes arrays or tensors, ``from_frame`` a pandas DataFrame, ``from_file`` a table
  in a file, ``from_torch`` a torch ``Dataset``, and ``from_hugging_face`` a Hugging Face dataset.
* ``suggest_scaling`` prints constants that bring the columns of a table near 1, to judge and copy.

Training.

* ``TrainSpec`` holds all settings of training; a session takes single ones as arguments too.
* ``MLP`` and ``CNN`` are built-in models; use them to set widths, activations or dropout.
  ``MODELS`` lists all models that a session takes by name.
* ``Frozen`` puts a head on a frozen backbone, such as a pretrained network: features are computed
  once, and training and unlearning work on them.
* ``NotFiniteError`` is raised if training diverges, and says what is likely to help.
* ``CrossEntropy`` (the default for classes), ``WeightedCrossEntropy`` (for classes of unequal
  importance) and ``SquaredError`` (for regression) are the losses.

Boundaries decide for each shard whether it is retrained exactly or modified approximately.

* ``FixedBoundary`` compares the workload with a threshold; it is the default.
* ``AdaptiveBoundary`` weighs predicted seconds, debt and past errors; use it for many requests.
* ``ChosenBoundary`` retrains the shards that you name; use it to repeat a decision.
* ``OverriddenBoundary`` overrules another boundary for some shards.
* ``BOUNDARIES`` lists the boundaries that can be given by name; add your own there.

Approximation.

* ``StagedInfluence`` is the default method and ``Replay`` the default amend; use the classes to
  change their settings.
* ``METHODS`` and ``AMENDS`` list all methods and amends by name; add your own there.

Choosing examples and judging unlearning.

* ``hardest`` finds the examples with the highest loss, under the models that never saw them or the
  one that did, or the highest self-influence; ``session.held_out_probabilities()`` is for packages
  that look for wrong labels.
* ``expected_visits`` predicts the workload of a random request, before there is any model.
* ``METRICS`` lists the metrics that ``session.compare()`` reports; add your own there.
* ``relearn_time`` measures how fast the unlearned models relearn the forgotten examples.
* ``populate`` trains, unlearns and retrains with many seeds; ``klom`` and ``ulira`` judge the
  resulting populations of models, which is stricter than comparing single models.
  ``unlearnkit.studies.population_attacks`` attacks single examples with them, and
  ``unlearnkit.studies.leave_out`` judges data attribution by exact retraining.

Measuring many requests.

* ``study`` measures boundaries, methods and settings on the same requests, as a table; ``explore``
  shows this table as linked plots.
* ``stream`` executes a sequence of requests, to see how debt and savings develop.

Storing and auditing.

* ``DiskStore`` keeps a session's checkpoints and ledger in a folder; ``Session(store="folder")``
  opens one for you, and the class has options such as waiting for another process.
* ``StoreError`` is raised if a store is damaged, in use, or belongs to another run.
* ``audit`` checks what a store claims; so does ``python -m unlearnkit audit``.
* ``load_ensemble`` loads the models that ``session.ensemble.save(folder)`` saved for prediction;
  ``session.ensemble.module()`` makes one ``nn.Module`` of them.
* ``Cancelled`` is raised in a call that was stopped by its ``cancel`` event.

scikit-learn.

* ``UnlearnableClassifier`` and ``UnlearnableRegressor`` are estimators with an ``unlearn`` method;
  use them in pipelines, grid searches and cross-validation.

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
from unlearnkit.data.suggestions import suggest_scaling
from unlearnkit.evaluation.relearn import relearn_time
from unlearnkit.interrupts import Cancelled
from unlearnkit.metrics.metrics import METRICS
from unlearnkit.models.builtin import CNN, MLP, MODELS
from unlearnkit.models.frozen.backbone import Frozen
from unlearnkit.models.losses import CrossEntropy, SquaredError, WeightedCrossEntropy
from unlearnkit.notebook import Session
from unlearnkit.records.audit import audit
from unlearnkit.records.saved_ensemble import load_ensemble
from unlearnkit.selection.example_map import hardest
from unlearnkit.store import DiskStore, StoreError
from unlearnkit.studies.population import populate
from unlearnkit.studies.population_metrics import klom, ulira
from unlearnkit.studies.stream import stream
from unlearnkit.studies.study import study
from unlearnkit.training.kernels.finite import NotFiniteError
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
    "Frozen",
    "NotFiniteError",
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
    "load_ensemble",
    "populate",
    "relearn_time",
    "stream",
    "study",
    "suggest_scaling",
    "ulira",
]

# Names whose modules are imported on first use: scikit-learn, ipywidgets and plotly are slow.
_LAZY = {
    "UnlearnableClassifier": "estimators",
    "UnlearnableRegressor": "estimators",
    "explore": "widgets.study",
}
# Names that unlearnkit offered before they were left to their wings, and their modules now.
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
