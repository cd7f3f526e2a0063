"""Layers that are laid out for the processor give what the plain ones give."""

import pytest
import torch
from torch import Tensor

from diffusion.networks import onednn
from diffusion.networks.layers import Conv2d, Linear
from diffusion.networks.upsampling import Upsample
from tests.diffusion.reference import relative_error

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


def tensor(*shape: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.fixture(params=TOLERANCE, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@torch.no_grad()
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (1, 1), (2, 40)])
@pytest.mark.parametrize("settings", [{"padding": 1}, {"padding": 1, "stride": 2}, {"bias": False}])
def test_packed_convolutions(dtype: torch.dtype, size: tuple[int, int], settings: dict[str, int]) -> None:
    kernel = 3 if "padding" in settings else 1
    layer = Conv2d(48, 40, kernel, **settings).to(dtype)
    x = tensor(2, 48, *size, dtype=dtype)
    expected = layer(x)
    layer.pack()
    assert (layer.weight is None) == onednn.usable(dtype)
    assert relative_error(layer(x), expected) < TOLERANCE[dtype]
    assert relative_error(layer(x.to(memory_format=torch.channels_last)), expected) < TOLERANCE[dtype]


@torch.no_grad()
@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 1)])
def test_wide_convolutions(dtype: torch.dtype, size: tuple[int, int]) -> None:
    layers = Conv2d(1024, 1024, 3, padding=1).to(dtype), Upsample(1024).to(dtype)
    x = tensor(2, 1024, *size, dtype=dtype)
    expected = [layer(x) for layer in layers]
    layers[0].pack()
    layers[1].conv.pack()
    for layer, wanted in zip(layers, expected, strict=True):
        assert relative_error(layer(x), wanted) < TOLERANCE[dtype]


@torch.no_grad()
@pytest.mark.parametrize("shape", [(64,), (1, 64), (2, 77, 64), (2, 3, 5, 64)])
def test_packed_linear_layers(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    layer = Linear(64, 96).to(dtype)
    x = tensor(*shape, dtype=dtype)
    expected = layer(x)
    layer.pack()
    assert (layer.weight is None) == onednn.usable(dtype)
    assert relative_error(layer(x), expected) < TOLERANCE[dtype]


@torch.no_grad()
@pytest.mark.parametrize("size", [(8, 8), (3, 7), (1, 1)])
def test_enlarging_by_phases(dtype: torch.dtype, size: tuple[int, int]) -> None:
    layer = Upsample(32).to(dtype)
    x = tensor(2, 32, *size, dtype=dtype)
    odd = (2 * size[0] - 1, 2 * size[1])
    expected, expected_odd = layer(x), layer(x, odd)
    layer.conv.pack()
    assert layer.conv.phases is not None
    assert relative_error(layer(x), expected) < TOLERANCE[dtype]
    assert relative_error(layer(x, odd), expected_odd) < TOLERANCE[dtype]


def test_tiny_layers_and_other_precisions_stay_as_they_are() -> None:
    for layer in (Linear(8, 64), Conv2d(4, 64, 3), Linear(64, 64).half()):
        layer.pack()
        assert layer.weight is not None
