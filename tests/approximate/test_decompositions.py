"""Compositions of fused operations, against torch's own operations."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from unlearnkit.approximate.decompositions import Differentiable, TwiceDifferentiable

QUERY, KEY, VALUE = torch.randn(3, 2, 2, 5, 4, generator=torch.Generator().manual_seed(0))
TOKENS = torch.tensor([[1, 2, 3, 3], [0, 0, 0, 0], [3, 3, 3, 3]])
SHORT = torch.ones(5, 5, dtype=torch.bool).tril()


def attention(**options):
    return lambda query: functional.scaled_dot_product_attention(query, KEY, VALUE, **options)


def grouped(query):
    return functional.scaled_dot_product_attention(query, KEY[:, :1], VALUE[:, :1], enable_gqa=True)


def heads(**options):
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    return lambda query: layer(query[0], query[0], query[0], need_weights=False, **options)[0]


def bag(offsets=None, tokens=TOKENS, weighted=False, **options):
    def compute(weight):
        weights = torch.linspace(0.5, 2.0, tokens.numel()).view(tokens.shape)
        return functional.embedding_bag(
            tokens, weight, offsets, per_sample_weights=weights if weighted else None, **options
        )

    return compute


STARTS = torch.tensor([0, 4, 4, 7])
ENDED, FLAT = torch.tensor([0, 4, 4, 12]), TOKENS.flatten()
ATTENTION = {
    "plain": attention(),
    "causal": attention(is_causal=True),
    "boolean mask": attention(attn_mask=SHORT),
    "float mask, scale": attention(attn_mask=torch.linspace(-2, 2, 25).view(5, 5), scale=0.3),
    "grouped heads": grouped,
    "multi-head": heads(),
    "multi-head, causal": heads(is_causal=True, attn_mask=~SHORT),
    "multi-head, padded": heads(key_padding_mask=torch.tensor([[False] * 4 + [True]] * 2)),
}
BAGS = {
    "sum": bag(mode="sum"),
    "mean": bag(mode="mean"),
    "max": bag(mode="max"),
    "mean, padded": bag(mode="mean", padding_idx=3),
    "max, padded": bag(mode="max", padding_idx=-2),
    "weighted": bag(mode="sum", weighted=True),
    "offsets": bag(STARTS, FLAT, mode="mean"),
    "offsets, max": bag(STARTS, FLAT, mode="max"),
    "last offset": bag(ENDED, FLAT, mode="sum", include_last_offset=True),
    "offsets, weighted": bag(STARTS, FLAT, mode="sum", weighted=True),
}


def gradients(compute, at, twice):
    """Return the outputs, and a gradient of them; in the mode this can be differentiated again."""
    at = at.clone().requires_grad_()
    outputs = compute(at)
    slopes = torch.linspace(-1, 1, outputs.numel()).view(outputs.shape).requires_grad_()
    (found,) = torch.autograd.grad(outputs, at, slopes, create_graph=twice)
    if twice:
        (again,) = torch.autograd.grad(found.square().sum(), slopes)
        assert again.isfinite().all() and again.any()
    return outputs.detach(), found.detach()


@pytest.mark.parametrize("name", [*ATTENTION, *BAGS])
def test_compositions_compute_what_torch_computes_and_can_be_differentiated_twice(name):
    compute = ATTENTION.get(name) or BAGS[name]
    at = QUERY if name in ATTENTION else torch.linspace(-1, 1, 15).view(5, 3)
    expected = gradients(compute, at, twice=False)
    with TwiceDifferentiable():
        found = gradients(compute, at, twice=True)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)  # rounding in float32


def test_distances_between_points_and_to_themselves():
    points = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    with TwiceDifferentiable():
        between, apart = torch.cdist(points, points[:2] + 1), functional.pdist(points)
    torch.testing.assert_close(between, torch.cdist(points, points[:2] + 1))
    torch.testing.assert_close(apart, functional.pdist(points))


@pytest.mark.parametrize("layer", [nn.Embedding, nn.EmbeddingBag])
def test_embeddings_with_a_norm_neither_write_to_the_weight_nor_have_sparse_gradients(layer):
    plain = layer(5, 3, max_norm=0.5, sparse=True)
    before = plain.weight.detach().clone()
    with Differentiable():
        found = plain(TOKENS)
    assert torch.equal(plain.weight, before)
    (gradient,) = torch.autograd.grad(found.square().sum(), plain.weight)
    assert not gradient.is_sparse and gradient[:4].any() and not gradient[4].any()
    torch.testing.assert_close(found, plain(TOKENS))  # this shortens the weight in place


def test_other_embeddings_have_the_bits_of_torch():
    weight = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    with Differentiable():
        found = functional.embedding_bag(TOKENS, weight), functional.embedding(TOKENS, weight)
    assert torch.equal(found[0], functional.embedding_bag(TOKENS, weight))
    assert torch.equal(found[1], weight[TOKENS])
