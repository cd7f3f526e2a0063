"""The attention kernels on their own, beside PyTorch's."""

from __future__ import annotations

from benchmarks.options import Options
from benchmarks.results import Figure, Row


def measure(options: Options) -> Row:
    """Every form of the kernel that runs here, at every shape of SD 1.5."""
    import torch

    from benchmarks import attention

    seconds = 0.2 if options.quick else 1.0
    figures = []
    with torch.inference_mode():
        for dtype in (torch.bfloat16, torch.float32):
            for shape in attention.SHAPES:
                for found in attention.measure(
                    shape, dtype, attention.contestants_for(dtype, ()), seconds=seconds
                ):
                    low, high = (1e3 * bound for bound in found.quartiles)
                    case = f"{found.shape}, {found.dtype}"
                    figures.append(Figure(case, found.name, 1e3 * found.median, "ms", low, high))
    return Row(
        "attention",
        "Attention kernels (queries x keys x channels; 8 heads, batch of two)",
        tuple(figures),
        notes=("The spread is between the quartiles. `sdpa` is PyTorch's own.",),
    )
