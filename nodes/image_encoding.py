"""Pictures as the bytes of a file, PNG, JPEG or WEBP, with texts inside."""

import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from einops import rearrange
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from nodes.metadata import EXIF_EXTRAS, EXIF_PROMPT

FORMATS: Mapping[str, str] = MappingProxyType({"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"})
"""Formats and the endings of their files."""
WEBP_METHODS: Mapping[str, int] = MappingProxyType({"default": 4, "fastest": 0, "slowest": 6})
_WEBP_SIDE = 16383
_JPEG_TEXTS = 65_000
"""Bytes: one segment of a JPEG file holds them all."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoding:
    """How a picture becomes bytes. quality: 0..100; method: 0..6, how hard WEBP tries; compress_level: 0..9, PNG's."""

    format: str
    quality: int = 90
    lossless: bool = False
    method: int = 4
    compress_level: int = 4


@dataclass(frozen=True)
class Animation:
    """A format of several frames. fps: frames a second."""

    format: str
    fps: float
    encoding: Encoding


def picture_bytes(pixels: torch.Tensor, texts: Mapping[str, str], encoding: Encoding) -> bytes:
    """One picture [H, W, 1, 3 or 4] as a file that carries `texts`.

    Raises ValueError for what the format can't hold: transparency in a JPEG, a side beyond 16383 pixels in a WEBP.
    """
    return _encoded([as_pillow(pixels)], texts, encoding, {})


def animation_bytes(frames: torch.Tensor, texts: Mapping[str, str], animation: Animation) -> bytes:
    """Pictures [B, H, W, 1, 3 or 4] as one animated file that carries `texts`. Raises ValueError as picture_bytes."""
    pictures = [as_pillow(frame) for frame in frames]
    options = {
        "save_all": True,
        "append_images": pictures[1:],
        "duration": max(1, int(1000 / animation.fps)),
    }
    return _encoded(pictures, texts, animation.encoding, options)


def as_pillow(pixels: torch.Tensor) -> Pillow.Image:
    """A picture [H, W, 1, 3 or 4] in 8 bits a channel, cut to the range and rounded down."""
    values = np.clip(255.0 * pixels.detach().float().cpu().numpy(), 0, 255).astype(np.uint8)
    return Pillow.fromarray(rearrange(values, "h w 1 -> h w") if values.shape[-1] == 1 else values)


def _encoded(
    pictures: Sequence[Pillow.Image],
    texts: Mapping[str, str],
    encoding: Encoding,
    options: Mapping[str, object],
) -> bytes:
    first = pictures[0]
    settings = {"PNG": _png, "JPEG": _jpeg, "WEBP": _webp}[encoding.format](first, texts, encoding)
    file = io.BytesIO()
    first.save(file, encoding.format, **settings, **options)
    return file.getvalue()


def _png(picture: Pillow.Image, texts: Mapping[str, str], encoding: Encoding) -> dict[str, object]:
    chunks = PngInfo()
    for key, text in texts.items():
        chunks.add_text(key, text)
    return {"pnginfo": chunks, "compress_level": encoding.compress_level}


def _jpeg(picture: Pillow.Image, texts: Mapping[str, str], encoding: Encoding) -> dict[str, object]:
    if picture.mode == "RGBA":
        raise ValueError(
            "A JPEG has no alpha channel. Choose PNG or WEBP, or take it off with SplitImageWithAlpha."
        )
    settings: dict[str, object] = {"quality": encoding.quality, "optimize": True}
    for kept in (texts, {"prompt": texts["prompt"]} if "prompt" in texts else {}):
        exif = _exif(kept)
        if len(exif) <= _JPEG_TEXTS:
            return settings | {"exif": exif}
    _log.warning(
        "The workflow has %d bytes, more than a JPEG has room for: the picture is saved without it. "
        "Choose PNG or WEBP to keep it.",
        len(texts["prompt"]),
    )
    return settings


def _webp(picture: Pillow.Image, texts: Mapping[str, str], encoding: Encoding) -> dict[str, object]:
    if max(picture.size) > _WEBP_SIDE:
        raise ValueError(
            f"A WEBP has at most {_WEBP_SIDE} pixels a side; this picture has {picture.width}x{picture.height}. "
            "Choose PNG, or scale it down."
        )
    return {
        "exif": _exif(texts),
        "lossless": encoding.lossless,
        "quality": encoding.quality,
        "method": encoding.method,
    }


def _exif(texts: Mapping[str, str]) -> bytes:
    """EXIF that holds texts as "key:text": the prompt under the camera's model, others under the tags below it."""
    exif = Pillow.Exif()
    if "prompt" in texts:
        exif[EXIF_PROMPT] = f"prompt:{texts['prompt']}"
    others = ((key, text) for key, text in texts.items() if key != "prompt")
    for tag, (key, text) in zip(EXIF_EXTRAS, others, strict=False):
        exif[tag] = f"{key}:{text}"
    return exif.tobytes() if len(exif) else b""
