"""Makes a network from weights and patches, layer by layer, sharing the layers that a relative of it has already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffusion.files.pages import FilePages
from diffusion.networks.layers import Conv2d, Linear
from diffusion.patches import WeightPatch, patched_weight, touching
from diffusion.types import Weights


@dataclass(frozen=True, eq=False)
class Assembled:
    """A network, and the size of each of its layers as it lies in memory. Its weights and patches are kept with it,
    because their identities tell networks apart."""

    network: nn.Module
    weights: Weights
    patches: tuple[WeightPatch, ...]
    layer_nbytes: Mapping[str, int]


def assemble(
    network: nn.Module,
    weights: Weights,
    patches: tuple[WeightPatch, ...],
    *,
    device: torch.device,
    dtype: torch.dtype,
    pack: bool,
    relatives: Sequence[Assembled] = (),
) -> Assembled:
    """Fill `network`, which is on the meta device, with weights in eval mode; `pack` lays them out for the processor.

    relatives: networks of the same weights on the same device in the same precision; a layer that the same patches
    touch, or none, is shared with them. Raises RuntimeError when the weights are not those of the network.
    """
    _check(network, weights)
    sizes = {}
    file_pages = FilePages.now()
    for name, layer in list(_layers(network)):
        twin = _twin(name, layer, patches, relatives)
        if twin is not None:
            network.set_submodule(name, twin.network.get_submodule(name))
            sizes[name] = twin.layer_nbytes[name]
            continue
        sources = {
            parameter: weights[f"{name}.{parameter}"]
            for parameter, place in layer._parameters.items()
            if place is not None
        }
        for parameter, source in sources.items():
            tensor = patched_weight(f"{name}.{parameter}", source.to(device), patches).to(dtype)
            layer.register_parameter(parameter, nn.Parameter(tensor, requires_grad=False))
        sizes[name] = sum(tensor.nbytes for tensor in layer.parameters(recurse=False))
        if pack and device.type == "cpu" and isinstance(layer, Conv2d | Linear):
            layer.pack()
        _drop_unused(sources, layer, file_pages)
    return Assembled(network.eval(), weights, patches, sizes)


def _drop_unused(sources: Mapping[str, Tensor], layer: nn.Module, file_pages: FilePages) -> None:
    """Let go of the file's pages that the layer has its own copy of."""
    for parameter, source in sources.items():
        used = layer._parameters.get(parameter)
        if used is None or used.data_ptr() != source.data_ptr():
            file_pages.drop(source)


def held_bytes(networks: Sequence[Assembled]) -> int:
    """What networks hold together; a shared layer counts once."""
    sizes = {
        id(held.network.get_submodule(name)): nbytes
        for held in networks
        for name, nbytes in held.layer_nbytes.items()
    }
    return sum(sizes.values())


def _layers(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The modules that have parameters of their own."""
    for name, module in network.named_modules():
        if any(parameter is not None for parameter in module._parameters.values()):
            yield name, module


def _twin(
    name: str, layer: nn.Module, patches: tuple[WeightPatch, ...], relatives: Sequence[Assembled]
) -> Assembled | None:
    keys = [f"{name}.{parameter}" for parameter in layer._parameters]
    wanted = _identities(keys, patches)
    return next((other for other in relatives if _identities(keys, other.patches) == wanted), None)


def _identities(keys: Sequence[str], patches: tuple[WeightPatch, ...]) -> list[tuple[int, ...]]:
    """For each key the patches that change it, told apart by identity."""
    return [tuple(id(patch) for patch in touching(key, patches)) for key in keys]


def _check(network: nn.Module, weights: Weights) -> None:
    expected: Mapping[str, Tensor] = network.state_dict()
    missing, extra = expected.keys() - weights.keys(), weights.keys() - expected.keys()
    misshapen = [key for key in expected.keys() & weights.keys() if expected[key].shape != weights[key].shape]
    wrong = {"missing": missing, "extra": extra, "misshapen": misshapen}
    found = [f"{len(keys)} {word} ({', '.join(sorted(keys)[:3])})" for word, keys in wrong.items() if keys]
    if found:
        raise RuntimeError(
            f"these weights are not those of this {type(network).__name__}: {'; '.join(found)}"
        )
