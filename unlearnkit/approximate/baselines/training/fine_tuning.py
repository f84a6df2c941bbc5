"""Fine-tuning: a little more training on the retained examples, as a method.

Most papers on unlearning use this baseline (an early one is Golatkar et al. 2020, Eternal Sunshine
of the Spotless Net). Further training on the retain set gradually overwrites the effect of the
forget set.

The last epochs of each stage are trained once more by the training kernel, with its keyed batches
and a reset optimizer, but starting from the end of the stage. Deviation from the source: each
stored state is tuned separately, on the slices up to its stage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearnkit.approximate.buffers import RunningStatistics
from unlearnkit.approximate.optimise import tune, tuning_job, visits_of
from unlearnkit.approximate.protocol import Members, Modified, OnStep, ShardRound
from unlearnkit.approximate.stored_states import (
    initial_state,
    modified,
    sizes_of,
    stored_states_of,
)
from unlearnkit.store.checkpoint import State
from unlearnkit.training.clock import Batches
from unlearnkit.training.plan import Plan


@dataclass(frozen=True)
class FineTuning:
    """Train every stored state for a few more epochs on the retained examples.

    Attributes:
        passes: passes over the retained examples, limited to the epochs of the stage.
        rate: multiple of the training's learning rate.
    """

    passes: int = 1
    rate: float = 1.0

    def __call__(self, rounds: Sequence[ShardRound], *, on_progress: OnStep) -> list[Modified]:
        """See :class:`~unlearnkit.approximate.protocol.Method`."""
        if not rounds:
            return []
        plan = rounds[0].state.plan
        stored_states = [stored_states_of(each) for each in rounds]
        states: list[dict[str, State]] = [{} for _ in rounds]
        visits = [0] * len(rounds)
        # A kernel identifies jobs by shard and stage, so it trains one state of a shard at a time.
        # States of different shards at the same position from the end are trained together.
        most = max(map(len, stored_states))
        for number in range(most):
            on_progress(f"fine-tuning stored states, {most - number} to go", number / most)
            jobs, owners = [], {}
            for i, (each, own) in enumerate(zip(rounds, stored_states, strict=True)):
                if number >= len(own):
                    continue
                stored = own[len(own) - 1 - number]
                if not len(stored.retain):
                    states[i][stored.name] = initial_state(each)
                    continue
                jobs.append(
                    tuning_job(plan, each.state.shard, stored.stage, stored.state, self.passes)
                )
                owners[each.state.shard] = i, stored
                visits[i] += visits_of(jobs[-1])
            for done in tune(plan, jobs, self.rate):
                i, stored = owners[done.shard]
                states[i][stored.name] = done.state
        for each, own, found in zip(rounds, stored_states, states, strict=True):
            statistics = RunningStatistics(each)
            for stored in own:
                if len(stored.retain):
                    found[stored.name] = statistics.correct(stored.name, found[stored.name])
        return [
            modified(each, own, found, spent)
            for each, own, found, spent in zip(rounds, stored_states, states, visits, strict=True)
        ]

    def visits(self, plan: Plan, shard: int, forget: Members) -> int:
        """Count the passes over the retained examples of every stored state."""
        return self._planned(plan, shard, forget)[1]

    def batches(self, plan: Plan, forget: Mapping[int, Members]) -> Batches:
        """Count the training batches of every stored state."""
        return Batches.total(self._planned(plan, shard, own) for shard, own in forget.items())

    def _planned(self, plan: Plan, shard: int, forget: Members) -> tuple[int, int]:
        sizes = sizes_of(plan, shard, forget)
        steps, visits = sum(size.steps for size in sizes), sum(size.retain for size in sizes)
        return self.passes * steps, self.passes * visits

    def unsuitable(self, plan: Plan) -> str:
        """Accept every plan."""
        return ""
