"""Faults in what a sampler is given, found before the work starts and said in terms of what to change."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion.config import LATENT_CHANNELS
from diffusion.model import Model
from diffusion.types import Cond, Conditioning, Latent


def check_latent(latent: Latent) -> None:
    """Raises ValueError unless samples are [B, 4, h, w], none of them empty, of finite numbers."""
    samples = latent.samples
    if samples.ndim != 4 or samples.shape[1] != LATENT_CHANNELS or 0 in samples.shape:
        raise ValueError(
            f"A Stable Diffusion 1.x latent has the shape [batch, {LATENT_CHANNELS}, height / 8, width / 8]; got "
            f"{list(samples.shape)}. Use EmptyLatentImage, or a VAE of this model family."
        )
    if not torch.isfinite(samples).all():
        raise ValueError(
            "The latent holds NaN or infinite numbers, so nothing can be made from it. Look at the node it comes "
            "from: a VAE that overflows in half precision is the usual cause."
        )


def check_result(samples: Tensor) -> None:
    """Raises ValueError when sampling has ended in NaN or infinite numbers, which would become a black picture."""
    if not torch.isfinite(samples).all():
        raise ValueError(
            "Sampling ended in NaN or infinite numbers: they grew past what this precision holds. Lower cfg or the "
            "strength of a LoRA, or compute with --dtype fp32; if that does not help, the checkpoint is damaged."
        )


def check_noise(noise: Tensor, latent: Latent) -> None:
    """Raises ValueError unless there is one number of noise for each of the latent."""
    if noise.shape != latent.samples.shape:
        raise ValueError(
            f"The noise has the shape {list(noise.shape)}, the latent {list(latent.samples.shape)}: make the noise for "
            "this latent."
        )


def check_sigmas(sigmas: Tensor) -> None:
    """Raises ValueError unless sigmas are [n], finite, above 0 before the last, and in order, whichever way."""
    if sigmas.ndim != 1 or not torch.isfinite(sigmas).all() or (sigmas < 0).any() or (sigmas[:-1] == 0).any():
        raise ValueError(
            f"Noise levels (sigmas) are a list of finite numbers, above 0 but for the last; got {sigmas.tolist()}."
        )
    steps = sigmas.diff()
    if (steps > 0).any() and (steps < 0).any():
        raise ValueError(
            "Noise levels (sigmas) descend to sample, or ascend to add noise, and these do both: "
            f"{[round(level, 4) for level in sigmas.tolist()]}. Put them in order, or run each part in a sampler."
        )


def check_conditionings(conditionings: Sequence[Conditioning], model: Model, batch: int) -> None:
    """Raises ValueError unless each has a prompt, encoded [1 or batch, T, width of the model], of finite numbers."""
    for conditioning in conditionings:
        if not conditioning.entries:
            raise ValueError("A conditioning holds no prompt at all. Connect a CLIPTextEncode node.")
        for entry in conditioning.entries:
            _check_entry(entry, model.config.context_dim, batch)


def _check_entry(entry: Cond, width: int, batch: int) -> None:
    embedding = entry.embedding
    if embedding.ndim != 3 or 0 in embedding.shape:
        raise ValueError(
            f"An encoded prompt has the shape [1 or {batch}, tokens, {width}]; got {list(embedding.shape)}."
        )
    if embedding.shape[2] != width:
        raise ValueError(
            f"The prompt is encoded in vectors of {embedding.shape[2]} numbers, this model reads {width}: they "
            "belong to different kinds of model. Encode it with the CLIP that comes with the model's own checkpoint."
        )
    if not torch.isfinite(embedding).all():
        raise ValueError(
            "The encoded prompt holds NaN or infinite numbers: its text encoder or a LoRA on it is broken."
        )
