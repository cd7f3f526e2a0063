"""Levels that others have found by optimisation and published, and distillation's own timesteps."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from diffusion.sampling.lookup import find
from diffusion.sampling.schedule.formulas import check_steps, then_zero
from diffusion.sampling.schedule.plan import check_denoise
from diffusion.sampling.schedule.trained import NoiseSchedule

ALIGN_YOUR_STEPS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "SD1": (
            *(14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092),
            *(0.9642583904, 0.6523686016, 0.3977456272, 0.1515232662, 0.0291671582),
        ),
        "SDXL": (
            *(14.6146412293, 6.3184485287, 3.7681790315, 2.1811480769, 1.3405244945, 0.8620721141),
            *(0.5550693289, 0.3798540708, 0.2332364134, 0.1114188177, 0.0291671582),
        ),
        "SVD": (700.00, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
    }
)
"""Ten steps by kind of model (Sabour et al. 2024, "Align Your Steps"; the numbers are from the authors' page)."""

_GITS_FILE = Path(__file__).parent / "data" / "gits.json"
_TURBO_STEPS = 10


@dataclass(frozen=True)
class _GitsTable:
    """levels: descending; chosen: by coefficient in hundredths, for 2, 3, ... steps, places in `levels`."""

    levels: tuple[float, ...]
    chosen: Mapping[int, Sequence[Sequence[int]]]


def align_your_steps(model_type: str, steps: int, denoise: float = 1.0) -> Tensor:
    """The published levels for `model_type`, or between them, geometrically, for other than ten steps.

    denoise: the share of the steps to take, at the end; 0 gives none. Raises ValueError for an unknown type,
    steps < 1 and denoise outside 0..1.
    """
    check_steps(steps)
    known = find(ALIGN_YOUR_STEPS, model_type, kind="kind of model")
    return _ending(known if steps + 1 == len(known) else _geometric(known, steps), steps, denoise)


def gits(coefficient: float, steps: int, denoise: float = 1.0) -> Tensor:
    """Levels that follow the shape of the sampling trajectory (Chen et al. 2024, "Trajectory Regularity", GITS).

    coefficient: 0.80 to 1.50 in steps of 0.05, higher spends more of the steps at low noise. steps: from 2; past 20,
    geometrically between the levels for 20. denoise as above. Raises ValueError for other coefficients and steps.
    """
    table = _gits_table()
    hundredths = round(coefficient * 100)
    if hundredths not in table.chosen:
        known = ", ".join(f"{key / 100:.2f}" for key in table.chosen)
        raise ValueError(f"There are GITS levels for the coefficients {known}; got {coefficient}.")
    if steps < 2:
        raise ValueError(f"GITS levels are for 2 steps or more; got {steps}.")
    by_steps = table.chosen[hundredths]
    levels = [table.levels[place] for place in by_steps[min(steps - 2, len(by_steps) - 1)]]
    return _ending(levels if len(levels) == steps + 1 else _geometric(levels, steps), steps, denoise)


def turbo(schedule: NoiseSchedule, steps: int, denoise: float = 1.0) -> Tensor:
    """`steps` of the ten timesteps 999, 899 ... 99 that models distilled like SD Turbo know (Sauer et al. 2023).

    denoise: below 1, the first of the ten are left out. Raises ValueError for steps outside 1..10.
    """
    check_denoise(denoise)
    if not 1 <= steps <= _TURBO_STEPS:
        raise ValueError(f"Turbo models know 1 to {_TURBO_STEPS} steps; got {steps}.")
    skipped = _TURBO_STEPS - int(_TURBO_STEPS * denoise)
    timesteps = torch.arange(_TURBO_STEPS, 0, -1) * 100 - 1
    return then_zero(schedule.sigma(timesteps[skipped : skipped + steps]))


def _ending(levels: Sequence[float], steps: int, denoise: float) -> Tensor:
    """The last round(steps * denoise) steps, the very last of them to 0."""
    check_denoise(denoise)
    if denoise == 0:
        return torch.zeros(0)
    taken = round(steps * denoise)
    return torch.tensor([*levels[-(taken + 1) : -1], 0.0], dtype=torch.float32)


def _geometric(levels: Sequence[float], steps: int) -> list[float]:
    """`steps` + 1 levels, interpolated linearly in the logarithm over the places of the known ones."""
    places = np.linspace(0, len(levels) - 1, steps + 1)
    logs = np.interp(places, np.arange(len(levels)), np.log(levels))
    return [float(level) for level in np.exp(logs)]


@functools.cache
def _gits_table() -> _GitsTable:
    content = json.loads(_GITS_FILE.read_text())
    chosen = {int(key): rows for key, rows in content["chosen"].items()}
    return _GitsTable(tuple(content["levels"]), MappingProxyType(chosen))
