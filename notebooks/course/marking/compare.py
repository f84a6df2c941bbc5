"""What the checks of every assignment compare with; each raises `Wrong` with what it met."""

import numpy as np
import torch

from .student import Wrong


def _plain(found: object) -> object:
    if isinstance(found, torch.Tensor):
        return found.detach().numpy()
    if isinstance(found, list | tuple):
        return [_plain(item) for item in found]
    return found


def array(found: object, what: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Read numbers of any kind: an array, a tensor, a list of either."""
    try:
        value = np.asarray(_plain(found), dtype=np.float64)
    except (TypeError, ValueError):
        raise Wrong(f"{what}: expected numbers, met {found!r:.200}") from None
    if shape is not None and value.shape != shape:
        raise Wrong(f"{what}: expected shape {shape}, met {value.shape}")
    return value


def number(found: object, what: str) -> float:
    """Read one number."""
    value = array(found, what)
    if value.size != 1 or isinstance(found, str):
        raise Wrong(f"{what}: expected one number, met {found!r:.200}")
    return float(value.reshape(()))


def equal(found: object, expected: float, what: str, tolerance: float = 1e-6) -> None:
    """Compare two numbers with a relative tolerance."""
    met = number(found, what)
    if not abs(met - expected) <= tolerance * abs(expected) + 1e-9:
        raise Wrong(f"{what}: expected {expected:.8g}, met {met:.8g}")


def close(found: object, expected: object, what: str, tolerance: float = 1e-6) -> None:
    """Compare arrays, relative to the norm of the expected one."""
    wanted = array(expected, what)
    met = array(found, what, wanted.shape)
    error = np.linalg.norm(met - wanted) / (np.linalg.norm(wanted) + 1e-3)
    if not error < tolerance:
        raise Wrong(
            f"{what}: off by {error:.2g} relative to its norm, expected below {tolerance:g}"
        )


def same_numbers(found: object, expected: list[int], what: str) -> None:
    """Compare collections of whole numbers, whatever their order."""
    try:
        met = sorted(number(one, what) for one in found)
    except TypeError:
        raise Wrong(f"{what}: expected {expected}, met {found!r:.200}") from None
    if met != sorted(expected):
        raise Wrong(f"{what}: expected {sorted(expected)}, met {met}")


def truth(found: object, expected: bool, what: str) -> None:
    """Compare a truth value."""
    met = number(found, what)
    if met not in (0, 1) or bool(met) is not expected:
        raise Wrong(f"{what}: expected {expected}, met {found!r:.200}")


def require(holds: bool, message: str) -> None:
    """Raise `Wrong` unless something holds; unlike `assert` it is never stripped."""
    if not holds:
        raise Wrong(message)
