"""Amplification: how much training multiplies a small change of the initial weights.

A shard is trained twice, the second time with normal noise of standard deviation 1e-4 added to each
initial weight. The amplification is the relative change of the outputs, divided by 1e-4. Where it
is high, training is chaotic: a correction that was computed for one trajectory says little about
the retrained one, whatever the method. It belongs to the training setting and not to a request, so
it can be measured before anything is revoked. (The measure was devised for unlearnkit.)
"""

import math
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from unlearnkit.display import as_html
from unlearnkit.models.architecture import Architecture
from unlearnkit.progress import Progress, ProgressEvent, Run, running
from unlearnkit.seeding import torch_generator
from unlearnkit.store import Store, StoreError
from unlearnkit.store.checkpoint import Checkpoint, State
from unlearnkit.torch_settings import own_settings
from unlearnkit.training.door import try_module
from unlearnkit.training.kernels import run_jobs
from unlearnkit.training.kernels.finite import NotFiniteError
from unlearnkit.training.plan import Plan, make_plan
from unlearnkit.training.schedule import Job, Mark, make_job
from unlearnkit.unlearning.inspection import PROBE_MAX, Probe

if TYPE_CHECKING:
    import pandas as pd

CHANGE = 1e-4  # standard deviation of the noise
DOUBTFUL, CHAOTIC = 10.0, 12.0  # between these, approximations begin to remove less than REMOVED
REMOVED = 0.6  # share of the gap of doing nothing


@dataclass(frozen=True)
class Amplification:
    """How much the training of a shard multiplies a small change of its initial weights.

    Attributes:
        shard: the shard that was trained, 0-based.
        learning_rate: the learning rate of the plan.
        value: relative change of the outputs, in units of the standard deviation of the noise on
            the initial weights; infinite if the training did not stay finite.
        at_rates: pairs of another learning rate and the value there.
    """

    shard: int
    learning_rate: float
    value: float
    at_rates: tuple[tuple[float, float], ...] = ()

    @property
    def is_chaotic(self) -> bool:
        """Whether approximations can be expected to remove little of the gap."""
        return self.value > CHAOTIC

    @property
    def sentence(self) -> str:
        """Describe the result in words.

        >>> print(Amplification(0, 0.03, 34.0, ((0.01, 7.9),)).sentence)
        This training is chaotic (34): noise of 0.0001 on its initial weights changes the outputs \
by 34 times as much, 0.34 %. Above about 10 to 12, approximations removed less than 0.6 of the gap \
in our measurements. A smaller learning rate or a smaller batch lowers it; at a learning rate of \
0.01 it is 7.9.
        """
        size = times(self.value)
        if not math.isfinite(self.value):
            met = "This training does not stay finite, so that nothing can be approximated."
        else:
            side, less = (
                (f"Above about {DOUBTFUL:g} to {CHAOTIC:g}", "less")
                if self.value > DOUBTFUL
                else (f"Up to about {DOUBTFUL:g}", "more")
            )
            met = (
                f"This training is {chaos_of(self.value)} ({size}): noise of {CHANGE:g} on its "
                f"initial weights changes the outputs by {size} times as much, "
                f"{100 * CHANGE * self.value:.2g} %. "
                f"{side}, approximations removed {less} than {REMOVED} of the gap in our "
                "measurements."
            )
        rates = ", ".join(f"{times(value)} at {rate:g}" for rate, value in self.at_rates)
        if len(self.at_rates) == 1:
            rate, value = self.at_rates[0]
            rates = f"at a learning rate of {rate:g} it is {times(value)}"
        elif rates:
            rates = f"at other learning rates it is {rates}"
        if self.value > DOUBTFUL:
            advice = "A smaller learning rate or a smaller batch lowers it"
            return f"{met} {advice}{'; ' if rates else ''}{rates}."
        return f"{met} {rates[0].upper()}{rates[1:]}." if rates else met

    def __repr__(self) -> str:
        return f"Amplification({times(self.value)} in shard {self.shard}: {self.sentence})"

    def to_frame(self) -> "pd.DataFrame":
        """One row per learning rate, that of the plan first: shard, learning rate, value."""
        import pandas as pd

        rows = [(self.learning_rate, self.value), *self.at_rates]
        columns = ["shard", "learning_rate", "amplification"]
        return pd.DataFrame([(self.shard, *row) for row in rows], columns=columns)

    def _repr_html_(self) -> str:
        return f"<p>{self.sentence}</p>{as_html(self)}"


@own_settings()
def amplification(
    plan: Plan,
    store: Store,
    probe: Probe | None = None,
    *,
    shard: int | None = None,
    rates: Iterable[float] = (),
    on_progress: Progress = None,
    cancel: threading.Event | None = None,
) -> Amplification:
    """Measure how much the training of one shard multiplies a change of its initial weights.

    The call trains the shard once from changed initial weights, which costs one S-th of training,
    and once as planned unless its exact model is in the store. For every further learning rate it
    trains the shard twice. Nothing is stored.

    Args:
        plan: the plan of the training.
        store: may hold the shard's exact model; it is only read.
        probe: the examples on which outputs are compared; without any, the first retained examples
            of the shard are used.
        shard: the shard to train; by default the first one whose exact model is in the store, else
            the first one with examples.
        rates: further learning rates at which to measure, each once.
        on_progress: gets events of the training; True shows a progress bar, False none.
        cancel: setting this event stops the training.

    Raises:
        KeyError: there is no such shard, or it has no examples.
        ValueError: a learning rate is not above 0.
        Cancelled: the training was stopped.
    """
    living = [s for s in range(plan.num_shards) if plan.alive(s)]
    if shard is None:
        shard = default_shard(plan, store)
    if shard not in living:
        raise KeyError(f"no shard {shard!r} has examples; the shards with examples are {living}")
    further = [rate for rate in dict.fromkeys(rates) if rate != plan.spec.learning_rate]
    others = [_at_rate(plan, float(rate)) for rate in further]
    if probe is None or not len(probe.inputs):
        rows = plan.partition.shard_rows(shard)
        ids = plan.partition.ids[rows[plan.retained[rows]]][:PROBE_MAX]
        probe = Probe(plan.architecture, plan.spec.loss, *plan.examples[ids])
    known = _stored(plan, store, shard)
    try_module(plan)
    with running(on_progress, cancel) as run:
        count = 2 * (1 + len(others)) - (known is not None)
        trial = _Trial(shard, probe, run, count * sum(st.visits for st in plan.chains[shard]))
        value = trial.amplification(plan, known)
        found = tuple((each.spec.learning_rate, trial.amplification(each)) for each in others)
    return Amplification(shard, plan.spec.learning_rate, value, found)


def default_shard(plan: Plan, store: Store) -> int:
    """Return the first shard whose exact model is stored, else the first one with examples."""
    living = [shard for shard in range(plan.num_shards) if plan.alive(shard)]
    return next((shard for shard in living if plan.final_key(shard) in store), living[0])


def visits_of(plan: Plan, store: Store, shard: int) -> int:
    """Return the example gradients that measuring in a shard takes, at the plan's own rate."""
    once = sum(stage.visits for stage in plan.chains[shard])
    return once if plan.final_key(shard) in store else 2 * once


def perturbed(architecture: Architecture, initial: State, generator: torch.Generator) -> State:
    """Return the weights with normal noise of standard deviation ``CHANGE`` added to each."""
    moved = {}
    for name in architecture.trainable_names:
        tensor = initial[name]
        noise = torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
        moved[name] = tensor + CHANGE * noise
    return architecture.moved(initial, moved)


class _Trial:
    """Trains one shard several times, and compares the outputs."""

    def __init__(self, shard: int, probe: Probe, run: Run, total: int) -> None:
        self.shard, self.probe, self.run = shard, probe, run
        self.done, self.total = 0, total

    def amplification(self, plan: Plan, known: State | None = None) -> float:
        """Measure under one plan; ``known`` is the shard's final state if it need not be trained.

        Returns:
            The amplification; infinite if the training did not stay finite.
        """
        seed = plan.spec.seed
        initial = plan.architecture.initial(seed, self.shard)
        generator = torch_generator(seed, "amplification", self.shard)
        try:
            reference = self._trained(plan, initial) if known is None else known
            start = perturbed(plan.architecture, initial, generator)
            first, second = self.probe.outputs([reference, self._trained(plan, start)]).double()
        except NotFiniteError:
            return math.inf
        change = float((second - first).norm() / first.norm().clamp_min(1e-30))
        return change / CHANGE if math.isfinite(change) else math.inf

    def _trained(self, plan: Plan, start: State) -> State:
        """Train the shard from these weights, and return its final state."""

        def on_epoch(job: Job, mark: Mark, loss: float | None) -> None:
            stage = mark.stage
            self.done += stage.visits // stage.epochs
            at = (stage.shard, stage.index, self.done, self.total, loss)
            self.run.on_progress(ProgressEvent("train", *at, mark.number, stage.epochs))

        last = deque[Checkpoint](maxlen=1)
        job = make_job(plan, plan.chains[self.shard], start)
        run_jobs(plan, [job], keep=last.append, on_epoch=on_epoch, run=self.run)
        return last[0].state


def _at_rate(plan: Plan, rate: float) -> Plan:
    """Return the plan with another learning rate."""
    return make_plan(
        plan.examples,
        plan.architecture,
        replace(plan.spec, learning_rate=rate),
        partition=plan.partition,
        revoked=plan.partition.ids[~plan.retained],
    )


def _stored(plan: Plan, store: Store, shard: int) -> State | None:
    """Return the final state of the shard's exact model, or None if it is not stored."""
    key = plan.final_key(shard)
    try:
        return store.get(key).state if key in store else None
    except (KeyError, StoreError):  # another thread has unlearned meanwhile
        return None


def chaos_of(value: float) -> str:
    """Say in words how chaotic a training with this amplification is.

    >>> chaos_of(34.0), chaos_of(11.0), chaos_of(5.0)
    ('chaotic', 'close to chaotic', 'not chaotic')
    """
    if value > CHAOTIC:
        return "chaotic"
    return "close to chaotic" if value > DOUBTFUL else "not chaotic"


def times(value: float) -> str:
    """Format an amplification with two digits.

    >>> times(33.7), times(0.5213)
    ('34', '0.52')
    """
    return f"{value:.2g}" if value < 99.5 else f"{value:.0f}"
