"""Turns Model, Clip and Vae values into networks on a device, and keeps the recent ones within a memory budget."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from diffusion.model import Clip, Model, Vae
from diffusion.placement import Placement
from diffusion.patches import WeightPatch, patched_weight
from diffusion.text_encoder import TextEncoder
from diffusion.types import Weights
from diffusion.unet import UNet
from diffusion.vae import Autoencoder

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class _Resident:
    """A network in memory. Holding its weights and patches keeps their identities, which are its key, from reuse."""

    network: nn.Module
    weights: Weights
    patches: tuple[WeightPatch, ...]
    nbytes: int


class Runtime:
    """Makes networks on demand and keeps those used last, up to `budget` bytes (the one in use is always kept)."""

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
        resident = self._residents.get(key)
        if resident is None:
            plain = self._residents.get((kind, config, id(weights)))
            shared = plain.network.state_dict() if plain else {}
            network = _on_meta(kind, config)
            network.load_state_dict(self._state(weights, patches, shared, dtype), strict=True, assign=True)
            network.eval().requires_grad_(False)
            resident = _Resident(network, weights, patches, _private_bytes(network, plain))
            self._residents[key] = resident
        self._residents.move_to_end(key)
        self._evict(key)
        network = resident.network
        assert isinstance(network, kind)
        return network

    def _state(
        self, weights: Weights, patches: tuple[WeightPatch, ...], shared: Weights, dtype: torch.dtype
    ) -> Weights:
        """The weights as they compute: those of `shared` where no patch touches them, else converted."""
        touched = frozenset[str]().union(*(patch.keys for patch in patches))
        return {
            key: shared[key]
            if key in shared and key not in touched
            else patched_weight(key, weight, patches).to(self.placement.device, dtype)
            for key, weight in weights.items()
        }

    def _evict(self, in_use: tuple[object, ...]) -> None:
        total = sum(resident.nbytes for resident in self._residents.values())
        for key in list(self._residents):
            if total <= self._budget or key == in_use:
                continue
            total -= self._residents.pop(key).nbytes


def _on_meta(kind: type[Network], config: object) -> Network:
    with torch.device("meta"):
        return kind(config)


def _private_bytes(network: nn.Module, shared_with: _Resident | None) -> int:
    elsewhere = (
        {tensor.data_ptr() for tensor in shared_with.network.state_dict().values()}
        if shared_with
        else set[int]()
    )
    return sum(
        tensor.nbytes for tensor in network.state_dict().values() if tensor.data_ptr() not in elsewhere
    )
