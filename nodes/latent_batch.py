"""Nodes that join batches of latents, take them apart, and say which noise each sample gets."""

from typing import Annotated

from diffusion.latents import batches
from diffusion.types import Latent
from graph import Choice, Range, node

BatchSize = Annotated[int, Range(1, 4096)]


@node("LatentBatch", title="Latent Batch", category="latent/batch")
def latent_batch(*, samples1: Latent, samples2: Latent) -> Latent:
    """Two batches as one. Each sample keeps the noise that a seed gives it in its own batch.

    Inputs:
        samples1: The first batch.
        samples2: The second, resized to the first.

    Outputs:
        LATENT: Both, [B1 + B2, 4, h, w] float32, with the noise mask of samples1.
    """
    return batches.join(samples1, samples2)


@node("LatentFromBatch", title="Latent From Batch", category="latent/batch")
def latent_from_batch(
    *,
    samples: Latent,
    batch_index: Annotated[int, Range(0, 63)] = 0,
    length: Annotated[int, Range(1, 64)] = 1,
) -> Latent:
    """Some samples of a batch. Each keeps the noise that a seed gives it in the whole batch.

    Inputs:
        samples: The batch.
        batch_index: The first to take, counted from 0; past the end it is the last.
        length: How many; fewer at the end.

    Outputs:
        LATENT: Those samples, [length, 4, h, w] float32, with their noise masks.
    """
    return batches.take(samples, batch_index, length)


@node("RepeatLatentBatch", title="Repeat Latent Batch", category="latent/batch")
def repeat_latent_batch(*, samples: Latent, amount: Annotated[int, Range(1, 64)] = 1) -> Latent:
    """A batch several times over.

    Inputs:
        samples: The batch.
        amount: How often.

    Outputs:
        LATENT: [B * amount, 4, h, w] float32; a noise mask is repeated with it, a batch index counts on.
    """
    return batches.repeat(samples, amount)


@node("RebatchLatents", title="Rebatch Latents", category="latent/batch")
def rebatch_latents(*, latents: list[Latent], batch_size: list[BatchSize]) -> list[Latent]:
    """A list of latents in batches of another size. Latents of another height or width begin a new batch.

    Inputs:
        latents: The latents, of any batch sizes.
        batch_size: How many samples in each, 1 to 4096; the first number counts where there are several.

    Outputs:
        LATENT: The batches one by one, each [batch_size or fewer, 4, h, w] float32; each sample keeps its noise.
    """
    if not batch_size:
        raise ValueError("batch_size is a list without items. Connect a number, or write one.")
    return batches.rebatch(latents, batch_size[0])


@node("LatentBatchSeedBehavior", title="Latent Batch Seed Behavior", category="latent/advanced")
def latent_batch_seed_behavior(
    *, samples: Latent, seed_behavior: Annotated[str, Choice(("random", "fixed"))] = "fixed"
) -> Latent:
    """Whether the samples of a batch get the same noise.

    Inputs:
        samples: The batch.
        seed_behavior: fixed gives every sample the noise of the first; random gives each its own.

    Outputs:
        LATENT: The same samples, [B, 4, h, w] float32.
    """
    return batches.same_noise(samples) if seed_behavior == "fixed" else batches.own_noise(samples)
