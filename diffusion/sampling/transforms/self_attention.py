"""Self-attention guidance: away from a picture blurred where the UNet looks most (Hong et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.networks.attachments import Call, Hooks, HooksForCall, SelfAttend, Spot
from diffusion.sampling.transforms.stages import Memory, Predicted
from diffusion.types import Conditioning

_KERNEL = 9
"""Cells of the blur's kernel, as published."""
_THRESHOLD = 1.0
"""A place is looked at when what all others give it adds up to more than this."""

Maps = dict[Conditioning, Tensor]
"""How much each place of the middle block is looked at, [B, h, w] float32, under each conditioning."""


@dataclass(frozen=True)
class SelfAttention:
    """A change after combination, which watches the prediction. scale: how far to go (eq. 16); one more call a step.

    blur: the standard deviation of the blur, in cells of the latent; 0 blurs nothing.
    """

    scale: float
    blur: float

    def watch(self, memory: Memory) -> HooksForCall:
        """What keeps the attention of the middle block in the run's memory."""
        maps: Maps = memory.setdefault(self, {})
        return partial(_recording, maps)

    def __call__(self, seen: Predicted, denoised: Tensor) -> Tensor:
        if seen.uncond is None or seen.negative is None:
            raise ValueError(
                "Self-attention guidance leads away from what is drawn without the prompt: use a guider with a "
                "negative prompt, such as CFGGuider, or KSampler."
            )
        if min(seen.x.shape[-2:]) <= _KERNEL // 2:
            raise ValueError(
                f"Self-attention guidance blurs over {_KERNEL // 2} cells each way, and this latent is "
                f"{seen.x.shape[-1]}x{seen.x.shape[-2]}: give a side more than {8 * (_KERNEL // 2)} pixels."
            )
        looked_at = seen.memory[self][seen.negative] > _THRESHOLD
        mask = F.interpolate(looked_at[:, None].float(), seen.x.shape[-2:])
        degraded = torch.lerp(seen.uncond, blurred(seen.uncond, self.blur), mask)
        (predicted,) = seen.predict(degraded + seen.x - seen.uncond, seen.sigma, [seen.negative])
        return denoised + (degraded - predicted) * self.scale


def blurred(x: Tensor, deviation: float) -> Tensor:
    """x [B, C, h, w] under a Gaussian of 9 x 9 cells, mirrored at the edges."""
    if deviation <= 0:
        return x
    places = torch.arange(_KERNEL, device=x.device, dtype=x.dtype) - _KERNEL // 2
    weights = torch.exp(-0.5 * (places / deviation) ** 2)
    kernel = torch.outer(weights, weights) / weights.sum() ** 2
    channels = x.shape[1]
    padded = F.pad(x, [_KERNEL // 2] * 4, mode="reflect")
    return F.conv2d(padded, kernel.expand(channels, 1, -1, -1), groups=channels)


def _recording(maps: Maps, call: Call) -> Hooks:
    return Hooks(self_attention=(partial(_recorded, maps, call),))


def _recorded(maps: Maps, call: Call, attend: SelfAttend, tokens: Tensor, spot: Spot) -> Tensor:
    if spot.place.part == "middle":
        for owner, rows in zip(call.owners, tokens.chunk(len(call.owners)), strict=True):
            maps[call.asked[owner]] = _looked_at(rows, spot)
    return attend(tokens)


def _looked_at(tokens: Tensor, spot: Spot) -> Tensor:
    """What each place gets from all others together, the mean over heads: [B, h, w]."""
    heads = spot.layer.num_heads
    q, k = (
        project(tokens).float().unflatten(-1, (heads, -1)).transpose(1, 2)
        for project in (spot.layer.to_q, spot.layer.to_k)
    )
    shares = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)  # [B, H, N, N]
    return shares.mean(dim=1).sum(dim=1).unflatten(-1, spot.size)
