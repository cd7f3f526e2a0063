"""Denoiser, guidance and masks around a UNet that says what it was asked."""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from diffusion.config import SD15_UNET
from diffusion.model import Model
from diffusion.networks.attachments import Hooks
from diffusion.networks.attention import Prompt
from diffusion.sampling.denoiser import Denoiser
from diffusion.sampling.guidance import CFG, Guided, GuidedDenoiser, Guider
from diffusion.sampling.guiders.basic import Unguided
from diffusion.sampling.guiders.dual import DualCFG
from diffusion.sampling.guiders.perp_neg import PerpNeg
from diffusion.sampling.inpaint import Region, extra_channels, fit_mask
from diffusion.sampling.schedule import stable_diffusion_schedule
from diffusion.sampling.transforms.stages import Guidance
from diffusion.types import Cond, Conditioning

SD = stable_diffusion_schedule()


@dataclass
class SpyUNet:
    """Predicts the mean of the context everywhere, and remembers its calls."""

    calls: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, x: Tensor, timesteps: Tensor, prompt: Prompt, hooks: Hooks) -> Tensor:
        context = prompt.context
        self.calls.append((x, timesteps, context))
        return context.mean(dim=(1, 2))[:, None, None, None].expand(-1, 4, *x.shape[2:])


def text(*values: float, tokens: int = 77, batch: int = 1) -> Conditioning:
    """A conditioning of one prompt for each value."""
    return Conditioning(tuple(Cond(torch.full((batch, tokens, 8), value)) for value in values))


def noisy(batch: int = 2) -> Tensor:
    return torch.randn(batch, 4, 6, 5, generator=torch.Generator().manual_seed(0))


def test_noise_prediction_becomes_x0_at_the_nearest_timestep() -> None:
    unet, x, sigma = SpyUNet(), noisy(), float(SD.sigmas[500]) * 1.0001
    (denoised,) = Denoiser(unet, SD).predict(x, sigma, [text(0.5)])
    torch.testing.assert_close(denoised, x - 0.5 * sigma)
    seen, timesteps, context = unet.calls[0]
    torch.testing.assert_close(seen, x / (1 + sigma**2) ** 0.5)
    assert timesteps.tolist() == [500.0]
    assert context.shape == (2, 77, 8)


def test_one_call_serves_all_prompts_of_one_length() -> None:
    unet, x = SpyUNet(), noisy()
    first, second = Denoiser(unet, SD).predict(x, 1.0, [text(0.25, 0.75), text(-1.0)])
    assert [len(call[2]) for call in unet.calls] == [6]
    torch.testing.assert_close(first, x - 0.5)
    torch.testing.assert_close(second, x + 1.0)


@pytest.mark.parametrize(
    ("lengths", "calls"),
    [
        ((77, 154), [154]),
        ((154, 231), [462]),
        ((77, 308), [308]),
        ((77, 385), [77, 385]),
        ((77, 385, 77), [77, 385]),
    ],
)
def test_lengths_are_made_equal_by_repetition_within_reason(
    lengths: tuple[int, ...], calls: list[int]
) -> None:
    unet, x = SpyUNet(), noisy(1)
    prompts = [text(float(i), tokens=tokens) for i, tokens in enumerate(lengths)]
    predictions = Denoiser(unet, SD).predict(x, 2.0, prompts)
    assert [call[2].shape[1] for call in unet.calls] == calls
    for i, denoised in enumerate(predictions):
        torch.testing.assert_close(denoised, x - 2.0 * i)


def test_a_batch_of_prompts_goes_one_to_a_sample() -> None:
    embedding = torch.tensor([1.0, 2.0])[:, None, None].expand(2, 77, 8)
    (denoised,) = Denoiser(SpyUNet(), SD).predict(noisy(4), 1.0, [Conditioning((Cond(embedding),))])
    offsets = (noisy(4) - denoised).mean(dim=(1, 2, 3))
    torch.testing.assert_close(offsets, torch.tensor([1.0, 2.0, 1.0, 2.0]))


def test_extra_channels_are_seen_unscaled() -> None:
    unet, extra = SpyUNet(), torch.rand(2, 5, 6, 5)
    Denoiser(unet, SD, extra=extra).predict(noisy(), 3.0, [text(0.0), text(1.0)])
    seen = unet.calls[0][0]
    assert seen.shape == (2, 9, 6, 5)
    assert torch.equal(seen[:, 4:], extra)


def cfg(scale: float) -> CFG:
    model = Model({}, SD15_UNET, cast(Any, None))
    return CFG(model, positive=text(1.0), negative=text(-1.0), scale=scale)


@pytest.mark.parametrize("scale", [0.0, 0.5, 7.5])
def test_guidance_leads_away_from_the_negative(scale: float) -> None:
    unet, x = SpyUNet(), noisy()
    guided = cfg(scale).guide(Denoiser(unet, SD).predict, x, 2.0)
    torch.testing.assert_close(guided.denoised, x + 2.0 - 4.0 * scale)
    torch.testing.assert_close(guided.uncond, x + 2.0)
    assert len(unet.calls) == 1


def test_a_scale_of_one_asks_for_the_positive_alone() -> None:
    unet, x = SpyUNet(), noisy()
    guided = cfg(1.0).guide(Denoiser(unet, SD).predict, x, 2.0)
    torch.testing.assert_close(guided.denoised, x - 2.0)
    assert guided.uncond is None
    assert len(unet.calls[0][0]) == 2


def test_a_sampler_may_ask_for_the_negative_at_any_scale() -> None:
    x = noisy()
    denoise = GuidedDenoiser(cfg(1.0), Denoiser(SpyUNet(), SD).predict)
    guided = denoise.guided(x, 2.0, with_uncond=True)
    torch.testing.assert_close(guided.denoised, x - 2.0)
    torch.testing.assert_close(guided.uncond, x + 2.0)


def test_outside_its_region_the_latent_is_noised_on_the_way_in_and_restored_on_the_way_out() -> None:
    mask = torch.zeros(1, 1, 6, 5)
    mask[..., 2:] = 1
    mask[..., 2] = 0.25
    latent, noise, x = torch.full((2, 4, 6, 5), 5.0), torch.full((2, 4, 6, 5), 0.1), noisy()
    seen: list[Tensor] = []

    class Halving:
        model = cast(Any, None)
        conditionings = ()

        def guide(self, predict: Any, x: Tensor, sigma: float, **options: Any) -> Guided:
            seen.append(x)
            return Guided(x / 2)

    denoised = GuidedDenoiser(Halving(), cast(Any, None), Region(mask, latent, noise))(x, 3.0)
    expected = x * mask + (5.0 + 0.3) * (1 - mask)
    torch.testing.assert_close(seen[0], expected)
    torch.testing.assert_close(denoised, expected / 2 * mask + 5.0 * (1 - mask))
    assert torch.equal(denoised[..., :2], latent[..., :2])


def test_masks_of_any_size_fit() -> None:
    samples = torch.zeros(3, 4, 6, 5)
    checker = (torch.arange(48) // 8 % 2).float()[:, None].expand(48, 40)
    fitted = fit_mask(checker, samples)
    assert fitted.shape == (3, 1, 6, 5)
    assert fitted[:, 0, :, 0].tolist() == [[0, 1, 0, 1, 0, 1]] * 3
    assert fit_mask(torch.rand(2, 1, 6, 5), samples).shape == (3, 1, 6, 5)
    assert fit_mask(torch.rand(5, 40, 48), samples).shape == (3, 1, 6, 5)


def test_broken_masks_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        fit_mask(torch.full((1, 1, 4, 4), float("nan")), noisy())


def test_inpainting_models_see_mask_and_latent() -> None:
    samples, mask = noisy(), torch.tensor([0.2, 0.9]).repeat(1, 1, 6, 3)[..., :5].expand(2, -1, -1, -1)
    extra = extra_channels(9, samples, mask)
    assert extra is not None
    assert torch.equal(extra, torch.cat([mask.round(), samples], dim=1))
    assert extra_channels(4, samples, mask) is None


@pytest.mark.parametrize(
    ("channels", "message"), [(9, "inpainting model.*SetLatentNoiseMask"), (8, "do not belong")]
)
def test_models_without_what_they_need_say_so(channels: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extra_channels(channels, noisy(), None)


def guiders(model: Model) -> dict[str, Guider]:
    """One of each, with the positive prompt 1 and others elsewhere."""
    positive, negative, third = text(1.0), text(-1.0), text(0.25)
    return {
        "cfg": CFG(model, positive, negative, 7.5),
        "basic": Unguided(model, positive),
        "dual": DualCFG(model, positive, third, negative, 3.0, 2.0),
        "nested": DualCFG(model, positive, third, negative, 3.0, 2.0, nested=True),
        "perpendicular": PerpNeg(model, positive, negative, third, 5.0, 1.0),
    }


@pytest.mark.parametrize(
    ("kind", "prompts", "uncond"),
    [("cfg", 2, -1.0), ("basic", 1, 1.0), ("dual", 3, -1.0), ("nested", 3, 0.25), ("perpendicular", 3, -1.0)],
)
def test_outside_the_guided_levels_only_the_positive_is_followed(
    kind: str, prompts: int, uncond: float
) -> None:
    """Whatever changes guidance: here, everything is doubled."""
    doubled = Guidance(needs_uncond=True).then(lambda seen, denoised: denoised * 2)
    model = replace(Model({}, SD15_UNET, cast(Any, None)), guided=(5.0, 1.0), guidance=doubled)
    guider, x = guiders(model)[kind], noisy()
    for sigma, asked in ((5.1, 1), (5.0, prompts), (1.0, prompts), (0.9, 1)):
        unet = SpyUNet()
        guided = guider.guide(Denoiser(unet, SD).predict, x, sigma)
        assert [len(call[2]) for call in unet.calls] == [2 * asked]
        assert torch.allclose(guided.denoised, x - sigma) is (asked == 1 and not 1 <= sigma <= 5)
    guided = guider.guide(Denoiser(SpyUNet(), SD).predict, x, 0.9, with_uncond=True)
    torch.testing.assert_close(guided.denoised, x - 0.9)
    torch.testing.assert_close(guided.uncond, x - 0.9 * uncond)


def test_each_prompt_is_read_once_whichever_are_asked_for_together() -> None:
    read: list[list[float]] = []

    def note(contexts: Tensor) -> Prompt:
        read.append(contexts[:, 0, 0].tolist())
        return Prompt(contexts)

    unet, x = SpyUNet(), noisy(1)
    denoiser = Denoiser(unet, SD, read=note)
    a, b, c = text(0.5), text(-1.0), text(2.0)
    for prompts in ([a, b], [a], [b, a], [a, b, c], [a, b], [c], [a]):
        for conditioning, found in zip(prompts, denoiser.predict(x, 2.0, prompts), strict=True):
            value = float(conditioning.entries[0].embedding[0, 0, 0])
            torch.testing.assert_close(found, x - 2.0 * value)
    assert read == [[0.5, -1.0], [0.5], [-1.0, 0.5], [0.5, -1.0, 2.0], [2.0]]
