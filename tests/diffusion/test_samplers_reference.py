"""Every sampler against what ComfyUI's own function of that name made of the same denoiser, levels and noise.

tests/data/samplers/results.safetensors holds those results on `Toy` from seeded noise, in float64 and in float32, with
the sampler, its options and its levels under `cases` in the metadata. Of sa_solver to levels above zero it holds what
a next step would begin with: the function itself returns the sample of the step before.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from diffusion.sampling.samplers import SAMPLER_NAMES, run_steps, sampler_with
from tests.diffusion.reference import relative_error
from tests.diffusion.toys import Toy

FILE = Path(__file__).parent.parent / "data" / "samplers" / "results.safetensors"
SEED = 5
COARSE = 1e-7
"""How near float64 results come where the reference rounds times of Brownian motion, or sums; elsewhere 1e-9."""


def _cases() -> list[dict[str, Any]]:
    with safe_open(FILE, "pt") as content:
        cases: list[dict[str, Any]] = json.loads(content.metadata()["cases"])
    return cases


CASES = _cases()


def _name(case: dict[str, Any]) -> str:
    options = " ".join(f"{name}={value}" for name, value in case["options"].items())
    return f"{case['sampler']} {case['schedule']} {options}".strip()


def _run(case: dict[str, Any], sigmas: Tensor, dtype: torch.dtype) -> Tensor:
    sigmas = sigmas.to(dtype)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 3, 2, generator=generator, dtype=torch.float64).to(dtype) * sigmas[0]
    sampler = sampler_with(case["sampler"], **case["options"])
    steps = sampler.steps(Toy(), x, sigmas, sampler.noise(x, sigmas, SEED))
    return run_steps(steps, x, total=len(sigmas) - 1)


@pytest.mark.parametrize("number", range(len(CASES)), ids=[_name(case) for case in CASES])
def test_sampler_agrees_with_the_reference(number: int) -> None:
    case = CASES[number]
    with safe_open(FILE, "pt") as content:
        sigmas = content.get_tensor(f"sigmas.{case['schedule']}")
        double, single = (content.get_tensor(f"{number}.{precision}") for precision in ("fp64", "fp32"))
    limit = COARSE if "_sde" in case["sampler"] else 1e-9
    assert relative_error(_run(case, sigmas, torch.float64), double) < limit
    assert relative_error(_run(case, sigmas, torch.float32), single) < 1e-5


def test_every_sampler_has_a_reference() -> None:
    # plms is not among ComfyUI's samplers: test_samplers_published holds it to its own. The _gpu names are aliases.
    named = {name for name in SAMPLER_NAMES if name != "plms" and not name.endswith("_gpu")}
    assert {case["sampler"] for case in CASES} == named
