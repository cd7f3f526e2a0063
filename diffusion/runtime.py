"""Turns Model, Clip and Vae values into networks on a device, and keeps them within a memory budget or limit."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from diffusion.assembly import LayerMaker
from diffusion.config import TinyVAEConfig
from diffusion.control.model import ControlModel, network_kind
from diffusion.files.in_files import InFiles, Loaded
from diffusion.memory.calls import guard
from diffusion.memory.residents import Residents, Way
from diffusion.model import Clip, Model, Vae
from diffusion.networks.blueprint import blueprint
from diffusion.networks.compiling import compile_blocks
from diffusion.networks.controlnet import ControlNet
from diffusion.networks.t2i_adapter import FullAdapter, LightAdapter
from diffusion.networks.tiny_decoder import TinyAutoencoder
from diffusion.networks.unet import UNet
from diffusion.networks.upscaler.compact import CompactConfig, CompactNet
from diffusion.networks.upscaler.rrdb import RRDBNet
from diffusion.networks.vae import Autoencoder
from diffusion.patches import WeightPatch
from diffusion.placement import Placement
from diffusion.text.text_encoder import TextEncoder
from diffusion.types import Weights

if TYPE_CHECKING:
    from diffusion.upscaling import UpscaleModel

Network = TypeVar("Network", bound=nn.Module)
Result = TypeVar("Result")


class Runtime:
    """Makes networks on demand and keeps those used last.

    budget: how many bytes of networks stay in memory (the one in use always does); None takes half of what is free.
    With the placement's memory_limit, the whole process stays within that on its device instead, and networks that
    do not fit are streamed (see memory/streaming.py). Networks of the same weights share every layer that the same
    patches touch, or none. Raises RuntimeError when the weights are not those of the config, and CheckpointError when
    their file was written to since it was loaded.

    loaded: the weights and tokenizers in use, for whoever loads the same file again.
    """

    def __init__(self, placement: Placement | None = None, budget: int | None = None) -> None:
        self.placement = placement or Placement()
        self.loaded = Loaded()
        self._residents = Residents(self.placement.device, budget=budget, limit=self.placement.memory_limit)
        self._elsewhere: dict[Placement, Runtime] = {self.placement: self}

    def placed(self, placement: Placement) -> Runtime:
        """The runtime that computes in another placement, the same one each time; one device has one memory budget."""
        if placement not in self._elsewhere:
            other = copy.copy(self)
            other.placement = placement
            others = [each for each in self._elsewhere.values() if each.placement.device == placement.device]
            other._residents = (
                others[0]._residents if others else Residents(placement.device, limit=placement.memory_limit)
            )
            self._elsewhere[placement] = other
        return self._elsewhere[placement]

    def unet(self, model: Model) -> UNet:
        """The UNet of `model`, patches applied, in eval mode, on the placement's device and dtype."""
        dtype, backend = self.placement.dtype, model.compiled
        return self._network(UNet, model.config, model.weights, model.patches, dtype, backend)

    def text_encoder(self, clip: Clip) -> TextEncoder:
        """The text encoder of `clip`, patches applied."""
        return self._network(TextEncoder, clip.config, clip.weights, clip.patches, self.placement.dtype)

    def autoencoder(self, vae: Vae) -> Autoencoder | TinyAutoencoder:
        """The autoencoder of `vae`, full or tiny as its config says."""
        dtype = self.placement.vae_dtype
        if isinstance(vae.config, TinyVAEConfig):
            return self._network(TinyAutoencoder, vae.config, vae.weights, (), dtype)
        return self._network(Autoencoder, vae.config, vae.weights, (), dtype)

    def attempt_maps(self, network: nn.Module, ways: Sequence[Way[Result]]) -> Result:
        """A step of a network over pictures in the first of these ways, or a smaller one when memory runs out.

        UNets, ControlNets and text encoders do this by themselves when they are called. Raises NotEnoughMemory when
        none works.
        """
        return self._residents.attempt(network, ways, large_maps=True)

    def upscaler(self, model: UpscaleModel) -> RRDBNet | CompactNet:
        """The network of an upscale model."""
        kind: type[RRDBNet] | type[CompactNet] = (
            CompactNet if isinstance(model.config, CompactConfig) else RRDBNet
        )
        return self._network(kind, model.config, model.weights, (), self.placement.vae_dtype)

    def control_network(self, model: ControlModel) -> ControlNet | FullAdapter | LightAdapter:
        """The network of a ControlNet or T2I-Adapter, in the UNet's precision."""
        kind = network_kind(model.config)
        return self._network(kind, model.config, model.weights, model.patches, self.placement.dtype)

    def forget(self, value: Model | Clip) -> None:
        """Let go of the network of a value that will not be used again soon; another use makes it anew."""
        kind, backend = (UNet, value.compiled) if isinstance(value, Model) else (TextEncoder, None)
        dtype = self.placement.dtype
        self._residents.drop(self._key(kind, value.config, value.weights, value.patches, dtype, backend))

    def release(self) -> None:
        """Let go of every network; the next use makes it anew."""
        self._residents.release()

    def _network(
        self,
        kind: type[Network],
        config: object,
        weights: Weights,
        patches: tuple[WeightPatch, ...],
        dtype: torch.dtype,
        backend: str | None = None,
    ) -> Network:
        if isinstance(weights, InFiles):
            # Some layers of a network may be views of the file, even of one made long ago.
            weights.check()
        place = self.placement
        # The compiler has kernels of its own, and cannot look into those for packed weights.
        pack = place.pack and backend is None
        maker = LayerMaker(weights, patches, place.device, dtype, pack, place.storage)
        key = self._key(kind, config, weights, patches, dtype, backend)
        network = self._residents.get(key, partial(blueprint, partial(kind, config)), maker)
        assert isinstance(network, kind)
        guard(network, self._residents)
        if backend is not None:
            compile_blocks(network, backend)
        return network

    def _key(
        self,
        kind: type[nn.Module],
        config: object,
        weights: Weights,
        patches: tuple[WeightPatch, ...],
        dtype: torch.dtype,
        backend: str | None,
    ) -> Hashable:
        """What tells networks apart."""
        # Weights and patches are kept by their networks' makers, so these identities are not used again meanwhile.
        key: tuple[object, ...] = (
            *(kind, config, id(weights)),
            *(dtype, self.placement.pack, self.placement.storage, backend),
            *(patch.identity for patch in patches),
        )
        return key
