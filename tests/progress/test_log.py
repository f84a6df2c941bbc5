"""Progress events become metrics of trackers, whose methods have their real signatures here."""

import threading
from types import SimpleNamespace

import pytest

from cases import CASES
from unlearnkit.progress import ProgressEvent, log_to


class SummaryWriter:
    """The method of torch.utils.tensorboard.SummaryWriter."""

    def __init__(self):
        self.rows = []

    def add_scalar(
        self,
        tag,
        scalar_value,
        global_step=None,
        walltime=None,
        new_style=False,
        double_precision=False,
    ):
        self.rows.append((tag, scalar_value, global_step))


class Mlflow:
    """The functions of mlflow, whose active run belongs to a thread."""

    def __init__(self):
        self.rows, self.local = [], threading.local()
        self.local.run = SimpleNamespace(info=SimpleNamespace(run_id="mine"))

    def active_run(self):
        return getattr(self.local, "run", None)

    def log_metric(
        self,
        key,
        value,
        step=None,
        synchronous=None,
        timestamp=None,
        run_id=None,
        model_id=None,
        dataset=None,
    ):
        run = run_id or (self.active_run().info.run_id if self.active_run() else "another")
        self.rows.append((key, value, step, run))


class WandbRun:
    """The method of wandb.sdk.wandb_run.Run."""

    def __init__(self):
        self.rows = []

    def log(self, data, step=None, commit=None):
        assert step is None or not self.rows or step >= len(self.rows)
        self.rows.append(data)


def trained(tracker, **options):
    """Train a small session in another thread, as panels do, and return it with its events."""
    session, events = CASES["uneven"].session(), []
    log = log_to(tracker, **options)

    def both(event):
        events.append(event)
        log(event)

    thread = threading.Thread(target=lambda: session.train(on_progress=both))
    thread.start()
    thread.join()
    return session, events


def test_tensorboard_gets_every_loss_at_its_visits():
    writer = SummaryWriter()
    session, events = trained(writer)
    losses = [(event.done_visits, event.shard, event.loss) for event in events if event.loss]
    assert losses and [row for row in writer.rows if row[0].endswith("loss")] == [
        (f"train/shard-{shard}/loss", loss, visits) for visits, shard, loss in losses
    ]
    shares = [value for tag, value, _ in writer.rows if tag == "train/share"]
    assert shares == [event.share for event in events] and shares[-1] == 1.0
    assert max(step for _, _, step in writer.rows) == session.plan.total_visits


def test_mlflow_gets_them_in_the_run_of_the_thread_that_asked():
    mlflow = Mlflow()
    _, events = trained(mlflow, prefix="first/")
    assert {run for *_, run in mlflow.rows} == {"mine"}
    assert [value for key, value, *_ in mlflow.rows if key.endswith("/loss")] == [
        event.loss for event in events if event.loss is not None
    ]
    assert all(key.startswith("first/train/") for key, *_ in mlflow.rows)


def test_wandb_gets_one_row_for_each_event_with_its_visits():
    run = WandbRun()
    session, events = trained(run)
    assert [row["train/visits"] for row in run.rows] == [event.done_visits for event in events]
    session.revoke([int(session.plan.partition.ids[0])])
    session.unlearn(0.0, on_progress=log_to(run))
    phases = {name.split("/")[0] for row in run.rows[len(events) :] for name in row}
    assert "modify" in phases


def test_a_tracker_without_a_run_is_left_to_begin_one():
    rows = []
    tracker = SimpleNamespace(
        active_run=lambda: None, log_metric=lambda key, value, step=None: rows.append(key)
    )
    log_to(tracker)(ProgressEvent("modify", 0, None, 1, 2))
    assert rows == ["modify/share"]


def test_what_cannot_log_is_refused_with_what_can():
    with pytest.raises(TypeError, match="a list cannot log metrics; give TensorBoard's Summary"):
        log_to([])
