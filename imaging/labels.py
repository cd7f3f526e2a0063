"""Pictures in rows and columns with words beside them, on white."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from imaging.channels import with_channels
from imaging.checks import check_size

_GAP = 4
_SMALLEST_FONT = 10
_SHARE_OF_PICTURE = 0.1
_LONGEST_LABEL = 1000
_INK = 20
_Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def labelled_grid(
    batches: Sequence[Tensor],
    column_labels: Sequence[str],
    row_labels: Sequence[str],
    *,
    columns: int = 0,
    font_size: int = 0,
) -> Tensor:
    """All pictures [B, H, W, C] as one, [1, H', W', 3], row by row, labels above the columns and beside the rows.

    columns: 0 for as many as there are column labels; without those for as many as row labels ask for, else for a
    square. font_size: in pixels; 0 for a tenth of a picture's height, and 10 at least. Long labels are broken into
    lines as wide as a picture. Raises ValueError for pictures of different sizes, and for too many or too few labels.
    """
    sizes = {tuple(batch.shape[1:3]) for batch in batches}
    if len(sizes) > 1:
        listed = ", ".join(f"{width}x{height}" for height, width in sorted(sizes))
        raise ValueError(
            f"The pictures of a grid have one size; these have {listed}. Scale them with ImageScale first."
        )
    pictures = torch.cat([with_channels(batch, 3) for batch in batches])
    columns, rows = _shape(len(pictures), columns, column_labels, row_labels)
    height, width = pictures.shape[1:3]
    font = ImageFont.load_default(font_size or max(_SMALLEST_FONT, round(height * _SHARE_OF_PICTURE)))
    above = [_broken(label, font, width) for label in column_labels]
    beside = [_broken(label, font, width) for label in row_labels]
    top = max((_measured(text, font)[1] for text in above), default=0)
    left = max((_measured(text, font)[0] for text in beside), default=0)
    top, left = (size + 2 * _GAP if size else 0 for size in (top, left))
    grid_height, grid_width = rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP
    check_size(left + grid_width, top + grid_height, 1, "Use smaller or fewer pictures.")
    canvas = Image.new("RGB", (left + grid_width, top + grid_height), "white")
    draw = ImageDraw.Draw(canvas)
    for column, text in enumerate(above):
        middle = left + _GAP + column * (width + _GAP) + width // 2
        _write(draw, (middle, top // 2), text, font)
    for row, text in enumerate(beside):
        _write(draw, (left // 2, top + _GAP + row * (height + _GAP) + height // 2), text, font)
    grid = torch.from_numpy(np.asarray(canvas).astype(np.float32) / 255.0)
    for place, picture in enumerate(pictures):
        y = top + _GAP + place // columns * (height + _GAP)
        x = left + _GAP + place % columns * (width + _GAP)
        grid[y : y + height, x : x + width] = picture
    return grid[None]


def _shape(
    count: int, columns: int, column_labels: Sequence[str], row_labels: Sequence[str]
) -> tuple[int, int]:
    """(columns, rows) for so many pictures."""
    columns = columns or len(column_labels)
    columns = columns or (-(-count // len(row_labels)) if row_labels else math.ceil(math.sqrt(count)))
    rows = -(-count // columns)
    for name, labels, there in (("columns", column_labels, columns), ("rows", row_labels, rows)):
        if labels and len(labels) != there:
            raise ValueError(
                f"{count} pictures make {columns} columns and {rows} rows, but there are {len(labels)} labels for the "
                f"{name}. Correct the number of columns, or leave the labels out."
            )
    return columns, rows


def _broken(label: str, font: _Font, width: int) -> str:
    """The label in lines no wider than `width`, where it can be broken between words or, if need be, within one."""
    lines: list[str] = []
    for line in label[:_LONGEST_LABEL].splitlines():
        current = ""
        for word in line.split():
            for part in _fitting(word, font, width):
                joined = f"{current} {part}".strip()
                if current and font.getlength(joined) > width:
                    lines.append(current)
                    current = part
                else:
                    current = joined
        lines.append(current)
    return "\n".join(lines)


def _fitting(word: str, font: _Font, width: int) -> list[str]:
    parts = [""]
    for letter in word:
        if parts[-1] and font.getlength(parts[-1] + letter) > width:
            parts.append("")
        parts[-1] += letter
    return parts


def _measured(text: str, font: _Font) -> tuple[int, int]:
    draw = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=font)
    return math.ceil(right - left), math.ceil(bottom - top)


def _write(draw: ImageDraw.ImageDraw, middle: tuple[int, int], text: str, font: _Font) -> None:
    draw.multiline_text(middle, text, fill=(_INK,) * 3, font=font, anchor="mm", align="center")
