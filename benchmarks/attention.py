"""Attention in PyTorch and in the native kernels: `python -m benchmarks.attention`, with `--json` for programs.

Each shape runs every contestant in turn, A B C A B C, and reports medians. With `--threads 1` processor time is
measured, which other work on the machine distorts less. To compare the AVX2 form with what PyTorch does on a processor
that has no more, set ATEN_CPU_CAPABILITY=avx2 and MKL_ENABLE_INSTRUCTIONS=AVX2.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median, quantiles

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.networks.native_attention import FORMS, load_kernels
from diffusion.networks.native_library import LIBRARY

Attention = Callable[[Tensor, Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Shape:
    """One attention of SD 1.5, both halves of the guidance in one batch."""

    queries: int
    keys: int
    channels: int
    heads: int = 8
    batch: int = 2

    def __str__(self) -> str:
        return f"{self.queries} x {self.keys} x {self.channels}"

    @property
    def flops(self) -> int:
        """Multiplications and additions of the two products."""
        return 4 * self.batch * self.queries * self.keys * self.channels

    def inputs(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Standard normal q, k and v."""
        q, k, v = (torch.randn(self.batch, n, self.channels) for n in (self.queries, self.keys, self.keys))
        return q.to(dtype), k.to(dtype), v.to(dtype)


@dataclass(frozen=True)
class Figure:
    """Seconds of one contestant at one shape."""

    shape: str
    dtype: str
    name: str
    median: float
    quartiles: tuple[float, float]
    gflops: float
    times_sdpa: float


SHAPES = (
    Shape(4096, 4096, 320),
    Shape(1024, 1024, 640),
    Shape(1024, 1024, 320),
    Shape(256, 256, 1280),
    Shape(256, 256, 640),
    Shape(64, 64, 1280),
    Shape(4096, 77, 320),
    Shape(1024, 77, 640),
    Shape(256, 77, 1280),
    Shape(1024, 1024, 512, heads=1, batch=1),
    Shape(4096, 4096, 512, heads=1, batch=1),
)


def sdpa(q: Tensor, k: Tensor, v: Tensor, num_heads: int) -> Tensor:
    """PyTorch's attention of token-major tensors."""
    q, k, v = (tokens.view(*tokens.shape[:2], num_heads, -1).transpose(1, 2) for tokens in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def measure(
    shape: Shape, dtype: torch.dtype, contestants: Mapping[str, Attention], *, seconds: float
) -> list[Figure]:
    """Every contestant's figures at one shape; rounds are repeated for about `seconds`."""
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    q, k, v = shape.inputs(dtype)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["sdpa"]) < 6:
        for name, attention in contestants.items():
            start = clock()
            attention(q, k, v, shape.heads)
            times[name].append(clock() - start)
    warm = {name: taken[1:] for name, taken in times.items()}
    baseline = median(warm["sdpa"])
    figures = []
    for name, taken in warm.items():
        low, middle, high = quantiles(taken, n=4)
        speed = shape.flops / middle / 1e9
        figures.append(
            Figure(str(shape), str(dtype)[6:], name, middle, (low, high), speed, baseline / middle)
        )
    return figures


def contestants_for(dtype: torch.dtype, wanted: Sequence[str]) -> dict[str, Attention]:
    """PyTorch first, then the forms for this dtype that run here."""
    kernels = load_kernels(LIBRARY)
    named = [form for form in FORMS[dtype] if not wanted or form in wanted]
    return {"sdpa": sdpa, **{form: kernel for form in named if (kernel := kernels.get(form))}}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], action="append", help="default: both")
    parser.add_argument("--form", action="append", default=[], help="only these forms beside PyTorch")
    parser.add_argument("--shape", action="append", default=[], help="only shapes whose name contains this")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=3.0, help="for each shape and dtype")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    figures: list[Figure] = []
    with torch.inference_mode():
        for dtype in (getattr(torch, name) for name in args.dtype or ("bfloat16", "float32")):
            contestants = contestants_for(dtype, args.form)
            for shape in SHAPES:
                if args.shape and not any(part in str(shape) for part in args.shape):
                    continue
                measured = measure(shape, dtype, contestants, seconds=args.seconds)
                figures += measured
                if not args.json:
                    _print_rows(measured)
    if args.json:
        print(json.dumps([asdict(figure) for figure in figures], indent=1))


def _print_rows(figures: Sequence[Figure]) -> None:
    for f in figures:
        low, high = f.quartiles
        spread = f"({low * 1e3:.2f} to {high * 1e3:.2f})"
        print(
            f"{f.shape:18} {f.dtype:9} {f.name:12} {f.median * 1e3:9.2f} ms {spread:22} "
            f"{f.gflops:6.0f} GFLOP/s {f.times_sdpa:5.2f} x",
            flush=True,
        )


if __name__ == "__main__":
    main()
