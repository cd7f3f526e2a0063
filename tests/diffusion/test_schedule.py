"""Noise levels against diffusers' schedulers and the formulas of the papers, computed here in float64."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffusion.sampling.schedule import (
    SCHEDULER_NAMES,
    SCHEDULERS,
    sampling_sigmas,
    stable_diffusion_schedule,
    starting_level,
    step_range,
)

SD = stable_diffusion_schedule()


def _alphas_cumprod() -> np.ndarray:
    return np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=np.float64) ** 2)


def test_trained_levels_follow_from_the_betas() -> None:
    alphas = _alphas_cumprod()
    np.testing.assert_allclose(SD.sigmas.numpy(), np.sqrt((1 - alphas) / alphas), rtol=1e-6)
    assert SD.sigmas.dtype == torch.float32
    assert SD.sigma_min == pytest.approx(0.029167, abs=1e-6)
    assert SD.sigma_max == pytest.approx(14.614641, abs=1e-5)


def test_every_level_belongs_to_its_timestep() -> None:
    assert [SD.timestep(float(sigma)) for sigma in SD.sigmas] == list(range(1000))
    torch.testing.assert_close(SD.sigma(torch.arange(1000)), SD.sigmas, rtol=1e-5, atol=0)


@given(st.floats(0.01, 20))
def test_timestep_is_the_nearest_by_logarithm(sigma: float) -> None:
    distance = np.abs(np.log(sigma) - np.log(SD.sigmas.double().numpy()))
    assert distance[SD.timestep(sigma)] == pytest.approx(distance.min(), abs=1e-6)


def test_levels_between_timesteps_are_geometric_means() -> None:
    between = SD.sigma(torch.tensor([10.5]))
    assert between.item() == pytest.approx(math.sqrt(float(SD.sigmas[10]) * float(SD.sigmas[11])), rel=1e-5)


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 50])
def test_karras_is_the_papers_formula(steps: int) -> None:
    ramp = np.linspace(0, 1, steps)
    low, high = SD.sigma_min ** (1 / 7), SD.sigma_max ** (1 / 7)
    expected = [*(high + ramp * (low - high)) ** 7, 0]
    np.testing.assert_allclose(SCHEDULERS["karras"](SD, steps).numpy(), expected, rtol=2e-5)


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # torch tensors, inside diffusers
@pytest.mark.parametrize("steps", [2, 7, 20, 50])
def test_karras_agrees_with_diffusers(steps: int) -> None:
    from diffusers import EulerDiscreteScheduler

    theirs: Any = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", use_karras_sigmas=True
    )
    theirs.set_timesteps(steps)
    torch.testing.assert_close(SCHEDULERS["karras"](SD, steps), theirs.sigmas, rtol=5e-5, atol=0)


@pytest.mark.parametrize("steps", [2, 7, 20, 50])
def test_normal_is_even_in_timesteps(steps: int) -> None:
    alphas = _alphas_cumprod()
    logs = 0.5 * np.log((1 - alphas) / alphas)
    expected = [*np.exp(np.interp(np.linspace(999, 0, steps), np.arange(1000), logs)), 0.0]
    np.testing.assert_allclose(SCHEDULERS["normal"](SD, steps).numpy(), expected, rtol=5e-5)


@pytest.mark.parametrize("steps", [1, 7, 20, 999, 1000])
def test_simple_takes_trained_levels_at_even_strides(steps: int) -> None:
    sigmas = SCHEDULERS["simple"](SD, steps)
    expected = [float(SD.sigmas[999 - math.floor(i * (1000 / steps))]) for i in range(steps)]
    assert sigmas.tolist() == [*expected, 0.0]


@pytest.mark.parametrize(
    ("steps", "timesteps"), [(1, [1]), (4, [751, 501, 251, 1]), (50, range(981, 0, -20))]
)
def test_ddim_uniform_takes_the_original_scripts_timesteps(steps: int, timesteps: list[int]) -> None:
    expected = [float(SD.sigmas[t]) for t in timesteps]
    assert SCHEDULERS["ddim_uniform"](SD, steps).tolist() == [*expected, 0.0]


def test_ddim_uniform_runs_a_step_more_where_steps_do_not_divide_the_schedule() -> None:
    assert len(SCHEDULERS["ddim_uniform"](SD, 7)) == 7 + 2


@pytest.mark.parametrize("scheduler", SCHEDULER_NAMES)
@pytest.mark.parametrize("steps", [1, 2, 10, 100])
def test_levels_descend_to_zero(scheduler: str, steps: int) -> None:
    sigmas = SCHEDULERS[scheduler](SD, steps)
    assert sigmas.dtype == torch.float32
    assert sigmas.shape == (steps + 1,)
    assert (sigmas.diff() < 0).all()
    assert sigmas[-1] == 0
    assert sigmas[0] <= SD.sigma_max * (1 + 1e-5)


@pytest.mark.parametrize(("denoise", "planned"), [(0.5, 20), (0.6, 16), (0.9, 11), (0.3, 33), (0.9999, 10)])
def test_a_share_is_the_end_of_a_longer_schedule(denoise: float, planned: int) -> None:
    sigmas = sampling_sigmas(SD, "normal", steps=10, denoise=denoise)
    assert sigmas.tolist() == SCHEDULERS["normal"](SD, planned)[-11:].tolist()


def test_all_and_nothing() -> None:
    whole = SCHEDULERS["ddim_uniform"](SD, 7)
    assert sampling_sigmas(SD, "ddim_uniform", steps=7, denoise=0.99999).tolist() == whole.tolist()
    assert len(sampling_sigmas(SD, "ddim_uniform", steps=7, denoise=0.0)) == 0


@pytest.mark.parametrize("denoise", [1.0, 0.5])
def test_discarding_the_penultimate_level_keeps_the_step_count(denoise: float) -> None:
    sigmas = sampling_sigmas(SD, "karras", steps=6, denoise=denoise, discard_penultimate=True)
    longer = SCHEDULERS["karras"](SD, round(6 / denoise) + 1)
    assert sigmas.tolist() == [*longer[-8:-2].tolist(), 0.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "karas", "steps": 5}, "Did you mean 'karras'"),
        ({"scheduler": "karras", "steps": 0}, "at least one step"),
        ({"scheduler": "karras", "steps": 5, "denoise": 1.5}, "between 0"),
        ({"scheduler": "karras", "steps": 5, "denoise": float("nan")}, "between 0"),
        ({"scheduler": "karras", "steps": 20, "denoise": 1e-9}, "too small for 20 steps: give 2e-05"),
    ],
)
def test_what_cannot_be_scheduled_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sampling_sigmas(SD, **options)  # type: ignore[arg-type]


SIX = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [5, 4, 3, 2, 1, 0]),
        ({"start": 0, "last": 10_000, "finish": True}, [5, 4, 3, 2, 1, 0]),
        ({"last": 2}, [5, 4, 3]),
        ({"last": 2, "finish": True}, [5, 4, 0]),
        ({"start": 2}, [3, 2, 1, 0]),
        ({"start": 1, "last": 3}, [4, 3, 2]),
        ({"last": 0}, [5]),
        ({"start": 5}, []),
        ({"start": 3, "last": 3}, []),
        ({"start": 10_000}, []),
    ],
)
def test_step_range(options: dict[str, int], expected: list[float]) -> None:
    assert step_range(SIX, **options).tolist() == expected  # type: ignore[arg-type]
    assert SIX.tolist() == [5, 4, 3, 2, 1, 0]


def test_steps_below_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="counted from 0"):
        step_range(SIX, start=-1)


def test_only_the_highest_level_starts_from_unit_variance() -> None:
    assert starting_level(SD, SD.sigma_max) == pytest.approx(math.sqrt(1 + SD.sigma_max**2))
    assert starting_level(SD, 20.0) == pytest.approx(math.sqrt(401))
    assert starting_level(SD, 14.0) == 14.0
