"""The noise that a run starts from, as a value: a seed and where it is drawn, or none."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffusion.config import LATENT_SCALE
from diffusion.sampling.checks import check_latent, check_sigmas
from diffusion.sampling.noise import CPU, initial_noise
from diffusion.types import Latent


@dataclass(frozen=True)
class Noise:
    """What to draw once it is known for which latent.

    seed: also of the noise that samplers add along the way. none: no noise at all. on_device: drawn where the model
    computes, so that a seed gives other pictures on other devices, as programs that draw there do; else on the CPU.
    """

    seed: int
    none: bool = False
    on_device: bool = False

    def draw(self, latent: Latent, device: torch.device) -> Tensor:
        """Like latent.samples, unit normal or zero, float32. device: the model's."""
        if self.none:
            return torch.zeros_like(latent.samples)
        return initial_noise(
            latent.samples, self.seed, latent.batch_index, device=device if self.on_device else CPU
        )


def with_noise(latent: Latent, noise: Tensor, sigmas: Tensor) -> Latent:
    """`latent` with as much of `noise` as lies between the first and the last of `sigmas`; of one level, all of it.

    sigmas: [n]; empty leaves the latent as it is. Raises ValueError for levels and latents that sampling would refuse.
    """
    check_latent(latent)
    check_sigmas(sigmas)
    if len(sigmas) == 0:
        return latent
    level = float(sigmas[0] - sigmas[-1]) if len(sigmas) > 1 else float(sigmas[0])
    samples = latent.samples + noise.to(latent.samples) * (abs(level) / LATENT_SCALE)
    if not torch.isfinite(samples).all():
        raise ValueError(
            f"The noise between these levels, {level:g}, is too much to write down: start from a level below 20000."
        )
    return replace(latent, samples=samples)
