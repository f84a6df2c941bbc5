"""The stacked-lane kernel: all shards of a run in lockstep, by hand-written batched products.

For multi-layer perceptrons and logistic regression. A *lane* is one constituent in training: one
row of parameters, one row each of optimizer state. A step does the next batch of every lane at
once. Lanes are sorted by the steps they have left, so those still active are always a prefix.

A lane's bits do not depend on which lanes run beside it. For that, every piece of a row starts on a
64-byte boundary and every width is padded to a multiple of 16 floats with zero weights, and a batch
always has the same number of rows, whatever is revoked: empty slots read a zero row and weigh 0.
(Measured: without the padding, products of several lanes differ from single ones in the last bit.)
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from unlearnkit.kernels.loop import OnMark
from unlearnkit.losses import CrossEntropy
from unlearnkit.models import Stack, State
from unlearnkit.plan import Plan
from unlearnkit.progress import check_cancelled
from unlearnkit.schedule import END, EPOCH, RESET, TAIL, Job, Mark
from unlearnkit.seeding import derive
from unlearnkit.spec import TrainSpec

UNIT = 16  # floats in 64 bytes
GROUP_BYTES = 512 << 20  # data of the lanes that run together, at most (but for one lane)
# Gets steps of one lane run alone, their seconds, and the seconds of the whole measurement.
OnProbe = Callable[[int, float, float], None]
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's, as in torch.optim


class Layout:
    """Where weights and biases sit in a lane's row: [W1 | b1 | W2 | b2 | ...], W as (in, out)."""

    def __init__(self, stack: Stack) -> None:
        """Lay out a stack of linear layers."""
        self.stack = stack
        self.widths = (stack.widths[0], *(_padded(w) for w in stack.widths[1:]))
        self.offsets: list[int] = []
        self.shapes: list[tuple[int, int]] = []
        at = 0
        for inner, outer in pairwise(self.widths):
            for shape in ((inner, outer), (1, outer)):
                self.offsets.append(at)
                self.shapes.append(shape)
                at += _padded(shape[0] * shape[1])
        self.size = at

    def pieces(self, rows: Float[Tensor, "lane float"]) -> list[Tensor]:
        """Views (lane, in, out) and (lane, 1, out) of the pieces of some rows."""
        lanes, start = len(rows), rows.storage_offset()
        return [
            rows.as_strided((lanes, *shape), (rows.stride(0), shape[1], 1), start + offset)
            for offset, shape in zip(self.offsets, self.shapes, strict=True)
        ]

    def write(self, state: State, row: Float[Tensor, " float"]) -> None:
        """Put a state into a row of zeros."""
        pieces = self.pieces(row.unsqueeze(0))
        for i, name in enumerate(self.stack.linears):
            weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
            outer, inner = weight.shape
            pieces[2 * i][0, :inner, :outer] = weight.T
            pieces[2 * i + 1][0, 0, :outer] = bias

    def read(self, row: Float[Tensor, " float"]) -> State:
        """A copy of the state in a row, without padding."""
        pieces, state = self.pieces(row.unsqueeze(0)), {}
        for i, name in enumerate(self.stack.linears):
            inner, outer = self.stack.widths[i], self.stack.widths[i + 1]
            weight = pieces[2 * i][0, :inner, :outer].T
            state[f"{name}.weight"] = weight.clone(memory_format=torch.contiguous_format)
            state[f"{name}.bias"] = pieces[2 * i + 1][0, 0, :outer].clone()
        return state


def run_stacked(
    plan: Plan,
    jobs: Sequence[Job],
    on_mark: OnMark,
    *,
    losses: bool = True,
    cancel: threading.Event | None = None,
    group: int | None = None,
    on_probe: OnProbe | None = None,
) -> None:
    """Train jobs in lockstep. Arguments as for the per-lane kernel.

    Args:
        plan: of the retain set.
        jobs: what to train.
        on_mark: gets states and losses.
        losses: measure the training loss of every epoch; else of the last of each stage only.
        cancel: stops the run when set.
        group: lanes that run together, at most; the result does not depend on it.
        on_probe: gets what a few steps of one lane took, which are run for it and then undone.
    """
    stack = plan.architecture.stack
    if stack is None:
        raise TypeError(f"{plan.architecture} is no stack of linear layers; use the loop kernel")
    ordered = sorted(jobs, key=lambda job: (-len(job), job.shard))
    for some in _groups(plan, ordered, group):
        lanes = _Group(plan, stack, some)
        if on_probe is not None and len(some) > 1:
            lanes.time_one(on_probe)
            on_probe = None
        lanes.run(on_mark, losses, cancel)


class _Group:
    """Lanes that run together."""

    def __init__(self, plan: Plan, stack: Stack, jobs: Sequence[Job]) -> None:
        self.plan, self.stack, self.jobs = plan, stack, jobs
        self.spec: TrainSpec = plan.spec
        self.layout = Layout(stack)
        self.slots = _padded(self.spec.batch_size)
        extra = {"sgd": 1, "adam": 3, "adamw": 3}[self.spec.optimizer]
        self.rows = torch.zeros(1 + extra, len(jobs), self.layout.size)
        for lane, job in enumerate(jobs):
            self.layout.write(job.start, self.rows[0, lane])
        self.counts = torch.zeros(len(jobs), 1)  # steps since the last reset, for Adam
        self.index, self.weights, self.inputs, self.targets = _tables(plan, jobs, self.slots)
        self.totals = torch.zeros(len(jobs), dtype=torch.float64)
        self.seen = np.zeros(len(jobs), np.int64)
        self.generator, self.minus_one = torch.Generator(), torch.tensor(-1.0)
        self.active = -1

    def run(self, on_mark: OnMark, losses: bool, cancel: threading.Event | None) -> None:
        calendar: dict[int, list[tuple[int, Mark]]] = {}
        for lane, job in enumerate(self.jobs):
            for mark in job.marks:
                calendar.setdefault(mark.step, []).append((lane, mark))
        lengths = [len(job) for job in self.jobs]
        measured = self._measured(losses)
        active = len(self.jobs)
        for step in range(lengths[0] + 1):
            for lane, mark in calendar.get(step, ()):
                self._reach(lane, mark, on_mark, losses)
            while active and lengths[active - 1] <= step:
                active -= 1
            if not active:
                break
            check_cancelled(cancel)
            self._step(step, active, bool(measured[step]))

    def time_one(self, on_probe: OnProbe, steps: int = 5, warm: int = 2) -> None:
        """Time a few steps of the first lane alone, and put it back where it was."""
        begun = time.perf_counter()
        last = min(warm + steps, len(self.jobs[0]))
        measured = self._measured(False).mean()  # as often as in the run itself
        at = []
        for step in range(last):
            at.append(time.perf_counter())
            self._step(step, 1, step < warm + measured * steps)
        at.append(time.perf_counter())
        self.rows[:, 0].zero_()
        self.layout.write(self.jobs[0].start, self.rows[0, 0])
        self.counts[0], self.totals[0], self.seen[0] = 0, 0, 0
        taken = np.diff(at)[min(warm, last - 1) :]
        on_probe(len(taken), float(np.median(taken)) * len(taken), time.perf_counter() - begun)

    def _measured(self, losses: bool) -> Bool[np.ndarray, " step"]:
        """The steps at which the loss is measured."""
        wanted = np.full(len(self.jobs[0]), losses)
        for job in self.jobs:
            begin = 0
            for mark in job.marks:
                if mark.is_last_epoch:
                    wanted[begin : mark.step] = True
                begin = mark.step
        return wanted

    def _reach(self, lane: int, mark: Mark, on_mark: OnMark, losses: bool) -> None:
        job = self.jobs[lane]
        if mark.kind == RESET:
            self.rows[1:, lane].zero_()
            self.counts[lane] = 0
            on_mark(job, mark, None, None)
        elif mark.kind == EPOCH:
            mean = None
            if losses or mark.is_last_epoch:
                mean = float(self.totals[lane]) / max(1, int(self.seen[lane]))
            self.totals[lane], self.seen[lane] = 0, 0
            on_mark(job, mark, None, mean)
        elif mark.kind in (TAIL, END):
            on_mark(job, mark, self.layout.read(self.rows[0, lane]), None)

    def _view(self, active: int) -> None:
        """Look at the active lanes: the first ``active`` of them."""
        if active == self.active:
            return
        self.active = active
        self.flat = [rows[:active] for rows in self.rows]
        self.parameters = self.layout.pieces(self.flat[0])
        self.gradients = self.layout.pieces(self.flat[1])
        # What a step writes, kept from step to step: fresh memory costs more than the arithmetic.
        self.batch = torch.empty(active * self.slots, self.layout.widths[0])
        self.labels = self.targets.new_empty(active * self.slots, *self.targets.shape[1:])
        self.outputs = [torch.empty(active, self.slots, width) for width in self.layout.widths[1:]]
        self.deltas = [torch.empty(active, self.slots, width) for width in self.layout.widths[1:-1]]
        self.slope = torch.zeros(active, self.slots, self.layout.widths[-1])  # padding stays 0

    def _step(self, step: int, active: int, losses: bool) -> None:
        self._view(active)
        index, weights = self.index[step, :active], self.weights[step, :active]
        flat = index.reshape(-1)
        torch.index_select(self.inputs, 0, flat, out=self.batch)
        torch.index_select(self.targets, 0, flat, out=self.labels)
        inputs = self.batch.view(active, self.slots, -1)
        targets = self.labels.view(active, self.slots, *self.labels.shape[1:])
        # Forward: activations of every layer, and what its derivative needs.
        hidden, slopes, masks = [inputs], [], []
        last = len(self.stack.linears) - 1
        for i in range(last):
            z = self._affine(i, hidden[-1])
            h = _ACTIVATIONS[self.stack.activations[i]](z)
            slopes.append(z if self.stack.activations[i] == "gelu" else h)
            mask = self._mask(step, active, i)
            masks.append(mask)
            hidden.append(h if mask is None else h * mask)
        outputs = self._affine(last, hidden[-1])[..., : self.stack.widths[-1]]
        if losses:
            value = self.spec.loss.value(outputs, targets)
            self.totals[:active] += torch.where(weights > 0, value, 0.0).sum(1)
            self.seen[:active] += (weights > 0).sum(1).numpy()
        if isinstance(self.spec.loss, CrossEntropy):
            self._cross_entropy(targets, weights)
        else:
            slope = self.spec.loss.output_gradient(outputs, targets)
            torch.mul(slope, weights.unsqueeze(2), out=self.slope[..., : self.stack.widths[-1]])
        # Backward: into the momentum itself for SGD, into a row of its own for Adam.
        keep = self.spec.momentum if self.spec.optimizer == "sgd" else 0.0
        delta = self.slope
        for i in range(last, -1, -1):
            below = None
            if i:
                below = self.deltas[i - 1]
                torch.bmm(delta, self.parameters[2 * i].transpose(1, 2), out=below)
                mask = masks[i - 1]
                if mask is not None:
                    below.mul_(mask)
                below = _DERIVATIVES[self.stack.activations[i - 1]](below, slopes[i - 1])
            self.gradients[2 * i].baddbmm_(hidden[i].transpose(1, 2), delta, beta=keep)
            bias = self.gradients[2 * i + 1]
            torch.add(delta.sum(1, keepdim=True), bias, alpha=keep, out=bias)
            if below is not None:
                delta = below
        self._update(active)

    def _cross_entropy(self, targets: Tensor, weights: Tensor) -> None:
        """The loss's own gradient, p - e_t, over whole vectors: padded classes have p = 0.

        torch is slow at odd widths: 120 us for 640 rows of 10 classes, 15 for 16. (Over another
        dimension than the last it is faster still, but two threads change its bits.)
        """
        outputs = self.outputs[-1]
        outputs[..., self.stack.widths[-1] :] = -torch.inf
        torch.softmax(outputs, -1, out=self.slope)
        index = targets.unsqueeze(-1)
        self.slope.scatter_add_(-1, index, self.minus_one.expand_as(index))
        self.slope.mul_(weights.unsqueeze(2))

    def _affine(self, layer: int, inputs: Tensor) -> Tensor:
        """Inputs times weights plus biases, in the layer's own memory."""
        weight, bias = self.parameters[2 * layer : 2 * layer + 2]
        return torch.baddbmm(bias, inputs, weight, out=self.outputs[layer])

    def _update(self, active: int) -> None:
        spec = self.spec
        weights, gradients = self.flat[:2]
        if spec.weight_decay and spec.optimizer != "adamw":
            gradients.add_(weights, alpha=spec.weight_decay)
        if spec.optimizer == "sgd":
            weights.add_(gradients, alpha=-spec.learning_rate)
            return
        if spec.optimizer == "adamw":
            weights.mul_(1 - spec.learning_rate * spec.weight_decay)
        first, second = self.flat[2:]
        counts = self.counts[:active].add_(1)
        first.lerp_(gradients, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradients, gradients, value=1 - BETA2)
        scale = spec.learning_rate / (1 - BETA1**counts)
        root = second.sqrt().div_((1 - BETA2**counts).sqrt_()).add_(EPSILON)
        weights.sub_(first.mul(scale).div_(root))

    def _mask(self, step: int, active: int, layer: int) -> Tensor | None:
        """Dropout masks of every lane, drawn for its full slots and keyed by its own step."""
        rate = self.stack.dropouts[layer]
        if not rate:
            return None
        width = self.stack.widths[layer + 1]
        mask = torch.zeros(active, self.slots, self.layout.widths[layer + 1])
        for lane, job in enumerate(self.jobs[:active]):
            slots = int(job.num_slots[step])
            key = (self.spec.seed, "mask", job.shard, *job.keys[step].tolist(), layer)
            self.generator.manual_seed(derive(*key))
            noise = torch.rand((slots, width), generator=self.generator)
            mask[lane, :slots, :width] = (noise >= rate).float() / (1 - rate)
        return mask


def _tables(
    plan: Plan, jobs: Sequence[Job], slots: int
) -> tuple[Int[Tensor, "step lane slot"], Float[Tensor, "step lane slot"], Tensor, Tensor]:
    """Where each slot reads and what it weighs, and the retained examples with a zero row last."""
    shards = sorted({job.shard for job in jobs})
    rows = np.concatenate([plan.partition.shard_rows(s) for s in shards])
    kept = np.sort(rows[plan.retained[rows]])
    inputs, targets = plan.examples[plan.partition.ids[kept]]
    inputs = torch.cat([inputs.flatten(1), inputs.new_zeros(1, inputs[0].numel())])
    targets = torch.cat([targets, targets.new_zeros(1, *targets.shape[1:])])
    position = np.zeros(len(plan.partition.ids), np.int32)
    position[kept] = np.arange(len(kept))
    longest, size = len(jobs[0]), jobs[0].rows.shape[1]
    index = np.full((longest, len(jobs), slots), len(kept), np.int32)
    weights = np.zeros((longest, len(jobs), slots), np.float32)
    for lane, job in enumerate(jobs):
        alive = job.rows >= 0
        place = np.where(alive, position[job.rows], len(kept))
        index[: len(job), lane, :size] = place
        weights[: len(job), lane, :size] = alive / alive.sum(1, keepdims=True, dtype=np.float32)
    return torch.from_numpy(index), torch.from_numpy(weights), inputs, targets


def _groups(plan: Plan, jobs: Sequence[Job], group: int | None) -> Iterator[Sequence[Job]]:
    """Cut the jobs into groups whose data fits."""
    if group is None:
        largest = max((len(plan.partition.shard_rows(job.shard)) for job in jobs), default=1)
        width = plan.architecture.stack.widths[0] if plan.architecture.stack else 1
        group = max(1, GROUP_BYTES // (4 * width * largest))
    for start in range(0, len(jobs), group):
        yield jobs[start : start + group]


def _padded(size: int) -> int:
    return -(-size // UNIT) * UNIT


def _relu(z: Tensor) -> Tensor:
    return z.relu_()


def _relu_back(delta: Tensor, h: Tensor) -> Tensor:
    return delta.mul_(h > 0)


def _tanh_back(delta: Tensor, h: Tensor) -> Tensor:
    return delta.mul_(1 - h * h)


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": _relu,
    "tanh": torch.tanh_,
    "gelu": torch.nn.functional.gelu,
}
_DERIVATIVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": _relu_back,
    "tanh": _tanh_back,
    "gelu": torch.ops.aten.gelu_backward,
}
