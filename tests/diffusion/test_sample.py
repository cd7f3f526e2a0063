"""Sampling from end to end on a small random UNet."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.config import LATENT_SCALE, UNetConfig
from diffusion.model import Model
from diffusion.networks.unet import UNet
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from diffusion.sampling.guidance import CFG
from diffusion.sampling.noise import initial_noise
from diffusion.sampling.sample import sample, sample_custom
from diffusion.sampling.samplers import SAMPLER_NAMES, SAMPLERS
from diffusion.sampling.schedule import SCHEDULER_NAMES, stable_diffusion_schedule
from diffusion.types import Cond, Conditioning, Latent
from tests.diffusion.reference import random_weights, relative_error

CONFIG = UNetConfig(
    channels=(32, 64), attention=(True, False), blocks=1, context_dim=16, num_heads=2, norm_groups=8
)
INPAINT = replace(CONFIG, in_channels=9)
RUNTIME = Runtime()
SIGMA_MAX = stable_diffusion_schedule().sigma_max


NOISE_LEFT = {"dpm_fast": 0.0292, "dpm_adaptive": 0.0292, "uni_pc": 0.001, "uni_pc_bh2": 0.001}
"""The level at which these end in place of zero."""


def _model(config: UNetConfig) -> Model:
    return Model(random_weights(lambda: UNet(config)), config, RUNTIME)


MODEL = _model(CONFIG)


def _text(seed: int, tokens: int = 77) -> Conditioning:
    return Conditioning((Cond(torch.randn(1, tokens, 16, generator=torch.Generator().manual_seed(seed))),))


def _latent(batch: int = 1) -> Latent:
    return Latent(torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(8)) * 5)


def run(latent: Latent | None = None, *, model: Model = MODEL, **changes: Any) -> Tensor:
    arguments: dict[str, Any] = {
        "positive": _text(1),
        "negative": _text(2),
        "seed": 5,
        "steps": 4,
        "cfg": 3.0,
        "sampler_name": "euler",
        "scheduler": "normal",
    }
    return sample(model, latent=latent or _latent(), **(arguments | changes)).samples


@pytest.mark.parametrize(
    ("sampler", "scheduler"),
    [*((name, "normal") for name in SAMPLER_NAMES), *(("euler", name) for name in SCHEDULER_NAMES)],
)
def test_all_samplers_and_all_schedulers_run(sampler: str, scheduler: str) -> None:
    calls: list[tuple[int, int]] = []
    samples = run(
        _latent(2),
        sampler_name=sampler,
        scheduler=scheduler,
        on_step=lambda done, total, denoised: calls.append((done, total)),
    )
    assert samples.shape == (2, 4, 8, 8)
    assert samples.dtype == torch.float32
    assert torch.isfinite(samples).all()
    if sampler == "dpm_adaptive":  # takes as many steps as it needs
        assert calls == sorted(calls)
        assert calls[-1] == (4, 4)
    else:
        assert calls == [(i, 4) for i in range(1, 5)]


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_the_same_seed_gives_the_same_latent_to_the_bit(sampler: str) -> None:
    assert torch.equal(run(sampler_name=sampler), run(sampler_name=sampler))
    assert not torch.allclose(run(sampler_name=sampler), run(sampler_name=sampler, seed=6), atol=1e-2)


def test_euler_at_full_denoise_is_its_loop() -> None:
    """The whole chain, written out: scale, noise, guidance, Euler, scale back."""
    unet, schedule, x = RUNTIME.unet(MODEL), stable_diffusion_schedule(), initial_noise(_latent().samples, 5)
    x = _latent().samples * LATENT_SCALE + x * (1 + SIGMA_MAX**2) ** 0.5
    levels = [*schedule.sigma(torch.tensor([999.0, 666.0, 333.0, 0.0])).tolist(), 0.0]
    with torch.no_grad():
        for t, sigma, after in zip([999, 666, 333, 0], levels[:-1], levels[1:], strict=True):
            scaled, time = x / (1 + sigma**2) ** 0.5, torch.tensor([t])
            cond = unet(scaled, time, _text(1).entries[0].embedding)
            uncond = unet(scaled, time, _text(2).entries[0].embedding)
            x = x + (uncond + 3.0 * (cond - uncond)) * (after - sigma)
    torch.testing.assert_close(run(), x / LATENT_SCALE, rtol=1e-4, atol=1e-3)


def test_prompts_of_different_length_meet() -> None:
    repeated = Conditioning((Cond(_text(2).entries[0].embedding.repeat(1, 2, 1)),))
    torch.testing.assert_close(run(negative=repeated), run(), rtol=1e-3, atol=1e-3)


def test_at_scale_one_the_negative_does_not_matter() -> None:
    assert torch.equal(run(cfg=1.0), run(cfg=1.0, negative=_text(3)))
    assert not torch.allclose(run(), run(negative=_text(3)), atol=1e-2)


def test_less_denoise_stays_nearer_the_latent() -> None:
    distances = [float((run(denoise=share) - _latent().samples).norm()) for share in (0.0, 0.1, 0.5, 1.0)]
    assert distances == sorted(distances)
    assert distances[0] == 0


def test_batch_index_makes_batches_repeatable() -> None:
    samples = _latent().samples.expand(3, -1, -1, -1)
    batch = run(Latent(samples, batch_index=(0, 1, 2)))
    again = run(Latent(samples[:1], batch_index=(2,)))
    torch.testing.assert_close(again, batch[2:], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(batch[0], batch[1], atol=1e-2)


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_outside_its_mask_the_latent_comes_back(sampler: str) -> None:
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 32:] = 1
    latent = replace(_latent(2), noise_mask=mask)
    samples = run(latent, sampler_name=sampler)
    left = 5 * NOISE_LEFT.get(sampler, 0.0) / LATENT_SCALE
    torch.testing.assert_close(samples[..., :4], latent.samples[..., :4], rtol=1e-5, atol=1e-4 + left)
    assert not torch.allclose(samples[..., 4:], latent.samples[..., 4:], atol=1.0)


def test_a_mask_of_ones_changes_nothing() -> None:
    masked = replace(_latent(), noise_mask=torch.ones(1, 1, 8, 8))
    torch.testing.assert_close(run(masked), run(), rtol=1e-4, atol=1e-4)


def test_ddim_noises_outside_the_mask_with_a_draw_of_its_own() -> None:
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 4:] = 1
    latent = replace(_latent(), noise_mask=mask)
    assert not torch.allclose(run(latent, sampler_name="ddim"), run(latent, sampler_name="euler"), atol=1e-3)
    torch.testing.assert_close(run(sampler_name="ddim"), run(sampler_name="euler"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sampler", ["euler", "heun", "dpm_2"])
def test_a_run_in_two_halves_is_the_run(sampler: str) -> None:
    first = run(sampler_name=sampler, start_step=0, last_step=2)
    second = run(Latent(first), sampler_name=sampler, start_step=2, last_step=10_000, disable_noise=True)
    torch.testing.assert_close(second, run(sampler_name=sampler), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("finish", [True, False])
def test_leftover_noise_is_removed_on_request(finish: bool) -> None:
    previews: list[Tensor] = []
    samples = run(
        start_step=0,
        last_step=2,
        force_full_denoise=finish,
        on_step=lambda done, total, denoised: previews.append(denoised),
    )
    assert len(previews) == 2
    assert torch.allclose(samples, previews[-1], rtol=1e-4, atol=1e-3) == finish


def test_no_steps_left_returns_the_latent() -> None:
    latent = replace(_latent(), batch_index=(3,))
    assert torch.equal(run(latent, start_step=4), latent.samples)
    assert torch.equal(run(latent, denoise=0.0), latent.samples)
    torch.testing.assert_close(run(latent, last_step=0, force_full_denoise=True), latent.samples)


def test_the_rest_of_the_latent_is_kept() -> None:
    latent = replace(_latent(), noise_mask=torch.ones(1, 1, 8, 8), batch_index=(7,))
    result = sample_custom(
        CFG(MODEL, _text(1), _text(2), 1.0),
        SAMPLERS["euler"],
        torch.tensor([1.0, 0.0]),
        noise=torch.zeros(1, 4, 8, 8),
        latent=latent,
        seed=0,
    )
    assert result.noise_mask is latent.noise_mask
    assert result.batch_index == (7,)


def test_cancelling_ends_the_run_at_the_next_step() -> None:
    class Cancelled(Exception): ...

    calls: list[int] = []

    def on_step(done: int, total: int, denoised: Tensor) -> None:
        calls.append(done)
        raise Cancelled

    with pytest.raises(Cancelled):
        run(on_step=on_step)
    assert calls == [1]


def test_previews_are_in_the_vaes_scale() -> None:
    previews: list[Tensor] = []
    samples = run(on_step=lambda done, total, denoised: previews.append(denoised))
    torch.testing.assert_close(previews[-1], samples, rtol=1e-4, atol=1e-3)


def test_half_precision_is_the_networks_own_affair() -> None:
    halved = replace(MODEL, runtime=Runtime(Placement(dtype=torch.bfloat16)))
    samples = run(model=halved)
    assert samples.dtype == torch.float32
    assert relative_error(samples, run()) < 0.02


def test_inputs_are_not_written_to() -> None:
    latent, positive = _latent(), _text(1)
    run(latent, positive=positive)
    assert torch.equal(latent.samples, _latent().samples)
    assert torch.equal(positive.entries[0].embedding, _text(1).entries[0].embedding)


def test_inpainting_models_need_a_mask() -> None:
    model = _model(INPAINT)
    with pytest.raises(ValueError, match="inpainting model"):
        run(model=model)
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 4:] = 1
    assert torch.isfinite(run(replace(_latent(), noise_mask=mask), model=model)).all()


def _with_nan() -> Latent:
    samples = _latent().samples.clone()
    samples[0, 0, 0, 0] = float("nan")
    return Latent(samples)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent": Latent(torch.zeros(1, 16, 8, 8))}, r"\[1, 16, 8, 8\]"),
        ({"latent": Latent(torch.zeros(4, 8, 8))}, r"\[4, 8, 8\]"),
        ({"latent": Latent(torch.zeros(0, 4, 8, 8))}, r"\[0, 4, 8, 8\]"),
        ({"latent": _with_nan()}, "NaN"),
        ({"positive": Conditioning((Cond(torch.zeros(1, 77, 24)),))}, "24 numbers, this model reads 16"),
        ({"negative": Conditioning((Cond(torch.zeros(77, 16)),))}, r"\[77, 16\]"),
        (
            {"negative": Conditioning((Cond(torch.full((1, 77, 16), float("nan"))),))},
            "encoded prompt holds NaN",
        ),
        ({"positive": Conditioning(())}, "no prompt"),
        ({"sampler_name": "eular"}, "Did you mean 'euler'"),
        ({"scheduler": "karas"}, "Did you mean 'karras'"),
        ({"steps": 0}, "at least one step"),
        ({"denoise": 2.0}, "denoise must lie"),
        ({"cfg": float("nan")}, "guidance scale"),
        ({"cfg": 1e300}, "Sampling ended in NaN"),
        ({"latent": Latent(_latent().samples, torch.zeros(0, 1, 8, 8))}, r"got shape \[0, 1, 8, 8\]"),
    ],
)
def test_what_does_not_fit_is_said(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**changes)


@pytest.mark.parametrize(
    ("sigmas", "batch", "message"),
    [
        ([1.0, 0.0, 0.0], 1, "sigmas"),
        ([float("nan"), 0.0], 1, "sigmas"),
        ([-1.0, 0.0], 1, "sigmas"),
        ([[1.0, 0.0]], 1, "sigmas"),
        ([1.0, 0.0], 2, "make the noise for this latent"),
    ],
)
def test_parts_that_make_no_sense_are_refused(sigmas: list[float], batch: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample_custom(
            CFG(MODEL, _text(1), _text(2), 1.0),
            SAMPLERS["euler"],
            torch.tensor(sigmas),
            noise=torch.zeros(batch, 4, 8, 8),
            latent=_latent(),
            seed=0,
        )
