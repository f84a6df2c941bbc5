"""The controls of the approximation: a method that modifies parameters, and an amend after it."""

from collections.abc import Callable, Iterable
from typing import Any

import ipywidgets

from unlearnkit.approximate import AMENDS, METHODS, Method
from unlearnkit.training.plan import Plan
from unlearnkit.widgets.parts.elements.choice import Choice
from unlearnkit.widgets.parts.panel import row

DEFAULT = "default"


class ApproximationChoice:
    """A choice of one of the methods that suit a plan, and of one of the amends.

    Attributes:
        method: dropdown of the model's default and the names in ``METHODS``.
        amend: dropdown of the default and the names in ``AMENDS``.
        widget: both dropdowns in one row.

    Args:
        changed: called after every change.
    """

    def __init__(self, changed: Callable[[Any], object]) -> None:
        self.method = ipywidgets.Dropdown(options=[DEFAULT], description="method")
        self.method.tooltip = "How the parameters of shards that are not retrained are modified"
        self.amend = ipywidgets.Dropdown(options=[DEFAULT], description="amend")
        self.amend.tooltip = "The procedure that follows the modification"
        for field in (self.method, self.amend):
            field.style.description_width = "initial"
            field.layout.width = "auto"
            field.observe(changed, names="value")
        self.widget = row(self.method, self.amend)

    @property
    def names(self) -> dict[str, Any]:
        """The arguments of a call that differ from the default."""
        fields = {"method": self.method.value, "amend": self.amend.value}
        return {name: value for name, value in fields.items() if value != DEFAULT}

    def offer(self, plan: Plan) -> None:
        """Offer all registered amends and the registered methods that suit the plan.

        A method that cannot say whether it suits the plan is left out, and so is an entry whose
        name is that of the default choice.
        """
        suited = [name for name, method in METHODS.items() if _suits(method, plan)]
        for field, names in ((self.method, suited), (self.amend, AMENDS)):
            offer(field, [DEFAULT, *(name for name in names if name != DEFAULT)])


def _suits(method: Method, plan: Plan) -> bool:
    try:
        return not method.unsuitable(plan)
    except Exception:  # an error of a user's method must not take the panel with it
        return False


def offer(field: ipywidgets.Dropdown | Choice, options: Iterable[str]) -> None:
    """Replace the options of a field; keep the chosen one if it is still offered."""
    names, chosen = list(options), field.value
    if list(field.options) != names:
        field.options = names  # this selects the first option
        if chosen in names:
            field.value = chosen
