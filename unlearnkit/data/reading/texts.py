"""Texts as the raw values of examples, for a frozen backbone that reads them."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped, UInt8
from torch import Tensor

from unlearnkit.data.conversion import row_numbers

TEXT = "text"
OVERWRITTEN = "\N{REPLACEMENT CHARACTER}"  # in place of a text that was forgotten


class Texts:
    """The texts of some examples, kept as their bytes in UTF-8, one after another.

    It stands where other data have a tensor of features, and has of a tensor what is needed there.

    >>> texts = Texts.of(["a cat", "", "dogs"])
    >>> texts[torch.tensor([2, 0])].tolist()
    ['dogs', 'a cat']
    >>> texts
    Texts(3 rows)
    """

    dtype = TEXT

    def __init__(self, data: UInt8[np.ndarray, " byte"], ends: Int64[np.ndarray, " n"]) -> None:
        """Take over the bytes of all texts, and the place where each of them ends."""
        self.data, self.ends = data, ends

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        """Keep a sequence of strings."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum([0, *map(len, encoded)])[1:].astype(np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __repr__(self) -> str:
        return f"Texts({len(self)} rows)"

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.ends)

    @property
    def shape(self) -> torch.Size:
        """The shape that a tensor of as many single values would have."""
        return torch.Size((len(self),))

    def is_floating_point(self) -> bool:
        """Whether the values are real numbers: no."""
        return False

    def contiguous(self) -> "Texts":
        """Return the texts, which are contiguous."""
        return self

    def __getitem__(self, rows: Tensor | np.ndarray | slice) -> "Texts":
        """Return the texts of these rows."""
        chosen = np.arange(len(self))[rows.numpy() if isinstance(rows, Tensor) else rows]
        return Texts.of(self._text(row) for row in chosen.tolist())

    def __iter__(self) -> Any:
        return (self._text(row) for row in range(len(self)))

    def tolist(self) -> list[str]:
        """Return the texts as a list of strings."""
        return list(self)

    def _bytes(self, row: int) -> UInt8[np.ndarray, " byte"]:
        return self.data[self.ends[row - 1] if row else 0 : self.ends[row]]

    def _text(self, row: int) -> str:
        return self._bytes(row).tobytes().decode("utf-8", "surrogatepass")

    def joined(self, others: Sequence["Texts"]) -> "Texts":
        """Return these texts and then others."""
        return Texts.of(text for each in (self, *others) for text in each)

    def overwritten(self, gone: Bool[np.ndarray, " n"]) -> "Texts":
        """Return the texts without the contents of some rows."""
        return Texts.of(
            OVERWRITTEN if lost else text for text, lost in zip(self, gone.tolist(), strict=True)
        )

    def digests(self, start: Any, labels: Shaped[np.ndarray, "n byte"]) -> list[bytes]:
        """Return the digest of each text and its label, which a hasher with a beginning makes."""
        found = []
        for row, label in enumerate(labels):
            state = start.copy()
            state.update(label.tobytes() + self._bytes(row).tobytes())
            found.append(state.digest()[:16])
        return found


def texts_of(what: str, values: Any) -> Texts:
    """Convert a column of strings to texts.

    Args:
        what: where the values come from, for messages.
        values: a sequence of strings: a list, an array, or a column of a table.

    Raises:
        TypeError: there are values other than strings.
        ValueError: a text is missing, or there are none.
    """
    given = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(given, str) or not hasattr(given, "__iter__"):
        raise TypeError(
            f"{what}: dtype=str keeps one text per row, but the features are a "
            f"{type(values).__name__}; give a list of strings"
        )
    rows = [row[0] if isinstance(row, list | tuple) and len(row) == 1 else row for row in given]
    gaps = np.array([row is None or (isinstance(row, float) and row != row) for row in rows], bool)
    if gaps.any():
        raise ValueError(
            f"{what}: {int(gaps.sum())} of {len(rows)} rows have no text (rows "
            f"{row_numbers(gaps)}); drop these rows, or give them an empty text"
        )
    odd = next((row for row in rows if not isinstance(row, str)), None)
    if odd is not None or not rows:
        raise TypeError(
            f"{what}: dtype=str keeps one text per row, but "
            + (f"a row holds {odd!r:.40}" if rows else "there are no rows")
            + "; give strings (str(value)), or leave out dtype= for numbers"
        )
    return Texts.of(rows)


def is_text(dtype: Any) -> bool:
    """Whether an argument ``dtype=`` asks for texts."""
    return dtype is str or (isinstance(dtype, str) and dtype in ("str", TEXT))


def text_hasher(kind: str) -> Any:
    """Return the hasher with which the digests of texts begin."""
    return hashlib.sha256(f"{TEXT}|{kind}".encode())
