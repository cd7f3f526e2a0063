"""Parts of a sampling run, given as shares of the schedule and kept as noise levels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from diffusion.sampling.schedule import NoiseSchedule


@dataclass(frozen=True)
class Window:
    """From which noise level down to which something applies, both included."""

    highest: float = math.inf
    lowest: float = 0.0

    @classmethod
    def of(cls, schedule: NoiseSchedule, start: float, end: float) -> Window:
        """From share `start` to share `end` of the schedule, 0 the noisiest level and 1 the last, 0..1 each.

        Shares are of the timesteps that the model was trained at, so they do not depend on the scheduler or the number
        of steps. Raises ValueError when they are outside 0..1, or end comes before start.
        """
        if not 0 <= start <= end <= 1:
            raise ValueError(
                f"A part of the schedule goes from a start to a later end, both within 0..1; got {start} to {end}."
            )
        return cls(math.inf if start == 0 else schedule.sigma_at(start), schedule.sigma_at(end))

    def __contains__(self, sigma: float) -> bool:
        return self.lowest <= sigma <= self.highest
