"""The one place that decides where networks compute and in what precision."""

from dataclasses import dataclass, field

import torch

from diffusion.memory.machine import private_bytes
from diffusion.memory.sizes import parse_size, readable

_LEAST_ROOM = 32 << 20
"""No network does with less; how much one takes is known when it is used."""
_NOWHERE = ("meta", "mkldnn", "lazy")
"""What torch takes for devices that hold no numbers, or are none any more."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Placement:
    """A device, the precision in which networks compute on it, and whether their weights are laid out for it.

    pack: see networks/packing.py; without it a network's weights stay what they are in the file where they can.
    storage: what weights are rounded to before anything is done with them, as if they had been kept in that type.
    memory_limit: the bytes that this process may hold for itself on the device; mapped files do not count.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    dtype: torch.dtype = torch.float32
    pack: bool = True
    storage: torch.dtype | None = None
    memory_limit: int | None = None

    @property
    def vae_dtype(self) -> torch.dtype:
        """The autoencoder's precision. float16 overflows in some checkpoints' decoders, so it gives way to float32."""
        return torch.float32 if self.dtype == torch.float16 else self.dtype


def choose_placement(device: str = "auto", dtype: str = "auto", memory_limit: str | None = None) -> Placement:
    """The placement for `device` (auto, cpu, cuda, cuda:1, mps, ...) and `dtype` (auto, fp32, bf16, fp16).

    memory_limit: an amount such as 2GB or 1500MB, or None for no limit.

    auto takes the first GPU there is, in float16, else the processor: in bfloat16 where it has instructions for it, in
    float32 where it has none. Raises ValueError for a device that this machine lacks, a precision that the device
    can't compute in, and a limit that is no amount of memory or less than any network would do with.
    """
    place = _device(device)
    limit = None if memory_limit is None else _limit(memory_limit, place)
    if dtype == "auto":
        return Placement(place, _cpu_dtype() if place.type == "cpu" else torch.float16, memory_limit=limit)
    if dtype not in DTYPES:
        raise ValueError(f"unknown precision {dtype!r}: choose auto, {', '.join(DTYPES)}")
    if place.type == "cpu" and dtype == "fp16":
        raise ValueError(
            "a processor computes poorly in fp16: choose --dtype bf16 or fp32, or another --device"
        )
    return Placement(place, DTYPES[dtype], memory_limit=limit)


def _limit(text: str, device: torch.device) -> int:
    limit = parse_size(text)
    taken = private_bytes() if device.type == "cpu" else 0
    if limit < taken + _LEAST_ROOM:
        least = -(-(taken + _LEAST_ROOM) // 10**6)
        raise ValueError(
            f"a memory limit of {text} is too small: {readable(taken)} is taken before any model is read; "
            f"give {least}MB at least"
        )
    return limit


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device(_best_device())
    if name.partition(":")[0] in _NOWHERE:
        raise ValueError(f"{name!r} computes nothing: choose auto, cpu, cuda, cuda:1, mps ...")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {name[:80]!r}: choose auto, cpu, cuda, cuda:1, mps ...") from error
    if device.type == "cuda" and not 0 <= (device.index or 0) < torch.cuda.device_count():
        raise ValueError(
            f"no such device {name!r}: torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices here; "
            "choose --device cpu, or install a CUDA build of torch"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("no such device 'mps' on this machine: choose --device cpu")
    if device.type not in ("cpu", "cuda", "mps"):
        _check_computes(device)
    return device


def _check_computes(device: torch.device) -> None:
    """Raises ValueError for a kind of device that this build of torch knows by name alone."""
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
        raise ValueError(
            f"no such device {str(device)!r}: torch {torch.__version__} can't compute on it here; choose --device cpu"
        ) from error


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _cpu_dtype() -> torch.dtype:
    """bfloat16 only where the processor multiplies it: elsewhere it is emulated, and slower than float32."""
    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if fast else torch.float32
