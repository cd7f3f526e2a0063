"""Guidance held to the size of what it started from, so that high scales do not burn pictures out."""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.sampling.transforms.stages import Predicted, classifier_free

_PER_SAMPLE = (1, 2, 3)


@dataclass(frozen=True)
class Rescale:
    """The guided output brought to the deviation of the output with the prompt (Lin et al. 2023, section 3.4).

    multiplier: 0..1, how much of the rescaled one is mixed in (their phi). of_noise: rescale the predicted noise, as
    diffusers' and DiffSynth's guidance_rescale do, in place of v, as ComfyUI's RescaleCFG does.
    """

    multiplier: float
    of_noise: bool = False

    def __call__(self, seen: Predicted) -> Tensor:
        if seen.uncond is None:
            return seen.cond
        sigma = seen.sigma
        # v and the noise differ from (a x - x0) by a factor alone, which the ratio of deviations does not see.
        kept = seen.x if self.of_noise else seen.x / (sigma**2 + 1)
        cond = kept - seen.cond
        guided = kept - classifier_free(seen)
        rescaled = guided * (_deviation(cond) / _deviation(guided))
        return kept - torch.lerp(guided, rescaled, self.multiplier)


@dataclass(frozen=True)
class Renormalize:
    """The guided x0 held to `limit` times the length of x0 with the prompt; above a level, no guidance at all.

    limit: 0 holds nothing. until: the level from which on the prompt alone is followed. Both from Lumina-Image 2.0
    (Qin et al. 2025).
    """

    until: float
    limit: float

    def __call__(self, seen: Predicted) -> Tensor:
        if seen.sigma >= self.until:
            return seen.cond
        guided = classifier_free(seen)
        if self.limit <= 0:
            return guided
        longest = self.limit * _length(seen.cond, _PER_SAMPLE)
        length = _length(guided, _PER_SAMPLE)
        return torch.where(length >= longest, guided * (longest / length), guided)


@dataclass(frozen=True)
class Normalize:
    """At each place no longer, over the channels, than x0 with the prompt; then times `strength`."""

    strength: float

    def __call__(self, seen: Predicted, denoised: Tensor) -> Tensor:
        ratio = _length(seen.cond, 1) / (_length(denoised, 1) + 1e-8)
        return denoised * ratio.clamp(0.0, 1.0) * self.strength


@dataclass(frozen=True)
class ScaleNoise:
    """The predicted noise divided by `factor` (Ning et al. 2024, "Elucidating the Exposure Bias", section 5)."""

    factor: float

    def __call__(self, seen: Predicted, denoised: Tensor) -> Tensor:
        return seen.x - (seen.x - denoised) / self.factor


def _deviation(tensor: Tensor) -> Tensor:
    return tensor.std(dim=_PER_SAMPLE, keepdim=True)


def _length(tensor: Tensor, dim: int | tuple[int, ...]) -> Tensor:
    return torch.linalg.vector_norm(tensor, dim=dim, keepdim=True)
