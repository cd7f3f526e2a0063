"""The samplers by name. Each is a generator function of (denoise, x, sigmas, noise) in the file of its family."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from diffusion.sampling.lookup import find
from diffusion.sampling.samplers.dpm_2 import dpm_2, dpm_2_ancestral
from diffusion.sampling.samplers.dpmpp import dpmpp_2m
from diffusion.sampling.samplers.euler import ddim, euler, euler_ancestral
from diffusion.sampling.samplers.heun import heun
from diffusion.sampling.samplers.multistep import lms, plms
from diffusion.sampling.samplers.steps import Denoise, OnStep, Sampler, Step, run_steps

__all__ = ["SAMPLERS", "SAMPLER_NAMES", "Denoise", "OnStep", "Sampler", "Step", "run_steps", "sampler_with"]

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


def sampler_with(name: str, **options: object) -> Sampler:
    """The sampler called `name`, with some of its options set: `sampler_with("lms", order=2)`.

    The options are the keyword parameters of its function. Raises ValueError for a sampler or an option that does not
    exist, saying which there are.
    """
    sampler = find(SAMPLERS, name, kind="sampler")
    known = {
        parameter.name: parameter.default
        for parameter in inspect.signature(sampler.steps).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    unknown = sorted(set(options) - set(known))
    if unknown:
        has = f"has {', '.join(known)}" if known else "has none"
        raise ValueError(f"The sampler {name} has no option {', '.join(unknown)}; it {has}.")
    return replace(sampler, steps=partial(sampler.steps, **options))
