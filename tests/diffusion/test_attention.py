"""attention() against the formula itself, evaluated in float64."""

import pytest
import torch
from torch import Tensor

from diffusion.networks.attention import attention

SHAPES = [  # batch, queries, keys, heads, width of a head
    (1, 1, 1, 1, 1),
    (2, 64, 64, 8, 8),
    (2, 117, 77, 8, 40),
    (1, 7, 1, 2, 16),
    (3, 5, 154, 8, 12),
    (1, 129, 129, 1, 512),
    (2, 33, 31, 5, 7),
]


def formula(q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
    """One head after the other, softmax written out: [B, N, H*D] float64."""
    outputs = []
    for q_head, k_head, v_head in zip(*(t.double().chunk(num_heads, dim=-1) for t in (q, k, v)), strict=True):
        scores = torch.einsum("bnd,bmd->bnm", q_head, k_head) / q_head.shape[-1] ** 0.5
        powers = torch.exp(scores - scores.amax(dim=-1, keepdim=True))
        outputs.append(torch.einsum("bnm,bmd->bnd", powers / powers.sum(dim=-1, keepdim=True), v_head))
    return torch.cat(outputs, dim=-1)


def inputs(shape: tuple[int, int, int, int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    batch, queries, keys, heads, width = shape
    generator = torch.Generator().manual_seed(queries)
    q, k, v = (
        torch.randn(batch, length, heads * width, generator=generator).to(dtype)
        for length in (queries, keys, keys)
    )
    return q, k, v


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_agrees_with_the_formula(
    shape: tuple[int, int, int, int, int], dtype: torch.dtype, tolerance: float
) -> None:
    q, k, v = inputs(shape, dtype)
    found = attention(q, k, v, shape[3])
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), formula(q, k, v, shape[3]), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [30.0, 1e4])
def test_large_scores_neither_overflow_nor_lose_the_largest(dtype: torch.dtype, scale: float) -> None:
    q, k, v = inputs((2, 65, 77, 4, 16), dtype)
    q, k = q * scale, k * scale
    found = attention(q, k, v, 4)
    assert found.isfinite().all()
    torch.testing.assert_close(found.double(), formula(q, k, v, 4), rtol=2e-2, atol=2e-2)


def test_one_key_is_simply_read() -> None:
    q, k, v = inputs((2, 9, 1, 2, 8), torch.float32)
    torch.testing.assert_close(attention(q, k, v, 2), v.expand(2, 9, 16))


def test_equal_keys_average_the_values() -> None:
    q, k, v = inputs((1, 6, 10, 2, 4), torch.float32)
    found = attention(q, k[:, :1].expand(1, 10, 8), v, 2)
    torch.testing.assert_close(found, v.mean(dim=1, keepdim=True).expand(1, 6, 8))


def test_values_may_have_a_width_of_their_own() -> None:
    q, k, _ = inputs((2, 9, 11, 2, 8), torch.float32)
    v = torch.randn(2, 11, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(attention(q, k, v, 2).double(), formula(q, k, v, 2), rtol=1e-5, atol=1e-5)


def test_inputs_need_not_be_contiguous() -> None:
    q, k, v = (
        t.transpose(0, 1).contiguous().transpose(0, 1) for t in inputs((2, 9, 11, 2, 8), torch.float32)
    )
    torch.testing.assert_close(attention(q, k, v, 2).double(), formula(q, k, v, 2), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [3, 40])
def test_gradients_are_those_of_the_formula(size: int) -> None:
    q, k, v = (tensor.requires_grad_() for tensor in inputs((2, 9, size, 2, 8), torch.float32))
    found = torch.autograd.grad(attention(q, k, v, 2).square().sum(), (q, k, v))
    expected = torch.autograd.grad(formula(q, k, v, 2).square().sum(), (q, k, v))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
