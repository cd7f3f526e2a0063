"""Levels by formula, from numbers alone: no model's own schedule is needed.

Each returns float32, descending; all but `laplace` end in 0.
"""

import math

import torch
from torch import Tensor


def karras_levels(steps: int, *, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Tensor:
    """Even in sigma^(1/rho): more steps at low noise (Karras et al. 2022, eq. 5). [steps + 1].

    Raises ValueError for steps < 1, levels that are not positive and finite, and rho <= 0.
    """
    _check(steps, sigma_min=sigma_min, sigma_max=sigma_max, rho=rho)
    try:
        highest, lowest = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    except OverflowError:
        highest = lowest = math.inf
    levels = (highest + torch.linspace(0, 1, steps) * (lowest - highest)) ** rho
    if not torch.isfinite(levels).all():
        raise ValueError(f"rho = {rho} is too small: sigma^(1/rho) is past what numbers hold. 7 is usual.")
    return then_zero(levels)


def exponential_levels(steps: int, *, sigma_min: float, sigma_max: float) -> Tensor:
    """Even in log(sigma). [steps + 1]."""
    _check(steps, sigma_min=sigma_min, sigma_max=sigma_max)
    return then_zero(torch.linspace(math.log(sigma_max), math.log(sigma_min), steps).exp())


def polyexponential_levels(steps: int, *, sigma_min: float, sigma_max: float, rho: float = 1.0) -> Tensor:
    """A power of an even ramp, in log(sigma); rho 1 is exponential, higher spends more steps at low noise."""
    _check(steps, sigma_min=sigma_min, sigma_max=sigma_max)
    if not 0 <= rho < math.inf:
        raise ValueError(f"rho must be 0 or more; got {rho}.")
    low, high = math.log(sigma_min), math.log(sigma_max)
    return then_zero((torch.linspace(1, 0, steps) ** rho * (high - low) + low).exp())


def variance_preserving_levels(
    steps: int, *, beta_d: float = 19.9, beta_min: float = 0.1, eps_s: float = 1e-3
) -> Tensor:
    """Even in the time of the variance preserving diffusion of Song et al. 2021 (Karras et al. 2022, table 1).

    From time 1 to `eps_s`, where beta rises linearly from beta_min by beta_d. Raises ValueError for parameters that
    give levels outside the positive finite numbers.
    """
    _check(steps)
    time = torch.linspace(1, eps_s, steps)
    levels = torch.special.expm1(beta_d * time**2 / 2 + beta_min * time).sqrt()
    if not torch.isfinite(levels).all() or not (levels > 0).all():
        raise ValueError(
            f"beta_d {beta_d}, beta_min {beta_min} and eps_s {eps_s} give noise levels from {float(levels[0]):g} to "
            f"{float(levels[-1]):g}; they must be finite and above 0. Stay near beta_d 19.9, beta_min 0.1, eps_s 0.001."
        )
    return then_zero(levels)


def laplace_levels(
    steps: int, *, sigma_min: float, sigma_max: float, mu: float = 0.0, beta: float = 0.5
) -> Tensor:
    """Quantiles of a Laplace distribution of log(sigma) around `mu`, of width `beta`: most steps near the middle.

    Hang et al. 2024 ("Improved Noise Schedule for Diffusion Training"). [steps], clamped to the range of levels.
    """
    _check(steps, sigma_min=sigma_min, sigma_max=sigma_max)
    if not (math.isfinite(mu) and 0 <= beta < math.inf):
        raise ValueError(f"mu must be a number, and beta 0 or more; got mu {mu}, beta {beta}.")
    share = torch.linspace(0, 1, steps)
    from_middle = 0.5 - share
    logs = mu - beta * from_middle.sign() * (1 - 2 * from_middle.abs() + 1e-5).log()
    return logs.exp().clamp(min=sigma_min, max=sigma_max)


def then_zero(sigmas: Tensor) -> Tensor:
    return torch.cat([sigmas, sigmas.new_zeros(1)])


def check_steps(steps: int) -> None:
    """Raises ValueError for fewer than one."""
    if steps < 1:
        raise ValueError(f"Sampling needs at least one step; got steps = {steps}.")


def _check(steps: int, **positive: float) -> None:
    check_steps(steps)
    for name, value in positive.items():
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be a number above 0; got {value}.")
    if positive and positive["sigma_min"] > positive["sigma_max"]:
        raise ValueError(
            f"sigma_min {positive['sigma_min']} is above sigma_max {positive['sigma_max']}: exchange them."
        )
