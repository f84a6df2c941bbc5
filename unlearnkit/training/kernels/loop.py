"""The per-lane kernel: trains one constituent at a time, for any ``nn.Module``.

The module receives only the surviving examples of a batch, so that batch statistics do not depend
on empty slots.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from unlearnkit.models.dropout import step_context
from unlearnkit.models.state import batch_statistics_layers, get_state
from unlearnkit.progress import Run
from unlearnkit.store.checkpoint import State
from unlearnkit.training.kernels.finite import check_epoch
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
) -> None:
    """Train jobs one after the other.

    Args:
        plan: plan of the retain set.
        jobs: the jobs to train.
        on_mark: called with states and losses at every mark.
        run: stops the training, or pauses it at the end of the current stage, and selects whether
            the loss is measured in every epoch or in the last epoch of each stage only.

    Raises:
        Cancelled: the run was cancelled; states passed to ``on_mark`` before remain valid.
        NotFiniteError: loss or parameters are not finite at the end of an epoch.
    """
    for job in jobs:
        if run.pausing:
            return
        lane = _Lane(plan, job)
        at = 0
        for mark in job.marks:
            measure = run.losses or mark.is_last_epoch
            lane.run(at, mark.step, measure, run)
            at = mark.step
            if mark.kind == RESET:
                lane.reset()
                on_mark(job, mark, None, None)
            elif mark.kind == EPOCH:
                loss = lane.take_loss() if measure else None
                check_epoch(plan, job.shard, mark, loss, lane.parameters)
                on_mark(job, mark, None, loss)
            elif mark.kind in (TAIL, END):
                state = get_state(lane.module)
                on_mark(job, mark, {name: value.cpu() for name, value in state.items()}, None)
            if mark.kind == END and run.pausing:
                return


class _Lane:
    """A module in training with its shard's retained examples; revoked examples are not read."""

    def __init__(self, plan: Plan, job: Job) -> None:
        rows = plan.partition.shard_rows(job.shard)
        kept = rows[plan.retained[rows]]
        self.spec: TrainSpec = plan.spec
        self.job = job
        self.key = (plan.spec.seed, "mask", job.shard)
        inputs, targets = plan.examples[plan.partition.ids[kept]]
        self.device = plan.device
        self.targets = targets.to(self.device)
        self.module = plan.architecture.module(job.start).train().to(self.device)
        self.last = plan.architecture.is_convolutional and inputs.ndim == 4  # channels last
        if self.last:
            inputs = inputs.permute(0, 2, 3, 1)
            self.module = self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            for layer in self.module.modules():
                if not list(layer.children()):
                    layer.register_forward_hook(_keep_channels_last)
        # Examples are stored as flat rows, from which gathering is faster than in four dimensions.
        self.shape, self.table = inputs.shape[1:], inputs.flatten(1).contiguous().to(self.device)
        # Position of each row in the lane's table; values of empty slots (-1) are never used.
        self.local = np.searchsorted(kept, job.rows)
        self.context = step_context(self.module)
        self.normalising = batch_statistics_layers(self.module)
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.reset()
        self.total, self.count = 0.0, 0

    def reset(self) -> None:
        """Reset the optimizer's state: momentum and counters."""
        sgd = self.spec.optimizer == "sgd"
        self.optimizer = None if sgd else make_optimizer(self.parameters, self.spec)
        self.momentum: dict[int, Tensor] = {}

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
            if self.context is not None:
                key = (*self.key, *self.job.keys[step].tolist())
                self.context.begin_step(
                    torch.from_numpy(slots), int(self.job.num_slots[step]), *key
                )
            outputs, targets = self._step(rows)
            if losses:
                self.total += float(self.spec.loss.value(outputs, targets).sum())
                self.count += len(rows)

    def _step(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        alone = len(rows) == 1
        if alone:  # a single example has no batch statistics: use the running statistics
            for layer in self.normalising:
                layer.eval()
        targets = self.targets[rows]
        inputs = self.table.index_select(0, rows).view(len(rows), *self.shape)
        outputs = self.module(inputs.permute(0, 3, 1, 2) if self.last else inputs)
        fixed = outputs.detach()
        for parameter in self.parameters:
            parameter.grad = None
        outputs.backward(self.spec.loss.output_gradient(fixed, targets) / len(rows))
        self._update()
        if alone:
            for layer in self.normalising:
                layer.train()
        return fixed, targets

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
        used = {i: p for i, p in enumerate(self.parameters) if p.grad is not None}
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


def _keep_channels_last(layer: nn.Module, inputs: object, outputs: object) -> None:
    """Convert the gradient at a layer's image outputs to the channels-last format.

    A flattening layer returns its gradient channels first. Without this copy, all layers before it
    would mix both formats, which is slower.
    """
    if isinstance(outputs, Tensor) and outputs.ndim == 4 and outputs.requires_grad:
        outputs.register_hook(_channels_last)


def _channels_last(gradient: Tensor) -> Tensor:
    return gradient.contiguous(memory_format=torch.channels_last)


@contextmanager
def compute_threads(count: int) -> Iterator[None]:
    """Set torch's number of compute threads, and restore it afterwards.

    Once a thread has asked torch for the number, the setting belongs to that thread; other threads
    neither see nor change it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Make CUDA computations bit-reproducible: deterministic operators only, and no TF32.

    The settings apply to the whole process and are restored afterwards. An operator without a
    deterministic implementation raises torch's error, which names the operator. On a CPU nothing is
    changed.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first use of cuBLAS
    cudnn = torch.backends.cudnn
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.benchmark,
        cudnn.allow_tf32,
    )
    torch.use_deterministic_algorithms(True)
    cudnn.benchmark = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.benchmark, cudnn.allow_tf32 = before[2:]
