"""Guidance by its direction: parts of it weakened, dropped or filtered."""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.sampling.transforms.stages import Predicted

_PER_SAMPLE = (1, 2, 3)


@dataclass(frozen=True, eq=False)
class AdaptiveProjection:
    """The part of guidance along x0 itself weakened (Sadat et al. 2024, "APG", algorithm 1).

    eta: how much of that part is kept, 1 all. norm_threshold: the longest guidance may be, 0 any. momentum: of the
    earlier guidance added to each, negative to lead away from it, 0 none; forgotten where the level rises.
    """

    eta: float
    norm_threshold: float
    momentum: float

    def __call__(self, seen: Predicted) -> Predicted:
        if seen.uncond is None or seen.scale == 0:
            return seen
        difference = seen.cond - seen.uncond
        guidance = self._shortened(self._with_momentum(seen, difference))
        along = seen.cond / _length(seen.cond).clamp(min=1e-12)
        parallel = (guidance * along).sum(dim=_PER_SAMPLE, keepdim=True) * along
        changed = guidance - parallel + self.eta * parallel
        return replace(seen, cond=seen.uncond + changed + difference / seen.scale)

    def _with_momentum(self, seen: Predicted, guidance: Tensor) -> Tensor:
        if self.momentum == 0:
            return guidance
        earlier, level = seen.memory.get(self, (None, seen.sigma))
        if earlier is not None and seen.sigma <= level:
            guidance = self.momentum * earlier + guidance
        seen.memory[self] = guidance, seen.sigma
        return guidance

    def _shortened(self, guidance: Tensor) -> Tensor:
        if self.norm_threshold <= 0:
            return guidance
        return guidance * (self.norm_threshold / _length(guidance)).clamp(max=1.0)


def tangentially_damped(seen: Predicted) -> Predicted:
    """The negative score without what the two scores do not share (Kwon et al. 2025, "TCFG", algorithm 1)."""
    if seen.uncond is None:
        return seen
    scores = torch.stack([seen.x - seen.uncond, seen.x - seen.cond], dim=1).flatten(2)  # (B, 2, C h w)
    shared = torch.linalg.svd(scores, full_matrices=False).Vh[:, :1]
    damped = (scores[:, :1] @ shared.mT) @ shared
    return replace(seen, uncond=seen.x - damped.reshape_as(seen.uncond))


def scaled_from_zero(seen: Predicted, denoised: Tensor) -> Tensor:
    """uncond scaled to lie nearest to cond before guidance starts from it (Fan et al. 2025, "CFG-Zero*", eq. 8)."""
    if seen.uncond is None:
        return denoised
    cond, uncond = (seen.x - part for part in (seen.cond, seen.uncond))
    product = (cond * uncond).sum(dim=_PER_SAMPLE, keepdim=True)
    best = product / (uncond.square().sum(dim=_PER_SAMPLE, keepdim=True) + 1e-8)
    return denoised + seen.uncond * (best - 1.0) * (1.0 - seen.scale)


def toward_the_prompt(seen: Predicted, denoised: Tensor) -> Tensor:
    """Mixed with cond times the scale, the less the better uncond agrees with that (yoinked's "Mahiro").

    How well is one number for the whole batch.
    """
    if seen.uncond is None:
        return denoised
    leap = seen.cond * seen.scale
    merged = (leap + denoised) / 2
    likeness = F.cosine_similarity(_signed_root(seen.uncond * seen.scale), _signed_root(merged)).mean()
    weight = (likeness + 1) / 2
    return weight * denoised + (1 - weight) * leap


@dataclass(frozen=True)
class ScaleFrequencies:
    """Guidance scaled apart at low and at high frequencies (Huang et al. 2025, "FreSca").

    cutoff: how many frequencies on either side of zero are low.
    """

    low: float
    high: float
    cutoff: int

    def __call__(self, seen: Predicted) -> Predicted:
        if seen.uncond is None:
            return seen
        spectrum = torch.fft.fftshift(torch.fft.fft2(seen.cond - seen.uncond), dim=(-2, -1))
        factors = torch.full(spectrum.shape[-2:], self.high, device=spectrum.device)
        rows, columns = (self._low_range(size) for size in factors.shape)
        factors[rows, columns] = self.low
        filtered = torch.fft.ifft2(torch.fft.ifftshift(spectrum * factors, dim=(-2, -1))).real
        return replace(seen, cond=seen.uncond + filtered)

    def _low_range(self, size: int) -> slice:
        middle = size // 2
        reach = min(self.cutoff, middle)
        return slice(middle - reach, middle + reach)


def _length(tensor: Tensor) -> Tensor:
    return torch.linalg.vector_norm(tensor, dim=_PER_SAMPLE, keepdim=True)


def _signed_root(tensor: Tensor) -> Tensor:
    return tensor.abs().sqrt() * tensor.sign()
