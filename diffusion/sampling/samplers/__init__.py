"""The samplers by name. Each is a generator function of (denoise, x, sigmas, noise) in the file of its family."""

from collections.abc import Mapping
from types import MappingProxyType

from diffusion.sampling.samplers.dpm_2 import dpm_2, dpm_2_ancestral
from diffusion.sampling.samplers.dpmpp import dpmpp_2m
from diffusion.sampling.samplers.euler import ddim, euler, euler_ancestral
from diffusion.sampling.samplers.heun import heun
from diffusion.sampling.samplers.multistep import lms, plms
from diffusion.sampling.samplers.steps import Denoise, OnStep, Sampler, Step, run_steps

__all__ = ["SAMPLERS", "SAMPLER_NAMES", "Denoise", "OnStep", "Sampler", "Step", "run_steps"]

SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        "euler": Sampler(euler),
        "euler_ancestral": Sampler(euler_ancestral),
        "heun": Sampler(heun),
        "dpm_2": Sampler(dpm_2, discard_penultimate=True),
        "dpm_2_ancestral": Sampler(dpm_2_ancestral, discard_penultimate=True),
        "lms": Sampler(lms),
        "dpmpp_2m": Sampler(dpmpp_2m),
        "ddim": Sampler(ddim, own_mask_noise=True),
        "plms": Sampler(plms),
    }
)
SAMPLER_NAMES = tuple(SAMPLERS)
