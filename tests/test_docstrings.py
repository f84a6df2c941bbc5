"""What `help()` shows: every public name with an example, every argument, and true defaults."""

import doctest
import importlib
import inspect
import re
import sys
from types import ModuleType

import numpy as np
import pytest

import unlearnkit as uk
from unlearnkit.approximate import Advance, Rule
from unlearnkit.approximate.protocol import Amend, Method
from unlearnkit.data.datasets import DatasetSource
from unlearnkit.metrics.metrics import Metric
from unlearnkit.models.losses import LOSSES, Loss
from unlearnkit.registry import Registry, summary
from unlearnkit.training.defaults import SMALL
from unlearnkit.training.ensemble import AGGREGATIONS
from unlearnkit.unlearning.boundary.protocol import Boundary

REGISTRIES = {
    "AGGREGATIONS": AGGREGATIONS,
    "LOSSES": LOSSES,
    **{name: found for name in uk.__all__ if isinstance(found := getattr(uk, name), Registry)},
}
# Names that were public once and are still offered, and where they live now.
MOVED = {
    name: getattr(importlib.import_module(f"unlearnkit.{module}"), name)
    for name, module in uk._MOVED.items()
}
PUBLIC = {name: getattr(uk, name) for name in uk.__all__} | MOVED
# What a user calls on an object, and what a user writes to add an entry to a registry.
WITH_METHODS = (uk.Session, uk.UnlearnableClassifier, uk.UnlearnableRegressor, uk.DiskStore)
PROTOCOLS = (Advance, Amend, Boundary, DatasetSource, Loss, Method, Metric, Rule)


def help_of(thing: object) -> str:
    """The docstring; for a class also that of its constructor, which `help()` shows as well."""
    text = inspect.getdoc(thing) or ""
    if inspect.isclass(thing) and thing.__init__ is not object.__init__:
        text += "\n\n" + (inspect.getdoc(thing.__init__) or "")
    return text + "\n"


def explained(thing: object) -> set[str]:
    """Names under "Args:" and "Attributes:"."""
    names = set()
    for block in re.findall(r"^(?:Args|Attributes):\n((?:    .*\n|\n)*)", help_of(thing), re.M):
        for found in re.findall(r"^    (\*{0,2}\w+(?:(?:, | and )\*{0,2}\w+)*):", block, re.M):
            names |= {name.strip("* ") for name in re.split(r", | and ", found)}
    return names


def arguments(thing: object) -> set[str]:
    """Names of the arguments that a caller may give."""
    names = inspect.signature(thing).parameters
    return {name for name in names if name not in ("self", "cls") and name[0] != "_"}


def callables() -> dict[str, object]:
    """Public functions and classes, the methods of the classes that do work, and protocols."""
    found = {
        name: thing
        for name, thing in PUBLIC.items()
        if callable(thing) and not isinstance(thing, Registry)
        # Errors are caught by those who read this, and made by the package.
        if not (inspect.isclass(thing) and issubclass(thing, BaseException))
    }
    for kind in (*WITH_METHODS, *PROTOCOLS):
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            own = inspect.unwrap(method).__module__.startswith("unlearnkit.")
            if own and (name[0] != "_" or (kind in PROTOCOLS and name == "__call__")):
                found[f"{kind.__name__}.{name}"] = method
    return found


CALLABLES = callables()


@pytest.mark.parametrize("name", CALLABLES)
def test_every_argument_of_what_is_public_is_explained(name: str) -> None:
    thing = CALLABLES[name]
    told, text = explained(thing), help_of(thing)
    missing = arguments(thing) - told
    # A short docstring may name an argument in its sentence instead: "the row of this id".
    if "." in name and not told:
        missing = {word for word in missing if not re.search(rf"\b{word.rstrip('s')}s?\b", text)}
    assert not missing, f"{name} does not explain {', '.join(sorted(missing))}"
    invented = told - arguments(thing)
    if not inspect.isclass(thing):
        assert not invented, f"{name} explains {', '.join(sorted(invented))}, which it lacks"


def test_an_argument_that_is_not_explained_is_found() -> None:
    def halved(value: int, digits: int) -> None: ...

    halved.__doc__ = "Halve a value.\n\nArgs:\n    value: the value.\n"
    assert arguments(halved) - explained(halved) == {"digits"}


def examples_in(module: ModuleType) -> set[str]:
    """Names of the module whose docstrings hold examples that doctest collects."""
    found = doctest.DocTestFinder(exclude_empty=True).find(module)
    return {test.name.removeprefix(f"{module.__name__}.") for test in found if test.examples}


@pytest.mark.parametrize("name", [name for name in uk.__all__ if name not in REGISTRIES])
def test_every_public_name_has_an_example_that_the_doctests_run(name: str) -> None:
    thing = getattr(uk, name)
    home = inspect.unwrap(thing)
    module, own = sys.modules[home.__module__], home.__qualname__
    assert {own, f"{own}.__init__"} & examples_in(module), f"{name} has no example"


@pytest.mark.parametrize("name", REGISTRIES)
def test_the_example_of_a_registry_runs_and_leaves_it_as_it_was(name: str) -> None:
    registry = REGISTRIES[name]
    before = dict(registry)
    parsed = doctest.DocTestParser().get_doctest(registry.__doc__, {}, name, None, None)
    assert parsed.examples
    said: list[str] = []
    doctest.DocTestRunner().run(parsed, out=said.append)
    assert not said, "".join(said)
    assert dict(registry) == before


@pytest.mark.parametrize("name", REGISTRIES)
def test_help_lists_the_entries_that_a_registry_holds_now(name: str) -> None:
    registry = REGISTRIES[name]
    for key in registry:
        line = re.search(rf"^\* ``{key}``: (.+)", registry.__doc__, re.M)
        assert line and len(line[1]) > 10, f"{key} is not described"
    key = next(iter(registry))
    registry["of-ones-own"] = registry[key]
    assert "* ``of-ones-own``:" in registry.__doc__
    del registry["of-ones-own"]
    assert "of-ones-own" not in registry.__doc__


def test_an_entry_without_a_docstring_is_described_by_its_settings() -> None:
    assert summary(np.float64(3.0)).endswith("``np.float64(3.0)``")
    assert summary(uk.Replay(2)).endswith("retained examples. ``Replay(tail=2)``")


def default_of(argument: str) -> str:
    """What the session's docstring says about an argument."""
    text = inspect.getdoc(uk.Session.__init__)
    found = re.search(rf"^    {argument}: (.*?)(?=^    \w+: |^\w)", text, re.M | re.S)
    return " ".join(found[1].split())


def session_of(rows: int) -> uk.Session:
    """A session of a perceptron on this number of training examples, at default settings."""
    X = np.random.default_rng(0).normal(size=(rows, 4)).astype("float32")
    y = (X[:, 0] > 0).astype(int)
    return uk.Session(uk.from_arrays(X, y, test=(X[:9], y[:9]), probe=(X[:9], y[:9])))


def test_the_defaults_that_a_session_states_are_those_that_it_takes() -> None:
    few, many = session_of(SMALL - 1), session_of(SMALL)
    for name in ("num_shards", "num_slices"):
        stated = f"{getattr(few.spec, name)} below {SMALL:,} training examples and "
        assert f"{stated}{getattr(many.spec, name)} otherwise" in default_of(name)
    widths = [each.plan.architecture.described["hidden"] for each in (few, many)]
    assert [len(each) for each in widths] == [1, 1]
    stated = f"of {widths[0][0]} units below {SMALL:,} training examples and of {widths[1][0]} "
    assert stated in default_of("hidden")
    for session in (few, many):
        for name in ("epochs", "batch_size", "momentum", "num_threads"):
            stated = f"by default {getattr(session.spec, name)}"
            assert re.search(rf"{re.escape(stated)}(?![\d.]\d)", default_of(name)), name
        for name in ("epoch_rule", "optimizer", "kernel", "device"):
            assert f'``"{getattr(session.spec, name)}"`` (the default)' in default_of(name)
        assert f"by default {session.spec.weight_decay}" in default_of("weight_decay")
        assert f"{session.spec.seed} by default" in default_of("seed")
    digits = uk.Session("digits", model="mlp")
    stated = f'of ``"mlp"`` on ``"digits"`` it is {digits.spec.learning_rate}. '
    assert stated in default_of("learning_rate")
    adam = uk.Session("digits", model="mlp", optimizer="adam")
    assert f"other optimizers is {adam.spec.learning_rate}." in default_of("learning_rate")
    assert f'``"mlp"`` on ``"digits"`` they are {digits.spec.tails}.' in default_of("tails")
