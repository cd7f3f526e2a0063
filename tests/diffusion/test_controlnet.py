"""ControlNet and T2I-Adapter networks against diffusers' around the same random weights, and at full size by key."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from diffusion.config import AdapterConfig, ControlNetConfig
from diffusion.control.layouts import controlnet_weights
from diffusion.control.model import network_kind
from diffusion.networks.blueprint import blueprint
from diffusion.networks.controlnet import ControlNet
from diffusion.networks.t2i_adapter import FullAdapter
from tests.diffusion.control_reference import (
    FULL,
    LIGHT,
    NET,
    UNET,
    diffusers_adapter,
    diffusers_controlnet,
    hint,
    weights_of,
)
from tests.diffusion.reference import load, relative_error

TOLERANCE = 5e-5


def draw(batch: int, size: tuple[int, int], prompts: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(batch, 4, *size, generator=generator)
    context = torch.randn(prompts * batch, 11, UNET.context_dim, generator=generator)
    return x, torch.tensor([400.0]), context


def ours() -> ControlNet:
    return load(lambda: ControlNet(NET), weights_of(NET))


@torch.no_grad()
@pytest.mark.parametrize("hints", [1, 2])
@pytest.mark.parametrize("size", [(6, 10), (5, 8)])
def test_agrees_with_diffusers(size: tuple[int, int], hints: int) -> None:
    x, timestep, context = draw(2, size, prompts=2)
    picture = hint(1, batch=hints, size=(8 * size[0], 8 * size[1])).permute(0, 3, 1, 2)
    network = ours()
    found = network(x, network.read_hint(picture), timestep, network.read(context))
    every = picture.expand(2, -1, -1, -1).repeat(2, 1, 1, 1)
    down, middle = diffusers_controlnet()(x.repeat(2, 1, 1, 1), timestep, context, every, return_dict=False)
    assert len(found) == len(down) + 1
    for one, other in zip(found, [*down, middle], strict=True):
        assert relative_error(one.repeat(len(other) // len(one), 1, 1, 1), other) < TOLERANCE


@torch.no_grad()
def test_each_latent_has_a_timestep_of_its_own_or_one_for_all() -> None:
    x, _, context = draw(2, (6, 10), prompts=2)
    network, picture = ours(), hint(1, batch=2).permute(0, 3, 1, 2)
    read = network.read_hint(picture)
    together = network(x, read, torch.tensor([3.0, 900.0]), context)[-1]
    apart = [
        network(x[[i]], read[[i]], torch.tensor([t]), context[i::2])[-1] for i, t in enumerate((3.0, 900.0))
    ]
    torch.testing.assert_close(together[0::2], apart[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together[1::2], apart[1], rtol=1e-4, atol=1e-4)


def test_full_size_has_the_keys_and_shapes_of_diffusers() -> None:
    from diffusers import ControlNetModel

    with torch.device("meta"):
        theirs = ControlNetModel(cross_attention_dim=768).state_dict()
    own = blueprint(lambda: ControlNet(ControlNetConfig())).state_dict()
    renamed = controlnet_weights(theirs)
    assert renamed is not None
    assert {key: tensor.shape for key, tensor in renamed.items()} == {
        key: tensor.shape for key, tensor in own.items()
    }


@pytest.mark.parametrize("light", [False, True])
def test_full_size_adapters_hold_as_many_numbers_as_diffusers(light: bool) -> None:
    from diffusers import T2IAdapter

    kind, blocks = ("light_adapter", 4) if light else ("full_adapter", 2)
    channels = [320, 640, 1280] if light else [320, 640, 1280, 1280]
    with torch.device("meta"):
        theirs = T2IAdapter(3, channels, num_res_blocks=blocks, adapter_type=kind).state_dict()
    config = AdapterConfig(light=light, blocks=blocks)
    own = blueprint(lambda: network_kind(config)(config)).state_dict()  # type: ignore[arg-type]
    assert sorted(tensor.shape for tensor in own.values()) == sorted(
        tensor.shape for tensor in theirs.values()
    )


@torch.no_grad()
@pytest.mark.parametrize(
    "config", [FULL, LIGHT, replace(FULL, hint_channels=1)], ids=["full", "light", "grey"]
)
def test_adapters_agree_with_diffusers(config: AdapterConfig) -> None:
    kind = network_kind(config)
    network = load(lambda: kind(config), weights_of(config))  # type: ignore[arg-type]
    for size in ((48, 80), (40, 64), (8, 24)):
        picture = hint(1, batch=2, size=size, channels=config.hint_channels).permute(0, 3, 1, 2)
        for one, other in zip(network(picture), diffusers_adapter(config)(picture), strict=True):
            assert relative_error(one, other) < TOLERANCE


@torch.no_grad()
def test_adapters_with_larger_kernels_and_strides_keep_the_sizes() -> None:
    plain = [
        part.shape for part in load(lambda: FullAdapter(FULL), weights_of(FULL))(torch.zeros(1, 3, 40, 72))
    ]
    other = replace(FULL, kernel=3, strided=True)
    network = load(lambda: FullAdapter(other), weights_of(other))
    assert [part.shape for part in network(torch.zeros(1, 3, 40, 72))] == plain


def test_inputs_of_other_sizes_are_refused() -> None:
    network, (x, timestep, context) = ours(), draw(1, (6, 10), prompts=1)
    read = torch.zeros(1, 32, 6, 10)
    with pytest.raises(ValueError, match="reads pictures of 3 channels"):
        network.read_hint(torch.zeros(1, 4, 48, 80))
    with pytest.raises(ValueError, match=r"a hint of \[1, 32, 6, 9\] does not go with latents"):
        network(x, read[..., :9], timestep, context)
    with pytest.raises(ValueError, match=r"a hint of \[3, 32, 6, 10\]"):
        network(x, read.repeat(3, 1, 1, 1), timestep, context)
    with pytest.raises(ValueError, match="prompts of width 24"):
        network(x, read, timestep, torch.zeros(1, 11, 768))
    with pytest.raises(ValueError, match="latents of 4 channels"):
        network(torch.zeros(1, 9, 6, 10), read, timestep, context)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="halved 2 times"):
        ControlNet(replace(NET, hint_widths=(16, 32, 96)))
    with pytest.raises(ValueError, match="do not split into 16 norm groups"):
        ControlNet(replace(NET, unet=replace(UNET, channels=(32, 60, 64))))
