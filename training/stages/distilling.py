"""Teaches a tiny autoencoder to do what a full one does: a picture's latents, and the picture of latents."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import convert_conv2d_weight_memory_format
from tqdm import tqdm

from diffusion.config import LATENT_SCALE
from diffusion.networks.tiny_decoder import TinyAutoencoder
from diffusion.networks.vae import Autoencoder
from training.drawing import Mixture
from training.examples import as_pixels, example
from training.loop import generator, save_atomically
from training.stages.decoder import NOISE, reconstruction_loss

BATCH = 20


@dataclass(frozen=True, eq=False)
class Lessons:
    """What the full autoencoder did. pixels, drawn: [N, 3, H, W] uint8, pictures and what was made of noisy latents.

    means, noisy: [N, 4, H/8, W/8] float16, scaled: the pictures' latents, and with a little noise.
    """

    pixels: Tensor
    means: Tensor
    noisy: Tensor
    drawn: Tensor


def lessons(vae: Autoencoder, *, seed: int, count: int, mixture: Mixture, path: Path) -> Lessons:
    """`count` drawn pictures through the full autoencoder, kept in the file `path` and read back from there."""
    if not path.exists():
        # Twice as fast where no gradients are needed.
        vae = convert_conv2d_weight_memory_format(copy.deepcopy(vae), torch.channels_last)
        batches = [
            _lesson(vae, range(start, min(count, start + BATCH)), seed=seed, mixture=mixture)
            for start in tqdm(range(0, count, BATCH), desc="lessons", dynamic_ncols=True)
        ]
        save_atomically([torch.cat(column) for column in zip(*batches, strict=True)], path)
    return Lessons(*torch.load(path, weights_only=True))


@torch.no_grad()
def _lesson(vae: Autoencoder, numbers: range, *, seed: int, mixture: Mixture) -> tuple[Tensor, ...]:
    pixels = as_pixels([example(seed, "distilled", number, mixture=mixture).picture for number in numbers])
    with torch.autocast("cpu", torch.bfloat16):
        means = vae.encode(pixels.contiguous(memory_format=torch.channels_last))[0].float() * LATENT_SCALE
        noise = torch.randn(means.shape, generator=generator(seed, "distilling", "noise", numbers.start))
        noisy = (means + noise * NOISE).half()
        drawn = vae.decode(noisy.float() / LATENT_SCALE).float()
    return _bytes(pixels), means.half(), noisy, _bytes(drawn)


def _bytes(pixels: Tensor) -> Tensor:
    return ((pixels + 1) * 127.5).round().clamp(0, 255).byte()


def _pixels(levels: Tensor) -> Tensor:
    return levels.float() / 127.5 - 1


class Distilling:
    """The task of the tiny autoencoder's stage; its two halves learn side by side and share nothing."""

    def __init__(self, tiny: TinyAutoencoder, learned: Lessons, *, seed: int, count: int) -> None:
        self.network: nn.Module = tiny
        self._tiny, self._lessons, self._seed, self._count = tiny, learned, seed, count

    def loss(self, step: int, part: int) -> Tensor:
        """How far pictures are from the full decoder's, and latents from the full encoder's."""
        learned, random = self._lessons, generator(self._seed, "distilling", step, part)
        chosen = torch.randint(len(learned.pixels), (self._count,), generator=random)
        pixels, means = _pixels(learned.pixels[chosen]), learned.means[chosen].float()
        with torch.autocast("cpu", torch.bfloat16):
            drawn = self._tiny.decode(learned.noisy[chosen].float() / LATENT_SCALE)
            encoded, _ = self._tiny.encode(pixels)
        error = encoded.float() * LATENT_SCALE - means
        return reconstruction_loss(drawn.float(), _pixels(learned.drawn[chosen])) + F.huber_loss(
            error, torch.zeros_like(error)
        )
