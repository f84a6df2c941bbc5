"""The file of a study: torn lines are dropped, and text of others is left alone."""

import pytest

from unlearnkit.studies.log import Log


def test_rows_are_read_again_without_a_line_that_was_cut_off(tmp_path):
    path = tmp_path / "rows.jsonl"
    Log(path).add("one", {"value": 1}, {})
    whole = path.read_bytes()
    for end in (1, 9, len(whole) - 1):
        path.write_bytes(whole + whole[:end])
        assert Log(path).rows == {"one": {"value": 1}}
        assert path.read_bytes() == whole


@pytest.mark.parametrize("before", [b"", b'{"key": "one", "row": {}}\n'])
@pytest.mark.parametrize("text", [b"dear diary", b'{"name": "a JSON file of somebody else"}'])
def test_text_that_no_study_wrote_is_not_cut_off(tmp_path, before, text):
    path = tmp_path / "notes.txt"
    path.write_bytes(before + text)
    with pytest.raises(ValueError, match="ends with something that no study wrote"):
        Log(path)
    assert path.read_bytes() == before + text
