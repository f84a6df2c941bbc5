"""The stopwatch: seconds of a starting state are charged to starting, and to no other lap."""

from unlearnkit.training.stopwatch import Stopwatch


def test_a_state_made_late_is_charged_to_starting_only() -> None:
    now = 0.0
    watch = Stopwatch(lambda: now)
    now = 1.0
    watch.started(2)
    now = 4.0
    watch.laid_out()
    now = 9.0  # five seconds, of which two made a starting state
    watch.started_late(2.0)
    watch.stored()
    assert (watch.starting, watch.layouts, watch.marking) == (3.0, [3.0], 3.0)
