"""The passes between matrix products: every form that runs here against PyTorch's own operators in float64."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.networks.layers import GroupNorm, LayerNorm, NormSiLU, geglu
from diffusion.networks.native_passes import FORMS, Passes, best_passes, passes_for
from tests.diffusion.native_samples import library_with, values

TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 5e-3}
_ROUNDINGS = 4


def _forms() -> list[tuple[str, torch.dtype]]:
    return [(form, dtype) for dtype, forms in FORMS.items() for form in forms]


@pytest.fixture(params=_forms(), ids=lambda form: form[0])
def passes(request: pytest.FixtureRequest) -> tuple[Passes | None, torch.dtype]:
    """A form and its dtype; None stands for PyTorch's operators where this machine can't run the form."""
    form, dtype = request.param
    library = library_with("geglu", form)
    return (Passes(form, library) if library else None), dtype


def close(found: Tensor, expected: Tensor, kernel: Passes | None) -> bool:
    """Within the precision's error of a float64 result, relative to its size: of one rounding for a kernel, of several
    where PyTorch's operators round one after the other."""
    limit = TOLERANCE[found.dtype] * (1 if kernel else _ROUNDINGS) * max(1.0, float(expected.abs().max()))
    return bool((found.double() - expected).abs().max() <= limit)


def normed(x: Tensor, groups: int, layer: GroupNorm) -> Tensor:
    result = F.group_norm(x.double(), groups, layer.weight.double(), layer.bias.double(), layer.eps)
    return F.silu(result) if layer.silu else result


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 2), (3, 30), (2, 5, 64), (7, 1282), (130, 640)])
def test_geglu(passes: tuple[Passes | None, torch.dtype], shape: tuple[int, ...]) -> None:
    kernel, dtype = passes
    x = values(*shape, dtype=dtype, scale=3)
    value, gate = x.double().chunk(2, dim=-1)
    assert close(kernel.geglu(x) if kernel else geglu(x), value * F.gelu(gate), kernel)


@torch.no_grad()
def test_gelu_and_silu_of_extreme_numbers(passes: tuple[Passes | None, torch.dtype]) -> None:
    kernel, dtype = passes
    gate = torch.tensor([-1e30, -100.0, -9.0, -5.0, -1e-20, 0.0, 1e-20, 5.0, 9.0, 100.0, 1e30], dtype=dtype)
    x = torch.cat([torch.ones_like(gate), gate])[None]
    found = kernel.geglu(x) if kernel else geglu(x)
    torch.testing.assert_close(found[0].double(), F.gelu(gate.double()), rtol=1e-2, atol=1e-6)
    nan = torch.full((1, 2), float("nan"), dtype=dtype)
    assert (kernel.geglu(nan) if kernel else geglu(nan)).isnan().all()


@torch.no_grad()
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (3, 17), (2, 77, 64), (300, 320), (2, 9, 1280)])
def test_layer_norm_of_a_sum(
    passes: tuple[Passes | None, torch.dtype], shape: tuple[int, ...], added: bool
) -> None:
    kernel, dtype = passes
    channels = shape[-1]
    x = values(*shape, dtype=dtype) + 3
    other = values(*shape, dtype=dtype, seed=1) if added else None
    weight, bias = values(channels, dtype=dtype, seed=2), values(channels, dtype=dtype, seed=3)
    layer = LayerNorm(channels).to(dtype)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    if kernel:
        total, found = kernel.layer_norm(x, other, weight, bias, layer.eps)
    else:
        total, found = layer.of_sum(x, other)
    assert torch.equal(total, x if other is None else x + other)
    expected = F.layer_norm(total.double(), (channels,), weight.double(), bias.double(), layer.eps)
    assert close(found, expected, kernel)


@torch.no_grad()
@pytest.mark.parametrize("kind", [GroupNorm, NormSiLU])
@pytest.mark.parametrize("shift_rows", [0, 1, 2])
@pytest.mark.parametrize(
    ("channels", "groups", "size"),
    [
        (4, 4, (1, 1)),
        (6, 3, (3, 5)),
        (32, 32, (9, 8)),
        (64, 32, (40, 33)),
        (320, 32, (16, 16)),
        (2560, 32, (3, 3)),
    ],
)
def test_group_norm(
    passes: tuple[Passes | None, torch.dtype],
    kind: type[GroupNorm],
    shift_rows: int,
    channels: int,
    groups: int,
    size: tuple[int, int],
) -> None:
    kernel, dtype = passes
    if size == (1, 1) and channels == groups:
        groups = 2
    layer = kind(groups, channels).to(dtype)
    layer.weight.copy_(values(channels, dtype=dtype, seed=2))
    layer.bias.copy_(values(channels, dtype=dtype, seed=3))
    x = (values(2, channels, *size, dtype=dtype) + 5).contiguous(memory_format=torch.channels_last)
    shift = values(shift_rows, channels, dtype=dtype, seed=4) if shift_rows else None
    if kernel:
        found = kernel.group_norm(
            x, shift, layer.weight, layer.bias, groups=groups, eps=layer.eps, silu=layer.silu
        )
    else:
        found = layer(x, shift)
    exact = x.double() if shift is None else x.double() + shift.double()[:, :, None, None]
    assert found.shape == x.shape
    expected = normed(exact, groups, layer)
    # PyTorch also rounds the shifted picture, which a norm of two numbers makes as much larger as they are alike.
    allowed = TOLERANCE[dtype] * (1 if kernel else 4 * _ROUNDINGS)
    torch.testing.assert_close(found.double(), expected, rtol=2 * allowed, atol=10 * allowed)


@torch.no_grad()
@pytest.mark.parametrize("channels", [32, 320, 1282])
def test_sums_may_be_wider_than_the_weights(passes: tuple[Passes | None, torch.dtype], channels: int) -> None:
    """A float32 picture or sum keeps its precision, and what is made of it comes in the weights' dtype."""
    kernel, dtype = passes
    weight, bias = values(channels, dtype=dtype, seed=2), values(channels, dtype=dtype, seed=3)
    x, added = values(5, channels, dtype=torch.float32), values(5, channels, dtype=dtype, seed=1)
    layer = LayerNorm(channels).to(dtype)
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    total, found = kernel.layer_norm(x, added, weight, bias, layer.eps) if kernel else layer.of_sum(x, added)
    assert (total.dtype, found.dtype) == (torch.float32, dtype)
    assert torch.equal(total, x + added.float())
    expected = F.layer_norm(total.double(), (channels,), weight.double(), bias.double(), layer.eps)
    assert close(found, expected, None)

    norm = NormSiLU(2, channels).to(dtype)
    norm.weight.copy_(weight)
    norm.bias.copy_(bias)
    picture = (values(2, channels, 7, 9, dtype=torch.float32) + 3).contiguous(
        memory_format=torch.channels_last
    )
    found = (
        kernel.group_norm(picture, None, weight, bias, groups=2, eps=norm.eps, silu=True)
        if kernel
        else norm(picture)
    )
    assert found.dtype == dtype
    assert close(found, normed(picture, 2, norm), None)


@torch.no_grad()
def test_a_mean_far_from_zero_costs_no_precision(passes: tuple[Passes | None, torch.dtype]) -> None:
    kernel, dtype = passes
    x = (values(1, 64, 50, 50, dtype=torch.float32) + 1000).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    layer = GroupNorm(32, 64).to(dtype)
    found = (
        kernel.group_norm(x, None, layer.weight, layer.bias, groups=32, eps=layer.eps, silu=False)
        if kernel
        else layer(x)
    )
    assert (found.double() - normed(x, 32, layer)).abs().max() < (1e-3 if dtype == torch.float32 else 0.05)


def test_the_layers_use_them_only_where_they_fit() -> None:
    x = torch.randn(2, 64, 6, 5).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        assert passes_for(x) is best_passes().get(torch.float32)
        assert passes_for(x, x.bfloat16()) is best_passes().get(torch.bfloat16)
        assert passes_for(x.bfloat16(), x) is None
        assert passes_for(x, x.bfloat16(), x) is None
        assert passes_for(x[:0]) is None
        assert passes_for(x.to("meta")) is None
        assert passes_for(x, x.to("meta")) is None
        assert passes_for(x.double()) is None
        layer = NormSiLU(32, 64)
        torch.testing.assert_close(layer(x.contiguous()), layer(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            layer(x.double().float()[:, :, ::2]), layer(x)[:, :, ::2] * 0 + layer(x[:, :, ::2])
        )
        assert layer(x).is_contiguous(memory_format=torch.channels_last)


def test_gradients_flow() -> None:
    for shift in (None, torch.randn(1, 64, requires_grad=True)):
        x = torch.randn(1, 64, 4, 4, requires_grad=True)
        NormSiLU(32, 64)(x, shift).square().sum().backward()
        assert x.grad is not None
        assert x.grad.abs().sum() > 0
    tokens = torch.randn(3, 64, requires_grad=True)
    total, out = LayerNorm(64).of_sum(tokens, tokens)
    (geglu(out).sum() + total.sum()).backward()
    assert tokens.grad is not None
    assert tokens.grad.abs().sum() > 0


@torch.no_grad()
def test_many_threads_agree() -> None:
    x = values(2, 320, 40, 40, dtype=torch.float32).contiguous(memory_format=torch.channels_last)
    layer = NormSiLU(32, 320)
    before = torch.get_num_threads()
    try:
        results = []
        for threads, _ in itertools.product((1, 2, 5), range(5)):
            torch.set_num_threads(threads)
            results.append(layer(x))
    finally:
        torch.set_num_threads(before)
    # PyTorch's own operator adds up in another order with another number of threads.
    allowed = 0.0 if torch.float32 in best_passes() else 1e-5
    for result in results:
        torch.testing.assert_close(result, results[0], rtol=0, atol=allowed)
