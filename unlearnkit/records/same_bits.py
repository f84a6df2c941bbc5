"""The comparison of a stored checkpoint with one that an audit computed, bit by bit."""

import torch

from unlearnkit.store import Checkpoint, StoreError


class AuditError(StoreError):
    """A claim of a store does not hold."""


def different_bits(kept: Checkpoint, fresh: Checkpoint) -> str:
    """Describe in what the parameters and tails of two checkpoints differ; "" if in no bit."""
    ours, theirs = _tensors(kept), _tensors(fresh)
    if ours.keys() != theirs.keys():
        return f"it holds {sorted(ours)} and should hold {sorted(theirs)}"
    return next(filter(None, (_differs(n, ours[n], theirs[n]) for n in ours)), "")


def _tensors(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    states = {"end": checkpoint.state, **{f"tail {q}": s for q, s in checkpoint.tails.items()}}
    return {f"{name} at its {at}": t for at, state in states.items() for name, t in state.items()}


def _differs(name: str, kept: torch.Tensor, fresh: torch.Tensor) -> str:
    """Describe the difference between two tensors; empty if the bytes are equal."""
    fresh = fresh.detach().cpu()
    if (kept.dtype, kept.shape) != (fresh.dtype, fresh.shape):
        return (
            f"{name} has dtype {kept.dtype} and shape {tuple(kept.shape)}; {fresh.dtype} and "
            f"{tuple(fresh.shape)} were expected"
        )
    ours, theirs = (t.contiguous().reshape(-1).view(torch.uint8) for t in (kept, fresh))
    if torch.equal(ours, theirs):
        return ""
    count = int((ours != theirs).reshape(kept.numel(), -1).any(1).sum())
    return f"{count} of {kept.numel()} numbers of {name} differ"
