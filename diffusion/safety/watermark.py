"""A watermark that is not seen, and survives mild editing: text in the wavelets of a picture's colour.

The `invisible-watermark` package does it (method "dwtDct"), as the original scripts of Stable Diffusion do; it is an
optional extra, imported when it is first used.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffusion.types import Image

ORIGINAL_TEXT = "StableDiffusionV1"
"""What the original scripts write."""
_METHOD = "dwtDct"
_FEWEST_PIXELS = 256 * 256
_BLOCK = 8
"""Side in pixels of the square that one bit goes into."""
_INSTALL = "python -m pip install 'weft[watermark]'"

Pixels = NDArray[np.uint8]


def add_watermark(image: Image, text: str) -> Image:
    """Pictures [B, H, W, 3 or 4], 0..1, with `text` in each, in steps of 1/255; an alpha channel stays as it is.

    Raises ValueError for pictures below 65536 pixels and for texts that have no room in them, and ImportError, with
    what to do about it, where the package is missing or cannot be loaded.
    """
    content = as_bytes(text)
    _check_room(image, content)
    encoder = _package().WatermarkEncoder()
    encoder.set_watermark("bytes", content)
    marked = [_to_tensor(encoder.encode(_to_bgr(picture), _METHOD)) for picture in image]
    return Image(torch.cat([torch.stack(marked), image[..., 3:].cpu()], dim=-1))


def as_bytes(text: str) -> bytes:
    """A watermark's text as it is hidden, in UTF-8. Raises ValueError for one that cannot be written in it."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The text {text[:80]!r} holds half of a character, which cannot be written. Take it out."
        ) from error


def read_watermark(image: Image, length: int) -> list[bytes]:
    """The `length` bytes in each picture [B, H, W, 3 or 4], 0..1: noise where there is no watermark.

    Raises as add_watermark does.
    """
    _check_room(image, bytes(length))
    decoder = _package().WatermarkDecoder("bytes", 8 * length)
    return [bytes(decoder.decode(_to_bgr(picture), _METHOD)) for picture in image]


def agreement(found: bytes, expected: bytes) -> float:
    """The share of bits that agree, 0..1, of two of the same length: about 0.5 by chance."""
    differing = sum((a ^ b).bit_count() for a, b in zip(found, expected, strict=True))
    return 1 - differing / (8 * len(expected))


def is_watermark(share: float, length: int) -> bool:
    """Whether so large an agreement of `length` bytes is no chance: 5 standard deviations, one in three millions."""
    bits = 8 * length
    return (share - 0.5) * bits >= 5 * math.sqrt(bits) / 2


def _check_room(image: Image, content: bytes) -> None:
    if image.ndim != 4 or image.shape[-1] not in (3, 4) or 0 in image.shape:
        raise ValueError(
            f"Pictures have the shape [batch, height, width, 3 or 4], one picture at least; got {list(image.shape)}."
        )
    height, width = image.shape[1:3]
    if height * width < _FEWEST_PIXELS:
        raise ValueError(
            f"A picture of {width}x{height} pixels is too small for a watermark, which needs {_FEWEST_PIXELS} pixels "
            "(256x256, say). Scale it up first."
        )
    room = (height // _BLOCK) * (width // _BLOCK)
    if not content or 8 * len(content) > room:
        raise ValueError(
            f"A watermark has 1 to {room // 8} bytes in a picture of {width}x{height} pixels; this text has "
            f"{len(content)}. Short ones are read most surely."
        )


def _package() -> Any:
    try:
        import imwatermark
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Watermarks need the package invisible-watermark, which is not installed ({error}). Install it with: "
            f"{_INSTALL}"
        ) from error
    except ImportError as error:
        raise ImportError(
            f"The package invisible-watermark is installed, but what it needs cannot be loaded ({error}). On a machine "
            "without a screen, put opencv-python-headless in place of opencv-python."
        ) from error
    return imwatermark


def _to_bgr(picture: Tensor) -> Pixels:
    values = (picture[..., :3].float().cpu() * 255).clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(values.flip(-1).numpy())


def _to_tensor(bgr: Pixels) -> Tensor:
    return torch.from_numpy(bgr.astype(np.float32) / 255.0).flip(-1)
