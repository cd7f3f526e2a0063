"""The native attention kernels against PyTorch's in float64, in every form that this machine can run."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.networks import native_attention
from diffusion.networks.attention import attention
from diffusion.networks.native_attention import FORMS, LIBRARY, Kernel, best_kernels, kernel_for, load_kernels

DTYPE_OF = {form: dtype for dtype, forms in FORMS.items() for form in forms}

# Of the largest number in the result: rounding to bf16 errs by 2^-9 of it, the products add as much again. Where
# scores are so large that their own rounding shows, PyTorch's error in the same dtype is the measure.
TOLERANCE = {torch.bfloat16: 1e-2, torch.float32: 3e-6}

# The shapes of SD 1.5 at 512x512 and 256x256 (fewer tokens in the first), of the tiny checkpoint, and of the VAE;
# then lengths and widths at and around the edges of tiles and blocks.
SHAPES = [
    (2, 1024, 1024, 8, 40),
    (2, 256, 256, 8, 80),
    (2, 64, 64, 8, 160),
    (2, 1024, 77, 8, 40),
    (2, 64, 77, 8, 160),
    (2, 64, 64, 4, 8),
    (1, 64, 77, 4, 12),
    (1, 256, 256, 1, 512),
    (1, 1, 1, 1, 8),
    (1, 1, 77, 2, 40),
    (3, 7, 1, 2, 24),
    (1, 33, 255, 3, 40),
    (1, 65, 256, 3, 33),
    (1, 97, 257, 2, 64),
    (1, 31, 513, 1, 47),
    (2, 193, 1025, 2, 16),
    (1, 5, 191, 1, 9),
    (1, 5, 193, 1, 1),
]


@pytest.fixture(params=[form for forms in FORMS.values() for form in forms])
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """Each form in turn; where the processor lacks one, PyTorch's function stands in for it and passes too."""
    return load_kernels(LIBRARY).get(request.param) or _stand_in(request.param)


@pytest.fixture
def _fresh_choice() -> Iterator[None]:
    best_kernels.cache_clear()
    yield
    best_kernels.cache_clear()


def _stand_in(form: str) -> Kernel:
    class PyTorch(Kernel):
        def __call__(self, q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
            return _sdpa(q, k, v, num_heads)

    return PyTorch(form, lambda call: 0, lambda call: None, lambda *call: None)


def _sdpa(q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
    q, k, v = (tokens.view(*tokens.shape[:2], num_heads, -1).transpose(1, 2) for tokens in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def _tokens(*shape: int, dtype: torch.dtype, seed: int, scale: float = 1.0) -> Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype)


def _check(kernel: Kernel, q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> None:
    found = kernel(q, k, v, num_heads)
    expected = _sdpa(q.double(), k.double(), v.double(), num_heads)
    assert found.dtype == q.dtype
    assert found.shape == q.shape
    error, sdpa_error = (_error(result, expected) for result in (found, _sdpa(q, k, v, num_heads)))
    assert error <= max(TOLERANCE[q.dtype], 4 * sdpa_error), (
        f"{kernel.name}: {error:.2e}, SDPA {sdpa_error:.2e}"
    )


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected).abs().max() / expected.abs().max())


def _inputs(
    form: str, shape: tuple[int, int, int, int, int], scale: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    batch, queries, keys, heads, width = shape
    lengths = ((queries, scale), (keys, scale), (keys, 1.0))
    q, k, v = (
        _tokens(batch, length, heads * width, dtype=DTYPE_OF[form], seed=seed, scale=factor)
        for seed, (length, factor) in enumerate(lengths)
    )
    return q, k, v


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_agrees_with_float64(kernel: Kernel, shape: tuple[int, int, int, int, int]) -> None:
    _check(kernel, *_inputs(kernel.name, shape), num_heads=shape[3])


def test_it_reads_slices_of_one_fused_projection(kernel: Kernel) -> None:
    q, k, v = _tokens(2, 70, 3 * 120, dtype=DTYPE_OF[kernel.name], seed=5).chunk(3, dim=-1)
    _check(kernel, q, k, v, num_heads=3)


def test_it_reads_a_batch_and_tokens_at_any_stride(kernel: Kernel) -> None:
    wide = _tokens(6, 90, 80, dtype=DTYPE_OF[kernel.name], seed=6)
    q, k, v = wide[::3, 1::2], wide[1::3, ::3], wide[2::3, 2::3]
    _check(kernel, q, k, v, num_heads=2)


def test_one_prompt_serves_a_batch_without_being_copied(kernel: Kernel) -> None:
    q = _tokens(3, 20, 80, dtype=DTYPE_OF[kernel.name], seed=7)
    k, v = (_tokens(1, 77, 80, dtype=q.dtype, seed=seed).expand(3, -1, -1) for seed in (8, 9))
    _check(kernel, q, k, v, num_heads=2)


@pytest.mark.parametrize("width", [1, 8, 40])
def test_nothing_is_written_beyond_a_row(kernel: Kernel, width: int) -> None:
    q, k, v = _inputs(kernel.name, (1, 9, 20, 2, width))
    one_head = kernel(q[..., :width], k[..., :width], v[..., :width], 1)
    torch.testing.assert_close(kernel(q, k, v, 2)[..., :width], one_head)


@pytest.mark.parametrize("keys", [1, 77, 300, 1000])
def test_equal_scores_give_the_mean_of_the_values(kernel: Kernel, keys: int) -> None:
    q, k, v = _inputs(kernel.name, (1, 10, keys, 2, 40))
    k = k[:, :1].expand(-1, keys, -1)
    mean = v.double().mean(dim=1, keepdim=True).expand(-1, 10, -1)
    error = (kernel(q, k, v, 2).double() - mean).abs().max()
    assert error <= TOLERANCE[q.dtype] * v.double().abs().max()


@pytest.mark.parametrize("scale", [1e-4, 10.0, 1e4])
def test_small_and_extreme_inputs(kernel: Kernel, scale: float) -> None:
    """At 1e4 the scores reach 1e9, and one key takes all the weight."""
    _check(kernel, *_inputs(kernel.name, (1, 40, 600, 2, 160), scale=scale), num_heads=2)


def test_the_largest_scores_of_the_widest_head_are_numbers(kernel: Kernel) -> None:
    q, k, v = (torch.full((1, 40, 512), 1e4, dtype=DTYPE_OF[kernel.name]) for _ in range(3))
    k[:, 20:] = -1e4
    torch.testing.assert_close(kernel(q, k, v, 1), v)


def test_scores_that_grow_from_block_to_block(kernel: Kernel) -> None:
    """Each block of keys outweighs all before it, so the running maximum has to move, and move the sums with it."""
    q, k, v = _inputs(kernel.name, (1, 40, 2000, 1, 40))
    q, k = q.abs(), k.abs() * torch.linspace(0.1, 20, 2000).to(k.dtype)[:, None]
    _check(kernel, q, k, v, num_heads=1)


def test_scores_far_below_zero(kernel: Kernel) -> None:
    q, k, v = _inputs(kernel.name, (1, 10, 77, 1, 40), scale=30.0)
    _check(kernel, q.abs(), -k.abs(), v, num_heads=1)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_gives_the_same_bits(kernel: Kernel, threads: int) -> None:
    q, k, v = _inputs(kernel.name, (2, 300, 300, 3, 40))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = kernel(q, k, v, 3)
        torch.set_num_threads(1)
        assert torch.equal(found, kernel(q, k, v, 3))
    finally:
        torch.set_num_threads(before)


def test_the_one_attention_function_uses_it() -> None:
    for dtype in best_kernels():
        q, k, v = (_tokens(2, 50, 80, dtype=dtype, seed=seed) for seed in range(3))
        assert kernel_for(q, k, v, 2) is best_kernels()[dtype]
        assert torch.equal(attention(q, k, v, 2), best_kernels()[dtype](q, k, v, 2))


def test_pytorch_computes_what_the_kernels_do_not() -> None:
    q = torch.randn(2, 10, 80)
    assert kernel_for(q.half(), q.half(), q.half(), 2) is None
    assert kernel_for(q.double(), q.double(), q.double(), 2) is None
    assert kernel_for(q, q.bfloat16(), q.bfloat16(), 2) is None
    assert kernel_for(q, q, torch.randn(2, 10, 40), 2) is None
    assert kernel_for(q[:, :0], q, q, 2) is None
    assert kernel_for(q, q[:, :0], q[:, :0], 2) is None
    assert kernel_for(torch.randn(2, 80, 10).transpose(1, 2), q, q, 2) is None
    assert kernel_for(q.to("meta"), q.to("meta"), q.to("meta"), 2) is None
    wide = torch.randn(1, 4, 512)
    assert kernel_for(wide, wide, wide, 1) is None


def test_gradients_flow_and_are_not_paid_for_otherwise() -> None:
    q = torch.randn(1, 10, 16, requires_grad=True)
    assert kernel_for(q, q, q, 2) is None
    (gradient,) = torch.autograd.grad(attention(q, q, q, 2).sum(), q)
    assert gradient.abs().sum() > 0
    with torch.no_grad():
        assert kernel_for(q, q, q, 2) is best_kernels().get(torch.float32)


@pytest.mark.usefixtures("_fresh_choice")
def test_it_can_be_turned_off_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WEFT_NATIVE", "0")
    q = torch.randn(1, 10, 80)
    with caplog.at_level(logging.INFO, logger="diffusion.networks"):
        for _ in range(3):
            assert torch.equal(attention(q, q, q, 2), _sdpa(q, q, q, 2))
    assert [record.getMessage() for record in caplog.records] == [
        "Attention on the CPU: PyTorch's own (WEFT_NATIVE=0)"
    ]
    assert not native_attention.available(torch.float32)


@pytest.mark.usefixtures("_fresh_choice")
@pytest.mark.parametrize("content", [None, b"not a library"], ids=["missing", "broken"])
def test_without_a_library_pytorch_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    library = tmp_path / "_kernels.so"
    if content is not None:
        library.write_bytes(content)
    monkeypatch.delenv("WEFT_NATIVE", raising=False)
    monkeypatch.setattr(native_attention, "LIBRARY", library)
    q = torch.randn(1, 10, 80)
    with caplog.at_level(logging.INFO, logger="diffusion.networks"):
        assert torch.equal(attention(q, q, q, 2), _sdpa(q, q, q, 2))
    assert str(library) in caplog.text
    assert "PyTorch's own" in caplog.text


@pytest.mark.usefixtures("_fresh_choice")
def test_a_lesser_processors_form_is_no_substitute(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an old compiler AMX is left out; PyTorch, which has it, is then faster than AVX-512 BF16."""
    monkeypatch.delenv("WEFT_NATIVE", raising=False)
    kernels = {"amx_bf16": None, "avx512_bf16": _stand_in("avx512_bf16"), "avx2_fp32": _stand_in("avx2_fp32")}
    monkeypatch.setattr(native_attention, "load_kernels", lambda path: kernels)
    assert {dtype: kernel.name for dtype, kernel in best_kernels().items()} == {torch.float32: "avx2_fp32"}


@pytest.mark.usefixtures("_fresh_choice")
def test_the_log_names_the_kernels_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("WEFT_NATIVE", raising=False)
    with caplog.at_level(logging.INFO, logger="diffusion.networks"):
        names = [kernel.name for kernel in best_kernels().values()]
        best_kernels()
    summaries = [r.getMessage() for r in caplog.records if r.getMessage().startswith("Attention on the CPU")]
    assert len(summaries) == 1
    assert all(name in summaries[0] for name in names)
