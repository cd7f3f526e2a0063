"""A LoRA made of the difference of two models: of each weight's the nearest matrix of low rank, or the whole.

Names are kohya's, which every program that applies LoRA files reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from diffusion.checkpoints.diffusers_names import unet_modules
from diffusion.files.safetensors_writing import Stored
from diffusion.lora.keys import flattened
from diffusion.merging import Sum
from diffusion.model import Clip, Model
from diffusion.patches import patched_weight

Kind = Literal["standard", "full_diff"]
_DTYPE = torch.float16
_LEAST = 1e-6
_LARGE = 512
"""From this side on, a matrix is looked into in part: finding all eigenvectors takes the cube of it."""
_SPARE, _ROUNDS = 8, 6


def extracted(
    difference: Model | Clip,
    *,
    rank: int,
    kind: Kind,
    norms_and_biases: bool,
    on_weight: Callable[[int, int], object] | None = None,
) -> dict[str, Stored]:
    """The LoRA of a difference, as diffusion.merging makes it, by the keys of a file.

    rank: at most so much for each weight. kind: "standard" for factors, "full_diff" for the differences themselves.
    norms_and_biases: whether what has no factors is taken whole. What does not differ is left out of a standard one.
    on_weight is told (weights done, weights in all), and what it raises ends it: large models take minutes. Raises
    ValueError for what is no difference of two models, and where nothing differs.
    """
    if not any(isinstance(patch, Sum) for patch in difference.patches):
        raise ValueError(
            "This is a whole model, not the difference of two: a LoRA of it would replace the model that it is put on. "
            "Connect what ModelMergeSubtract (CLIPMergeSubtract for a text encoder) gives."
        )
    names = _names(difference)
    found: dict[str, Stored] = {}
    for done, (key, weight) in enumerate(difference.weights.items()):
        if on_weight is not None:
            on_weight(done, len(difference.weights))
        module, _, parameter = key.rpartition(".")
        head, change = names[module], partial(_change, difference, key)
        if parameter == "bias" or weight.ndim < 2:
            suffix = "diff_b" if parameter == "bias" else "diff"
            if norms_and_biases and bool((difference_here := change()).any()):
                found[f"{head}.{suffix}"] = Stored.of(difference_here.to(_DTYPE))
        elif kind == "full_diff":
            found[f"{head}.diff"] = Stored(_DTYPE, tuple(weight.shape), change)
        else:
            found |= {name: Stored.of(tensor) for name, tensor in _factors(head, change(), rank)}
    if not found:
        raise ValueError("The two models do not differ: there is nothing to make a LoRA of.")
    return found


def nearest_of_rank(change: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(up [O, R], down [R, I]) whose product is the matrix of rank R nearest to change [O, I] (Eckart and Young 1936).

    Found by the eigenvectors of the smaller of the two products of the matrix with itself, in float64: the other side
    is what the matrix makes of them. Those of a large matrix are looked for in a part of the space (see `_reached`).
    Both factors are scaled to the same size.
    """
    wide = change.shape[0] <= change.shape[1]
    matrix = change if wide else change.T
    # Where the part would be most of the space, all of it costs little more.
    part = _reached(matrix.float(), rank) if min(matrix.shape) >= max(_LARGE, 2 * _reach(rank)) else None
    matrix = matrix.double()
    inside = matrix if part is None else part.T @ matrix
    lengths, vectors = torch.linalg.eigh(inside @ inside.T)
    lengths, vectors = lengths[-rank:], vectors[:, -rank:]
    near, far = (vectors if part is None else part @ vectors), vectors.T @ inside
    # A singular value is the root of a length, and each factor gets the root of that. What is next to nothing beside
    # the greatest stays so in both.
    balance = lengths.clamp_min(0).pow(0.25)
    balance = balance.clamp_min(_LEAST * float(balance.max()))
    near, far = near * balance, far / balance[:, None]
    return (near, far) if wide else (far.T, near.T)


def _reach(rank: int) -> int:
    """How many dimensions of the space `_reached` spans."""
    return (rank + _SPARE) * (_ROUNDS + 1)


def _reached(matrix: Tensor, rank: int) -> Tensor:
    """An orthonormal basis [O, D] of the part of the space into which matrix [O, I] stretches the most.

    A block Krylov space from a fixed seed (Musco and Musco 2015, algorithm 2). The differences of trained models have
    few large singular values; of these nothing is lost that float32 could show. Of noise, whose singular values are all
    alike, the best of rank 8 that is found holds 0.98 of what the best of all does.
    """
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(matrix.shape[1], rank + _SPARE, generator=generator)
    blocks = [torch.linalg.qr(matrix @ start.to(matrix.device)).Q]
    for _ in range(_ROUNDS):
        blocks.append(torch.linalg.qr(matrix @ (matrix.T @ blocks[-1])).Q)
    return torch.linalg.qr(torch.cat(blocks, dim=1).double()).Q


def _factors(head: str, change: Tensor, rank: int) -> Iterator[tuple[str, Tensor]]:
    """The tensors of one module of a LoRA; none when nothing changes."""
    if not bool(change.any()):
        return
    up, down = nearest_of_rank(change.flatten(1), min(rank, change.shape[0], change[0].numel()))
    kernel = change.shape[2:]
    ranked = down.shape[0]
    yield f"{head}.lora_up.weight", up.reshape(-1, ranked, *(1 for _ in kernel)).to(_DTYPE)
    yield f"{head}.lora_down.weight", down.reshape(ranked, -1, *kernel).to(_DTYPE)
    yield f"{head}.alpha", torch.tensor(float(ranked), dtype=_DTYPE)


def _change(difference: Model | Clip, key: str) -> Tensor:
    return patched_weight(key, difference.weights[key], difference.patches)


def _names(part: Model | Clip) -> Mapping[str, str]:
    """kohya's name of every module, by ours."""
    if isinstance(part, Model):
        return {ours: f"lora_unet_{flattened(theirs)}" for theirs, ours in unet_modules(part.config).items()}
    modules = (key.rpartition(".")[0] for key in part.weights)
    return {module: f"lora_te_{flattened(module)}" for module in modules}
