"""A network whose parts come and go: some stay, the others are made ahead of use and let go after it.

Each layer of some size, or what is only called as a whole, gets entry points of its own that ask for its weights and
compute with them; the network around it, and whatever is attached to that, notices nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from diffusion.assembly import LayerMaker, check_weights, layer_nbytes, layers_of
from diffusion.files.pages import FilePages
from diffusion.memory.plan import AHEAD, least, staying
from diffusion.memory.transfer import Transfer
from diffusion.networks import onednn
from diffusion.networks.unet_blocks import FeedForward
from diffusion.networks.upsampling import EnlargingConv2d
from diffusion.text.text_encoder import Embeddings

_WHOLE = (Embeddings, FeedForward)
"""Modules that reach into their layers or call them several times in turn, and so are parts as a whole."""
_NOT_WORTH_IT = 1 << 17
"""Smaller layers than this just stay: there are hundreds of norms, and all of them take a few megabytes."""
_ENTRIES = ("forward", "enlarge")
"""The methods of parts that others call."""
_PHASES = 16 / 9
"""What an enlarging convolution takes beside its own weight once it is packed (see networks/upsampling.py)."""


class Stream:
    """The parts of one network. Used by one thread at a time; holds no reference to the network itself."""

    def __init__(self, parts: Mapping[str, nn.Module], maker: LayerMaker, transfer: Transfer) -> None:
        self._parts = parts
        self._maker = maker
        self._transfer = transfer
        self._file_pages = FilePages.now()
        self._sizes = {name: _planned_nbytes(part, maker) for name, part in parts.items()}
        self._order = list(parts)
        self._used: dict[str, None] = {}
        self._stay: frozenset[str] = frozenset()
        self._kept: dict[str, nn.Module] = {}
        self._coming: dict[str, Future[nn.Module]] = {}

    @property
    def nbytes(self) -> int:
        """All parts together."""
        return sum(self._sizes.values())

    @property
    def held_nbytes(self) -> int:
        """What is held now, parts on their way included."""
        return sum(self._sizes[name] for name in (*self._kept, *self._coming))

    @property
    def least_room(self) -> int:
        """The least room that `fit` can work with."""
        return least([self._sizes[name] for name in self._order])

    def fit(self, room: int) -> bool:
        """Hold no more than `room` bytes from now on; False where that is impossible. What still fits is kept."""
        stay = staying([self._sizes[name] for name in self._order], room)
        if stay is None:
            return False
        self._stay = frozenset(self._order[place] for place in stay)
        self._kept = {name: part for name, part in self._kept.items() if name in self._stay}
        return True

    def release(self) -> None:
        """Let go of everything; the next use makes what it needs."""
        for future in self._coming.values():
            future.cancel()
        self._kept, self._coming, self._stay = {}, {}, frozenset()

    def run(self, name: str, entry: str, *args: Any, **kwargs: Any) -> Any:
        """What the part `name` gives for these arguments."""
        part = self._take(name)
        self._transfer.await_arrival(part)
        return getattr(part, entry)(*args, **kwargs)

    def end_pass(self) -> None:
        """The network has run once: what it used, in that order, is what it is expected to use next time."""
        unused = [name for name in self._parts if name not in self._used]
        self._order = [*self._used, *unused]
        self._used = {}

    def _take(self, name: str) -> nn.Module:
        self._used[name] = None
        if name in self._kept:
            self._begin_next(name)
            return self._kept[name]
        coming = self._coming.pop(name, None) or self._begin(name)
        self._begin_next(name)
        part = coming.result()
        if name in self._stay:
            self._kept[name] = part
        return part

    def _begin_next(self, name: str) -> None:
        """Begin to make the next parts that are not there; forget those that came in vain and will not stay."""
        wanted = self._missing_after(name)
        for stale in self._coming.keys() - set(wanted) - self._stay:
            self._coming.pop(stale).cancel()
        for each in wanted:
            if each not in self._coming:
                self._coming[each] = self._begin(each)

    def _missing_after(self, name: str) -> list[str]:
        place = self._order.index(name) + 1
        following = (*self._order[place:], *self._order[: place - 1])
        missing = (each for each in following if each not in self._kept)
        return [each for each, _ in zip(missing, range(AHEAD), strict=False)]

    def _begin(self, name: str) -> Future[nn.Module]:
        return self._transfer.submit(partial(self._make, name))

    def _make(self, name: str) -> nn.Module:
        part = copy.deepcopy(self._parts[name])
        for inner, layer in list(layers_of(part)):
            self._transfer.fill(self._maker, f"{name}.{inner}" if inner else name, layer, self._file_pages)
        return part.eval()


@dataclass(frozen=True, eq=False)
class _Entry:
    """A method of a part, in place of the layer's own."""

    stream: Stream
    name: str
    entry: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.stream.run(self.name, self.entry, *args, **kwargs)


def streamed(network: nn.Module, maker: LayerMaker, transfer: Transfer) -> Stream:
    """Give the parts of `network`, which is on the meta device and stays there, entries that make them when called.

    Raises RuntimeError when the weights are not those of the network.
    """
    check_weights(network, maker.weights)
    network.to(maker.dtype).eval()
    parts = {}
    file_pages = FilePages.now()
    for name, part in list(_parts(network)):
        if _planned_nbytes(part, maker) >= _NOT_WORTH_IT:
            parts[name] = part
            continue
        for inner, layer in list(layers_of(part)):
            maker.fill(f"{name}.{inner}" if inner else name, layer, file_pages)
    stream = Stream({name: copy.deepcopy(part) for name, part in parts.items()}, maker, transfer)
    for name, part in parts.items():
        for entry in _ENTRIES:
            if hasattr(part, entry):
                setattr(part, entry, _Entry(stream, name, entry))
    return stream


def _parts(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    if isinstance(module, _WHOLE) or any(place is not None for place in module._parameters.values()):
        yield name, module
        return
    for child, inner in module.named_children():
        yield from _parts(inner, f"{name}.{child}" if name else child)


def _planned_nbytes(part: nn.Module, maker: LayerMaker) -> int:
    """What a part will hold once it is made."""
    held = sum(layer_nbytes(layer) for _, layer in layers_of(part))
    packs = maker.pack and maker.device.type == "cpu" and onednn.usable(maker.dtype)
    if packs and isinstance(part, EnlargingConv2d):
        held += int(part.weight.nbytes * _PHASES)
    return held
