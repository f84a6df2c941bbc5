"""Values outside a module that its code reads: they are found, told apart and put back."""

import functools
import itertools
import sys
from collections import deque

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unlearnkit.models.surroundings import (
    Surroundings,
    changed,
    changed_or_new,
    hidden_values,
    may_remember,
    users_functions,
)

count, numbers, table = 0, itertools.count(), {}
rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
past: deque[float] = deque(maxlen=3)
mean = torch.zeros(2)
unread = 0


class Box:
    """An object with a value."""

    value = 0.0

    def __init__(self) -> None:
        self.own = [0]


box = Box()


def helper() -> None:
    """Count; a function of the same file reads it."""
    global count
    count += 1


class Quiet(nn.Module):
    """Changes nothing."""

    scale = 2.0

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class ClassAttribute(Quiet):
    seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if ClassAttribute.seen is None:
            ClassAttribute.seen = x.mean(0)
        return x - ClassAttribute.seen


class Inherited(ClassAttribute):
    pass


class DefaultArgument(Quiet):
    def forward(self, x: Tensor, memory: list[Tensor] = []) -> Tensor:  # noqa: B006 (on purpose)
        memory.append(x)
        return x


def changer(action):
    """A module whose forward does this."""

    class Changer(Quiet):
        def forward(self, x: Tensor) -> Tensor:
            action()
            return x

    return Changer


def closure():
    """A module that counts in a variable of the function that made it."""
    calls = 0

    class Closed(Quiet):
        def forward(self, x: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return x * calls

    return Closed()


def draw() -> None:
    rng.random()


def draw_in_torch() -> None:
    torch.rand(2, generator=generator)


def append() -> None:
    past.append(1.0)


def update() -> None:
    mean.add_(1)


def step() -> None:
    next(numbers)


def set_object() -> None:
    box.own[0] += 1


def set_class() -> None:
    Box.value += 1


def through_partial(values: list[int]) -> None:
    values.append(1)


CHANGES = {
    "ClassAttribute.seen": ClassAttribute,
    "a default argument of DefaultArgument.forward": DefaultArgument,
    "calls": closure,
    "count": changer(helper),
    "rng": changer(draw),
    "generator": changer(draw_in_torch),
    "past": changer(append),
    "mean": changer(update),
    "box": changer(set_object),
    "Box.value": changer(set_class),
    "numbers": changer(step),
    "argument 0 of through_partial": changer(functools.partial(through_partial, [])),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found_by_name_and_undone(name):
    module = CHANGES[name]()
    around = Surroundings(module)
    before = around.fingerprints()
    module(torch.ones(3, 2))
    assert changed_or_new(before, around.fingerprints()) == (name,)
    around.restore()
    left = changed_or_new(before, around.fingerprints())
    assert left == (("numbers",) if name == "numbers" else ())  # counts cannot be set back


def test_a_class_above_counts_and_a_module_that_changes_nothing_does_not():
    for kind, expected in ((Inherited, ("ClassAttribute.seen",)), (Quiet, ())):
        module = nn.Sequential(nn.Linear(2, 2), kind())
        around = Surroundings(module)
        before = around.fingerprints()
        module(torch.ones(3, 2))
        assert changed_or_new(before, around.fingerprints()) == expected
        around.restore()


def test_a_table_may_grow_but_its_entries_may_not_change():
    module = changer(lambda: table.update({len(table): torch.ones(2)}))()
    around = Surroundings(module)
    before = around.fingerprints()
    module(torch.ones(3, 2))
    after = around.fingerprints()
    assert changed(before, after) == ()
    assert changed_or_new(before, after) == ("table[0]",)
    table[0].add_(1)
    assert changed(after, around.fingerprints()) == ("table[0]",)
    around.restore()
    assert table == {}


def test_a_cache_may_be_filled_at_its_first_use():
    module = ClassAttribute()
    around = Surroundings(module)
    before = around.fingerprints()
    module(torch.ones(3, 2))
    assert changed(before, around.fingerprints()) == ()
    around.restore()


def test_what_two_modules_of_one_seed_hold_besides_their_state_is_compared():
    class Holding(nn.Module):
        def __init__(self, value: object) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.layer.held = value

    for one, other, same in (
        (np.random.default_rng(1), np.random.default_rng(1), True),
        (np.random.default_rng(1), np.random.default_rng(2), False),
        (torch.Generator().manual_seed(1), torch.Generator().manual_seed(2), False),
        ([torch.ones(2)], [torch.ones(2)], True),
        ([torch.ones(2)], [torch.zeros(2)], False),
        (0.5, 0.25, False),
        ("one name", "another", True),
    ):
        values = hidden_values(Holding(one)), hidden_values(Holding(other))
        assert (values[0] == values[1]) == same
        assert changed(*values) == (() if same else ("layer.held",))


def test_a_value_that_the_user_changes_and_new_code_are_found(monkeypatch):
    module = changer(lambda: unread + count)()
    around = Surroundings(module)
    before = around.fingerprints()
    monkeypatch.setattr(sys.modules[__name__], "unread", 5)
    assert changed(before, around.fingerprints()) == ("unread",)


def test_code_is_told_apart_by_what_it_does():
    def of(source: str) -> dict[str, str]:
        scope: dict[str, object] = {"nn": nn, "__name__": "cell"}
        exec(source, scope)
        return Surroundings(scope["M"]()).fingerprints()

    one = "class M(nn.Module):\n def forward(self, x):\n  return x * 2"
    assert of(one) == of("\n\n" + one)
    assert changed(of(one), of(one.replace("2", "3"))) == ("the code of M.forward",)


def test_attributes_that_share_a_name_with_a_global_do_not_count():
    module = changer(lambda: torch.ones(2).mean())()
    assert "mean" not in Surroundings(module).fingerprints()


masks: dict[int, Tensor] = {}


def mask(x: Tensor) -> Tensor:
    return masks.setdefault(len(x), torch.ones(len(x), 1).cumsum(0))


class ByShape(Quiet):
    """Keeps a mask for each batch size."""

    def forward(self, x: Tensor) -> Tensor:
        return x * mask(x)


class Counts(Quiet):
    """Counts its calls."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        Counts.calls += 1
        return x


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (ByShape, None),
        (Quiet, None),
        (Counts, r"changes Counts\.calls whenever it is called"),
        (ClassAttribute, r"keeps something of the rows .* in ClassAttribute\.seen"),
    ],
)
def test_a_trial_refuses_what_depends_on_rows_or_calls_but_not_on_shapes(kind, words):
    module, rows = kind(), torch.arange(16.0).view(8, 2)

    def attempt(other: bool) -> None:
        for size in (3, 1, 8):
            module(rows.roll(3, 0)[:size] if other else rows[:size])

    around = Surroundings(module)
    before = around.fingerprints()
    attempt(False)
    if words is None:
        around.check("m", before, attempt)
    else:
        with pytest.raises(ValueError, match=words):
            around.check("m", before, attempt)
        assert changed_or_new(before, around.fingerprints()) == ()
    around.restore()


def test_the_users_functions_are_hooks_and_attributes() -> None:
    module = nn.utils.spectral_norm(nn.Linear(2, 2))  # torch's own hook is none of the user's
    assert users_functions(module) == []
    hooks = [lambda *_: None for _ in range(3)]
    module.register_forward_hook(hooks[0])
    module.bias.register_hook(hooks[1])
    module.shape = functools.partial(hooks[2], 1)
    assert len(users_functions(module)) == 3
    assert {may_remember(each) for each in hooks} == {False}
    assert may_remember(module.shape) and may_remember(module.extra_repr)
