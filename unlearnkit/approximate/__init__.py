"""The approximate branch: modify the parameters directly, then amend them cheaply.

A method and an amend are frozen callables behind the Protocols of
:mod:`unlearnkit.approximate.protocol`; dropdowns and contract tests read the two dicts here.

Where docstrings give figures of perceptrons that were measured for a choice made here, in
``assessment`` or in ``TrainSpec``, their activation was a ReLU unless another is named.
"""

from dataclasses import replace

from unlearnkit.approximate.amends.distillation import Distillation
from unlearnkit.approximate.amends.fine_tuning import FineTune
from unlearnkit.approximate.amends.replay import NoAmend, Replay
from unlearnkit.approximate.amends.rewind import RewindAndReplay
from unlearnkit.approximate.baselines.ascent import GradientAscent, NegGradPlus
from unlearnkit.approximate.baselines.dampening import Dampening
from unlearnkit.approximate.baselines.deltagrad import DeltaGrad
from unlearnkit.approximate.baselines.fine_tuning import FineTuning
from unlearnkit.approximate.baselines.fixed_damping import FixedDamping
from unlearnkit.approximate.baselines.kfac import KroneckerInfluence
from unlearnkit.approximate.baselines.newton import Newton
from unlearnkit.approximate.baselines.relabelling import Relabelling
from unlearnkit.approximate.baselines.scrub import Scrub
from unlearnkit.approximate.baselines.single_gradient import SingleGradient
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

_ALIKE = StagedInfluence(candidates=0, curvature_share=1 / 20, curvature_min=64)

# The default for linear models. Measured on 60,000 examples of Fashion-MNIST, 5 shards, logistic
# regression, a hundredth and a tenth of the examples revoked: with at most 432 examples for the
# curvature 95 to 96 % of the output KL removed at 4.3 to 6.5 times the speed of exact retraining,
# with 528 96 to 97 % at 3.5 to 4.3 times; with 20 iterations 96 and 95 % of the
# membership-inference gap at 6.2 and 5.3 times the speed, with 13 92 and 90 % at 6.5 and 5.6.
LINEAR_INFLUENCE = replace(_ALIKE, iterations=20, tolerance=0.1, curvature_max=432, by_outputs=True)

# The default for networks of convolutions. Measured on 10,000 examples of Fashion-MNIST, 5 shards,
# a tenth revoked: with 64 examples for the curvature and more, 64, 80 and 60 % of the output KL
# removed in shards of one slice at 11 times the speed of exact retraining (seeds 0, 1 and 2), 90
# and 81 % in shards of five at 8.5 times; with 256 and more 68, 88 and 69 % at 10 times, 93 and
# 80 % at 7.5 times.
LAST_LAYER_INFLUENCE = replace(_ALIKE, scope="head", curvature_min=256, references=4)

METHODS: Registry[Method] = Registry(
    "METHODS",
    "method",
    """Methods of modification by name, for ``method=`` and for the boundary panel.

    An entry is a frozen callable ``(rounds, *, on_progress) -> list[Modified]`` with three methods:
    ``visits(plan, shard, forget)`` and ``batches(plan, forget)`` foretell its work, and
    ``unsuitable(plan)`` says in a sentence why it does not fit a model, or "" where it does. The
    protocol is :class:`unlearnkit.approximate.protocol.Method`. A rule that corrects one checkpoint
    at a time becomes a method by ``unlearnkit.approximate.EachState``::

        uk.METHODS["mine"] = EachState(MyRule())
        session.unlearn(0, method="mine")

    The notebook 10-add-a-method writes one step by step.
    """,
    {
        "staged-influence": StagedInfluence(),
        "last-layer-influence": LAST_LAYER_INFLUENCE,
        "newton": Newton(),
        "fixed-damping": EachState(FixedDamping()),
        "kfac": EachState(KroneckerInfluence()),
        "fine-tuning": FineTuning(),
        "gradient-ascent": EachState(GradientAscent()),
        "neggrad-plus": EachState(NegGradPlus()),
        "scrub": EachState(Scrub()),
        "ssd": EachState(Dampening()),
        "amnesiac-relabelling": EachState(Relabelling()),
        "single-gradient": AlongTraining(SingleGradient()),
        "deltagrad": AlongTraining(DeltaGrad()),
    },
    parts=("__call__", "visits", "batches", "unsuitable"),
    adapt=instance_of,
)
AMENDS: Registry[Amend] = Registry(
    "AMENDS",
    "amend",
    """Amends by name: what follows a modification, for ``amend=`` and for the boundary panel.

    An entry is a frozen callable ``(rounds, modified, *, on_progress) -> list[Amended]`` with two
    methods: ``epochs(plan)``, the epochs of the last stage that it runs, and ``longer(plan)``, the
    amend to try where this one was not enough, or None. The protocol is
    :class:`unlearnkit.approximate.protocol.Amend`. ::

        uk.AMENDS["mine"] = MyAmend()
        session.unlearn(0, amend="mine")
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
    "LINEAR_INFLUENCE",
    "METHODS",
    "Advance",
    "AlongTraining",
    "Amend",
    "Amended",
    "Dampening",
    "DeltaGrad",
    "Distillation",
    "EachState",
    "FineTune",
    "FineTuning",
    "FixedDamping",
    "GradientAscent",
    "KroneckerInfluence",
    "Members",
    "Method",
    "Modified",
    "NegGradPlus",
    "Newton",
    "NoAmend",
    "OnStep",
    "Relabelling",
    "Replay",
    "RewindAndReplay",
    "Rule",
    "Scrub",
    "ShardRound",
    "ShardState",
    "SingleGradient",
    "StagedInfluence",
]
