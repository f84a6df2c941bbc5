"""Times large batches, so that the clock can predict the first modification."""

import torch

from unlearnkit.approximate import StagedInfluence
from unlearnkit.approximate.curvature import conjugate_gradients, gauss_newton, mean_gradient
from unlearnkit.approximate.defaults import usual_method
from unlearnkit.approximate.influence.last_layer import Body
from unlearnkit.approximate.influence.staged import BODY_BATCHES, EXPECTED_ITERATIONS
from unlearnkit.approximate.linearised import (
    Linearised,
    passes_of_solve,
    solve,
    solve_dual,
    stack_parameters,
)
from unlearnkit.approximate.routes import head_stack
from unlearnkit.models.vector import head_names, trainable_names
from unlearnkit.store import Store
from unlearnkit.torch_settings import compute_threads, own_settings
from unlearnkit.training.clock import Batches
from unlearnkit.training.kernels.cpu_time import cpu_clock
from unlearnkit.training.plan import Plan

LEAST_PROBE = 0.005  # CPU seconds below which large batches are not timed beforehand


@own_settings()
def time_large_batches(
    plan: Plan, store: Store, budget: float
) -> tuple[tuple[Batches, float], ...]:
    """Time a few large batches, so that the clock can predict the first modification.

    Args:
        plan: plan whose first trained shard is used; nothing is changed.
        store: holds its checkpoints.
        budget: CPU seconds that the measurements may take, approximately.

    Returns:
        Pairs of work and measured CPU seconds; empty if the budget is below ``LEAST_PROBE``, or if
        the large batches of a module that is not built in cannot be computed.
    """
    if budget < LEAST_PROBE:
        return ()
    try:
        return _time_large_batches(plan, store, budget)
    except Exception:  # of the user's module, whose training must not fail for a prediction
        if plan.architecture.described is not None:
            raise
        return ()


def _time_large_batches(
    plan: Plan, store: Store, budget: float
) -> tuple[tuple[Batches, float], ...]:
    now = cpu_clock(plan)
    begun = now()
    method = usual_method(plan)  # whether it is possible shows here at no further cost
    staged = method if isinstance(method, StagedInfluence) else StagedInfluence()
    shard = next(s for s in range(plan.num_shards) if plan.final_key(s) in store)
    rows = plan.partition.shard_rows(shard)
    ids = plan.partition.ids[rows[plan.retained[rows]]]
    state, module = store.get(plan.final_key(shard)).state, plan.architecture.module()
    loss, stack = plan.spec.loss, plan.architecture.stack
    head, body = staged.scope == "head", None
    names = (head_names if head else trainable_names)(module)
    if head and (stack := head_stack(plan)) is not None:
        body = Body(plan.architecture, module, stack)
    # Products with a last layer are not counted as visits, so each batch runs as many as a request.
    products = round(EXPECTED_ITERATIONS * staged.iterations) if head else 2
    timed: list[tuple[Batches, float]] = []
    last = 1
    with compute_threads(plan.spec.num_threads):
        # The first batch is a warm-up; the last has the size of the method's curvature sample.
        for size in (8, 8, 64, staged.curvature_size(len(ids))):
            at = now()
            if timed and at - begun + size / last * timed[-1][1] > budget:
                break
            inputs, targets = plan.examples[ids[:size]]
            count = last = len(inputs)
            visits = 4.0 * count  # a gradient, a linearisation and two products
            if stack is not None:
                if body is not None:  # for the gradients, the curvature and the checks
                    body.features(state, torch.cat([inputs, inputs]))
                seen = inputs.flatten(1) if body is None else body.features(state, inputs)
                model = Linearised(
                    stack, loss, stack_parameters(stack, [state], loss), seen.unsqueeze(0)
                )
                weights = torch.full((1, count), 1 / count)
                right = model.gradient(targets.unsqueeze(0), weights)
                solver = solve_dual if staged.by_outputs and not head else solve
                solver(model, weights, torch.ones(1), right, iterations=products, tolerance=0.0)
                visits = count * (1 + passes_of_solve(stack, count, 2))
            else:
                gradient = mean_gradient(module, state, names, inputs, targets, loss)
                product = gauss_newton(module, state, names, inputs, loss)
                conjugate_gradients(product, gradient, iterations=products, tolerance=0.0)
            batches = products + (2 * BODY_BATCHES if body is not None else 2)
            work = Batches(0, batches, round(2 * count / 3 if head else visits))
            timed.append((work, now() - at))
    return tuple(timed[1:])
