"""Staged influence: the first-order difference of two coupled training runs, stage by stage.

Training with and without the forget set, with all other examples in the same slots, are two runs of
one recursion. To first order, and in training time t, their difference D obeys
dD/dt = c(t) - (G(t) + lambda I) D. One implicit Euler step over each segment between two optimizer
resets gives

    (I/h + G + (lambda + d) I) D = c + D_before / h,        D = 0 before the first affected stage,

with h the effective time of the segment, c = (k/n)(mean forget gradient - mean retain gradient)
over the stage's pool, averaged over the segment (see :mod:`unlearnkit.approximate.segments`), and G
the Gauss-Newton matrix on m retained examples at its end. All of these are computed from the
checkpoints that are stored when the round begins. With one slice this is the influence step of Koh
and Liang (2017) with the damping 1/h, which is derived rather than tuned. The method was derived
for unlearnkit; compare the unrolled differentiation of Bae et al. (2024).

The equation holds for d = 0. Along directions that the sampled G sees as flat, the two runs do not
separate as far as it says, because a network's curvature changes where they differ. The damping
beyond 1/h, d, counteracts this. Over a shard's whole training, whose effective time is H, it
shrinks such a difference by about exp(-d H), so that d is set as a share of 1/H. This was devised
for unlearnkit. Linear models, whose loss is convex, and the last layer alone do not need it.

A segment is divided into ``substeps`` equal substeps, each with its own sample of examples for G,
which is evaluated on the straight line between the two checkpoints. Errors of independent samples
average out, while the cost of a product grows with the square of the sample size. The segment that
starts from the initial weights is a single step with G at its end, because gradients fall steeply
there. :mod:`unlearnkit.approximate.influence.samples` draws the examples.

Stage R is split at its tails, because training resets the optimizer there. The correction is
carried from the start of the stage to each tail in turn.

:mod:`unlearnkit.approximate.influence.stacked` corrects stacks of linear layers, all shards
together; :mod:`unlearnkit.approximate.influence.last_layer` corrects the last layer alone;
:mod:`unlearnkit.approximate.influence.any_module` corrects any other module, one shard at a time,
and is the independent reference for the other two.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from unlearnkit.approximate.influence.any_module import Difference
from unlearnkit.approximate.influence.last_layer import last_layers_together, modify_last_layers
from unlearnkit.approximate.influence.settings import (
    InfluenceSettings,
)
from unlearnkit.approximate.influence.stacked import modify_stacked
from unlearnkit.approximate.linearised import passes_of_solve
from unlearnkit.approximate.protocol import (
    Members,
    Modified,
    OnStep,
    ShardRound,
    progress_within,
)
from unlearnkit.approximate.routes import Routes, head_stack, refusal
from unlearnkit.approximate.segments import segments_of
from unlearnkit.models.stack import Stack
from unlearnkit.models.vector import head_names, trainable_names
from unlearnkit.store.checkpoint import State
from unlearnkit.training.clock import Batches
from unlearnkit.training.kernels.stacked import lanes_together
from unlearnkit.training.plan import Plan

# Overhead of a pass through the body, in products with the last layer.
BODY_BATCHES = 3
Lanes = Callable[[InfluenceSettings, Stack, Sequence[ShardRound], OnStep], list[Modified]]
# Expected share of ``iterations`` that a solve runs, in parameter space and in output space.
EXPECTED_ITERATIONS, EXPECTED_DUAL_ITERATIONS = 0.9, 0.5


@dataclass(frozen=True, repr=False)
class StagedInfluence(InfluenceSettings):
    """Correct the checkpoints of every affected stage by implicit Euler steps of the difference.

    The defaults suit perceptrons in large shards;
    :func:`unlearnkit.approximate.defaults.default_method` returns the settings for other models.
    tests/benchmarks/defaults.md has the measurements.

    Attributes:
        scope: ``"all"`` corrects all parameters; ``"head"`` corrects only the last linear layer.
            Use ``"head"`` for convolutional networks, whose body is far from linear in its
            parameters.
        substeps: implicit Euler substeps in each segment, except for the segment that starts from
            the initial weights, which is one step.
        iterations: upper limit of conjugate gradient iterations in each substep. Fewer iterations
            leave more of the membership-inference gap.
        tolerance: relative residual at which conjugate gradients stop: of the correction, or of its
            effect on the outputs with ``by_outputs``.
        candidates: number of examples from which the examples for G are drawn, with probabilities
            that grow with the curvature at their outputs (see
            :mod:`unlearnkit.approximate.influence.samples`). 0 draws uniformly: the better choice
            for linear models, which gain nothing from importance sampling, and for the head alone,
            where the outputs of a candidate are as expensive as the rest. Shards in which
            ``curvature_share`` is less than twice ``curvature_min`` draw uniformly too.
        curvature_share: number of examples for G as a share of the shard, limited by
            ``curvature_min`` and ``curvature_max``. In earlier stages it is reduced in proportion
            to the pool of the stage.
        curvature_min: lower limit of the examples for G.
        curvature_max: upper limit of the examples for G in a shard.
        few: share of a shard's examples below which a request counts as small and takes less
            effort. If examples are drawn by their curvature, a small request takes one substep and
            at most ``FEW_CURVATURE`` examples out of ``FEW_CANDIDATES``. With ``candidates=0`` and
            all parameters, in shards so small that ``curvature_min`` applies, it takes half of the
            substeps.
        references: number of retained examples per forgotten example whose gradients are computed
            to correct the mean gradient over the pool; for ``scope="head"`` only. They are used in
            shards of one slice that forget at least ``MANY`` examples. The stored state at the end
            of a segment deviates slightly from the path of training, especially in convolutional
            networks, and shifts the gradients of forgotten and retained examples alike, but not the
            mean gradient computed from the path. With many forgotten examples this shift dominates
            the error of the forcing term. See
            :class:`~unlearnkit.approximate.influence.any_module.Difference`.
        by_outputs: solve in output space (dual solve, see ``solve_dual`` of
            :mod:`unlearnkit.approximate.linearised`); for stacks of linear layers only. Where
            conjugate gradients converge, as for linear models and in small shards, the solution is
            the same and the iterations are fewer and cheaper. Where the iterations are cut short,
            the dual solve corrects too much and the solve in parameter space too little, which is
            better.
        merge: number of early stages that are taken as one segment from the initial weights, if a
            request affects the first; at most R - 1. 1 takes each by itself.
        damping: d times max(H, ``SHORT``), where H is the effective time of the shard's whole
            training. At times below ``SHORT`` the difference is still close to linear, and d does
            not grow any more.

    Raises:
        ValueError: the scope is not known, ``references`` or ``by_outputs`` do not fit it, or the
            damping is negative or not finite.

    >>> import unlearnkit as uk
    >>> session = uk.Session("digits", model=uk.MLP((8,)), epochs=2, seed=0)
    >>> report = session.train()
    >>> request = session.revoke([3, 141])
    >>> session.unlearn(0, method=uk.StagedInfluence(iterations=5, damping=0.5)).debt_after
    2
    """

    def unsuitable(self, plan: Plan) -> str:
        """Refuse optimizers other than SGD, and modules and losses without curvature products.

        The difference equation does not hold for other optimizers.
        """
        if plan.spec.optimizer != "sgd":
            return (
                f"staged influence holds for SGD, and this ensemble was trained with "
                f"{plan.spec.optimizer}, so it is retrained exactly"
            )
        routes = Routes(plan)
        if routes.loss:
            return refusal("staged influence needs the Hessian of the loss", routes.loss)
        if self.scope == "head":
            return refusal("influence of the last layer needs its curvature products", routes.head)
        if plan.architecture.stack is not None:  # needs no automatic differentiation
            return ""
        return refusal("staged influence needs curvature products", routes.products)

    def visits(self, plan: Plan, shard: int, forget: Members) -> int:
        """Count gradients of the forget set and the references, and all curvature products."""
        fit = self.settings_for(len(forget), _shard_size(plan, shard, forget))
        planned = fit._planned(plan, shard, forget)
        solved = sum(p.substeps * p.curvature for p in planned) * (1 + fit.iterations)
        return fit._candidates(plan, shard, forget) + sum(p.gradients for p in planned) + solved

    def batches(self, plan: Plan, forget: Mapping[int, Members]) -> Batches:
        """Count two gradients per segment, and a linearisation and most products per substep.

        A forward pass of a candidate counts as a third of a gradient, and so does a pass through
        the body if only the head is corrected. Products with the head are counted as batches only,
        and a pass through the body as ``BODY_BATCHES`` of them besides.
        Lanes that are corrected together share batches, except for passes through the body.
        Products of stacks of linear layers are counted by :func:`passes_of_solve`.
        """
        part = EXPECTED_DUAL_ITERATIONS if self.by_outputs else EXPECTED_ITERATIONS
        expected = part * self.iterations
        head, (stack, _) = self.scope == "head", self._lanes(plan)
        runs, visits = dict[StagedInfluence, list[int]](), 0.0  # shared in lanes
        bodies, together, largest = 0, 1, 1
        for shard, members in forget.items():
            fit = self.settings_for(len(members), _shard_size(plan, shard, members))
            planned = fit._planned(plan, shard, members)
            passed = sum(each.points + each.substeps for each in planned)
            products = round(sum(each.substeps for each in planned) * expected)
            bodies += passed if head else 0
            largest = max(largest, *(each.curvature for each in planned))
            runs.setdefault(fit, []).append(products if head else passed + products)
            visits += fit._candidates(plan, shard, members) / 3
            for each in planned:
                if head:
                    visits += (each.gradients + each.substeps * each.curvature) / 3
                elif stack is not None:
                    passes = passes_of_solve(stack, each.curvature, expected)
                    visits += each.gradients + each.substeps * each.curvature * passes
                else:
                    visits += each.gradients + each.substeps * each.curvature * (1 + expected)
        if stack is not None and head:
            together = last_layers_together(stack, largest)
        elif stack is not None:
            together = lanes_together(plan)
        run = sum(sum(sorted(some, reverse=True)[::together]) for some in runs.values())
        return Batches(len(forget), BODY_BATCHES * bodies + run, round(visits))

    def _candidates(self, plan: Plan, shard: int, forget: Members) -> int:
        """Return the number of a shard's retained examples that are candidates."""
        size = _shard_size(plan, shard, forget)
        return min(self.candidates, size - len(forget)) if self.draws_by_curvature(size) else 0

    def _planned(self, plan: Plan, shard: int, forget: Members) -> "list[_Planned]":
        """Return the expected work of a round in each stage that it corrects."""
        rows = plan.partition.shard_rows(shard)
        slices = plan.partition.slice_[rows[plan.retained[rows]]]
        first, last = int(forget.slices.min()), plan.spec.num_slices
        whole = len(slices) + len(forget)
        counts = (np.bincount(some, minlength=last + 1) for some in (slices, forget.slices))
        until = np.cumsum(list(counts), axis=1).tolist()
        planned: list[_Planned] = []
        merge = max(1, min(self.merge, last - 1)) if first == 1 else 1
        for stage in range(max(first, merge), last + 1):
            retained, gone = until[0][stage], until[1][stage]
            if not retained:
                continue
            segments = len(plan.spec.tail_epochs()) if stage == last else 1
            # At the start of a stage only the examples that join in it are read; see Difference.
            from_start = first == 1 and stage == merge
            joined = 0 if from_start else gone - (planned[-1].forgotten if planned else 0)
            points, gradients = segments + (joined > 0), segments * gone + joined
            if from_start:  # a merged segment reads each slice by itself
                points += len(np.unique(forget.slices[forget.slices <= stage])) - 1
            if stage == 1 == last and (references := self._num_references(gone, retained)):
                points += 2 * segments
                gradients += segments * references
            curvature = min(self.sample_size(retained + gone, whole), retained)
            substeps = segments * self.substeps - from_start * (self.substeps - 1)
            planned.append(_Planned(gone, points, gradients, substeps, curvature))
        return planned

    def __call__(self, rounds: Sequence[ShardRound], *, on_progress: OnStep) -> list[Modified]:
        """See :class:`~unlearnkit.approximate.protocol.Method`."""
        if not rounds:
            return []
        modified: dict[int, Modified] = {}
        stack, together = self._lanes(rounds[0].state.plan)
        if stack is None:
            for number, each in enumerate(rounds):
                told = progress_within(on_progress, number, len(rounds))
                modified[number] = self._fit(each).modify(each, told)
            return list(modified.values())
        alike: dict[StagedInfluence, list[int]] = {}
        for number, each in enumerate(rounds):
            alike.setdefault(self._fit(each), []).append(number)
        for turn, (fit, numbers) in enumerate(alike.items()):
            told = progress_within(on_progress, turn, len(alike))
            found = together(fit, stack, [rounds[number] for number in numbers], told)
            modified |= dict(zip(numbers, found, strict=True))
        return [modified[number] for number in range(len(rounds))]

    def is_separate(self, plan: Plan) -> bool:
        """Whether every shard is corrected by itself, because more would not fit into a batch."""
        stack, _ = self._lanes(plan)
        if stack is None:
            return True
        if self.scope == "head":
            return last_layers_together(stack, self.curvature_min) == 1
        return lanes_together(plan) == 1

    def _lanes(self, plan: Plan) -> tuple[Stack | None, Lanes]:
        """Return the stack of linear layers to correct in lanes, or None, and the solver."""
        if self.scope == "all":
            return plan.architecture.stack, modify_stacked
        return head_stack(plan), modify_last_layers

    def _fit(self, given: ShardRound) -> "StagedInfluence":
        forgotten = len(given.forget)
        return self.settings_for(forgotten, forgotten + len(given.retain))

    def modify(self, given: ShardRound, on_progress: OnStep) -> Modified:
        """Correct one shard by automatic differentiation, for any module."""
        state = given.state
        plan = state.plan
        module = plan.architecture.module()
        names = trainable_names(module) if self.scope == "all" else head_names(module)
        segments = segments_of(given, merge=self.merge)
        run = Difference(self, given, module, names, self.candidates_of(given, segments))
        states: dict[str, State] = {}
        for number, each in enumerate(segments):
            share = number / len(segments)
            on_progress(f"shard {state.shard}: correcting {each.name}", share)
            run.advance(each)
            states |= run.states_of(each)
        return run.finish(segments, states)


def _shard_size(plan: Plan, shard: int, forget: Members) -> int:
    """Return the number of a shard's examples, including those that it is to forget."""
    return int(plan.retained[plan.partition.shard_rows(shard)].sum()) + len(forget)


class _Planned(NamedTuple):
    """The expected work in one stage.

    Attributes:
        forgotten: forgotten examples that take part in the stage.
        points: batches of gradients.
        gradients: example gradients in these batches.
        substeps: substeps of the stage.
        curvature: examples for G in each substep.
    """

    forgotten: int
    points: int
    gradients: int
    substeps: int
    curvature: int
