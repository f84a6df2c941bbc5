"""A button that asks once before it does what cannot be undone."""

from collections.abc import Callable

import ipywidgets

from unlearnkit.widgets.parts.html import Html, paragraphs
from unlearnkit.widgets.parts.panel import Panel, row


class Confirm:
    """A button, and in its place after a click a question with two answers.

    Args:
        panel: the panel that shows errors.
        label: label of the button.
        question: what is asked after a click.
        yes: label of the answer that acts; the other one is "Keep".
        act: called on that answer.
        tooltip: what the button does.

    Attributes:
        widget: the button or the question.
        button: asks.
        yes: acts.
        no: goes back.
    """

    def __init__(
        self,
        panel: Panel,
        label: str,
        question: str,
        yes: str,
        act: Callable[[], object],
        tooltip: str = "",
    ) -> None:
        self._act = act
        self.button = ipywidgets.Button(description=label, tooltip=tooltip)
        self.yes = ipywidgets.Button(description=yes, button_style="danger")
        self.no = ipywidgets.Button(description="Keep")
        for button in (self.button, self.yes, self.no):
            button.layout.width = "auto"
        self._asking = row(Html(html=paragraphs(question), live=True), self.yes, self.no)
        self.widget = row(self.button, self._asking)
        self.button.on_click(panel.guard(lambda button: self._ask(True)))
        self.no.on_click(panel.guard(lambda button: self._ask(False)))
        self.yes.on_click(panel.guard(lambda button: self._confirmed()))
        self._ask(False)

    def _ask(self, asks: bool) -> None:
        self.button.layout.display = "none" if asks else None
        self._asking.layout.display = None if asks else "none"

    def _confirmed(self) -> None:
        self._ask(False)
        self._act()
