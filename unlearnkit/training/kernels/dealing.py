"""Dealing: which shards are trained together in lockstep, and by how many threads.

Python runs in one thread at a time, so the steps of two threads overlap only while torch computes.
A thread is added only where the arithmetic of every thread's steps outweighs what a step costs in
Python, for all threads together; smaller models are trained in one thread. The bits of a model
depend neither on the threads nor on the lanes that it runs with, so this affects only speed.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from unlearnkit.threads import available_threads
from unlearnkit.training.door import BUILT_IN_LOSSES
from unlearnkit.training.kernels.layout import Layout
from unlearnkit.training.kernels.stacked import lanes_together
from unlearnkit.training.plan import Plan

Item = TypeVar("Item")
# Keys of the trials of an architecture.
PRODUCTS, ONLY_TORCH = "products of an example", "only layers of torch"
# Multiplications of a forward pass over a batch below which a second thread gains nothing: of the
# stacked kernel for each linear layer, and of the loop for the whole model.
STACKED_LAYER, LOOP_STEP = 1_800_000, 600_000


def threads_used(plan: Plan, lanes: int, threads: int | None) -> int:
    """Return how many threads train some lanes.

    Args:
        plan: plan of the retain set.
        lanes: number of shards to train.
        threads: upper limit; None uses one for each core.
    """
    threads = available_threads() if threads is None else threads
    most = min(threads // plan.spec.num_threads, lanes)
    if most < 2 or plan.device.type != "cpu" or not _is_isolated(plan):
        return 1
    alive = max(1, sum(map(plan.alive, range(plan.num_shards))))
    batch = min(plan.spec.batch_size, max(1, int(plan.retained.sum()) // alive))
    products = batch * products_of_example(plan)
    stack = plan.architecture.stack
    if not plan.stacked or stack is None:
        return max(1, min(most, products // LOOP_STEP))
    together, python = lanes_together(plan), len(stack.linears) * STACKED_LAYER
    for count in range(most, 1, -1):
        if min(together, -(-lanes // count)) * products >= count * python:
            return count
    return 1


def group_sizes(plan: Plan, lanes: int, threads: int) -> list[int]:
    """Return the sizes of the groups of lanes that are trained in lockstep.

    Every thread gets equally many groups, and these are almost equally large.

    Args:
        plan: plan of the retain set.
        lanes: number of shards to train.
        threads: how many threads train them.
    """
    together = lanes_together(plan) if plan.stacked else 1
    if threads < 2:
        whole, rest = divmod(lanes, together)
        return [together] * whole + [rest] * (rest > 0)
    rounds = -(-lanes // (threads * together))
    groups = min(lanes, threads * rounds)
    small, rest = divmod(lanes, groups)
    return [small + 1] * rest + [small] * (groups - rest)


def grouped(items: Sequence[Item], sizes: Sequence[int]) -> list[Sequence[Item]]:
    """Divide a sequence into parts of these sizes.

    >>> grouped("abcde", [2, 3])
    ['ab', 'cde']
    """
    found, begin = [], 0
    for size in sizes:
        found.append(items[begin : begin + size])
        begin += size
    return found


def products_of_example(plan: Plan) -> int:
    """Return how many multiplications the layers of a model do for one example, in one direction.

    Every layer is counted as if it applied all its weights at each place of its output.
    """
    architecture = plan.architecture
    if plan.stacked and architecture.stack is not None:
        return Layout(architecture.stack).size
    if PRODUCTS not in architecture.trials:
        architecture.trials[PRODUCTS] = _count_products(plan)
    found: int = architecture.trials[PRODUCTS]
    return found


def _count_products(plan: Plan) -> int:
    found: list[int] = []

    def count(layer: nn.Module, given: Any, outputs: Any) -> None:
        weights = [p for p in layer.parameters(recurse=False) if p.ndim > 1]
        first = outputs[0] if isinstance(outputs, tuple) else outputs
        if weights and isinstance(first, Tensor) and first.ndim > 1:
            convolves = isinstance(layer, nn.modules.conv._ConvNd)
            channels = first.shape[1] if convolves else first.shape[-1]
            places = first[0].numel() // max(1, channels)
            found.append(places * sum(weight.numel() for weight in weights))

    rows = plan.partition.ids[plan.retained][:1]
    try:
        module = plan.architecture.module()
        for layer in module.modules():
            layer.register_forward_hook(count)
        with torch.no_grad():
            module(plan.examples[rows][0])
    except Exception:  # a module that cannot be counted is trained in one thread
        return 0
    return sum(found)


def _is_isolated(plan: Plan) -> bool:
    """Whether shards in different threads share nothing that their training could change."""
    # What a user's code shares between calls cannot be known for certain, so it runs in one thread.
    architecture = plan.architecture
    if type(plan.spec.loss) not in BUILT_IN_LOSSES:
        return False
    if not architecture.foreign or plan.stacked:
        return True
    if ONLY_TORCH not in architecture.trials:
        architecture.trials[ONLY_TORCH] = all(map(_is_torchs, architecture.module().modules()))
    return bool(architecture.trials[ONLY_TORCH]) and not architecture.handling.rebuilt


def _is_torchs(layer: nn.Module) -> bool:
    """Whether a layer runs code of torch or of this package only, without hooks."""
    origin = type(layer).__module__.startswith(("torch.nn.modules.", "unlearnkit."))
    own = origin and "forward" not in vars(layer)
    return own and not any(value for name, value in vars(layer).items() if "hook" in name)
