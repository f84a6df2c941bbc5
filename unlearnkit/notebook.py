"""The session that users open in a notebook: the core session plus dashboard, panels and export."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from unlearnkit import session
from unlearnkit.records.script import Cell, as_notebook, as_script, cells

if TYPE_CHECKING:
    from unlearnkit.widgets import Dashboard, SessionPanel
    from unlearnkit.widgets.instrument.instrument import Instrument


class Session(session.Session):
    """An ensemble that can forget: train, revoke, assess, decide, unlearn and compare.

    Use it from code, or through its dashboard. :class:`unlearnkit.session.Session` implements the
    steps and imports no widgets; this class adds the dashboard, its panels, and the export of a
    session as a script or a notebook.

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
        """Widgets for every step of the session. Display the result in a notebook cell."""
        from unlearnkit.widgets import Dashboard

        return Dashboard(self)

    def panel(self, name: str) -> "SessionPanel":
        """One panel of the dashboard, for a cell of its step.

        All panels of a session update when one of them, or code, changes the session.

        Args:
            name: ``"training"``, ``"revocation"``, ``"workload"``, ``"boundary"``,
                ``"comparison"`` or ``"ledger"``.

        Raises:
            KeyError: no panel has this name.
        """
        from unlearnkit.widgets.dashboard import panel_kind

        return panel_kind(name)(self)

    def instrument(self, max_share: float | None = None) -> "Instrument":
        """The boundary as a single widget: drag its line to see what a threshold would decide.

        A saved notebook or an exported page keeps a copy of it that needs no kernel.

        Args:
            max_share: the initial threshold, from 0 to 1; the session's boundary by default.
        """
        from unlearnkit.widgets.instrument.instrument import Instrument

        return Instrument(self, max_share)

    def to_script(self, path: str | os.PathLike[str] | None = None) -> str:
        """Export the session as a Python script that reproduces its models, bit for bit.

        The script loads the data, sets all training settings and the seed, and repeats every
        request and repayment, each with its ids and the shards that were retrained. Data, a model
        or a partition that unlearnkit does not provide by name are left as gaps to fill in.

        Args:
            path: a file that the script is also written to.

        Returns:
            The script's text.
        """
        text = as_script(self._cells())
        if path is not None:
            Path(path).expanduser().write_text(text, encoding="utf-8")
        return text

    def to_notebook(self, path: str | os.PathLike[str]) -> None:
        """Export the session as a notebook without outputs; it contains :meth:`to_script`'s code.

        Args:
            path: the file to write, ending in ``.ipynb``.
        """
        Path(path).expanduser().write_text(as_notebook(self._cells()), encoding="utf-8")

    def _cells(self) -> list[Cell]:
        ensemble = self.ensemble if self.trained else None
        lines = self._journal.history.lines
        return cells(
            self.dataset, self._journal.plan, self.aggregation, lines, self._pending, ensemble
        )
