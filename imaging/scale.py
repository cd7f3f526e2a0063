"""Pictures in other sizes."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from PIL import Image as Pillow
from torch import Tensor

from imaging.checks import check_size

METHODS = ("nearest-exact", "bilinear", "area", "bicubic", "lanczos")
CROPS = ("disabled", "center")
_SMALLER = "Ask for another size."


def resize(image: Tensor, width: int, height: int, method: str, crop: str = "disabled") -> Tensor:
    """Pictures [B, H, W, C] as [B, height, width, C].

    method: one of METHODS, as torch.nn.functional.interpolate has them; they look at the nearest pixels only, so that
        only "area" and "lanczos" average when they shrink. "lanczos" is Pillow's, on 8 bits a channel.
    crop: "center" first cuts the picture to the new shape around its centre; "disabled" distorts it instead.

    Raises ValueError for a size that is 0 or beyond the limits of check_size.
    """
    check_size(width, height, len(image), _SMALLER)
    if crop == "center":
        image = crop_to_aspect(image, width, height)
    if method == "lanczos":
        return _lanczos(image, width, height)
    planes = rearrange(image, "b h w c -> b c h w")
    return rearrange(F.interpolate(planes, (height, width), mode=method), "b c h w -> b h w c")


def resize_mask(
    mask: Tensor, width: int, height: int, method: str = "bilinear", crop: str = "disabled"
) -> Tensor:
    """Masks [B, H, W] as [B, height, width]."""
    return resize(mask[..., None], width, height, method, crop)[..., 0]


def crop_to_aspect(image: Tensor, width: int, height: int) -> Tensor:
    """The largest part around the centre that has the shape of width x height, to the pixel."""
    old_height, old_width = image.shape[1:3]
    old, new = old_width / old_height, width / height
    left = round((old_width - old_width * (new / old)) / 2) if old > new else 0
    top = round((old_height - old_height * (old / new)) / 2) if old < new else 0
    cut = image[:, top : old_height - top, left : old_width - left]
    if 0 in cut.shape:
        raise ValueError(
            f"A picture of {old_width}x{old_height} pixels cut to the shape of {width}x{height} leaves nothing. "
            "Set crop to disabled, or ask for a shape more like the picture's."
        )
    return cut


def _lanczos(image: Tensor, width: int, height: int) -> Tensor:
    return torch.stack([_lanczos_one(picture, width, height) for picture in image]).to(image)


def _lanczos_one(picture: Tensor, width: int, height: int) -> Tensor:
    values = np.clip(255.0 * picture.detach().cpu().numpy(), 0, 255).astype(np.uint8)
    grey = values.shape[-1] == 1
    resized = Pillow.fromarray(values[..., 0] if grey else values).resize(
        (width, height), Pillow.Resampling.LANCZOS
    )
    result = torch.from_numpy(np.asarray(resized).astype(np.float32) / 255.0)
    return result[..., None] if grey else result


def size_by_sides(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """(width, height) asked for a picture of `size` (width, height); a side of 0 follows from the other one."""
    old_width, old_height = size
    if width == 0 and height == 0:
        return size
    if width == 0:
        return max(1, round(old_width * height / old_height)), height
    if height == 0:
        return width, max(1, round(old_height * width / old_width))
    return width, height


def size_by_factor(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """(width, height), each times `factor`, rounded."""
    return round(size[0] * factor), round(size[1] * factor)


def size_by_pixels(size: tuple[int, int], megapixels: float) -> tuple[int, int]:
    """(width, height) of the same shape with about `megapixels` times 1024 x 1024 pixels."""
    return size_by_factor(size, math.sqrt(int(megapixels * 1024 * 1024) / (size[0] * size[1])))


def size_by_largest(size: tuple[int, int], largest: int) -> tuple[int, int]:
    """(width, height) of the same shape whose longer side is `largest`; the shorter one has 1 pixel at least."""
    width, height = size
    if height > width:
        return min(largest, max(1, round(width / height * largest))), largest
    if width > height:
        return largest, min(largest, max(1, round(height / width * largest)))
    return largest, largest


def size_inside(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """The largest (width, height) of the same shape that fits into width x height, 1 pixel at least."""
    scale = min(width / size[0], height / size[1])
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
