"""Populations of models: are unlearned models distributed like retrained ones?

A single unlearned model can only be compared with a single retrained model. Trained with many
seeds, both give a distribution of outputs for every example; unlearning is complete if the two
distributions are equal. Building a population takes long, so it is kept in a file as it grows.
"""

import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from unlearnkit.approximate import AMENDS, METHODS, Amend, Method
from unlearnkit.approximate.defaults import default_method
from unlearnkit.data.datasets import as_dataset
from unlearnkit.display import as_html
from unlearnkit.metrics.metrics import SMALLEST_PROBABILITY
from unlearnkit.metrics.tasks import require_classes
from unlearnkit.progress import Progress, ProgressEvent, running
from unlearnkit.registry import Registry
from unlearnkit.seeding import digest
from unlearnkit.session import Session
from unlearnkit.studies.identity import described
from unlearnkit.torch_settings import own_settings
from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary
from unlearnkit.unlearning.boundary.verdict import quietly
from unlearnkit.unlearning.request import Revocations, check_request

if TYPE_CHECKING:
    import pandas as pd

Margins = Float[np.ndarray, "model example"]
KINDS = ("original", "unlearned", "scratch")
PARTS = ("forget", "test")


@dataclass(frozen=True, eq=False, repr=False)
class Population:
    """Margins of forgotten and of test examples under many models.

    The margin of an example is log(p / (1 - p)), the logit of the label's probability p.

    Attributes:
        forget: ids of the forgotten examples.
        test: ids of the test examples.
        margins: for each kind of model, ``"original"``, ``"unlearned"`` and ``"scratch"``
            (retrained), an array with one row per seed and one column per example, the forgotten
            examples first.
    """

    forget: Int[np.ndarray, " forget"]
    test: Int[np.ndarray, " test"]
    margins: dict[str, np.ndarray]

    def __len__(self) -> int:
        """The number of models of each kind."""
        return len(self.margins["scratch"])

    def __repr__(self) -> str:
        return f"Population({len(self)} models, {len(self.forget)} examples forgotten)"

    def to_frame(self) -> "pd.DataFrame":
        """One row per model and example: kind, model, id, part, margin."""
        import pandas as pd

        ids = np.concatenate([self.forget, self.test])
        parts = np.repeat(PARTS, [len(self.forget), len(self.test)])
        frames = [
            pd.DataFrame(
                {"kind": kind, "model": model, "id": ids, "part": parts, "margin": margins}
            )
            for kind, rows in self.margins.items()
            for model, margins in enumerate(rows)
        ]
        return pd.concat(frames, ignore_index=True)

    def _repr_html_(self) -> str:
        return as_html(self)

    def of(self, kind: str, part: str = "forget") -> Margins:
        """The margins under one kind of model.

        Args:
            kind: ``"original"``, ``"unlearned"`` or ``"scratch"``.
            part: ``"forget"`` for the forgotten examples, ``"test"`` for the test examples.

        Raises:
            KeyError: there is no such kind of model, or no such part.
        """
        for noun, given, known in (("kind of model", kind, KINDS), ("part", part, PARTS)):
            if given not in known:
                raise KeyError(f"no {noun} is named {given!r}; choose from {', '.join(known)}")
        count = len(self.forget)
        rows = self.margins[kind]
        return rows[:, :count] if part == "forget" else rows[:, count:]


@own_settings()
def populate(
    data: Any,
    ids: int | Iterable[int],
    *,
    seeds: int | Iterable[int] = range(100),
    boundary: str | Boundary | None = None,
    method: str | Method | None = None,
    amend: str | Amend | None = None,
    num_test: int = 200,
    path: str | os.PathLike[str] | None = None,
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
    **options: Any,
) -> Population:
    """Train, unlearn and retrain a model for each seed, and collect their margins.

    :func:`klom` and :func:`ulira` then compare the unlearned models with the retrained ones::

        population = uk.populate("digits", ids=[3, 141], seeds=range(200), path="population.jsonl")
        uk.klom(population), uk.ulira(population)

    Args:
        data: the data, as :class:`~unlearnkit.session.Session` takes them. They must have classes.
        ids: the ids to forget, the same for all seeds.
        seeds: the seeds of partition, initial weights and batches, one model of each kind per seed.
        boundary: how to unlearn: a name in ``BOUNDARIES`` or an object. By default every shard is
            modified.
        method: the method of modification, a name in ``METHODS`` or an object; None chooses the
            default for the model.
        amend: the amend, a name in ``AMENDS`` or an object; None chooses replay.
        num_test: the number of test examples; the first ones are taken.
        path: a file to which the margins of each seed are added once they are computed. Seeds that
            it already holds are not computed again, so a population can be resumed and extended.
            Your own boundary, method or amend is recognised by its repr.
        on_progress: a callable that receives an event after each seed; True shows a progress bar,
            False none (:mod:`unlearnkit.progress`).
        cancel: setting this event stops after the current seed.
        **options: ``model``, ``num_shards`` and other arguments of the session.

    Raises:
        ValueError: a line of the file is not part of a population, this is a regression, there are
            no ids or no seeds, all training examples would be forgotten, or with ``path`` only its
            memory address identifies an object.
        KeyError: no boundary, method or amend has this name, or an id is no training or probe
            example.
        TypeError: an object lacks a part of its protocol, or an id is not a whole number.
        Cancelled: ``cancel`` was set; completed seeds are in the file.
    """
    dataset = as_dataset(data)
    require_classes(dataset, "a population of margins", "compare single models: session.compare()")
    forget = check_request(ids, dataset, Revocations()).ids
    if not len(forget):
        raise ValueError("ids is empty; give the ids of at least one example to forget")
    test = np.asarray(dataset.test.ids[:num_test])
    inputs, labels = dataset.examples(np.concatenate([forget, test]))
    seeds = [seeds] if isinstance(seeds, int) else list(seeds)
    if not seeds:
        raise ValueError("seeds is empty; give at least one seed, such as range(100)")
    boundary = BOUNDARIES.choose(boundary) or FixedBoundary(0.0)
    METHODS.choose(method), AMENDS.choose(amend)  # refuse unknown names early
    decided = repr(boundary) if path is None else described("boundary", boundary)
    known = _read(path)
    margins: dict[str, list[list[float]]] = {kind: [] for kind in KINDS}
    with running(on_progress, cancel) as run:
        for number, seed in enumerate(seeds):
            run.check()
            session = Session(dataset, seed=seed, **options)
            plan = session.plan
            used = _identity(METHODS, method, path, default_method(plan))
            how = f"[{decided!r}, {used}, {_identity(AMENDS, amend, path)}]"
            names = (dataset.fingerprint, plan.architecture.digest, plan.spec.digest, how)
            key = digest(*names, forget.tobytes(), test.tobytes())
            if key not in known:
                session.train(on_progress=run.details)
                unlearned, scratch = session.fork(), session.fork()
                unlearned.revoke(forget)
                with quietly():  # the population is compared with the retrained one
                    unlearned.unlearn(
                        boundary=boundary,
                        method=method,
                        amend=amend,
                        spot_check=False,  # measures the modified models themselves
                        on_progress=run.details,
                    )
                scratch.revoke(forget)
                scratch.unlearn(1.0, on_progress=run.details)  # exact retraining
                models = zip(KINDS, (session, unlearned, scratch), strict=True)
                known[key] = {
                    kind: margins_of(one.ensemble.probabilities(inputs), labels).tolist()
                    for kind, one in models
                }
                _append(path, {"key": key, "seed": seed, "margins": known[key]})
            for kind in KINDS:
                margins[kind].append(known[key][kind])
            run.on_progress(ProgressEvent("population", None, None, number + 1, len(seeds)))
    return Population(forget, test, {kind: np.array(rows) for kind, rows in margins.items()})


def _identity(
    registry: Registry[Any], choice: Any, path: str | os.PathLike[str] | None, default: Any = None
) -> str:
    """Return what stands for a method or an amend in a key: the package's own keep their name."""
    own = registry.own.values()
    if choice is None and not any(entry is default for entry in own):
        return "None"
    if isinstance(choice, str) and choice not in registry.own:
        return repr(choice)
    entry = registry.choose(choice) or default
    return repr(entry) if path is None else described(registry.noun, entry)


def margins_of(probabilities: Float[Tensor, "n class"], labels: Tensor) -> Float[np.ndarray, " n"]:
    """The logit of the label's probability, which is first clamped away from 0 and 1.

    >>> margins_of(torch.tensor([[0.5, 0.5], [0.9, 0.1]]), torch.tensor([0, 0])).round(3).tolist()
    [0.0, 2.197]
    """
    p = probabilities.double().gather(1, labels.long().unsqueeze(1)).squeeze(1)
    p = p.clamp(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    margins: np.ndarray = (p.log() - torch.log1p(-p)).numpy()
    return margins


def _read(path: str | os.PathLike[str] | None) -> dict[str, dict[str, list[float]]]:
    if path is None or not Path(path).expanduser().exists():
        return {}
    path = Path(path).expanduser()
    known, whole = {}, 0
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            os.truncate(path, whole)  # drop a line that a killed run left incomplete
            break
        try:
            entry = json.loads(line)
            known[entry["key"]] = {kind: entry["margins"][kind] for kind in KINDS}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} has a line that is not a model of a population ({line[:60]!r}); give "
                "another path, or delete the line"
            ) from error
        whole += len(line)
    return known


def _append(path: str | os.PathLike[str] | None, entry: dict[str, Any]) -> None:
    if path is None:
        return
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())
