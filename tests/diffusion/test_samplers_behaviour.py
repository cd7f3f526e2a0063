"""What every sampler does: converge, end at data, yield its steps, take its options and refuse others."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.sampling.samplers import SAMPLER_NAMES, SAMPLERS, Step, run_steps, sampler_with
from tests.diffusion.toys import MEAN, SPREAD, Unguided, curved, gaussian, gaussian_flow, run, start

LEVELS = [14.6, 9.0, 5.0, 2.5, 1.2, 0.6, 0.2, 0.0]
RANDOM = tuple(
    name
    for name in SAMPLER_NAMES
    if "ancestral" in name
    or "sde" in name
    or name.startswith(("seeds", "sa_solver"))
    or name in ("ddpm", "lcm")
)
FLOW: dict[str, dict[str, Any]] = {name: {} for name in SAMPLER_NAMES if name not in RANDOM}
FLOW |= {name: {"eta": 0.0} for name in RANDOM if name not in ("ddpm", "lcm")}
FLOW["er_sde"] = {"solver_type": "ODE"}
# As existing workflows have it, this one takes what guidance adds to x from two places: it follows nothing exactly.
INEXACT = "dpmpp_2s_ancestral_cfg_pp"
del FLOW[INEXACT]
"""Options under which a sampler follows the probability flow."""
FIRST_ORDER = {"euler", "euler_cfg_pp", "euler_ancestral", "euler_ancestral_cfg_pp", "ddim", "heunpp2"} | {
    "gradient_estimation",
    "gradient_estimation_cfg_pp",
    "er_sde",  # for its integrals are sums over as many points in a short step as in a long one
}
THIRD_ORDER = {"plms", "seeds_3"}
DIVIDING = {
    name
    for name in SAMPLER_NAMES
    if name.startswith(("dpmpp_2m", "dpmpp_3m", "res", "er_sde", "seeds", "sa_solver", "uni_pc"))
    or name in ("lms", "ipndm_v", "deis")
}
"""Those that divide by the length of steps."""
OWN_STEPS = "dpm_adaptive"


def _order(name: str) -> int:
    return 1 if name in FIRST_ORDER else 3 if name in THIRD_ORDER else 2


@pytest.mark.parametrize("name", [name for name in FLOW if name != OWN_STEPS])
def test_error_shrinks_at_least_with_the_order_of_the_method(name: str) -> None:
    x = start() * 5
    exact = gaussian_flow(x, 3.0, 0.2)
    grids = (torch.linspace(3.0, 0.2, n + 1, dtype=torch.float64) for n in (33, 264))
    errors = [(run(name, grid, x=x, denoise=gaussian, **FLOW[name]) - exact).norm() for grid in grids]
    assert math.log(float(errors[0] / errors[1]), 8) > _order(name) - 0.25


def test_the_adaptive_sampler_keeps_to_its_tolerance() -> None:
    x = start() * 3
    exact = gaussian_flow(x, 3.0, 0.5)
    errors = [
        float(
            (run(OWN_STEPS, [3.0, 1.0, 0.5], x=x, denoise=gaussian, rtol=rtol, atol=rtol) - exact).abs().max()
        )
        for rtol in (1e-2, 1e-4, 1e-6)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-5


@pytest.mark.parametrize(
    "name", [name for name in RANDOM if name not in ("lcm", INEXACT) and not name.endswith("_gpu")]
)
def test_random_samplers_draw_from_the_data(name: str) -> None:
    x = 20 * torch.randn(1, 4, 30, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    sigmas = torch.logspace(math.log10(20), -2, 120, dtype=torch.float64)
    drawn = run(name, [*sigmas.tolist(), 0.0], x=x, denoise=gaussian, seed=2)
    assert float(drawn.mean()) == pytest.approx(MEAN, abs=0.03)
    assert float(drawn.std()) == pytest.approx(SPREAD, rel=0.06)


@pytest.mark.parametrize("name", FLOW)
def test_along_the_flow_the_end_is_clean_data(name: str) -> None:
    x = start() * 20
    sigmas = torch.logspace(math.log10(20), -2, 40, dtype=torch.float64).tolist()
    found = run(name, [*sigmas, 0.0], x=x, denoise=gaussian, **FLOW[name])
    torch.testing.assert_close(found, gaussian_flow(x, 20.0, 0.0), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", FLOW)
def test_along_the_flow_nothing_is_random(name: str) -> None:
    x = start() * LEVELS[0]
    results = [run(name, LEVELS, x=x, seed=seed, **FLOW[name]) for seed in (0, 1)]
    assert torch.equal(*results)


@pytest.mark.parametrize("name", RANDOM)
def test_the_seed_decides_what_is_random(name: str) -> None:
    x = start() * LEVELS[0]
    first, again, other = (run(name, LEVELS, x=x, seed=seed) for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-2)


@pytest.mark.parametrize("name", [name for name in FLOW if name.endswith("_cfg_pp")])
def test_with_nothing_to_lead_away_from_cfg_pp_is_the_plain_sampler(name: str) -> None:
    x = start() * LEVELS[0]
    torch.testing.assert_close(run(name, LEVELS, x=x), run(name.removesuffix("_cfg_pp"), LEVELS, x=x))


@pytest.mark.parametrize("name", [name for name in SAMPLER_NAMES if name.endswith("_gpu")])
def test_where_noise_is_drawn_makes_no_difference(name: str) -> None:
    assert SAMPLERS[name] == SAMPLERS[name.removesuffix("_gpu")]


def _steps(name: str, levels: list[float], **options: Any) -> list[Step]:
    x, sigmas, sampler = start(), torch.tensor(levels), sampler_with(name, **options)
    steps = list(sampler.steps(Unguided(gaussian), x, sigmas, sampler.noise(x, sigmas, 0)))
    assert all(torch.isfinite(step.x).all() and step.denoised.shape == x.shape for step in steps)
    assert x.equal(start()), "a sampler does not write to what it is given"
    return steps


@pytest.mark.parametrize("name", [name for name in SAMPLER_NAMES if name != OWN_STEPS])
@pytest.mark.parametrize("levels", [LEVELS, LEVELS[:-1], LEVELS[:-2], [2.0, 0.0], [2.0, 1.0], [2.0]])
def test_a_step_is_yielded_for_each_interval(name: str, levels: list[float]) -> None:
    assert len(_steps(name, levels)) == len(levels) - 1


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_one_step_to_zero_ends_at_x0(name: str) -> None:
    (step,) = _steps(name, [2.0, 0.0])
    torch.testing.assert_close(step.x, gaussian(start(), 2.0), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_more_noise_can_be_added_as_well(name: str) -> None:
    """Levels that rise, as FlipSigmas makes them of a schedule: along the flow, the way back."""
    x, rising = start(), torch.linspace(0.5, 3.0, 65, dtype=torch.float64)
    if name in FLOW:
        found = run(name, rising, x=x, denoise=gaussian, **FLOW[name])
        torch.testing.assert_close(found, gaussian_flow(x, 0.5, 3.0), rtol=0.05, atol=0.1)
    else:
        assert torch.isfinite(run(name, rising, x=x, denoise=gaussian)).all()


@pytest.mark.parametrize("levels", [LEVELS, [*LEVELS[:2], 1.0]])
def test_the_adaptive_sampler_says_how_far_it_has_come(levels: list[float]) -> None:
    steps = _steps(OWN_STEPS, levels)
    shares = [step.share for step in steps if step.share is not None]
    assert len(shares) == len(steps) > 1
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert shares[0] < 0.2
    assert _steps(OWN_STEPS, [2.0]) == []


def test_the_driver_counts_by_the_share_that_is_done() -> None:
    x, reports = start(), list[int]()
    steps = [Step(x, x, share) for share in (0.1, 0.2, 0.5, 0.5, 1.0)]
    run_steps(iter(steps), x, total=5, on_step=lambda done, total, denoised: reports.append(done))
    assert reports == [0, 1, 2, 2, 5]


@pytest.mark.parametrize("calls", range(1, 9))
def test_the_fast_sampler_makes_as_many_calls_as_steps_were_asked_for(calls: int) -> None:
    seen = list[float]()

    def denoise(x: Tensor, sigma: float) -> Tensor:
        seen.append(sigma)
        return gaussian(x, sigma)

    run("dpm_fast", torch.linspace(3.0, 0.5, calls + 1), x=start(), denoise=denoise)
    assert len(seen) == calls
    assert seen == sorted(seen, reverse=True)


def test_those_that_look_between_levels_leave_out_the_last_but_one() -> None:
    leaving = {name for name in SAMPLER_NAMES if SAMPLERS[name].discard_penultimate}
    assert leaving == {"dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2"}


def test_names_are_in_the_fields_order() -> None:
    expected = (
        "euler euler_cfg_pp euler_ancestral euler_ancestral_cfg_pp heun heunpp2 dpm_2 dpm_2_ancestral lms dpm_fast "
        "dpm_adaptive dpmpp_2s_ancestral dpmpp_2s_ancestral_cfg_pp dpmpp_sde dpmpp_sde_gpu dpmpp_2m dpmpp_2m_cfg_pp "
        "dpmpp_2m_sde dpmpp_2m_sde_gpu dpmpp_2m_sde_heun dpmpp_2m_sde_heun_gpu dpmpp_3m_sde dpmpp_3m_sde_gpu ddpm lcm "
        "ipndm ipndm_v deis res_multistep res_multistep_cfg_pp res_multistep_ancestral res_multistep_ancestral_cfg_pp "
        "gradient_estimation gradient_estimation_cfg_pp er_sde seeds_2 seeds_3 sa_solver sa_solver_pece ddim uni_pc "
        "uni_pc_bh2 plms"
    )
    assert " ".join(SAMPLER_NAMES) == expected


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("eular", {}, "Did you mean 'euler'"),
        ("euler_ancestral", {"etta": 1.0}, "euler_ancestral has no option etta; it has eta, s_noise"),
        ("dpmpp_2m", {"eta": 1.0, "r": 2}, "dpmpp_2m has no option eta, r; it has none"),
        ("euler", {"noise": 0}, "no option noise"),
        ("dpmpp_2m_sde", {"solver_type": "huen"}, "solver_type.*'midpoint', 'heun'.*'huen'"),
        ("er_sde", {"solver_type": "SDE"}, "solver_type.*'ER-SDE', 'Reverse-time SDE', 'ODE'.*'SDE'"),
        ("seeds_2", {"solver_type": 2}, "solver_type"),
        ("euler_ancestral", {"eta": float("nan")}, "eta must be a number"),
        ("euler_ancestral", {"eta": "1"}, "eta must be a number"),
        ("lms", {"order": 2.5}, "order must be a whole number"),
        ("lms", {"order": True}, "order must be a whole number"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sampler_with(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lms", {"order": 0}, "order of lms"),
        ("ipndm", {"max_order": 5}, "1, 2, 3 or 4; got 5"),
        ("ipndm_v", {"max_order": 0}, "1, 2, 3 or 4; got 0"),
        ("deis", {"max_order": 5}, "1, 2, 3 or 4; got 5"),
        ("dpmpp_sde", {"r": 0.0}, "above 0"),
        ("seeds_2", {"r": 1.5}, "up to 1"),
        ("seeds_3", {"r_1": 0.7}, "0 < r_1 < r_2 < 1"),
        ("er_sde", {"max_stage": 4}, "1, 2 or 3; got 4"),
        ("sa_solver", {"predictor_order": 0}, "predictor_order of 1 or more"),
        ("dpm_adaptive", {"order": 4}, "2 or 3; got 4"),
        ("dpm_adaptive", {"h_init": 0.0}, "h_init"),
        ("dpm_adaptive", {"rtol": 0.0, "atol": 0.0}, "Raise rtol"),
    ],
)
def test_values_out_of_range_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(name, LEVELS, x=start(), **options)


def _rough(x: Tensor, sigma: float) -> Tensor:
    return torch.sin(x * 1e6) * 1e6


def _broken(x: Tensor, sigma: float) -> Tensor:
    return x * math.nan


@pytest.mark.parametrize("denoise", [_rough, _broken])
def test_the_adaptive_sampler_gives_up_where_it_gets_nowhere(
    denoise: Callable[[Tensor, float], Tensor],
) -> None:
    with pytest.raises(ValueError, match="cannot follow this model"):
        run(OWN_STEPS, LEVELS, x=start(), denoise=denoise)


@pytest.mark.parametrize("name", ["dpm_fast", OWN_STEPS])
def test_upward_there_is_no_noise_to_add(name: str) -> None:
    with pytest.raises(ValueError, match="eta must be 0"):
        run(name, [1.0, 2.0, 3.0], x=start(), eta=0.5)


@pytest.mark.parametrize("name", SAMPLER_NAMES)
def test_equal_levels_give_a_result_or_a_reason(name: str) -> None:
    levels = [4.0, 2.0, 2.0, 1.0, 0.0]
    if name in DIVIDING:
        with pytest.raises(ValueError, match="equal noise levels"):
            run(name, levels, x=start())
    else:
        assert torch.isfinite(run(name, levels, x=start())).all()


def test_cfg_pp_needs_a_prediction_without_the_prompt() -> None:
    class Single(Unguided):
        def guided(self, x: Tensor, sigma: float, *, with_uncond: bool = False) -> Any:
            from diffusion.sampling.guidance import Guided

            return Guided(self.denoise(x, sigma))

    x, sigmas, sampler = start(), torch.tensor(LEVELS), SAMPLERS["euler_cfg_pp"]
    with pytest.raises(ValueError, match="negative prompt"):
        list(sampler.steps(Single(curved), x, sigmas, sampler.noise(x, sigmas, 0)))
