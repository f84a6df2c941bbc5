"""The per-lane kernel: trains one constituent at a time, for any ``nn.Module``.

Gradients are computed by a :class:`~unlearnkit.training.kernels.stepper.Stepper`, which creates the
module.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from unlearnkit.models.state import get_state
from unlearnkit.progress import Run
from unlearnkit.store.checkpoint import State
from unlearnkit.training.kernels.finite import check_epoch
from unlearnkit.training.kernels.repeats import NotReproducibleError, Repeats, witness_of
from unlearnkit.training.kernels.stepper import Stepper
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import END, EPOCH, RESET, TAIL, Job, Mark
from unlearnkit.training.spec import TrainSpec

# Called at every mark of a job: with the state at a tail or the end of a stage, and with the mean
# loss at the end of an epoch if it was measured.
OnMark = Callable[[Job, Mark, State | None, float | None], None]


def run_loop(
    plan: Plan,
    jobs: Sequence[Job],
    on_mark: OnMark,
    run: Run = Run(),
    repeats: Repeats | None = None,
) -> None:
    """Train jobs one after the other.

    A foreign module that may remember something outside its state is created anew at the start of
    every stage and at every tail, so that a stage depends on its first state and its batches only.

    Args:
        plan: plan of the retain set.
        jobs: the jobs to train.
        on_mark: called with states and losses at every mark.
        run: stops the training, or pauses it at the end of the current stage, and selects whether
            the loss is measured in every epoch or in the last epoch of each stage only.
        repeats: repeats and compares some of the steps; None for a built-in model.

    Raises:
        Cancelled: the run was cancelled; states passed to ``on_mark`` before remain valid.
        NotFiniteError: loss or parameters are not finite at the end of an epoch.
        NotReproducibleError: a repeated step differed.
    """
    if repeats is not None:
        repeats.begin(jobs)
    for job in jobs:
        if run.pausing:
            return
        lane = _Lane(plan, job, repeats)
        at = 0
        for mark in job.marks:
            measure = run.losses or mark.is_last_epoch
            lane.run(at, mark.step, measure, run)
            at = mark.step
            if mark.kind == RESET:
                lane.listen(mark.step)
                lane.reset(mark)
                on_mark(job, mark, None, None)
            elif mark.kind == EPOCH:
                loss = lane.take_loss() if measure else None
                check_epoch(plan, job.shard, mark, loss, lane.stepper.parameters)
                on_mark(job, mark, None, loss)
            elif mark.kind in (TAIL, END):
                if mark.kind == END:
                    lane.listen(mark.step)
                on_mark(job, mark, lane.state, None)
            if mark.kind == END and run.pausing:
                return


def first_step(plan: Plan, job: Job) -> State:
    """Return the state after the first step of a job."""
    lane = _Lane(plan, job, None)
    lane.reset(next(mark for mark in job.marks if mark.kind == RESET))
    lane.run(0, 1, False, Run())
    return lane.state


class _Lane:
    """A module in training with its shard's retained examples; revoked examples are not read."""

    def __init__(self, plan: Plan, job: Job, repeats: Repeats | None) -> None:
        rows = plan.partition.shard_rows(job.shard)
        kept = rows[plan.retained[rows]]
        self.plan, self.spec, self.job = plan, plan.spec, job
        self.repeats = repeats
        self.key = (plan.spec.seed, "mask", job.shard)
        inputs, targets = plan.examples[plan.partition.ids[kept]]
        self.device = plan.device
        self.targets = targets.to(self.device)
        self.start, self.created, self.fresh = job.start, 0, True
        self.stepper = self._new(self.start)
        self.last = self.stepper.channels_last
        if self.last:
            inputs = inputs.permute(0, 2, 3, 1)
        # Examples are stored as flat rows, from which gathering is faster than in four dimensions.
        self.shape, self.table = inputs.shape[1:], inputs.flatten(1).contiguous().to(self.device)
        # Position of each row in the lane's table; values of empty slots (-1) are never used.
        self.local = np.searchsorted(kept, job.rows)
        self.witnessed: Mark | None = None  # start of a stage whose first step is a witness
        self.total, self.count = 0.0, 0

    def _new(self, state: State) -> Stepper:
        return Stepper(self.plan.architecture, state, self.spec.loss, self.device)

    @property
    def state(self) -> State:
        """A copy of the current state, on the CPU."""
        state = get_state(self.stepper.module)
        return {name: value.cpu() for name, value in state.items()}

    def reset(self, mark: Mark) -> None:
        """Reset the optimizer, and whatever a foreign module remembers outside its state."""
        if self.plan.architecture.foreign and not self.fresh:
            self.start, self.created, self.fresh = get_state(self.stepper.module), mark.step, True
            if self.stepper.remembers():
                self.stepper = self._new(self.start)
        sgd = self.spec.optimizer == "sgd"
        self.optimizer = None if sgd else make_optimizer(self.stepper.parameters, self.spec)
        self.momentum: dict[int, Tensor] = {}
        self.witnessed = mark if self.repeats is not None and mark.begins_stage else None

    def listen(self, step: int) -> None:
        """Repeat the steps since the module was created if random numbers were drawn since then."""
        repeats = self.repeats
        if repeats is None:
            return
        if step == self.created:
            repeats.hear()
        elif repeats.suspects():
            again = _Lane(self.plan, replace(self.job, origin=self.start), None)
            again.reset(Mark(self.created, RESET, self.job.marks[0].stage))
            again.run(self.created, step, False, Run())
            repeats.compare_states(self.state, again.state, step - self.created)
            repeats.hear()  # the repetition may have drawn numbers too

    def take_loss(self) -> float:
        """Return the mean loss since the last call."""
        mean = self.total / self.count if self.count else 0.0
        self.total, self.count = 0.0, 0
        return mean

    def run(self, begin: int, end: int, losses: bool, run: Run) -> None:
        for step in range(begin, end):
            run.check()
            slots = np.flatnonzero(self.job.rows[step] >= 0)
            rows = torch.from_numpy(self.local[step][slots]).to(self.device)
            inputs = self.table.index_select(0, rows).view(len(rows), *self.shape)
            inputs = inputs.permute(0, 3, 1, 2) if self.last else inputs
            targets, repeats, twin = self.targets[rows], self.repeats, None
            if repeats is not None and repeats.wants(self.job, step):
                twin = self.stepper.twin()
            outputs = self._gradients(self.stepper, step, slots, inputs, targets)
            if repeats is not None and twin is not None:
                again = self._gradients(twin, step, slots, inputs.clone(), targets)
                self._compare(repeats, twin, step, (outputs, again))
            self._update()
            if repeats is not None and self.witnessed is not None:
                repeats.witnesses[self.witnessed.stage.key] = witness_of(self.state)
                self.witnessed = None
            if losses:
                self.total += float(self.spec.loss.value(outputs, targets).sum())
                self.count += len(rows)
            self.fresh = False

    def _gradients(
        self,
        stepper: Stepper,
        step: int,
        slots: np.ndarray,
        inputs: Tensor,
        targets: Tensor,
    ) -> Tensor:
        if stepper.context is not None:
            key = (*self.key, *self.job.keys[step].tolist())
            stepper.context.begin_step(torch.from_numpy(slots), int(self.job.num_slots[step]), *key)
        return stepper.gradients(inputs, targets)

    def _compare(
        self, repeats: Repeats, twin: Stepper, step: int, outputs: tuple[Tensor, Tensor]
    ) -> None:
        try:
            repeats.compare(self.stepper, twin, outputs)
        except NotReproducibleError as error:
            stage, epoch, batch = self.job.keys[step].tolist()
            error.add_note(
                f"found in shard {self.job.shard}, stage {stage}, epoch {epoch + 1}, batch "
                f"{batch + 1}, with {len(outputs[0])} examples"
            )
            raise

    @torch.no_grad()
    def _update(self) -> None:
        """Take an optimizer step.

        SGD is written out with the operations of ``torch.optim.SGD`` and gives the same bits, but
        avoids the optimizer's overhead, which is noticeable for small networks.
        """
        if self.optimizer is not None:
            self.optimizer.step()
            return
        spec = self.spec
        used = {i: p for i, p in enumerate(self.stepper.parameters) if p.grad is not None}
        parameters: list[Tensor] = list(used.values())
        steps = [p.grad for p in used.values() if p.grad is not None]
        if spec.weight_decay:
            steps = list(torch._foreach_add(steps, parameters, alpha=spec.weight_decay))
        if spec.momentum:
            known = [i for i in used if i in self.momentum]
            if known:
                buffers = [self.momentum[i] for i in known]
                torch._foreach_mul_(buffers, spec.momentum)
                fresh = [step for i, step in zip(used, steps, strict=True) if i in self.momentum]
                torch._foreach_add_(buffers, fresh)
            for i, step in zip(used, steps, strict=True):
                if i not in self.momentum:
                    self.momentum[i] = step.clone()
            steps = [self.momentum[i] for i in used]
        torch._foreach_add_(parameters, steps, alpha=-spec.learning_rate)


def make_optimizer(parameters: list[nn.Parameter], spec: TrainSpec) -> torch.optim.Optimizer:
    """Return a new optimizer for a spec; ``foreach`` gives the same bits as the plain loop."""
    rate, decay = spec.learning_rate, spec.weight_decay
    if spec.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, rate, momentum=spec.momentum, weight_decay=decay, foreach=True
        )
    kind = torch.optim.Adam if spec.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, rate, weight_decay=decay, foreach=True)
