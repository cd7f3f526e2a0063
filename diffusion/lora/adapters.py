"""The kinds of trained changes beside plain low-rank factors: LoHa, LoKr, whole differences, and DoRA upon any."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion.lora.patch import Change, same_shape


@dataclass(frozen=True, eq=False)
class Factored:
    """A matrix, or a kernel taken for one: a whole tensor, or factors a and b of it.

    whole: [N, M] or [N, M', kh, kw]. a [N, R], b [R, M]; or with a core, the kernel's own factor [R, R, kh, kw], a is
    [R, N] and b [R, M'] (the CP form of Yeh et al. 2023, "LyCORIS", section 3.2).
    """

    whole: Tensor | None = None
    a: Tensor | None = None
    b: Tensor | None = None
    core: Tensor | None = None

    @property
    def rank(self) -> int | None:
        """R; None when nothing is factored."""
        return None if self.b is None else self.b.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """[N, M], a kernel's sides counted in M."""
        if self.whole is not None:
            return self.whole.shape[0], math.prod(self.whole.shape[1:])
        assert self.a is not None
        assert self.b is not None
        if self.core is None:
            return self.a.shape[0], self.b.shape[1]
        return self.a.shape[1], self.b.shape[1] * math.prod(self.core.shape[2:])

    def matrix(self, device: torch.device) -> Tensor:
        """It multiplied out, [N, M] float32."""
        if self.whole is not None:
            return self.whole.to(device, torch.float32).flatten(1)
        assert self.a is not None
        assert self.b is not None
        a, b = self.a.to(device, torch.float32), self.b.to(device, torch.float32)
        if self.core is None:
            return a @ b
        core = self.core.to(device, torch.float32)
        return torch.einsum("rskl,rn,sm->nmkl", core, a, b).flatten(1)


@dataclass(frozen=True, eq=False)
class Hadamard:
    """LoHa: the product, element by element, of two low-rank matrices (Hyeon-Woo et al. 2022, "FedPara", eq. 2)."""

    name: str
    first: Factored
    second: Factored
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """[O, I], a kernel's sides counted in I."""
        return self.first.shape

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) > 1 and self.shape == (shape[0], math.prod(shape[1:]))

    def added_to(self, weight: Tensor, strength: float) -> Tensor:
        product = self.first.matrix(weight.device) * self.second.matrix(weight.device)
        return weight + (strength * self.scale) * product.reshape(weight.shape)


@dataclass(frozen=True, eq=False)
class Kronecker:
    """LoKr: the Kronecker product of a small matrix and a larger one, each of low rank or whole (Yeh et al. 2023)."""

    name: str
    first: Factored
    second: Factored
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        """[O, I], a kernel's sides counted in I."""
        (rows, columns), (inner_rows, inner_columns) = self.first.shape, self.second.shape
        return rows * inner_rows, columns * inner_columns

    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) > 1 and self.shape == (shape[0], math.prod(shape[1:]))

    def added_to(self, weight: Tensor, strength: float) -> Tensor:
        # A kernel's sides come last in the larger matrix, and so in the product.
        product = torch.kron(self.first.matrix(weight.device), self.second.matrix(weight.device))
        return weight + (strength * self.scale) * product.reshape(weight.shape)


@dataclass(frozen=True, eq=False)
class Difference:
    """A change kept whole: of a weight, a norm's scale, or a bias."""

    name: str
    tensor: Tensor
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    def fits(self, shape: tuple[int, ...]) -> bool:
        return same_shape(self.shape, shape)

    def added_to(self, weight: Tensor, strength: float) -> Tensor:
        difference = self.tensor.to(weight.device, torch.float32).reshape(weight.shape)
        return weight + (strength * self.scale) * difference


@dataclass(frozen=True, eq=False)
class Decomposed:
    """DoRA: the changed weight with its rows' lengths replaced by learned ones (Liu et al. 2024, eq. 5).

    direction: the change that the lengths are of. magnitude: [O], or [I] for files that take columns in place of rows.
    Between strength 0 and 1 lies the line between the weight and the changed one.
    """

    direction: Change
    magnitude: Tensor
    of_rows: bool = True

    @property
    def name(self) -> str:
        return self.direction.name

    @property
    def scale(self) -> float:
        return self.direction.scale

    @property
    def shape(self) -> tuple[int, ...]:
        return self.direction.shape

    def fits(self, shape: tuple[int, ...]) -> bool:
        return self.direction.fits(shape) and self.magnitude.numel() == shape[0 if self.of_rows else 1]

    def added_to(self, weight: Tensor, strength: float) -> Tensor:
        changed = self.direction.added_to(weight, 1.0)
        axis = 0 if self.of_rows else 1
        others = [other for other in range(weight.ndim) if other != axis]
        length = changed.square().sum(dim=others, keepdim=True).sqrt()
        magnitude = self.magnitude.to(weight.device, torch.float32).reshape(length.shape)
        # A row of zeros has no direction to be given a length.
        turned = changed * (magnitude / length.clamp_min(torch.finfo(torch.float32).tiny))
        return torch.lerp(weight, turned, strength)
