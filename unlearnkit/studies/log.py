"""The file of a study: one JSON line for each measured row, under the key of its settings."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def read_study(path: str | os.PathLike[str]) -> "pd.DataFrame":
    """Read the rows that a study has written to its file, while it runs or afterwards.

    Args:
        path: the ``path`` of :func:`~unlearnkit.studies.study.study`. The file is not changed.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: a line of the file is not a row of a study.
    """
    import pandas as pd

    file = Path(path).expanduser()
    if not file.exists():
        raise FileNotFoundError(f"there is no file {path}; give the path= of a study")
    entries = (_entry(file, line) for line, _ in _lines(file))
    return pd.DataFrame({key: row for key, row, _ in entries}.values())


START = b'{"key": '
"""What every line of a study begins with."""


class Log:
    """Measured rows by key, also written to a file of JSON lines if there is a path.

    Attributes:
        rows: the rows by key.
        metrics: for each key, the metrics of the user's that its row holds: name and description.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self.rows: dict[str, dict[str, Any]] = {}
        self.metrics: dict[str, dict[str, str]] = {}
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = 0
        for line, end in _lines(self.path):
            key, row, metrics = _entry(self.path, line)
            self.rows[key], self.metrics[key], whole = row, metrics, end
        if self.path.exists() and self.path.stat().st_size > whole:
            check_torn(self.path, self.path.read_bytes()[whole:])
            os.truncate(self.path, whole)  # drop a row that a killed run left incomplete

    def add(self, key: str, row: dict[str, Any], metrics: dict[str, str]) -> dict[str, Any]:
        """Add a row, write it to the file if there is one, and return it."""
        self.rows[key], self.metrics[key] = row, metrics
        if self.path is not None:
            with self.path.open("a") as file:
                entry = {"key": key, "row": row, **({"metrics": metrics} if metrics else {})}
                file.write(json.dumps(entry, default=float) + "\n")
                file.flush()
                os.fsync(file.fileno())
        return row


def check_torn(path: Path, line: bytes) -> None:
    """Refuse a last line without an end, unless a study that was killed can have left it.

    Raises:
        ValueError: the line is something else, which nobody asked to delete.
    """
    if line[: len(START)] != START[: len(line)]:
        raise ValueError(
            f"{path} ends with something that no study wrote ({line[:60]!r}); give another path"
        )


def _entry(path: Path, line: str) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Parse a line into its key, its row, and the user's metrics in the row."""
    try:
        entry = json.loads(line)
        return entry["key"], {**entry["row"]}, {**entry.get("metrics", {})}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} has a line that is not a row of a study ({line[:60]!r}); give another path, "
            "or delete the line"
        ) from error


def _lines(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the complete lines of a file, each with the byte offset of its end."""
    if not path.exists():
        return
    end = 0
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            end += len(line)
            yield line.decode(errors="replace"), end
