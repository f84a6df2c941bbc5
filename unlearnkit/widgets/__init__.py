"""What a notebook shows: panels, plots and the job that runs beside them."""

from unlearnkit.widgets.boundary import BoundaryPanel
from unlearnkit.widgets.comparison import ComparisonPanel
from unlearnkit.widgets.dashboard import PANELS, Dashboard
from unlearnkit.widgets.job import Job
from unlearnkit.widgets.ledger import LedgerPanel
from unlearnkit.widgets.panel import Panel
from unlearnkit.widgets.plotview import PlotView
from unlearnkit.widgets.revocation import RevocationPanel
from unlearnkit.widgets.shared import SessionPanel
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
