"""Approximate unlearning: a method modifies the parameters, then an amend trains briefly.

Methods and amends are frozen callables that fit the Protocols of
:mod:`unlearnkit.approximate.protocol`. The registries ``METHODS`` and ``AMENDS`` list them by name,
for arguments, dropdowns and contract tests.
"""

from dataclasses import replace

from unlearnkit.approximate.amends.distillation import Distillation
from unlearnkit.approximate.amends.fine_tuning import FineTune
from unlearnkit.approximate.amends.replay import NoAmend, Replay
from unlearnkit.approximate.amends.rewind import RewindAndReplay
from unlearnkit.approximate.baselines.certified.newton import Newton
from unlearnkit.approximate.baselines.certified.noisy_newton import NoisyNewton
from unlearnkit.approximate.baselines.certified.rewind import RewindToDelete
from unlearnkit.approximate.baselines.dampening import Dampening
from unlearnkit.approximate.baselines.deltagrad import DeltaGrad
from unlearnkit.approximate.baselines.fixed_damping import FixedDamping
from unlearnkit.approximate.baselines.kfac import KroneckerInfluence
from unlearnkit.approximate.baselines.single_gradient import SingleGradient
from unlearnkit.approximate.baselines.training.ascent import GradientAscent, NegGradPlus
from unlearnkit.approximate.baselines.training.bad_teacher import BadTeacher
from unlearnkit.approximate.baselines.training.fine_tuning import FineTuning
from unlearnkit.approximate.baselines.training.l1_sparse import L1Sparse
from unlearnkit.approximate.baselines.training.relabelling import Relabelling
from unlearnkit.approximate.baselines.training.saliency import SaliencyUnlearning
from unlearnkit.approximate.baselines.training.scrub import Scrub
from unlearnkit.approximate.baselines.training.unsir import Unsir
from unlearnkit.approximate.baselines.trajectory import Advance, AlongTraining
from unlearnkit.approximate.influence.staged import StagedInfluence
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
from unlearnkit.approximate.stored_states import EachState, Rule
from unlearnkit.registry import Registry, instance_of

_UNIFORM = StagedInfluence(candidates=0, curvature_share=1 / 20, curvature_min=64)

# The default for perceptrons; tests/benchmarks/defaults.md has the measurements.
NETWORK_INFLUENCE = StagedInfluence(damping=0.5)

# The default for linear models; tests/benchmarks/defaults.md has the measurements.
LINEAR_INFLUENCE = replace(
    _UNIFORM, iterations=20, tolerance=0.1, curvature_max=432, by_outputs=True
)

# The default for convolutional networks; tests/benchmarks/defaults.md has the measurements.
LAST_LAYER_INFLUENCE = replace(_UNIFORM, scope="head", curvature_min=256, references=4)

METHODS: Registry[Method] = Registry(
    "METHODS",
    "method",
    """Methods of modification by name, for ``method=`` and for the boundary panel.

    An entry is a frozen callable ``(rounds, *, on_progress) -> list[Modified]`` with three methods:
    ``visits(plan, shard, forget)`` and ``batches(plan, forget)`` predict its work, and
    ``unsuitable(plan)`` returns a sentence why the method does not fit a model, or "" if it does.
    The protocol is :class:`unlearnkit.approximate.protocol.Method`. ``EachState(MyRule())`` of
    ``unlearnkit.approximate`` makes a method of a rule that corrects one checkpoint at a time; the
    notebook 11-add-a-method writes one step by step. To add an entry, assign it. A built-in method
    with other settings is one too:

    >>> import unlearnkit as uk
    >>> uk.METHODS["strongly-damped"] = uk.StagedInfluence(damping=5.0)
    >>> session = uk.Session("digits", model="mlp", epochs=2, seed=0)
    >>> report = session.train()
    >>> request = session.revoke([3, 141])
    >>> session.unlearn(0, method="strongly-damped").debt_after
    2
    >>> del uk.METHODS["strongly-damped"]
    """,
    {
        "staged-influence": NETWORK_INFLUENCE,
        "last-layer-influence": LAST_LAYER_INFLUENCE,
        "newton": Newton(),
        "noisy-newton": NoisyNewton(),
        "fixed-damping": EachState(FixedDamping()),
        "kfac": EachState(KroneckerInfluence()),
        "fine-tuning": FineTuning(),
        "gradient-ascent": EachState(GradientAscent()),
        "neggrad-plus": EachState(NegGradPlus()),
        "scrub": EachState(Scrub()),
        "ssd": EachState(Dampening()),
        "amnesiac-relabelling": EachState(Relabelling()),
        "salun": EachState(SaliencyUnlearning()),
        "bad-teacher": EachState(BadTeacher()),
        "l1-sparse": EachState(L1Sparse()),
        "unsir": EachState(Unsir()),
        "rewind-to-delete": RewindToDelete(),
        "single-gradient": AlongTraining(SingleGradient()),
        "deltagrad": AlongTraining(DeltaGrad()),
    },
    parts=("__call__", "visits", "batches", "unsuitable"),
    adapt=instance_of,
)
AMENDS: Registry[Amend] = Registry(
    "AMENDS",
    "amend",
    """Amends by name: brief training after a modification, for ``amend=`` and the boundary panel.

    An entry is a frozen callable ``(rounds, modified, *, on_progress) -> list[Amended]`` with two
    methods: ``epochs(plan)`` returns the number of epochs of the last stage that the amend runs,
    and ``longer(plan)`` returns the amend to try next if this one was not enough, or None. The
    protocol is :class:`unlearnkit.approximate.protocol.Amend`. To add an entry, assign it; a
    built-in amend with other settings is one too:

    >>> import unlearnkit as uk
    >>> uk.AMENDS["long-replay"] = uk.Replay(tail=4)
    >>> session = uk.Session("digits", model="logistic", epochs=4, seed=0)
    >>> report = session.train()
    >>> request = session.revoke([3, 141])
    >>> session.unlearn(0, amend="long-replay").debt_after
    2
    >>> del uk.AMENDS["long-replay"]
    """,
    {
        "replay": Replay(),
        "rewind-and-replay": RewindAndReplay(),
        "fine-tuning": FineTune(),
        "distillation": Distillation(),
        "none": NoAmend(),
    },
    parts=("__call__", "epochs", "longer"),
    adapt=instance_of,
)

__all__ = [
    "AMENDS",
    "LAST_LAYER_INFLUENCE",
    "LINEAR_INFLUENCE",
    "METHODS",
    "NETWORK_INFLUENCE",
    "Advance",
    "AlongTraining",
    "Amend",
    "Amended",
    "BadTeacher",
    "Dampening",
    "DeltaGrad",
    "Distillation",
    "EachState",
    "FineTune",
    "FineTuning",
    "FixedDamping",
    "GradientAscent",
    "KroneckerInfluence",
    "L1Sparse",
    "Members",
    "Method",
    "Modified",
    "NegGradPlus",
    "Newton",
    "NoAmend",
    "NoisyNewton",
    "OnStep",
    "Relabelling",
    "Replay",
    "RewindAndReplay",
    "RewindToDelete",
    "Rule",
    "SaliencyUnlearning",
    "Scrub",
    "ShardRound",
    "ShardState",
    "SingleGradient",
    "StagedInfluence",
    "Unsir",
]
