"""Populations of models: are unlearned models distributed like retrained ones?

A single unlearned model can only be compared with a single retrained model. Trained with many
seeds, both give a distribution of outputs for every example; unlearning is complete if the two
distributions are equal. Building a population takes long, so it is kept in a file as it grows.
"""

import json
import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from unlearnkit.approximate import AMENDS, METHODS, Amend, Method
from unlearnkit.approximate.defaults import default_method
from unlearnkit.data.datasets import as_dataset
from unlearnkit.data.examples import Dataset
from unlearnkit.display import as_html
from unlearnkit.metrics.tasks import margins_of, require_classes
from unlearnkit.progress import OnProgress, Progress, ProgressEvent, Run, running, silent
from unlearnkit.registry import Registry
from unlearnkit.seeding import digest
from unlearnkit.session import Session
from unlearnkit.studies.arguments import as_count, as_seeds, check_margins, refuse_options
from unlearnkit.studies.identity import described
from unlearnkit.studies.log import check_torn
from unlearnkit.studies.seed_models import trained, unlearned
from unlearnkit.studies.shared_features import with_shared_features
from unlearnkit.studies.workers import results_of
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.partition import make_partition
from unlearnkit.training.workers import check_parallel
from unlearnkit.unlearning.boundary import BOUNDARIES
from unlearnkit.unlearning.boundary.fixed import FixedBoundary
from unlearnkit.unlearning.boundary.protocol import Boundary
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
    parallel: int | None = None,
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
        seeds: the seeds of partition, initial weights and batches, all different, one model of each
            kind per seed.
        boundary: how to unlearn: a name in ``BOUNDARIES`` or an object. By default every shard is
            modified.
        method: the method of modification, a name in ``METHODS`` or an object; None chooses the
            default for the model.
        amend: the amend, a name in ``AMENDS`` or an object; None chooses replay.
        num_test: the number of test examples; the first ones are taken.
        path: a file to which the margins of each seed are added once they are computed. Seeds that
            it already holds are not computed again, so a population can be resumed and extended,
            with the same bits. Populations of several methods in one file share the retrained
            models. Your own boundary, method or amend is recognised by its repr.
        parallel: the number of worker processes, each of which makes the models of one seed at a
            time, with the same bits; -1 uses all cores. None makes them in this process, where
            large models are trained in several threads. A process holds the examples and the models
            of one seed: at most three times the bytes of
            :attr:`~unlearnkit.session.Session.footprint`.
        on_progress: a callable that receives an event after each seed; True shows a progress bar,
            False none (:mod:`unlearnkit.progress`).
        cancel: setting this event stops after the current seed, and stops workers at once.
        **options: ``model``, ``num_shards`` and other arguments of the session.

    Raises:
        ValueError: a line of the file is not part of a population, this is a regression, there are
            no ids or no seeds, a seed is given twice, all training examples would be forgotten,
            ``num_test`` is negative, ``parallel`` is 0, or with ``path`` only its memory address
            identifies an object.
        KeyError: no boundary, method or amend has this name, or an id is no training or probe
            example.
        TypeError: an object lacks a part of its protocol, an id, a seed, ``num_test`` or
            ``parallel`` is not a whole number, or the options have a ``seed`` or a ``store``.
        Cancelled: ``cancel`` was set; completed seeds are in the file.

    >>> import unlearnkit as uk
    >>> population = uk.populate("digits", [3, 141], seeds=range(8), model="logistic", epochs=1)
    >>> population
    Population(8 models, 2 examples forgotten)
    """
    dataset = as_dataset(data)
    require_classes(dataset, "a population of margins", "compare single models: session.compare()")
    forget = check_request(ids, dataset, Revocations()).ids
    if not len(forget):
        raise ValueError("ids is empty; give the ids of at least one example to forget")
    test = np.setdiff1d(dataset.test.ids, forget)[: as_count("num_test", num_test, 0)]
    refuse_options(options)
    seeds = as_seeds(seeds)
    check_parallel(parallel)
    boundary = BOUNDARIES.choose(boundary) or FixedBoundary(0.0)
    METHODS.choose(method), AMENDS.choose(amend)  # refuse unknown names early
    recipe = _Recipe(dataset, forget, test, boundary, method, amend, options)
    known, retrained = _read(path)
    oracles = recipe.identified(seeds, path)
    for oracle in oracles:
        rows = [*known[oracle.key].values()] if oracle.key in known else []
        rows += [retrained[oracle.retrained]] if oracle.retrained in retrained else []
        for row in rows:
            check_margins(path, row, len(forget) + len(test), f"of seed {oracle.seed}")
    missing = {oracle.key: oracle for oracle in oracles if oracle.key not in known}
    if missing:
        shared = with_shared_features(dataset, options, np.union1d(forget, test))
        recipe = replace(recipe, dataset=shared)
    with running(on_progress, cancel, parallel=parallel) as run:
        done = len(seeds) - len(missing)
        if done:
            run.on_progress(ProgressEvent("population", None, None, done, len(seeds)))
        for oracle, margins in recipe.made(list(missing.values()), retrained, run):
            known[oracle.key] = margins
            _append(path, vars(oracle) | {"margins": margins})
            done += 1
            run.on_progress(ProgressEvent("population", None, None, done, len(seeds)))
    found = [known[oracle.key] for oracle in oracles]
    return Population(
        forget, test, {kind: np.array([rows[kind] for rows in found]) for kind in KINDS}
    )


@dataclass(frozen=True)
class _Oracle:
    """The models of one seed.

    Attributes:
        key: digest of everything that the three models depend on.
        retrained: digest of everything that the original and the retrained model depend on.
        seed: the seed.
    """

    key: str
    retrained: str
    seed: int


@dataclass(frozen=True)
class _Recipe:
    """How the three models of a seed are made; the fields are arguments of :func:`populate`."""

    dataset: Dataset
    forget: Int[np.ndarray, " forget"]
    test: Int[np.ndarray, " test"]
    boundary: Boundary
    method: str | Method | None
    amend: str | Amend | None
    options: dict[str, Any]

    def identified(self, seeds: list[int], path: str | os.PathLike[str] | None) -> list[_Oracle]:
        """Return the identity of each seed's models, computed from a session of the first seed."""
        session = Session(self.dataset, seed=seeds[0], **self.options)
        plan = session.plan
        decided = repr(self.boundary)
        if path is not None:
            decided = described("boundary", self.boundary)
        used = _identity(METHODS, self.method, path, default_method(plan))
        how = f"[{decided!r}, {used}, {_identity(AMENDS, self.amend, path)}]"
        others = []  # what is usual is left out, as in files that were written before
        if session.aggregation != "mean-probability":
            others.append(session.aggregation)
        if plan.partition.digest != make_partition(self.dataset.train, plan.spec).digest:
            others.append(plan.partition.digest)
        found = []
        for seed in seeds:
            spec = replace(plan.spec, seed=seed)
            names = [self.dataset.fingerprint, plan.architecture.digest, spec.digest]
            about = [self.forget.tobytes(), self.test.tobytes()]
            key = digest(*names, how, *about, *others)
            found.append(_Oracle(key, digest(*names, *about, *others), seed))
        return found

    def made(
        self, oracles: list[_Oracle], retrained: dict[str, list[float]], run: Run
    ) -> Iterator[tuple[_Oracle, dict[str, list[float]]]]:
        """Make the models of these seeds, in this process or in workers, and yield their margins.

        Args:
            oracles: the models to make.
            retrained: margins of retrained models that are known already.
            run: reports progress, and gives the number of workers.
        """
        recipe = self
        if oracles and run.parallel is not None:
            recipe = self.resolved(oracles[0].seed)
        calls = ((recipe, oracle, retrained.get(oracle.retrained)) for oracle in oracles)
        yield from results_of(_made, calls, run)

    def resolved(self, seed: int) -> "_Recipe":
        """Replace names by objects, since a worker does not know entries of the user's."""
        plan = Session(self.dataset, seed=seed, **self.options).plan
        method = METHODS.choose(self.method) or default_method(plan)
        return replace(self, method=method, amend=AMENDS.choose(self.amend))

    def margins(
        self, seed: int, retrained: list[float] | None, details: OnProgress = silent
    ) -> dict[str, list[float]]:
        """Train, unlearn and, unless its margins are known, retrain; return margins by kind."""
        options = {**self.options, "seed": seed}
        session = trained(self.dataset, options, self.boundary, details)
        how = self.boundary, self.method, self.amend
        models = {
            "original": session.ensemble,
            "unlearned": unlearned(session, self.forget, *how, on_progress=details),
        }
        if retrained is None:
            models["scratch"] = unlearned(session, self.forget, on_progress=details)
        inputs, labels = self.dataset.examples(np.concatenate([self.forget, self.test]))
        found = {
            kind: margins_of(ensemble.probabilities(inputs), labels).tolist()
            for kind, ensemble in models.items()
        }
        return found if retrained is None else {**found, "scratch": retrained}


def _made(
    recipe: _Recipe, oracle: _Oracle, retrained: list[float] | None, on_progress: OnProgress
) -> tuple[_Oracle, dict[str, list[float]]]:
    """Make the models of a seed."""
    return oracle, recipe.margins(oracle.seed, retrained, on_progress)


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


def _read(
    path: str | os.PathLike[str] | None,
) -> tuple[dict[str, dict[str, list[float]]], dict[str, list[float]]]:
    """Read all margins in a file by key and kind, and those of retrained models by their key."""
    if path is None or not Path(path).expanduser().exists():
        return {}, {}
    path = Path(path).expanduser()
    known, retrained, whole = {}, {}, 0
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            check_torn(path, line)
            os.truncate(path, whole)  # drop a line that a killed run left incomplete
            break
        try:
            entry = json.loads(line)
            known[entry["key"]] = {kind: entry["margins"][kind] for kind in KINDS}
            if "retrained" in entry:  # not in files that were written before
                retrained[entry["retrained"]] = entry["margins"]["scratch"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} has a line that is not a model of a population ({line[:60]!r}); give "
                "another path, or delete the line"
            ) from error
        whole += len(line)
    return known, retrained


def _append(path: str | os.PathLike[str] | None, entry: dict[str, Any]) -> None:
    if path is None:
        return
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())
