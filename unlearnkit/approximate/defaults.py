"""The default method of modification."""

from dataclasses import replace

from unlearnkit.approximate import (
    LAST_LAYER_INFLUENCE,
    LINEAR_INFLUENCE,
    NETWORK_INFLUENCE,
    Method,
    Replay,
    StagedInfluence,
)
from unlearnkit.training.plan import Plan

MANY_SLICES = 5  # slices from which there are many segments, each with one substep
SMALL_SHARDS_INFLUENCE = replace(
    NETWORK_INFLUENCE, curvature_min=112, tolerance=0.1, by_outputs=True, damping=0.65
)
LARGE_SHARDS_INFLUENCE = replace(
    NETWORK_INFLUENCE,
    substeps=1,
    candidates=1024,
    curvature_share=1 / 22,
    iterations=16,
    damping=0.3,
)
LONG_SEGMENTS_INFLUENCE = replace(LARGE_SHARDS_INFLUENCE, iterations=20, curvature_max=400)
LARGEST_SHARDS = 9000  # shard size from which segments are long even with many slices
LINEAR_CURVATURE_MAX = 768  # upper limit of curvature examples for a linear model
LINEAR_SMALL_SHARD = 1500  # shard size below which a linear model takes fewer substeps, undamped
LINEAR_DAMPING = 0.4  # in larger shards


def default_method(plan: Plan) -> Method:
    """Return staged influence with settings for the plan's model and shard sizes.

    If torch cannot compute what these settings need for a module that is not built in, all
    parameters are corrected instead of the last layer alone, or the other way round, where that is
    possible.
    """
    usual = usual_method(plan)
    if plan.architecture.described is not None or not usual.unsuitable(plan):
        return usual
    others = (NETWORK_INFLUENCE, LAST_LAYER_INFLUENCE)
    return next((other for other in others if not other.unsuitable(plan)), usual)


def earlier_defaults(plan: Plan) -> list[Method]:
    """Return methods that earlier versions used by default, whose ledgers may be replayed."""
    former = StagedInfluence()
    small = replace(former, curvature_min=112, tolerance=0.1, by_outputs=True)
    undamped = replace(usual_method(plan), damping=0.0, merge=1)
    less_damped = replace(usual_method(plan), damping=NETWORK_INFLUENCE.damping)
    networks = [NETWORK_INFLUENCE, LARGE_SHARDS_INFLUENCE, less_damped]
    return [undamped, *networks, former, small, replace(small, substeps=1)]


def is_usual(plan: Plan, method: object, amend: object) -> bool:
    """Return whether a plan's shards are modified and amended like this by default."""
    return method == default_method(plan) and amend == Replay()


def usual_method(plan: Plan) -> StagedInfluence:
    """Return the settings for modules of which everything can be computed.

    - Linear models are solved in output space. With one slice they have few segments and take four
      substeps in each but the first, or two substeps if shards have fewer than
      ``LINEAR_SMALL_SHARD`` examples. Larger shards are damped by ``LINEAR_DAMPING``, and the
      largest take a twenty-eighth of their examples for the curvature, at most
      ``LINEAR_CURVATURE_MAX``.
    - Convolutional networks are corrected in the last layer only.
    - Perceptrons with small shards are solved in output space, with a few more examples for the
      curvature. With one slice, or with five or more, there is one substep in each segment.
    - Of linear models and of perceptrons with small shards, the first two fifths of the stages,
      which hold about a sixth of the visits, are merged.
    - Perceptrons in large shards of five slices or more have one substep too, with fewer candidates
      and more iterations. Where segments are long, because there is one slice or because a shard
      has ``LARGEST_SHARDS`` examples or more, there are still more iterations.

    tests/benchmarks/defaults.md has the measurements behind these settings.
    """
    slices, shard_size = plan.spec.num_slices, len(plan.partition.ids) // plan.num_shards
    one_slice, merge = slices == 1, max(1, 2 * slices // 5)
    if plan.architecture.is_linear:
        small = shard_size < LINEAR_SMALL_SHARD
        most = min(max(LINEAR_INFLUENCE.curvature_max, shard_size // 28), LINEAR_CURVATURE_MAX)
        damping = 0.0 if small else LINEAR_DAMPING
        linear = replace(LINEAR_INFLUENCE, curvature_max=most, damping=damping, merge=merge)
        if one_slice and small:
            return replace(linear, curvature_min=100)
        return replace(linear, substeps=4) if one_slice else linear
    if plan.architecture.is_convolutional:
        return LAST_LAYER_INFLUENCE
    chosen = NETWORK_INFLUENCE
    if chosen.draws_by_curvature(shard_size):
        if one_slice or (slices >= MANY_SLICES and shard_size >= LARGEST_SHARDS):
            return LONG_SEGMENTS_INFLUENCE
        return chosen if slices < MANY_SLICES else LARGE_SHARDS_INFLUENCE
    if one_slice:
        return replace(SMALL_SHARDS_INFLUENCE, substeps=1, curvature_min=128)
    return replace(SMALL_SHARDS_INFLUENCE, substeps=1 if slices >= MANY_SLICES else 2, merge=merge)
