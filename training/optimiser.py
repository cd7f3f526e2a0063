"""Muon for matrices and AdamW for everything else, with one rate schedule over both.

Muon: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks": momentum, made orthogonal by a
Newton-Schulz iteration. The 0.2 * sqrt(longer side) that gives its steps AdamW's size is Liu et al. 2025, eq. 4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
MOMENTUM = 0.95
BETAS = (0.9, 0.98)
EPSILON = 1e-8


@dataclass(frozen=True)
class Rates:
    """How fast parameters move.

    matrix: Muon's rate. other: AdamW's. decay: weight decay of matrices, a share of their rate.
    plain: parts of names whose matrices go to AdamW all the same: first and last layers, embeddings.
    slowed: prefixes of names, and what their rate is multiplied by.
    """

    matrix: float = 2e-3
    other: float = 1.5e-3
    decay: float = 0.01
    plain: tuple[str, ...] = ("embedding", "conv_in", "conv_out", "input_blocks.0.", "unet.out.")
    slowed: Mapping[str, float] = field(default_factory=dict)


class Optimiser:
    """Updates a network's trainable parameters in place. Its state is a flat mapping of tensors."""

    def __init__(self, network: nn.Module, rates: Rates) -> None:
        self._rates = rates
        self._parameters = {
            name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad
        }
        self._matrices = {
            name
            for name, parameter in self._parameters.items()
            if parameter.ndim >= 2 and not any(part in name for part in rates.plain)
        }
        self._state: dict[str, Tensor] = {}
        for name, parameter in self._parameters.items():
            self._state[f"{name}.first"] = torch.zeros_like(parameter)
            if name not in self._matrices:
                self._state[f"{name}.second"] = torch.zeros_like(parameter)
                self._state[f"{name}.count"] = torch.zeros(())

    @property
    def names(self) -> Sequence[str]:
        """The parameters it updates, in the order in which `step` expects their gradients."""
        return tuple(self._parameters)

    def state(self) -> dict[str, Tensor]:
        """Everything needed to go on later. The tensors are its own, not copies."""
        return self._state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned. Raises ValueError when it belongs to another network."""
        if state.keys() != self._state.keys():
            raise ValueError(
                "the saved optimiser state belongs to another network; start with a fresh work folder"
            )
        for name, value in state.items():
            self._state[name].copy_(value)

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor | None], *, scale: float) -> None:
        """One step. gradients: one for each of `names`, None leaves it alone. scale: of both rates, 0..1."""
        for (name, parameter), gradient in zip(self._parameters.items(), gradients, strict=True):
            if gradient is None:
                continue
            slowed = next((share for part, share in self._rates.slowed.items() if name.startswith(part)), 1.0)
            if name in self._matrices:
                self._muon(name, parameter, gradient, self._rates.matrix * scale * slowed)
            else:
                self._adam(name, parameter, gradient, self._rates.other * scale * slowed)

    def _muon(self, name: str, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        momentum = self._state[f"{name}.first"]
        momentum.mul_(MOMENTUM).add_(gradient)
        direction = orthogonal(gradient.add(momentum, alpha=MOMENTUM).flatten(1))
        size = 0.2 * math.sqrt(max(direction.shape))
        parameter.mul_(1 - rate * self._rates.decay)
        parameter.add_(direction.view_as(parameter), alpha=-rate * size)

    def _adam(self, name: str, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        first, second, count = (self._state[f"{name}.{part}"] for part in ("first", "second", "count"))
        count += 1
        first.lerp_(gradient, 1 - BETAS[0])
        second.lerp_(gradient.square(), 1 - BETAS[1])
        steps = count.item()
        spread = (second / (1 - BETAS[1] ** steps)).sqrt_().add_(EPSILON)
        parameter.addcdiv_(first, spread, value=-rate / (1 - BETAS[0] ** steps))


def orthogonal(matrix: Tensor) -> Tensor:
    """Nearly the closest matrix to `matrix` [m, n] with singular values of one (five steps, in bfloat16)."""
    a, b, c = NEWTON_SCHULZ
    x = matrix.bfloat16()
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if tall else x).float()
