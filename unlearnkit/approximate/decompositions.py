"""Compositions of basic operations for fused operations that torch cannot differentiate twice.

A Gauss-Newton product differentiates a backward pass. Torch has no derivative of the backward pass
of fused attention, of bags of embeddings, and of distances. Each of them is computed here from
operations that have one; results differ by rounding only.
"""

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class Differentiable(TorchFunctionMode):
    """Within this context, this thread computes embeddings so that a state can be differentiated.

    Embeddings with ``max_norm`` shorten rows of the weight in place, and those with ``sparse``
    have sparse gradients. All other operations are those of torch, to the same bits.
    """

    compositions: Mapping[Any, Callable[..., Any]] = MappingProxyType({})

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the composition of a function where there is one."""
        return self.compositions.get(function, function)(*args, **(kwargs or {}))


class TwiceDifferentiable(Differentiable):
    """Within this context, this thread computes fused operations by their compositions.

    Torch's own switches for attention hold for the whole process, and would change the bits of a
    training in another thread.

    >>> rows = torch.ones(1, 2, requires_grad=True)
    >>> with TwiceDifferentiable():
    ...     distance = torch.cdist(rows, torch.zeros(1, 2))
    >>> (first,) = torch.autograd.grad(distance.sum(), rows, create_graph=True)
    >>> torch.autograd.grad(first[0, 0], rows)[0]
    tensor([[ 0.3536, -0.3536]])
    """


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Compute ``scaled_dot_product_attention`` from matrix products and a softmax."""
    composed = torch.ops.aten._scaled_dot_product_attention_math
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        hidden = torch.zeros_like(attn_mask, dtype=query.dtype)
        attn_mask = hidden.masked_fill(~attn_mask, -torch.inf)
    outputs: Tensor = composed(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )[0]
    return outputs


def multi_head_attention(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    """Compute ``multi_head_attention_forward`` as torch does where the weights are wanted."""
    given = _MULTI_HEAD.bind(*args, **kwargs)
    given.apply_defaults()
    wanted = given.arguments["need_weights"]
    masked = given.arguments["attn_mask"] is not None
    given.arguments["need_weights"] = True
    given.arguments["is_causal"] &= masked
    outputs, weights = functional.multi_head_attention_forward(*given.args, **given.kwargs)
    return outputs, weights if wanted else None


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Compute ``embedding`` with dense gradients, and from a shortened copy of the weight."""
    weight = _shortened(weight, max_norm, norm_type)
    return functional.embedding(
        input, weight, padding_idx, scale_grad_by_freq=scale_grad_by_freq, sparse=False
    )


def _shortened(weight: Tensor, max_norm: float | None, norm_type: float) -> Tensor:
    """Scale rows longer than ``max_norm`` to this length, which torch does not differentiate."""
    if max_norm is None:
        return weight
    lengths = torch.linalg.vector_norm(weight.detach(), norm_type, 1, keepdim=True)
    scale = torch.where(lengths > max_norm, max_norm / (lengths + 1e-7), 1.0)
    return weight + (weight * (scale - 1)).detach()


def plain_bag_of_embeddings(*args: Any, **kwargs: Any) -> Tensor:
    """Compute ``embedding_bag`` as torch does, unless :class:`Differentiable` concerns it."""
    given = _BAG.bind(*args, **kwargs)
    given.apply_defaults()
    if given.arguments["max_norm"] is not None or given.arguments["sparse"]:
        return bag_of_embeddings(*args, **kwargs)
    return functional.embedding_bag(*args, **kwargs)


def bag_of_embeddings(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Compute ``embedding_bag`` by looking up all rows, and reducing them; empty bags are zero."""
    weight = _shortened(weight, max_norm, norm_type)
    present = torch.ones_like(input, dtype=torch.bool)
    if offsets is not None:
        stops = torch.cat([offsets, offsets.new_tensor([len(input)])])
        starts, stops = stops[:-1], stops[1:]
        if include_last_offset:
            starts, stops = starts[:-1], stops[:-1]
        longest = int((stops - starts).max()) if len(starts) else 0
        places = starts.unsqueeze(1) + torch.arange(longest, device=offsets.device)
        present = places < stops.unsqueeze(1)
        places = places.clamp(max=max(len(input) - 1, 0))
        input = input[places]
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights[places]
    if padding_idx is not None:
        present = present & (input != padding_idx % len(weight))
    rows = functional.embedding(input, weight, scale_grad_by_freq=scale_grad_by_freq)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(-1)
    wide = present.unsqueeze(-1)
    if mode == "max":
        if not rows.shape[1]:
            return rows.new_zeros(len(rows), weight.shape[1])
        largest = rows.masked_fill(~wide, -torch.inf).max(1).values
        return torch.where(present.any(1, keepdim=True), largest, 0.0)
    total = (rows * wide).sum(1)
    return total / present.sum(1, keepdim=True).clamp(min=1) if mode == "mean" else total


def distances(x1: Tensor, x2: Tensor, p: float = 2.0, compute_mode: str = "") -> Tensor:
    """Compute ``cdist`` from the differences of all pairs of rows."""
    apart: Tensor = torch.linalg.vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)
    return apart


def pairwise_distances(input: Tensor, p: float = 2.0) -> Tensor:
    """Compute ``pdist`` from the differences of all pairs of rows."""
    one, other = torch.triu_indices(len(input), len(input), 1, device=input.device)
    apart: Tensor = torch.linalg.vector_norm(input[one] - input[other], p, -1)
    return apart


_MULTI_HEAD = inspect.signature(functional.multi_head_attention_forward)
_BAG = inspect.signature(functional.embedding_bag)

Differentiable.compositions = {
    functional.embedding: embedding,
    functional.embedding_bag: plain_bag_of_embeddings,
}
TwiceDifferentiable.compositions = {
    functional.embedding: embedding,
    functional.scaled_dot_product_attention: attention,
    functional.multi_head_attention_forward: multi_head_attention,
    functional.embedding_bag: bag_of_embeddings,
    torch.cdist: distances,
    functional.pdist: pairwise_distances,
}
