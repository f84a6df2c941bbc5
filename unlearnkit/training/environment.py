"""The environment: versions, threads, device and kernel, on which the bits of a run depend."""

import platform
from dataclasses import asdict, dataclass

import numpy as np
import torch

from unlearnkit.models.architecture import Architecture
from unlearnkit.seeding import digest
from unlearnkit.torch_settings import how_to_restore, matmul_precision, unusual_settings
from unlearnkit.training.spec import TrainSpec

LOOP_KERNEL, STACKED_KERNEL = "loop-5", "stacked-4"


@dataclass(frozen=True)
class Environment:
    """The settings on which bits depend besides data and spec.

    Runs are compared bit by bit within one environment only.

    Attributes:
        torch: version of torch.
        numpy: release series of numpy.
        cpu: architecture and vector capability of the processor.
        num_threads: compute threads of torch.
        device: device for training.
        kernel: name and version of the training kernel.
        settings: default dtype and matrix multiplication precision of torch, and the names of the
            settings that bits depend on and that differ from torch's defaults.
    """

    torch: str
    numpy: str
    cpu: str
    num_threads: int
    device: str
    kernel: str
    settings: str

    @property
    def digest(self) -> str:
        """Digest of every field."""
        return digest(
            self.torch,
            self.numpy,
            self.cpu,
            self.num_threads,
            self.device,
            self.kernel,
            self.settings,
        )

    def changes(self, now: "Environment") -> str:
        """Say in one sentence what differs in the environment ``now``, and how to restore it."""
        was, here = asdict(self), asdict(now)
        differing = [f"{k} was {was[k]!r} and is {here[k]!r}" for k in was if was[k] != here[k]]
        way = how_to_restore(self.settings, now.settings)
        restore = f"restore it ({way})" if way else "restore the setting"
        return (
            f"the plan was made in another environment: {'; '.join(differing)}; bits would differ, "
            f"so {restore}, or create the plan (or session) again"
        )


def environment(architecture: Architecture, spec: TrainSpec) -> Environment:
    """Return the environment of this process, with the kernel that trains this model.

    The stacked kernel trains stacks of linear layers; the per-lane kernel trains all other models.

    Raises:
        ValueError: this machine lacks the device of the spec.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    cpu = f"{platform.machine()} {capability}"
    stacked = architecture.stack is not None and spec.kernel != "loop"
    kernel = STACKED_KERNEL if stacked else LOOP_KERNEL
    settings = f"{torch.get_default_dtype()}, matmul {matmul_precision()}"
    own = architecture.described is not None and architecture.backbone is None
    settings += unusual_settings(built_in=own)
    # numpy guarantees the streams of its permutations within a release series only.
    series = ".".join(np.__version__.split(".")[:2])
    device = resolve_device(spec.device)
    name = "cpu"
    if device.type == "cuda":
        name = f"{device} {torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
    return Environment(
        str(torch.__version__), series, cpu, spec.num_threads, name, kernel, settings
    )


def resolve_device(device: str) -> torch.device:
    """Return the device of this name; for ``"auto"``, a CUDA device if there is one.

    Raises:
        ValueError: this machine has no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    found = torch.device(device)
    if found.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        found = torch.device("cuda", found.index or 0)
        if (found.index or 0) >= count:
            raise ValueError(
                f"device={device!r}, but torch sees {count} CUDA devices here; use 'cpu' or 'auto'"
            )
    return found
