"""Sizes and scaling, against numpy and Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from imaging import scale

PICTURE = torch.rand(2, 12, 18, 3, generator=torch.Generator().manual_seed(0))


def along(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Straight lines between the middles of pixels, one axis at a time."""
    old = values.shape[axis]
    places = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    below = np.floor(places).astype(int)
    share = (places - below).reshape([-1 if place == axis else 1 for place in range(values.ndim)])
    lower, upper = values.take(below, axis), values.take(np.minimum(below + 1, old - 1), axis)
    return lower * (1 - share) + upper * share


def test_bilinear_is_straight_lines_between_the_middles_of_pixels() -> None:
    expected = along(along(PICTURE.numpy(), 31, 1), 7, 2)
    assert np.allclose(scale.resize(PICTURE, 7, 31, "bilinear"), expected, atol=1e-6)


def test_nearest_takes_the_pixel_under_the_middle() -> None:
    rows = ((np.arange(5) + 0.5) * 12 / 5).astype(int)
    columns = ((np.arange(40) + 0.5) * 18 / 40).astype(int)
    expected = PICTURE.numpy()[:, rows][:, :, columns]
    assert np.array_equal(scale.resize(PICTURE, 40, 5, "nearest-exact"), expected)


def test_area_is_the_mean_of_what_a_pixel_covers() -> None:
    expected = PICTURE.numpy().reshape(2, 4, 3, 9, 2, 3).mean(axis=(2, 4))
    assert np.allclose(scale.resize(PICTURE, 9, 4, "area"), expected, atol=1e-6)


def cubic_weight(distance: float) -> float:
    """Keys (1981) with a = -3/4."""
    a, x = -0.75, abs(distance)
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def cubic_matrix(old: int, new: int) -> np.ndarray:
    matrix = np.zeros((new, old))
    for row in range(new):
        place = (row + 0.5) * old / new - 0.5
        for tap in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            matrix[row, min(max(tap, 0), old - 1)] += cubic_weight(place - tap)
    return matrix


def test_bicubic_weighs_four_pixels_each_way() -> None:
    expected = np.einsum(
        "yh,xw,bhwc->byxc", cubic_matrix(12, 20), cubic_matrix(18, 29), PICTURE.double().numpy()
    )
    assert np.allclose(scale.resize(PICTURE, 29, 20, "bicubic"), expected, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lanczos_is_pillows(channels: int) -> None:
    eight_bit = torch.randint(0, 256, (1, 12, 18, channels), generator=torch.Generator().manual_seed(1))
    array = eight_bit[0].numpy().astype(np.uint8)
    source = Pillow.fromarray(array[..., 0] if channels == 1 else array)
    expected = np.asarray(source.resize((25, 9), Pillow.Resampling.LANCZOS)).reshape(9, 25, channels)
    result = scale.resize((eight_bit.float() / 255 + 1e-4).clamp(max=1), 25, 9, "lanczos")
    assert np.array_equal((result[0] * 255).round().numpy(), expected)


def test_a_centred_crop_keeps_the_shape_of_things() -> None:
    wide = torch.zeros(1, 10, 40, 3)
    wide[:, :, 15:25] = 1
    assert (scale.resize(wide, 20, 20, "nearest-exact", "center") == 1).all()
    assert scale.resize(wide, 20, 20, "nearest-exact").mean() == pytest.approx(0.25)


def test_a_high_picture_is_cropped_above_and_below() -> None:
    high = torch.zeros(1, 40, 10, 3)
    high[:, 15:25] = 1
    assert (scale.resize(high, 5, 5, "area", "center") == 1).all()


def test_masks_scale_as_pictures_do() -> None:
    mask = PICTURE[..., 0]
    assert torch.equal(scale.resize_mask(mask, 9, 4), scale.resize(mask[..., None], 9, 4, "bilinear")[..., 0])


@pytest.mark.parametrize(
    ("asked", "size"), [((100, 50), (100, 50)), ((0, 50), (75, 50)), ((30, 0), (30, 20)), ((0, 0), (18, 12))]
)
def test_a_side_of_0_follows_from_the_other(asked: tuple[int, int], size: tuple[int, int]) -> None:
    assert scale.size_by_sides((18, 12), *asked) == size


def test_sizes_by_factor_pixels_and_longer_side() -> None:
    assert scale.size_by_factor((18, 12), 1.5) == (27, 18)
    assert scale.size_by_pixels((1024, 1024), 0.25) == (512, 512)
    width, height = scale.size_by_pixels((300, 200), 1.0)
    assert abs(width * height / 2**20 - 1) < 0.01
    assert scale.size_by_largest((300, 200), 150) == (150, 100)
    assert scale.size_by_largest((200, 300), 150) == (100, 150)
    assert scale.size_by_largest((200, 200), 150) == (150, 150)
    assert scale.size_by_largest((1000, 1), 10) == (10, 1)
    assert scale.size_inside((300, 200), 100, 100) == (100, 66)


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [(0, 5, "0x5 pixels, so nothing"), (5, 16385, "16384 at most"), (16384, 16384, "meant to fit")],
)
def test_sizes_beyond_the_limits_are_refused(width: int, height: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scale.resize(PICTURE, width, height, "bilinear")


def test_a_crop_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="leaves nothing"):
        scale.resize(torch.zeros(1, 2, 2, 3), 10_000, 2, "bilinear", "center")
