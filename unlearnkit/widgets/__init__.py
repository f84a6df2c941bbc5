"""Notebook widgets: panels, plots, and the background jobs that they run."""

from unlearnkit.widgets.boundary.panel import BoundaryPanel
from unlearnkit.widgets.comparison.panel import ComparisonPanel
from unlearnkit.widgets.dashboard import PANELS, Dashboard
from unlearnkit.widgets.ledger.panel import LedgerPanel
from unlearnkit.widgets.parts.job import Job
from unlearnkit.widgets.parts.panel import Panel
from unlearnkit.widgets.parts.plotview import PlotView
from unlearnkit.widgets.parts.shared import SessionPanel
from unlearnkit.widgets.revocation.panel import RevocationPanel
from unlearnkit.widgets.study import StudyViewer
from unlearnkit.widgets.training import TrainingPanel

__all__ = [
    "PANELS",
    "BoundaryPanel",
    "ComparisonPanel",
    "Dashboard",
    "Job",
    "LedgerPanel",
    "Panel",
    "PlotView",
    "RevocationPanel",
    "SessionPanel",
    "StudyViewer",
    "TrainingPanel",
]
