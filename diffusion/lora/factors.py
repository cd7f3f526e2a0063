"""One module's tensors of a LoRA file, checked and made into changes of its weight and bias."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffusion.lora.adapters import Decomposed, Difference, Factored, Hadamard, Kronecker
from diffusion.lora.keys import Role
from diffusion.lora.patch import Change, LowRank
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

    def said(self, *roles: Role) -> str:
        """The keys of these roles with their shapes, for messages."""
        present = (self.entries[role] for role in roles if role in self.entries)
        return " and ".join(f"{key} {list(tensor.shape)}" for key, tensor in present)


def changes(module: ModuleTensors, settings: AdapterSettings) -> dict[str, Change]:
    """What the module's tensors change, by parameter: "weight", "bias" or both.

    Raises ValueError, naming the key, when they are incomplete, misshapen or not finite.
    """
    for key, tensor in module.entries.values():
        if not tensor.is_floating_point():
            raise ValueError(f"{key} is {tensor.dtype}; a LoRA's tensors are floating point")
        if not _is_finite(tensor):
            raise ValueError(
                f"{key} has NaN or infinite values; this LoRA was spoiled in training or in storage"
            )
    present = [roles for roles in _KINDS if not module.entries.keys().isdisjoint(roles)]
    if len(present) > 1:
        both = module.said(*(role for roles in present for role in roles))
        raise ValueError(f"{both}: these are changes of two kinds to one weight; keep one of them")
    found: dict[str, Change] = {}
    if present:
        found["weight"] = _decomposed(module, _KINDS[present[0]](module, settings))
    elif lengths := module.entries.keys() & _LENGTHS:
        raise ValueError(f"{module.said(*lengths)} has no factors beside it; the file is incomplete")
    if bias := _bias(module, found.get("weight")):
        found["bias"] = bias
    return found


def low_rank(module: ModuleTensors, settings: AdapterSettings) -> LowRank:
    """The module's low-rank factors: LoRA, or LoCon for a convolution."""
    down, up, mid = module.tensor("down"), module.tensor("up"), module.tensor("mid")
    if down is None or up is None:
        lacking = "up" if up is None else "down"
        present = next(key for role, (key, _) in module.entries.items() if role in _LOW_RANK)
        raise ValueError(f"{present} has no {lacking} factor beside it; the file is incomplete")
    _check_shapes(module, down, up, mid)
    return LowRank(module.head, down, up, mid, _scale(module, settings, rank=down.shape[0]))


def _hadamard(module: ModuleTensors, settings: AdapterSettings) -> Hadamard:
    first = _factored(module, "LoHa", a="hada_w1_a", b="hada_w1_b", core="hada_t1")
    second = _factored(module, "LoHa", a="hada_w2_a", b="hada_w2_b", core="hada_t2")
    if first.shape != second.shape:
        said = module.said(*_HADAMARD)
        raise ValueError(
            f"{said}: a LoHa's two matrices are of one shape, and these make {first.shape} and {second.shape}"
        )
    return Hadamard(module.head, first, second, _scale(module, settings, rank=first.rank))


def _kronecker(module: ModuleTensors, settings: AdapterSettings) -> Kronecker:
    first = _factored(module, "LoKr", whole="lokr_w1", a="lokr_w1_a", b="lokr_w1_b")
    second = _factored(module, "LoKr", whole="lokr_w2", a="lokr_w2_a", b="lokr_w2_b", core="lokr_t2")
    return Kronecker(module.head, first, second, _scale(module, settings, rank=second.rank or first.rank))


def _difference(module: ModuleTensors, settings: AdapterSettings) -> Difference:
    tensor = module.tensor("diff")
    assert tensor is not None
    return Difference(module.head, tensor)


def _decomposed(module: ModuleTensors, change: Change) -> Change:
    """The change, with learned lengths if the file has any: kohya's of rows or of columns, peft's of rows."""
    for role in _LENGTHS:
        if (lengths := module.tensor(role)) is not None:
            of_rows = role == "magnitude" or lengths.ndim < 2 or lengths.shape[0] == change.shape[0]
            count, (rows, columns, *_) = lengths.numel(), (*change.shape, 0)
            if count != rows if of_rows else not count or columns % count:
                raise ValueError(
                    f"{module.said(role)}: lengths for a change of {rows} rows and {columns} columns"
                )
            return Decomposed(change, lengths, of_rows)
    return change


def _bias(module: ModuleTensors, weight: Change | None) -> Difference | None:
    whole, trained = module.tensor("diff_b"), module.tensor("up_bias")
    if whole is not None:
        return Difference(module.head, whole)
    if trained is None:
        return None
    if weight is None:
        raise ValueError(f"{module.key('up_bias')} has no factors beside it; the file is incomplete")
    return Difference(module.head, trained, weight.scale)


_LOW_RANK: tuple[Role, ...] = ("down", "up", "mid")
_HADAMARD: tuple[Role, ...] = ("hada_w1_a", "hada_w1_b", "hada_t1", "hada_w2_a", "hada_w2_b", "hada_t2")
_KRONECKER: tuple[Role, ...] = (
    *("lokr_w1", "lokr_w1_a", "lokr_w1_b"),
    *("lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
)
_KINDS: Mapping[tuple[Role, ...], Callable[[ModuleTensors, AdapterSettings], Change]] = {
    _LOW_RANK: low_rank,
    _HADAMARD: _hadamard,
    _KRONECKER: _kronecker,
    ("diff",): _difference,
}
"""The kinds of changes by the roles of their tensors."""
_LENGTHS: tuple[Role, ...] = ("magnitude", "dora_scale")


def _factored(
    module: ModuleTensors,
    kind: str,
    *,
    a: Role,
    b: Role,
    whole: Role | None = None,
    core: Role | None = None,
) -> Factored:
    """A matrix, whole or in factors, under these roles; checked."""
    tensors = [None if role is None else module.tensor(role) for role in (whole, a, b, core)]
    found = Factored(*tensors)
    said = module.said(*(role for role in (whole, a, b, core) if role is not None))
    if found.whole is not None:
        if found.whole.ndim not in (2, 4) or 0 in found.whole.shape:
            raise ValueError(f"{said}: a whole matrix of a {kind} has 2 axes, or 4 for a convolution")
        return Factored(found.whole)
    if found.a is None or found.b is None:
        lacking = a if found.a is None else b
        raise ValueError(f"{said or module.head} has no {lacking} beside it; the file is incomplete")
    axes = found.core is None or found.core.ndim == 4
    if found.a.ndim != 2 or found.b.ndim != 2 or not axes or 0 in (*found.a.shape, *found.b.shape):
        raise ValueError(f"{said}: factors of a {kind} are matrices, with a core of 4 axes for a convolution")
    ranks = (found.a.shape[1],) if found.core is None else (found.a.shape[0], *found.core.shape[:2])
    if set(ranks) != {found.b.shape[0]}:
        raise ValueError(f"{said}: their ranks disagree")
    return found


def _is_finite(tensor: Tensor) -> bool:
    """Whether every value is. The extremes are NaN if any value is, and finding them copies nothing."""
    if tensor.numel() == 0:
        return True
    # Eight-bit floats have no arithmetic of their own.
    extremes = torch.aminmax(tensor if tensor.itemsize > 1 else tensor.float())
    return all(math.isfinite(float(extreme)) for extreme in extremes)


def _check_shapes(module: ModuleTensors, down: Tensor, up: Tensor, mid: Tensor | None) -> None:
    said = module.said(*(role for role in module.entries if role in _LOW_RANK))
    dimensions = {tensor.ndim for tensor in (down, up)} <= {2, 4} and (mid is None or mid.ndim == 4)
    if not dimensions or 0 in down.shape:
        raise ValueError(f"{said}: a LoRA's factors are matrices or the weights of 2-D convolutions")
    ranks = {down.shape[0], up.shape[1], *(mid.shape[:2] if mid is not None else ())}
    if len(ranks) > 1:
        raise ValueError(f"{said}: their ranks disagree ({', '.join(map(str, sorted(ranks)))})")
    pointwise = [up] if mid is None else [up, down]
    if any(size != 1 for tensor in pointwise for size in tensor.shape[2:]):
        raise ValueError(f"{said}: only the factor next to the input, or the middle one, may have a kernel")


def _scale(module: ModuleTensors, settings: AdapterSettings, *, rank: int | None) -> float:
    """alpha / rank. The alpha of the module's own tensors goes before that of the settings.

    rank: None when nothing is factored; then there is nothing for the file's alpha to make up for.
    """
    alpha = module.tensor("alpha")
    if alpha is None:
        return settings.scale(module.module, rank)
    if alpha.numel() != 1:
        raise ValueError(f"{module.key('alpha')} has shape {list(alpha.shape)}; alpha is one number")
    return 1.0 if rank is None else float(alpha) / rank
