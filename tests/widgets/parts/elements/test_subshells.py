"""A widget's messages find a subshell that exists, whatever ipykernel remembers."""

import inspect

import pytest

from unlearnkit.widgets.parts.elements.subshells import surviving


@pytest.mark.parametrize(
    ("remembered", "named", "alive", "reached"),
    [
        ("old", "new", {"old", "new"}, "old"),  # as ipykernel itself does
        ("old", "new", {"new"}, "new"),  # the page was reloaded
        ("old", "older", set(), None),  # the main shell handles it
        (None, "new", {"new"}, None),  # the kernel sent from its main shell
    ],
)
def test_messages_go_to_a_subshell_that_exists(remembered, named, alive, reached):
    route = surviving(lambda comm, data, named: remembered, alive.__contains__)
    assert route(None, {}, named) == reached


def test_ipykernel_still_has_the_route_that_is_replaced():
    comm = pytest.importorskip("ipykernel.comm.comm")
    route = getattr(comm.BaseComm, "_reply_subshell_for", None)
    if route is None:
        pytest.skip("this ipykernel remembers no subshells")
    assert list(inspect.signature(route).parameters)[1:] == ["data", "default"]
