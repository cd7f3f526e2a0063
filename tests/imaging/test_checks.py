"""What is no picture and no mask is said, with the input's name."""

import pytest
import torch

from imaging.checks import COLOUR, mask_of, picture


@pytest.mark.parametrize("shape", [(4, 4, 3), (0, 4, 4, 3), (1, 0, 4, 3), (1, 4, 4, 0)])
def test_shapes_that_are_no_pictures(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"image1 has the shape .*\[batch, height, width, channels\]"):
        picture(torch.zeros(shape), "image1")


def test_channels_that_will_not_do() -> None:
    with pytest.raises(ValueError, match=r"image has 2 channels and this needs 1 .* or 3 .* or 4 "):
        picture(torch.zeros(1, 4, 4, 2), "image")
    with pytest.raises(
        ValueError, match=r"image has 4 channels and this needs 3 \(RGB\).*SplitImageWithAlpha"
    ):
        picture(torch.zeros(1, 4, 4, 4), "image", COLOUR)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none(value: float) -> None:
    with pytest.raises(ValueError, match="source holds NaN"):
        picture(torch.full((1, 4, 4, 3), value), "source")
    with pytest.raises(ValueError, match="mask holds NaN"):
        mask_of(torch.full((1, 4, 4), value), "mask")


@pytest.mark.parametrize("shape", [(4,), (0, 4, 4), (1, 4, 0), (1, 3, 4, 4)])
def test_shapes_that_are_no_masks(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"alpha has the shape .*\[batch, height, width\]"):
        mask_of(torch.zeros(shape), "alpha")


def test_masks_without_a_batch_or_with_a_channel_are_taken() -> None:
    assert mask_of(torch.zeros(4, 5), "mask").shape == (1, 4, 5)
    assert mask_of(torch.zeros(2, 1, 4, 5), "mask").shape == (2, 4, 5)
