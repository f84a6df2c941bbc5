"""The method of modification that is used where none is given."""

from dataclasses import replace

from unlearnkit.approximate import LINEAR_INFLUENCE, METHODS, Method, StagedInfluence
from unlearnkit.training.plan import Plan

LINEAR_MOST = 768  # examples for the curvature of a linear model: see default_method
LINEAR_SMALL = 1500  # examples of a shard: see there


def default_method(plan: Plan) -> Method:
    """Staged influence, with settings for the model and the shards; of the head alone for CNNs.

    A linear model of one slice has few segments, and takes four substeps in each but the first.
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
    and more, which have many segments, one substep. (10,000 examples, 10 shards of 5 slices, means
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
