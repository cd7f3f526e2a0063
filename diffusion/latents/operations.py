"""Operations that flow along links as values: a latent's samples in, changed samples out.

The channels of a cell are one vector, whose length is taken for its brightness.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.latents.checks import checked, finite
from diffusion.sampling.transforms.stages import Predicted
from diffusion.types import Latent


class LatentOperation(Protocol):
    """[B, C, h, w] -> the same shape. An immutable value."""

    def __call__(self, samples: Tensor) -> Tensor: ...


def apply_operation(latent: Latent, operation: LatentOperation) -> Latent:
    """The latent with its samples changed by the operation."""
    return replace(latent, samples=finite(operation(checked(latent))))


@dataclass(frozen=True)
class Tonemap:
    """Compress the lengths of vectors (Reinhard et al. 2002), so that strong guidance does not burn out.

    multiplier: of the highest length that comes out, which is each sample's mean plus 5 standard deviations; 0..100.
    """

    multiplier: float

    def __call__(self, samples: Tensor) -> Tensor:
        if self.multiplier == 0:
            raise ValueError(
                "A tonemap with a multiplier of 0 leaves nothing of the latent: choose one above 0."
            )
        length = samples.norm(dim=1, keepdim=True) + 1e-10
        correction = min(1, length[0].numel() - 1)
        mean = length.mean((1, 2, 3), keepdim=True)
        deviation = length.std((1, 2, 3), keepdim=True, correction=correction)
        top = (deviation * 5 + mean) * self.multiplier
        scaled = length / top
        return samples / length * (scaled / (scaled + 1) * top)


@dataclass(frozen=True)
class Sharpen:
    """Unsharp masking of directions, lengths kept: what differs from a Gaussian blur is made to differ more.

    radius: of the blur, in cells, 1..31. sigma: its width, as a share of the radius. alpha: how much, 0..5.
    """

    radius: int
    sigma: float
    alpha: float

    def __call__(self, samples: Tensor) -> Tensor:
        if min(samples.shape[-2:]) <= self.radius:
            raise ValueError(
                f"A latent of {samples.shape[-1]}x{samples.shape[-2]} cells is too small to sharpen with a radius of "
                f"{self.radius}: choose one below {min(samples.shape[-2:])}."
            )
        channels, length = samples.shape[1], samples.norm(dim=1, keepdim=True) + 1e-6
        kernel = self._kernel().to(samples).expand(channels, 1, -1, -1)
        padded = F.pad(samples / length, (self.radius,) * 4, mode="reflect")
        return length * F.conv2d(padded, kernel, groups=channels)

    def _kernel(self) -> Tensor:
        """[2 radius + 1, 2 radius + 1], of sum 1: the identity minus 10 alpha times a Gaussian without its centre."""
        distance = torch.linspace(-1, 1, 2 * self.radius + 1)
        gaussian = torch.exp(-(distance[:, None] ** 2 + distance**2) / (2 * self.sigma**2))
        kernel = gaussian / gaussian.sum() * (-10 * self.alpha)
        centre = kernel[self.radius, self.radius].clone()
        kernel[self.radius, self.radius] = centre - kernel.sum() + 1
        return kernel


@dataclass(frozen=True)
class OnGuidance:
    """An operation applied to what guidance adds to the prediction without the prompt, before it is scaled."""

    operation: LatentOperation

    def __call__(self, seen: Predicted) -> Predicted:
        if seen.uncond is None:
            return replace(seen, cond=self.operation(seen.cond))
        return replace(seen, cond=self.operation(seen.cond - seen.uncond) + seen.uncond)
