"""Before and after, shard by shard."""

import pytest

from unlearnkit import figures


def test_each_line_leads_from_the_original_to_the_unlearned_model_of_a_shard(compared):
    figure = figures.shard_moves(compared)
    rows = compared.constituents.to_dict("records")
    zero = figure.layout.xaxis.tickvals[0]
    line, original, *unlearned = figure.data
    after = {y: x for trace in unlearned for x, y in zip(trace.x, trace.y, strict=True)}
    for number, row in enumerate(rows):
        begin, end, gap = line.x[3 * number : 3 * number + 3]
        assert gap is None and line.y[3 * number] == line.y[3 * number + 1] == number
        assert begin == original.x[number] == pytest.approx(row["original_to_scratch_l2"])
        expected = zero if row["bit_identical"] else row["unlearned_to_scratch_l2"]
        assert end == after[number] == pytest.approx(expected)
        assert figure.layout.yaxis.ticktext[number] == f"shard {row['shard']}"
    assert {trace.name for trace in unlearned} == {"unlearned, exact", "unlearned, approximate"}


def test_the_text_says_what_is_left_of_the_distance(compared):
    row = compared.constituents.query("not bit_identical").iloc[0]
    share = row["unlearned_to_scratch_l2"] / row["original_to_scratch_l2"]
    [trace] = [t for t in figures.shard_moves(compared).data if t.name == "unlearned, approximate"]
    assert trace.text[0] == f"{share:.0%} left"
