"""The noise levels that a model was trained at, and which timestep its UNet is told at each.

A level sigma is the standard deviation of the noise on data of unit scale (Karras et al. 2022, "EDM", variance
exploding form): x = x0 + sigma * noise. In the terms of Ho et al. 2020, sigma^2 = (1 - alpha_bar) / alpha_bar.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

BEFORE_ALL_LEVELS = 999_999_999.9
"""Where a run's start is said to lie, by convention: above any level there is."""

_LAST_TIMESTEP = 999
"""Of 1000; shares of a run are counted in these, whatever the schedule."""

_ZERO_TERMINAL_ALPHA_BAR = 4.8973451890853435e-08
"""What stands for 0 at the last timestep, so that its level is finite: 4518.77."""


class NoiseSchedule(Protocol):
    """The levels of one model. An immutable value."""

    @property
    def sigmas(self) -> Tensor:
        """A table of them for schedulers to choose from, [N] float32 on the CPU, ascending."""
        ...

    @property
    def sigma_min(self) -> float: ...

    @property
    def sigma_max(self) -> float: ...

    def timestep(self, sigma: float) -> float:
        """What the UNet is told at level `sigma`."""
        ...

    def sigma(self, timestep: Tensor) -> Tensor:
        """The levels at timesteps of any shape, fractions allowed."""
        ...

    def sigma_at(self, share: float) -> float:
        """The level that a run has come down to after this share of its timesteps, 0..1.

        The very start lies above, and the very end below all levels, so that intervals with these ends leave none out.
        """
        ...


@dataclass(frozen=True, eq=False)
class DiscreteSchedule:
    """A level for each of N timesteps, or for every `stride`-th of them.

    sigmas, log_sigmas: [N] float32 on the CPU, ascending; entry i belongs to timestep i * stride + stride - 1.
    """

    sigmas: Tensor
    log_sigmas: Tensor
    stride: int = 1

    @classmethod
    def from_betas(cls, betas: Tensor, *, zero_terminal_snr: bool = False) -> DiscreteSchedule:
        """From the variances added at each timestep, [N] float64 (Ho et al. 2020, eq. 4).

        zero_terminal_snr: rescaled so that nothing of the data is left at the last one (Lin et al. 2023, algorithm 1).
        """
        alphas_cumprod = torch.cumprod(1.0 - betas, dim=0)
        if zero_terminal_snr:
            alphas_cumprod = _without_signal_at_the_end(alphas_cumprod)
        sigmas = ((1.0 - alphas_cumprod) / alphas_cumprod).sqrt()
        return cls(sigmas.float(), sigmas.log().float())

    def every(self, stride: int) -> DiscreteSchedule:
        """The same, known at every `stride`-th timestep only, the last one included."""
        first = stride - 1
        return DiscreteSchedule(self.sigmas[first::stride], self.log_sigmas[first::stride], stride)

    @property
    def sigma_min(self) -> float:
        return float(self.sigmas[0])

    @property
    def sigma_max(self) -> float:
        return float(self.sigmas[-1])

    def timestep(self, sigma: float) -> int:
        """The training timestep whose level is nearest to `sigma` by logarithm."""
        # In float32 like the table: between two timesteps (scheduler "normal" asks there) the rounding decides.
        distance = torch.tensor(sigma, dtype=torch.float32).log() - self.log_sigmas
        return int(distance.abs().argmin()) * self.stride + self.stride - 1

    def sigma(self, timestep: Tensor) -> Tensor:
        """The levels at `timestep` (any shape, fractions allowed), linear in the logarithm between the trained ones."""
        position = (timestep.float() - (self.stride - 1)) / self.stride
        position = position.clamp(0, len(self.sigmas) - 1)
        weight = position.frac()
        below, above = self.log_sigmas[position.floor().long()], self.log_sigmas[position.ceil().long()]
        return ((1 - weight) * below + weight * above).exp()

    def sigma_at(self, share: float) -> float:
        return _with_open_ends(share, lambda: float(self.sigma(torch.tensor((1.0 - share) * _LAST_TIMESTEP))))


@dataclass(frozen=True)
class ContinuousSchedule:
    """Every level between two, for UNets that are told a function of the level itself.

    Raises ValueError unless 0 < sigma_min < sigma_max.
    """

    sigma_min: float
    sigma_max: float
    told: Timescale

    def __post_init__(self) -> None:
        if not 0 < self.sigma_min < self.sigma_max < math.inf:
            raise ValueError(
                f"sigma_min must be above 0 and below sigma_max; got sigma_min {self.sigma_min}, "
                f"sigma_max {self.sigma_max}."
            )

    @property
    def sigmas(self) -> Tensor:
        """1000 of them, evenly spaced in the logarithm."""
        return torch.linspace(math.log(self.sigma_min), math.log(self.sigma_max), 1000).exp()

    def timestep(self, sigma: float) -> float:
        return self.told.timestep(sigma)

    def sigma(self, timestep: Tensor) -> Tensor:
        return self.told.sigma(timestep)

    def sigma_at(self, share: float) -> float:
        low, high = math.log(self.sigma_min), math.log(self.sigma_max)
        return _with_open_ends(share, lambda: math.exp(low + (high - low) * (1.0 - share)))


@dataclass(frozen=True)
class Timescale:
    """What a continuous model's UNet is told at a level, and back."""

    timestep: Callable[[float], float]
    sigma: Callable[[Tensor], Tensor]


LOGARITHM = Timescale(lambda sigma: math.log(sigma) / 4, lambda timestep: (timestep * 4).exp())
"""c_noise of Karras et al. 2022, table 1."""

ANGLE = Timescale(
    lambda sigma: math.atan(sigma) / math.pi * 2, lambda timestep: (timestep * math.pi / 2).tan()
)
"""The angle between data and noise, as a share of a right angle (Salimans and Ho 2022, appendix D)."""


@functools.cache
def stable_diffusion_schedule(*, zero_terminal_snr: bool = False) -> DiscreteSchedule:
    """Stable Diffusion's: the roots of 1000 betas evenly spaced from 0.00085 to 0.012 ("scaled linear")."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return DiscreteSchedule.from_betas(betas, zero_terminal_snr=zero_terminal_snr)


def _without_signal_at_the_end(alphas_cumprod: Tensor) -> Tensor:
    roots = alphas_cumprod.sqrt()
    shifted = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    squares = shifted**2
    squares[-1] = _ZERO_TERMINAL_ALPHA_BAR
    return squares


def _with_open_ends(share: float, between: Callable[[], float]) -> float:
    if share <= 0:
        return BEFORE_ALL_LEVELS
    return 0.0 if share >= 1 else between()
