"""The approximate branch: modify the parameters directly, then amend them cheaply.

A method and an amend are frozen callables behind the Protocols of
:mod:`unlearnkit.approximate.protocol`; dropdowns and contract tests read the two dicts here.
"""

from unlearnkit.approximate.newton import Newton
from unlearnkit.approximate.protocol import (
    Amend,
    Amended,
    Members,
    Method,
    Modified,
    OnStep,
    ShardRound,
    ShardState,
)
from unlearnkit.approximate.replay import NoAmend, Replay
from unlearnkit.approximate.staged import StagedInfluence

METHODS: dict[str, Method] = {
    "staged-influence": StagedInfluence(),
    "last-layer-influence": StagedInfluence(scope="head"),
    "newton": Newton(),
}
AMENDS: dict[str, Amend] = {
    "replay": Replay(),
    "none": NoAmend(),
}

__all__ = [
    "AMENDS",
    "METHODS",
    "Amend",
    "Amended",
    "Members",
    "Method",
    "Modified",
    "Newton",
    "NoAmend",
    "OnStep",
    "Replay",
    "ShardRound",
    "ShardState",
    "StagedInfluence",
]
