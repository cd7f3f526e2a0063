"""What ControlNets and T2I-Adapters are believed to need beside their weights, against the tensors that are alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from diffusion.config import AdapterConfig, ControlNetConfig, UNetConfig
from diffusion.control.model import ControlModel, network_kind
from diffusion.memory.activations import hint_bytes, unet_bytes
from diffusion.networks.controlnet import ControlNet
from diffusion.runtime import Runtime
from tests.diffusion.reference import random_weights

UNET = UNetConfig(
    channels=(64, 128, 256, 256),
    attention=(True, True, True, False),
    blocks=2,
    context_dim=32,
    num_heads=4,
)
"""A quarter as wide as Stable Diffusion's, and of its shape otherwise."""
SIDE, FLOAT = 32, 4
RUNTIME = Runtime()


@dataclass
class Alive:
    """The bytes of tensors made and not yet gone, and the most there were at once."""

    sizes: dict[int, int] = field(default_factory=dict)
    most: int = 0

    def made(self, storage: torch.UntypedStorage) -> None:
        number = storage._cdata
        if number not in self.sizes:
            self.sizes[number] = storage.nbytes()
            weakref.finalize(storage, self.sizes.pop, number, None)
            self.most = max(self.most, sum(self.sizes.values()))


class Watched(TorchDispatchMode):
    """Tells `alive` what every operation makes."""

    def __init__(self, alive: Alive) -> None:
        super().__init__()
        self.alive = alive

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.alive.made(leaf.untyped_storage())
        return result


@torch.no_grad()
def most_alive(call: Callable[[], object]) -> int:
    call()  # what is made once and kept is no part of it
    alive = Alive()
    with Watched(alive):
        result = call()
    del result
    return alive.most


def network(config: ControlNetConfig | AdapterConfig) -> Any:
    weights = random_weights(lambda: network_kind(config)(config))  # type: ignore[arg-type]
    return RUNTIME.control_network(ControlModel(weights, config))


PICTURE = torch.rand(1, 3, 8 * SIDE, 8 * SIDE)


def read_hint_bytes(config: ControlNetConfig | AdapterConfig) -> int:
    """Without what kernels and the heap are given on top."""
    whole, fixed = (hint_bytes(config, rows=1, height=side, width=side, itemsize=FLOAT) for side in (SIDE, 0))
    return whole - fixed


def test_a_controlnets_call_fits_what_the_unet_needs() -> None:
    net = network(ControlNetConfig(UNET))
    x, context = torch.randn(1, 4, SIDE, SIDE), torch.randn(2, 77, 32)
    hint = net.read_hint(PICTURE)
    prompt = net.read(context)
    whole, fixed = (unet_bytes(UNET, rows=2, height=side, width=side, itemsize=FLOAT) for side in (SIDE, 0))
    counted = most_alive(lambda: ControlNet.forward(net, x, hint, torch.tensor([500.0]), prompt))
    assert 0.4 * (whole - fixed) < counted < whole - fixed


@pytest.mark.parametrize(
    "config",
    [
        ControlNetConfig(UNET),
        AdapterConfig(channels=UNET.channels),
        AdapterConfig(channels=UNET.channels, light=True, blocks=4),
    ],
)
def test_reading_a_picture_fits_what_is_believed(config: ControlNetConfig | AdapterConfig) -> None:
    net = network(config)
    call = net.read_hint if isinstance(config, ControlNetConfig) else net
    assert 0.2 * read_hint_bytes(config) < most_alive(lambda: call(PICTURE)) < read_hint_bytes(config)
