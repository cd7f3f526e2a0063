"""The stages of Stable Diffusion as typed nodes, each a thin function over diffusion/."""

from graph import Registry
from nodes import (
    conditioning,
    image,
    image_batch,
    image_composite,
    image_filter,
    image_scale,
    image_transform,
    latent,
    latent_batch,
    latent_combine,
    latent_transform,
    loaders,
    mask,
    sampling,
    values,
)

REGISTRY = Registry.of(
    loaders,
    conditioning,
    sampling,
    latent,
    latent_transform,
    latent_combine,
    latent_batch,
    image,
    image_batch,
    image_scale,
    image_transform,
    image_filter,
    image_composite,
    mask,
    values,
)
"""Every node that Weft itself brings."""
