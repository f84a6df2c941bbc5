"""Folders of saved models: whole or not there, and nothing outside of them is read."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearnkit.store import DiskStore, NoStoreError, StoreError, StoreIOError, model_folder
from unlearnkit.store.files import digest_of
from unlearnkit.store.model_folder import read_description, read_model, write_models

STATES = {
    0: {"w": torch.tensor([[1.5, float("inf")]]), "n": torch.tensor(3), "none": torch.zeros(0, 2)},
    7: {"w": torch.zeros(1, 2, dtype=torch.bfloat16), "turned": torch.arange(6).reshape(2, 3).T},
}


def write(folder: Path, states: Any = STATES, **options: Any) -> None:
    write_models(folder, {"about": "test"}, states, **options)


def rewritten(folder: Path, change: Any) -> None:
    """Change the description, and make its digest fit."""
    path = folder / "ensemble.json"
    whole = json.loads(path.read_text())
    change(whole)
    whole["digest"] = digest_of(whole["content"])
    path.write_text(json.dumps(whole))


def read(folder: Path) -> list[Any]:
    return [read_model(folder, entry) for entry in read_description(folder)["files"]]


def test_models_come_back_to_the_bit_and_in_order(tmp_path: Path) -> None:
    write(tmp_path / "a" / "b", card="# Card")
    for found, given in zip(read(tmp_path / "a" / "b"), STATES.values(), strict=True):
        assert list(found) == list(given)
        for name in given:
            assert found[name].dtype == given[name].dtype
            assert torch.equal(found[name], given[name])
    assert (tmp_path / "a" / "b" / "README.md").read_text() == "# Card"
    assert read_description(tmp_path / "a" / "b")["about"] == "test"


def test_a_folder_with_other_contents_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="holds no saved ensemble; give a new or empty"):
            write(tmp_path, overwrite=overwrite)
    (tmp_path / "ensemble.json").write_text("{}")
    with pytest.raises(StoreError, match=r"ensemble\.json is damaged"):
        write(tmp_path, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["ensemble.json", "thesis.tex"]
    with pytest.raises(FileExistsError, match="is not a folder"):
        write(tmp_path / "thesis.tex")


def test_overwriting_replaces_models_and_card_and_keeps_other_files(tmp_path: Path) -> None:
    write(tmp_path, card="old")
    with pytest.raises(FileExistsError, match="give overwrite=True to replace it"):
        write(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    write(tmp_path, {1: {"w": torch.ones(1)}}, overwrite=True)
    (name,) = (each["name"] for each in read_description(tmp_path)["files"])
    assert sorted(os.listdir(tmp_path)) == ["ensemble.json", "notes.txt", name]
    (tmp_path / "README.md").write_text("my own words")
    write(tmp_path, overwrite=True)
    assert (tmp_path / "README.md").read_text() == "my own words"


@pytest.mark.parametrize("at", range(3))
def test_what_is_interrupted_leaves_the_old_models_or_none(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, calls = os.replace, iter(range(at, -100, -1))

    def stop(*args: Any) -> None:
        if next(calls) == 0:
            raise OSError(28, "no space left on device")
        replace(*args)

    write(tmp_path / "old")
    monkeypatch.setattr(os, "replace", stop)
    other = {0: {"w": torch.ones(5)}, 1: {"w": torch.ones(6)}}
    with pytest.raises(StoreIOError, match=r"could not be written .*no space left"):
        write(tmp_path / "old", other, overwrite=True)
    before = set(os.listdir(tmp_path / "old"))
    assert torch.equal(read(tmp_path / "old")[0]["w"], STATES[0]["w"])
    assert before == {"ensemble.json", *(e["name"] for e in listed(tmp_path / "old"))}
    calls = iter(range(at, -100, -1))
    with pytest.raises(StoreIOError):
        write(tmp_path / "new", other)
    assert not (tmp_path / "new").exists()


def listed(folder: Path) -> list[Any]:
    files: list[Any] = read_description(folder)["files"]
    return files


def test_a_killed_writer_leaves_a_folder_that_holds_nothing_and_can_be_written(
    tmp_path: Path,
) -> None:
    write(tmp_path)
    (tmp_path / "ensemble.json").unlink()  # it is written last
    (tmp_path / ".writing-shard-0009-aaaaaaaaaaaaaaaa.safetensors").write_text("half")
    (tmp_path / "shard-0009-aaaaaaaaaaaaaaaa.safetensors").write_text("of another model")
    with pytest.raises(NoStoreError, match="there is no saved ensemble in"):
        read_description(tmp_path)
    write(tmp_path)
    assert len(os.listdir(tmp_path)) == 1 + len(STATES) == 1 + len(read(tmp_path))


def test_the_store_of_a_session_is_told_apart(tmp_path: Path) -> None:
    store = DiskStore(tmp_path)
    store.close()
    (tmp_path / "manifest.json").touch()
    with pytest.raises(NoStoreError, match="holds the store of a session"):
        read_description(tmp_path)


def test_every_changed_byte_of_a_model_is_noticed(tmp_path: Path) -> None:
    write(tmp_path, {0: {"w": torch.ones(2)}})
    (entry,) = listed(tmp_path)
    path = tmp_path / entry["name"]
    data = path.read_bytes()
    for at in range(len(data)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(StoreError, match="does not match its digest"):
            read_model(tmp_path, entry)
    path.write_bytes(data + b" ")
    with pytest.raises(StoreError, match=f"has {len(data) + 1} bytes, but {len(data)} were"):
        read_model(tmp_path, entry)
    path.unlink()
    with pytest.raises(StoreError, match="is damaged"):
        read_model(tmp_path, entry)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(kind="other"), "does not describe a saved ensemble"),
        (lambda d: d.update(format=2), "has format 2, and this version of unlearnkit reads"),
        (lambda d: d["content"]["files"][0].update(name="../../passwd"), "is not the name of a"),
        (lambda d: d["content"]["files"][0].update(name="/etc/passwd"), "is not the name of a"),
        (lambda d: d["content"].pop("files"), r"damaged \(KeyError"),
        (lambda d: d["content"].update(files=3), r"damaged \(TypeError"),
    ],
)
def test_a_description_of_something_else_is_refused(change: Any, said: str, tmp_path: Path) -> None:
    write(tmp_path)
    rewritten(tmp_path, change)
    with pytest.raises(StoreError, match=said):
        read_description(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", "[" * 10**5, '{"kind": 1e999}', '{"a": ' + "1" * 5000 + "}"]
)
def test_no_text_in_place_of_the_description_raises_anything_else(
    text: str, tmp_path: Path
) -> None:
    (tmp_path / "ensemble.json").write_text(text)
    with pytest.raises(StoreError):
        read_description(tmp_path)


def test_neither_links_nor_pipes_nor_sparse_files_are_read(tmp_path: Path) -> None:
    write(tmp_path / "a")
    (first, second) = listed(tmp_path / "a")
    path = tmp_path / "a" / first["name"]
    os.replace(path, tmp_path / "outside")
    path.symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match=r"is damaged \(OSError"):
        read_model(tmp_path / "a", first)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StoreError, match="it is not a regular file"):
        read_model(tmp_path / "a", first)
    with open(tmp_path / "a" / second["name"], "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(StoreError, match="but most are not on disk"):
        read_model(tmp_path / "a", {**second, "size": 1 << 40})
    description = tmp_path / "a" / "ensemble.json"
    with open(description, "wb") as file:
        file.truncate(model_folder.MOST_BYTES + 1)
    with pytest.raises(StoreError, match="more than"):
        read_description(tmp_path / "a")
    description.unlink()
    os.mkfifo(description)
    with pytest.raises(StoreError, match="it is not a regular file"):
        read_description(tmp_path / "a")
