"""The footprint: memory that an ensemble's checkpoints need, and the memory that is free."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

SHARE_WARNED = 0.25  # share of the free memory above which a session warns
ANNOUNCED = 100e6  # bytes from which plans and sessions show what their checkpoints take


@dataclass(frozen=True)
class Footprint:
    """The bytes that training, unlearning and comparing need for models and checkpoints.

    Peaks include everything that a session keeps at that time, but neither the data nor the
    activations of a batch.

    Attributes:
        model: bytes of the parameters and buffers of one constituent.
        num_models: number of constituents.
        checkpoints: bytes of all checkpoints and their tails.
        at_work: bytes of one shard in training: parameters, gradients and optimizer state.
        folder: folder that keeps the checkpoints; None if they are kept in memory.
    """

    model: int
    num_models: int
    checkpoints: int
    at_work: int
    folder: Path | None = None

    def __repr__(self) -> str:
        where = "in memory" if self.folder is None else "on disk"
        return (
            f"Footprint({size(self.checkpoints)} of checkpoints {where}; peak memory: training "
            f"{size(self.training)}, unlearning up to {size(self.unlearning)}, comparing up to "
            f"{size(self.comparing)})"
        )

    @property
    def ensemble(self) -> int:
        """Bytes of the constituents of one ensemble."""
        return self.model * self.num_models

    @property
    def kept(self) -> int:
        """Bytes of checkpoints that are kept in memory."""
        return self.checkpoints if self.folder is None else 0

    @property
    def training(self) -> int:
        """Peak bytes of memory of training."""
        return self.kept + self.at_work

    @property
    def unlearning(self) -> int:
        """Peak bytes of memory of retraining every shard exactly.

        The old checkpoints are kept until the request is completed, and the original models until
        they are discarded.
        """
        return 2 * self.kept + self.ensemble + self.at_work

    @property
    def comparing(self) -> int:
        """Peak bytes of memory of comparing, if every shard is retrained for it."""
        models = 2 if self.folder is None else 3  # in memory, unlearned models are checkpoints
        return self.kept + models * self.ensemble + self.at_work

    def warning(self, free: int | None = None) -> str:
        """Return a sentence if the checkpoints take over a quarter of the free space, or "".

        Args:
            free: free bytes in memory, or in the folder; None measures them where possible.
        """
        if free is None:
            free = free_memory() if self.folder is None else free_disk(self.folder)
        if free is None or self.checkpoints <= SHARE_WARNED * free:
            return ""
        text = (
            f"the checkpoints of this plan will take {size(self.checkpoints)}, and "
            f"{size(free)} are free"
        )
        if self.folder is not None:
            return f"{text} in {self.folder}; use fewer shards or slices, or another folder"
        return (
            f"{text} in memory (unlearning takes up to {size(self.unlearning)}); keep them on disk "
            "with store='folder', or use fewer shards or slices"
        )


def size(count: int) -> str:
    """Format bytes with their unit.

    >>> size(3_200), size(252_000_000), size(16_400_000_000)
    ('3.2 kB', '252 MB', '16.4 GB')
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            value = count / scale
            return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def announced(checkpoints: int) -> str:
    """Return a text about the bytes of checkpoints for a repr; "" if they are few.

    >>> announced(252_000_000), announced(3_200)
    (', checkpoints: 252 MB', '')
    """
    return f", checkpoints: {size(checkpoints)}" if checkpoints >= ANNOUNCED else ""


def free_memory(table: str = "/proc/meminfo") -> int | None:
    """Return the bytes of memory that programs can still get; None if the system does not say.

    Args:
        table: file in the format of Linux' ``/proc/meminfo``.
    """
    try:
        with open(table, encoding="ascii") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name == "MemAvailable":
                    return 1024 * int(value.split()[0])
    except OSError:  # another system than Linux
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not known here
        return None


def free_disk(folder: Path) -> int | None:
    """Return the free bytes on the device of a folder; None if they cannot be read."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
