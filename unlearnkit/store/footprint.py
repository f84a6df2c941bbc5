"""The footprint: memory that an ensemble's checkpoints need, and the memory that is free."""

import ctypes
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

CACHE_BYTES = 64 << 20  # size of a store's cache of checkpoints that were read from a folder
CORRECTING = 3  # copies of a model that a correction needs beside the checkpoints of its shard
RETURNED = 1 << 20  # bytes of a model from which freed memory is returned to the system
SHARE_WARNED = 0.25  # share of the free memory above which a session warns
ANNOUNCED = 100e6  # bytes from which plans and sessions show what their checkpoints take


@dataclass(frozen=True)
class Footprint:
    """The bytes that training, unlearning and comparing need for models and checkpoints.

    Peaks include everything that a session keeps at that time, but neither the data nor the
    activations of a batch. They hold for a request that hits every shard.

    Attributes:
        model: bytes of the parameters and buffers of one constituent.
        num_models: number of constituents.
        checkpoints: bytes of all checkpoints and their tails.
        at_work: bytes of the shards that are trained at the same time: parameters, gradients,
            optimizer state, and the states that become their last checkpoints.
        final: bytes of the last checkpoint of a shard, tails included.
        folder: folder that keeps the checkpoints; None if they are kept in memory.
        threads: number of threads, each of which modifies a shard.
    """

    model: int
    num_models: int
    checkpoints: int
    at_work: int
    final: int
    folder: Path | None = None
    threads: int = 1

    def __repr__(self) -> str:
        return (
            f"Footprint({size(self.checkpoints)} of checkpoints {self.where}; peak memory: "
            f"training {size(self.training)}, retraining every shard {size(self.unlearning)}, "
            f"modifying every shard {size(self.modifying)}, comparing {size(self.comparing)})"
        )

    @property
    def ensemble(self) -> int:
        """Bytes of the constituents of one ensemble."""
        return self.model * self.num_models

    @property
    def kept(self) -> int:
        """Bytes that are always in memory.

        They are one module, from which others are copied, and the checkpoints that the store keeps
        in memory: all of them, or with a store on disk those that were read last.
        """
        return self.model + (
            min(CACHE_BYTES, self.checkpoints) if self.on_disk else self.checkpoints
        )

    @property
    def on_disk(self) -> bool:
        """Whether the checkpoints are kept in a folder."""
        return self.folder is not None

    @property
    def where(self) -> str:
        """Where the checkpoints are kept, in words."""
        return "on disk" if self.on_disk else "in memory"

    @property
    def reading(self) -> int:
        """Bytes of reading a checkpoint from a folder: the file and its tensors."""
        return 2 * self.final if self.on_disk else 0

    @property
    def shard(self) -> int:
        """Bytes of the checkpoints of one shard."""
        return self.checkpoints // max(1, self.num_models)

    @property
    def training(self) -> int:
        """Peak bytes of memory of training."""
        if not self.on_disk:
            return self.kept + self.at_work - self.final  # the checkpoint counts as kept
        return self.model + max(self.at_work, self.model + self.reading)

    @property
    def unlearning(self) -> int:
        """Peak bytes of memory of retraining every shard exactly.

        A store in memory keeps the old checkpoints until the request is completed. With a store on
        disk the original models are read, for a comparison.
        """
        if not self.on_disk:
            return self.checkpoints + self.training
        return self.kept + self.ensemble + max(self.at_work, self.reading)

    @property
    def modifying(self) -> int:
        """Peak bytes of memory of modifying every shard, one at a time in each thread.

        A method that corrects shards together, such as that of convolutional networks, holds the
        checkpoints of all of them, with a store on disk too.
        """
        correcting = self.threads * CORRECTING * self.model
        if not self.on_disk:
            return self.checkpoints + self.kept + correcting
        return self.kept + self.ensemble + 2 * self.threads * self.shard + correcting

    @property
    def comparing(self) -> int:
        """Peak bytes of memory of comparing, if every shard is retrained for it.

        With a store in memory, the unlearned models are checkpoints.
        """
        models = 3 if self.on_disk else 2
        return self.kept + models * self.ensemble + self.at_work + self.reading

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


def return_freed_memory(model: int) -> None:
    """Return freed memory to the system, where the C library can.

    Without this, memory of tensors of a few megabytes that were freed between others stays with the
    process.

    Args:
        model: bytes of a model; memory of small models is used again soon, and is not returned.
    """
    if model >= RETURNED and sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
        if trim is not None:
            trim(0)


def free_disk(folder: Path) -> int | None:
    """Return the free bytes on the device of a folder; None if they cannot be read."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
