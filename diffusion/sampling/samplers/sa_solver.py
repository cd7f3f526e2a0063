"""SA-Solver: a stochastic Adams method, predicting with earlier x0 and correcting with the new one.

Xue et al. 2023 ("SA-Solver: Stochastic Adams Solver for Fast Sampling of Diffusion Models"), algorithm 1, for the
prediction of x0, variance exploding, lambda = -log(sigma).
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from diffusion.sampling.noise import StepNoise
from diffusion.sampling.samplers.multistep import weighted
from diffusion.sampling.samplers.steps import Denoise, Step, distinct_levels
from diffusion.sampling.schedule import stable_diffusion_schedule

_START_TIME, _END_TIME = 0.8 * 999, 0.2 * 999
"""Training times between which noise is added by default."""


@dataclass(frozen=True)
class _Move:
    """From one level to the next: h in lambda, and tau, the strength of the noise on the way (eq. 6)."""

    sigma: float
    after: float
    tau: float
    added: Tensor | None = None

    @property
    def h(self) -> float:
        return math.log(self.sigma / self.after)

    @property
    def speed(self) -> float:
        return 1 + self.tau**2

    def applied(self, x: Tensor, known: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """x moved: what is left of it, the predictions, and the noise."""
        x = x * math.exp(-self.speed * self.h) + weighted(weights, known)
        return x if self.added is None else x + self.added


def sa_solver(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    start_sigma: float | None = None,
    end_sigma: float | None = None,
    s_noise: float = 1.0,
    predictor_order: int = 3,
    corrector_order: int = 4,
    use_pece: bool = False,
    simple_order_2: bool = False,
) -> Iterator[Step]:
    """One model call a step, two with use_pece, which predicts anew from what was corrected.

    eta: strength of the noise at levels from start_sigma down to end_sigma (default: from 0.8 to 0.2 of the training
    times), 0 elsewhere. predictor_order: 1 or more; corrector_order: 0 or more, 0 for none. simple_order_2: the second
    order coefficients of appendix D. Orders fall towards a step to zero, which is the last x0.
    """
    _check_orders(predictor_order, corrector_order)
    levels = distinct_levels(sigmas)
    strength = _strength(eta, start_sigma, end_sigma)
    known: deque[Tensor] = deque(maxlen=max(predictor_order, corrector_order))  # newest first
    to_zero = levels[-1] == 0
    predicted, last = x, None
    for i, (sigma, after) in enumerate(pairwise(levels)):
        denoised = denoise(predicted, sigma)
        known.appendleft(denoised)
        past = levels[i + 1 - len(known) : i + 1][::-1]
        order = min(corrector_order, len(known), len(levels) - 1 - i if to_zero else len(known))
        if last is None or order == 0 or (after == 0 and not use_pece):
            x = predicted
        else:
            weights = _corrector_weights(last, past[:order], simple_order_2)
            x = last.applied(x, list(known)[:order], weights)
            if use_pece:
                known[0] = denoised = denoise(x, sigma)
        if after == 0:
            yield Step(denoised, denoised)
            continue
        last = _with_noise(_Move(sigma, after, strength(after)), s_noise, noise)
        order = min(predictor_order, len(known), len(levels) - 2 - i if to_zero else len(known))
        weights = _predictor_weights(last, past[:order], simple_order_2)
        predicted = last.applied(x, list(known)[:order], weights)
        yield Step(predicted, denoised)


def sa_solver_pece(
    denoise: Denoise,
    x: Tensor,
    sigmas: Tensor,
    noise: StepNoise,
    *,
    eta: float = 1.0,
    start_sigma: float | None = None,
    end_sigma: float | None = None,
    s_noise: float = 1.0,
    predictor_order: int = 3,
    corrector_order: int = 4,
    simple_order_2: bool = False,
) -> Iterator[Step]:
    """The same with two model calls a step."""
    return sa_solver(
        denoise,
        x,
        sigmas,
        noise,
        eta=eta,
        start_sigma=start_sigma,
        end_sigma=end_sigma,
        s_noise=s_noise,
        predictor_order=predictor_order,
        corrector_order=corrector_order,
        use_pece=True,
        simple_order_2=simple_order_2,
    )


def _check_orders(predictor: int, corrector: int) -> None:
    if predictor < 1 or corrector < 0:
        raise ValueError(
            f"sa_solver needs a predictor_order of 1 or more (3 is usual) and a corrector_order of 0 or more (4); got "
            f"{predictor} and {corrector}."
        )


def _strength(eta: float, start_sigma: float | None, end_sigma: float | None) -> Callable[[float], float]:
    start, end = stable_diffusion_schedule().sigma(torch.tensor([_START_TIME, _END_TIME])).tolist()
    highest = start if start_sigma is None else start_sigma
    lowest = end if end_sigma is None else end_sigma
    return lambda sigma: eta if eta > 0 and lowest <= sigma <= highest else 0.0


def _with_noise(move: _Move, s_noise: float, noise: StepNoise) -> _Move:
    if move.tau <= 0 or s_noise <= 0:
        return move
    variance = max(-math.expm1(-2 * move.tau**2 * move.h), 0.0)
    return replace(move, added=noise(move.sigma, move.after) * (move.after * math.sqrt(variance) * s_noise))


def _predictor_weights(move: _Move, levels: Sequence[float], simple: bool) -> list[float]:
    """Of the predictions at `levels`, newest first, for the move that begins at levels[0] (eq. 14)."""
    if not simple or len(levels) != 2:
        return _adams_weights(move, levels)
    older = move.speed * move.h**2 / 2 / math.log(levels[0] / levels[1])
    return [-math.expm1(-move.speed * move.h) - older, older]


def _corrector_weights(move: _Move, levels: Sequence[float], simple: bool) -> list[float]:
    """The same for the move that ends at levels[0] (eq. 17)."""
    if not simple or len(levels) != 2:
        return _adams_weights(move, levels)
    newest = move.speed * move.h / 2
    return [newest, -math.expm1(-move.speed * move.h) - newest]


def _adams_weights(move: _Move, levels: Sequence[float]) -> list[float]:
    """The integral of k exp(k s) times each Lagrange basis polynomial over `levels`, s = lambda - lambda at the end.

    From the integrals of k exp(k s) s^p over the move, by parts, and the matrix that takes a polynomial's values to its
    coefficients. k is 1 + tau^2.
    """
    h, k = move.h, move.speed
    moments = [-math.expm1(-k * h)]
    for p in range(1, len(levels)):
        moments.append(-((-h) ** p) * math.exp(-k * h) - p / k * moments[-1])
    places = np.array([math.log(move.after / level) for level in levels])
    return [float(weight) for weight in np.linalg.solve(np.vander(places, increasing=True).T, moments)]
