"""The samplers against their formulas, written out here."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from diffusion.sampling.samplers import SAMPLERS, Step, run_steps
from diffusion.sampling.samplers.steps import ancestral_split
from tests.diffusion.toys import curved, gaussian, run, start

LEVELS = [14.6, 9.0, 5.0, 2.5, 1.2, 0.6, 0.2, 0.0]
ANCESTRAL = ("euler_ancestral", "dpm_2_ancestral")


def _slope(x: Tensor, sigma: float, denoise: Callable[[Tensor, float], Tensor] = curved) -> Tensor:
    return (x - denoise(x, sigma)) / sigma


def _euler(x: Tensor, levels: list[float]) -> Tensor:
    for sigma, after in pairwise(levels):
        x = x + _slope(x, sigma) * (after - sigma)
    return x


def _heun(x: Tensor, levels: list[float]) -> Tensor:
    for sigma, after in pairwise(levels):
        predicted = x + _slope(x, sigma) * (after - sigma)
        x = (
            predicted
            if after == 0
            else x + (_slope(x, sigma) + _slope(predicted, after)) / 2 * (after - sigma)
        )
    return x


def _dpm_2(x: Tensor, levels: list[float]) -> Tensor:
    for sigma, after in pairwise(levels):
        middle = math.exp((math.log(sigma) + math.log(after)) / 2) if after else sigma
        there = x + _slope(x, sigma) * (middle - sigma)
        x = x + _slope(there, middle) * (after - sigma)
    return x


def _dpmpp_2m(x: Tensor, levels: list[float]) -> Tensor:
    """Lu et al. 2022, algorithm 2, in its own variables: data scale alpha and noise scale s, sigma = s / alpha."""

    def alpha(sigma: float) -> float:
        return 1 / math.sqrt(1 + sigma**2)

    y, denoised, previous_h = x * alpha(levels[0]), [], 0.0
    for sigma, after in pairwise(levels):
        denoised.append(curved(y / alpha(sigma), sigma))
        if after == 0:
            return denoised[-1]
        h = math.log(sigma) - math.log(after)
        data = denoised[-1]
        if len(denoised) > 1:
            r = previous_h / h
            data = (1 + 1 / (2 * r)) * denoised[-1] - 1 / (2 * r) * denoised[-2]
        y = (after * alpha(after)) / (sigma * alpha(sigma)) * y - alpha(after) * (math.exp(-h) - 1) * data
        previous_h = h
    return y / alpha(levels[-1])


def _lms(x: Tensor, levels: list[float]) -> Tensor:
    """The polynomial through the last four slopes, fitted and integrated term by term."""
    slopes: list[Tensor] = []
    for i, (sigma, after) in enumerate(pairwise(levels)):
        slopes = [*slopes, _slope(x, sigma)][-4:]
        known = torch.tensor(levels[i + 1 - len(slopes) : i + 1], dtype=torch.float64)
        powers = torch.arange(len(slopes), dtype=torch.float64)
        integrals = (after ** (powers + 1) - sigma ** (powers + 1)) / (powers + 1)
        weights = torch.linalg.solve((known[:, None] ** powers).T, integrals)
        x = (
            curved(x, sigma)
            if after == 0
            else x + torch.einsum("n,nbchw->bchw", weights, torch.stack(slopes))
        )
    return x


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("euler", _euler),
        ("ddim", _euler),
        ("heun", _heun),
        ("dpm_2", _dpm_2),
        ("dpmpp_2m", _dpmpp_2m),
        ("lms", _lms),
    ],
)
@pytest.mark.parametrize(
    "levels", [LEVELS, LEVELS[:-1], LEVELS[2:4]], ids=["to zero", "to noise", "one step"]
)
def test_sampler_is_its_formula(
    name: str, formula: Callable[[Tensor, list[float]], Tensor], levels: list[float]
) -> None:
    x = start() * levels[0]
    torch.testing.assert_close(run(name, levels, x=x), formula(x, levels), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ANCESTRAL)
def test_ancestral_sampler_is_its_formula(name: str) -> None:
    x = expected = start() * LEVELS[0]
    generator = torch.Generator().manual_seed(5)
    for sigma, after in pairwise(LEVELS):
        up = min(after, 0.8 * math.sqrt(after**2 * (sigma**2 - after**2) / sigma**2))
        down = math.sqrt(after**2 - up**2)
        middle = math.sqrt(sigma * down) if name == "dpm_2_ancestral" and down else sigma
        there = expected + _slope(expected, sigma) * (middle - sigma)
        expected = expected + _slope(there, middle) * (down - sigma)
        if after:
            expected = expected + 1.1 * up * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(run(name, LEVELS, x=x, seed=5, eta=0.8, s_noise=1.1), expected)


@pytest.mark.parametrize(("name", "plain"), [("euler_ancestral", "euler"), ("dpm_2_ancestral", "dpm_2")])
def test_without_eta_nothing_is_random(name: str, plain: str) -> None:
    x = start() * LEVELS[0]
    torch.testing.assert_close(run(name, LEVELS, x=x, eta=0.0), run(plain, LEVELS, x=x))


@pytest.mark.parametrize(
    ("sigma", "after", "eta"), [(5.0, 2.0, 1.0), (5.0, 0.0, 1.0), (2.0, 1.9, 3.0), (1.0, 2.0, 1.0)]
)
def test_ancestral_split_keeps_the_variance(sigma: float, after: float, eta: float) -> None:
    down, up = ancestral_split(sigma, after, eta)
    assert math.hypot(down, up) == pytest.approx(after)
    assert down >= 0
    assert up >= 0


@pytest.mark.parametrize("name", ["euler", "heun", "dpm_2"])
def test_churn_adds_noise_between_its_levels_alone(name: str) -> None:
    x = start() * LEVELS[0]
    plain = run(name, LEVELS, x=x)
    assert torch.equal(run(name, LEVELS, x=x, s_churn=2.0, s_tmin=20.0), plain)
    assert torch.equal(run(name, LEVELS, x=x, s_churn=2.0, s_tmax=0.1), plain)
    churned = run(name, LEVELS, x=x, s_churn=2.0)
    assert not torch.allclose(churned, plain)
    assert torch.equal(churned, run(name, LEVELS, x=x, s_churn=2.0))
    assert not torch.allclose(churned, run(name, LEVELS, x=x, s_churn=2.0, seed=1))


def test_churned_euler_is_the_papers_algorithm() -> None:
    x = expected = start() * LEVELS[0]
    generator = torch.Generator().manual_seed(3)
    for sigma, after in pairwise(LEVELS):
        raised = sigma
        if 0.5 <= sigma <= 10:
            raised = sigma * (1 + min(4 / 7, math.sqrt(2) - 1))
            draw = torch.randn(x.shape, generator=generator, dtype=torch.float64)
            expected = expected + 1.003 * math.sqrt(raised**2 - sigma**2) * draw
        expected = expected + _slope(expected, raised) * (after - raised)
    found = run("euler", LEVELS, x=x, seed=3, s_churn=4.0, s_tmin=0.5, s_tmax=10.0, s_noise=1.003)
    torch.testing.assert_close(found, expected)


def test_lms_of_order_one_is_euler() -> None:
    x = start() * LEVELS[0]
    torch.testing.assert_close(run("lms", LEVELS, x=x, order=1), run("euler", LEVELS, x=x))


def test_the_driver_reports_each_step_and_stops_when_told() -> None:
    class Cancelled(Exception): ...

    evaluations: list[float] = []
    reports: list[tuple[int, int]] = []

    def denoise(x: Tensor, sigma: float) -> Tensor:
        evaluations.append(sigma)
        return gaussian(x, sigma)

    def on_step(done: int, total: int, denoised: Tensor) -> None:
        reports.append((done, total))
        if done == 3:
            raise Cancelled

    x, sigmas, sampler = start(), torch.tensor(LEVELS), SAMPLERS["euler"]
    steps = sampler.steps(denoise, x, sigmas, sampler.noise(x, sigmas, 0))
    with pytest.raises(Cancelled):
        run_steps(steps, x, total=7, on_step=on_step)
    assert reports == [(1, 7), (2, 7), (3, 7)]
    assert len(evaluations) == 3


def test_a_run_of_no_steps_returns_its_start() -> None:
    x = start()
    assert run_steps(iter(list[Step]()), x, total=0) is x
