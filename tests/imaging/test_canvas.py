"""Cutting, framing, turning and laying side by side."""

import numpy as np
import pytest
import torch

from imaging import canvas

NUMBERED = torch.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3) / 144


def test_a_crop_ends_where_the_picture_does() -> None:
    assert torch.equal(canvas.crop(NUMBERED, 1, 2, 3, 1), NUMBERED[:, 2:3, 1:4])
    assert torch.equal(canvas.crop(NUMBERED, 4, 1, 100, 100), NUMBERED[:, 1:, 4:])
    assert torch.equal(canvas.crop(NUMBERED, 100, 100, 5, 5), NUMBERED[:, 3:, 5:])


def plain_mask(height: int, width: int, sides: tuple[int, int, int, int], feathering: int) -> np.ndarray:
    """One pixel after another: the square of how near a side that was added to is, in units of the feathering."""
    left, top, right, bottom = sides
    mask = np.ones((height + top + bottom, width + left + right))
    for row in range(height):
        for column in range(width):
            far = [feathering]
            far += [row] if top else []
            far += [height - row] if bottom else []
            far += [column] if left else []
            far += [width - column] if right else []
            fits = 0 < 2 * feathering < min(height, width)
            nearness = (feathering - min(far)) / feathering if fits else 0
            mask[top + row, left + column] = nearness**2
    return mask


@pytest.mark.parametrize("sides", [(8, 0, 16, 4), (0, 0, 0, 24), (1, 2, 3, 4), (0, 8, 0, 0)])
@pytest.mark.parametrize("feathering", [0, 5, 30])
def test_outpainting_adds_grey_and_a_feathered_mask(
    sides: tuple[int, int, int, int], feathering: int
) -> None:
    left, top, right, bottom = sides
    image = torch.rand(2, 20, 24, 4)
    padded, mask = canvas.pad_for_outpainting(image, left, top, right, bottom, feathering)
    assert torch.equal(padded[:, top : top + 20, left : left + 24], image)
    added = torch.ones(padded.shape[1:3], dtype=torch.bool)
    added[top : top + 20, left : left + 24] = False
    assert (padded[:, added] == 0.5).all()
    assert np.allclose(mask[0], plain_mask(20, 24, sides, feathering), atol=1e-6)


def test_a_picture_is_scaled_into_the_middle_of_a_frame() -> None:
    framed = canvas.resize_and_pad(torch.full((1, 10, 20, 3), 0.5), 40, 40, "area", 1.0)
    assert framed.shape == (1, 40, 40, 3)
    assert (framed[:, 10:30] == 0.5).all()
    assert (framed[:, :10] == 1).all()
    assert (framed[:, 30:] == 1).all()


def test_turning_is_clockwise() -> None:
    turned = canvas.rotate(NUMBERED, 1)
    assert np.array_equal(turned.numpy(), np.rot90(NUMBERED.numpy(), -1, axes=(1, 2)))
    assert torch.equal(canvas.rotate(NUMBERED, 4), NUMBERED)


@pytest.mark.parametrize("direction", canvas.DIRECTIONS)
def test_pictures_lie_on_the_side_asked_for(direction: str) -> None:
    first, second = torch.full((1, 4, 6, 3), 0.25), torch.full((1, 4, 6, 3), 0.75)
    joined = canvas.stitch(first, second, direction, match_size=False, spacing=2, color="red")
    line = joined[0, 2, :, 0] if direction in ("right", "left") else joined[0, :, 2, 0]
    parts = [0.25, 1.0, 0.75] if direction in ("right", "down") else [0.75, 1.0, 0.25]
    size = 6 if direction in ("right", "left") else 4
    assert torch.equal(line, torch.tensor(parts).repeat_interleave(torch.tensor([size, 2, size])))


def test_a_stitched_picture_is_scaled_to_the_shared_side() -> None:
    joined = canvas.stitch(
        torch.zeros(1, 20, 10, 3),
        torch.ones(1, 10, 10, 3),
        "right",
        match_size=True,
        spacing=0,
        color="white",
    )
    assert joined.shape == (1, 20, 30, 3)
    assert (joined[:, :, 10:] == 1).all()


def test_a_smaller_picture_is_centred_and_a_shorter_batch_goes_on() -> None:
    first, second = torch.full((1, 8, 4, 3), 0.5), torch.full((3, 4, 4, 4), 0.25)
    joined = canvas.stitch(first, second, "right", match_size=False, spacing=0, color="white")
    assert joined.shape == (3, 8, 8, 4)
    assert (joined[:, 2:6, 4:, 0] == 0.25).all()
    assert (joined[:, :2, 4:] == 1).all()
    assert (joined[2, :, :4, :3] == 0.5).all()
    assert (joined[:, :, :4, 3] == 1).all()


def torchvision_grid(pictures: np.ndarray, nrow: int, padding: int, value: float) -> np.ndarray:
    """The layout that the original scripts save, written out from its documentation."""
    count, height, width, channels = pictures.shape
    columns = min(nrow, count)
    rows = int(np.ceil(count / columns))
    grid = np.full(
        (rows * (height + padding) + padding, columns * (width + padding) + padding, channels), float(value)
    )
    for number in range(count):
        row, column = divmod(number, columns)
        top, left = padding + row * (height + padding), padding + column * (width + padding)
        grid[top : top + height, left : left + width] = pictures[number]
    return grid


@pytest.mark.parametrize("nrow", [1, 2, 3, 7])
@pytest.mark.parametrize("padding", [0, 2, 5])
def test_a_grid_is_laid_out_as_the_original_scripts_do(nrow: int, padding: int) -> None:
    pictures = torch.rand(5, 4, 6, 3)
    grid = canvas.make_grid([pictures[:2], pictures[2:]], columns=nrow, padding=padding)
    assert np.allclose(grid[0], torchvision_grid(pictures.numpy(), nrow, padding, 0))


def test_without_columns_and_rows_a_grid_has_a_row_for_each_batch() -> None:
    grid = canvas.make_grid([torch.zeros(3, 4, 4, 3)] * 2, padding=0)
    assert grid.shape == (1, 8, 12, 3)


def test_rows_alone_give_the_columns_and_both_leave_places_empty() -> None:
    five = [torch.zeros(5, 4, 4, 3)]
    assert canvas.make_grid(five, rows=2, padding=0).shape == (1, 8, 12, 3)
    wide = canvas.make_grid(five, rows=2, columns=4, padding=0, color=0xFF0000)
    assert wide.shape == (1, 8, 16, 3)
    assert wide[0, 7, 15].tolist() == [1, 0, 0]
    assert wide[0, 7, 0].tolist() == [0, 0, 0]


def test_one_picture_alone_gets_no_frame() -> None:
    assert canvas.make_grid([NUMBERED[:1]]).shape == NUMBERED[:1].shape


def test_what_fits_no_grid_is_said() -> None:
    with pytest.raises(ValueError, match=r"these have 4x4, 5x4\. Scale them"):
        canvas.make_grid([torch.zeros(1, 4, 4, 3), torch.zeros(1, 4, 5, 3)])
    with pytest.raises(ValueError, match="5 pictures do not fit a grid of 2 columns and 2 rows"):
        canvas.make_grid([torch.zeros(5, 4, 4, 3)], columns=2, rows=2)
    with pytest.raises(ValueError, match="smaller or fewer"):
        canvas.make_grid([torch.zeros(1, 1, 1, 3).expand(20, 1, 1000, 3)], columns=20)
