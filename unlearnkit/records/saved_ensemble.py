"""Loading an ensemble from the folder in which it was saved."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from unlearnkit.models.architecture import Architecture, as_architecture
from unlearnkit.models.builtin import MODELS, built_in
from unlearnkit.models.handling import Handling
from unlearnkit.models.losses import Loss, as_loss
from unlearnkit.models.signature import Signature
from unlearnkit.store.checkpoint import State
from unlearnkit.store.model_folder import (
    DESCRIPTION,
    read_description,
    read_model,
    reporting_damage,
)
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.ensemble import AGGREGATIONS, Constituent, Ensemble

MOST_NUMBERS = 2**28  # numbers in one example; no data are larger
# How far probabilities may differ on another processor, and with tensors of 16 bits.
CLOSE, CLOSE_16_BITS = 0.005, 0.05


@own_settings()
def load_ensemble(
    folder: str | os.PathLike[str], model: Any = None, *, loss: str | Loss | None = None
) -> Ensemble:
    """Load an ensemble that ``ensemble.save(folder)`` has saved.

    It predicts the same bits as before in the same environment. Nothing in the folder is run as
    code, so the folder may come from a stranger. The folder names no ids: the debt of a constituent
    is a number, and each of its ids is -1.

    >>> import tempfile, unlearnkit as uk
    >>> session = uk.Session("digits", model="logistic", epochs=2, seed=0)
    >>> report = session.train(on_progress=False)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     session.ensemble.save(folder)
    ...     ensemble = uk.load_ensemble(folder)
    >>> ensemble.digest == session.ensemble.digest
    True
    >>> inputs = session.dataset.test.inputs()
    >>> torch.equal(ensemble.predict(inputs), session.ensemble.predict(inputs))
    True

    Args:
        folder: the folder.
        model: the model of your own that was trained, as a session takes it: a callable that
            returns a new ``nn.Module``. Built-in models, and those in ``MODELS``, need none.
        loss: the loss of your own that was used, if it is not in ``LOSSES``.

    Raises:
        StoreError: the folder holds no saved ensemble, or a damaged one.
        StoreIOError: the folder cannot be read now.
        TypeError: ``model`` does not return a module.
        ValueError: a model, loss or aggregation of your own is missing, or the model does not fit.
    """
    path = Path(folder).expanduser()
    told = read_description(path)
    with reporting_damage(path / DESCRIPTION):
        shape, width = _shape(told["inputs"]["shape"]), _count(told["outputs"]["number"])
        signature, kind, regression = Signature.from_dict(told), told["model"], told["regression"]
        entries, files = told["constituents"], told["files"]
        shards, debts = ([_count(each[word]) for each in entries] for word in ("shard", "debt"))
        if shards != sorted(set(shards)) or not shards or not isinstance(regression, bool):
            raise ValueError("its constituents are not those of an ensemble")
        names = [each["name"].rpartition("-")[0] for each in files]
        if names != [f"shard-{shard:04d}" for shard in shards]:
            raise ValueError("its files are not those of its constituents")
        if (len(signature.class_names) or width) != width:
            raise ValueError(f"it names {len(signature.class_names)} of {width} classes")
        expected, version = told["probabilities of ones"], kind["version"]
        handling = _handling(kind)
    chosen_loss = _chosen_loss(path, told["loss"], loss)
    aggregation = _chosen_aggregation(path, told["aggregation"])
    states = [read_model(path, entry) for entry in files]
    if model is None and kind["built-in"] is not None:
        architecture = _rebuilt(path, kind["built-in"], shape, width, states)
    else:
        given = _own_model(path, kind["name"], model)
        architecture = as_architecture(given, shape, width, version=version)
        architecture.trials.setdefault(Handling.__name__, handling)
        _check_fit(path, architecture, states)
    ensemble = Ensemble(
        architecture,
        chosen_loss,
        tuple(
            Constituent(shard, state, np.broadcast_to(np.int64(-1), debt))
            for shard, state, debt in zip(shards, states, debts, strict=True)
        ),
        aggregation,
        regression,
        signature,
    )
    if architecture.foreign and expected is not None:
        _check_probabilities(path, ensemble, expected)
    return ensemble


def _own_model(path: Path, name: object, model: Any) -> Any:
    if model is not None:
        return model
    if isinstance(name, str) and name in MODELS:  # registered again by the user
        return name
    raise ValueError(
        f"the ensemble in {path} is of {name!r}, a model of its author's own that a folder cannot "
        "rebuild; give what builds it: load_ensemble(folder, model=...)"
    )


def _chosen_loss(path: Path, told: Mapping[str, Any], loss: str | Loss | None) -> Loss:
    if loss is not None:
        return as_loss(loss)
    with reporting_damage(path / DESCRIPTION):
        name, plain = str(told["name"]), told["plain"]
        try:
            if plain is not None:
                return as_loss(plain)
        except KeyError:  # it was registered by its author
            pass
    raise ValueError(
        f"the ensemble in {path} was trained with {name!r}, a loss of its author's own that a "
        "folder cannot rebuild; give it: load_ensemble(folder, loss=...)"
    )


def _chosen_aggregation(path: Path, name: object) -> str:
    if isinstance(name, str) and name in AGGREGATIONS:
        return name
    raise ValueError(
        f"the ensemble in {path} uses {name!r}, an aggregation of its author's own; register it "
        f"before loading: unlearnkit.training.ensemble.AGGREGATIONS[{name!r}] = ..."
    )


def _rebuilt(
    path: Path, described: Any, shape: tuple[int, ...], width: int, states: list[State]
) -> Architecture:
    """Rebuild a built-in model, after checking on a module without memory that the states fit."""
    with reporting_damage(path / DESCRIPTION):
        if any(isinstance(v, list) and len(v) > len(states[0]) for v in described.values()):
            raise ValueError("its model has more layers than tensors")
        model = built_in(described)
        with torch.device("meta"):
            module = model(shape, width)
        if differing := _differing(module, states):
            raise ValueError(f"its tensors do not fit its model: {differing}")
    return as_architecture(model, shape, width)


def _check_fit(path: Path, architecture: Architecture, states: list[State]) -> None:
    if differing := _differing(architecture.module(), states):
        raise ValueError(
            f"the model given, {architecture.name}, does not fit the ensemble in {path}: "
            f"{differing}; give the model that was trained"
        )


def _differing(module: nn.Module, states: list[State]) -> str:
    """Say how the first differing tensor differs from the module's; empty if none does."""
    wanted = module.state_dict()
    for state in states:
        for name in {**wanted, **state}:
            if name not in state:
                return f"{name} is missing among what was saved"
            if name not in wanted:
                return f"{name} was saved, and the model has no tensor of this name"
            (a, b), (x, y) = (((t.shape, t.dtype)) for t in (state[name], wanted[name]))
            if (a, b) != (x, y):
                return f"{name} was saved as {tuple(a)} {b}, and the model has {tuple(x)} {y}"
    return ""


def _check_probabilities(path: Path, ensemble: Ensemble, expected: Any) -> None:
    """Check that the user's model computes what the saved one computed of an example of ones."""
    found = ensemble.probabilities_of_ones()
    with reporting_damage(path / DESCRIPTION):
        was = torch.tensor(expected, dtype=torch.float64)
    now = None if found is None else torch.tensor(found, dtype=torch.float64)
    tensors = ensemble.constituents[0].state.values()
    halved = any(t.is_floating_point() and t.element_size() == 2 for t in tensors)
    most = CLOSE_16_BITS if halved else CLOSE
    if now is None or was.shape != now.shape or not torch.allclose(was, now, most, most):
        raise ValueError(
            f"the model given, {ensemble.architecture.name}, has the tensors of the ensemble in "
            f"{path}, but computes something else: for an example of ones it gives "
            f"{_rounded(found)} instead of {_rounded(expected)}; give the model that was trained"
        )


def _rounded(values: Any) -> str:
    return "an error" if values is None else str([float(f"{value:.3g}") for value in values[:5]])


def _handling(told: Mapping[str, Any]) -> Handling:
    names = ("rebuilt", "clones_inputs", "casts_outputs")
    flags = {name: told[name.replace("_", " ")] for name in names}
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise TypeError(f"{flags} are not true or false")
    return Handling(**flags)


def _shape(values: Any) -> tuple[int, ...]:
    shape = tuple(map(_count, values))
    if len(shape) > 16 or np.prod([float(n) for n in shape]) > MOST_NUMBERS:
        raise ValueError(f"{shape} is not the shape of an example")
    return shape


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise ValueError(f"{value!r} is not a count")
    return value
