"""The stacked kernel: trains shards in lockstep by hand-written batched products.

It trains multi-layer perceptrons and logistic regression. A *lane* is one constituent in training,
with its parameters and optimizer state. A step processes the next batch of every lane of a group.
Lanes are sorted by their remaining steps, so active lanes always come first.

The bits of a lane do not depend on the lanes that it runs with. To achieve this, every piece of a
lane starts on a 64-byte boundary; every width is padded with zero weights to a multiple of 16
floats (outputs of up to 4 classes to 4); and a batch always has the same number of rows, whichever
examples are revoked, because empty slots read a zero row and have weight 0. Without the padding,
products of several lanes differ from those of single lanes in the last bit. Grouping therefore
affects only speed: a group has as many lanes as fit the processor's cache.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

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
from unlearnkit.training.kernels.batches import BatchReader
from unlearnkit.training.kernels.cpu_time import cpu_clock
from unlearnkit.training.kernels.finite import check_epoch, check_lanes
from unlearnkit.training.kernels.layout import Layout, padded
from unlearnkit.training.kernels.loop import OnMark
from unlearnkit.training.plan import Plan
from unlearnkit.training.schedule import END, EPOCH, RESET, TAIL, Job, Mark
from unlearnkit.training.spec import TrainSpec

# Upper limit of bytes of parameters and optimizer state of a group of several lanes. More lanes
# mean longer products, during which other threads run; one thread is as fast with fewer.
GROUP_STATE_BYTES = 6 << 20
# Called with a number of steps of one lane alone, the CPU seconds of these steps, and the CPU
# seconds of the whole measurement.
OnProbe = Callable[[int, float, float], None]
BLOCK = 64  # steps laid out at a time
ALONE = 16  # steps of one lane alone that are timed, at least, if its first stage has so many
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # Adam's constants, as in torch.optim
NUM_BUFFERS = {"sgd": 2, "adam": 4, "adamw": 4}  # weights, gradient or momentum, and Adam's moments


def lanes_together(plan: Plan) -> int:
    """Return how many lanes to run in lockstep: as many as fit the cache, and 1 off the CPU."""
    stack = plan.architecture.stack
    if stack is None or plan.device.type != "cpu":
        return 1  # other devices select algorithms by the number of lanes, which changes bits
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
    """Train jobs in lockstep.

    Args:
        plan: plan of the retain set.
        jobs: the jobs to train.
        on_mark: called with states and losses at every mark.
        run: as for the per-lane kernel, except that a group pauses only once every lane has reached
            the end of a stage. Lanes that reach it earlier continue meanwhile, and their further
            steps are discarded.
        group: upper limit of lanes that run together; the result does not depend on it.
        on_probe: called with the time of a few steps of one lane alone, which are run for this
            measurement and discarded. It is not called if lanes run one by one anyway.

    Raises:
        TypeError: the architecture is not a stack of linear layers.
        Cancelled: the run was cancelled; states passed to ``on_mark`` before remain valid.
        NotFiniteError: loss or parameters are not finite at the end of an epoch.
    """
    stack = plan.architecture.stack
    if stack is None:
        raise TypeError(f"{plan.architecture} is not a stack of linear layers; use kernel='loop'")
    ordered = sorted(jobs, key=lambda job: (-len(job), job.shard))
    size = group or lanes_together(plan)
    if on_probe is not None and min(size, len(ordered)) > 1:
        _time_one(plan, stack, ordered[0], cpu_clock(plan), on_probe)
    for start in range(0, len(ordered), size):
        if run.pausing:
            return
        _Group(plan, stack, ordered[start : start + size]).run(on_mark, run)


def _time_one(
    plan: Plan, stack: Stack, job: Job, now: Callable[[], float], on_probe: OnProbe
) -> None:
    """Train the first epochs of a job alone, twice, and call ``on_probe`` with the faster run."""
    begun = now()
    ends = [mark for mark in job.marks if mark.kind == EPOCH and mark.stage is job.marks[0].stage]
    end = next((mark for mark in ends if mark.step >= ALONE), ends[-1])
    few = slice(end.step)
    short = replace(
        job,
        rows=job.rows[few],
        num_slots=job.num_slots[few],
        keys=job.keys[few],
        marks=job.marks[: job.marks.index(end) + 1],
    )
    lane, taken = _Group(plan, stack, [short]), []
    for _ in range(2):  # the first run also fills caches
        at = now()
        lane.run(lambda *_: None, Run())
        taken.append(now() - at)
    on_probe(end.step, min(taken), now() - begun)


class _Group:
    """Lanes that are trained together in lockstep."""

    def __init__(self, plan: Plan, stack: Stack, jobs: Sequence[Job]) -> None:
        self.plan, self.stack, self.jobs = plan, stack, jobs
        self.spec: TrainSpec = plan.spec
        self.layout, self.device = Layout(stack), plan.device
        self.slots = padded(self.spec.batch_size)
        lanes = len(jobs)
        shape = (NUM_BUFFERS[self.spec.optimizer], lanes * self.layout.size)
        self._set_buffers(list(torch.zeros(shape, device=self.device)), lanes)
        for lane, job in enumerate(jobs):
            self.layout.write(job.start, self.parameters, lane)
        # Adam's step counters since the last reset.
        self.counts = torch.zeros(lanes, 1, 1, device=self.device)
        self.reader = BatchReader(plan, [job.shard for job in jobs])
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
                    self._handle_marks(step, calendar[step], on_mark, run.losses)
                run.check()
                if rest < 0 and run.pausing:
                    rest = max(_next_end(job, step) for job in self.jobs if len(job) > step)
                if step == rest:
                    return
                self.step(step - begin, bool(measured[step]))
            self._add_losses(end)
            begin = end
            # Lanes that end at this step are read before the others continue.
            ends = [(lane, mark) for lane, mark in calendar.get(end, ()) if end == lengths[lane]]
            self._handle_marks(end, ends, on_mark, run.losses)
            calendar[end] = [item for item in calendar.get(end, ()) if item not in ends]

    def measured(self, losses: bool) -> Bool[np.ndarray, " step"]:
        """Return a mask of the steps at which the loss is measured."""
        wanted = np.full(len(self.jobs[0]), losses)
        for job in self.jobs:
            begin = 0
            for mark in job.marks:
                if mark.is_last_epoch:
                    wanted[begin : mark.step] = True
                begin = mark.step
        return wanted

    def _handle_marks(
        self, step: int, marks: list[tuple[int, Mark]], on_mark: OnMark, losses: bool
    ) -> None:
        if any(mark.kind == EPOCH for _, mark in marks):
            self._add_losses(step)
            check_lanes(self.plan, self.jobs, marks, self.flat[0], self.parameters)
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
                check_epoch(self.plan, job.shard, mark, mean, ())
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
        """Return a copy of a lane's state without padding."""
        if lane not in self.views:
            self.views[lane] = list(self.layout.views(self.parameters, lane))
        state = {}
        for name, weight, bias in self.views[lane]:
            state[f"{name}.weight"] = weight.cpu().clone(memory_format=torch.contiguous_format)
            state[f"{name}.bias"] = bias.cpu().clone()
        return state

    # Memory. Buffers are reused across steps, because allocating them takes longer than the
    # arithmetic. Views are created once, because creating one is expensive for small tensors.

    def _set_buffers(self, flat: list[Tensor], lanes: int) -> None:
        """Create the views of these buffers (weights, gradients, Adam's moments) for some lanes."""
        self.lanes, self.flat = lanes, flat
        self.pieces = [self.layout.pieces(buffer, lanes) for buffer in flat]
        self.parameters, self.gradients = self.pieces[:2]
        self.views: dict[int, list[tuple[str, Tensor, Tensor]]] = {}  # cached by _read, by lane
        weights, flipped = self.parameters[::2], self.layout.flipped
        turned = [piece.transpose(1, 2) for piece in weights]
        choose = zip(weights, turned, flipped, strict=True)
        self.forward, self.backward = zip(
            *((b, a) if flip else (a, b) for a, b, flip in choose), strict=True
        )
        widths, slots = self.layout.widths, self.slots
        self.batch = self._empty(lanes * slots, widths[0]).zero_()  # the padding stays 0
        self.outputs = [self._empty(lanes, slots, width) for width in widths[1:]]
        self.hidden = [self.batch.view(lanes, slots, widths[0])]
        self.slopes: list[Tensor] = []
        for i, kind in enumerate(self.stack.activations):
            z = self.outputs[i]
            self.slopes.append(z)
            h = torch.empty_like(z) if kind == "gelu" or self.stack.dropouts[i] else z
            self.hidden.append(h)
        self.deltas = [self._empty(lanes, slots, width) for width in widths[1:-1]]
        self.slope = self._empty(lanes, slots, widths[-1]).zero_()  # the padding stays 0
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
        """Continue with the first lanes only."""
        flat = list(self._empty(len(self.flat), lanes * self.layout.size))
        for old, new in zip(self.pieces, flat, strict=True):
            for source, target in zip(old, self.layout.pieces(new, lanes), strict=True):
                target.copy_(source[:lanes])
        self.counts = self.counts[:lanes].clone()
        self._set_buffers(flat, lanes)

    def lay_out(self, begin: int, end: int) -> None:
        """Lay out a block of steps: the position, weight and target of each slot."""
        steps, lanes, slots, reader = end - begin, self.lanes, self.slots, self.reader
        rows = np.stack([job.rows[begin:end] for job in self.jobs[:lanes]], 1)
        shown, size = rows >= 0, rows.shape[2]
        alive = np.zeros((steps, lanes, slots), bool)
        alive[..., :size] = shown
        positions = np.full((steps, lanes, slots), reader.spare, np.int32)
        positions[..., :size] = reader.positions(rows, shown)
        weights = np.zeros((steps, lanes, slots), np.float32)
        np.divide(shown, shown.sum(2, keepdims=True, dtype=np.float32), out=weights[..., :size])
        self.begin = self.settled = begin
        self.alive = alive
        self.empty = reader.empty(alive.reshape(steps, -1))
        flat = torch.from_numpy(positions).view(steps, -1).to(self.device)
        self.positions = flat.unbind(0)
        self.weights = torch.from_numpy(weights).to(self.device).unsqueeze(3).unbind(0)
        there = torch.from_numpy(alive).view(-1).to(self.device)
        targets = reader.targets(flat.view(-1), there)
        targets = targets.view(steps, lanes, slots, *targets.shape[1:])
        self.labels = targets.unbind(0)
        self.classes = targets.unsqueeze(3).unbind(0)

    # Steps

    def step(self, step: int, measured: bool) -> None:
        self.reader.read(self.positions[step], self.empty[step], self.batch)
        last = len(self.stack.linears) - 1
        masks: list[Tensor | None] = []
        for i in range(last):
            self._affine(i)
            FORWARD[self.stack.activations[i]](self.outputs[i], self.hidden[i + 1])
            masks.append(self._mask(step, i))
        self._affine(last)
        if type(self.spec.loss) is CrossEntropy:
            self._cross_entropy(step, measured)
        else:
            loss, targets = self.spec.loss, self.labels[step]
            if measured:
                self.values[step] = loss.value(self.logits, targets)
            slope = loss.output_gradient(self.logits, targets)
            torch.mul(slope, self.weights[step], out=self.slope[..., : self.stack.widths[-1]])
        # The backward pass adds to the momentum for SGD, and overwrites the gradient for Adam.
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
        """Compute inputs times weights plus biases in the layer's buffer."""
        bias = self.parameters[2 * layer + 1]
        torch.baddbmm(bias, self.hidden[layer], self.forward[layer], out=self.outputs[layer])

    def _cross_entropy(self, step: int, measured: bool) -> None:
        """Compute the gradient p - e_t over all classes, padded classes with p = 0 included.

        torch's softmax is much faster on a padded width than on 10 classes. A softmax over a
        dimension other than the last would be faster still, but its bits depend on the threads.
        """
        if self.padding.shape[2]:
            self.padding.fill_(-torch.inf)
        torch.softmax(self.outputs[-1], -1, out=self.slope)
        index = self.classes[step]
        if measured:  # store the probability; _add_losses takes the logarithms of a whole block
            torch.gather(self.slope, -1, index, out=self.value[step])
        self.slope.scatter_add_(-1, index, self.minus_one.expand_as(index))
        self.slope.mul_(self.weights[step])

    def _add_losses(self, end: int) -> None:
        """Add the losses of the block's steps before ``end`` that were not added before."""
        if not self.wanted[self.settled : end].any():
            self.settled = end
            return
        some = slice(self.settled - self.begin, end - self.begin)
        values, alive = self.values[some].cpu().numpy(), self.alive[some]
        if type(self.spec.loss) is CrossEntropy:
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
        """Apply dropout to every lane, with masks for all slots, keyed by the lane's step."""
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
    """Return the step at which the current stage ends; ``step`` itself if a stage ends there."""
    return next(mark.step for mark in job.marks if mark.kind == END and mark.step >= step)
