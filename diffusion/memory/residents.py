"""The networks that are in memory: which stay, which go, and what is done when memory runs out."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from diffusion.assembly import Assembled, LayerMaker, assemble, held_bytes
from diffusion.memory import heap
from diffusion.memory.machine import available_bytes, default_budget, private_bytes
from diffusion.memory.shortage import NotEnoughMemory, with_relief
from diffusion.memory.sizes import readable
from diffusion.memory.streaming import Stream, streamed
from diffusion.memory.transfer import transfer_to

Network = TypeVar("Network", bound=nn.Module)
Result = TypeVar("Result")

_RESERVE = 48 << 20
"""Left free under a limit for what making weights takes beside them."""
_REMEDY = "Make the picture smaller, lower batch_size, compute with --dtype bf16, or end other programs."


@dataclass(frozen=True, eq=False)
class Way(Generic[Result]):
    """A way to do a step. needs: the bytes it takes beside the weights."""

    needs: int
    run: Callable[[], Result]


class Residents:
    """Keeps the networks used last, by key: those that fit `budget` bytes together, the one in use always.

    With a `limit` instead, all that this process holds on `device` stays within that many bytes while a step runs:
    networks are streams then, of which as much stays in memory as the step leaves room for.
    """

    def __init__(self, device: torch.device, *, budget: int | None = None, limit: int | None = None) -> None:
        self._device = device
        self._limit = limit
        self._budget = default_budget(device) if budget is None else budget
        self._whole: OrderedDict[Hashable, Assembled] = OrderedDict()
        self._streamed: dict[Hashable, nn.Module] = {}
        self._streams: WeakKeyDictionary[nn.Module, Stream] = WeakKeyDictionary()
        self._fitted: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
        self._transfer = None if limit is None else transfer_to(device)
        self._one_at_a_time = threading.RLock()
        if device.type == "cpu":
            heap.prepare(strict=limit is not None)
        if device.type == "cuda" and limit is not None:
            total = torch.cuda.get_device_properties(device).total_memory
            torch.cuda.set_per_process_memory_fraction(min(limit / total, 1.0), device)

    def get(self, key: Hashable, blueprint: Callable[[], nn.Module], maker: LayerMaker) -> nn.Module:
        """The network of this key; if it is not there, the one that `blueprint` lays out, with weights by `maker`.

        Raises RuntimeError when the weights are not those of the network, NotEnoughMemory when it cannot be held.
        """
        if self._transfer is not None:
            if key not in self._streamed:
                network = blueprint()
                self._streams[network] = streamed(network, maker, self._transfer)
                self._streamed[key] = network
            return self._streamed[key]
        if key not in self._whole:
            assembled = with_relief(
                lambda: self._assembled(blueprint(), maker),
                relieve=self.release,
                situation=self._situation,
            )
            self._whole[key] = assembled
            self._evict()
        self._whole.move_to_end(key)
        return self._whole[key].network

    def attempt(self, network: nn.Module, ways: Sequence[Way[Result]], *, large_maps: bool = False) -> Result:
        """The result of the first of `ways`, a step of `network`, each a smaller one than that before it.

        large_maps: the step is not one of many; what it allocates goes back at once. When memory runs out all other
        networks are let go and the first is tried again, then the others in turn. Raises NotEnoughMemory when none
        works.
        """
        if large_maps and self._device.type == "cpu" and self._limit is None:
            with heap.apart():
                return self.attempt(network, ways)
        run = [partial(self._run, network, way) for way in ways]
        return with_relief(
            run[0],
            relieve=partial(self._release_others, network),
            smaller=run[1:],
            situation=self._situation,
        )

    def drop(self, key: Hashable) -> None:
        """Let go of the network of this key, if it is there."""
        self._whole.pop(key, None)
        network = self._streamed.pop(key, None)
        if network is not None:
            self._streams[network].release()
            self._fitted.pop(network, None)

    def release(self) -> None:
        """Let go of every network; the next use makes it anew."""
        self._whole.clear()
        self._streamed.clear()
        for stream in self._streams.values():
            stream.release()
        self._fitted.clear()
        self._give_back()

    def _assembled(self, network: nn.Module, maker: LayerMaker) -> Assembled:
        relatives = [held for held in self._whole.values() if held.maker.is_like(maker)]
        if self._device.type != "cpu":
            return assemble(network, maker, relatives)
        with heap.apart():
            return assemble(network, maker, relatives)

    def _evict(self) -> None:
        """Drop the networks used longest ago, never the last one, until the rest fit the budget."""
        while len(self._whole) > 1 and held_bytes(tuple(self._whole.values())) > self._budget:
            self._whole.popitem(last=False)

    def _release_others(self, network: nn.Module) -> None:
        self._whole = OrderedDict((key, held) for key, held in self._whole.items() if held.network is network)
        for other, stream in self._streams.items():
            if other is not network:
                stream.release()
                self._fitted.pop(other, None)
        self._give_back()

    def _give_back(self) -> None:
        heap.trim()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _run(self, network: nn.Module, way: Way[Result]) -> Result:
        if self._limit is None:
            return way.run()
        with self._one_at_a_time:
            self._fit(network, way.needs, self._limit)
            try:
                return way.run()
            finally:
                self._streams[network].end_pass()

    def _fit(self, network: nn.Module, needs: int, limit: int) -> None:
        """Make the network's stream as small as `needs` demands; raises NotEnoughMemory where it cannot be."""
        if self._fitted.get(network) == needs:
            return
        stream = self._streams[network]
        others = sum(other.held_nbytes for other in self._streams.values()) - stream.held_nbytes
        if others and self._room(needs, limit) - others < stream.nbytes:
            self._release_others(network)
            others = 0
        room = self._room(needs, limit) - others
        if not stream.fit(room):
            least = limit - room + stream.least_room
            raise NotEnoughMemory(
                f"A memory limit of {readable(limit)} is too small for this step: it takes {readable(least)} at "
                f"least, {readable(stream.least_room)} for weights and {readable(needs)} for what is computed. Give "
                f"--memory-limit {-(-least // 10**6)}MB or more."
            )
        self._fitted[network] = needs

    def _room(self, needs: int, limit: int) -> int:
        """What the limit leaves for weights."""
        self._give_back()
        return limit - _RESERVE - needs - (self._used() - self._held())

    def _held(self) -> int:
        return held_bytes(tuple(self._whole.values())) + sum(
            stream.held_nbytes for stream in self._streams.values()
        )

    def _used(self) -> int:
        """What this process holds on the device."""
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device)
        return private_bytes()

    def _situation(self) -> str:
        free = torch.cuda.mem_get_info(self._device)[0] if self._device.type == "cuda" else available_bytes()
        known = "an unknown amount" if free is None else readable(free)
        return (
            f"Networks hold {readable(self._held())} of the {readable(self._used())} that this process has; "
            f"{known} is free. {_REMEDY}"
        )
