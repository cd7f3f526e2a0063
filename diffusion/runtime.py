"""Turns Model, Clip and Vae values into networks on a device, and keeps the recent ones within a memory budget."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from diffusion.model import Clip, Model, Vae
from diffusion.networks.unet import UNet
from diffusion.networks.vae import Autoencoder
from diffusion.patches import WeightPatch, patched_weight, touching
from diffusion.placement import Placement
from diffusion.text.text_encoder import TextEncoder
from diffusion.types import Weights

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class _Resident:
    """A network in memory. Holding its weights and patches keeps their identities, which are its key, from reuse."""

    network: nn.Module
    weights: Weights
    patches: tuple[WeightPatch, ...]


class Runtime:
    """Makes networks on demand and keeps those used last, up to `budget` bytes (the one in use is always kept).

    Networks of the same weights share every tensor that the same patches touch, or none. Raises RuntimeError when
    the weights are not those of the config.
    """

    def __init__(self, placement: Placement | None = None, budget: int = 12 << 30) -> None:
        self.placement = placement or Placement()
        self._budget = budget
        self._residents: OrderedDict[tuple[object, ...], _Resident] = OrderedDict()

    def unet(self, model: Model) -> UNet:
        """The UNet of `model`, patches applied, in eval mode, on the placement's device and dtype."""
        return self._network(UNet, model.config, model.weights, model.patches, self.placement.dtype)

    def text_encoder(self, clip: Clip) -> TextEncoder:
        """The text encoder of `clip`, patches applied."""
        return self._network(TextEncoder, clip.config, clip.weights, clip.patches, self.placement.dtype)

    def autoencoder(self, vae: Vae) -> Autoencoder:
        """The autoencoder of `vae`."""
        return self._network(Autoencoder, vae.config, vae.weights, (), self.placement.vae_dtype)

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
            made = _on_meta(kind, config)
            made.load_state_dict(self._state(weights, patches, dtype), strict=True, assign=True)
            self._residents[key] = _Resident(made.eval().requires_grad_(False), weights, patches)
            self._evict()
        self._residents.move_to_end(key)
        network = self._residents[key].network
        assert isinstance(network, kind)
        return network

    def _state(self, weights: Weights, patches: tuple[WeightPatch, ...], dtype: torch.dtype) -> Weights:
        """The weights as they compute: a resident's where the same patches touch it, else made anew."""
        relatives = [
            (resident.patches, resident.network.state_dict())
            for resident in self._residents.values()
            if resident.weights is weights
        ]

        def made(key: str, weight: Tensor) -> Tensor:
            wanted = _identities(key, patches)
            for others, tensors in relatives:
                if _identities(key, others) == wanted:
                    return tensors[key]
            return patched_weight(key, weight.to(self.placement.device), patches).to(dtype)

        return {key: made(key, weight) for key, weight in weights.items()}

    def _evict(self) -> None:
        """Drop the networks used longest ago, never the last one, until the rest fit the budget."""
        while len(self._residents) > 1 and self._held_bytes() > self._budget:
            self._residents.popitem(last=False)

    def _held_bytes(self) -> int:
        """What all networks hold together; a shared tensor counts once."""
        sizes = {
            tensor.data_ptr(): tensor.nbytes
            for resident in self._residents.values()
            for tensor in resident.network.state_dict().values()
        }
        return sum(sizes.values())


def _identities(key: str, patches: tuple[WeightPatch, ...]) -> tuple[int, ...]:
    """The patches that change this key, told apart as the networks are: by identity."""
    return tuple(id(patch) for patch in touching(key, patches))


def _on_meta(kind: type[Network], config: object) -> Network:
    with torch.device("meta"):
        return kind(config)
