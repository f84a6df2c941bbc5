"""The controls of an approximation: the method that modifies, and the amend that follows it."""

from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets

from unlearnkit.approximate import AMENDS, METHODS
from unlearnkit.training.plan import Plan
from unlearnkit.widgets.parts.panel import row

DEFAULT = "default"


class ApproximationChoice:
    """A choice among the methods that suit a plan, and among the amends.

    Attributes:
        method: the default of the model, or a name in ``METHODS``.
        amend: the default, or a name in ``AMENDS``.
        widget: both.

    Args:
        changed: called after every change.
    """

    def __init__(self, changed: Callable[[Any], object]) -> None:
        self.method = ipywidgets.Dropdown(options=[DEFAULT], description="method")
        self.method.tooltip = "how parameters are modified, where shards are not retrained"
        self.amend = ipywidgets.Dropdown(options=[DEFAULT], description="amend")
        self.amend.tooltip = "what follows the modification"
        for field in (self.method, self.amend):
            field.style.description_width = "initial"
            field.layout.width = "auto"
            field.observe(changed, names="value")
        self.widget = row(self.method, self.amend)

    @property
    def names(self) -> dict[str, Any]:
        """The arguments of a call that are not the default."""
        fields = {"method": self.method.value, "amend": self.amend.value}
        return {name: value for name, value in fields.items() if value != DEFAULT}

    def offer(self, plan: Plan) -> None:
        """Bring both choices in line with the registries and with what suits the plan."""
        suited = [name for name, method in METHODS.items() if not method.unsuitable(plan)]
        offer(self.method, [DEFAULT, *suited])
        offer(self.amend, [DEFAULT, *AMENDS])


def offer(field: ipywidgets.Dropdown | ipywidgets.RadioButtons, options: Iterable[str]) -> None:
    """Give a field other options; what was chosen stays chosen where it is still offered."""
    names, chosen = list(options), field.value
    if list(field.options) != names:
        field.options = names  # this chooses the first one
        if chosen in names:
            field.value = chosen
