"""Seeded random numbers: the noise that sampling starts from and that random samplers add.

Drawn on the CPU in float32 whatever the device, so that a seed gives the same picture everywhere.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

StepNoise = Callable[[float, float], Tensor]
"""(sigma, next sigma) -> unit normal noise of x's shape; a new draw at each call."""

NoiseSource = Callable[[Tensor, Tensor, int], StepNoise]
"""(x, sigmas, seed) -> the noise of one run. x says shape, dtype and device."""

CPU = torch.device("cpu")
_SEEDS = 1 << 64

_MOST_DRAWS = 100_000
"""Of one sample each, all of which are made to come to the last."""

_TREE_DIGITS = 6
"""torchsde's trees tell times apart to so many decimal places."""


def initial_noise(
    samples: Tensor, seed: int, batch_index: Sequence[int] | None = None, *, device: torch.device = CPU
) -> Tensor:
    """Unit normal noise shaped like `samples` [B, C, h, w]; float32, drawn on `device` (each kind draws others).

    batch_index: sample i gets the batch_index[i]-th of the seed's draws of one sample each; without it, one draw makes
    the whole batch (so sample 0 of a batch does not equal the same seed's batch of one, except by batch_index).
    """
    generator = seeded(seed, device)
    if batch_index is None:
        return torch.randn(samples.shape, generator=generator, device=device)
    if len(batch_index) != len(samples) or min(batch_index, default=0) < 0:
        raise ValueError(
            f"A latent's batch_index holds one number from 0 up for each sample: got {list(batch_index)} "
            f"for {len(samples)} samples."
        )
    if max(batch_index, default=0) >= _MOST_DRAWS:
        raise ValueError(
            f"A latent's batch_index asks for draw {max(batch_index)} of its seed; {_MOST_DRAWS - 1} is the last that "
            "can be waited for. Take it off with LatentBatchSeedBehavior, and choose another seed."
        )
    wanted = set(batch_index)
    draws = {}
    for i in range(max(wanted) + 1):
        draw = torch.randn((1, *samples.shape[1:]), generator=generator, device=device)
        if i in wanted:
            draws[i] = draw
    return torch.cat([draws[i] for i in batch_index])


def independent_noise(x: Tensor, sigmas: Tensor, seed: int) -> StepNoise:
    """Noise for ancestral samplers: independent draws from one generator.

    It is seeded like the initial noise, so the first draw repeats that noise (unless batch_index made it): pictures of
    existing workflows depend on it.
    """
    generator = seeded(seed)
    return lambda sigma, after: torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)


def brownian_noise(x: Tensor, sigmas: Tensor, seed: int) -> StepNoise:
    """Noise for the DPM-Solver++ SDE family: increments of one Brownian motion whose time is the noise level.

    The motion belongs to the seed and to the highest and lowest level, so runs of different length over the same levels
    follow the same path. Levels outside that range count as its ends. Torchsde's Brownian tree, float32 times.
    """
    levels = sorted(sigma for sigma in sigmas.tolist() if sigma > 0) or [1.0]
    lowest, highest = (round(level, _TREE_DIGITS) for level in (levels[0], levels[-1]))
    # Heavy and needed by these samplers alone.
    from torchsde import BrownianTree

    start = torch.zeros_like(x, device="cpu")
    tree = BrownianTree(t0=lowest, w0=start, t1=highest, entropy=seed % _SEEDS)

    def increment(sigma: float, after: float) -> Tensor:
        low, high = sorted((_float32(sigma), _float32(after)))
        if low == high:
            return torch.zeros_like(x)
        ends = (min(max(time, lowest), highest) for time in (low, high))
        motion: Tensor = tree(*ends)
        return (motion if sigma < after else -motion).to(x.device) / math.sqrt(high - low)

    return increment


def _float32(number: float) -> float:
    return float(torch.tensor(number, dtype=torch.float32))


def seeded(seed: int, device: torch.device = CPU) -> torch.Generator:
    """A generator on `device`. Seeds are taken modulo 2^64."""
    return torch.Generator(device).manual_seed(seed % _SEEDS)
