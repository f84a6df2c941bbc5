"""Data as callers hold them: arrays, tables and pictures."""

import numpy as np
import pandas as pd
from PIL import Image


def problem(n=40, classes=3):
    """Rows that say which row they are, and labels that go round."""
    features = np.stack([np.arange(n), -np.arange(n)], 1).astype(np.float64)
    return features, np.arange(n) % classes


def table(n=40):
    return pd.DataFrame(
        {
            "size": np.arange(n) * 0.5,
            "wild": np.arange(n) % 2 == 0,
            "kind": [["dog", "cat", "emu"][row % 3] for row in range(n)],
        },
        index=[f"row {row}" for row in range(n)],
    )


def picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels)


def pixels(row: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(row).integers(256, size=shape or (9, 8), dtype=np.uint8)


def people(rows: int = 40) -> pd.DataFrame:
    """A number, a boolean, two columns of text with a missing value in each, and the classes."""
    return pd.DataFrame(
        {
            "age": 20.0 + np.arange(rows),
            "sold": np.arange(rows) % 2 == 0,
            "coat": [["red", "grey", None, "blue"][row % 4] for row in range(rows)],
            "town": [["Rome", "Oslo", "Bonn", "Rome", None][row % 5] for row in range(rows)],
            "kind": [["dog", "cat"][row % 2] for row in range(rows)],
        }
    )
