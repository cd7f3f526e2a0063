"""DPM-Solver with steps of its own: as few as can be, or as long as the error allows.

Lu et al. 2022 ("DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps"), for the
prediction of noise, lambda = -log(sigma). Of the schedule, these use the first level, the last above zero, and how many
there are: the noise of that last level stays in the result.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.steps import Denoise, Step, ancestral_split, slope

_NEAR = 1e-5
"""In lambda: so near to the end is the end, and shorter steps lead nowhere."""
_NOT_FOLLOWED = (
    "dpm_adaptive cannot follow this model: no step is short enough to keep to its tolerance. Raise rtol or "
    "atol, lower cfg, or use a sampler of fixed steps (dpmpp_2m)."
)


def dpm_fast(
    denoise: Denoise, x: Tensor, sigmas: Tensor, noise: StepNoise, *, eta: float = 0.0, s_noise: float = 1.0
) -> Iterator[Step]:
    """Section 3.4 there: steps of third order, even in lambda, the last of lower order so that the calls come out even.

    As many model calls as the schedule has steps, and a Step after each. eta: the noise added after each step, 0 for
    none. A schedule of one step to zero gives x0.
    """
    start, end = _ends(sigmas, eta)
    if start == end:
        yield from _no_way_to_go(denoise, x, sigmas)
        return
    orders = _orders(len(sigmas) - 1)
    for i, order in enumerate(orders):
        sigma, after = (start * (end / start) ** ((i + k) / len(orders)) for k in (0, 1))
        down, up = _split(sigma, after, end, eta)
        for number, stage in enumerate(_stages(denoise, x, sigma, down, order), start=1):
            reached = stage.x
            if number == order and up > 0:
                reached = reached + noise(sigma, after) * (s_noise * up)
            yield Step(reached, stage.denoised)
        x = reached


def dpm_adaptive(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    order: int = 3,
    rtol: float = 0.05,
    atol: float = 0.0078,
    h_init: float = 0.05,
    pcoeff: float = 0.0,
    icoeff: float = 1.0,
    dcoeff: float = 0.0,
    accept_safety: float = 0.81,
    eta: float = 0.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """Appendix C there (DPM-Solver-12 and -23): a step counts if two orders agree on it to a tolerance.

    order: 2 or 3, and so many model calls for each try. rtol, atol: the error allowed, relative and absolute. h_init:
    the first step in lambda; pcoeff, icoeff, dcoeff, accept_safety: the controller of the following ones. eta: noise
    added after each step. Yields after each try. Raises ValueError when the error asks for steps that lead nowhere.
    """
    if order not in (2, 3):
        raise ValueError(f"The order of dpm_adaptive must be 2 or 3; got {order}.")
    if not h_init > 0:
        raise ValueError(
            f"dpm_adaptive's h_init, its first step, must be above 0 (0.05 is usual); got {h_init}."
        )
    start, end = _ends(sigmas, eta)
    if start == end:
        yield from _no_way_to_go(denoise, x, sigmas)
        return
    length, direction = abs(math.log(start / end)), math.copysign(1.0, start - end)
    control = _Controller(h_init, (pcoeff, icoeff, dcoeff), 1.5 if eta else order, accept_safety)
    done, last_low = 0.0, x
    while done < length - _NEAR:
        h = min(control.h, length - done)
        sigma, after = (start * math.exp(-direction * place) for place in (done, done + h))
        down, up = _split(sigma, after, end, eta)
        *_, stage = _stages(denoise, x, sigma, down, order)
        if control.accepts(_error(stage, last_low, rtol, atol)):
            x, last_low, done = stage.x, stage.lower, done + h
            if up > 0:
                x = x + noise(sigma, after) * (s_noise * up)
        yield Step(x, stage.denoised, share=min(1.0, (done + _NEAR) / length))


class _Stage(NamedTuple):
    """After one model call: x so far, x0, and at the last stage what one order less makes of the step."""

    x: Tensor
    denoised: Tensor
    lower: Tensor


def _stages(denoise: Denoise, x: Tensor, sigma: float, after: float, order: int) -> Iterator[_Stage]:
    """DPM-Solver-1, -2 (r1 = 1/2) or -3 (r1 = 1/3, r2 = 2/3): algorithms 1 and 2 there, and eq. 3.7."""
    h = math.log(sigma / after)
    denoised = denoise(x, sigma)
    here = slope(x, denoised, sigma)
    first = x + here * (after - sigma)
    if order == 1:
        yield _Stage(first, denoised, first)
        return
    level = sigma * math.exp(-h / order)
    there = x + here * (level - sigma)
    yield _Stage(there, denoised, x)
    denoised = denoise(there, level)
    change = slope(there, denoised, level) - here
    second = first + change * ((after - sigma) * order / 2)
    if order == 2:
        yield _Stage(second, denoised, first)
        return
    level = sigma * math.exp(-h * 2 / 3)
    there = x + here * (level - sigma) - change * (level * 2 * _phi(h * 2 / 3))
    yield _Stage(there, denoised, x)
    denoised = denoise(there, level)
    change = slope(there, denoised, level) - here
    yield _Stage(first - change * (after * 3 / 2 * _phi(h)), denoised, second)


def _phi(h: float) -> float:
    return math.expm1(h) / h - 1


def _orders(calls: int) -> list[int]:
    steps, rest = calls // 3 + 1, calls % 3
    return [3] * (steps - 1) + [rest] if rest else [3] * (steps - 2) + [2, 1]


def _ends(sigmas: Tensor, eta: float) -> tuple[float, float]:
    """The first level and the last above zero."""
    levels = sigmas[sigmas > 0].tolist()
    if eta and levels[0] < levels[-1]:
        raise ValueError(f"From less noise to more, eta must be 0; got {eta}.")
    return levels[0], levels[-1]


def _no_way_to_go(denoise: Denoise, x: Tensor, sigmas: Tensor) -> Iterator[Step]:
    for _ in range(len(sigmas) - 1):
        denoised = denoise(x, float(sigmas[0]))
        yield Step(denoised if sigmas[-1] == 0 else x, denoised)


def _split(sigma: float, after: float, end: float, eta: float) -> tuple[float, float]:
    """(level to step down to, noise to add), never below the end."""
    if not eta:
        return after, 0.0
    down = max(end, ancestral_split(sigma, after, eta)[0])
    return down, math.sqrt(max(after**2 - down**2, 0.0))


def _error(stage: _Stage, last_low: Tensor, rtol: float, atol: float) -> float:
    """How far two orders are apart, in units of what is allowed, as a root mean square."""
    allowed = (torch.maximum(stage.lower.abs(), last_low.abs()) * rtol).clamp(min=atol)
    return float(((stage.lower - stage.x) / allowed).square().mean().sqrt())


class _Controller:
    """A proportional, integral and derivative controller of the step (Soderlind 2003), as torchdiffeq limits it."""

    def __init__(
        self, h: float, gains: tuple[float, float, float], order: float, accept_safety: float
    ) -> None:
        p, i, d = gains
        self.h = h
        self._exponents = ((p + i + d) / order, -(p + 2 * d) / order, d / order)
        self._accept_safety = accept_safety
        self._past: tuple[float, float] | None = None

    def accepts(self, error: float) -> bool:
        """Whether a step of this error counts. Sets the next h; raises ValueError when it has become too short."""
        if not math.isfinite(error):
            raise ValueError(_NOT_FOLLOWED)
        newest = 1 / (error + 1e-8)
        last, before = self._past or (newest, newest)
        change = math.prod(
            base**power for base, power in zip((newest, last, before), self._exponents, strict=True)
        )
        factor = 1 + math.atan(change - 1)
        self.h *= factor
        accepted = factor >= self._accept_safety
        if accepted:
            self._past = newest, last
        elif self._past is None:
            self._past = newest, newest
        if self.h < _NEAR:
            raise ValueError(_NOT_FOLLOWED)
        return accepted
