"""Segments: where training is cut, and what is read off their ends."""

from itertools import pairwise

import torch

import unlearnkit as uk
from rounds import rounds_of, uneven_rounds, uneven_session
from unlearnkit.approximate.curvature import mean_gradient
from unlearnkit.approximate.segments import segments_of
from unlearnkit.models.vector import flatten, trainable_names, unflatten


def test_the_mean_gradient_can_be_read_off_the_way():
    """Full-batch training without momentum: exactly the mean of the gradients along the way."""
    features = torch.randn(40, 4, generator=torch.Generator().manual_seed(3))
    spec = uk.TrainSpec(num_shards=1, num_slices=1, epochs=6, batch_size=64, momentum=0.0)
    session = uk.Session((features, (features[:, 0] > 0).long()), model="logistic", spec=spec)
    session.train()
    rows = session.plan.partition.shard_rows(0)
    [given] = rounds_of(session, {0: rows[:3]})
    module, plan = session.plan.architecture.module(), session.plan
    names, (first, segment) = trainable_names(module), segments_of(given)
    assert first.start is None
    data = plan.examples[plan.partition.ids[rows]]
    at, passed = flatten(segment.start, names), []
    for _ in range(3):  # from the tail of four epochs to that of one
        state = unflatten(at, segment.end, names)
        passed.append((at, mean_gradient(module, state, names, *data, spec.loss)))
        at = at - spec.learning_rate * (passed[-1][1] + spec.weight_decay * at)
    assert (at - flatten(segment.end, names)).abs().max() < 1e-6  # float32
    mean = sum(g for _, g in passed) / 3
    # Weights change by so little on the way that their decay is that of their mean.
    found = segment.pool(passed[0][0], at, spec.weight_decay)
    assert torch.allclose(found, mean, rtol=1e-3, atol=1e-6)


def test_segments_follow_training_from_the_first_affected_stage_to_the_end():
    session = uneven_session("logistic")
    for given in uneven_rounds(session):
        first = int(given.forget.slices.min())
        found = segments_of(given, to_end=True)
        assert [each.stage for each in found] == sorted(each.stage for each in found)
        assert found[0].stage == first and found[-1].tail == 0
        tails = sorted(given.state.checkpoints[3].tails, reverse=True)
        assert [each.tail for each in found] == [None] * (3 - first) + [*tails, 0]
        assert segments_of(given)[-1].name == found[-2].name
        # One segment begins where the one before it has ended.
        assert (found[0].start is None) == (first == 1)
        for one, other in pairwise(found):
            assert other.start is one.end
        steps = [given.state.chain[each.stage - 1] for each in found]
        whole = sum(stage.steps for stage in {stage.index: stage for stage in steps}.values())
        assert sum(each.steps for each in found) == whole
        for each in found:
            gone = int((given.forget.slices <= each.stage).sum())
            left = int((given.retain.slices <= each.stage).sum())
            assert (each.num_forget, each.num_retain) == (gone, left)
            assert each.forget_ratio == gone / left
            assert each.path_time >= each.time > 0


def test_states_between_the_ends_lie_on_the_line():
    segment = segments_of(uneven_rounds(uneven_session("logistic"))[1])[0]
    assert segment.start is not None and segment.points == (segment.start, segment.end)
    assert segment.interpolate(1) is segment.end
    for name, value in segment.interpolate(0.25).items():
        expected = 0.75 * segment.start[name] + 0.25 * segment.end[name]
        assert torch.allclose(value, expected, atol=1e-6)
    initial = segments_of(uneven_rounds(uneven_session("logistic"))[0])[0]
    assert initial.start is None and initial.points == (initial.end,)
    assert initial.interpolate(0.25) is initial.end
