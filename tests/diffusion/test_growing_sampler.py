"""The sampler whose latent grows: against its rule written out, for every method, and with a whole model around it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.latents.resize import METHODS, bislerp
from diffusion.sampling.samplers import run_steps
from diffusion.sampling.samplers.growing import Growth, growing_lcm
from tests.diffusion.toys import Unguided, curved
from tests.nodes.toys import ToyRuntime, call, toy_latent, toy_model

SIGMAS = torch.tensor([14.6, 7.0, 3.0, 1.0, 0.4, 0.0], dtype=torch.float64)
SEED = 5


def start() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 6, 10, generator=generator, dtype=torch.float64) * SIGMAS[0]


def written_out(x: Tensor, sigmas: Tensor, ratio: float, steps: int, method: str) -> Tensor:
    """Predict, resize by the next of `steps` evenly spaced factors, add noise; until the levels end."""
    generator = torch.Generator().manual_seed(SEED)
    height, width = x.shape[-2:]
    factors = np.linspace(1.0, ratio, steps + 1)[1:]
    for number in range(len(sigmas) - 1):
        x = curved(x, float(sigmas[number]))
        if number < len(factors):
            size = (round(height * factors[number]), round(width * factors[number]))
            x = bislerp(x, size[1], size[0]) if method == "bislerp" else F.interpolate(x, size, mode=method)
        if sigmas[number + 1] > 0:
            x = x + torch.randn(x.shape, generator=generator, dtype=x.dtype) * sigmas[number + 1]
    return x


def run(growth: Growth, sigmas: Tensor = SIGMAS) -> tuple[Tensor, list[tuple[int, int]]]:
    sampler, x, seen = growing_lcm(growth), start(), list[tuple[int, int]]()

    def denoise(value: Tensor, sigma: float) -> Tensor:
        seen.append((value.shape[2], value.shape[3]))
        return curved(value, sigma)

    steps = sampler.steps(Unguided(denoise), x, sigmas, sampler.noise(x, sigmas, SEED))
    return run_steps(steps, x, total=len(sigmas) - 1), seen


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("ratio", "steps", "resizings"),
    [(2.0, None, 3), (1.7, 1, 1), (2.0, 4, 4), (0.5, 2, 2), (1.0, None, 3), (3.0, 50, 6), (2.0, 0, 0)],
)
def test_it_follows_its_rule(ratio: float, steps: int | None, resizings: int, method: str) -> None:
    found, _ = run(Growth(ratio, steps, method))
    expected = written_out(start(), SIGMAS, ratio, resizings, method)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_first_steps_are_small() -> None:
    found, seen = run(Growth(2.0, 3, "bilinear"))
    assert seen == [(6, 10), (8, 13), (10, 17), (12, 20), (12, 20)]
    assert found.shape == (2, 4, 12, 20)


def test_levels_may_end_above_zero() -> None:
    found, _ = run(Growth(2.0, 2, "area"), SIGMAS[:3])
    torch.testing.assert_close(found, written_out(start(), SIGMAS[:3], 2.0, 2, "area"))


def test_a_size_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be made"):
        run(Growth(0.05, 1, "area"))


def sampled(latent: object, **options: object) -> Tensor:
    model = toy_model()
    output, _ = call(
        "SamplerCustom",
        model=model,
        noise_seed=SEED,
        cfg=3.0,
        positive="@positive",
        negative="@negative",
        sampler=call("SamplerLCMUpscale", **options),
        sigmas=SIGMAS.float(),
        latent_image=latent,
    )
    assert isinstance(model.runtime, ToyRuntime)
    assert len(model.runtime.asked) == len(SIGMAS) - 1
    samples: Tensor = output.samples
    return samples


def test_as_a_node_it_gives_a_larger_latent() -> None:
    height, width = toy_latent().samples.shape[2:]
    assert sampled(toy_latent(), scale_ratio=2.0).shape[2:] == (2 * height, 2 * width)
    assert sampled(toy_latent(), scale_ratio=2.0, scale_steps=0).shape[2:] == (height, width)


def test_without_growth_it_is_lcm() -> None:
    lcm = call(
        "SamplerCustom",
        model=toy_model(),
        noise_seed=SEED,
        cfg=3.0,
        positive="@positive",
        negative="@negative",
        sampler=call("KSamplerSelect", sampler_name="lcm"),
        sigmas=SIGMAS.float(),
        latent_image=toy_latent(),
    )[0]
    assert torch.equal(sampled(toy_latent(), scale_ratio=1.0), lcm.samples)


def test_a_mask_is_refused() -> None:
    masked = call("SetLatentNoiseMask", samples=toy_latent(), mask=torch.ones(1, 48, 40))
    with pytest.raises(ValueError, match="noise mask cannot follow"):
        sampled(masked, scale_ratio=2.0)
