"""Discarded is discarded: nothing that is reachable holds a number of the original models."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from panels import compare, opened, session_of
from reachable import holders, numbers, stored
from unlearnkit import Session
from unlearnkit.evaluation.original import Original, cut_traceback
from unlearnkit.widgets.comparison.membership import MembershipView
from unlearnkit.widgets.comparison.networks import ParameterView


@pytest.fixture(autouse=True)
def _only_what_is_new() -> Iterator[None]:
    """Spare the search all objects from before the test; their number grows with the suite."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def sought_of(session: Session) -> np.ndarray:
    """The numbers that only the original models hold."""
    assert session.original is not None
    states = [one.state for one in session.original.constituents]
    return np.setdiff1d(numbers(states), numbers(stored(session.store)))


def test_a_cell_that_discards_reaches_panels_and_forks() -> None:
    session = session_of("uneven", 0.3)
    sought = sought_of(session)
    panel, fork = compare(session.panel("comparison")), session.fork()
    opened(panel, ParameterView)
    opened(panel, MembershipView)
    other = compare(fork.panel("comparison"))
    assert holders(sought)
    session.discard_original()
    assert holders(sought) == []
    assert fork.original is None and other.comparison is None
    assert "were discarded" in panel.note.html and panel.runner.button.disabled


def test_the_next_request_releases_what_panels_hold() -> None:
    session = session_of("uneven", 0.3)
    panel = compare(session.panel("comparison"))
    fork = session.fork()
    held = compare(fork.panel("comparison"))
    session.revoke(count=1)
    session.unlearn(1.0)
    assert panel.comparison is None
    assert held.comparison is not None and held.comparison.original is fork.original


def test_an_original_that_is_discarded_while_it_is_compared_is_not_shown() -> None:
    session = session_of("uneven", 0.3)
    sought, panel = sought_of(session), session.panel("comparison")
    comparison = session.compare()
    session.discard_original()
    panel._finished(comparison)
    assert panel.comparison is None and "discarded meanwhile" in panel.message
    del comparison
    assert holders(sought) == []


def test_errors_keep_no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = session_of("uneven", 0.3)
    session.revoke(count=2)

    def fails(event: object) -> None:
        raise ZeroDivisionError("an error of the caller")

    with pytest.raises(ZeroDivisionError) as caught:
        session.unlearn(0.0, on_progress=fails)
    monkeypatch.setattr(sys, "last_value", caught.value, raising=False)
    del caught
    panel = session.panel("boundary")
    panel.guard(lambda: session.unlearn(0.0, on_progress=fails))()
    assert panel.error is not None and "an error of the caller" in panel.traceback
    session.unlearn(1.0)
    sought = sought_of(session)
    session.discard_original()
    assert holders(sought) == []


def test_only_the_functions_of_the_package_are_cut() -> None:
    def callers() -> None:
        Session("no such data")

    with pytest.raises(KeyError) as caught:
        callers()
    cut_traceback(caught.value)
    frames, trace = [], caught.value.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    assert "callers" in [frame.f_code.co_name for frame in frames]
    assert not [frame for frame in frames if "unlearnkit" in frame.f_globals["__name__"]]


def test_a_watcher_is_not_kept_alive() -> None:
    class Watcher:
        told = 0

        def release(self) -> None:
            self.told += 1

    original, watcher = Original(), Watcher()
    original.watch(watcher.release)
    original.watch(Watcher().release)
    original.discard()
    assert watcher.told == 1 and original.ensemble is None
