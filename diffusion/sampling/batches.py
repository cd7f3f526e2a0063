"""Making batches agree in size."""

import math

from torch import Tensor


def repeated(tensor: Tensor, size: int) -> Tensor:
    """`tensor` with `size` entries along its first axis: repeated from the start while too few, cut when too many."""
    if len(tensor) == size:
        return tensor
    times = math.ceil(size / len(tensor))
    return tensor.repeat(times, *[1] * (tensor.ndim - 1))[:size]
