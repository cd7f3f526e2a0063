"""One module's tensors of a LoRA file, checked and made into low-rank factors."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffusion.lora.keys import Role
from diffusion.lora.patch import LowRank
from diffusion.lora.scale import AdapterSettings


@dataclass
class ModuleTensors:
    """What a file holds of one module: key and tensor by role. head, module: as in LoraKey."""

    head: str
    module: str
    entries: dict[Role, tuple[str, Tensor]] = field(default_factory=dict)

    def key(self, role: Role) -> str:
        return self.entries[role][0]

    def tensor(self, role: Role) -> Tensor | None:
        return self.entries[role][1] if role in self.entries else None


def low_rank(module: ModuleTensors, settings: AdapterSettings) -> LowRank:
    """The module's factors. Raises ValueError, naming the key, when they are incomplete, misshapen or not finite."""
    for key, tensor in module.entries.values():
        if not tensor.is_floating_point():
            raise ValueError(f"{key} is {tensor.dtype}; a LoRA's tensors are floating point")
        if not _is_finite(tensor):
            raise ValueError(
                f"{key} has NaN or infinite values; this LoRA was spoiled in training or in storage"
            )
    down, up, mid = module.tensor("down"), module.tensor("up"), module.tensor("mid")
    if down is None or up is None:
        lacking = "up" if up is None else "down"
        present = next(key for role, (key, _) in module.entries.items() if role != "alpha")
        raise ValueError(f"{present} has no {lacking} factor beside it; the file is incomplete")
    _check_shapes(module, down, up, mid)
    return LowRank(module.head, down, up, mid, _scale(module, settings, rank=down.shape[0]))


def _is_finite(tensor: Tensor) -> bool:
    """Whether every value is. The extremes are NaN if any value is, and finding them copies nothing."""
    if tensor.numel() == 0:
        return True
    # Eight-bit floats have no arithmetic of their own.
    extremes = torch.aminmax(tensor if tensor.itemsize > 1 else tensor.float())
    return all(math.isfinite(float(extreme)) for extreme in extremes)


def _check_shapes(module: ModuleTensors, down: Tensor, up: Tensor, mid: Tensor | None) -> None:
    shapes = {module.key(role): tuple(tensor.shape) for role, (_, tensor) in module.entries.items()}
    said = " and ".join(f"{key} {list(shape)}" for key, shape in shapes.items() if not key.endswith(".alpha"))
    dimensions = {tensor.ndim for tensor in (down, up)} <= {2, 4} and (mid is None or mid.ndim == 4)
    if not dimensions or 0 in down.shape:
        raise ValueError(f"{said}: a LoRA's factors are matrices or the weights of 2-D convolutions")
    ranks = {down.shape[0], up.shape[1], *(mid.shape[:2] if mid is not None else ())}
    if len(ranks) > 1:
        raise ValueError(f"{said}: their ranks disagree ({', '.join(map(str, sorted(ranks)))})")
    pointwise = [up] if mid is None else [up, down]
    if any(size != 1 for tensor in pointwise for size in tensor.shape[2:]):
        raise ValueError(f"{said}: only the factor next to the input, or the middle one, may have a kernel")


def _scale(module: ModuleTensors, settings: AdapterSettings, *, rank: int) -> float:
    """alpha / rank. The alpha of the module's own tensors goes before that of the settings."""
    alpha = module.tensor("alpha")
    if alpha is None:
        return settings.scale(module.module, rank)
    if alpha.numel() != 1:
        raise ValueError(f"{module.key('alpha')} has shape {list(alpha.shape)}; alpha is one number")
    return float(alpha) / rank
