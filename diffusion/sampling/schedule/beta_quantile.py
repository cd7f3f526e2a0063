"""Quantiles of the beta distribution, to the nearest of evenly spaced points: all that schedules need of them."""

import math

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_ITERATIONS = 300
_ACCURACY = 1e-15
_TIE = 1e-13
_TINY = 1e-300


def nearest_upper_quantiles(tails: Numbers, alpha: float, beta: float, points: int) -> NDArray[np.intp]:
    """For each q of `tails`, the k of 0..points for which k / points is nearest to where the upper tail has mass q.

    A quantile rounds to k when it lies past k midpoints, so the distribution is looked up at the midpoints instead of
    being inverted. q: 0 to below 1.
    """
    midpoints = (np.arange(points) + 0.5) / points
    # One on a midpoint rounds up: the middle of a symmetric distribution, up to rounding.
    falling = upper_tail(midpoints, alpha, beta) * (1 + _TIE)
    return points - np.searchsorted(falling[::-1], tails, side="right")


def upper_tail(x: Numbers, alpha: float, beta: float) -> Numbers:
    """The mass of the beta distribution above x: 1 - I_x(alpha, beta), I the regularised incomplete beta function.

    x: ascending, in 0..1 without the ends.
    """
    # The continued fraction converges fast below the mean; above it, the other tail's does.
    below = x < (alpha + 1) / (alpha + beta + 2)
    above = _lower_tail(1 - x[~below], beta, alpha)
    return np.concatenate([1 - _lower_tail(x[below], alpha, beta), above])


def _lower_tail(x: Numbers, a: float, b: float) -> Numbers:
    """I_x(a, b) by its continued fraction (Abramowitz and Stegun, 26.5.8), summed by Lentz's method."""
    log_front = a * np.log(x) + b * np.log1p(-x) + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    c = np.ones_like(x)
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, _ITERATIONS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = fraction
        for coefficient in (even, odd):
            d = 1 / _away_from_zero(1 + coefficient * d)
            c = _away_from_zero(1 + coefficient / c)
            fraction = fraction * c * d
        if np.all(np.abs(fraction - before) <= _ACCURACY * np.abs(fraction)):
            break
    return np.exp(log_front) * fraction / a


def _away_from_zero(value: Numbers) -> Numbers:
    return np.where(np.abs(value) < _TINY, _TINY, value)
