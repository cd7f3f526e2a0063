"""Nodes that choose a sampler, with its options."""

from typing import Annotated

from diffusion.latents.resize import METHODS
from diffusion.model import Model
from diffusion.sampling.samplers import Sampler, sampler_with
from diffusion.sampling.samplers.euler_pp import euler_pp
from diffusion.sampling.samplers.growing import Growth, growing_lcm
from graph import Choice, Range, node
from nodes.sampling import SamplerName

Amount = Annotated[float, Range(0, 100, step=0.01)]
Share = Annotated[float, Range(0, 1, step=0.001)]
NoiseDevice = Annotated[str, Choice(("gpu", "cpu"))]
CATEGORY = "sampling/custom_sampling/samplers"
_GROWTH_METHODS = ("bislerp", *(method for method in METHODS if method != "bislerp"))


@node("KSamplerSelect", category=CATEGORY)
def ksampler_select(*, sampler_name: SamplerName = "euler") -> Sampler:
    """A sampler with the options that it has in KSampler.

    Inputs:
        sampler_name: Which.

    Outputs:
        SAMPLER: The sampler.
    """
    return sampler_with(sampler_name)


@node("SamplerDDIM", category=CATEGORY)
def sampler_ddim(*, eta: Amount = 0.0) -> Sampler:
    """DDIM (Song et al. 2021) with noise added back, as the original scripts' --ddim_eta.

    Inputs:
        eta: 0 adds none, 1 as much as DDPM.

    Outputs:
        SAMPLER: The sampler.
    """
    return sampler_with("ddim", eta=eta)


@node("SamplerEulerAncestral", category=CATEGORY)
def sampler_euler_ancestral(*, eta: Amount = 1.0, s_noise: Amount = 1.0) -> Sampler:
    """Ancestral Euler with its options.

    Inputs:
        eta: How much of the noise is drawn anew at each step; 0 is plain Euler.
        s_noise: Scale of the noise.

    Outputs:
        SAMPLER: The sampler.
    """
    return sampler_with("euler_ancestral", eta=eta, s_noise=s_noise)


@node("SamplerEulerAncestralCFGPP", title="SamplerEulerAncestralCFG++", category=CATEGORY)
def sampler_euler_ancestral_cfgpp(
    *,
    eta: Annotated[float, Range(0, 1, step=0.01)] = 1.0,
    s_noise: Annotated[float, Range(0, 10, step=0.01)] = 1.0,
) -> Sampler:
    """Ancestral Euler with CFG++ (Chung et al. 2024); use a cfg near 1.

    Inputs:
        eta: How much of the noise is drawn anew at each step.
        s_noise: Scale of the noise.

    Outputs:
        SAMPLER: The sampler.
    """
    return sampler_with("euler_ancestral_cfg_pp", eta=eta, s_noise=s_noise)


@node("SamplerEulerCFGpp", title="SamplerEulerCFG++", category="_for_testing")
def sampler_euler_cfgpp(
    *, version: Annotated[str, Choice(("regular", "alternative"))] = "regular"
) -> Sampler:
    """Euler with CFG++ (Chung et al. 2024); use a cfg near 1.

    Inputs:
        version: As the paper has it, or an older variant.

    Outputs:
        SAMPLER: The sampler.
    """
    return Sampler(euler_pp) if version == "alternative" else sampler_with("euler_cfg_pp")


@node("SamplerLCMUpscale", category=CATEGORY)
def sampler_lcm_upscale(
    *,
    scale_ratio: Annotated[float, Range(0.1, 20, step=0.01)] = 1.0,
    scale_steps: Annotated[int, Range(-1, 1000)] = -1,
    upscale_method: Annotated[str, Choice(_GROWTH_METHODS)] = "bislerp",
) -> Sampler:
    """LCM (Luo et al. 2023) on a latent that grows during the first steps, so that these cost less.

    Inputs:
        scale_ratio: How many times wider and higher the result is than the latent that comes in.
        scale_steps: After how many steps it has grown; -1 for half of them, 0 to leave its size.
        upscale_method: How it is resized.

    Outputs:
        SAMPLER: The sampler. It takes no latent with a noise mask.
    """
    return growing_lcm(Growth(scale_ratio, None if scale_steps < 0 else scale_steps, upscale_method))


@node("SamplerLMS", category=CATEGORY)
def sampler_lms(*, order: Annotated[int, Range(1, 100)] = 4) -> Sampler:
    """The linear multistep method with its order.

    Inputs:
        order: From how many steps a slope is extrapolated; past 4 it seldom helps.

    Outputs:
        SAMPLER: The sampler.
    """
    return sampler_with("lms", order=order)


@node("SamplerDPMPP_2S_Ancestral", category=CATEGORY)
def sampler_dpmpp_2s_ancestral(*, eta: Amount = 1.0, s_noise: Amount = 1.0) -> Sampler:
    """Ancestral DPM-Solver++(2S) with its options.

    Inputs:
        eta: How much of the noise is drawn anew at each step.
        s_noise: Scale of the noise.

    Outputs:
        SAMPLER: The sampler.
    """
    return sampler_with("dpmpp_2s_ancestral", eta=eta, s_noise=s_noise)


@node("SamplerDPMPP_SDE", category=CATEGORY)
def sampler_dpmpp_sde(
    *, eta: Amount = 1.0, s_noise: Amount = 1.0, r: Amount = 0.5, noise_device: NoiseDevice = "gpu"
) -> Sampler:
    """Stochastic DPM-Solver++ with its options.

    Inputs:
        eta: How much noise is added; 0 none.
        s_noise: Scale of the noise.
        r: Where between two levels the second model call lies, in the logarithm.
        noise_device: Of no effect here: noise is drawn on the CPU, so that a seed means the same everywhere.

    Outputs:
        SAMPLER: The sampler.
    """
    return sampler_with("dpmpp_sde", eta=eta, s_noise=s_noise, r=r)


@node("SamplerDPMPP_2M_SDE", category=CATEGORY)
def sampler_dpmpp_2m_sde(
    *,
    solver_type: Annotated[str, Choice(("midpoint", "heun"))] = "midpoint",
    eta: Amount = 1.0,
    s_noise: Amount = 1.0,
    noise_device: NoiseDevice = "gpu",
) -> Sampler:
    """Stochastic DPM-Solver++(2M) with its options.

    Inputs:
        solver_type: How the second order is made.
        eta: How much noise is added; 0 none.
        s_noise: Scale of the noise.
        noise_device: Of no effect here: noise is drawn on the CPU, so that a seed means the same everywhere.

    Outputs:
        SAMPLER: The sampler.
    """
    return sampler_with("dpmpp_2m_sde", solver_type=solver_type, eta=eta, s_noise=s_noise)


@node("SamplerDPMPP_3M_SDE", category=CATEGORY)
def sampler_dpmpp_3m_sde(
    *, eta: Amount = 1.0, s_noise: Amount = 1.0, noise_device: NoiseDevice = "gpu"
) -> Sampler:
    """Stochastic DPM-Solver++(3M) with its options.

    Inputs:
        eta: How much noise is added; 0 none.
        s_noise: Scale of the noise.
        noise_device: Of no effect here: noise is drawn on the CPU, so that a seed means the same everywhere.

    Outputs:
        SAMPLER: The sampler.
    """
    return sampler_with("dpmpp_3m_sde", eta=eta, s_noise=s_noise)


@node("SamplerDPMAdaptative", category=CATEGORY)
def sampler_dpm_adaptive(
    *,
    order: Annotated[int, Range(2, 3)] = 3,
    rtol: Amount = 0.05,
    atol: Amount = 0.0078,
    h_init: Amount = 0.05,
    pcoeff: Amount = 0.0,
    icoeff: Amount = 1.0,
    dcoeff: Amount = 0.0,
    accept_safety: Amount = 0.81,
    eta: Amount = 0.0,
    s_noise: Amount = 1.0,
) -> Sampler:
    """DPM-Solver that chooses its own steps between the first and the last level.

    Inputs:
        order: Model calls for each try of a step.
        rtol: The error that a step may have, relative to the latent.
        atol: The same, absolute.
        h_init: The first step, in the logarithm of the level.
        pcoeff: Proportional part of the controller of steps.
        icoeff: Integral part.
        dcoeff: Derivative part.
        accept_safety: How near to the allowed error a step may come.
        eta: How much noise is added after each step; 0 none.
        s_noise: Scale of the noise.

    Outputs:
        SAMPLER: The sampler.
    """
    return sampler_with(
        "dpm_adaptive",
        order=order,
        rtol=rtol,
        atol=atol,
        h_init=h_init,
        pcoeff=pcoeff,
        icoeff=icoeff,
        dcoeff=dcoeff,
        accept_safety=accept_safety,
        eta=eta,
        s_noise=s_noise,
    )


@node("SamplerER_SDE", category=CATEGORY)
def sampler_er_sde(
    *,
    solver_type: Annotated[str, Choice(("ER-SDE", "Reverse-time SDE", "ODE"))] = "ER-SDE",
    max_stage: Annotated[int, Range(1, 3)] = 3,
    eta: Amount = 1.0,
    s_noise: Amount = 1.0,
) -> Sampler:
    """ER-SDE with its options.

    Inputs:
        solver_type: The kind of noise that is added.
        max_stage: The highest order of a step.
        eta: How much noise of the reverse-time SDE; without effect on the others.
        s_noise: Scale of the noise.

    Outputs:
        SAMPLER: The sampler.
    """
    return sampler_with("er_sde", solver_type=solver_type, max_stage=max_stage, eta=eta, s_noise=s_noise)


@node("SamplerSASolver", category=CATEGORY)
def sampler_sa_solver(
    *,
    model: Model,
    eta: Annotated[float, Range(0, 10, step=0.01)] = 1.0,
    sde_start_percent: Share = 0.2,
    sde_end_percent: Share = 0.8,
    s_noise: Amount = 1.0,
    predictor_order: Annotated[int, Range(1, 6)] = 3,
    corrector_order: Annotated[int, Range(0, 6)] = 4,
    use_pece: bool = False,
    simple_order_2: bool = False,
) -> Sampler:
    """SA-Solver with its options.

    Inputs:
        model: Whose levels the two shares are of.
        eta: Strength of the noise.
        sde_start_percent: The share of the timesteps after which noise is added.
        sde_end_percent: The share after which it is not any more.
        s_noise: Scale of the noise.
        predictor_order: Order of the prediction.
        corrector_order: Order of the correction; 0 for none.
        use_pece: Ask the model again after the correction.
        simple_order_2: Simpler coefficients of second order.

    Outputs:
        SAMPLER: The sampler.
    """
    return sampler_with(
        "sa_solver",
        eta=eta,
        start_sigma=model.schedule.sigma_at(sde_start_percent),
        end_sigma=model.schedule.sigma_at(sde_end_percent),
        s_noise=s_noise,
        predictor_order=predictor_order,
        corrector_order=corrector_order,
        use_pece=use_pece,
        simple_order_2=simple_order_2,
    )
