"""The autoencoder against diffusers' AutoencoderKL around the same random weights."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.config import SD15_VAE, VAEConfig
from diffusion.networks.vae import Autoencoder
from diffusion.types import Weights
from tests.diffusion.reference import (
    diffusers_vae,
    faint,
    load,
    random_weights,
    relative_error,
    vae_to_diffusers,
)

TINY = VAEConfig(channels=(64, 64, 64, 64), blocks=1)
CONFIGS = {
    "tiny": TINY,
    "widths that change at every level": VAEConfig(channels=(16, 32, 48, 64), blocks=2, norm_groups=8),
    "three levels, sixteen latent channels": VAEConfig(channels=(32, 64, 32), blocks=3, latent_channels=16),
}
TOLERANCE = 5e-5
Pair = tuple[Autoencoder, Any]


def make_pair(config: VAEConfig, change: Callable[[Weights], Weights] = dict) -> Pair:
    """Our autoencoder and diffusers', around the same tensors."""
    weights = change(random_weights(lambda: Autoencoder(config)))
    ours = load(lambda: Autoencoder(config), weights)
    return ours, diffusers_vae(config, weights)


@cache
def pair(name: str) -> Pair:
    return make_pair(CONFIGS[name])


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def check_encode(networks: Pair, pixels: Tensor) -> None:
    ours, theirs = networks
    with torch.no_grad():
        mean, logvar = ours.encode(pixels)
        expected = theirs.encode(pixels).latent_dist
    assert relative_error(mean, expected.mean) < TOLERANCE
    assert relative_error(logvar, expected.logvar) < TOLERANCE


def check_decode(networks: Pair, latent: Tensor) -> None:
    ours, theirs = networks
    # In float64: norms over a single pixel multiply their own rounding errors by a thousand in float32.
    exact = deepcopy(theirs).double()
    with torch.no_grad():
        assert relative_error(ours.decode(latent).double(), exact.decode(latent.double()).sample) < TOLERANCE


@pytest.mark.parametrize("size", [(64, 64), (32, 88), (43, 71), (8, 8)])
@pytest.mark.parametrize("name", CONFIGS)
def test_encode_agrees_with_diffusers(name: str, size: tuple[int, int]) -> None:
    check_encode(pair(name), draw(2, 3, *size).tanh())


@pytest.mark.parametrize("size", [(8, 8), (5, 11), (1, 1), (3, 2)])
@pytest.mark.parametrize("name", CONFIGS)
def test_decode_agrees_with_diffusers(name: str, size: tuple[int, int]) -> None:
    check_decode(pair(name), draw(2, CONFIGS[name].latent_channels, *size))


def test_agrees_with_diffusers_where_the_norms_epsilons_count() -> None:
    networks = make_pair(TINY, faint)
    check_encode(networks, draw(1, 3, 32, 32).tanh())
    check_decode(networks, draw(1, 4, 4, 4))


def test_sizes_are_eighths_rounded_down() -> None:
    ours, _ = pair("tiny")
    with torch.no_grad():
        mean, logvar = ours.encode(torch.zeros(1, 3, 47, 65))
        assert mean.shape == logvar.shape == (1, 4, 5, 8)
        assert ours.decode(mean).shape == (1, 3, 40, 64)


def test_log_variances_stay_within_bounds() -> None:
    ours, theirs = make_pair(TINY)
    with torch.no_grad():
        for network in (ours, theirs):
            network.quant_conv.weight[4:] *= 1000
        _, logvar = ours.encode(draw(1, 3, 64, 64))
        expected = theirs.encode(draw(1, 3, 64, 64)).latent_dist.logvar
    assert logvar.min() == -30
    assert logvar.max() == 20
    torch.testing.assert_close(logvar, expected, rtol=1e-3, atol=1e-3)


def test_gradients_agree_with_diffusers() -> None:
    """In train mode, as a trainer uses it: the gradient of every weight for a loss through encode and decode."""
    ours, theirs = make_pair(TINY)
    pixels = draw(1, 3, 24, 32).tanh()
    mean, logvar = ours.train().encode(pixels)
    (ours.decode(mean) - pixels).square().mean().add(logvar.square().mean()).backward()
    latent = theirs.train().encode(pixels).latent_dist
    (theirs.decode(latent.mean).sample - pixels).square().mean().add(latent.logvar.square().mean()).backward()
    found = {key: weight.grad for key, weight in ours.named_parameters() if weight.grad is not None}
    assert found.keys() == ours.state_dict().keys()
    expected = {key: weight.grad for key, weight in theirs.named_parameters()}
    for key, gradient in vae_to_diffusers(found, TINY).items():
        torch.testing.assert_close(gradient, expected[key], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_computes_in_its_own_dtype(dtype: torch.dtype) -> None:
    ours, _ = pair("tiny")
    low = load(
        lambda: Autoencoder(TINY), {key: weight.to(dtype) for key, weight in ours.state_dict().items()}
    )
    pixels, latent = draw(1, 3, 32, 32).tanh(), draw(1, 4, 4, 4)
    with torch.no_grad():
        mean, logvar = low.encode(pixels)
        decoded = low.decode(latent)
        assert mean.dtype == logvar.dtype == decoded.dtype == dtype
        assert relative_error(mean, ours.encode(pixels)[0]) < 0.05
        assert relative_error(decoded, ours.decode(latent)) < 0.05


def test_a_picture_below_one_latent_pixel_is_refused() -> None:
    ours, _ = pair("tiny")
    with pytest.raises(ValueError, match=r"30x7 pixels is too small to encode: .* at least 8"):
        ours.encode(torch.zeros(1, 3, 7, 30))


def test_channels_that_norm_groups_cannot_split_are_refused() -> None:
    with pytest.raises(ValueError, match="40 channels do not split into 32 norm groups"):
        Autoencoder(VAEConfig(channels=(32, 40)))


@pytest.mark.slow
def test_full_size_agrees_with_diffusers() -> None:
    networks = make_pair(SD15_VAE)
    check_encode(networks, draw(1, 3, 64, 72).tanh())
    check_decode(networks, draw(2, 4, 8, 9))
