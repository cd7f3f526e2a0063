"""The UNet against diffusers' UNet2DConditionModel around the same random weights, and against the original's keys."""

import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffusion.config import SD15_INPAINT_UNET, SD15_TEXT, SD15_UNET, SD15_VAE, UNetConfig
from diffusion.networks.unet import UNet
from diffusion.networks.unet_blocks import InputConv, timestep_embedding
from diffusion.networks.vae import Autoencoder
from diffusion.text.text_encoder import TextEncoder
from tests.diffusion.reference import (
    diffusers_unet,
    faint,
    load,
    random_weights,
    relative_error,
    unet_to_diffusers,
)

TINY = UNetConfig(channels=(64, 64, 96, 64), blocks=1, context_dim=128)
CONFIGS = {
    "tiny": TINY,
    "two levels, four heads": UNetConfig(
        channels=(32, 64), attention=(True, False), blocks=2, context_dim=48, num_heads=4, norm_groups=16
    ),
    "inpainting, no attention at the finest level": UNetConfig(
        in_channels=9,
        channels=(32, 48, 64),
        attention=(False, True, True),
        blocks=1,
        context_dim=24,
        norm_groups=8,
    ),
    "attention here and there, three blocks": UNetConfig(
        channels=(32, 32, 64, 96), attention=(True, False, True, False), blocks=3, context_dim=40, num_heads=2
    ),
    "attention in the middle only": UNetConfig(
        channels=(16, 32), attention=(False, False), blocks=1, context_dim=32, num_heads=1, norm_groups=4
    ),
    "one level, more channels out than in": UNetConfig(
        out_channels=8, channels=(32,), attention=(True,), blocks=2, context_dim=32, norm_groups=32
    ),
}
TOLERANCE = 5e-5
Pair = tuple[UNet, Any]


@cache
def pair(name: str) -> Pair:
    """Our UNet and diffusers', around the same tensors."""
    config = CONFIGS[name]
    weights = random_weights(lambda: UNet(config))
    return load(lambda: UNet(config), weights), diffusers_unet(config, weights)


def draw(config: UNetConfig, *, batch: int, size: tuple[int, int], tokens: int = 77) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch + tokens + sum(size))
    x = torch.randn(batch, config.in_channels, *size, generator=generator)
    return x, torch.randn(batch, tokens, config.context_dim, generator=generator)


@torch.no_grad()
def error(networks: Pair, x: Tensor, timesteps: Tensor, context: Tensor) -> float:
    ours, theirs = networks
    return relative_error(ours(x, timesteps, context), theirs(x, timesteps, context).sample)


@pytest.mark.parametrize("size", [(16, 16), (8, 24), (9, 13), (5, 1), (31, 18)])
@pytest.mark.parametrize("name", CONFIGS)
def test_agrees_with_diffusers(name: str, size: tuple[int, int]) -> None:
    x, context = draw(CONFIGS[name], batch=2, size=size)
    assert error(pair(name), x, torch.tensor([999, 3]), context) < TOLERANCE


@pytest.mark.parametrize("timestep", [0, 1, 499.5, 998, 999])
def test_agrees_with_diffusers_at_every_time(timestep: float) -> None:
    x, context = draw(TINY, batch=1, size=(8, 8))
    assert error(pair("tiny"), x, torch.tensor([timestep]), context) < TOLERANCE


@pytest.mark.parametrize("tokens", [1, 77, 154])
@pytest.mark.parametrize("batch", [1, 3])
def test_agrees_with_diffusers_for_prompts_of_any_length(batch: int, tokens: int) -> None:
    x, context = draw(TINY, batch=batch, size=(8, 8), tokens=tokens)
    assert error(pair("tiny"), x, torch.arange(batch) * 300, context) < TOLERANCE


def test_each_picture_of_a_batch_is_its_own() -> None:
    ours, _ = pair("tiny")
    x, context = draw(TINY, batch=3, size=(8, 8))
    timesteps = torch.tensor([1, 500, 999])
    with torch.no_grad():
        together = ours(x, timesteps, context)
        apart = [ours(x[i : i + 1], timesteps[i : i + 1], context[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-4, atol=1e-4)


def test_agrees_with_diffusers_where_the_norms_epsilons_count() -> None:
    weights = faint(random_weights(lambda: UNet(TINY)))
    x, context = draw(TINY, batch=1, size=(8, 8))
    networks = load(lambda: UNet(TINY), weights), diffusers_unet(TINY, weights)
    assert error(networks, x, torch.tensor([500]), context) < TOLERANCE


def test_channels_last_changes_nothing() -> None:
    ours, _ = pair("tiny")
    x, context = draw(TINY, batch=2, size=(9, 13))
    with torch.no_grad():
        plain = ours(x, torch.tensor([10, 20]), context)
        other = ours(x.contiguous(memory_format=torch.channels_last), torch.tensor([10, 20]), context)
    torch.testing.assert_close(other, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["tiny", "inpainting, no attention at the finest level"])
def test_gradients_agree_with_diffusers(name: str) -> None:
    """In train mode, as a trainer uses it: the loss and the gradient of every weight and of the input."""
    config = CONFIGS[name]
    weights = random_weights(lambda: UNet(config))
    ours, theirs = load(lambda: UNet(config), weights).train(), diffusers_unet(config, weights).train()
    x, context = draw(config, batch=2, size=(7, 8))
    timesteps = torch.tensor([100, 900])
    our_x, their_x = (x.clone().requires_grad_() for _ in range(2))
    ours(our_x, timesteps, context).square().mean().backward()
    theirs(their_x, timesteps, context).sample.square().mean().backward()
    assert our_x.grad is not None
    assert their_x.grad is not None
    assert relative_error(our_x.grad, their_x.grad) < 1e-4
    found = {key: weight.grad for key, weight in ours.named_parameters() if weight.grad is not None}
    assert found.keys() == weights.keys()
    expected = {key: weight.grad for key, weight in theirs.named_parameters()}
    for key, gradient in unet_to_diffusers(found, config).items():
        torch.testing.assert_close(gradient, expected[key], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_computes_in_its_own_dtype(dtype: torch.dtype) -> None:
    ours, _ = pair("tiny")
    low = load(lambda: UNet(TINY), {key: weight.to(dtype) for key, weight in ours.state_dict().items()})
    x, context = draw(TINY, batch=2, size=(8, 8))
    timesteps = torch.tensor([999, 3])
    with torch.no_grad():
        found, expected = low(x, timesteps, context), ours(x, timesteps, context)
    assert found.dtype == dtype
    assert relative_error(found, expected) < 0.05


def test_neighbouring_timesteps_stay_apart_in_low_precision() -> None:
    """bfloat16 cannot tell 998 from 999, so the embedding must not be computed in it."""
    ours, _ = pair("tiny")
    low = load(lambda: UNet(TINY), {key: weight.bfloat16() for key, weight in ours.state_dict().items()})
    x, context = draw(TINY, batch=1, size=(8, 8))
    with torch.no_grad():
        late, later = (low(x, torch.tensor([timestep]), context) for timestep in (998, 999))
    assert not torch.equal(late, later)


def test_timestep_embedding_is_cosines_then_sines() -> None:
    timesteps = torch.tensor([0, 1, 37, 999])
    angles = timesteps.double()[:, None] * 10_000.0 ** (-torch.arange(160, dtype=torch.float64) / 160)
    expected = torch.cat([angles.cos(), angles.sin()], dim=1)
    found = timestep_embedding(timesteps, 320)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-4)


def test_keys_and_shapes_are_those_of_the_original_file() -> None:
    path = Path(__file__).parents[1] / "data" / "sd15_keys.json"
    original = {key: tuple(shape) for key, shape in json.loads(path.read_text())}
    with torch.device("meta"):
        networks: dict[str, nn.Module] = {
            "model.diffusion_model.": UNet(SD15_UNET),
            "first_stage_model.": Autoencoder(SD15_VAE),
            "cond_stage_model.transformer.": TextEncoder(SD15_TEXT),
        }
    ours = {
        prefix + key: tuple(tensor.shape)
        for prefix, network in networks.items()
        for key, tensor in network.state_dict().items()
    }
    assert ours == original


def test_an_inpainting_model_differs_in_its_first_convolution_only() -> None:
    with torch.device("meta"):
        plain, inpainting = UNet(SD15_UNET).state_dict(), UNet(SD15_INPAINT_UNET).state_dict()
    different = {key for key in plain if plain[key].shape != inpainting[key].shape}
    assert different == {"input_blocks.0.0.weight"}
    assert inpainting["input_blocks.0.0.weight"].shape == (320, 9, 3, 3)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            UNetConfig(channels=(64, 100), attention=(True, True)),
            "100 channels do not split into 32 norm groups",
        ),
        (UNetConfig(channels=(64, 96), attention=(True, True), num_heads=7), "64 channels .* 7 heads"),
        (UNetConfig(channels=(64, 96)), "2 levels in channels .* 4 in attention"),
    ],
)
def test_impossible_sizes_are_refused(config: UNetConfig, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UNet(config)


def test_inputs_of_another_model_are_refused() -> None:
    ours, _ = pair("tiny")
    x, context = draw(TINY, batch=1, size=(8, 8))
    timesteps = torch.tensor([1])
    with pytest.raises(ValueError, match=r"takes 4 channels, but was given \[1, 9, 8, 8\]"):
        ours(torch.zeros(1, 9, 8, 8), timesteps, context)
    with pytest.raises(ValueError, match=r"prompts of width 128, but was given \[1, 77, 768\]"):
        ours(x, timesteps, torch.zeros(1, 77, 768))


@pytest.mark.slow
def test_full_size_agrees_with_diffusers() -> None:
    """With 4 input channels, and with 9: the same weights but for the first convolution's."""
    weights = random_weights(lambda: UNet(SD15_UNET))
    wider = random_weights(lambda: InputConv(9, 320))["weight"]
    for config, first in ((SD15_UNET, weights["input_blocks.0.0.weight"]), (SD15_INPAINT_UNET, wider)):
        own = weights | {"input_blocks.0.0.weight": first}
        networks = load(partial(UNet, config), own), diffusers_unet(config, own)
        x, context = draw(config, batch=2, size=(8, 9))
        assert error(networks, x, torch.tensor([999, 20]), context) < 1e-4
