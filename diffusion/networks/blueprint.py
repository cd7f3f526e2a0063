"""Networks before they have weights: layers, names and shapes, for a few milliseconds and no memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

Network = TypeVar("Network", bound=nn.Module)


def blueprint(network: Callable[[], Network]) -> Network:
    """What `network` makes, on the meta device."""
    with torch.device("meta"), _WithoutFirstWeights():
        return network()


class _WithoutFirstWeights(TorchFunctionMode):
    """Leaves out the drawing of a layer's first weights: for an embedding on the meta device it would import torch's
    compiler, which takes longer than all the rest of a start."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
