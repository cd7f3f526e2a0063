"""The check of a guidance scale, under the name that its input has."""

import math


def check_scale(scale: float, name: str) -> None:
    """Raises ValueError unless `scale` is finite."""
    if not math.isfinite(scale):
        raise ValueError(f"The guidance scale ({name}) must be a number, 7.5 say; got {scale}.")
