"""The stacked-lane kernel: shards in lockstep, by hand-written batched products.

For multi-layer perceptrons and logistic regression. A *lane* is one constituent in training: its
parameters and its optimizer's state. A step does the next batch of every lane of a group at once.
Lanes are sorted by the steps they have left, so those still active are always the first ones.

A lane's bits do not depend on which lanes run beside it. For that, every piece of a lane starts on
a 64-byte boundary and every width is padded with zero weights, to a multiple of 16 floats (an
output of up to 4 to 4), and a batch always has the same number of rows, whatever is revoked: empty
slots read a zero row and weigh 0. (Measured: without the padding, products of several lanes differ
from single ones in the last bit.) So lanes are grouped for speed alone: as many as fit the
processor's cache together.
"""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from unlearnkit.models.losses import CrossEntropy
from unlearnkit.models.stack import Stack
from unlearnkit.progress import Run
from unlearnkit.seeding import derive
from unlearnkit.store.checkpoint import State
from unlearnkit.training.kernels.activations import BACKWARD, FORWARD
from unlearnkit.training.kernels.batches import Gathering
from unlearnkit.training.kernels.layout import Layout, padded
from unlearnkit.training.kernels.loop import OnMark
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import END, EPOCH, RESET, TAIL, Job, Mark
from unlearnkit.training.spec import TrainSpec

# Parameters and optimizer state of the lanes that run together, at most (but for one lane).
# Measured with 1 MB of second-level cache, seconds of a training run for 1 / 2 / 4 / 20 lanes:
# MLP 784-256-10 1.43 / 1.45 / 1.63 / 1.85; MLP 600-128-100 1.35 / 1.10 / .96 / 1.15.
GROUP_STATE_BYTES = 3 << 20
# Gets steps of one lane run alone, their seconds, and the seconds of the whole measurement.
OnProbe = Callable[[int, float, float], None]
BLOCK = 64  # steps laid out at a time
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's, as in torch.optim
NUM_BUFFERS = {"sgd": 2, "adam": 4, "adamw": 4}  # weights, gradient or momentum, and Adam's moments


def lanes_together(plan: Plan, shards: Sequence[int]) -> int:
    """How many lanes to run in lockstep: what fits the cache."""
    stack = plan.architecture.stack
    if stack is None or plan.device.type != "cpu":
        return 1  # other devices choose their algorithm by the number of lanes, which changes bits
    state = 4 * NUM_BUFFERS[plan.spec.optimizer] * Layout(stack).size
    return max(1, GROUP_STATE_BYTES // state)


def run_stacked(
    plan: Plan,
    jobs: Sequence[Job],
    on_mark: OnMark,
    run: Run = Run(),
    *,
    group: int | None = None,
    on_probe: OnProbe | None = None,
) -> None:
    """Train jobs in lockstep. Arguments as for the per-lane kernel.

    Args:
        plan: of the retain set.
        jobs: what to train.
        on_mark: gets states and losses.
        run: as for the per-lane kernel, but that it pauses as soon as every lane has come to the
            end of a stage. Lanes that come there first go on meanwhile, and what they do beyond is
            thrown away.
        group: lanes that run together, at most; the result does not depend on it.
        on_probe: gets what a few steps of one lane alone took, which are run for it and thrown
            away; not called where lanes run one by one anyway.
    """
    stack = plan.architecture.stack
    if stack is None:
        raise TypeError(f"{plan.architecture} is no stack of linear layers; use the loop kernel")
    ordered = sorted(jobs, key=lambda job: (-len(job), job.shard))
    size = group or lanes_together(plan, [job.shard for job in jobs])
    if on_probe is not None and min(size, len(ordered)) > 1:
        _time_one(_Group(plan, stack, ordered[:1]), on_probe)
    for start in range(0, len(ordered), size):
        if run.pausing:
            return
        _Group(plan, stack, ordered[start : start + size]).run(on_mark, run)


def _time_one(lane: "_Group", on_probe: OnProbe, steps: int = 5, warm: int = 2) -> None:
    """Time a few steps of a lane."""
    begun = time.perf_counter()
    last = min(warm + steps, len(lane.jobs[0]), BLOCK)
    measured = lane.measured(False).mean()  # as often as in the run itself
    lane.lay_out(0, last)
    at = []
    for step in range(last):
        at.append(time.perf_counter())
        lane.step(step, step < warm + measured * steps)
    at.append(time.perf_counter())
    taken = np.diff(at)[min(warm, last - 1) :]
    on_probe(len(taken), float(np.median(taken)) * len(taken), time.perf_counter() - begun)


class _Group:
    """Lanes that run together."""

    def __init__(self, plan: Plan, stack: Stack, jobs: Sequence[Job]) -> None:
        self.plan, self.stack, self.jobs = plan, stack, jobs
        self.spec: TrainSpec = plan.spec
        self.layout, self.device = Layout(stack), plan.device
        self.slots = padded(self.spec.batch_size)
        lanes = len(jobs)
        shape = (NUM_BUFFERS[self.spec.optimizer], lanes * self.layout.size)
        self._use(list(torch.zeros(shape, device=self.device)), lanes)
        for lane, job in enumerate(jobs):
            self.layout.write(job.start, self.parameters, lane)
        # Steps since the last reset, for Adam.
        self.counts = torch.zeros(lanes, 1, 1, device=self.device)
        self.gathering = Gathering(plan, [job.shard for job in jobs])
        self.totals = np.zeros(lanes)
        self.seen = np.zeros(lanes, np.int64)
        self.generator, self.minus_one = torch.Generator(), torch.tensor(-1.0, device=self.device)

    def run(self, on_mark: OnMark, run: Run) -> None:
        calendar: dict[int, list[tuple[int, Mark]]] = {}
        for lane, job in enumerate(self.jobs):
            for mark in job.marks:
                calendar.setdefault(mark.step, []).append((lane, mark))
        lengths = np.array([len(job) for job in self.jobs])
        self.wanted = measured = self.measured(run.losses)
        begin, rest = 0, -1
        while active := int((lengths > begin).sum()):
            end = min(begin + BLOCK, int(lengths[active - 1]))
            if active < self.lanes:
                self._shrink(active)
            self.lay_out(begin, end)
            for step in range(begin, end):
                if step in calendar:
                    self._reach(step, calendar[step], on_mark, run.losses)
                run.check()
                if rest < 0 and run.pausing:
                    rest = max(_next_end(job, step) for job in self.jobs if len(job) > step)
                if step == rest:
                    return
                self.step(step - begin, bool(measured[step]))
            self._settle(end)
            begin = end
            # Lanes that end here are read before the others move.
            ends = [(lane, mark) for lane, mark in calendar.get(end, ()) if end == lengths[lane]]
            self._reach(end, ends, on_mark, run.losses)
            calendar[end] = [item for item in calendar.get(end, ()) if item not in ends]

    def measured(self, losses: bool) -> Bool[np.ndarray, " step"]:
        """The steps at which the loss is measured."""
        wanted = np.full(len(self.jobs[0]), losses)
        for job in self.jobs:
            begin = 0
            for mark in job.marks:
                if mark.is_last_epoch:
                    wanted[begin : mark.step] = True
                begin = mark.step
        return wanted

    def _reach(
        self, step: int, marks: list[tuple[int, Mark]], on_mark: OnMark, losses: bool
    ) -> None:
        if any(mark.kind == EPOCH for _, mark in marks):
            self._settle(step)
        resets = [lane for lane, mark in marks if mark.kind == RESET]
        for lane, mark in marks:
            job = self.jobs[lane]
            if mark.kind == RESET:
                on_mark(job, mark, None, None)
            elif mark.kind == EPOCH:
                mean = None
                if losses or mark.is_last_epoch:
                    mean = float(self.totals[lane]) / max(1, int(self.seen[lane]))
                self.totals[lane], self.seen[lane] = 0, 0
                on_mark(job, mark, None, mean)
            elif mark.kind in (TAIL, END):
                on_mark(job, mark, self._read(lane), None)
        if len(resets) == self.lanes:
            for flat in self.flat[1:]:
                flat.zero_()
            self.counts.zero_()
        else:
            for lane in resets:
                for pieces in self.pieces[1:]:
                    for piece in pieces:
                        piece[lane].zero_()
                self.counts[lane] = 0

    def _read(self, lane: int) -> State:
        """A copy of a lane's state, without padding."""
        if lane not in self.views:
            self.views[lane] = list(self.layout.views(self.parameters, lane))
        state = {}
        for name, weight, bias in self.views[lane]:
            state[f"{name}.weight"] = weight.cpu().clone(memory_format=torch.contiguous_format)
            state[f"{name}.bias"] = bias.cpu().clone()
        return state

    # Memory. What a step writes is kept: fresh memory costs more than the arithmetic. Views are
    # made once, since making one costs as much as adding a thousand numbers.

    def _use(self, flat: list[Tensor], lanes: int) -> None:
        """Work on these buffers of so many lanes: weights, gradients, Adam's moments."""
        self.lanes, self.flat = lanes, flat
        self.pieces = [self.layout.pieces(buffer, lanes) for buffer in flat]
        self.parameters, self.gradients = self.pieces[:2]
        self.views: dict[int, list[tuple[str, Tensor, Tensor]]] = {}  # of a lane, once it is read
        weights, flipped = self.parameters[::2], self.layout.flipped
        turned = [piece.transpose(1, 2) for piece in weights]
        choose = zip(weights, turned, flipped, strict=True)
        self.forward, self.backward = zip(
            *((b, a) if flip else (a, b) for a, b, flip in choose), strict=True
        )
        widths, slots = self.layout.widths, self.slots
        self.batch = self._empty(lanes * slots, widths[0]).zero_()  # padding stays 0
        self.outputs = [self._empty(lanes, slots, width) for width in widths[1:]]
        self.hidden = [self.batch.view(lanes, slots, widths[0])]
        self.slopes: list[Tensor] = []
        for i, kind in enumerate(self.stack.activations):
            z = self.outputs[i]
            self.slopes.append(z)
            h = torch.empty_like(z) if kind == "gelu" or self.stack.dropouts[i] else z
            self.hidden.append(h)
        self.deltas = [self._empty(lanes, slots, width) for width in widths[1:-1]]
        self.slope = self._empty(lanes, slots, widths[-1]).zero_()  # of padding: stays 0
        # The factors of each weight's gradient: inputs^T slope, or slope^T inputs.
        self.factors = [
            (delta.transpose(1, 2), h) if flip else (h.transpose(1, 2), delta)
            for h, delta, flip in zip(self.hidden, [*self.deltas, self.slope], flipped, strict=True)
        ]
        classes = self.stack.widths[-1]
        self.logits, self.padding = self.outputs[-1].split([classes, widths[-1] - classes], 2)
        self.values = self._empty(BLOCK, lanes, slots).zero_()
        self.value = self.values.unsqueeze(3).unbind(0)

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, device=self.device)

    def _shrink(self, lanes: int) -> None:
        """Go on with the first lanes."""
        flat = list(self._empty(len(self.flat), lanes * self.layout.size))
        for old, new in zip(self.pieces, flat, strict=True):
            for source, target in zip(old, self.layout.pieces(new, lanes), strict=True):
                target.copy_(source[:lanes])
        self.counts = self.counts[:lanes].clone()
        self._use(flat, lanes)

    def lay_out(self, begin: int, end: int) -> None:
        """Lay out the steps of a block: where each slot reads, its weight and its target."""
        steps, lanes, slots, gathering = end - begin, self.lanes, self.slots, self.gathering
        rows = np.stack([job.rows[begin:end] for job in self.jobs[:lanes]], 1)
        shown, size = rows >= 0, rows.shape[2]
        alive = np.zeros((steps, lanes, slots), bool)
        alive[..., :size] = shown
        places = np.full((steps, lanes, slots), gathering.spare, np.int32)
        places[..., :size] = gathering.places(rows, shown)
        weights = np.zeros((steps, lanes, slots), np.float32)
        np.divide(shown, shown.sum(2, keepdims=True, dtype=np.float32), out=weights[..., :size])
        self.begin = self.settled = begin
        self.alive = alive
        self.empty = gathering.empty(alive.reshape(steps, -1))
        flat = torch.from_numpy(places).view(steps, -1).to(self.device)
        self.places = flat.unbind(0)
        self.weights = torch.from_numpy(weights).to(self.device).unsqueeze(3).unbind(0)
        there = torch.from_numpy(alive).view(-1).to(self.device)
        targets = gathering.targets(flat.view(-1), there)
        targets = targets.view(steps, lanes, slots, *targets.shape[1:])
        self.labels = targets.unbind(0)
        self.classes = targets.unsqueeze(3).unbind(0)

    # Steps

    def step(self, step: int, measured: bool) -> None:
        self.gathering.read(self.places[step], self.empty[step], self.batch)
        last = len(self.stack.linears) - 1
        masks: list[Tensor | None] = []
        for i in range(last):
            self._affine(i)
            FORWARD[self.stack.activations[i]](self.outputs[i], self.hidden[i + 1])
            masks.append(self._mask(step, i))
        self._affine(last)
        if isinstance(self.spec.loss, CrossEntropy):
            self._cross_entropy(step, measured)
        else:
            loss, targets = self.spec.loss, self.labels[step]
            if measured:
                self.values[step] = loss.value(self.logits, targets)
            slope = loss.output_gradient(self.logits, targets)
            torch.mul(slope, self.weights[step], out=self.slope[..., : self.stack.widths[-1]])
        # Backward: into the momentum itself for SGD, into a buffer of its own for Adam.
        keep = self.spec.momentum if self.spec.optimizer == "sgd" else 0.0
        delta = self.slope
        for i in range(last, -1, -1):
            if i:
                below = self.deltas[i - 1]
                torch.bmm(delta, self.backward[i], out=below)
                mask = masks[i - 1]
                if mask is not None:
                    below.mul_(mask)
                BACKWARD[self.stack.activations[i - 1]](below, self.slopes[i - 1])
            self.gradients[2 * i].baddbmm_(*self.factors[i], beta=keep)
            bias = self.gradients[2 * i + 1]
            torch.add(delta.sum(1, keepdim=True), bias, alpha=keep, out=bias)
            if i:
                delta = below
        self._update()

    def _affine(self, layer: int) -> None:
        """Inputs times weights plus biases, in the layer's own memory."""
        bias = self.parameters[2 * layer + 1]
        torch.baddbmm(bias, self.hidden[layer], self.forward[layer], out=self.outputs[layer])

    def _cross_entropy(self, step: int, measured: bool) -> None:
        """The loss's own gradient, p - e_t, over whole vectors: padded classes have p = 0.

        torch is slow at odd widths: 120 us for 640 rows of 10 classes, 15 for 16. (Over another
        dimension than the last it is faster still, but two threads change its bits.)
        """
        if self.padding.shape[2]:
            self.padding.fill_(-torch.inf)
        torch.softmax(self.outputs[-1], -1, out=self.slope)
        index = self.classes[step]
        if measured:  # the probability; its logarithm is taken for a whole block
            torch.gather(self.slope, -1, index, out=self.value[step])
        self.slope.scatter_add_(-1, index, self.minus_one.expand_as(index))
        self.slope.mul_(self.weights[step])

    def _settle(self, end: int) -> None:
        """Add up the losses of the block's steps before ``end`` that were not added up yet."""
        if not self.wanted[self.settled : end].any():
            self.settled = end
            return
        some = slice(self.settled - self.begin, end - self.begin)
        values, alive = self.values[some].cpu().numpy(), self.alive[some]
        if isinstance(self.spec.loss, CrossEntropy):
            values = -np.log(np.maximum(values, np.finfo(np.float32).tiny))
        self.totals[: self.lanes] += np.where(alive, values, 0).sum((0, 2), np.float64)
        self.seen[: self.lanes] += alive.sum((0, 2))
        self.settled = end

    def _update(self) -> None:
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
        first.lerp_(gradients, 1 - BETA1)
        second.mul_(BETA2).addcmul_(gradients, gradients, value=1 - BETA2)
        counts = self.counts.add_(1)
        scale = spec.learning_rate / (1 - BETA1**counts)
        correction = (1 - BETA2**counts).sqrt_()
        for weight, _, mean, square in zip(*self.pieces, strict=True):
            weight.sub_(mean.mul(scale).div_(square.sqrt().div_(correction).add_(EPSILON)))

    def _mask(self, step: int, layer: int) -> Tensor | None:
        """Apply dropout to every lane, drawn for its full slots and keyed by its own step."""
        rate = self.stack.dropouts[layer]
        if not rate:
            return None
        width = self.stack.widths[layer + 1]
        mask = torch.zeros(self.lanes, self.slots, self.layout.widths[layer + 1])
        for lane, job in enumerate(self.jobs[: self.lanes]):
            at = self.begin + step
            slots = int(job.num_slots[at])
            key = (self.spec.seed, "mask", job.shard, *job.keys[at].tolist(), layer)
            self.generator.manual_seed(derive(*key))
            noise = torch.rand((slots, width), generator=self.generator)
            mask[lane, :slots, :width] = (noise >= rate).float() / (1 - rate)
        mask = mask.to(self.device)
        self.hidden[layer + 1].mul_(mask)
        return mask


def _next_end(job: Job, step: int) -> int:
    """Where the stage that is at work at a step ends; the step itself if one has just ended."""
    return next(mark.step for mark in job.marks if mark.kind == END and mark.step >= step)
