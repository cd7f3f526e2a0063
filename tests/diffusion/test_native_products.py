"""The products with laid-out weights, and all that they do beside multiplying, against PyTorch in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.networks.layers import Conv2d, GatedLinear, Linear
from diffusion.networks.native_products import Squares, best_products, takes

BF16 = torch.bfloat16


def values(*shape: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    return (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * scale).to(BF16)


def close(found: Tensor, expected: Tensor, roundings: int = 1) -> bool:
    """Within so many roundings to bf16 of the result's size."""
    limit = 5e-3 * roundings * max(1.0, float(expected.abs().max()))
    return bool((found.double() - expected).abs().max() <= limit)


@torch.no_grad()
@pytest.mark.parametrize("added", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 15, 16, 33, 300, 700])
@pytest.mark.parametrize(("depth", "columns"), [(32, 32), (320, 96), (1312, 64), (2912, 160)])
def test_multiplying(rows: int, depth: int, columns: int, bias: bool, added: bool) -> None:
    x, weight = values(rows, depth), values(columns, depth, scale=depth**-0.5, seed=1)
    layer = Linear(depth, columns, bias=bias).to(BF16)
    layer.weight.copy_(weight)
    onto = values(rows, columns, seed=2) if added else None
    expected = F.linear(x.double(), weight.double(), None if layer.bias is None else layer.bias.double())
    expected += 0 if onto is None else onto.double()
    assert close(layer(x, onto), expected, roundings=2)
    layer.pack()
    assert close(layer(x, onto), expected, roundings=1 + (best_products() is None))
    assert torch.equal(layer(x[:, None], None if onto is None else onto[:, None])[:, 0], layer(x, onto))


@torch.no_grad()
@pytest.mark.parametrize(("rows", "depth", "hidden"), [(1, 32, 32), (77, 320, 160), (530, 1312, 48)])
def test_multiplying_and_gating(rows: int, depth: int, hidden: int) -> None:
    layer = GatedLinear(depth, 2 * hidden).to(BF16)
    x = values(rows, depth, scale=3)
    value, gate = F.linear(x.double(), layer.weight.double(), layer.bias.double()).chunk(2, dim=-1)
    expected = value * F.gelu(gate)
    assert close(layer(x), expected, roundings=3)
    layer.pack()
    if best_products() is not None:
        assert close(layer(x), expected)
    assert close(layer(x, expected.to(BF16)), expected + expected.to(BF16), roundings=3)


@torch.no_grad()
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (3, 7), (17, 9)])
@pytest.mark.parametrize("squares", [Squares(3), Squares(3, stride=2), Squares(2)])
@pytest.mark.parametrize("channels", [32, 480])
def test_convolving(squares: Squares, size: tuple[int, int], channels: int) -> None:
    products = best_products()
    weight = values(64, channels, squares.size, squares.size, scale=channels**-0.5)
    x, bias = values(2, channels, *size, seed=1), values(64, seed=2)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), squares.stride, padding=1)
    assert expected.shape[2:] == squares.out_size(*size)
    onto = values(*expected.shape, seed=3)
    if products is None:
        layer = Conv2d(channels, 64, squares.size, squares.stride, padding=1).to(BF16)
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
        assert close(layer(x, onto), expected + onto.double(), roundings=3)
        return
    packed = products.pack(weight.permute(0, 2, 3, 1).flatten(1))
    assert close(products.convolve(x, packed, bias, squares), expected)
    assert close(products.convolve(x, packed, None, squares, onto), expected - bias[:, None, None] + onto)


@torch.no_grad()
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 3e38])
def test_extreme_numbers_stay_in_their_rows(bad: float) -> None:
    layer = Linear(64, 64).to(BF16)
    x = values(40, 64)
    x[7] = bad
    expected = layer(x)
    layer.pack()
    found = layer(x)
    assert found[7].isfinite().any() == expected[7].isfinite().any()
    others = torch.arange(40) != 7
    assert close(found[others], expected[others].double())


@torch.no_grad()
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_gives_the_same(threads: int) -> None:
    layer = Linear(320, 96).to(BF16)
    layer.pack()
    x = values(400, 320)
    expected = layer(x)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(layer(x), expected)
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def test_no_rows_give_no_rows() -> None:
    layer = Linear(64, 96).to(BF16)
    layer.pack()
    assert layer(values(0, 64)).shape == (0, 96)


def test_weights_of_odd_sizes_are_left_to_pytorch() -> None:
    assert takes(values(32, 64))
    assert not takes(values(40, 64))
    assert not takes(values(32, 48))
    assert not takes(values(32, 64).float())
