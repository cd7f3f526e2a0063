"""The one place that decides where networks compute and in what precision."""

from dataclasses import dataclass, field

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Placement:
    """A device, the precision in which networks compute on it, and whether their weights are laid out for it.

    pack: see networks/packing.py; without it a network's weights stay what they are in the file where they can.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    pack: bool = True

    @property
    def vae_dtype(self) -> torch.dtype:
        """The autoencoder's precision. float16 overflows in some checkpoints' decoders, so it gives way to float32."""
        return torch.float32 if self.dtype == torch.float16 else self.dtype


def choose_placement(device: str = "auto", dtype: str = "auto") -> Placement:
    """The placement for `device` (auto, cpu, cuda, cuda:1, mps, ...) and `dtype` (auto, fp32, bf16, fp16).

    auto takes the first GPU there is, in float16, else the processor: in bfloat16 where it has instructions for it, in
    float32 where it has none. Raises ValueError for a device
    that this machine lacks or a precision that the device can't compute in.
    """
    place = _device(device)
    if dtype == "auto":
        return Placement(place, _cpu_dtype() if place.type == "cpu" else torch.float16)
    if dtype not in DTYPES:
        raise ValueError(f"unknown precision {dtype!r}: choose auto, {', '.join(DTYPES)}")
    if place.type == "cpu" and dtype == "fp16":
        raise ValueError(
            "a processor computes poorly in fp16: choose --dtype bf16 or fp32, or another --device"
        )
    return Placement(place, DTYPES[dtype])


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device(_best_device())
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {name!r}: choose auto, cpu, cuda, cuda:1, mps ...") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"no such device {name!r}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices here; "
            "choose --device cpu, or install a CUDA build of torch"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("no such device 'mps' on this machine: choose --device cpu")
    return device


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _cpu_dtype() -> torch.dtype:
    """bfloat16 only where the processor multiplies it: elsewhere it is emulated, and slower than float32."""
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32
