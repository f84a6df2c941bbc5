"""The registry of boundaries, which the package fills with its own."""

from unlearnkit.registry import Registry
from unlearnkit.unlearning.boundary.custom import as_boundary
from unlearnkit.unlearning.boundary.protocol import Boundary

BOUNDARIES: Registry[Boundary] = Registry(
    "BOUNDARIES",
    "boundary",
    """Boundaries by name, for ``boundary=`` and for the boundary panel.

    An entry is an object with ``decide(workload, costs, debts) -> Decision``: a route and a reason
    for every shard that the request hits. It may also have ``objection(check) -> str``, which
    returns why a computed approximation is refused, or "" if it is not. Without this method no
    approximation is refused; doubtful ones are reported all the same. A class or a function without
    arguments is called, and its result is the boundary.

    The protocol is :class:`unlearnkit.unlearning.boundary.protocol.Boundary`. ::

        uk.BOUNDARIES["mine"] = MyBoundary(0.1)
        session.preview(boundary="mine")
    """,
    {},
    parts=("decide",),
    adapt=as_boundary,
)
