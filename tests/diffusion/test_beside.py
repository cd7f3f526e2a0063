"""What UNets of 8 and 9 channels see beside the noisy latent."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.conditioning.combine import combined, in_area, with_source
from diffusion.config import LATENT_SCALE, UNetConfig
from diffusion.model import Model
from diffusion.networks.unet import UNet
from diffusion.runtime import Runtime
from diffusion.sampling.beside import Inputs, spread
from diffusion.sampling.sample import sample
from diffusion.types import Area, Cond, Conditioning, Latent, Source
from tests.diffusion.reference import random_weights

CONFIG = UNetConfig(
    channels=(32, 64), attention=(True, False), blocks=1, context_dim=16, num_heads=2, norm_groups=8
)
RUNTIME = Runtime()


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def text(seed: int) -> Conditioning:
    return Conditioning((Cond(drawn(1, 77, 16, seed=seed)),))


CLEAN = drawn(2, 4, 8, 8)


def seen(channels: int, conditioning: Conditioning, mask: Tensor | None = None) -> Tensor:
    found = Inputs.of(channels, CLEAN, mask, [conditioning]).beside(conditioning.entries[0])
    assert found is not None
    return found


def test_an_inpainting_model_sees_its_prompts_picture_in_the_models_scale() -> None:
    latent, hole = drawn(1, 4, 8, 8, seed=1), torch.rand(1, 1, 64, 64)
    found = seen(9, with_source(text(1), Source(latent, hole)))
    assert found.shape == (2, 5, 8, 8)
    torch.testing.assert_close(found[:, 1:], latent.expand(2, -1, -1, -1) * LATENT_SCALE)
    torch.testing.assert_close(found[:1, :1], F.interpolate(hole, size=(8, 8), mode="bilinear").round())


def test_without_a_picture_the_latent_and_its_mask_stand_in() -> None:
    mask = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(seen(9, text(1), mask), torch.cat([mask.round(), CLEAN], dim=1))
    found = seen(9, with_source(text(1), Source(drawn(2, 4, 8, 8))), mask)
    torch.testing.assert_close(found[:, :1], mask.round())


def test_an_editing_model_sees_the_picture_unscaled_and_zeros_where_a_prompt_has_none() -> None:
    latent = drawn(2, 4, 8, 8, seed=1)
    shown = with_source(text(1), Source(latent))
    assert torch.equal(seen(8, shown), latent)
    both = combined(shown, text(2))
    inputs = Inputs.of(8, CLEAN, None, [both])
    blank = inputs.beside(both.entries[1])
    assert blank is not None
    assert torch.equal(blank, torch.zeros(2, 4, 8, 8))


def test_pictures_of_another_shape_are_cut_and_resized() -> None:
    latent = drawn(1, 4, 16, 20, seed=1)
    expected = F.interpolate(latent[..., 2:18], size=(8, 8), mode="bilinear")
    torch.testing.assert_close(seen(8, with_source(text(1), Source(latent)))[:1], expected)


def test_prompts_that_share_a_picture_share_what_is_seen() -> None:
    source = Source(drawn(1, 4, 8, 8))
    first, second = with_source(text(1), source), with_source(text(2), source)
    inputs = Inputs.of(9, CLEAN, torch.ones(2, 1, 8, 8), [first, second])
    assert inputs.beside(first.entries[0]) is inputs.beside(second.entries[0])


def test_a_model_of_four_channels_sees_nothing() -> None:
    shown = with_source(text(1), Source(drawn(1, 4, 8, 8), torch.ones(1, 1, 8, 8)))
    assert Inputs.of(4, CLEAN, None, [shown]).beside(shown.entries[0]) is None


@pytest.mark.parametrize(
    ("count", "size", "taken"),
    [
        (3, 3, [0, 1, 2]),
        (1, 4, [0, 0, 0, 0]),
        (2, 5, [0, 0, 1, 1, 1]),
        (5, 2, [0, 4]),
        (5, 3, [0, 2, 4]),
        (4, 1, [0]),
    ],
)
def test_batches_are_spread_evenly(count: int, size: int, taken: list[int]) -> None:
    assert spread(torch.arange(count), size).tolist() == taken


def model(channels: int) -> Model:
    config = replace(CONFIG, in_channels=channels)
    return Model(random_weights(lambda: UNet(config)), config, RUNTIME)


def run(positive: Conditioning, negative: Conditioning, *, channels: int) -> Tensor:
    latent = Latent(drawn(1, 4, 8, 8, seed=8))
    return sample(
        model(channels),
        positive=positive,
        negative=negative,
        latent=latent,
        seed=5,
        steps=2,
        cfg=3.0,
        sampler_name="euler",
        scheduler="normal",
    ).samples


@pytest.mark.parametrize("channels", [8, 9])
def test_sampling_depends_on_the_picture(channels: int) -> None:
    def of(seed: int) -> Tensor:
        source = Source(drawn(1, 4, 8, 8, seed=seed), torch.ones(1, 1, 8, 8))
        return run(with_source(text(1), source), with_source(text(2), source), channels=channels)

    assert torch.equal(of(1), of(1))
    assert not torch.allclose(of(1), of(3), atol=1e-2)


def test_an_area_sees_its_part_of_the_picture() -> None:
    latent = drawn(1, 4, 8, 8, seed=1)
    changed = latent.clone()
    changed[..., 4:] = 3.0

    def of(latent: Tensor) -> Tensor:
        left = in_area(with_source(text(1), Source(latent)), Area(8, 4, 0, 0), 1.0)
        return run(left, with_source(left, left.entries[0].source or Source(latent)), channels=8)

    assert torch.equal(of(latent), of(changed))


def test_models_without_their_picture_say_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"changes a picture.*InstructPixToPixConditioning"):
        run(text(1), text(2), channels=8)
    with pytest.raises(ValueError, match="inpainting model"):
        run(with_source(text(1), Source(drawn(1, 4, 8, 8), torch.ones(1, 1, 8, 8))), text(2), channels=9)
