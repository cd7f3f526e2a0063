"""Calls of whole networks, with the ways in which they can be made smaller when memory runs short."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from diffusion.memory.activations import unet_bytes
from diffusion.memory.residents import Residents, Way
from diffusion.networks.attention import Prompt
from diffusion.networks.controlnet import ControlNet
from diffusion.networks.unet import UNet
from diffusion.text.text_encoder import TextEncoder

_TEXT_BYTES = 64 << 20
"""For a few chunks of 77 tokens through a text encoder, generously."""


@dataclass(frozen=True, eq=False)
class Guarded:
    """The `forward` of a network that lives in `residents`. Holds no reference to it: that would keep it for ever.

    settled: by the sizes of the inputs, the way that worked last.
    """

    residents: Residents
    network: weakref.ref[nn.Module]
    ways: Callable[..., Sequence[Way[Any]]]
    settled: dict[tuple[torch.Size, ...], int] = field(default_factory=dict)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        network = self.network()
        assert network is not None
        sizes = tuple(value.shape for value in args if isinstance(value, Tensor))
        ways = self.ways(network, *args, **kwargs)
        first = min(self.settled.get(sizes, 0), len(ways) - 1)
        noted = [
            Way(way.needs, partial(self._noting, sizes, number, way.run))
            for number, way in enumerate(ways[first:], start=first)
        ]
        return self.residents.attempt(network, noted)

    def _noting(self, sizes: tuple[torch.Size, ...], number: int, run: Callable[[], Any]) -> Any:
        result = run()
        self.settled[sizes] = number
        return result


def guard(network: nn.Module, residents: Residents) -> None:
    """Make `network`, one of `residents`, do with less when it is called and memory runs short."""
    kinds: dict[type[nn.Module], Callable[..., Sequence[Way[Any]]]] = {
        UNet: _unet_ways,
        ControlNet: _control_ways,
        TextEncoder: _text_ways,
    }
    ways = next((ways for kind, ways in kinds.items() if isinstance(network, kind)), None)
    if ways is not None and not isinstance(network.forward, Guarded):
        # The instance's attribute goes before the class's method, which the ways call.
        network.forward = Guarded(residents, weakref.ref(network), ways)


def _text_ways(network: TextEncoder, *args: Any, **kwargs: Any) -> list[Way[Any]]:
    return [Way(_TEXT_BYTES, partial(TextEncoder.forward, network, *args, **kwargs))]


def _control_ways(
    network: ControlNet, x: Tensor, hint: Tensor, timesteps: Tensor, context: Tensor | Prompt
) -> list[Way[Any]]:
    """All rows at once: the UNet that the result goes to, which has hooks then, needs as much. What it holds of skip
    connections is here what will be added to them."""
    rows, (height, width) = len(context if isinstance(context, Tensor) else context.context), x.shape[-2:]
    needs = unet_bytes(
        network.config.unet, rows=rows, height=height, width=width, itemsize=network.dtype.itemsize
    )
    return [Way(needs, partial(ControlNet.forward, network, x, hint, timesteps, context))]


def _unet_ways(
    network: UNet, x: Tensor, timesteps: Tensor, context: Tensor | Prompt, *hooks: Any, **named: Any
) -> list[Way[Tensor]]:
    """All rows at once, then in two calls, four, and so on to one row a call; at once only where there are hooks,
    which count on seeing every row."""
    rows = len(context if isinstance(context, Tensor) else context.context)
    hooked = any(hooks) or any(named.values())
    ways = [
        Way(_needs(network, x, rows), partial(UNet.forward, network, x, timesteps, context, *hooks, **named))
    ]
    calls = 2
    while calls < 2 * rows and not hooked:
        at_once = -(-rows // calls)
        ways.append(
            Way(_needs(network, x, at_once), partial(_in_turn, network, x, timesteps, context, at_once))
        )
        calls *= 2
    return ways


def _needs(network: UNet, x: Tensor, rows: int) -> int:
    height, width = x.shape[-2:]
    return unet_bytes(network.config, rows=rows, height=height, width=width, itemsize=network.dtype.itemsize)


def _in_turn(network: UNet, x: Tensor, timesteps: Tensor, context: Tensor | Prompt, at_once: int) -> Tensor:
    rows = len(context if isinstance(context, Tensor) else context.context)
    latents = x.repeat(rows // len(x), 1, 1, 1)
    times = timesteps if len(timesteps) == 1 else timesteps.repeat(rows // len(timesteps))
    results = []
    for first in range(0, rows, at_once):
        some = slice(first, first + at_once)
        those = times if len(times) == 1 else times[some]
        results.append(UNet.forward(network, latents[some], those, _prompts(context, some)))
    return torch.cat(results)


def _prompts(context: Tensor | Prompt, some: slice) -> Tensor | Prompt:
    if isinstance(context, Tensor):
        return context[some]
    kept = {layer: (keys[some], values[some]) for layer, (keys, values) in context.kept.items()}
    return replace(context, context=context.context[some], kept=kept)
