"""The methods that :mod:`rivals` compares: their names, their grids, and their published form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from unlearnkit.approximate import (
    AlongTraining,
    BadTeacher,
    Dampening,
    DeltaGrad,
    EachState,
    FineTuning,
    FixedDamping,
    GradientAscent,
    KroneckerInfluence,
    L1Sparse,
    Members,
    Method,
    Modified,
    NegGradPlus,
    Newton,
    NoisyNewton,
    OnStep,
    Relabelling,
    RewindToDelete,
    SaliencyUnlearning,
    Scrub,
    ShardRound,
    Unsir,
)
from unlearnkit.approximate.optimise import tune, tuning_job, visits_of
from unlearnkit.approximate.stored_states import modified, sizes_of, stored_states_of
from unlearnkit.store.checkpoint import State
from unlearnkit.training.clock import Batches
from unlearnkit.training.plan import Plan

# Methods that correct every stored state by itself.
OWN = EachState | RewindToDelete | FineTuning | Newton | NoisyNewton
PUBLISHED, HERE = "as published", "as here"
FORMS = (PUBLISHED, HERE)

GRID: dict[str, list[Method]] = {
    "fixed-damping": [EachState(FixedDamping(d)) for d in (0.3, 0.03, 0.1, 1.0, 3.0)],
    "kfac": [EachState(KroneckerInfluence(d)) for d in (300.0, 30.0, 3.0, 3000.0)],
    "fine-tuning": [FineTuning(p, r) for p, r in ((1, 1.0), (1, 0.1), (3, 0.3), (3, 1.0))],
    "gradient-ascent": [
        EachState(GradientAscent(s, r))
        for s, r in ((5, 0.1), (1, 0.1), (1, 0.03), (5, 0.3), (10, 0.3), (10, 1.0))
    ],
    "neggrad-plus": [
        EachState(NegGradPlus(w, 1, r)) for w, r in product((0.1, 0.05, 0.3), (0.3, 0.1, 1.0))
    ],
    "scrub": [EachState(Scrub(a, 1.0, 2, 3, r)) for a, r in product((0.1, 1.0), (0.3, 0.1, 1.0))],
    "ssd": [
        EachState(Dampening(a, x)) for a, x in ((2.0, 1.0), (5.0, 1.0), (10.0, 1.0), (1.2, 1.0))
    ],
    "amnesiac-relabelling": [EachState(Relabelling(1, r)) for r in (0.1, 0.03, 0.01, 0.3)],
    "salun": [
        EachState(SaliencyUnlearning(m, 1.0, 1, r))
        for m, r in product((0.5, 0.1, 1.0), (0.1, 0.03, 0.01))
    ],
    "bad-teacher": [
        EachState(BadTeacher(t, 1, r)) for t, r in product((1.0, 4.0), (0.1, 0.03, 0.3, 1.0))
    ],
    "l1-sparse": [EachState(L1Sparse(g, 2, r)) for g, r in product((1e-3, 1e-4, 1e-2), (1.0, 0.3))],
    "unsir": [
        EachState(Unsir(impair_rate=i, repair_rate=r))
        for i, r in product((0.1, 0.01, 0.3), (0.1, 1.0))
    ],
    "rewind-to-delete": [RewindToDelete(back) for back in (1, 2, 3)],
    "deltagrad": [AlongTraining(DeltaGrad(p)) for p in (20, 10)],
}

NAMES = {
    "staged-influence": "staged influence (ours)",
    "last-layer-influence": "staged influence of the last layer (ours)",
    "fixed-damping": "influence with fixed damping",
    "kfac": "K-FAC influence",
    "fine-tuning": "fine-tuning",
    "gradient-ascent": "gradient ascent",
    "neggrad-plus": "NegGrad+",
    "scrub": "SCRUB",
    "ssd": "SSD",
    "amnesiac-relabelling": "Amnesiac relabelling",
    "salun": "SalUn",
    "bad-teacher": "Bad Teacher",
    "l1-sparse": "l1-sparse",
    "unsir": "UNSIR",
    "rewind-to-delete": "Rewind-to-Delete",
    "single-gradient": "single gradient",
    "deltagrad": "DeltaGrad",
    "newton": "Newton with a certificate",
    "noisy-newton": "Newton with calibrated noise",
}


def follows_training(name: str) -> bool:
    """Whether a method goes through the whole training, and so has no form for the final model."""
    return name in ("staged-influence", "last-layer-influence", "single-gradient", "deltagrad")


@dataclass(frozen=True)
class FinalAlone:
    """A method on the final state alone, which leaves all other stored states as they are.

    Attributes:
        method: the method, which corrects every stored state by itself.
    """

    method: Method

    def __call__(self, rounds: Sequence[ShardRound], *, on_progress: OnStep) -> list[Modified]:
        """Correct the final state of each shard."""
        found = []
        for given in rounds:
            on_progress(f"shard {given.state.shard}", 0.0)
            state, visits = self._final(given)
            stored, last = stored_states_of(given), len(given.state.chain)
            states = {each.name: each.state for each in stored} | {stored[-1].name: state}
            changed = modified(given, stored, states, visits)
            found.append(replace(changed, checkpoints={last: changed.checkpoints[last]}))
        return found

    def _final(self, given: ShardRound) -> tuple[State, int]:
        stored, plan, method = stored_states_of(given)[-1], given.state.plan, self.method
        if isinstance(method, EachState):
            return method.rule(given, stored)
        if isinstance(method, RewindToDelete):
            return method.rewound(given, stored.stage)
        if isinstance(method, FineTuning):
            job = tuning_job(plan, given.state.shard, stored.stage, stored.state, method.passes)
            return tune(plan, [job], method.rate)[0].state, visits_of(job)
        if isinstance(method, NoisyNewton):
            state, _, visits = method.released(given, stored)
        else:
            assert isinstance(method, Newton)
            state, _, visits = method.minimise(given, stored)
        return state, visits

    def visits(self, plan: Plan, shard: int, forget: Members) -> int:
        """Return the visits for all stored states, which are more."""
        return self.method.visits(plan, shard, forget)

    def batches(self, plan: Plan, forget: Mapping[int, Members]) -> Batches:
        """Return the work for all stored states, divided by their number."""
        whole = self.method.batches(plan, forget)
        count = sum(len(sizes_of(plan, shard, members)) for shard, members in forget.items())
        share = len(forget) / max(1, count)
        return Batches(whole.shards, round(whole.batches * share), round(whole.visits * share))

    def unsuitable(self, plan: Plan) -> str:
        """Return why the method does not suit a plan, or ""."""
        return self.method.unsuitable(plan)


def in_form(method: Method, form: str) -> Method:
    """Return a method in its published form, or as it is here."""
    own = isinstance(method, OWN)
    return FinalAlone(method) if form == PUBLISHED and own else method
