"""Staged influence: the first-order difference of two coupled trainings, stage by stage.

Training with and without the forget set A in the same slots are two runs of one recursion. Their
difference D obeys, to first order and in training time t, dD/dt = c(t) - (G(t) + lambda I) D. One
implicit Euler segment over each segment between two resets of the optimizer gives

    (I/h + G + lambda I) D = c + D_before / h,        D = 0 before the first affected stage,

with h the effective time of the segment, c = (k/n)(mean forget gradient - mean retain gradient)
over the stage's pool along the segment (see :mod:`unlearnkit.approximate.segments`, and
``StagedInfluence.references`` for where that is not enough), and G the Gauss-Newton matrix on m
retained examples at its end, all by the checkpoints as stored when the round begins. With one slice
this is the influence step of Koh and Liang (2017) with damping 1/h, derived and not tuned. (Ours;
compare the unrolled differentiation of Bae et al. 2024.)

A segment is taken in ``substeps`` equal ones, each with examples of its own for G, which is taken
on the straight line between the two checkpoints; from the initial weights, where gradients fall
steeply, in a single one with G at its end. Errors of independent samples average out, and a product
costs the square of their number. (Measured: see :class:`StagedInfluence`.) Which examples are drawn
says :mod:`unlearnkit.approximate.influence.samples`.

Stage R is cut at its tails, since training resets the optimizer there: the correction is carried
from the start of the stage to each tail in turn.

Stacks of linear layers go through :mod:`unlearnkit.approximate.influence.stacked`, all shards
together, and the last layer alone through :mod:`unlearnkit.approximate.influence.last_layer`.
:mod:`unlearnkit.approximate.influence.any_module` serves any other module, one shard at a time, and
as their independent reference.
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
    part_of,
)
from unlearnkit.approximate.segments import segments_of
from unlearnkit.models.architecture import Architecture
from unlearnkit.models.stack import Stack
from unlearnkit.models.vector import head_names, trainable_names
from unlearnkit.store.checkpoint import State
from unlearnkit.training.clock import Batches
from unlearnkit.training.kernels.stacked import lanes_together
from unlearnkit.training.plan import Plan

Lanes = Callable[[InfluenceSettings, Stack, Sequence[ShardRound], OnStep], list[Modified]]
# Part of the iterations that is expected to be run. Measured on Fashion-MNIST: of 13 .85 to 1 by a
# perceptron; by way of the outputs of 20 .3 to .5 by logistic regression, of 13 .7 by a perceptron.
EXPECTED_ITERATIONS, EXPECTED_BY_OUTPUTS = 0.9, 0.5


@dataclass(frozen=True)
class StagedInfluence(InfluenceSettings):
    """Correct the checkpoints of every affected stage by an implicit Euler step of the difference.

    What is said of perceptrons was measured with ReLUs, unless their activation is named.

    Attributes:
        scope: ``"all"`` parameters, or only the ``"head"`` (the last linear layer): the choice for
            convolutional networks, whose body is far from linear in its parameters.
        substeps: of implicit Euler in each segment but one from the initial weights. (Two of 400
            examples cost as much as one of 540, and remove as much of the output KL as one of 640
            or more: 53 and 75 % for 52 and 72 %, a hundredth and a tenth of 60,000 examples of
            Fashion-MNIST revoked, 5 shards of one slice, a perceptron, examples drawn alike. A
            single one from the initial weights: 59 and 79 % for 58 and 78 %, a tenth faster.)
        iterations: of conjugate gradients, at most, for each substep. (Fewer leave more of the
            membership-inference gap: with one substep 8 remove 53 % of it, 16 95 %; the output KL
            hardly changes.)
        tolerance: relative residual at which they stop: of the correction or, by way of the
            outputs, of what it does to these.
        candidates: examples of which those for G are drawn, the more likely the more curvature
            their outputs have (see :mod:`unlearnkit.approximate.influence.samples`); 0 draws all
            alike. The default for linear models, which gain nothing, and for the head alone, where
            the outputs of a candidate cost as much as all that is done with one drawn. Small
            shards, of which ``curvature_share`` is less than twice ``curvature_min``, draw all
            alike too. (Fashion-MNIST, 10,000 examples, a perceptron, 5 and 10 shards: from all
            candidates of a shard no more of the output KL is removed, at .9 times the speed.)
        curvature_share: examples for G as a part of the shard; between ``curvature_min`` and
            ``curvature_max`` of them, and of a stage's pool that is a part of the shard the same
            part of that. (Fashion-MNIST, 60,000 examples, 5 shards of 5 slices, one substep, at
            most 512, a tenth revoked: a perceptron 67 % of the output KL removed at 5.4 times the
            speed of exact retraining with as many in every stage, 63 % at 6.4 times in this way.)
        curvature_min: see there.
        curvature_max: see there.
        few: of a shard's examples, the part below which a request takes less effort. Where examples
            are drawn by their curvature, one substep, and at most ``FEW_CURVATURE`` examples out of
            ``FEW_CANDIDATES``. (Fashion-MNIST, 60,000 examples, a perceptron of GELUs, 5 shards of
            one slice, 100 revoked: 80 instead of 88 % of the output KL removed at 13 instead of 9
            times the speed of exact retraining, and 80 instead of 84 % of the membership-inference
            gap, one request. With ReLUs 36 instead of 38 % and 88 instead of 86 %, means of four.
            It would cost more where more is revoked: of a hundredth 58 instead of 66 %.) Where they
            never are (``candidates=0``, all parameters), in shards so small that ``curvature_min``
            are taken, half of the substeps. (10,000 examples, logistic regression, 10 of them
            revoked, 10 shards of five slices and of one: 93 and 95 % of the output KL removed
            instead of 97 and 97 %, at 4.1 and 4.7 instead of 2.9 and 3.9 times the speed.)
        references: only for the head: retained examples, for each forgotten one, whose gradients
            are taken beside those of the forgotten, in shards of one slice that forget ``MANY``
            examples or more. Where training ends a segment is not quite where its path leads, in
            networks of convolutions above all: gradients there are off by as much for all examples,
            forgotten or retained, and what is read off the path is not. Many forgotten examples
            tell their mean so well that this is what is left of the difference. See
            :class:`~unlearnkit.approximate.influence.any_module.Difference`. (Fashion-MNIST, 60,000
            examples, shards of one slice, a tenth revoked, a network of convolutions, seeds 0, 1
            and 2: of the output KL 82, 77 and 78 % removed instead of 55, 74 and 77 % in 5 shards,
            79, 79 and 76 % instead of 74, 78 and 72 % in 10, at 11.5 instead of 14 times the speed
            of exact retraining; of one other request 65 instead of -6 %. Of a hundredth, or of
            10,000 examples, nothing was gained, and nothing in shards of five slices.)
        by_outputs: only for stacks of linear layers: solve by way of the change of the outputs (see
            ``solve_dual`` of :mod:`unlearnkit.approximate.linearised`). The same solution
            where the iterations reach it, as for linear models and in small shards, in fewer and
            cheaper
            ones: the choice for these. (10,000 examples of Fashion-MNIST, a perceptron, 10 shards
            of 5 slices, 10, 100 and 1,000 revoked, means of three: 91 % of the output KL removed
            each time, either way, at 3.7, 4.1 and 3.9 for 3.3, 3.8 and 3.7 times the speed of exact
            retraining. With a tolerance of 0.03 instead of 0.1 no more is, nor by logistic
            regression.) Where they are cut short it corrects too much, and the other way too
            little, which is better. (60,000 examples, 10 shards of one slice, a hundredth revoked,
            means of two: 85 instead of 89 %, and 90 instead of 95 % of the membership-inference
            gap.)
    """

    def unsuitable(self, plan: Plan) -> str:
        """Refuse optimizers whose difference equation this is not."""
        if plan.spec.optimizer != "sgd":
            return (
                f"staged influence holds for SGD, and this ensemble was trained with "
                f"{plan.spec.optimizer}, so it is retrained exactly"
            )
        return ""

    def visits(self, plan: Plan, shard: int, forget: Members) -> int:
        """Gradients of the forget set and its references, and all curvature products."""
        fit = self.fit_for(len(forget), _shard_size(plan, shard, forget))
        planned = fit._planned(plan, shard, forget)
        solved = sum(p.substeps * p.curvature for p in planned) * (1 + fit.iterations)
        return fit._candidates(plan, shard, forget) + sum(p.gradients for p in planned) + solved

    def batches(self, plan: Plan, forget: Mapping[int, Members]) -> Batches:
        """Two gradients a segment; a linearisation and most of the products for each substep.

        A candidate's forward pass is a third of a training step, and so is what the body makes of
        an example where the head alone is corrected; products with it are counted as batches only,
        and the clock is told by timing both. In lanes, batches are shared by those that run
        together, but not the passes through the body, and products are of matrices as small as the
        examples are few.
        """
        part = EXPECTED_BY_OUTPUTS if self.by_outputs else EXPECTED_ITERATIONS
        expected = part * self.iterations
        head, (stack, _) = self.scope == "head", self._lanes(plan.architecture)
        runs, visits = dict[StagedInfluence, list[int]](), 0.0  # shared in lanes
        bodies, together, largest = 0, 1, 1
        for shard, members in forget.items():
            fit = self.fit_for(len(members), _shard_size(plan, shard, members))
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
            together = lanes_together(plan, list(forget))
        run = sum(sum(sorted(some, reverse=True)[::together]) for some in runs.values())
        return Batches(len(forget), bodies + run, round(visits))

    def _candidates(self, plan: Plan, shard: int, forget: Members) -> int:
        """How many of a shard's retained examples are candidates, if any are needed."""
        size = _shard_size(plan, shard, forget)
        return min(self.candidates, size - len(forget)) if self.draws_by_curvature(size) else 0

    def _planned(self, plan: Plan, shard: int, forget: Members) -> "list[_Planned]":
        """What a round will read in the stages that it corrects."""
        rows = plan.partition.shard_rows(shard)
        slices = plan.partition.slice_[rows[plan.retained[rows]]]
        first, last = int(forget.slices.min()), plan.spec.num_slices
        whole = len(slices) + len(forget)
        counts = (np.bincount(some, minlength=last + 1) for some in (slices, forget.slices))
        until = np.cumsum(list(counts), axis=1).tolist()
        planned: list[_Planned] = []
        for stage in range(first, last + 1):
            retained, gone = until[0][stage], until[1][stage]
            if not retained:
                continue
            segments = len(plan.spec.tail_epochs()) if stage == last else 1
            # At the start of a stage only of those that join in it: see Difference.
            joined = gone - (planned[-1].forgotten if planned else 0) if stage > 1 else 0
            points, gradients = segments + (joined > 0), segments * gone + joined
            if stage == 1 == last and (references := self._num_references(gone, retained)):
                points += 2 * segments
                gradients += segments * references
            curvature = min(self.sample_size(retained + gone, whole), retained)
            substeps = segments * self.substeps - (stage == 1) * (self.substeps - 1)
            planned.append(_Planned(gone, points, gradients, substeps, curvature))
        return planned

    def __call__(self, rounds: Sequence[ShardRound], *, on_progress: OnStep) -> list[Modified]:
        """See :class:`~unlearnkit.approximate.protocol.Method`."""
        if not rounds:
            return []
        modified: dict[int, Modified] = {}
        stack, together = self._lanes(rounds[0].state.plan.architecture)
        if stack is None:
            for number, each in enumerate(rounds):
                told = part_of(on_progress, number, len(rounds))
                modified[number] = self._fit(each).modify(each, told)
            return list(modified.values())
        alike: dict[StagedInfluence, list[int]] = {}
        for number, each in enumerate(rounds):
            alike.setdefault(self._fit(each), []).append(number)
        for turn, (fit, numbers) in enumerate(alike.items()):
            told = part_of(on_progress, turn, len(alike))
            found = together(fit, stack, [rounds[number] for number in numbers], told)
            modified |= dict(zip(numbers, found, strict=True))
        return [modified[number] for number in range(len(rounds))]

    def _lanes(self, architecture: Architecture) -> tuple[Stack | None, Lanes]:
        """The stack of linear layers that is corrected in lanes, if one is, and how."""
        if self.scope == "all":
            return architecture.stack, modify_stacked
        return architecture.head, modify_last_layers

    def _fit(self, given: ShardRound) -> "StagedInfluence":
        forgotten = len(given.forget)
        return self.fit_for(forgotten, forgotten + len(given.retain))

    def modify(self, given: ShardRound, on_progress: OnStep) -> Modified:
        """Correct one shard, of any module, by automatic differentiation."""
        state = given.state
        plan = state.plan
        module = plan.architecture.module()
        names = trainable_names(module) if self.scope == "all" else head_names(module)
        segments = segments_of(given)
        run = Difference(self, given, module, names, self.candidates_of(given, segments))
        states: dict[str, State] = {}
        for number, each in enumerate(segments):
            share = number / len(segments)
            on_progress(f"shard {state.shard}: correcting {each.name}", share)
            run.advance(each)
            states[each.name] = run.apply(each.end, each.stage)
        return run.finish(segments, states)


def _shard_size(plan: Plan, shard: int, forget: Members) -> int:
    """A shard's examples, those that it is to forget among them."""
    return int(plan.retained[plan.partition.shard_rows(shard)].sum()) + len(forget)


class _Planned(NamedTuple):
    """For a stage: the forgotten; batches of gradients, examples in them; substeps, of each."""

    forgotten: int
    points: int
    gradients: int
    substeps: int
    curvature: int
