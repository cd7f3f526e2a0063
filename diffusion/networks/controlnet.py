"""ControlNet of Stable Diffusion 1.x, of any size: reads a picture beside the noisy latents, and says what to add to
the UNet's skip connections. Attribute names are the published files' keys.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from diffusion.config import LATENT_DOWNSCALE, ControlNetConfig
from diffusion.networks.attachments import Place
from diffusion.networks.attention import Prompt
from diffusion.networks.layers import Conv2d
from diffusion.networks.unet import (
    check_config,
    down_stages,
    middle_stage,
    prompt_for,
    skip_widths,
    time_network,
)
from diffusion.networks.unet_blocks import Signals, for_all, timestep_embedding


class ControlNet(nn.Module):
    """The down half of a UNet, led by a picture (Zhang et al. 2023, section 3.2).

    Raises ValueError for a config whose channels cannot be split into its norm groups or heads, and for one whose
    picture would not come out as large as latents are.
    """

    def __init__(self, config: ControlNetConfig) -> None:
        super().__init__()
        unet, halvings = config.unet, len(config.hint_widths) - 1
        check_config(unet)
        if 2**halvings != LATENT_DOWNSCALE:
            raise ValueError(
                f"its picture is halved {halvings} times, and latents are {LATENT_DOWNSCALE} times smaller"
            )
        self.config = config
        self.time_embed = time_network(unet)
        self.input_blocks = nn.ModuleList(down_stages(unet))
        self.zero_convs = nn.ModuleList(nn.Sequential(Conv2d(width, width, 1)) for width in skip_widths(unet))
        self.input_hint_block = _hint_block(config)
        self.middle_block = middle_stage(unet)
        self.middle_block_out = nn.Sequential(Conv2d(unet.channels[-1], unet.channels[-1], 1))

    @property
    def dtype(self) -> torch.dtype:
        """What this network computes in: the dtype of its weights."""
        return next(self.parameters()).dtype

    def read_hint(self, picture: Tensor) -> Tensor:
        """What the network makes of the picture [B, hint_channels, 8 * h, 8 * w], 0..1: [B, channels, h, w].

        It depends on nothing else, so a run computes it once. Raises ValueError for another number of channels.
        """
        if picture.shape[1] != self.config.hint_channels:
            raise ValueError(
                f"this ControlNet reads pictures of {self.config.hint_channels} channels, "
                f"but was given {list(picture.shape)}"
            )
        return self.input_hint_block(picture.to(self.dtype))

    def read(self, context: Tensor) -> Prompt:
        """The prompt [B, T, context_dim] with what every layer makes of it, for many calls with the same one."""
        return prompt_for(self, context.to(self.dtype))

    def forward(self, x: Tensor, hint: Tensor, timesteps: Tensor, context: Tensor | Prompt) -> list[Tensor]:
        """What to add to the skip connection that each input stage leaves, and last to what the middle leaves.

        x: [B, 4, h, w] as the UNet sees it. hint: [B or 1, channels, h, w] by `read_hint`. timesteps: [B] or [1].
        context: [n * B, T, context_dim], n prompts for every row of x. The results have n * B rows, or B where the
        prompts make no difference. Raises ValueError for inputs of other sizes.
        """
        prompt = context if isinstance(context, Prompt) else Prompt(context.to(self.dtype))
        self._check_inputs(x, hint, prompt.context)
        unet, rows = self.config.unet, len(prompt.context)
        emb = self.time_embed(timestep_embedding(timesteps, unet.channels[0]).to(self.dtype))
        if len(emb) > 1:
            emb, x = for_all(emb, rows), for_all(x, rows)
        h = x.to(self.dtype)
        residuals = []
        for index, (stage, convolution) in enumerate(zip(self.input_blocks, self.zero_convs, strict=True)):
            h = stage(h, Signals(emb, prompt, Place("input", index)))
            if index == 0:
                h = h + (hint if len(hint) == 1 else for_all(hint, len(h)))
            residuals.append(convolution(h))
        h = self.middle_block(h, Signals(emb, prompt, Place("middle", 0)))
        return [*residuals, self.middle_block_out(h)]

    def _check_inputs(self, x: Tensor, hint: Tensor, context: Tensor) -> None:
        unet = self.config.unet
        if x.shape[1] != unet.in_channels or context.shape[-1] != unet.context_dim:
            raise ValueError(
                f"this ControlNet takes latents of {unet.in_channels} channels and prompts of width "
                f"{unet.context_dim}, but was given {list(x.shape)} and {list(context.shape)}"
            )
        if hint.shape[1:] != (unet.channels[0], *x.shape[2:]) or len(hint) not in (1, len(x)):
            raise ValueError(
                f"a hint of {list(hint.shape)} does not go with latents of {list(x.shape)}: it has the size of the "
                f"latents, {unet.channels[0]} channels, and one entry for each of them or the one for all"
            )


def _hint_block(config: ControlNetConfig) -> nn.Sequential:
    """Convolutions with SiLU between them; the picture is halved where they become wider."""
    first, last = config.hint_widths[0], config.hint_widths[-1]
    layers: list[nn.Module] = [Conv2d(config.hint_channels, first, 3, padding=1)]
    for width, wider in pairwise(config.hint_widths):
        layers += [nn.SiLU(), Conv2d(width, width, 3, padding=1)]
        layers += [nn.SiLU(), Conv2d(width, wider, 3, stride=2, padding=1)]
    return nn.Sequential(*layers, nn.SiLU(), Conv2d(last, config.unet.channels[0], 3, padding=1))
