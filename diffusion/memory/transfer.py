"""How the weights of a part get from a mapped file to where they compute, while another part is computing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from diffusion.assembly import LayerMaker
from diffusion.files.pages import FilePages
from diffusion.patches import touching

Made = TypeVar("Made")


class Transfer(Protocol):
    """Makes parts in a thread of its own."""

    def submit(self, make: Callable[[], Made]) -> Future[Made]:
        """Begin to make a part."""
        ...

    def fill(self, maker: LayerMaker, name: str, layer: nn.Module, file_pages: FilePages) -> None:
        """Give a layer of the part its weights."""
        ...

    def await_arrival(self, part: nn.Module) -> None:
        """Let what computes next wait until the part's weights are there."""
        ...


class InMemory:
    """On a processor: converting is all there is to do."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "weft-weights")

    def submit(self, make: Callable[[], Made]) -> Future[Made]:
        return self._thread.submit(make)

    def fill(self, maker: LayerMaker, name: str, layer: nn.Module, file_pages: FilePages) -> None:
        maker.fill(name, layer, file_pages)

    def await_arrival(self, part: nn.Module) -> None:
        """They are there."""


class ToGpu:
    """To a CUDA device: converted into pinned memory, copied from there on a stream beside the one that computes."""

    def __init__(self, device: torch.device) -> None:
        self._thread = ThreadPoolExecutor(1, "weft-weights")
        self._device = device
        self._copies = torch.cuda.Stream(device)
        self._pinned = torch.empty(0, dtype=torch.uint8, pin_memory=True)

    def submit(self, make: Callable[[], Made]) -> Future[Made]:
        return self._thread.submit(self._on_stream, make)

    def _on_stream(self, make: Callable[[], Made]) -> Made:
        with torch.cuda.stream(self._copies):
            made = make()
            # The pinned memory is used again for the next part, so this one must have left it.
            self._copies.synchronize()
            return made

    def fill(self, maker: LayerMaker, name: str, layer: nn.Module, file_pages: FilePages) -> None:
        for parameter, source in maker.sources(name, layer).items():
            key = f"{name}.{parameter}"
            changed = maker.storage is not None or bool(touching(key, maker.patches))
            tensor = maker.weight(key, source) if changed else self._copied(source, maker.dtype)
            layer.register_parameter(parameter, nn.Parameter(tensor, requires_grad=False))
            file_pages.drop(source)

    def _copied(self, source: Tensor, dtype: torch.dtype) -> Tensor:
        nbytes = source.numel() * dtype.itemsize
        if self._pinned.nbytes < nbytes:
            self._pinned = torch.empty(nbytes, dtype=torch.uint8, pin_memory=True)
        else:
            self._copies.synchronize()
        staged = self._pinned[:nbytes].view(dtype).view(source.shape)
        staged.copy_(source)
        return staged.to(self._device, non_blocking=True)

    def await_arrival(self, part: nn.Module) -> None:
        """Made parts have arrived; the allocator must know that the computing stream uses them too."""
        computing = torch.cuda.current_stream(self._device)
        for parameter in part.parameters():
            parameter.record_stream(computing)


def transfer_to(device: torch.device) -> Transfer:
    """The way to `device`."""
    return ToGpu(device) if device.type == "cuda" else InMemory()
