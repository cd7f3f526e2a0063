"""The Fréchet distance between two sets of features (Heusel et al. 2017, FID), and files of features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """mean [D] and covariance [D, D] of features, float64. count: of how many, 0 where a file does not say."""

    mean: Array
    covariance: Array
    count: int = 0

    @classmethod
    def of(cls, features: NDArray[Any]) -> FeatureStatistics:
        """Of features [N, D], N at least 2. Raises ValueError for another shape and for NaN."""
        if features.ndim != 2 or len(features) < 2 or features.shape[1] == 0:
            raise ValueError(
                f"Features are [pictures, numbers], of two pictures at least; got {list(features.shape)}."
            )
        values = _finite(features)
        return cls(values.mean(axis=0), np.atleast_2d(np.cov(values, rowvar=False)), len(values))


def frechet_distance(first: FeatureStatistics, second: FeatureStatistics) -> float:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), 0 for the same statistics.

    The last trace is that of (R C2 R)^(1/2) with R = C1^(1/2): the same eigenvalues, of a symmetric matrix. Raises
    ValueError for features of different length.
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(
            f"The features have {len(first.mean)} and {len(second.mean)} numbers: make both with the same network."
        )
    root = _square_root(first.covariance)
    mixed = np.linalg.eigvalsh(_symmetric(root @ second.covariance @ root))
    shared = np.sqrt(mixed.clip(min=0)).sum()
    moved = np.square(first.mean - second.mean).sum()
    return float(max(moved + np.trace(first.covariance) + np.trace(second.covariance) - 2 * shared, 0.0))


def read_features(path: Path) -> FeatureStatistics:
    """Statistics out of a .npy of features [N, D], or a .npz with mu and sigma, as FID programs write them.

    No pickle code is run. Raises ValueError for anything else.
    """
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return FeatureStatistics.of(loaded)
            mean, covariance = (_finite(loaded[name]) for name in ("mu", "sigma"))
    except (KeyError, OSError, EOFError, ValueError) as error:
        raise ValueError(
            f"{path.name} is no file of features ({error}). Use a .npy of [pictures, numbers], or a .npz with mu and "
            "sigma."
        ) from error
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise ValueError(
            f"mu and sigma in {path.name} do not fit each other: {list(mean.shape)} and {list(covariance.shape)}."
        )
    return FeatureStatistics(mean, covariance)


def _finite(values: NDArray[Any]) -> Array:
    if not np.issubdtype(values.dtype, np.number) or not np.isfinite(values).all():
        raise ValueError("they are not all finite numbers")
    return values.astype(np.float64)


def _square_root(matrix: Array) -> Array:
    values, vectors = np.linalg.eigh(_symmetric(matrix))
    root: Array = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    return root


def _symmetric(matrix: Array) -> Array:
    half: Array = (matrix + matrix.T) / 2
    return half
