"""Amounts of memory as people write them."""

import re

_UNITS = {
    **{unit: 1000**power for power, unit in enumerate(("b", "kb", "mb", "gb", "tb"))},
    **{unit: 1024**power for power, unit in enumerate(("kib", "mib", "gib", "tib"), start=1)},
}
_MOST = 1e18
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([a-z]+)\s*", re.IGNORECASE)


def parse_size(text: str) -> int:
    """The bytes that `2GB` (decimal), `2GiB` (binary) or `1500 MB` stand for.

    Raises ValueError for anything else, and for nothing at all.
    """
    found = _SIZE.fullmatch(text)
    unit = _UNITS.get(found[2].lower()) if found else None
    if not found or unit is None:
        raise ValueError(
            f"{text!r} is no amount of memory: write a number and its unit, such as 2GB, 1500MB or 2GiB"
        )
    size = float(found[1]) * unit
    if size > _MOST:
        raise ValueError(f"{text[:80]!r} is more memory than there is anywhere: leave the limit out")
    if size < 1:
        raise ValueError(f"{text!r} is no memory at all: write an amount such as 2GB or 1500MB")
    return int(size)


def readable(nbytes: float) -> str:
    """`1.72 GB`, `350 MB`, `12 kB`: decimal units, three digits."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(nbytes) >= size:
            return f"{nbytes / size:.3g} {unit}"
    return f"{nbytes:.0f} bytes"
