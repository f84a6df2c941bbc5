"""Progress bars: where they appear, where they do not, and that one at most is on show."""

import inspect
import io
import re
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

import unlearnkit as uk
from unlearnkit.progress import ProgressEvent, running
from unlearnkit.progress import events as progress

NEVER = 1e9  # seconds
GENERATOR = np.random.default_rng(0)
DATA = GENERATOR.normal(size=(200, 6)).astype("float32"), GENERATOR.integers(0, 2, 200)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def event(done: int, phase: str = "train") -> ProgressEvent:
    return ProgressEvent(phase, 3, 2, done, 10)


def small(**options) -> uk.Session:
    options = {"model": "logistic", "num_shards": 2, "num_slices": 2, "epochs": 2} | options
    return uk.Session(DATA, **options)


def watch(monkeypatch, delay: float = 0.0, stream: io.StringIO | None = None) -> io.StringIO:
    """Put a terminal, or another stream, in the place of stderr; bars appear after a delay."""
    monkeypatch.setattr(progress, "DELAY", delay)
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    # Not in a fixture: between setup and test pytest puts its own stderr back.
    monkeypatch.setattr(sys, "stderr", stream or Terminal())
    return sys.stderr


def route(session: uk.Session, **options) -> None:
    """Every step that takes long."""
    session.train(**options)
    session.revoke([3, 14, 15])
    session.unlearn(0.0, **options)
    session.compare(**options)
    session.repay(**options)
    uk.stream(session, rounds=1, size=2, **options)
    settings = {"models": ["logistic"], "num_shards": [2], "num_slices": [2], "epochs": 2}
    uk.study(DATA, **settings, revoked=[1], policies={}, **options)
    shape = {"model": "logistic", "num_shards": 2, "num_slices": 2, "epochs": 2}
    uk.populate(DATA, [3], seeds=[0], **shape, **options)


def test_a_script_without_a_terminal_shows_nothing(capsys):
    route(small())
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_one_bar_at_a_time(monkeypatch):
    terminal = watch(monkeypatch)
    route(small())
    said = terminal.getvalue()
    for phase in ("training shard", "modifying", "training from scratch shard"):
        assert phase in said
    for phase in ("measuring requests", "unlearning requests", "training models"):
        assert re.search(rf"{phase}: +100%", said)
    # tqdm goes to another line for a second bar, and ends a line that it leaves there.
    assert "\n" not in said and "\x1b[A" not in said
    assert not said.split("\r")[-1].strip()  # the last bar is wiped out


def test_work_that_ends_within_the_delay_shows_nothing(monkeypatch):
    terminal = watch(monkeypatch, NEVER)
    route(small())
    assert terminal.getvalue() == ""


def test_false_shows_nothing_and_true_shows_a_bar_anywhere(monkeypatch):
    terminal = watch(monkeypatch)
    route(small(), on_progress=False)
    assert terminal.getvalue() == ""
    file = watch(monkeypatch, NEVER, io.StringIO())
    small().train(on_progress=True)
    assert "training shard" in file.getvalue()


def test_a_callable_gets_the_events_and_no_bar_is_shown(monkeypatch):
    terminal = watch(monkeypatch)
    events: list[ProgressEvent] = []
    route(small(), on_progress=events.append)
    assert terminal.getvalue() == ""
    phases = {each.phase for each in events}
    assert {"train", "modify", "scratch", "stream", "study", "population"} == phases
    # A study reports its requests, not what it trains for them.
    last = [each for each in events if each.phase in ("stream", "study", "population")]
    assert [each.share for each in last] == [1.0, 1.0, 1.0]
    assert all(each.loss is not None for each in events if each.phase == "train")


def test_a_notebook_shows_a_bar(monkeypatch):
    file = watch(monkeypatch, stream=io.StringIO())
    shell = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with running() as run:
        run.on_progress(event(1))
    assert file.getvalue() == ""  # a plain IPython prompt whose stderr is redirected
    shell.kernel = object()
    with running() as run:
        run.on_progress(event(1))
    assert "training shard 3, slice 2:  10%" in file.getvalue()


def test_a_bar_begins_again_with_each_phase(monkeypatch):
    terminal = watch(monkeypatch)
    with running() as run:
        for each in (event(2, "modify"), event(9, "modify"), event(1), event(5)):
            run.on_progress(each)
    drawn = re.findall(r"(\w+) shard 3, slice 2: +(\d+)%", terminal.getvalue())
    drawn = list(dict.fromkeys(drawn))
    assert drawn == [
        ("modifying", "20"),
        ("modifying", "90"),
        ("training", "10"),
        ("training", "50"),
    ]


def test_work_inside_is_named_behind_the_bar(monkeypatch):
    terminal = watch(monkeypatch)
    with running() as run:
        run.details(event(5))  # nothing of the work itself is done yet, so this is the bar
        run.on_progress(ProgressEvent("study", None, None, 1, 4))
        run.details(event(5))
    last = [part for part in terminal.getvalue().split("\r") if part.strip()][-1]
    assert last.startswith("measuring requests:  25%") and last.endswith(
        "training shard 3, slice 2"
    )


def test_a_bar_is_taken_away_when_work_fails_or_is_cancelled(monkeypatch):
    terminal = watch(monkeypatch)
    cancel = threading.Event()
    with pytest.raises(uk.Cancelled), running(None, cancel) as run:
        run.on_progress(event(1))
        cancel.set()
        run.check()
    assert "10%" in terminal.getvalue()
    assert not terminal.getvalue().split("\r")[-1].strip()


def test_showing_a_bar_changes_no_bits(monkeypatch):
    watch(monkeypatch)
    watched, unwatched = small(), small()
    watched.train(on_progress=True)
    unwatched.train(on_progress=False)
    assert watched.ensemble.digest == unwatched.ensemble.digest


def test_without_stderr_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)  # as under pythonw
    small().train()


def test_anything_else_is_refused_before_the_work():
    session = small()
    with pytest.raises(TypeError, match=r"on_progress='tqdm' is a str; give True"):
        session.train(on_progress="tqdm")
    assert not session.trained


def test_signatures_can_be_read():
    functions = [getattr(uk, name) for name in uk.__all__]
    functions += [function for _, function in inspect.getmembers(uk.Session, inspect.isfunction)]
    for function in functions:
        error = isinstance(function, type) and issubclass(function, Exception)
        if callable(function) and not error:
            assert "<function" not in str(inspect.signature(function)), function
