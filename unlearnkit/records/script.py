"""Exporting a session as a script or a notebook that reproduces its models bit for bit."""

import ast
import json
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Int

from unlearnkit.approximate import AMENDS, METHODS
from unlearnkit.data.datasets import DATASETS
from unlearnkit.data.examples import Dataset
from unlearnkit.models.architecture import Architecture
from unlearnkit.models.builtin import BUILT_IN, MODELS
from unlearnkit.models.losses import CrossEntropy, SquaredError, WeightedCrossEntropy
from unlearnkit.records.ledger import spot_check_of
from unlearnkit.records.tombstones import TOMBSTONES
from unlearnkit.registry import Registry
from unlearnkit.training.ensemble import AGGREGATIONS, Ensemble
from unlearnkit.training.partition import make_partition
from unlearnkit.training.plan import Plan
from unlearnkit.training.spec import TrainSpec
from unlearnkit.unlearning.boundary.protocol import EXACT
from unlearnkit.unlearning.boundary.spot_check import AUTO

WIDTH = 100  # maximum characters in a line
PLACEHOLDER = "...  # to fill in:"

CHECK = """if session.dataset.fingerprint != "{}":
    raise SystemExit("these are not the data of the session that was exported")"""

COMPARE = """same = session.ensemble.digest == "{}"
print("the same bits" if same else "different bits: is this the environment named above?")"""


@dataclass(frozen=True)
class Cell:
    """One cell of the exported script or notebook.

    Attributes:
        kind: ``"markdown"`` or ``"code"``.
        source: its text.
    """

    kind: str
    source: str


def cells(
    dataset: Dataset,
    plan: Plan,
    aggregation: str,
    history: Sequence[dict[str, Any]],
    pending: Int[np.ndarray, " request"],
    ensemble: Ensemble | None,
) -> list[Cell]:
    """Cells that reproduce the ensemble, bit for bit in the same environment.

    Args:
        dataset: the dataset of the session. The script loads it by name if it has one, and
            otherwise leaves a gap for the user to fill in.
        plan: the plan of the session.
        aggregation: the aggregation of the ensemble.
        history: completion lines of the ledger, oldest first.
        pending: ids revoked since the last request.
        ensemble: the current one, whose digest the script checks; None before training.
    """
    where = plan.environment
    about = (
        f"# {dataset.name}, {plan.architecture.title}\n\nWritten by `session.to_script()`. It "
        f"reproduces the same bits with torch {where.torch}, numpy {where.numpy}, {where.cpu}, "
        f"device {where.device}; elsewhere it agrees up to rounding."
    )
    result = [
        Cell("markdown", about),
        Cell("code", "import unlearnkit as uk"),
        Cell("markdown", "## Data, model, spec"),
        Cell("code", _setting(dataset, plan, aggregation)),
        Cell("code", CHECK.format(dataset.fingerprint)),
    ]
    if ensemble is not None:
        result += [Cell("markdown", "## Training"), Cell("code", "session.train()")]
    if history or len(pending):
        result.append(Cell("markdown", "## Requests"))
    result += [Cell("code", _event(line, plan)) for line in history]
    if len(pending):
        result.append(Cell("code", _call("session.revoke", _listed(pending.tolist()))))
    if ensemble is not None:
        result.append(Cell("markdown", "## The same bits"))
        result.append(Cell("code", COMPARE.format(ensemble.digest)))
    return result


def as_script(pieces: Iterable[Cell]) -> str:
    """The cells as one Python file; Markdown becomes comments."""
    parts = []
    for cell in pieces:
        if cell.kind == "code":
            parts.append(cell.source)
        else:
            lines = cell.source.replace("#", "").strip().splitlines()
            wrapped = [textwrap.wrap(line.strip(), WIDTH - 2) or [""] for line in lines]
            parts.append("\n".join(f"# {line}".rstrip() for some in wrapped for line in some))
    return "\n\n".join(parts) + "\n"


def as_notebook(pieces: Iterable[Cell]) -> str:
    """The cells as a notebook (nbformat 4.5) without outputs, in JSON."""
    code: dict[str, Any] = {"execution_count": None, "outputs": []}
    notebook = {
        "cells": [
            {
                "cell_type": cell.kind,
                "id": f"cell-{number}",
                "metadata": {},
                "source": cell.source.splitlines(keepends=True),
                **(code if cell.kind == "code" else {}),
            }
            for number, cell in enumerate(pieces)
        ],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, indent=1) + "\n"


def _setting(dataset: Dataset, plan: Plan, aggregation: str) -> str:
    options = [f"model={_model(plan.architecture)}", f"spec={_spec(plan.spec)}"]
    if plan.architecture.version is not None:
        options.append(f"version={plan.architecture.version!r}")
    if plan.partition.digest != make_partition(plan.examples, plan.spec).digest:
        options.append(f"partition={PLACEHOLDER} the partition that the session was given")
    if aggregation != "mean-probability":
        options.append(f"aggregation={aggregation!r}")
    used = (
        (DATASETS, dataset.name),
        (MODELS, plan.architecture.name),
        (AGGREGATIONS, aggregation),
    )
    needed = "".join(_to_register(registry, name) for registry, name in used)
    if dataset.name in DATASETS:
        data = f"uk.load({dataset.name!r}, num_examples={len(dataset.train)})"
    else:
        data = f"{PLACEHOLDER} the data that the session was given"
    return f"{needed}data = {data}\nsession = {_call('uk.Session', 'data', *options)}"


def _spec(spec: TrainSpec) -> str:
    values = {f.name: repr(getattr(spec, f.name)) for f in fields(TrainSpec)}
    if type(spec.loss) in (CrossEntropy, WeightedCrossEntropy, SquaredError):
        values["loss"] = f"uk.{spec.loss!r}"
    else:
        values["loss"] = f"{PLACEHOLDER} {spec.loss!r}"
    return _call("uk.TrainSpec", *(f"{name}={value}" for name, value in values.items()))


def _model(architecture: Architecture) -> str:
    backbone = architecture.backbone
    if backbone is not None:
        known = [] if backbone.frozen.version is None else [f"version={backbone.frozen.version!r}"]
        return _call(
            "uk.Frozen",
            f"{PLACEHOLDER} the backbone {backbone.name!r}",
            f"head={_model(replace(architecture, backbone=None))}",
            f"batch_size={backbone.batch_size}",
            *known,
        )
    described = architecture.described
    if described is None and architecture.name in MODELS.own:
        return repr(architecture.name)
    if described is None:
        return f"{PLACEHOLDER} the model {architecture.name!r}"
    values = {name: value for name, value in described.items() if name != "kind"}
    if not values:
        return repr(described["kind"])
    arguments = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return f"uk.{BUILT_IN[described['kind']].__name__}({arguments})"


def _event(line: dict[str, Any], plan: Plan) -> str:
    check = spot_check_of(line)  # its shard was modified too, so it is drawn again
    checked = -1 if check is None else check.shard
    exact = (route["shard"] for route in line["routes"] if route["kind"] == EXACT)
    shards = sorted(shard for shard in exact if shard != checked)
    if line["boundary"] == TOMBSTONES:  # revoked before the training, which gives the same bits
        shards = list(plan.shards_of(np.array(line["ids"], np.int64)))
    if line["kind"] == "repay":
        return f"session.repay({shards})"
    options = [f"boundary=uk.ChosenBoundary({tuple(shards)}{_longer(line, plan)})"]
    imports = ""
    if "method" in line:  # absent if no shard was modified
        for what, known in (("method", METHODS), ("amend", AMENDS)):
            code, needed = _named(line[what], known)
            options.append(f"{what}={code}")
            imports += needed
        how = False if check is None else True if check.asked else AUTO
        options.append(f"spot_check={how!r}")
    revoked = _call("session.revoke", _listed(map(int, line["ids"])))
    decided = f"# decided by {' '.join(line['boundary'].split())}"
    return f"{imports}{revoked}\n{decided}\n{_call('session.unlearn', *options)}"


def _longer(line: dict[str, Any], plan: Plan) -> str:
    """The ``longer=`` argument: shards whose amend was longer than the requested one."""
    usual = next((a.epochs(plan) for a in AMENDS.values() if repr(a) == line.get("amend")), None)
    check = spot_check_of(line)
    kept = {route["shard"] for route in line["routes"] if route["kind"] != EXACT}
    kept |= set() if check is None else {check.shard}
    looks = [look for look in line.get("looks", ()) if look["shard"] in kept]
    took = [(int(look["shard"]), int(look["replayed"])) for look in looks if look["replayed"]]
    longer = tuple((shard, epochs) for shard, epochs in took if epochs > (usual or epochs))
    return f", longer={longer}" if longer else ""


def _to_register(registry: Registry[Any], name: str) -> str:
    """A comment line on an entry that has to be registered first; empty for the package's own."""
    if name not in registry.own:
        return ""
    return f"# register your own {registry.noun} first: uk.{registry.name}[{name!r}] = ...\n"


def _named(text: str, known: Registry[Any]) -> tuple[str, str]:
    """Code for the method or amend with this repr, and the lines that have to come before it.

    The code is its registered name or a call of its class.

    A ledger may come from a stranger, so nothing else from it becomes code.
    """
    for name, value in known.items():
        if text == repr(value):
            return repr(name), _to_register(known, name)
    with suppress(SyntaxError, ValueError):
        call = ast.parse(text, mode="eval").body
        if isinstance(call, ast.Call) and not call.args and isinstance(call.func, ast.Name):
            values = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
            for kind in map(type, known.values()):
                if kind.__name__ == call.func.id:
                    arguments = ", ".join(f"{name}={value!r}" for name, value in values.items())
                    needed = f"from {kind.__module__} import {kind.__name__}\n"
                    return f"{kind.__name__}({arguments})", needed
    return f"{PLACEHOLDER} {' '.join(text.split())}", ""


def _listed(ids: Iterable[int]) -> str:
    text = ", ".join(map(str, ids))
    if len(text) < WIDTH - 20:
        return f"[{text}]"
    return (
        "[\n"
        + textwrap.fill(text, WIDTH - 8, initial_indent="    ", subsequent_indent="    ")
        + "\n]"
    )


def _call(function: str, *arguments: str) -> str:
    """Format a call, one argument per line if there are several; a comment follows its comma."""
    if len(arguments) == 1 and "\n" not in arguments[0] and "#" not in arguments[0]:
        return f"{function}({arguments[0]})"
    lines = []
    for argument in arguments:
        code, comma, comment = (
            argument.partition("  #") if "\n" not in argument else (argument, "", "")
        )
        lines.append(textwrap.indent(f"{code},{comma}{comment}", "    "))
    return f"{function}(\n" + "\n".join(lines) + "\n)"
