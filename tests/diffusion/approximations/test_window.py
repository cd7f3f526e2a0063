"""Parts of the schedule as noise levels."""

import math

import pytest

from diffusion.approximations.window import Window
from diffusion.sampling.schedule import stable_diffusion_schedule

SCHEDULE = stable_diffusion_schedule()


def test_the_whole_holds_every_level() -> None:
    whole = Window.of(SCHEDULE, 0, 1)
    assert whole == Window(math.inf, 0.0)
    assert all(sigma in whole for sigma in (1e9, SCHEDULE.sigma_max, 1.0, SCHEDULE.sigma_min, 0.0))


def test_shares_are_of_the_timesteps() -> None:
    """A third of 999 timesteps from the noisiest is timestep 666, two thirds is 333."""
    part = Window.of(SCHEDULE, 1 / 3, 2 / 3)
    assert part.highest == pytest.approx(float(SCHEDULE.sigmas[666]), rel=1e-4)
    assert part.lowest == pytest.approx(float(SCHEDULE.sigmas[333]), rel=1e-4)
    assert float(SCHEDULE.sigmas[500]) in part
    assert float(SCHEDULE.sigmas[700]) not in part
    assert float(SCHEDULE.sigmas[300]) not in part


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.4), (-0.1, 1), (0, 1.1), (math.nan, 1)])
def test_what_is_no_part_is_refused(start: float, end: float) -> None:
    with pytest.raises(ValueError, match=r"within 0\.\.1"):
        Window.of(SCHEDULE, start, end)
