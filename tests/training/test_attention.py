"""Attention in blocks, against the engine's attention: values and gradients."""

import pytest
import torch
from torch import Tensor

from diffusion.networks import attention as engine
from training.attention import BLOCK, blockwise, blockwise_attention


def inputs(batch: int, heads: int, tokens: int, context: int) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    shapes = ((batch, tokens, heads * 8), (batch, context, heads * 8), (batch, context, heads * 8))
    q, k, v = (torch.randn(shape, generator=random, requires_grad=True) for shape in shapes)
    return q, k, v


@pytest.mark.parametrize(
    ("batch", "heads", "tokens", "context"), [(3, 5, 17, 17), (2, 4, 16, 9), (1, 1, 1, 1)]
)
def test_values_and_gradients_are_those_of_the_engine(
    batch: int, heads: int, tokens: int, context: int
) -> None:
    given = inputs(batch, heads, tokens, context)
    upstream = torch.randn(batch, tokens, heads * 8, generator=torch.Generator().manual_seed(1))
    outputs = (blockwise_attention(*given, heads), engine.attention(*given, heads))
    results = [(out, *torch.autograd.grad(out, given, upstream)) for out in outputs]
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_more_heads_than_a_block_and_a_rest() -> None:
    given = inputs(3, BLOCK - 1, 5, 7)
    torch.testing.assert_close(blockwise_attention(*given, BLOCK - 1), engine.attention(*given, BLOCK - 1))


def test_it_is_used_within_the_block_only() -> None:
    original = engine.attention
    with blockwise():
        assert engine.attention is blockwise_attention
    assert engine.attention is original
