"""Makes a network from weights and patches, layer by layer, sharing the layers that a relative of it has already."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffusion.files.pages import FilePages
from diffusion.networks.layers import Conv2d, Linear
from diffusion.networks.packing import Packed
from diffusion.patches import WeightPatch, patched_weight, touching
from diffusion.types import Weights


@dataclass(frozen=True, eq=False)
class LayerMaker:
    """What makes layers: weights, the patches upon them, and where and in what precision they compute.

    pack: lay weights out for the processor. storage: what weights are rounded to first.
    """

    weights: Weights
    patches: tuple[WeightPatch, ...]
    device: torch.device
    dtype: torch.dtype
    pack: bool
    storage: torch.dtype | None = None

    def fill(self, name: str, layer: nn.Module, file_pages: FilePages) -> None:
        """Give `layer`, which is on the meta device, its own weights; `name` is its place in the network."""
        sources = self.sources(name, layer)
        for parameter, source in sources.items():
            tensor = self.weight(f"{name}.{parameter}", source)
            layer.register_parameter(parameter, nn.Parameter(tensor, requires_grad=False))
        if self.pack and self.device.type == "cpu" and isinstance(layer, Conv2d | Linear):
            layer.pack()
        _drop_unused(sources, layer, file_pages)

    def weight(self, key: str, source: Tensor) -> Tensor:
        """`source` as this network has it."""
        kept = source.to(self.device)
        if self.storage is not None:
            kept = kept.to(self.storage).to(source.dtype)
        return patched_weight(key, kept, self.patches).to(self.dtype)

    def is_like(self, other: LayerMaker) -> bool:
        """Whether layers of both that the same patches touch are the same."""
        return self.weights is other.weights and self._manner == other._manner

    @property
    def _manner(self) -> tuple[object, ...]:
        return self.device, self.dtype, self.pack, self.storage

    def sources(self, name: str, layer: nn.Module) -> dict[str, Tensor]:
        """The weights of `layer`'s own, by their names in it."""
        return {
            parameter: self.weights[f"{name}.{parameter}"]
            for parameter, place in layer._parameters.items()
            if place is not None
        }

    def identities(self, keys: Sequence[str]) -> list[tuple[Hashable, ...]]:
        """For each key what tells its patches apart."""
        return [tuple(patch.identity for patch in touching(key, self.patches)) for key in keys]


@dataclass(frozen=True, eq=False)
class Assembled:
    """A network, what made it, and the size of each of its layers as it lies in memory. Its weights are kept with it,
    because their identities tell networks apart."""

    network: nn.Module
    maker: LayerMaker
    layer_nbytes: Mapping[str, int]


def assemble(network: nn.Module, maker: LayerMaker, relatives: Sequence[Assembled] = ()) -> Assembled:
    """Fill `network`, which is on the meta device, with weights in eval mode.

    relatives: networks of the same weights on the same device in the same precision; a layer that the same patches
    touch, or none, is shared with them. Raises RuntimeError when the weights are not those of the network.
    """
    check_weights(network, maker.weights)
    sizes = {}
    file_pages = FilePages.now()
    for name, layer in list(layers_of(network)):
        twin = _twin(name, layer, maker, relatives)
        if twin is not None:
            network.set_submodule(name, twin.network.get_submodule(name))
            sizes[name] = twin.layer_nbytes[name]
            continue
        maker.fill(name, layer, file_pages)
        sizes[name] = layer_nbytes(layer)
    return Assembled(network.eval(), maker, sizes)


def _drop_unused(sources: Mapping[str, Tensor], layer: nn.Module, file_pages: FilePages) -> None:
    """Let go of the file's pages that the layer has its own copy of."""
    for parameter, source in sources.items():
        used = layer._parameters.get(parameter)
        if used is None or used.data_ptr() != source.data_ptr():
            file_pages.drop(source)


def layer_nbytes(layer: nn.Module) -> int:
    """What a layer itself holds, in whatever form it keeps its weights."""
    own = [value.tensor for value in vars(layer).values() if isinstance(value, Packed)]
    own += [parameter for parameter in layer._parameters.values() if parameter is not None]
    return sum(tensor.nbytes for tensor in own)


def held_bytes(networks: Sequence[Assembled]) -> int:
    """What networks hold together; a shared layer counts once."""
    sizes = {
        id(held.network.get_submodule(name)): nbytes
        for held in networks
        for name, nbytes in held.layer_nbytes.items()
    }
    return sum(sizes.values())


def layers_of(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that have parameters of their own, by name."""
    for name, module in network.named_modules():
        if any(parameter is not None for parameter in module._parameters.values()):
            yield name, module


def _twin(name: str, layer: nn.Module, maker: LayerMaker, relatives: Sequence[Assembled]) -> Assembled | None:
    keys = [f"{name}.{parameter}" for parameter in layer._parameters]
    wanted = maker.identities(keys)
    return next((other for other in relatives if other.maker.identities(keys) == wanted), None)


def check_weights(network: nn.Module, weights: Weights) -> None:
    """Raise RuntimeError when `weights` are not just those of `network`."""
    expected: Mapping[str, Tensor] = network.state_dict()
    missing, extra = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    misshapen = [key for key in expected.keys() & weights.keys() if expected[key].shape != weights[key].shape]
    wrong = {"missing": missing, "extra": extra, "misshapen": misshapen}
    found = [f"{len(keys)} {word} ({', '.join(sorted(keys)[:3])})" for word, keys in wrong.items() if keys]
    if found:
        raise RuntimeError(
            f"these weights are not those of this {type(network).__name__}: {'; '.join(found)}"
        )
