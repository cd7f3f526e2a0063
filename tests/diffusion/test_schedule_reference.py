"""Noise levels of models of every kind, against the numbers that ComfyUI 0.3.64 computes (tests/data/schedules)."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from diffusion.sampling.schedule import SCHEDULER_NAMES, SCHEDULERS, NoiseSchedule, stable_diffusion_schedule
from diffusion.sampling.schedule.trained import ANGLE, LOGARITHM, ContinuousSchedule

RECORDED: Mapping[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[1] / "data" / "schedules" / "schedules.json").read_text()
)
SCHEDULES: Mapping[str, NoiseSchedule] = MappingProxyType(
    {
        "sd": stable_diffusion_schedule(),
        "zsnr": stable_diffusion_schedule(zero_terminal_snr=True),
        "lcm": stable_diffusion_schedule().every(20),
        "edm": ContinuousSchedule(0.002, 120.0, LOGARITHM),
        "v": ContinuousSchedule(0.03, 500.0, ANGLE),
    }
)


def test_the_names_are_the_fields_own_in_its_order() -> None:
    names = "simple sgm_uniform karras exponential ddim_uniform beta normal linear_quadratic kl_optimal"
    assert tuple(names.split()) == SCHEDULER_NAMES


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("name", SCHEDULER_NAMES)
def test_schedulers_agree(kind: str, name: str) -> None:
    cases = [case for case in RECORDED["schedulers"] if (case["model"], case["name"]) == (kind, name)]
    assert cases
    for case in cases:
        sigmas = SCHEDULERS[name](SCHEDULES[kind], case["steps"])
        assert sigmas.dtype == torch.float32
        # The angle of level 500 is so near a right one that float32 keeps four digits of its tangent.
        close = 1e-4 if kind == "v" else 3e-6
        torch.testing.assert_close(sigmas, torch.tensor(case["sigmas"]), rtol=close, atol=3e-6)


@pytest.mark.parametrize("case", RECORDED["timesteps"], ids=lambda case: f"{case['model']}-{case['sigma']}")
def test_the_unet_is_told_the_same(case: Mapping[str, Any]) -> None:
    told = SCHEDULES[case["model"]].timestep(case["sigma"])
    assert told == pytest.approx(case["timestep"], abs=1e-6)


@pytest.mark.parametrize("case", RECORDED["shares"], ids=lambda case: f"{case['model']}-{case['share']}")
def test_shares_of_a_run_agree(case: Mapping[str, Any]) -> None:
    assert SCHEDULES[case["model"]].sigma_at(case["share"]) == pytest.approx(case["sigma"], rel=1e-5)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_levels_and_timesteps_are_each_others_inverse(kind: str) -> None:
    schedule = SCHEDULES[kind]
    for sigma in schedule.sigmas[::9].tolist():
        back = float(schedule.sigma(torch.tensor(schedule.timestep(sigma))))
        assert back == pytest.approx(sigma, rel=1e-4)


def test_zero_terminal_snr_keeps_the_first_level_and_drowns_the_last() -> None:
    assert SCHEDULES["zsnr"].sigma_min == pytest.approx(SCHEDULES["sd"].sigma_min, rel=1e-4)
    assert SCHEDULES["zsnr"].sigma_max == pytest.approx(4518.77, rel=1e-4)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (2.0, 1.0), (1.0, 1.0), (0.1, float("nan")), (-1.0, 1.0)]
)
def test_a_range_of_levels_that_is_none_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="sigma_min must be above 0 and below sigma_max"):
        ContinuousSchedule(low, high, LOGARITHM)
