"""How far two pictures or two latents are apart."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

IDENTICAL = 99.0
"""What stands for the infinite ratio of two pictures without any difference."""


def picture_psnr(one: Path, other: Path) -> float:
    """Peak signal-to-noise ratio of two picture files in dB. Raises ValueError when their sizes differ."""
    first, second = (np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) for path in (one, other))
    if first.shape != second.shape:
        raise ValueError(f"{one} and {other} differ in size: {first.shape} and {second.shape}")
    error = float(np.mean((first - second) ** 2))
    return IDENTICAL if error == 0 else min(IDENTICAL, 10 * math.log10(255**2 / error))


def latent_error(found: Path, expected: Path) -> float:
    """|found - expected| / |expected| of two .latent files, Euclidean."""
    from safetensors.numpy import load_file

    one, other = (load_file(path)["latent_tensor"].astype(np.float64) for path in (found, expected))
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))
