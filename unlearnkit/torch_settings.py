"""Torch's settings: what work of this package changes for itself, refuses, or records.

Some settings belong to the calling thread: whether gradients are computed, inference mode, and
autocast. They change neither a training nor a prediction of this package, which runs in
:func:`own_settings`. Others hold for the whole process, and the package does not touch them: a
default dtype or device that it cannot work with is refused, and what else changes the bits of a
training is part of its environment (:mod:`unlearnkit.training.environment`).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


@contextmanager
def own_settings() -> Iterator[None]:
    """Run work with gradients and without inference mode, autocast or raised numpy errors.

    The caller's settings are those of this thread and are restored afterwards. Blocks can be
    nested, and the function can decorate another one.

    >>> with torch.no_grad(), own_settings():
    ...     torch.is_grad_enabled()
    True

    Raises:
        ValueError: torch's default dtype or default device cannot be used.
    """
    check_defaults()
    autocast = [kind for kind in ("cpu", "cuda") if torch.is_autocast_enabled(kind)]
    usual = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}
    with torch.inference_mode(False), torch.enable_grad(), np.errstate(**usual):  # type: ignore[arg-type]
        for kind in autocast:
            torch.set_autocast_enabled(kind, False)
        try:
            yield
        finally:
            for kind in autocast:
                torch.set_autocast_enabled(kind, True)


@contextmanager
def compute_threads(count: int) -> Iterator[None]:
    """Set torch's number of compute threads, and restore it afterwards.

    Once a thread has asked torch for the number, the setting belongs to that thread; other threads
    neither see nor change it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def deterministic(device: torch.device) -> Iterator[None]:
    """Make CUDA computations bit-reproducible: deterministic operators only, and no TF32.

    The settings apply to the whole process and are restored afterwards. An operator without a
    deterministic implementation raises torch's error, which names the operator. On a CPU nothing is
    changed.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first use of cuBLAS
    cudnn = torch.backends.cudnn
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.benchmark,
        cudnn.allow_tf32,
    )
    torch.use_deterministic_algorithms(True)
    cudnn.benchmark = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.benchmark, cudnn.allow_tf32 = before[2:]


def check_defaults() -> None:
    """Check torch's default dtype and default device.

    Raises:
        ValueError: the default dtype is not float32, or the default device is not the CPU.
    """
    dtype = torch.get_default_dtype()
    if dtype != torch.float32:
        raise ValueError(
            f"torch's default dtype is {dtype}; models are trained and used in torch.float32, so "
            "restore the setting with torch.set_default_dtype(torch.float32)"
        )
    device = torch.get_default_device()
    if device.type != "cpu":
        raise ValueError(
            f"torch's default device is {device}; data and models are made on the CPU, so restore "
            "the setting with torch.set_default_device('cpu') and choose where models are trained "
            "by TrainSpec(device=...)"
        )


def matmul_precision() -> str:
    """Return the precision of float32 matrix products, in the words of either of torch's settings.

    Torch refuses to answer through the old setting once the new one has been used.
    """
    try:
        return str(torch.get_float32_matmul_precision())
    except RuntimeError:
        return str(getattr(torch.backends.mkldnn, "matmul").fp32_precision)  # noqa: B009 (untyped)


@dataclass(frozen=True)
class Setting:
    """A setting of torch, with a value other than torch's default.

    Attributes:
        text: names it in an environment.
        met: tells whether the setting is in force in this process or thread.
        restore: the statement that restores torch's default.
        built_in: whether built-in models depend on it; other modules may depend on every setting.
    """

    text: str
    met: Callable[[], bool]
    restore: str
    built_in: bool = False


def unusual_settings(*, built_in: bool = False) -> str:
    """Name the settings that change bits on the CPU and that differ from torch's defaults.

    Args:
        built_in: whether to name only the settings on which built-in models depend.

    Returns:
        The settings, each led by a comma; empty if all have torch's defaults.

    >>> unusual_settings()
    ''
    """
    names = [each.text for each in SETTINGS if (each.built_in or not built_in) and each.met()]
    return "".join(f", {name}" for name in names)


def _flushes() -> bool:
    """Whether this thread rounds denormal numbers to zero, which torch does not tell."""
    return bool((torch.full((1,), 1e-40, dtype=torch.float32) * 1 == 0).item())


def _reduced(kind: str) -> bool:
    return getattr(torch.backends.mkldnn, kind).fp32_precision not in ("none", "ieee")


SETTINGS = (
    Setting(
        "mkldnn off",
        lambda: not torch.backends.mkldnn.enabled,
        "torch.backends.mkldnn.enabled = True",
        built_in=True,
    ),
    Setting(
        "mkldnn deterministic",
        lambda: bool(torch.backends.mkldnn.deterministic),
        "torch.backends.mkldnn.deterministic = False",
        built_in=True,
    ),
    Setting(
        "convolutions of reduced precision",
        lambda: _reduced("conv"),
        "torch.backends.mkldnn.conv.fp32_precision = 'none'",
        built_in=True,
    ),
    Setting(
        "denormal numbers flushed to zero",
        _flushes,
        "torch.set_flush_denormal(False)",
        built_in=True,
    ),
    Setting(
        "recurrent layers of reduced precision",
        lambda: _reduced("rnn"),
        "torch.backends.mkldnn.rnn.fp32_precision = 'none'",
    ),
    Setting(
        "deterministic algorithms",
        torch.are_deterministic_algorithms_enabled,
        "torch.use_deterministic_algorithms(False)",
    ),
    Setting(
        "flash attention off",
        lambda: not torch.backends.cuda.flash_sdp_enabled(),
        "torch.backends.cuda.enable_flash_sdp(True)",
    ),
    Setting(
        "memory-efficient attention off",
        lambda: not torch.backends.cuda.mem_efficient_sdp_enabled(),
        "torch.backends.cuda.enable_mem_efficient_sdp(True)",
    ),
    Setting(
        "math attention off",
        lambda: not torch.backends.cuda.math_sdp_enabled(),
        "torch.backends.cuda.enable_math_sdp(True)",
    ),
    Setting(
        "attention fast path off",
        lambda: not torch.backends.mha.get_fastpath_enabled(),
        "torch.backends.mha.set_fastpath_enabled(True)",
    ),
    Setting(
        "opt_einsum off",
        lambda: torch.backends.opt_einsum.is_available() and not torch.backends.opt_einsum.enabled,
        "torch.backends.opt_einsum.enabled = True",
    ),
)


def how_to_restore(before: str, now: str) -> str:
    """Return the statement that turns settings of now into those of before; empty if unknown.

    Args:
        before: the settings of an environment, parts separated by commas.
        now: those of this process.
    """
    old, new = before.split(", "), now.split(", ")
    ways = [each.restore for each in SETTINGS if each.text in new and each.text not in old]
    for part in old:
        if part.startswith("matmul ") and part not in new:
            ways.append(f"torch.set_float32_matmul_precision({part.removeprefix('matmul ')!r})")
    return "; ".join(ways)
