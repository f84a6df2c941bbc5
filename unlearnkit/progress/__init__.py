"""Progress of long work: events, a progress bar, and cancelling.

Every function that can take long accepts ``on_progress``:

- With None, the default, a progress bar appears on stderr after one second, provided that stderr is
  a terminal or the code runs in a notebook; otherwise nothing is shown.
- With False nothing is shown; with True the bar appears at once, even if stderr is a file.
- A callable receives every :class:`ProgressEvent`, and no bar is shown::

      session.train(on_progress=lambda event: print(event.sentence, f"{event.share:.0%}"))

Callables are called in the thread that does the work, which is not the thread of the caller.

A public function opens a :class:`Run` with :func:`running` and passes it on. The functions that it
calls report to the run and never print.

:func:`log_to` makes such a callable for TensorBoard, MLflow, and Weights & Biases.
"""

from unlearnkit.progress.events import (
    FEATURES,
    PHASES,
    OnProgress,
    Progress,
    ProgressEvent,
    Run,
    running,
    silent,
)
from unlearnkit.progress.log import log_to

__all__ = [
    "FEATURES",
    "PHASES",
    "OnProgress",
    "Progress",
    "ProgressEvent",
    "Run",
    "log_to",
    "running",
    "silent",
]
