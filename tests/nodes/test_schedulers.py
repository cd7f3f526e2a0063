"""Nodes of noise levels, against the numbers that ComfyUI 0.3.64 computes (tests/data/schedules)."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.model import Model
from tests.nodes.toys import call, toy_model

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "data" / "schedules" / "schedules.json").read_text()
)["nodes"]
SIX = torch.tensor([14.0, 7.0, 3.0, 1.0, 0.4, 0.0])
NODES = sorted({case["node"] for case in CASES})


def given(value: Any) -> Any:
    if value in ("sd", "zsnr"):
        return model_of(value)
    return torch.tensor(value) if isinstance(value, list) else value


def model_of(kind: str) -> Model:
    plain = toy_model()
    if kind == "sd":
        return plain
    zsnr: Model = call("ModelSamplingDiscrete", model=plain, sampling="v_prediction", zsnr=True)
    return zsnr


def outputs_of(name: str, **inputs: Any) -> list[list[float]]:
    result = call(name, **inputs)
    several = result if isinstance(result, tuple) else (result,)
    return [part.tolist() if isinstance(part, Tensor) else [part] for part in several]


@pytest.mark.parametrize("name", NODES)
def test_agrees(name: str) -> None:
    for case in (case for case in CASES if case["node"] == name):
        inputs = {key: given(value) for key, value in case["inputs"].items()}
        got = outputs_of(name, **inputs)
        wanted = [part if isinstance(part, list) else [part] for part in case["outputs"]]
        assert len(got) == len(wanted)
        for mine, theirs in zip(got, wanted, strict=True):
            assert mine == pytest.approx(theirs, rel=1e-5, abs=2e-6), case["inputs"]


@pytest.mark.parametrize(
    "name", ["SplitSigmas", "SplitSigmasDenoise", "FlipSigmas", "SetFirstSigma", "ExtendIntermediateSigmas"]
)
def test_levels_that_come_in_are_not_written_to(name: str) -> None:
    inputs = next(case["inputs"] for case in CASES if case["node"] == name)
    levels = SIX.clone()
    call(name, **(inputs | {"sigmas": levels}))
    assert torch.equal(levels, SIX)


def test_a_share_of_nothing_leaves_all_to_the_first_part() -> None:
    high, low = call("SplitSigmasDenoise", sigmas=SIX, denoise=0.0)
    assert high.tolist() == SIX.tolist()
    assert low.tolist() == [0.0]


def test_one_step_of_kl_optimal_starts_from_the_highest_level() -> None:
    sigmas = call("BasicScheduler", model=toy_model(), scheduler="kl_optimal", steps=1)
    assert sigmas.tolist() == pytest.approx([14.614641, 0.0], rel=1e-5)


@pytest.mark.parametrize("text", ["14.5, 3, 0.25,0", "14.5 3 0.25 0", " 14.5,3 ,\n0.25, 0e0 "])
def test_levels_are_written_as_numbers(text: str) -> None:
    assert call("ManualSigmas", sigmas=text).tolist() == [14.5, 3.0, 0.25, 0.0]


NUMBERS: dict[str, Any] = {"steps": 5, "sigma_max": 14.0, "sigma_min": 0.03}


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("KarrasScheduler", NUMBERS | {"steps": 0}, "at least one step"),
        ("KarrasScheduler", NUMBERS | {"sigma_max": 0.0}, "sigma_max must be a number above 0; got 0.0"),
        ("KarrasScheduler", NUMBERS | {"sigma_max": 0.001}, "exchange them"),
        ("KarrasScheduler", NUMBERS | {"rho": 0.0}, "rho must be a number above 0"),
        ("KarrasScheduler", NUMBERS | {"rho": 0.001}, "rho = 0.001 is too small"),
        ("ExponentialScheduler", NUMBERS | {"sigma_min": 0.0}, "sigma_min must be"),
        ("ExponentialScheduler", NUMBERS | {"sigma_min": float("nan")}, "sigma_min must be"),
        ("PolyexponentialScheduler", NUMBERS | {"rho": -1.0}, "rho must be 0 or more"),
        ("LaplaceScheduler", NUMBERS | {"beta": -1.0}, "beta 0 or more"),
        ("LaplaceScheduler", NUMBERS | {"sigma_min": 20.0}, "exchange them"),
        ("VPScheduler", {"steps": 5, "beta_d": 5000.0}, "finite and above 0"),
        ("VPScheduler", {"steps": 5, "eps_s": 0.0}, "finite and above 0"),
        ("BetaSamplingScheduler", {"model": "sd", "alpha": 0.0}, "alpha and beta must be above 0"),
        ("BetaSamplingScheduler", {"model": "sd", "steps": 0}, "at least one step"),
        ("BasicScheduler", {"model": "sd", "scheduler": "karas"}, "Did you mean 'karras'"),
        ("SDTurboScheduler", {"model": "sd", "steps": 11}, "1 to 10 steps"),
        ("AlignYourStepsScheduler", {"model_type": "SD2"}, "no kind of model called 'SD2'"),
        ("AlignYourStepsScheduler", {"denoise": 1.5}, "denoise must lie between"),
        ("GITSScheduler", {"coeff": 1.22}, "coefficients 0.80, 0.85"),
        ("GITSScheduler", {"steps": 1}, "2 steps or more"),
        ("SetFirstSigma", {"sigmas": []}, "no first one to set"),
        ("SplitSigmas", {"sigmas": [1.0, 0.0], "step": -1}, "counted from 0"),
        ("ExtendIntermediateSigmas", {"sigmas": [1.0, 0.0], "steps": 0}, "at least one step"),
        ("ManualSigmas", {"sigmas": "1, two, 0"}, "numbers with commas"),
        ("ModelSamplingContinuousEDM", {"model": "sd", "sigma_max": 0.001}, "sigma_min must be above 0"),
        ("ModelSamplingContinuousV", {"model": "sd", "sigma_min": 0.0}, "sigma_min must be above 0"),
    ],
)
def test_what_makes_no_levels_is_named(name: str, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(name, **{key: given(value) for key, value in inputs.items()})


@pytest.mark.parametrize(
    "name", ["FlipSigmas", "SplitSigmas", "SplitSigmasDenoise", "ExtendIntermediateSigmas"]
)
def test_no_levels_stay_none(name: str) -> None:
    assert all(part in ([], [0.0]) for part in outputs_of(name, sigmas=torch.zeros(0)))
