"""DDIM and PLMS, which were published in other variables, against diffusers and the original script's formulas."""

from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.sampling.samplers import SAMPLERS
from diffusion.sampling.schedule import sampling_sigmas, stable_diffusion_schedule
from tests.diffusion.toys import curved, run, start

SD = stable_diffusion_schedule()
TIMESTEPS = list(range(1, 1000, 50))
ALPHAS = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, dim=0)
SIGMAS = ((1 - ALPHAS) / ALPHAS).sqrt()
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def _noise_prediction(scaled: Tensor, timestep: int) -> Tensor:
    """The toy as a UNet: (x / sqrt(1 + sigma^2), t) -> noise."""
    sigma = float(SIGMAS[timestep])
    x = scaled * (1 + sigma**2) ** 0.5
    return (x - curved(x, sigma)) / sigma


def _levels(last: float) -> list[float]:
    return [*SIGMAS[TIMESTEPS].flip(0).tolist(), last]


def _plms_as_first_published(scaled: Tensor, alpha_after_last: float) -> Tensor:
    """The loop of the original repository: x_t of unit variance, alpha_bar in place of sigma."""
    after = dict(zip(TIMESTEPS, [alpha_after_last, *ALPHAS[TIMESTEPS[:-1]].tolist()], strict=True))
    order, earlier = TIMESTEPS[::-1], list[Tensor]()

    def stepped(eps: Tensor, t: int) -> Tensor:
        clean = (scaled - (1 - ALPHAS[t]) ** 0.5 * eps) / ALPHAS[t] ** 0.5
        return after[t] ** 0.5 * clean + (1 - after[t]) ** 0.5 * eps

    for i, t in enumerate(order):
        eps = _noise_prediction(scaled, t)
        if not earlier:
            combined = (eps + _noise_prediction(stepped(eps, t), order[i + 1])) / 2
        elif len(earlier) == 1:
            combined = (3 * eps - earlier[-1]) / 2
        elif len(earlier) == 2:
            combined = (23 * eps - 16 * earlier[-1] + 5 * earlier[-2]) / 12
        else:
            combined = (55 * eps - 59 * earlier[-1] + 37 * earlier[-2] - 9 * earlier[-3]) / 24
        scaled = stepped(combined, t)
        earlier.append(eps)
    return scaled


@pytest.mark.parametrize(
    "last", [0.0, float(SIGMAS[0])], ids=["to clean data", "to the first timestep, as the script"]
)
def test_plms_is_the_original_loop(last: float) -> None:
    levels, alpha = _levels(last), 1 / (1 + last**2)
    scaled = start()
    expected = _plms_as_first_published(scaled, alpha) / alpha**0.5
    found = run("plms", levels, x=scaled * (1 + levels[0] ** 2) ** 0.5)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_ddim_uniform_drives_plms_over_the_originals_timesteps() -> None:
    sigmas = sampling_sigmas(SD, "ddim_uniform", steps=20)
    torch.testing.assert_close(
        sigmas.double(), torch.tensor(_levels(0.0), dtype=torch.float64), rtol=1e-6, atol=0
    )
    x = start() * (1 + float(sigmas[0]) ** 2) ** 0.5
    torch.testing.assert_close(run("plms", sigmas, x=x), run("plms", _levels(0.0), x=x), rtol=1e-5, atol=1e-5)


def test_plms_agrees_with_diffusers() -> None:
    from diffusers import PNDMScheduler

    theirs: Any = PNDMScheduler(**BETAS, skip_prk_steps=True, set_alpha_to_one=False, steps_offset=1)
    theirs.set_timesteps(20)
    scaled = start()
    x = scaled * (1 + _levels(0.0)[0] ** 2) ** 0.5
    for t in theirs.timesteps:
        scaled = theirs.step(_noise_prediction(scaled, int(t)), int(t), scaled).prev_sample
    found = run("plms", _levels(float(SIGMAS[0])), x=x) * ALPHAS[0] ** 0.5
    torch.testing.assert_close(found, scaled, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_agrees_with_diffusers(eta: float) -> None:
    from diffusers import DDIMScheduler

    theirs: Any = DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=True, steps_offset=1)
    theirs.set_timesteps(20)
    scaled = start()
    x = scaled * (1 + _levels(0.0)[0] ** 2) ** 0.5
    noise = SAMPLERS["ddim"].noise(x, torch.ones(1), 4)
    for t in theirs.timesteps:
        added = {"eta": eta, "variance_noise": noise(0.0, 0.0)} if eta else {}
        scaled = theirs.step(_noise_prediction(scaled, int(t)), int(t), scaled, **added).prev_sample
    torch.testing.assert_close(run("ddim", _levels(0.0), x=x, seed=4, eta=eta), scaled, rtol=1e-5, atol=1e-5)
