"""Turns Model, Clip and Vae values into networks on a device, and keeps the recent ones within a memory budget."""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeVar

import torch
from torch import nn

from diffusion.assembly import Assembled, assemble, held_bytes
from diffusion.config import TinyVAEConfig
from diffusion.model import Clip, Model, Vae
from diffusion.networks.blueprint import blueprint
from diffusion.networks.tiny_decoder import TinyAutoencoder
from diffusion.networks.unet import UNet
from diffusion.networks.vae import Autoencoder
from diffusion.patches import WeightPatch
from diffusion.placement import Placement
from diffusion.text.text_encoder import TextEncoder
from diffusion.types import Weights

Network = TypeVar("Network", bound=nn.Module)


class Runtime:
    """Makes networks on demand and keeps those used last, up to `budget` bytes (the one in use is always kept).

    Networks of the same weights share every layer that the same patches touch, or none. Raises RuntimeError when
    the weights are not those of the config.
    """

    def __init__(self, placement: Placement | None = None, budget: int = 12 << 30) -> None:
        self.placement = placement or Placement()
        self._budget = budget
        self._residents: OrderedDict[tuple[object, ...], Assembled] = OrderedDict()

    def unet(self, model: Model) -> UNet:
        """The UNet of `model`, patches applied, in eval mode, on the placement's device and dtype."""
        return self._network(UNet, model.config, model.weights, model.patches, self.placement.dtype)

    def text_encoder(self, clip: Clip) -> TextEncoder:
        """The text encoder of `clip`, patches applied."""
        return self._network(TextEncoder, clip.config, clip.weights, clip.patches, self.placement.dtype)

    def autoencoder(self, vae: Vae) -> Autoencoder | TinyAutoencoder:
        """The autoencoder of `vae`, full or tiny as its config says."""
        dtype = self.placement.vae_dtype
        if isinstance(vae.config, TinyVAEConfig):
            return self._network(TinyAutoencoder, vae.config, vae.weights, (), dtype)
        return self._network(Autoencoder, vae.config, vae.weights, (), dtype)

    def release(self) -> None:
        """Let go of every network; the next use makes it anew."""
        self._residents.clear()

    def _network(
        self,
        kind: type[Network],
        config: object,
        weights: Weights,
        patches: tuple[WeightPatch, ...],
        dtype: torch.dtype,
    ) -> Network:
        key = (kind, config, id(weights), *map(id, patches))
        if key not in self._residents:
            self._residents[key] = assemble(
                blueprint(lambda: kind(config)),
                weights,
                patches,
                device=self.placement.device,
                dtype=dtype,
                pack=self.placement.pack,
                relatives=[held for held in self._residents.values() if held.weights is weights],
            )
            self._evict()
        self._residents.move_to_end(key)
        network = self._residents[key].network
        assert isinstance(network, kind)
        return network

    def _evict(self) -> None:
        """Drop the networks used longest ago, never the last one, until the rest fit the budget."""
        while len(self._residents) > 1 and held_bytes(tuple(self._residents.values())) > self._budget:
            self._residents.popitem(last=False)
