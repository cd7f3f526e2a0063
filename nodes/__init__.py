"""The stages of Stable Diffusion as typed nodes, each a thin function over diffusion/."""

from graph import Registry
from nodes import conditioning, image, latent, loaders, sampling, speed, tiled, values

REGISTRY = Registry.of(loaders, conditioning, sampling, speed, latent, tiled, image, values)
"""Every node that Weft itself brings."""
