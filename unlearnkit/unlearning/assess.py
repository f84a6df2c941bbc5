"""What a request would cost: its workload, and either way's seconds shard by shard."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from jaxtyping import Int

from unlearnkit.approximate import (
    LINEAR_INFLUENCE,
    METHODS,
    Amend,
    Method,
    Replay,
    StagedInfluence,
)
from unlearnkit.approximate.curvature import (
    conjugate_gradients,
    gauss_newton,
    head_names,
    mean_gradient,
    trainable_names,
)
from unlearnkit.approximate.influence.last_layer import Body
from unlearnkit.approximate.influence.staged import EXPECTED_ITERATIONS
from unlearnkit.approximate.linearised import (
    Linearised,
    gather,
    passes_of_solve,
    solve,
    solve_by_outputs,
)
from unlearnkit.store import Store
from unlearnkit.training.clock import Batches, Clock
from unlearnkit.training.kernels.loop import compute_threads
from unlearnkit.training.plan import Plan
from unlearnkit.training.train import work_of
from unlearnkit.unlearning.boundary.protocol import Cost, Costs, Coverage
from unlearnkit.unlearning.error_model import Calibration
from unlearnkit.unlearning.modify import debts_of, incomplete, members_of, replayed
from unlearnkit.unlearning.workload import Workload, estimate

LINEAR_MOST = 768  # examples for the curvature of a linear model: see default_method
LINEAR_SMALL = 1500  # examples of a shard: see there
LEAST_PROBE = 0.005  # seconds below which large batches are not timed beforehand


def default_method(plan: Plan) -> Method:
    """Staged influence, with settings for the model and the shards; of the head alone for CNNs.

    A linear model of one slice has few stretches, and takes four substeps in each but the first.
    (Fashion-MNIST, 60,000 examples, 5 and 10 shards, means of six requests of a hundredth and of a
    tenth: 97, 96, 97 and 95 % of the output KL removed for 97, 95, 97 and 94 % with three, at 5.4,
    4.8, 5.3 and 4.7 for 6.2, 5.3, 5.9 and 5.1 times the speed of exact retraining.) In shards of
    less than ``LINEAR_SMALL`` examples it takes two, of at least 100 examples. (10,000 examples, 10
    shards, means of five requests of 10, 100 and 1,000: 97, 97 and 95 % removed for 97, 96 and 95 %
    with four, at 4.0, 4.1 and 3.8 for 3.4, 4.0 and 3.6 times the speed.)

    One of large shards takes more examples for its curvature, a twenty-eighth of a shard, at most
    768. (All in one shard of one slice and in two of five, means of six requests of 60 to 6,000: 95
    and 95 % removed, of the membership-inference gap 99 and 96 %, at 8.3 and 5.5 times the speed;
    with 432 examples 90 and 90, 94 and 93 %, at 11.1 and 7.6 times.)

    A perceptron of small shards and several slices takes a few examples more, and of five slices
    and more, which have many stretches, one substep. (10,000 examples, 10 shards of 5 slices, means
    of four requests of 10, 100 and 1,000: 80, 86 and 83 % removed for 81, 87 and 87 % with two, at
    4.0, 3.9 and 3.9 for 3.3, 3.2 and 3.1 times the speed. Of one slice it would lose up to 6
    points. Digits, 5 shards of 3 slices, means of twelve requests of a tenth: with two substeps 72
    for 64 % with fewer examples and 61 % with one substep.)
    """
    one_slice, shard_size = plan.spec.num_slices == 1, len(plan.partition.ids) // plan.num_shards
    if plan.architecture.is_linear:
        linear = LINEAR_INFLUENCE
        most = min(max(linear.curvature_max, shard_size // 28), LINEAR_MOST)
        if one_slice and shard_size < LINEAR_SMALL:
            return replace(linear, curvature_max=most, curvature_min=100)
        return replace(linear, curvature_max=most, substeps=4 if one_slice else linear.substeps)
    if plan.architecture.is_convolutional:
        return METHODS["last-layer-influence"]
    chosen = StagedInfluence()
    if one_slice or chosen.draws_by_curvature(shard_size):
        return chosen
    return replace(
        chosen,
        substeps=1 if plan.spec.num_slices >= 5 else 2,
        curvature_min=112,
        tolerance=0.1,
        by_outputs=True,
    )


def time_large_batches(
    plan: Plan, store: Store, budget: float
) -> tuple[tuple[Batches, float], ...]:
    """Time a few large batches, so that the clock can predict a first modification.

    Args:
        plan: whose first shard is looked at; nothing is changed.
        store: with its checkpoints.
        budget: seconds that this may take, about.

    Returns:
        Work and its seconds; nothing where the budget is too small to tell anything.
    """
    if budget < LEAST_PROBE:
        return ()
    begun = time.perf_counter()
    method = default_method(plan)
    staged = method if isinstance(method, StagedInfluence) else StagedInfluence()
    shard = next(s for s in range(plan.num_shards) if plan.final_key(s) in store)
    rows = plan.partition.shard_rows(shard)
    ids = plan.partition.ids[rows[plan.retained[rows]]]
    state, module = store.get(plan.final_key(shard)).state, plan.architecture.module()
    loss, stack = plan.spec.loss, plan.architecture.stack
    head, body = staged.scope == "head", None
    names = (head_names if head else trainable_names)(module)
    if head and (stack := plan.architecture.head) is not None:
        body = Body(module, stack)
    # Products with a head are not among its visits: as many for each as a request takes.
    products = round(EXPECTED_ITERATIONS * staged.iterations) if head else 2
    timed: list[tuple[Batches, float]] = []
    last = 1
    with compute_threads(plan.spec.num_threads):
        # The first is a warm-up, the last what the method takes for its curvature.
        for size in (8, 8, 64, staged.curvature_size(len(ids))):
            at = time.perf_counter()
            if timed and at - begun + size / last * timed[-1][1] > budget:
                break
            inputs, targets = plan.examples[ids[:size]]
            count = last = len(inputs)
            visits = 4.0 * count  # a gradient, a linearisation, two products
            if stack is not None:
                if body is not None:  # once for gradients, once for curvature, and for looks
                    body.features(state, torch.cat([inputs, inputs]))
                seen = inputs.flatten(1) if body is None else body.features(state, inputs)
                model = Linearised(stack, loss, gather(stack, [state], loss), seen.unsqueeze(0))
                weights = torch.full((1, count), 1 / count)
                right = model.gradient(targets.unsqueeze(0), weights)
                solver = solve_by_outputs if staged.by_outputs and not head else solve
                solver(model, weights, torch.ones(1), right, iterations=products, tolerance=0.0)
                visits = count * (1 + passes_of_solve(stack, count, 2))
            else:
                gradient = mean_gradient(module, state, names, inputs, targets, loss)
                product = gauss_newton(module, state, names, inputs, loss)
                conjugate_gradients(product, gradient, iterations=products, tolerance=0.0)
            work = Batches(0, 2 + products, round(2 * count / 3 if head else visits))
            timed.append((work, time.perf_counter() - at))
    return tuple(timed[1:])


def assess(
    before: Plan,
    store: Store,
    ids: Int[np.ndarray, " request"],
    clock: Clock,
    *,
    method: Method | None = None,
    amend: Amend | None = None,
    calibration: Calibration = Calibration(),
) -> tuple[Plan, Workload, Costs]:
    """Estimate a request: the plan after it, its workload, and what each way would cost.

    Nothing is changed anywhere.
    """
    plan, debts = before.without(ids), debts_of(before, store)
    sizes = {shard: len(debt) for shard, debt in debts.items()}
    workload = estimate(plan, store, ids, sizes, clock=clock)
    method, amend = method or default_method(plan), amend or Replay()
    hit = [work.shard for work in workload.shards]
    forget = {s: members_of(before, plan, s, s in debts)[0] for s in hit if plan.alive(s)}
    stages = {work.shard: work.stages for work in workload.shards}

    @cache
    def exact_seconds(chosen: tuple[int, ...]) -> float | None:
        training = clock.exact_seconds(work_of(plan, [st for s in chosen for st in stages[s]]))
        beside = clock.request_seconds(len(hit))
        if training is None or beside is None:
            return None
        return training + beside * len(chosen) / max(1, len(hit))

    @cache
    def approximate_seconds(shards: tuple[int, ...]) -> float | None:
        chosen = {shard: forget[shard] for shard in shards}
        replay = clock.exact_seconds(replayed(plan, chosen, amend))
        modify = clock.modify_seconds(method.batches(plan, chosen))
        beside = clock.request_seconds(0, len(hit))
        if replay is None or modify is None or beside is None:
            return None
        return replay + modify + beside * len(chosen) / max(1, len(hit))

    unsuitable = method.unsuitable(plan)
    forced = {s: unsuitable or incomplete(before, store, s) for s in forget}
    parts = _parts([s for s in forget if not forced[s]], approximate_seconds)
    costs = [
        Cost(
            work.shard,
            work.seconds,
            parts.get(work.shard),
            forced.get(work.shard, ""),
            None
            if plan.architecture.is_linear
            else coverage(before, plan, work.shard, debts.get(work.shard)),
        )
        for work in workload.shards
    ]
    scratch = workload.total_seconds
    seconds = (exact_seconds, approximate_seconds)
    return plan, workload, Costs(tuple(costs), scratch, *seconds, clock.multiple, calibration)


def coverage(
    before: Plan, plan: Plan, shard: int, debt: Int[np.ndarray, " debt"] | None = None
) -> Coverage | None:
    """The class of which the largest part of a shard's examples would have been forgotten.

    Args:
        before: the plan before the request.
        plan: the plan after it.
        shard: that the request hits.
        debt: ids that the shard removed approximately so far.

    Returns:
        None for a regression, which has no classes.
    """
    if plan.examples.labels.is_floating_point():
        return None
    rows = plan.partition.shard_rows(shard)
    shaped = before.retained[rows]
    if debt is not None:
        shaped = shaped | np.isin(plan.partition.ids[rows], debt)
    labels, gone = plan.examples.labels.numpy()[rows], shaped & ~plan.retained[rows]
    members = np.bincount(labels[shaped])
    counts = np.bincount(labels[gone], minlength=len(members))
    label = int((counts / np.maximum(members, 1)).argmax())
    return Coverage(label, int(counts[label]), int(members[label]))


def _parts(
    shards: list[int], seconds: Callable[[tuple[int, ...]], float | None]
) -> dict[int, float | None]:
    """Each shard's part of the seconds of all together, in proportion to those of each alone."""
    whole, alone = seconds(tuple(shards)), {shard: seconds((shard,)) for shard in shards}
    total = sum(taken or 0.0 for taken in alone.values())
    return {s: whole and (taken or 0.0) / total * whole for s, taken in alone.items()}
