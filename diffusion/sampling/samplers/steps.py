"""What all samplers share: the step they yield, the table entry they are listed by, and the loop that runs them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from torch import Tensor

from diffusion.sampling.noise import NoiseSource, StepNoise, independent_noise


class Denoise(Protocol):
    """The model, as samplers see it."""

    def __call__(self, x: Tensor, sigma: float, /) -> Tensor:
        """x0 for x [B, C, h, w] at noise level sigma > 0."""
        ...


class GuidedPrediction(Protocol):
    """x0 to follow, and x0 without the prompt."""

    @property
    def denoised(self) -> Tensor: ...

    @property
    def uncond(self) -> Tensor | None: ...


class GuidedDenoise(Denoise, Protocol):
    """The model, as the samplers of the CFG++ family see it."""

    def guided(self, x: Tensor, sigma: float, *, with_uncond: bool = False) -> GuidedPrediction:
        """The same x0, and with_uncond also x0 without the prompt."""
        ...


@dataclass(frozen=True, eq=False)
class Step:
    """One finished step: the sample x at the next noise level, and the x0 it was led by. Both [B, C, h, w].

    share: how much of the run is done, 0..1, from samplers that choose their own steps; None: one step more.
    """

    x: Tensor
    denoised: Tensor
    share: float | None = None


@dataclass(frozen=True)
class Sampler:
    """A sampling method: a generator function and how to prepare its run.

    steps: called as (denoise, x, sigmas, noise), with x at level sigmas[0]; sigmas [n + 1] descend, 0 only at the end;
    yields n steps, or as many as it likes with their `share`. Its options are keyword parameters with defaults, which
    `sampler_with` changes.
    discard_penultimate: schedules leave out their last level above zero for it.
    noise: the noise it adds along the way.
    own_mask_noise: outside a noise mask, the latent is noised by a draw of its own, not by the initial noise.
    resizes: the latent changes its size on the way, so that it can have no mask.
    """

    steps: Callable[..., Iterator[Step]]
    discard_penultimate: bool = False
    noise: NoiseSource = independent_noise
    own_mask_noise: bool = False
    resizes: bool = False


OnStep = Callable[[int, int, Tensor], None]
"""(steps done, steps in all, x0 so far). Raising stops the run."""


def run_steps(steps: Iterator[Step], x: Tensor, *, total: int, on_step: OnStep | None = None) -> Tensor:
    """The sample after the last step; `x` itself when there is none."""
    for count, step in enumerate(steps, start=1):
        x = step.x
        if on_step is not None:
            done = count if step.share is None else int(step.share * total)
            on_step(done, total, step.denoised)
    return x


def with_uncond(denoise: GuidedDenoise, x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """x0 to follow, and x0 without the prompt."""
    guided = denoise.guided(x, sigma, with_uncond=True)
    if guided.uncond is None:
        raise ValueError(
            "This sampler (CFG++) needs a prediction without the prompt, and the guider makes none. Use a guider with "
            "a negative prompt (CFGGuider), or another sampler."
        )
    return guided.denoised, guided.uncond


def distinct_levels(sigmas: Tensor) -> list[float]:
    """The levels as numbers, for samplers that divide by the length of a step.

    Raises ValueError where two neighbours are the same.
    """
    levels = sigmas.tolist()
    for sigma, after in pairwise(levels):
        if sigma == after:
            raise ValueError(
                f"This sampler cannot take a step between equal noise levels ({sigma:g} comes twice). Take fewer "
                "steps, another scheduler, or the sampler euler."
            )
    return levels


def slope(x: Tensor, denoised: Tensor, sigma: float) -> Tensor:
    """dx/dsigma along the probability flow (Karras et al. 2022, eq. 1 and 3); also the predicted noise."""
    return (x - denoised) / sigma


def towards(target: Tensor, x: Tensor, sigma: float, after: float) -> Tensor:
    """x from level sigma to `after`, if x0 were `target` all the way: the exact solution, and the Euler step."""
    return x * (after / sigma) + target * (1 - after / sigma)


def ancestral_split(sigma: float, after: float, eta: float) -> tuple[float, float]:
    """(level to step down to, noise to add) so that both make `after`; eta 0 adds none, 1 as much as DDPM.

    Song et al. 2021 (DDIM), eq. 16, in variance exploding form.
    """
    full = after * math.sqrt(max(sigma**2 - after**2, 0.0)) / sigma
    up = min(after, eta * full)
    return math.sqrt(after**2 - up**2), up


@dataclass(frozen=True)
class Churn:
    """Noise added before each step (Karras et al. 2022, algorithm 2).

    amount: S_churn, over all steps; lowest, highest: the levels between which it acts; scale: S_noise.
    """

    amount: float
    lowest: float
    highest: float
    scale: float

    def __call__(self, x: Tensor, sigma: float, *, steps: int, noise: StepNoise) -> tuple[Tensor, float]:
        """x at a raised level, and that level."""
        if self.amount <= 0 or not self.lowest <= sigma <= self.highest:
            return x, sigma
        raised = sigma * (1 + min(self.amount / steps, math.sqrt(2) - 1))
        return x + noise(sigma, raised) * self.scale * math.sqrt(raised**2 - sigma**2), raised
