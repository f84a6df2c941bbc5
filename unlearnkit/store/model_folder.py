"""Folders of saved models: a safetensors file for each model, and a JSON file that describes them.

The JSON file is written last and replaced atomically, and the other files are named by their
digests. A folder therefore holds the models that were saved before or those that are saved now,
and without a JSON file it holds none. Such folders may come from strangers: nothing outside the
folder is read, and sizes and digests are checked before contents are used.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load

from unlearnkit.store.checkpoint import State
from unlearnkit.store.codec import layout
from unlearnkit.store.files import (
    WRITING,
    NoStoreError,
    StoreError,
    digest_of,
    read,
    replace_file,
    reporting_damage,
    reporting_failure,
    sync_path,
)
from unlearnkit.store.manifest import MANIFEST

DESCRIPTION, CARD = "ensemble.json", "README.md"
FORMAT, KIND = 1, "unlearnkit ensemble"
CONTENT = "ensemble"  # of such folders, in messages
MODEL = re.compile(r"shard-(\d{4,9})-[0-9a-f]{16}\.safetensors")
MOST_BYTES = 16 << 20  # of the description


def write_models(
    folder: Path,
    description: Mapping[str, Any],
    states: Mapping[int, State],
    *,
    card: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write models and their description into a new or empty folder.

    A folder that an interrupted call left counts as empty.

    Args:
        folder: the folder; it and its parents are created.
        description: JSON-compatible values.
        states: parameters and buffers by shard.
        card: text of a ``README.md`` beside the models.
        overwrite: whether models that were saved in the folder before are replaced; its other
            files are kept.

    Raises:
        FileExistsError: the folder is not empty, or is a file.
        StoreError: the models in the folder are damaged, so that they are not replaced.
        StoreIOError: the folder cannot be written.
        TypeError: a tensor has a dtype that a file cannot hold.
    """
    before = _check_free(folder, overwrite)
    written: list[Path] = []
    with reporting_failure(folder, "written", CONTENT):
        fresh = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        kept = set(os.listdir(folder))
        try:
            files = []
            for shard, state in states.items():
                files.append(_write_model(folder, shard, state, kept, written))
            content = {**description, "files": files, "card": _digest(card) if card else None}
            text = json.dumps(
                {"kind": KIND, "format": FORMAT, "digest": digest_of(content), "content": content},
                indent=1,
            )
            if before is not None:
                _remove_card(folder, before)
            replace_file(folder / DESCRIPTION, [text.encode()], sync=True)
        except BaseException:
            for path in written:
                with contextlib.suppress(OSError):
                    path.unlink()
            if fresh:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise
        if card:
            replace_file(folder / CARD, [card.encode()], sync=True)
        names = {entry["name"] for entry in files}
        for name in os.listdir(folder):
            if name not in names and (MODEL.fullmatch(name) or name.startswith(WRITING)):
                with contextlib.suppress(OSError):  # nothing lists this file any more
                    (folder / name).unlink()
        if fresh:
            sync_path(folder.absolute().parent)


def read_description(folder: Path) -> dict[str, Any]:
    """Read the description of the models in a folder.

    Raises:
        NoStoreError: the folder holds no saved models.
        StoreError: the description is damaged, or has another format.
        StoreIOError: it cannot be read now.
    """
    path = folder / DESCRIPTION
    if not os.path.lexists(path):
        hint = (
            f"; it holds the store of a session: uk.Session(..., store={str(folder)!r})"
            if os.path.lexists(folder / MANIFEST)
            else "; give a folder that ensemble.save(folder) has written"
        )
        raise NoStoreError(f"there is no saved ensemble in {folder}{hint}")
    with reporting_damage(path, CONTENT):
        data = json.loads(read(path, most=MOST_BYTES))
        if data["kind"] != KIND:
            raise StoreError(f"{path} does not describe a saved ensemble; give another folder")
        if data["format"] != FORMAT:
            raise StoreError(
                f"{path} has format {data['format']!r}, and this version of unlearnkit reads "
                f"format {FORMAT}; use the version that has written it"
            )
        content: dict[str, Any] = data["content"]
        if data["digest"] != digest_of(content):
            raise ValueError("its content does not match its digest")
        for entry in content["files"]:
            if not MODEL.fullmatch(entry["name"]):
                raise ValueError(f"{entry['name']!r} is not the name of a model's file")
    return content


def read_model(folder: Path, entry: Mapping[str, Any]) -> State:
    """Read parameters and buffers of one model.

    Args:
        folder: the folder.
        entry: entry of the model in ``files`` of the description.

    Raises:
        StoreError: the file is missing, damaged, or not the one that the description lists.
        StoreIOError: it cannot be read now.
    """
    path = folder / entry["name"]
    with reporting_damage(path, CONTENT):
        data = read(path, expected=entry["size"])
        if hashlib.sha256(data).hexdigest() != entry["sha256"]:
            raise ValueError("its content does not match its digest")
        tensors, names = load(data), entry["tensors"]
        if sorted(names) != sorted(tensors):
            raise ValueError("its tensors are not those that its description lists")
        # Clones have the alignment that torch would choose; results can depend on it bit for bit.
        return {name: tensors.pop(name).clone() for name in names}


def _check_free(folder: Path, overwrite: bool) -> dict[str, Any] | None:
    """Return the description of the models to be replaced; None if there are none."""
    if not os.path.lexists(folder):
        return None
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is not a folder; give a new or empty folder")
    with reporting_failure(folder, "read", CONTENT):
        names = os.listdir(folder)
    # Without a description, files of models are what an interrupted call left.
    left = [n for n in names if not (MODEL.fullmatch(n) or n.startswith(WRITING))]
    if not left:
        return None
    if DESCRIPTION not in left:
        raise FileExistsError(
            f"{folder} is not empty and holds no saved ensemble; give a new or empty folder"
        )
    before = read_description(folder)
    if not overwrite:
        raise FileExistsError(
            f"{folder} holds a saved ensemble; give overwrite=True to replace it, or a new folder"
        )
    return before


def _write_model(
    folder: Path, shard: int, state: State, kept: set[str], written: list[Path]
) -> dict[str, Any]:
    """Write one model; return its entry, and add its path to those written unless it was kept."""
    head, pieces = layout(state, {"__metadata__": {"format": "pt"}})
    hasher = hashlib.sha256(head)
    for piece in pieces:
        hasher.update(piece)
    digest = hasher.hexdigest()
    name = f"shard-{shard:04d}-{digest[:16]}.safetensors"
    if name not in kept:
        written.append(folder / name)
    replace_file(folder / name, [memoryview(head), *pieces], sync=True)
    size = len(head) + sum(map(len, pieces))
    return {"name": name, "size": size, "sha256": digest, "tensors": list(state)}


def _remove_card(folder: Path, before: Mapping[str, Any]) -> None:
    """Remove the card of the models that are replaced, unless it was edited."""
    with contextlib.suppress(OSError, ValueError):
        if hashlib.sha256(read(folder / CARD, most=MOST_BYTES)).hexdigest() == before["card"]:
            (folder / CARD).unlink()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
