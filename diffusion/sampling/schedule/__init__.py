"""Noise levels: the schedule a model was trained on, and the rules that pick levels to sample at."""

from diffusion.sampling.schedule.plan import sampling_sigmas, starting_level, step_range
from diffusion.sampling.schedule.schedulers import SCHEDULER_NAMES, SCHEDULERS, Scheduler
from diffusion.sampling.schedule.trained import (
    DiscreteSchedule,
    NoiseSchedule,
    stable_diffusion_schedule,
)

__all__ = [
    "SCHEDULERS",
    "SCHEDULER_NAMES",
    "DiscreteSchedule",
    "NoiseSchedule",
    "Scheduler",
    "sampling_sigmas",
    "stable_diffusion_schedule",
    "starting_level",
    "step_range",
]
