"""Training of one shard from scratch, slow and obvious, sharing nothing with the package.

Only the derivation of generator keys is the product's own, because it is the definition of a key.
Everything else is written out again from DESIGN.md, section 2: forward passes from plain functions,
gradients by autograd, optimizers as the formulas in torch's documentation, in torch's order of
operations, so that results can be compared by their bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unlearnkit.seeding import derive

State = dict[str, Tensor]


@dataclass
class Problem:
    """What there is to be trained: plain arrays and numbers.

    Attributes:
        network: the name of a function in :data:`NETWORKS`.
        factory: makes the module whose initial weights are used.
        inputs: of the shard, by id.
        labels: of the shard, by id: a class, or a row of targets.
        slices: 1-based slice of every original member of the shard, by id.
        revoked: ids that are never looked at.
        epochs: of every stage.
        batch_size: slots of a batch.
        seed: of the run.
        shard: 0-based.
        optimizer: "sgd", "adam" or "adamw".
        rate: learning rate.
        momentum: of SGD.
        decay: weight decay.
        squared: squared error in place of cross-entropy.
        tails: epochs before the end of the last stage; None for the usual ones.
    """

    network: str
    factory: Callable[[], nn.Module]
    inputs: dict[int, Tensor]
    labels: dict[int, Tensor]
    slices: dict[int, int]
    revoked: set[int]
    epochs: tuple[int, ...]
    batch_size: int
    seed: int
    shard: int
    optimizer: str
    rate: float
    momentum: float
    decay: float
    squared: bool = False
    tails: tuple[int, ...] | None = None


@dataclass
class Trained:
    """What came of it: a state for every stage, those of the tails by q, gradients computed."""

    ends: list[State]
    tails: dict[int, State]
    visits: int


class Masks:
    """Dropout masks of one step: drawn for all slots, of which the survivors' are used."""

    def __init__(self, key: tuple[int | str, ...], num_slots: int, slots: list[int]) -> None:
        self.generator = torch.Generator().manual_seed(derive(*key))
        self.num_slots, self.slots = num_slots, slots

    def apply(self, x: Tensor, rate: float) -> Tensor:
        noise = torch.rand((self.num_slots, *x.shape[1:]), generator=self.generator)
        kept = (noise >= rate).float()[self.slots]
        return x * kept / (1 - rate)


def logistic(w: State, x: Tensor, masks: Masks, alone: bool) -> Tensor:
    return F.linear(x.flatten(1), w["1.weight"], w["1.bias"])


def mlp_dropout(w: State, x: Tensor, masks: Masks, alone: bool) -> Tensor:
    for layer in ("1", "4"):
        x = F.gelu(F.linear(x, w[f"{layer}.weight"], w[f"{layer}.bias"]))
        x = masks.apply(x, 0.3)
    return F.linear(x, w["7.weight"], w["7.bias"])


def normalise(w: State, layer: str, x: Tensor, alone: bool) -> Tensor:
    """Batch normalisation; one example alone has no statistics, so the running ones serve."""
    mean, var = w[f"{layer}.running_mean"], w[f"{layer}.running_var"]
    if not alone:
        w[f"{layer}.num_batches_tracked"] += 1
    scale, shift = w[f"{layer}.weight"], w[f"{layer}.bias"]
    return F.batch_norm(x, mean, var, scale, shift, training=not alone)


def cnn_batchnorm(w: State, x: Tensor, masks: Masks, alone: bool) -> Tensor:
    # The product lays images and kernels out channels last, which rounds in its own order.
    x = x.contiguous(memory_format=torch.channels_last)
    for layer in (0, 3):
        x = F.conv2d(x, w[f"{layer}.weight"], w[f"{layer}.bias"], stride=2, padding=1)
        x = normalise(w, f"{layer + 1}", x, alone).relu()
    if x.requires_grad:  # and their gradients
        x.register_hook(lambda slope: slope.contiguous(memory_format=torch.channels_last))
    return F.linear(x.flatten(1), w["7.weight"], w["7.bias"])


def norm_and_dropout(w: State, x: Tensor, masks: Masks, alone: bool) -> Tensor:
    x = F.linear(x, w["1.weight"], w["1.bias"])
    x = masks.apply(normalise(w, "2", x, alone).relu(), 0.25)
    return F.linear(x, w["5.weight"], w["5.bias"])


def mlp_relu(w: State, x: Tensor, masks: Masks, alone: bool) -> Tensor:
    x = F.linear(x, w["1.weight"], w["1.bias"]).relu()
    return F.linear(x, w["3.weight"], w["3.bias"])


def mlp_tanh(w: State, x: Tensor, masks: Masks, alone: bool) -> Tensor:
    x = F.linear(x, w["1.weight"], w["1.bias"]).tanh()
    return F.linear(x, w["3.weight"], w["3.bias"])


def mlp_one_dropout(w: State, x: Tensor, masks: Masks, alone: bool) -> Tensor:
    x = masks.apply(F.gelu(F.linear(x, w["1.weight"], w["1.bias"])), 0.2)
    return F.linear(x, w["4.weight"], w["4.bias"])


NETWORKS = {
    "logistic": logistic,
    "mlp-dropout": mlp_dropout,
    "cnn-batchnorm": cnn_batchnorm,
    "uneven": norm_and_dropout,
    "adam": mlp_relu,
    "adamw": norm_and_dropout,
    "squared-error": mlp_tanh,
    "regression": mlp_one_dropout,
    "regression-norm": norm_and_dropout,
}


class Optimizer:
    """SGD with momentum, Adam or AdamW, one tensor at a time."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.first: State = {}
        self.second: State = {}
        self.steps = 0

    def step(self, weights: State, gradients: State) -> None:
        p = self.problem
        self.steps += 1
        for name, g in gradients.items():
            w = weights[name]
            if p.optimizer == "adamw":
                w.mul_(1 - p.rate * p.decay)
            else:
                g = g.add(w, alpha=p.decay)
            if p.optimizer == "sgd":
                buffer = self.first.get(name)
                buffer = g.clone() if buffer is None else buffer.mul_(p.momentum).add_(g)
                self.first[name] = buffer
                w.add_(buffer, alpha=-p.rate)
                continue
            m = self.first.setdefault(name, torch.zeros_like(w))
            v = self.second.setdefault(name, torch.zeros_like(w))
            m.lerp_(g, 1 - 0.9)
            v.mul_(0.999).addcmul_(g, g, value=1 - 0.999)
            correction = (1 - 0.999**self.steps) ** 0.5
            denominator = (v.sqrt() / correction).add_(1e-8)
            w.addcdiv_(m, denominator, value=-p.rate / (1 - 0.9**self.steps))


def initial_state(problem: Problem) -> State:
    """Build with torch's global generator seeded by the key, and put the generator back."""
    before = torch.get_rng_state()
    torch.manual_seed(derive(derive(problem.seed, "initial", problem.shard), "weights"))
    module = problem.factory()
    torch.set_rng_state(before)
    return {
        name: tensor.detach().clone(
            memory_format=torch.channels_last if tensor.ndim == 4 else torch.preserve_format
        )
        for name, tensor in module.state_dict().items()
    }


def train_shard(problem: Problem) -> Trained:
    """All stages of one shard, from the initial weights."""
    state = initial_state(problem)
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    names = [name for name in state if not name.endswith(buffers)]
    result = Trained([], {}, 0)
    for stage, epochs in enumerate(problem.epochs, start=1):
        last = stage == len(problem.epochs)
        usual = {1, min(4, epochs)} | ({2 * epochs // 3} if epochs >= 16 else set())
        kept = usual if problem.tails is None else problem.tails
        tails = {epochs - q: q for q in kept} if last else {}
        pool = sorted(i for i, r in problem.slices.items() if r <= stage)
        generator = np.random.Generator(
            np.random.PCG64(derive(problem.seed, "order", problem.shard, stage))
        )
        orders = generator.permuted(np.tile(np.array(pool), (epochs, 1)), axis=1)
        for epoch in range(epochs):
            if epoch == 0 or epoch in tails:
                optimizer = Optimizer(problem)
            if epoch in tails:
                result.tails[tails[epoch]] = copy_of(state)
            order = orders[epochs - 1 - epoch].tolist()  # the last epoch is drawn first
            for step in range(-(-len(order) // problem.batch_size)):
                batch = order[step * problem.batch_size : (step + 1) * problem.batch_size]
                slots = [i for i, one in enumerate(batch) if one not in problem.revoked]
                if not slots:
                    continue
                key = (problem.seed, "mask", problem.shard, stage, epoch, step)
                masks = Masks(key, len(batch), slots)
                gradients = gradient(problem, state, [batch[i] for i in slots], masks, names)
                optimizer.step(state, gradients)
                result.visits += len(slots)
        result.ends.append(copy_of(state))
    return result


def gradient(
    problem: Problem, state: State, ids: list[int], masks: Masks, names: list[str]
) -> State:
    """Of the mean loss over these examples, for every parameter; buffers move on the way."""
    leaves = {name: state[name].clone().requires_grad_() for name in names}
    inputs = torch.stack([problem.inputs[i] for i in ids])
    targets = torch.stack([problem.labels[i] for i in ids])
    if not targets.is_floating_point():
        targets = F.one_hot(targets, 3).float()
    outputs = NETWORKS[problem.network](state | leaves, inputs, masks, len(ids) == 1)
    # Written out, since autograd through F.cross_entropy rounds in another order.
    fixed = outputs.detach()
    slope = (fixed if problem.squared else fixed.softmax(1)) - targets
    outputs.backward(slope / len(ids))
    return {name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None}


def copy_of(state: State) -> State:
    return {name: tensor.clone() for name, tensor in state.items()}
