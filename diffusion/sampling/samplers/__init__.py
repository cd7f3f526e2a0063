"""The samplers by name. Each is a generator function of (denoise, x, sigmas, noise) in the file of its family."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from diffusion.sampling.lookup import find
from diffusion.sampling.noise import brownian_noise
from diffusion.sampling.samplers.cfg_pp import (
    dpmpp_2m_cfg_pp,
    dpmpp_2s_ancestral_cfg_pp,
    euler_ancestral_cfg_pp,
    euler_cfg_pp,
)
from diffusion.sampling.samplers.dpm_2 import dpm_2, dpm_2_ancestral
from diffusion.sampling.samplers.dpm_solver import dpm_adaptive, dpm_fast
from diffusion.sampling.samplers.dpmpp import dpmpp_2m, dpmpp_2s_ancestral
from diffusion.sampling.samplers.dpmpp_sde import dpmpp_2m_sde, dpmpp_2m_sde_heun, dpmpp_3m_sde, dpmpp_sde
from diffusion.sampling.samplers.er_sde import er_sde
from diffusion.sampling.samplers.euler import ddim, ddpm, euler, euler_ancestral, lcm
from diffusion.sampling.samplers.gradient_estimation import gradient_estimation, gradient_estimation_cfg_pp
from diffusion.sampling.samplers.heun import heun, heunpp2
from diffusion.sampling.samplers.ipndm import deis, ipndm, ipndm_v
from diffusion.sampling.samplers.multistep import lms, plms
from diffusion.sampling.samplers.options import check_option, option_types
from diffusion.sampling.samplers.res_multistep import (
    res_multistep,
    res_multistep_ancestral,
    res_multistep_ancestral_cfg_pp,
    res_multistep_cfg_pp,
)
from diffusion.sampling.samplers.sa_solver import sa_solver, sa_solver_pece
from diffusion.sampling.samplers.seeds import seeds_2, seeds_3
from diffusion.sampling.samplers.steps import Denoise, OnStep, Sampler, Step, run_steps
from diffusion.sampling.samplers.uni_pc import uni_pc, uni_pc_bh2

__all__ = ["SAMPLERS", "SAMPLER_NAMES", "Denoise", "OnStep", "Sampler", "Step", "run_steps", "sampler_with"]

SAMPLERS: Mapping[str, Sampler] = MappingProxyType(
    {
        "euler": Sampler(euler),
        "euler_cfg_pp": Sampler(euler_cfg_pp),
        "euler_ancestral": Sampler(euler_ancestral),
        "euler_ancestral_cfg_pp": Sampler(euler_ancestral_cfg_pp),
        "heun": Sampler(heun),
        "heunpp2": Sampler(heunpp2),
        "dpm_2": Sampler(dpm_2, discard_penultimate=True),
        "dpm_2_ancestral": Sampler(dpm_2_ancestral, discard_penultimate=True),
        "lms": Sampler(lms),
        "dpm_fast": Sampler(dpm_fast),
        "dpm_adaptive": Sampler(dpm_adaptive),
        "dpmpp_2s_ancestral": Sampler(dpmpp_2s_ancestral),
        "dpmpp_2s_ancestral_cfg_pp": Sampler(dpmpp_2s_ancestral_cfg_pp),
        "dpmpp_sde": Sampler(dpmpp_sde, noise=brownian_noise),
        "dpmpp_sde_gpu": Sampler(dpmpp_sde, noise=brownian_noise),
        "dpmpp_2m": Sampler(dpmpp_2m),
        "dpmpp_2m_cfg_pp": Sampler(dpmpp_2m_cfg_pp),
        "dpmpp_2m_sde": Sampler(dpmpp_2m_sde, noise=brownian_noise),
        "dpmpp_2m_sde_gpu": Sampler(dpmpp_2m_sde, noise=brownian_noise),
        "dpmpp_2m_sde_heun": Sampler(dpmpp_2m_sde_heun, noise=brownian_noise),
        "dpmpp_2m_sde_heun_gpu": Sampler(dpmpp_2m_sde_heun, noise=brownian_noise),
        "dpmpp_3m_sde": Sampler(dpmpp_3m_sde, noise=brownian_noise),
        "dpmpp_3m_sde_gpu": Sampler(dpmpp_3m_sde, noise=brownian_noise),
        "ddpm": Sampler(ddpm),
        "lcm": Sampler(lcm),
        "ipndm": Sampler(ipndm),
        "ipndm_v": Sampler(ipndm_v),
        "deis": Sampler(deis),
        "res_multistep": Sampler(res_multistep),
        "res_multistep_cfg_pp": Sampler(res_multistep_cfg_pp),
        "res_multistep_ancestral": Sampler(res_multistep_ancestral),
        "res_multistep_ancestral_cfg_pp": Sampler(res_multistep_ancestral_cfg_pp),
        "gradient_estimation": Sampler(gradient_estimation),
        "gradient_estimation_cfg_pp": Sampler(gradient_estimation_cfg_pp),
        "er_sde": Sampler(er_sde),
        "seeds_2": Sampler(seeds_2),
        "seeds_3": Sampler(seeds_3),
        "sa_solver": Sampler(sa_solver),
        "sa_solver_pece": Sampler(sa_solver_pece),
        "ddim": Sampler(ddim, own_mask_noise=True),
        "uni_pc": Sampler(uni_pc, discard_penultimate=True),
        "uni_pc_bh2": Sampler(uni_pc_bh2, discard_penultimate=True),
        "plms": Sampler(plms),
    }
)
"""In the field's order, plms last. Other programs draw the noise of the _gpu names on the GPU; here it is the CPU's."""
SAMPLER_NAMES = tuple(SAMPLERS)


def sampler_with(name: str, **options: object) -> Sampler:
    """The sampler called `name`, with some of its options set: `sampler_with("lms", order=2)`.

    The options are the keyword parameters of its function. Raises ValueError for a sampler or an option that does not
    exist, and for a value of the wrong kind, saying what there is. Values out of range are refused when it runs.
    """
    sampler = find(SAMPLERS, name, kind="sampler")
    known = option_types(sampler)
    unknown = [option for option in options if option not in known]
    if unknown:
        has = ", ".join(known) or "none"
        raise ValueError(f"The sampler {name} has no option {', '.join(unknown)}; it has {has}.")
    for option, value in options.items():
        check_option(name, option, value, known[option])
    return replace(sampler, steps=partial(sampler.steps, **options))
