"""Picture files as tensors, with orientation and alpha; and what pictures must be to be saved."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageOps, ImageSequence, UnidentifiedImageError

from diffusion.types import Image, Mask

MAX_PIXELS = 178_956_970
"""In all frames together. Pillow refuses a single frame of more by itself."""
_NO_ALPHA_MASK_SIZE = 64


class ImageAndMask(NamedTuple):
    """A picture and its mask."""

    IMAGE: Image
    MASK: Mask


def read_picture(path: Path) -> tuple[Image, Mask]:
    """Every frame of a picture file, turned upright, as ([B, H, W, 3], mask [B, H, W]); 1 - alpha is the mask.

    Without an alpha channel the mask is zeros of 64x64, as existing workflows expect. Frames of another size than
    the first are left out. Raises ValueError when the file is no picture, is damaged, or is too large.
    """
    frames: list[torch.Tensor] = []
    masks: list[torch.Tensor] = []
    for frame in _frames(path):
        rgb = _to_tensor(_eight_bit(frame).convert("RGB"))
        if frames and rgb.shape != frames[0].shape:
            continue
        frames.append(rgb)
        masks.append(_alpha_mask(frame))
    return Image(torch.stack(frames)), Mask(torch.stack(masks))


def read_channel(path: Path, channel: str) -> Mask:
    """One channel (red, green, blue or alpha) of a picture as a mask [1, H, W]; alpha is turned round."""
    frame = _eight_bit(_frames(path)[0]).convert("RGBA")
    values = _to_tensor(frame)[..., ("red", "green", "blue", "alpha").index(channel)]
    return Mask((1 - values if channel == "alpha" else values)[None])


def _frames(path: Path) -> list[Pillow.Image]:
    try:
        with Pillow.open(path) as file:
            if file.width * file.height * getattr(file, "n_frames", 1) > MAX_PIXELS:
                raise Pillow.DecompressionBombError
            frames = [file] if file.format == "MPO" else ImageSequence.Iterator(file)
            return [ImageOps.exif_transpose(frame).copy() for frame in frames]
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{path.name} is no picture that can be read: use PNG, JPEG, WEBP, GIF, BMP or TIFF."
        ) from error
    except Pillow.DecompressionBombError as error:
        raise ValueError(f"{path.name} has more than {MAX_PIXELS} pixels in all: scale it down.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path.name} is damaged or cut short ({error}): save it anew.") from error


def _eight_bit(frame: Pillow.Image) -> Pillow.Image:
    """16-bit grey pictures scaled to 8 bits, which Pillow's own conversion would clip instead."""
    if not frame.mode.startswith("I"):
        return frame
    values = np.asarray(frame).astype(np.float64)
    return Pillow.fromarray(np.clip(values / 257, 0, 255).round().astype(np.uint8))


def _alpha_mask(frame: Pillow.Image) -> torch.Tensor:
    if "A" in frame.getbands():
        return 1 - _to_tensor(frame.getchannel("A"))
    if "transparency" in frame.info:
        return 1 - _to_tensor(frame.convert("RGBA").getchannel("A"))
    return torch.zeros(_NO_ALPHA_MASK_SIZE, _NO_ALPHA_MASK_SIZE)


def _to_tensor(picture: Pillow.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture).astype(np.float32) / 255.0)


def check_pictures(images: torch.Tensor) -> None:
    """Raises ValueError unless these are pictures that can be saved, one at least: [B, H, W, 1, 3 or 4], no NaN."""
    if images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or 0 in images.shape:
        raise ValueError(
            f"Pictures have the shape [batch, height, width, 3 or 4], one picture at least; got {list(images.shape)}. "
            "Look at the node they come from."
        )
    if images.isnan().any():
        raise ValueError(
            "The pictures hold NaN where numbers from 0 to 1 should be. Look at the node they come from."
        )
