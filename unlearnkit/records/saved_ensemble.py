"""Loading an ensemble from the folder in which it was saved."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np
import torch
from torch import nn

from unlearnkit.models.architecture import Architecture, as_architecture
from unlearnkit.models.builtin import MODELS, built_in
from unlearnkit.models.frozen.backbone import Backbone, Frozen, RowKind
from unlearnkit.models.handling import Handling
from unlearnkit.models.losses import LOSSES, Loss, as_loss
from unlearnkit.models.signature import Signature
from unlearnkit.store.checkpoint import State
from unlearnkit.store.files import reporting_damage
from unlearnkit.store.model_folder import DESCRIPTION, read_description, read_model
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
            returns a new ``nn.Module``, or a ``uk.Frozen``. Built-in models, and those in
            ``MODELS``, need none.
        loss: the loss of your own that was used, if it is not in ``LOSSES``.

    Raises:
        StoreError: the folder holds no saved ensemble, or a damaged one.
        StoreIOError: the folder cannot be read now.
        TypeError: ``model`` does not return a module.
        ValueError: a model, loss or aggregation of your own is missing, or the model does not fit.
    """
    path = Path(folder).expanduser()
    content = read_description(path)
    with reporting_damage(path / DESCRIPTION):
        told = _Told.of(content)
    chosen_loss = _chosen_loss(path, told, loss)
    if told.aggregation not in AGGREGATIONS:
        raise ValueError(
            f"the ensemble in {path} uses {told.aggregation!r}, an aggregation of its author's "
            "own; register it before loading: unlearnkit.training.ensemble.AGGREGATIONS"
            f"[{told.aggregation!r}] = ..."
        )
    states = [read_model(path, entry) for entry in content["files"]]
    if model is None and told.built_in is not None:
        architecture = _rebuilt(path, told, states)
    else:
        given = _own_model(path, told.name, model)
        if (told.backbone is None) is isinstance(given, Frozen):
            raise ValueError(
                f"the ensemble in {path} is of {told.name!r}, "
                + ("which has no" if told.backbone is None else "whose heads are on a")
                + " frozen backbone; give the model that was trained"
                + ("" if told.backbone is None else ": uk.Frozen(backbone, head=...)")
            )
        head = given
        if isinstance(given, Frozen) and told.backbone is not None:
            head = built_in(told.backbone["head"]) if told.backbone["head"] else given.head
        architecture = as_architecture(head, told.shape, told.width, version=told.version)
        if isinstance(given, Frozen) and told.backbone is not None:
            architecture = architecture.on(_same_backbone(path, given, told.backbone))
        architecture.trials.setdefault(Handling.__name__, told.handling)
        if differing := _differing(architecture.module(), states):
            raise ValueError(
                f"the model given, {architecture.name}, does not fit the ensemble in {path}: "
                f"{differing}; give the model that was trained"
            )
    constituents = tuple(
        Constituent(shard, state, np.broadcast_to(np.int64(-1), debt))
        for shard, state, debt in zip(told.shards, states, told.debts, strict=True)
    )
    parts = architecture, chosen_loss, constituents, told.aggregation, told.regression
    with reporting_damage(path / DESCRIPTION):
        ensemble = Ensemble(*parts, told.signature)
    if architecture.foreign and told.expected is not None:
        _check_probabilities(path, ensemble, told.expected)
    return ensemble


def _same_backbone(path: Path, frozen: Frozen, told: dict[str, Any]) -> Backbone:
    """Return the backbone that was given, if it is the one below the heads that were saved."""
    kind = RowKind(_shape(told["shape"]), _typed(told["rows"], str))
    backbone = Backbone(frozen, kind, _count(told["threads"]))
    if backbone.digest != told["digest"]:
        raise ValueError(
            f"the ensemble in {path} is on the frozen backbone {told['name']!r}, of which "
            f"{backbone.name} is another version: its parameters, its code, the batch size "
            f"({told['batch size']}) or the environment differ; give the one that was used, or "
            "the same version='...' if only its environment is another one"
        )
    return backbone


@dataclass(frozen=True)
class _Told:
    """The values of a description, checked for their kinds and ranges."""

    name: str
    built_in: dict[str, Any] | None
    version: str | None
    handling: Handling
    shape: tuple[int, ...]
    width: int
    signature: Signature
    loss: str
    plain_loss: str | dict[str, Any] | None
    aggregation: str
    regression: bool
    expected: list[float] | None
    shards: list[int]
    debts: list[int]
    backbone: dict[str, Any] | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> "_Told":
        """Check the values of a description.

        Raises:
            KeyError, TypeError, ValueError: a value is missing, or is none of an ensemble.
        """
        kind, loss, entries = told["model"], told["loss"], told["constituents"]
        names = ("rebuilt", "clones_inputs", "casts_outputs")
        flags = {name: _typed(kind[name.replace("_", " ")], bool) for name in names}
        expected = _typed(told["probabilities of ones"], list, None)
        made = cls(
            _typed(kind["name"], str),
            _typed(kind["built-in"], dict, None),
            _typed(kind["version"], str, None),
            Handling(**flags),
            _shape(told["inputs"]["shape"]),
            _count(told["outputs"]["number"]),
            Signature.from_dict(told),
            _typed(loss["name"], str),
            _typed(loss["plain"], str | dict, None),
            _typed(told["aggregation"], str),
            _typed(told["regression"], bool),
            None if expected is None else [float(_typed(value, float)) for value in expected],
            [_count(each["shard"]) for each in entries],
            [_count(each["debt"]) for each in entries],
            _typed(told.get("backbone"), dict, None),
        )
        if made.shards != sorted(set(made.shards)) or not made.shards:
            raise ValueError("its constituents are not those of an ensemble")
        files = [each["name"].rpartition("-")[0] for each in told["files"]]
        if files != [f"shard-{shard:04d}" for shard in made.shards]:
            raise ValueError("its files are not those of its constituents")
        if (named := len(made.signature.class_names)) not in (0, made.width):
            raise ValueError(f"it names {named} of {made.width} classes")
        return made


def _own_model(path: Path, name: object, model: Any) -> Any:
    if model is not None:
        return model
    if isinstance(name, str) and name in MODELS:  # registered again by the user
        return name
    raise ValueError(
        f"the ensemble in {path} is of {name!r}, a model of its author's own that a folder cannot "
        "rebuild; give what builds it: load_ensemble(folder, model=...)"
    )


def _chosen_loss(path: Path, told: _Told, loss: str | Loss | None) -> Loss:
    if loss is not None:
        return as_loss(loss)
    plain = told.plain_loss
    if isinstance(plain, dict):
        with reporting_damage(path / DESCRIPTION):
            return as_loss(plain)
    if plain is not None and plain in LOSSES:
        return as_loss(plain)
    raise ValueError(
        f"the ensemble in {path} was trained with {told.loss!r}, a loss of its author's own that a "
        "folder cannot rebuild; give it: load_ensemble(folder, loss=...)"
    )


def _rebuilt(path: Path, told: _Told, states: list[State]) -> Architecture:
    """Rebuild a built-in model, after checking on a module without memory that the states fit."""
    with reporting_damage(path / DESCRIPTION):
        described = told.built_in or {}
        if any(isinstance(v, list) and len(v) > len(states[0]) for v in described.values()):
            raise ValueError("its model has more layers than tensors")
        model = built_in(described)
        with torch.device("meta"):
            module = model(told.shape, told.width)
        if differing := _differing(module, states):
            raise ValueError(f"its tensors do not fit its model: {differing}")
        return as_architecture(model, told.shape, told.width)


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


def _check_probabilities(path: Path, ensemble: Ensemble, expected: list[float]) -> None:
    """Check that the user's model computes what the saved one computed of an example of ones."""
    found = ensemble.probabilities_of_ones()
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


def _rounded(values: list[float] | None) -> str:
    return "an error" if values is None else str([float(f"{value:.3g}") for value in values[:5]])


def _typed(value: Any, kind: type | UnionType, *others: Any) -> Any:
    if not isinstance(value, kind) and value not in others:
        raise TypeError(f"{value!r} is not of the kind that is expected there")
    return value


def _shape(values: Any) -> tuple[int, ...]:
    shape = tuple(map(_count, values))
    if len(shape) > 16 or np.prod([float(n) for n in shape]) > MOST_NUMBERS:
        raise ValueError(f"{shape} is not the shape of an example")
    return shape


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise ValueError(f"{value!r} is not a count")
    return value
