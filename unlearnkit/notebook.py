"""The session of a notebook: the core session with its dashboard, panels and exported code."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnkit import session
from unlearnkit.records.script import Cell, as_notebook, as_script, cells

if TYPE_CHECKING:
    from unlearnkit.widgets import Dashboard, SessionPanel


class Session(session.Session):
    """Train, revoke, estimate, decide, unlearn and compare, in code or with the mouse.

    The engine is :class:`unlearnkit.session.Session`, which knows no screen. This class adds the
    dashboard, its panels and the export of a session as a script or a notebook.

    >>> session = Session("digits", model="logistic", epochs=2, seed=0)
    >>> session
    Session(digits, logistic, 5 shards x 3 slices, not trained)
    >>> report = session.train()
    >>> request = session.revoke([3, 141, 592])
    >>> session.unlearn(max_share=1).debt_after
    0
    >>> session.compare().bit_identical
    True
    >>> print(session.to_script().splitlines()[0])
    # digits, logistic
    """

    def dashboard(self) -> "Dashboard":
        """The same with the mouse: widgets for every step."""
        from unlearnkit.widgets import Dashboard

        return Dashboard(self)

    def panel(self, name: str) -> "SessionPanel":
        """One step of the dashboard, alone in a cell; panels of a session keep each other current.

        Args:
            name: ``"training"``, ``"revocation"``, ``"workload"``, ``"boundary"``,
                ``"comparison"`` or ``"ledger"``.

        Raises:
            KeyError: no panel of that name.
        """
        from unlearnkit.widgets.dashboard import panel_kind

        return panel_kind(name)(self)

    def to_script(self, path: str | os.PathLike[str] | None = None) -> str:
        """This session as a Python script that comes to the same models, bit for bit.

        It names the data (data of your own, a model or a partition that is no built-in one, is
        left for you to fill in), the spec with its seed, and every request and repayment with its
        ids and the shards that were retrained.

        Args:
            path: a file to write it to as well.
        """
        text = as_script(self._cells())
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    def to_notebook(self, path: str | os.PathLike[str]) -> None:
        """The same as :meth:`to_script`, as a notebook without outputs."""
        Path(path).write_text(as_notebook(self._cells()), encoding="utf-8")

    def _cells(self) -> list[Cell]:
        ensemble = self.ensemble if self.trained else None
        lines = self._journal.history.lines
        return cells(
            self.dataset, self._journal.plan, self.aggregation, lines, self._pending, ensemble
        )
