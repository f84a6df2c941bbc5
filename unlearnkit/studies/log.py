"""The file of a study: one JSON line for each measured row, under the key of its settings."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def read_study(path: str | os.PathLike[str]) -> "pd.DataFrame":
    """The rows that a study wrote to a file so far, while it runs or afterwards.

    Args:
        path: as given to :func:`~unlearnkit.studies.study.study`; it is only read.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line of it is no row of a study.
    """
    import pandas as pd

    if not Path(path).exists():
        raise FileNotFoundError(f"there is no file {path}; give the path= of a study")
    rows = dict(_entry(Path(path), line) for line, _ in _lines(Path(path)))
    return pd.DataFrame(rows.values())


class Log:
    """Rows measured so far, by key; in a file of JSON lines where there is one."""

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self.rows: dict[str, dict[str, Any]] = {}
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = 0
        for line, end in _lines(self.path):
            key, row = _entry(self.path, line)
            self.rows[key], whole = row, end
        if self.path.exists() and self.path.stat().st_size > whole:
            os.truncate(self.path, whole)  # a row that was being written when the run ended

    def add(self, key: str, row: dict[str, Any]) -> dict[str, Any]:
        """Keep a row, write it to the file, and return it."""
        self.rows[key] = row
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps({"key": key, "row": row}, default=float) + "\n")
                file.flush()
                os.fsync(file.fileno())
        return row


def _entry(path: Path, line: str) -> tuple[str, dict[str, Any]]:
    """The key and the row of a line."""
    try:
        entry = json.loads(line)
        return entry["key"], {**entry["row"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} has a line that is no row of a study ({line[:60]!r}); give another path, or "
            "take the line out"
        ) from error


def _lines(path: Path) -> Iterator[tuple[str, int]]:
    """Complete lines of a file, and where each ends."""
    if not path.exists():
        return
    end = 0
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            end += len(line)
            yield line.decode(errors="replace"), end
