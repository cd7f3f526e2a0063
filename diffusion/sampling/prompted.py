"""A UNet with the prompts that it has read."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from diffusion.networks.attachments import Hooks
from diffusion.networks.attention import Prompt
from diffusion.sampling.batches import repeated

UNetFunction = Callable[[Tensor, Tensor, Prompt, Hooks], Tensor]
"""(x [B, C, h, w], timestep [1], prompts [n * B, T, D], hooks) -> [n * B, 4, h, w], as UNet.forward."""

_LONGEST_PADDING = 4
"""Contexts are repeated to a common length up to this many times; past that, another UNet call is cheaper."""

_PROMPTS_KEPT = 8
"""Steps may ask for different prompts in turn; about 8 MB each for Stable Diffusion 1.5."""


class _Kept(NamedTuple):
    """A prompt that was read, and the embeddings by whose identity it is known, which must live on for that."""

    prompt: Prompt
    embeddings: list[Tensor]


@dataclass(frozen=True, eq=False)
class PromptedUNet:
    """A UNet, for one sampling run. read: prepares prompts for it, once for all steps."""

    unet: UNetFunction
    read: Callable[[Tensor], Prompt] = Prompt
    _prompts: OrderedDict[tuple[int, ...], _Kept] = field(default_factory=OrderedDict, init=False)

    def prompt(self, embeddings: Sequence[Tensor], x: Tensor) -> Prompt:
        """These prompts stacked for latents x, [n * B, T, D], from the last few that were asked for if possible."""
        key = (len(x), *map(id, embeddings))
        if key not in self._prompts:
            contexts = [repeated(embedding, len(x)).to(x.device) for embedding in embeddings]
            self._prompts[key] = _Kept(self.read(_stacked(contexts)), list(embeddings))
        self._prompts.move_to_end(key)
        if len(self._prompts) > _PROMPTS_KEPT:
            self._prompts.popitem(last=False)
        return self._prompts[key].prompt


def stackable(length: int, other: int) -> bool:
    """Whether prompts of these lengths are worth one call."""
    return math.lcm(length, other) // min(length, other) <= _LONGEST_PADDING


def _stacked(contexts: Sequence[Tensor]) -> Tensor:
    """[B, T_i, D] each -> [n * B, T, D], T the least common multiple of the lengths.

    Attention over a context repeated whole is attention over the context: softmax divides by as much more.
    """
    length = math.lcm(*(context.shape[1] for context in contexts))
    return torch.cat([context.repeat(1, length // context.shape[1], 1) for context in contexts])
