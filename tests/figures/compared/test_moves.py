"""Before and after, shard by shard."""

import pytest

from unlearnkit import figures
from unlearnkit.evaluation.distances.shard_moves import MEASURES, shard_moves


@pytest.mark.parametrize("measure", MEASURES)
def test_each_line_leads_from_the_original_to_the_unlearned_model_of_a_shard(mixed, measure):
    comparison, dataset, *_ = mixed
    frame = shard_moves(comparison, dataset, measure)
    figure = figures.shard_moves(frame, measure)
    zero = figure.layout.xaxis.tickvals[0]
    line, original, *unlearned = figure.data
    after = {y: x for trace in unlearned for x, y in zip(trace.x, trace.y, strict=True)}
    for number, row in enumerate(frame.to_dict("records")):
        begin, end, gap = line.x[3 * number : 3 * number + 3]
        assert gap is None and line.y[3 * number] == line.y[3 * number + 1] == number
        assert begin == original.x[number] == pytest.approx(row["original"])
        assert end == after[number] == pytest.approx(zero if row["exact"] else row["unlearned"])
        assert figure.layout.yaxis.ticktext[number] == f"shard {row['shard']}"
    assert {trace.name for trace in unlearned} == {"unlearned, exact", "unlearned, approximate"}


def test_the_text_says_what_is_left_of_the_distance(mixed):
    comparison, dataset, *_ = mixed
    frame = shard_moves(comparison, dataset, "parameters")
    row = frame[~frame["exact"]].iloc[0]
    [trace] = [t for t in figures.shard_moves(frame).data if t.name == "unlearned, approximate"]
    assert trace.text[0] == f"{row['unlearned'] / row['original']:.0%} left"
