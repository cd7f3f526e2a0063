"""Pictures cut, framed, turned and laid side by side."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from imaging.channels import padded_to, rgb_of, with_channels
from imaging.checks import check_size
from imaging.scale import resize, size_inside

DIRECTIONS = ("right", "down", "left", "up")
SPACING_COLOURS = {"white": 0xFFFFFF, "black": 0, "red": 0xFF0000, "green": 0x00FF00, "blue": 0x0000FF}
_UNPAINTED = 0.5
_FEWER_PIXELS = "Use smaller or fewer pictures."


def crop(image: Tensor, x: int, y: int, width: int, height: int) -> Tensor:
    """The part of width x height whose corner is (x, y), both moved into the picture; it ends where that does."""
    left, top = min(x, image.shape[2] - 1), min(y, image.shape[1] - 1)
    return image[:, top : top + height, left : left + width]


def pad_for_outpainting(
    image: Tensor, left: int, top: int, right: int, bottom: int, feathering: int
) -> tuple[Tensor, Tensor]:
    """(the picture on a larger grey one, mask [1, H, W]: 1 where it was added, falling to 0 inside the picture).

    feathering: over how many pixels the mask falls, as ((f - d) / f)^2 of the distance d from a side that was added
    to. When twice as many do not fit into the picture, it ends at the picture's edge instead.
    """
    height, width = image.shape[1:3]
    check_size(width + left + right, height + top + bottom, len(image), "Add fewer pixels.")
    canvas = F.pad(image, (0, 0, left, right, top, bottom), value=_UNPAINTED)
    inside = torch.zeros(height, width)
    if 0 < 2 * feathering < min(height, width):
        rows, columns = torch.arange(height), torch.arange(width)
        far = torch.tensor(feathering)
        vertical = torch.minimum(rows if top else far, height - rows if bottom else far)
        horizontal = torch.minimum(columns if left else far, width - columns if right else far)
        distance = torch.minimum(vertical.reshape(-1, 1), horizontal.reshape(1, -1)).clamp(max=feathering)
        inside = (((feathering - distance) / feathering) ** 2).expand(height, width)
    mask = F.pad(inside, (left, right, top, bottom), value=1.0)
    return canvas, mask[None]


def resize_and_pad(image: Tensor, width: int, height: int, method: str, fill: float) -> Tensor:
    """The picture scaled into width x height without distortion, in the middle of a frame of the value `fill`."""
    check_size(width, height, len(image), "Ask for a smaller frame.")
    new_width, new_height = size_inside((image.shape[2], image.shape[1]), width, height)
    resized = resize(image, new_width, new_height, method)
    left, top = (width - new_width) // 2, (height - new_height) // 2
    edges = (0, 0, left, width - new_width - left, top, height - new_height - top)
    return F.pad(resized, edges, value=fill)


def rotate(image: Tensor, quarters: int) -> Tensor:
    """The picture turned clockwise by quarter turns."""
    return torch.rot90(image, quarters, dims=(2, 1))


def stitch(
    first: Tensor, second: Tensor, direction: str, *, match_size: bool, spacing: int, color: str
) -> Tensor:
    """`second` laid beside `first` on the side `direction` says, the shorter batch's last picture repeated.

    match_size: scale the second to the first's height (or width) by "lanczos"; otherwise the smaller one is centred.
    spacing: pixels of `color` between them, made even.
    """
    sideways = direction in ("right", "left")
    length = max(len(first), len(second))
    first, second = padded_to(first, length), padded_to(second, length)
    if match_size:
        second = _matched(second, first, sideways)
    else:
        grey = SPACING_COLOURS[color] in (0, 0xFFFFFF)
        first, second = _centred(first, second, sideways, rgb_of(SPACING_COLOURS[color])[0] if grey else 0.0)
    channels = max(first.shape[-1], second.shape[-1])
    parts = [with_channels(first, channels), with_channels(second, channels)]
    if direction in ("left", "up"):
        parts.reverse()
    if spacing:
        parts.insert(1, _spacer(parts[0], spacing + spacing % 2, sideways, SPACING_COLOURS[color]))
    along = 2 if sideways else 1
    total = sum(part.shape[along] for part in parts)
    across = parts[0].shape[3 - along]
    check_size(total, across, length, _FEWER_PIXELS)
    return torch.cat(parts, dim=along)


def _matched(image: Tensor, other: Tensor, sideways: bool) -> Tensor:
    """The picture scaled to the other's height when they lie side by side, or else to its width."""
    height, width = other.shape[1:3]
    aspect = image.shape[2] / image.shape[1]
    size = (int(height * aspect), height) if sideways else (width, int(width / aspect))
    return resize(image, *size, "lanczos")


def _centred(first: Tensor, second: Tensor, sideways: bool, fill: float) -> tuple[Tensor, Tensor]:
    """Both as high (or as wide) as the larger one."""
    across = 1 if sideways else 2
    size = max(first.shape[across], second.shape[across])

    def framed(image: Tensor) -> Tensor:
        missing = size - image.shape[across]
        ends = (missing // 2, missing - missing // 2)
        return F.pad(image, (0, 0, 0, 0, *ends) if sideways else (0, 0, *ends), value=fill)

    return framed(first), framed(second)


def _spacer(beside: Tensor, spacing: int, sideways: bool, color: int) -> Tensor:
    batch, height, width, channels = beside.shape
    colour = torch.tensor((*rgb_of(color), 1.0))[:channels]
    size = (height, spacing) if sideways else (spacing, width)
    return colour.expand(batch, *size, channels)


def make_grid(
    batches: Sequence[Tensor], *, columns: int = 0, rows: int = 0, padding: int = 2, color: int = 0
) -> Tensor:
    """All pictures as one, [1, H, W, C], row by row, with `padding` pixels of `color` around each.

    This is the layout of torchvision's make_grid, whose `nrow` is `columns`, as the original scripts save it: one
    picture alone gets no frame. columns: pictures in a row; 0 for as many as `rows` need, and when that is 0 too for as
    many as the first batch holds. rows: 0 for as many as there are. Raises ValueError for pictures of different sizes,
    and for more of them than columns x rows.
    """
    sizes = {batch.shape[1:3] for batch in batches}
    if len(sizes) > 1:
        listed = ", ".join(f"{width}x{height}" for height, width in sorted(sizes))
        raise ValueError(
            f"The pictures of a grid have one size; these have {listed}. Scale them with ImageScale first."
        )
    channels = max(batch.shape[-1] for batch in batches)
    pictures = torch.cat([with_channels(batch, channels) for batch in batches])
    if len(pictures) == 1:
        return pictures
    columns = columns or (-(-len(pictures) // rows) if rows else len(batches[0]))
    columns = min(columns, len(pictures)) if not rows else columns
    rows = rows or -(-len(pictures) // columns)
    if len(pictures) > columns * rows:
        raise ValueError(
            f"{len(pictures)} pictures do not fit a grid of {columns} columns and {rows} rows. Set one of them to 0."
        )
    return _laid_out(pictures, columns, rows, padding, color)


def _laid_out(pictures: Tensor, columns: int, rows: int, padding: int, color: int) -> Tensor:
    height, width, channels = pictures.shape[1:]
    size = rows * (height + padding) + padding, columns * (width + padding) + padding
    check_size(size[1], size[0], 1, _FEWER_PIXELS)
    colour = torch.tensor((*rgb_of(color), 1.0))[:channels]
    grid = colour.expand(*size, channels).clone()
    for place, picture in enumerate(pictures):
        top = padding + place // columns * (height + padding)
        left = padding + place % columns * (width + padding)
        grid[top : top + height, left : left + width] = picture
    return grid[None]
