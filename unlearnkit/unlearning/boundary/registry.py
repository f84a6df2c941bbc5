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
    arguments is called, and its result is the boundary. The protocol is
    :class:`unlearnkit.unlearning.boundary.protocol.Boundary`. To add an entry, assign it:

    >>> import unlearnkit as uk
    >>> class RetrainOdd:  # shards of odd number are retrained, the others modified
    ...     def decide(self, workload, costs, debts):
    ...         odd = [work.shard for work in workload.shards if work.shard % 2]
    ...         return uk.ChosenBoundary(odd).decide(workload, costs, debts)
    >>> uk.BOUNDARIES["odd"] = RetrainOdd
    >>> session = uk.Session("digits", model="logistic", epochs=2, seed=0)
    >>> report = session.train()
    >>> request = session.revoke(count=20)
    >>> session.preview(boundary="odd").exact
    (1, 3)
    >>> del uk.BOUNDARIES["odd"]
    """,
    {},
    parts=("decide",),
    adapt=as_boundary,
)
