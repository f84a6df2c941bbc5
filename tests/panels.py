"""How a test works a panel without a browser: press, wait, read what is on show."""

import ast
import re

import unlearnkit as uk
from cases import CASES


def run(runner):
    """Press a runner's button and wait for its job and all that hears of it."""
    started = []
    start = runner.start
    runner.start = lambda: started.append(start()) or started[0]
    runner.button.click()
    runner.start = start
    if started:
        assert started[0].wait(60)
        assert not started[0].subscriber_errors
    return started


def kinds(decision):
    """The kind of every shard's route."""
    return {route.shard: route.kind for route in decision.routes}


def text(prose):
    """What a reader reads in a prose widget."""
    return re.sub(r"<[^>]+>", " ", prose.html)


def drawn(panel):
    """The route of every shard as the instrument shows it."""
    view = getattr(panel, "instrument", panel)
    kinds = {"e": "exact", "a": "approximate", "l": "leave"}
    shown = [kinds[letter] for letter in view.outcome["kinds"]]
    return dict(zip(view.table["shards"], shown, strict=True))


def call(code, session):
    """Run a panel's Python call on a session."""
    exec(compile(ast.parse(code), "panel", "exec"), {"session": session, "uk": uk})


CASE = CASES["uneven"]


def session_of(name, max_share):
    session = CASES[name].session()
    session.train()
    partition = session.plan.partition
    late = partition.ids[(partition.shard == 1) & (partition.slice_ == partition.slice_.max())]
    early = partition.ids[(partition.shard == partition.shard.max()) & (partition.slice_ == 1)]
    session.revoke([*late[:1], *early[:2]])
    session.unlearn(max_share)
    return session


def compare(panel):
    assert panel.runner.start().wait(60)
    assert panel.error is None
    return panel


def section(panel, kind):
    (found,) = (s for s in panel.sections if type(s) is kind)
    return found


def opened(panel, kind):
    found = section(panel, kind)
    found.open = True
    assert panel.error is None
    return found
