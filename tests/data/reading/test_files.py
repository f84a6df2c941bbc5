"""Files of which pandas guesses other types than the text that was declared."""

import pandas as pd
import pytest
import torch

from unlearnkit import from_file, from_frame

CASES = {
    "codes": ["1", "2"],
    "postcodes": ["01067", "98765"],
    "flags": ["true", "false"],
    "regions": ["NA", "EU"],
    "powers": ["1e5", "2e5"],
    "mixed": ["01", "x"],
}


def write(path, column, values, rows=40, target=(0, 1)):
    lines = [
        f"{row / 10},{values[row % len(values)]},{target[row // 2 % 2]}" for row in range(rows)
    ]
    path.write_text("\n".join([f"x,{column},y", *lines]) + "\n")
    return path


@pytest.mark.parametrize("column", CASES)
def test_a_declared_vocabulary_meets_the_text_in_the_file(tmp_path, column):
    values = CASES[column]
    path = write(tmp_path / "train.csv", column, values)
    # Of the test part pandas may guess another kind.
    test = write(tmp_path / "test.csv", column, values[:1], 6)
    data = from_file(path, "y", test=test, categories={column: values})
    ids = data.train.ids
    assert torch.equal(data.train.features[:, 1:], torch.eye(3)[torch.from_numpy(ids) % 2])
    assert data.test.features[:, 1:].tolist() == [[1, 0, 0]] * 6


@pytest.mark.parametrize("names", [["true", "false"], ["01", "02"], ["NA", "EU"], ["1", "2"]])
def test_class_names_meet_the_text_in_the_file(tmp_path, names):
    path = write(tmp_path / "train.csv", "z", [3, 4], target=names)
    data = from_file(path, "y", class_names=names)
    assert data.class_names == tuple(names)
    assert data.examples([0, 1, 2, 3])[1].tolist() == [0, 0, 1, 1]


def test_class_names_that_are_no_texts_of_the_file_name_its_numbers(tmp_path):
    path = write(tmp_path / "train.csv", "z", [3, 4])
    data = from_file(path, "y", class_names=["cat", "dog"])
    assert data.fingerprint == from_frame(pd.read_csv(path), "y").fingerprint


def test_hashed_columns_are_text_in_every_part(tmp_path):
    path = write(tmp_path / "train.csv", "code", ["01", "1.0", "x"], target=("a", "1"))
    test = write(tmp_path / "test.csv", "code", ["01", "1.0", ""], 6, target=("1", "1"))
    data = from_file(path, "y", test=test, hash_buckets=64)
    assert data.class_names == ("1", "a") and data.test.labels.tolist() == [0] * 6
    assert torch.equal(data.test.features[:2, 1:], data.train.features[:2, 1:])


def test_a_path_may_begin_with_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "train.csv", "z", [3, 4])
    assert len(from_file("~/train.csv", "y", test="~/train.csv").test) == 40


@pytest.mark.parametrize("ending", ["gz", "zip", "bz2", "xz"])
def test_packed_files_are_unpacked(tmp_path, ending):
    frame = pd.read_csv(write(tmp_path / "train.csv", "z", [3, 4]))
    path = tmp_path / f"train.csv.{ending}"
    frame.to_csv(path, index=False)
    assert from_file(path, "y").fingerprint == from_frame(frame, "y").fingerprint


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("x;z;y\n0,5;1;0\n", ValueError, "separated by ';' rather than commas; .*sep=';'"),
        ("x\tz\ty\n0.5\t1\t0\n", ValueError, r"separated by '\\t' rather than commas"),
        ("größe,y\n1,0\n".encode("latin-1"), ValueError, "not encoded in UTF-8 .*encoding="),
        ("0.5,1\n0.25,0\n", KeyError, "holds numbers .*no header line; .*header=None"),
        ("x,y,y\n1,0,1\n2,1,0\n", ValueError, "target 'y' occurs twice in the header"),
        ("x,y\n", ValueError, "no examples"),
    ],
)
def test_files_of_other_kinds_are_refused_with_the_way_out(tmp_path, text, error, message):
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(error, match=message):
        from_file(path, "y")


def test_options_of_the_reader_and_things_that_are_no_paths_are_refused(tmp_path):
    path = write(tmp_path / "train.csv", "z", [3, 4])
    with pytest.raises(TypeError, match=r"from_file has no option sep=.*read_csv"):
        from_file(path, "y", sep=";")
    with open(path) as file, pytest.raises(TypeError, match="a TextIOWrapper is no path"):
        from_file(file, "y")
    with pytest.raises(FileNotFoundError, match="is a folder; give a file"):
        from_file(tmp_path, "y")


def test_separators_at_the_ends_of_lines_move_no_columns(tmp_path):
    path = write(tmp_path / "train.csv", "z", [3, 4])
    header, *lines = path.read_text().splitlines()
    (tmp_path / "ends.csv").write_text("\n".join([header, *(f"{line}," for line in lines)]))
    plain = from_file(path, "y").fingerprint
    assert from_file(tmp_path / "ends.csv", "y").fingerprint == plain
    # Names of rows, for which the header has no name, are no column.
    (tmp_path / "rows.csv").write_text("\n".join([header, *(f"row,{line}" for line in lines)]))
    assert from_file(tmp_path / "rows.csv", "y").fingerprint == plain


def test_row_numbers_and_repeated_names_are_announced(tmp_path):
    frame = pd.read_csv(write(tmp_path / "train.csv", "z", [3, 4]))
    frame.to_csv(tmp_path / "index.csv")
    with pytest.warns(UserWarning, match="only counts the rows, as the index that pandas writes"):
        from_file(tmp_path / "index.csv", "y")
    lines = (tmp_path / "train.csv").read_text().splitlines()
    (tmp_path / "twice.csv").write_text("\n".join(["x,x,y", *lines[1:]]))
    with pytest.warns(UserWarning, match="names 'x' more than once, and .* read as 'x.1'"):
        from_file(tmp_path / "twice.csv", "y")


@pytest.mark.parametrize("first", [range(40), range(0, 400, 10), [3, 1, 2, 9] * 10])
def test_separators_at_the_ends_of_lines_move_no_numbers(tmp_path, first):
    """Pandas takes the first column for the index, and hides it if its steps are even."""
    rows = [f"{one},{['red', 'NA'][i % 2]},{i // 2 % 2}" for i, one in enumerate(first)]
    plain, ends = (tmp_path / name for name in ("plain.csv", "ends.csv"))
    plain.write_text("\n".join(["x,coat,y", *rows]))
    ends.write_text("\n".join(["x,coat,y", *(f"{row}," for row in rows)]))
    read = [from_file(path, "y", categories={"coat": ["red", "NA"]}) for path in (plain, ends)]
    assert read[0].fingerprint == read[1].fingerprint


def test_words_of_the_target_that_are_read_as_missing_are_named(tmp_path):
    path = write(tmp_path / "train.csv", "z", [3, 4], target=("NA", "EU"))
    with pytest.raises(ValueError, match=r"holds 'NA' in rows 0, 1, 4, .*class_names=\['NA'"):
        from_file(path, "y")
    assert from_file(path, "y", class_names=["NA", "EU"]).class_names == ("NA", "EU")
    empty = write(tmp_path / "empty.csv", "z", [3, 4], target=("", "EU"))
    with pytest.raises(ValueError, match="the target is missing in rows 0, 1, 4"):
        from_file(empty, "y")


@pytest.mark.parametrize(
    ("numbered", "names"),
    [
        (["7", "11", " 7", "12"], [7, 11, 12]),
        (["007", "11", "007", "12"], ["007", "11", "12"]),
        (["1.10", "11", "1.10", "12"], ["1.10", "11", "12"]),
        (["1e3", "11", "1e3", "12"], ["1e3", "11", "12"]),
    ],
)
def test_a_group_keeps_the_form_that_numbers_would_change(tmp_path, numbered, names):
    path = write(tmp_path / "train.csv", "person", numbered)
    data = from_file(path, "y", groups="person")
    assert list(data.grouping.names) == names
    assert len(data.ids_of_groups([names[0]])) == 20


def test_two_codes_of_one_number_are_two_groups_in_every_file_and_that_is_said(tmp_path):
    path = write(tmp_path / "train.csv", "person", ["7", "11", "12", "13"])
    test = write(tmp_path / "test.csv", "person", ["007", "008"])
    with pytest.warns(UserWarning, match="read as text, so that '007' and '7' are two groups"):
        data = from_file(path, "y", test=test, groups="person")
    assert set(data.grouping.names) == {"7", "11", "12", "13", "007", "008"}
    assert [len(data.ids_of_groups([name])) for name in ("7", "007")] == [10, 20]


def test_codes_that_lose_their_zeros_are_announced(tmp_path, recwarn):
    path = write(tmp_path / "train.csv", "zip", ["01067", "10115"])
    with pytest.warns(UserWarning, match="column 'zip' of .* holds '01067', .* loses its zeros"):
        from_file(path, "y", hash_buckets=8)
    recwarn.clear()
    from_file(path, "y", categories={"zip": ["01067", "10115"]})
    from_file(path, "y", features=["x"])
    mixed = write(tmp_path / "mixed.csv", "zip", ["01067", "none"])
    from_file(mixed, "y", test=path, hash_buckets=8)  # text in one part is read as text in both
    assert not recwarn.list
