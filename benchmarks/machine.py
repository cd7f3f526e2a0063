"""The machine's own ceilings: what its processor reaches in plain products, convolutions and attention."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_bf16",
    "amx_int8",
)
"""Processor flags that decide which kernels run."""
SECONDS = 1.0
"""For each ceiling."""
COPIED_BYTES = 1 << 29


def processor() -> dict[str, Any]:
    """Its name, the flags that matter, cores and memory, as the system tells them."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        known = {key.strip(): value.strip() for key, _, value in fields}
        name, flags = known.get("model name", name), set(known.get("flags", "").split())
    import torch

    return {
        "processor": name,
        "flags": [flag for flag in FLAGS if flag in flags],
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def ceilings(seconds: float = SECONDS) -> Mapping[str, float]:
    """GFLOP/s (and GB/s of memory, read and written) by name, each the median of repetitions."""
    import torch

    found = {}
    with torch.inference_mode():
        for name, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
            found[f"matrix product, {name}, GFLOP/s"] = _product(torch, dtype, seconds)
            found[f"3x3 convolution, {name}, GFLOP/s"] = _convolution(torch, dtype, seconds)
            found[f"SDPA attention, {name}, GFLOP/s"] = _attention(torch, dtype, seconds)
        found["memory, GB/s"] = _bandwidth(torch, seconds)
    return found


def _product(torch: Any, dtype: Any, seconds: float) -> float:
    size = 2048
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))
    return _rate(lambda: left @ right, 2 * size**3, seconds)


def _convolution(torch: Any, dtype: Any, seconds: float) -> float:
    """The UNet's commonest: 320 channels at 64x64, a batch of two."""
    channels, side, batch = 320, 64, 2
    weight = torch.randn(channels, channels, 3, 3).to(dtype)
    x = torch.randn(batch, channels, side, side).to(dtype).to(memory_format=torch.channels_last)
    operations = 2 * batch * side * side * channels * channels * 9
    return _rate(lambda: torch.nn.functional.conv2d(x, weight, padding=1), operations, seconds)


def _attention(torch: Any, dtype: Any, seconds: float) -> float:
    """The UNet's largest: 4096 tokens, 8 heads of 40, a batch of two."""
    q, k, v = (torch.randn(2, 8, 4096, 40).to(dtype) for _ in range(3))
    operations = 4 * 2 * 8 * 4096 * 4096 * 40
    return _rate(lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v), operations, seconds)


def _bandwidth(torch: Any, seconds: float) -> float:
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8)
    target = torch.empty_like(source)
    return _rate(lambda: target.copy_(source), 2 * COPIED_BYTES, seconds)


def _rate(work: Callable[[], object], operations: int, seconds: float) -> float:
    """Billions of operations a second."""
    work()
    taken, end = list[float](), time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < end:
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return operations / median(taken) / 1e9
