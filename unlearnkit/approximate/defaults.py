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

LINEAR_CURVATURE_MAX = 768  # upper limit of curvature examples for a linear model
LINEAR_SMALL_SHARD = 1500  # shard size below which a linear model takes fewer substeps


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
    return [replace(m, damping=0.0) for m in (usual_method(plan), NETWORK_INFLUENCE)]


def is_usual(plan: Plan, method: object, amend: object) -> bool:
    """Return whether a plan's shards are modified and amended like this by default."""
    return method == default_method(plan) and amend == Replay()


def usual_method(plan: Plan) -> StagedInfluence:
    """Return the settings for modules of which everything can be computed.

    - Linear models are solved in output space. With one slice they have few segments and take four
      substeps in each but the first, or two substeps if shards have fewer than
      ``LINEAR_SMALL_SHARD`` examples. Large shards take a twenty-eighth of their examples for the
      curvature, at most ``LINEAR_CURVATURE_MAX``.
    - Convolutional networks are corrected in the last layer only.
    - Perceptrons with several slices and small shards are solved in output space, with a few more
      examples for the curvature. With five slices or more they have many segments and take one
      substep in each.

    tests/benchmarks/defaults.md has the measurements behind these settings.
    """
    one_slice, shard_size = plan.spec.num_slices == 1, len(plan.partition.ids) // plan.num_shards
    if plan.architecture.is_linear:
        linear = LINEAR_INFLUENCE
        most = min(max(linear.curvature_max, shard_size // 28), LINEAR_CURVATURE_MAX)
        if one_slice and shard_size < LINEAR_SMALL_SHARD:
            return replace(linear, curvature_max=most, curvature_min=100)
        return replace(linear, curvature_max=most, substeps=4 if one_slice else linear.substeps)
    if plan.architecture.is_convolutional:
        return LAST_LAYER_INFLUENCE
    chosen = NETWORK_INFLUENCE
    if one_slice or chosen.draws_by_curvature(shard_size):
        return chosen
    return replace(
        chosen,
        substeps=1 if plan.spec.num_slices >= 5 else 2,
        curvature_min=112,
        tolerance=0.1,
        by_outputs=True,
    )
