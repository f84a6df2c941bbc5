"""Fine-tuning: a little more training on the retained examples, as a method or as an amend.

A baseline of nearly every paper on unlearning (Golatkar et al. 2020, Eternal Sunshine of the
Spotless Net, is an early one): the forget set fades, as far as the rest overwrites it.

Here it is the last epochs of each stage once more, by the kernel of training, with its keyed
batches and a fresh optimizer, but from where the stage ended. How it deviates: each stored state is
tuned by itself, on the slices until its stage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from unlearnkit.approximate.protocol import Amended, Members, Modified, OnStep, ShardRound
from unlearnkit.approximate.stored_states import (
    modified,
    sizes_of,
    stored_states_of,
    untrained,
    with_buffers,
)
from unlearnkit.store import Checkpoint
from unlearnkit.store.checkpoint import State
from unlearnkit.training.clock import Batches
from unlearnkit.training.kernels import run_jobs
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import Job, make_job


@dataclass(frozen=True)
class FineTuning:
    """Every stored state, trained on.

    Attributes:
        passes: over the retained examples, at most the epochs of the stage.
        rate: learning rate, in units of training's.
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
        # Of the states of one shard none is trained beside another: a kernel tells jobs by shard
        # and stage. Those at the same place from the end go together.
        most = max(map(len, stored_states))
        for number in range(most):
            on_progress(f"fine-tuning stored states, {most - number} to go", number / most)
            jobs, owners = [], {}
            for i, (each, own) in enumerate(zip(rounds, stored_states, strict=True)):
                if number >= len(own):
                    continue
                stored = own[len(own) - 1 - number]
                if not len(stored.retain):
                    states[i][stored.name] = untrained(each)
                    continue
                jobs.append(
                    tuning_job(plan, each.state.shard, stored.stage, stored.state, self.passes)
                )
                owners[each.state.shard] = i, stored
                visits[i] += visits_of(jobs[-1])
            for done in tune(plan, jobs, self.rate):
                i, stored = owners[done.shard]
                states[i][stored.name] = with_buffers(rounds[i], stored, done.state)
        return [
            modified(each, own, found, spent)
            for each, own, found, spent in zip(rounds, stored_states, states, visits, strict=True)
        ]

    def visits(self, plan: Plan, shard: int, forget: Members) -> int:
        """Passes over the retained examples of every stored state."""
        return self._planned(plan, shard, forget)[1]

    def batches(self, plan: Plan, forget: Mapping[int, Members]) -> Batches:
        """Batches of training."""
        planned = [self._planned(plan, shard, members) for shard, members in forget.items()]
        return Batches(len(planned), sum(b for b, _ in planned), sum(v for _, v in planned))

    def _planned(self, plan: Plan, shard: int, forget: Members) -> tuple[int, int]:
        sizes = sizes_of(plan, shard, forget)
        steps, visits = sum(size.steps for size in sizes), sum(size.retain for size in sizes)
        return self.passes * steps, self.passes * visits

    def unsuitable(self, plan: Plan) -> str:
        """Nothing is."""
        return ""


@dataclass(frozen=True)
class FineTune:
    """The modified final state, trained on: as an amend.

    Attributes:
        passes: over the retained examples, at most the epochs of stage R.
        rate: learning rate, in units of training's.
    """

    passes: int = 1
    rate: float = 1.0

    def epochs(self, plan: Plan) -> int:
        """The passes."""
        return min(self.passes, plan.spec.stage_epochs()[-1])

    def longer(self, plan: Plan) -> None:
        """Nothing: more of it leads away from training from scratch rather than closer."""
        return None

    def __call__(
        self, rounds: Sequence[ShardRound], modified: Sequence[Modified], *, on_progress: OnStep
    ) -> list[Amended]:
        """See :class:`~unlearnkit.approximate.protocol.Amend`."""
        if not rounds:
            return []
        plan, last = rounds[0].state.plan, len(rounds[0].state.chain)
        on_progress("fine-tuning the final states", 0.0)
        jobs = [
            tuning_job(plan, each.state.shard, last, found.checkpoints[last].state, self.passes)
            for each, found in zip(rounds, modified, strict=True)
        ]
        tuned = {done.shard: done.state for done in tune(plan, jobs, self.rate)}
        return [
            Amended(
                replace(found.checkpoints[last], state=tuned[job.shard]),
                self.epochs(plan),
                visits_of(job),
                len(job),
            )
            for found, job in zip(modified, jobs, strict=True)
        ]


def tuning_job(plan: Plan, shard: int, stage: int, start: State, passes: int) -> Job:
    """The last epochs of a stage, from a state of one's own."""
    planned = plan.chains[shard][stage - 1]
    return make_job(plan, [planned], start, max(0, planned.epochs - passes))


def tune(plan: Plan, jobs: Sequence[Job], rate: float) -> list[Checkpoint]:
    """Train jobs of different shards at a multiple of training's learning rate."""
    spec = plan.spec.with_(learning_rate=rate * plan.spec.learning_rate)
    return run_jobs(replace(plan, spec=spec), jobs)


def visits_of(job: Job) -> int:
    """Example gradients of a job."""
    return int((job.rows >= 0).sum())
