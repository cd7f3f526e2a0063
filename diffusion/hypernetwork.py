"""Hypernetworks: small networks that change what the UNet's attention makes keys and values of.

As in the program that they come from, stable-diffusion-webui: a pair of them, for keys and for values, by the width of
what is attended to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.files.mapped_file import CheckpointError
from diffusion.files.weight_files import read_tree
from diffusion.model import Model
from diffusion.networks.attachments import Call, Hooks, Spot

Step = Callable[[Tensor], Tensor]
_REMEDY = "Use a hypernetwork for Stable Diffusion 1.x, a .pt file as stable-diffusion-webui writes them."
_ACTIVATIONS: Mapping[str, Step | None] = MappingProxyType(
    {
        "linear": None,
        "relu": F.relu,
        "leakyrelu": F.leaky_relu,
        "elu": F.elu,
        "swish": F.hardswish,
        "hardswish": F.hardswish,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "softsign": F.softsign,
        "softplus": F.softplus,
        "mish": F.mish,
        "gelu": F.gelu,
        "silu": F.silu,
        "selu": F.selu,
    }
)


@dataclass(frozen=True, eq=False)
class Layer:
    """A linear layer [O, I], or a layer norm [I], of a hypernetwork. activated: whether its activation follows."""

    weight: Tensor
    bias: Tensor
    activated: bool = False

    def at(self, like: Tensor) -> Layer:
        """The same where `like` is and in its precision."""
        return Layer(self.weight.to(like), self.bias.to(like), self.activated)

    def __call__(self, x: Tensor) -> Tensor:
        if self.weight.ndim == 1:
            return F.layer_norm(x, self.weight.shape, self.weight, self.bias)
        return F.linear(x, self.weight, self.bias)


Network = tuple[Layer, ...]


@dataclass(frozen=True, eq=False)
class Hypernetwork:
    """The networks for keys and for values, by the width of what they change, and their activation."""

    networks: Mapping[int, tuple[Network, Network]]
    activation: str = "linear"

    def applied(self, model: Model, strength: float) -> Model:
        """`model` with this hypernetwork; 0 gives the model as it is.

        Raises ValueError for a strength that is not finite, and when no attention of the model is as wide.
        """
        if not math.isfinite(strength):
            raise ValueError(f"The strength of a hypernetwork is a finite number; got {strength}.")
        widths = {*model.config.channels, model.config.context_dim}
        if not widths & self.networks.keys():
            raise ValueError(
                f"This hypernetwork changes what is {', '.join(map(str, self.networks))} wide, and this model attends "
                f"to {', '.join(map(str, sorted(widths)))}: it was made for a model of another size."
            )
        return model if strength == 0 else model.attached(Rewiring(self, strength))


@dataclass(frozen=True, eq=False)
class Rewiring:
    """The attachment: x plus strength times what the network makes of it, before keys and values are made."""

    hypernetwork: Hypernetwork
    strength: float

    def begin(self) -> Callable[[Call], Hooks]:
        hooks = Hooks(sources=(_Run(self),))
        return lambda call: hooks


@dataclass(frozen=True, eq=False)
class _Run:
    """One sampling run. The prompt is the same in every layer and on many steps, so what was made of it is kept."""

    rewiring: Rewiring
    placed: dict[tuple[int, torch.dtype], tuple[Network, Network]] = field(default_factory=dict)
    prompt: list[tuple[Tensor, Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, keys: Tensor, values: Tensor, spot: Spot) -> tuple[Tensor, Tensor]:
        if keys.shape[-1] not in self.rewiring.hypernetwork.networks or values.shape != keys.shape:
            return keys, values
        if spot.layer.to_k.in_features == spot.layer.to_q.in_features or keys is not values:
            return self._changed(keys, values)
        if not self.prompt or self.prompt[0][0] is not keys:
            self.prompt[:] = [(keys, *self._changed(keys, values))]
        return self.prompt[0][1:]

    def _changed(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        width = keys.shape[-1]
        if (width, keys.dtype) not in self.placed:
            for_keys, for_values = self.rewiring.hypernetwork.networks[width]
            self.placed[width, keys.dtype] = (
                tuple(layer.at(keys) for layer in for_keys),
                tuple(layer.at(keys) for layer in for_values),
            )
        for_keys, for_values = self.placed[width, keys.dtype]
        strength = self.rewiring.strength
        return keys + strength * self._made(for_keys, keys), values + strength * self._made(
            for_values, values
        )

    def _made(self, network: Network, x: Tensor) -> Tensor:
        activation = _ACTIVATIONS[self.rewiring.hypernetwork.activation]
        for layer in network:
            x = layer(x)
            if layer.activated and activation is not None:
                x = activation(x)
        return x


def load_hypernetwork(path: Path) -> Hypernetwork:
    """Read a hypernetwork from a .pt file; no pickle code is run.

    Raises CheckpointError for a file that is something else, an unknown activation, and layers that do not fit.
    """
    path = Path(path)
    tree = read_tree(path)
    table = tree if isinstance(tree, dict) else {}
    pairs = {
        width: pair
        for width, pair in table.items()
        if type(width) is int and isinstance(pair, list) and len(pair) == 2
    }
    if not pairs:
        raise CheckpointError(path, "it is not a hypernetwork: it has no pairs of networks by width", _REMEDY)
    activation = table.get("activation_func") or "linear"
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise CheckpointError(
            path, f"its activation is {activation!r}, and Weft knows {', '.join(_ACTIVATIONS)}", _REMEDY
        )
    last_too = table.get("activate_output") is True
    networks = {
        width: (_network(path, width, pair[0], last_too), _network(path, width, pair[1], last_too))
        for width, pair in pairs.items()
    }
    return Hypernetwork(networks, activation)


def _network(path: Path, width: int, state: object, last_too: bool) -> Network:
    """The layers in the order of the file. last_too: the activation follows the last linear layer as well."""
    tensors = state if isinstance(state, dict) else {}
    layers = []
    for name in [key.removesuffix(".weight") for key in tensors if str(key).endswith(".weight")]:
        weight, bias = tensors[f"{name}.weight"], tensors.get(f"{name}.bias")
        if not isinstance(weight, Tensor) or not isinstance(bias, Tensor):
            raise CheckpointError(path, f"its network for width {width} lacks {name}.bias", _REMEDY)
        layers.append(Layer(weight.clone(), bias.clone()))
    linear = [number for number, layer in enumerate(layers) if layer.weight.ndim == 2]
    activated = linear if last_too else linear[:-1]
    _check_layers(path, width, layers)
    return tuple(Layer(layer.weight, layer.bias, number in activated) for number, layer in enumerate(layers))


def _check_layers(path: Path, width: int, layers: Sequence[Layer]) -> None:
    """Raise CheckpointError unless each layer takes what the one before it gives, the last one `width`."""
    reached = width
    for layer in layers:
        weight, bias = layer.weight, layer.bias
        good = weight.ndim in (1, 2) and weight.shape[-1] == reached and bias.shape == weight.shape[:1]
        if not good or not all(t.is_floating_point() and torch.isfinite(t).all() for t in (weight, bias)):
            raise CheckpointError(
                path,
                f"in its network for width {width}, a layer of {list(weight.shape)} and {list(bias.shape)} does not "
                f"follow {reached} numbers, or holds NaN or integers",
                _REMEDY,
            )
        reached = len(weight)
    if not layers or reached != width:
        raise CheckpointError(
            path, f"its network for width {width} gives {reached if layers else 0}", _REMEDY
        )
