"""Sampling from parts: the same as KSampler where the parts are its own, and refused where they do not fit."""

import math
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from diffusion.config import LATENT_SCALE
from diffusion.sampling.starting_noise import Noise
from diffusion.types import Cond, Conditioning, Latent
from tests.nodes.toys import ToyRuntime, call, gaussian, prompt, toy_latent, toy_model

MODEL = toy_model()
SIGMAS = torch.tensor([14.614642, 6.0, 2.5, 1.0, 0.3, 0.0])
LATENT = toy_latent()


def advanced(**changes: Any) -> tuple[Tensor, Tensor]:
    """SamplerCustomAdvanced with ordinary parts but for `changes`: its two outputs' samples."""
    parts = {
        "noise": call("RandomNoise", noise_seed=5),
        "guider": call("CFGGuider", model=MODEL, positive="@positive", negative="@negative", cfg=6.5),
        "sampler": call("KSamplerSelect", sampler_name="euler"),
        "sigmas": SIGMAS,
        "latent_image": LATENT,
    }
    output, denoised = call("SamplerCustomAdvanced", **(parts | changes))
    return output.samples, denoised.samples


def custom(**changes: Any) -> Tensor:
    inputs: dict[str, Any] = {
        "model": MODEL,
        "noise_seed": 5,
        "cfg": 6.5,
        "positive": "@positive",
        "negative": "@negative",
        "sampler": call("KSamplerSelect", sampler_name="euler"),
        "sigmas": SIGMAS,
        "latent_image": LATENT,
    }
    output, _ = call("SamplerCustom", **(inputs | changes))
    samples: Tensor = output.samples
    return samples


@pytest.mark.parametrize("name", ["euler", "euler_ancestral", "dpm_2", "dpmpp_2m_sde", "ddim"])
def test_its_own_parts_give_what_ksampler_gives(name: str) -> None:
    sigmas = call("BasicScheduler", model=MODEL, scheduler="karras", steps=7)
    if name == "dpm_2":  # which KSampler gives a schedule without its last level above zero
        longer = call("BasicScheduler", model=MODEL, scheduler="karras", steps=8)
        sigmas = torch.cat([longer[:-2], longer[-1:]])
    sampler = call("KSamplerSelect", sampler_name=name)
    expected = call(
        "KSampler",
        model=MODEL,
        seed=5,
        steps=7,
        cfg=6.5,
        sampler_name=name,
        scheduler="karras",
        positive="@positive",
        negative="@negative",
        latent_image=LATENT,
    ).samples
    assert torch.equal(advanced(sampler=sampler, sigmas=sigmas)[0], expected)
    assert torch.equal(custom(sampler=sampler, sigmas=sigmas), expected)


def test_two_halves_of_a_split_run_are_the_run() -> None:
    high, low = call("SplitSigmas", sigmas=SIGMAS, step=2)
    first, _ = advanced(sigmas=high)
    second, _ = advanced(sigmas=low, latent_image=Latent(first), noise=call("DisableNoise"))
    torch.testing.assert_close(second, advanced()[0], rtol=1e-4, atol=1e-3)


def test_the_second_output_is_what_the_last_step_was_led_by() -> None:
    noisy, denoised = advanced(sigmas=SIGMAS[:3])
    done, clean = advanced()
    assert torch.equal(done, clean)
    assert not torch.allclose(noisy, denoised, atol=1.0)
    # One Euler step to 0 from there, led by it.
    torch.testing.assert_close(
        advanced(sigmas=torch.tensor([14.614642, 6.0, 0.0]))[0], denoised, rtol=1e-4, atol=1e-3
    )


def test_no_levels_give_the_latent_back_twice() -> None:
    assert all(torch.equal(part, LATENT.samples) for part in advanced(sigmas=torch.zeros(0)))


def test_mask_and_batch_index_come_through() -> None:
    latent = replace(LATENT, noise_mask=torch.ones(1, 1, 6, 5), batch_index=(3,))
    for output in call(
        "SamplerCustom",
        model=MODEL,
        positive="@positive",
        negative="@negative",
        sampler=call("SamplerLMS", order=2),
        sigmas=SIGMAS,
        latent_image=latent,
    ):
        assert output.noise_mask is latent.noise_mask
        assert output.batch_index == (3,)


def test_noise_is_the_seeds_and_follows_the_batch_index() -> None:
    draw = call("RandomNoise", noise_seed=3).draw(Latent(torch.zeros(2, 4, 6, 5)), torch.device("cpu"))
    assert torch.equal(draw, gaussian(2, 3))
    second = Noise(3).draw(Latent(torch.zeros(1, 4, 6, 5), batch_index=(1,)), torch.device("cpu"))
    singles = torch.Generator().manual_seed(3)
    torch.randn(1, 4, 6, 5, generator=singles)
    assert torch.equal(second, torch.randn(1, 4, 6, 5, generator=singles))
    assert torch.equal(call("DisableNoise").draw(LATENT, torch.device("cpu")), torch.zeros(1, 4, 6, 5))
    assert custom(add_noise=False).equal(advanced(noise=call("DisableNoise"))[0])


def test_noise_drawn_where_the_model_computes_is_the_same_on_the_cpu() -> None:
    drawn = call("RandomNoise", noise_seed=5, rand_device="device")
    assert torch.equal(advanced(noise=drawn)[0], advanced()[0])


@pytest.mark.parametrize(
    ("levels", "scale"), [([6.0, 2.0, 1.0], 5.0), ([6.0], 6.0), ([0.1, 3.0], 2.9), ([], 0.0)]
)
def test_noise_is_added_up_to_the_levels_difference(levels: list[float], scale: float) -> None:
    noise = call("RandomNoise", noise_seed=3)
    noisy = call("AddNoise", model=MODEL, noise=noise, sigmas=torch.tensor(levels), latent_image=LATENT)
    expected = LATENT.samples + gaussian(1, 3) * scale / LATENT_SCALE
    torch.testing.assert_close(noisy.samples, expected)


OPTIONS: dict[str, list[dict[str, Any]]] = {
    "SamplerDDIM": [{"eta": 0.0}, {"eta": 0.7}],
    "SamplerEulerAncestral": [{}, {"eta": 0.5}, {"s_noise": 0.5}],
    "SamplerEulerAncestralCFGPP": [{}, {"eta": 0.5}, {"s_noise": 0.5}],
    "SamplerEulerCFGpp": [{}, {"version": "alternative"}],
    "SamplerLMS": [{}, {"order": 1}],
    "SamplerDPMPP_2S_Ancestral": [{}, {"eta": 0.5}, {"s_noise": 0.5}],
    "SamplerDPMPP_SDE": [{}, {"eta": 0.5}, {"s_noise": 0.5}, {"r": 0.3}],
    "SamplerDPMPP_2M_SDE": [{}, {"eta": 0.5}, {"s_noise": 0.5}, {"solver_type": "heun"}],
    "SamplerDPMPP_3M_SDE": [{}, {"eta": 0.5}, {"s_noise": 0.5}],
    "SamplerDPMAdaptative": [{"rtol": 0.5}, {"rtol": 0.5, "order": 2}, {"rtol": 0.5, "h_init": 0.5}],
    "SamplerER_SDE": [{}, {"solver_type": "ODE"}, {"solver_type": "Reverse-time SDE"}, {"max_stage": 1}],
    "SamplerSASolver": [
        {},
        {"eta": 0.2},
        {"sde_start_percent": 0.6},
        {"predictor_order": 1},
        {"use_pece": True},
    ],
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_a_sampler_has_its_effect(name: str) -> None:
    model = {"model": MODEL} if name == "SamplerSASolver" else {}
    results = [advanced(sampler=call(name, **model, **options))[0] for options in OPTIONS[name]]
    assert all(torch.isfinite(result).all() for result in results)
    for i, result in enumerate(results):
        assert not any(torch.allclose(result, other, rtol=1e-4) for other in results[:i]), OPTIONS[name][i]


def test_of_the_noise_device_nothing_depends() -> None:
    for name in ("SamplerDPMPP_SDE", "SamplerDPMPP_2M_SDE", "SamplerDPMPP_3M_SDE"):
        one, other = (advanced(sampler=call(name, noise_device=device))[0] for device in ("cpu", "gpu"))
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("guider", "inputs", "asked"),
    [
        ("BasicGuider", {"conditioning": "@positive"}, 1),
        ("CFGGuider", {"positive": "@positive", "negative": "@negative", "cfg": 1.0}, 1),
        ("CFGGuider", {"positive": "@positive", "negative": "@negative", "cfg": 2.0}, 2),
        (
            "PerpNegGuider",
            {"positive": "@positive", "negative": "@negative", "empty_conditioning": "@empty"},
            3,
        ),
    ],
)
def test_a_guider_asks_for_no_prompt_in_vain(guider: str, inputs: dict[str, Any], asked: int) -> None:
    model = toy_model()
    advanced(guider=call(guider, model=model, **inputs))
    assert cast(ToyRuntime, model.runtime).asked == [asked] * 5


def test_rescaling_the_noise_is_what_diffusers_guidance_rescale_does() -> None:
    """Its formula, on the predicted noise: std(cond) / std(cfg), mixed in by guidance_rescale."""
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg

    x, sigma = gaussian(2, 1) * 3, 2.0
    cond, uncond = gaussian(2, 2), gaussian(2, 7) * 0.4
    model = call("RescaleCFG", model=MODEL, multiplier=0.7, rescaled="eps")
    guider = call("CFGGuider", model=model, positive="@positive", negative="@negative", cfg=7.5)
    got = guider.guide(lambda *asked: (x - cond * sigma, x - uncond * sigma), x, sigma).denoised
    theirs = rescale_noise_cfg(uncond + 7.5 * (cond - uncond), cond, guidance_rescale=0.7)
    torch.testing.assert_close(got, x - theirs * sigma, rtol=1e-4, atol=1e-4)


def test_a_patched_model_forgets_between_runs() -> None:
    model = call("APG", model=MODEL, eta=0.5, norm_threshold=0.0, momentum=-0.7)
    guider = call("CFGGuider", model=model, positive="@positive", negative="@negative", cfg=6.5)
    assert torch.equal(advanced(guider=guider)[0], advanced(guider=guider)[0])


def test_perp_neg_works_at_a_scale_of_one_as_its_guider_does() -> None:
    model = call("PerpNeg", model=MODEL, empty_conditioning="@empty", neg_scale=1.5)
    patched = call("CFGGuider", model=model, positive="@positive", negative="@negative", cfg=1.0)
    guider = call(
        "PerpNegGuider",
        model=MODEL,
        positive="@positive",
        negative="@negative",
        empty_conditioning="@empty",
        cfg=1.0,
        neg_scale=1.5,
    )
    torch.testing.assert_close(advanced(guider=patched)[0], advanced(guider=guider)[0], rtol=1e-4, atol=1e-3)


def test_an_empty_positive_prompt_leaves_perp_neg_finite() -> None:
    guider = call(
        "PerpNegGuider", model=MODEL, positive="@empty", negative="@negative", empty_conditioning="@empty"
    )
    assert torch.isfinite(advanced(guider=guider)[0]).all()


@pytest.mark.parametrize(("strength", "grey"), [(1.0, 0.0), (0.0, 0.5)])
def test_a_change_map_of_black_and_white_or_of_no_strength_is_a_mask(strength: float, grey: float) -> None:
    mask = torch.full((1, 1, 6, 5), grey)
    mask[..., 3:] = 1
    latent = replace(LATENT, noise_mask=mask)
    model = call("DifferentialDiffusion", model=MODEL, strength=strength)
    assert torch.equal(advanced(guider=_cfg(model=model), latent_image=latent)[0], _masked(latent))


def _masked(latent: Latent) -> Tensor:
    return advanced(guider=_cfg(), latent_image=latent)[0]


def _cfg(**changes: Any) -> Any:
    inputs: dict[str, Any] = {"model": MODEL, "positive": "@positive", "negative": "@negative", "cfg": 2.0}
    return call("CFGGuider", **(inputs | changes))


WIDE = Conditioning((Cond(torch.zeros(1, 77, 768)),))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (lambda: {"sigmas": torch.tensor([1.0, float("nan"), 0.0])}, "finite numbers"),
        (lambda: {"sigmas": torch.tensor([1.0, 3.0, 0.5, 0.0])}, "these do both"),
        (lambda: {"sigmas": torch.tensor([1.0, 0.0, 0.0])}, "above 0 but for the last"),
        (lambda: {"sigmas": torch.tensor([[1.0, 0.0]])}, "list of finite numbers"),
        (lambda: {"latent_image": Latent(torch.zeros(1, 16, 6, 5))}, r"\[1, 16, 6, 5\]"),
        (lambda: {"latent_image": Latent(torch.full((1, 4, 6, 5), math.nan))}, "NaN"),
        (
            lambda: {"latent_image": replace(LATENT, batch_index=(1, 2))},
            "one number from 0 up for each sample",
        ),
        (lambda: {"guider": _cfg(cfg=math.nan)}, "guidance scale"),
        (lambda: {"guider": _cfg(negative=WIDE)}, "768 numbers, this model reads 1"),
        (lambda: {"guider": _cfg(positive=Conditioning(()))}, "no prompt"),
        (
            lambda: {"guider": _cfg(model=call("PerpNeg", model=MODEL, empty_conditioning=WIDE))},
            "768 numbers, this model reads 1",
        ),
        (
            lambda: {
                "guider": call(
                    "DualCFGGuider",
                    model=MODEL,
                    cond1="@positive",
                    cond2=WIDE,
                    negative="@negative",
                )
            },
            "768 numbers",
        ),
        (
            lambda: {
                "guider": call(
                    "PerpNegGuider",
                    model=MODEL,
                    positive="@positive",
                    negative="@negative",
                    empty_conditioning=prompt("empty"),
                    neg_scale=math.inf,
                )
            },
            "neg_scale",
        ),
        (lambda: {"sampler": call("SamplerLMS", order=0)}, "order"),
        (lambda: {"sampler": call("KSamplerSelect", sampler_name="eular")}, "Did you mean 'euler'"),
    ],
)
def test_what_does_not_fit_is_said(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        advanced(**changes())


def test_noise_is_refused_where_levels_make_no_sense() -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        call("AddNoise", model=MODEL, noise=Noise(1), sigmas=torch.tensor([math.nan]), latent_image=LATENT)
