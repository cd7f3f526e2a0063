"""Differential diffusion: a mask's grey says when each place stops being held (Levin and Fried 2023)."""

from dataclasses import dataclass

from torch import Tensor

from diffusion.sampling.schedule.trained import NoiseSchedule


@dataclass(frozen=True)
class ChangeMap:
    """The noise mask as a map of how much each place may change: held until the run has come down to its value.

    strength: 0..1, between the mask as it is and the map.
    """

    strength: float = 1.0

    def __call__(self, sigmas: Tensor, schedule: NoiseSchedule, mask: Tensor, sigma: float) -> Tensor:
        """The mask at level sigma of a run through `sigmas` [n + 1]."""
        lowest = max(schedule.sigma_min, float(sigmas[-1]))
        start, end = schedule.timestep(float(sigmas[0])), schedule.timestep(lowest)
        left = (schedule.timestep(sigma) - end) / (start - end) if start != end else 0.0
        changing = (mask >= left).to(mask)
        return self.strength * changing + (1 - self.strength) * mask
