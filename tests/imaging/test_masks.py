"""Arithmetic on masks, against plain loops."""

import numpy as np
import pytest
import torch

from imaging import masks

MASK = torch.rand(2, 6, 9, generator=torch.Generator().manual_seed(0))
OTHER = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(1))

FORMULAS = {
    "multiply": lambda a, b: a * b,
    "add": lambda a, b: min(1, a + b),
    "subtract": lambda a, b: max(0, a - b),
    "and": lambda a, b: round(a) and round(b),
    "or": lambda a, b: round(a) or round(b),
    "xor": lambda a, b: round(a) ^ round(b),
}


@pytest.mark.parametrize("operation", masks.OPERATIONS)
def test_masks_combine_where_they_overlap(operation: str) -> None:
    combined = masks.combine(MASK, OTHER, 7, 1, operation)
    expected = MASK.numpy().copy()
    part = expected[:, 1:4, 7:9]
    part[:] = np.vectorize(FORMULAS[operation], otypes=[np.float32])(part.copy(), OTHER.numpy()[:, :, :2])
    assert np.allclose(combined, expected)


def test_one_source_serves_a_whole_batch() -> None:
    assert masks.combine(MASK, torch.zeros(1, 6, 9), 0, 0, "multiply").sum() == 0


def test_masks_beside_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="outside the destination of 9x6"):
        masks.combine(MASK, OTHER, 0, 6, "add")
    with pytest.raises(ValueError, match="nothing is left of a mask of 9x6"):
        masks.crop_mask(MASK, 9, 0, 5, 5)


def test_a_crop_ends_where_the_mask_does() -> None:
    assert torch.equal(masks.crop_mask(MASK, 2, 1, 3, 100), MASK[:, 1:, 2:5])


def test_a_feathered_mask_rises_from_the_left_and_from_above() -> None:
    feathered = masks.feather(torch.ones(1, 4, 8), 4, 2, 0, 0)[0]
    assert torch.allclose(feathered[3], torch.tensor([0.25, 0.5, 0.75, 1, 1, 1, 1, 1]))
    assert torch.allclose(feathered[:, 7], torch.tensor([0.5, 1, 1, 1]))


def test_the_fall_to_the_right_and_below_is_the_one_workflows_know() -> None:
    feathered = masks.feather(torch.ones(1, 8, 8), 0, 0, 4, 4)[0]
    expected = torch.tensor([0.25, 1, 1, 1, 1, 1, 0.75, 0.5])
    assert torch.allclose(feathered[4], expected)
    assert torch.allclose(feathered[:, 4], expected)


def plain_grow(mask: np.ndarray, steps: int, corners: bool, smallest: bool) -> np.ndarray:
    choose = min if smallest else max
    for _ in range(steps):
        before = mask.copy()
        for row in range(mask.shape[0]):
            for column in range(mask.shape[1]):
                mask[row, column] = choose(
                    before[r, c]
                    for r in range(max(0, row - 1), min(mask.shape[0], row + 2))
                    for c in range(max(0, column - 1), min(mask.shape[1], column + 2))
                    if corners or r == row or c == column
                )
    return mask


@pytest.mark.parametrize("pixels", [-2, 0, 1, 3])
@pytest.mark.parametrize("tapered", [True, False])
def test_growing_takes_the_largest_around(pixels: int, tapered: bool) -> None:
    grown = masks.grow(MASK, pixels, tapered_corners=tapered)
    for before, after in zip(MASK, grown, strict=True):
        assert np.array_equal(after, plain_grow(before.numpy().copy(), abs(pixels), not tapered, pixels < 0))


def test_growing_without_end_ends_when_nothing_is_left_to_grow() -> None:
    point = torch.zeros(1, 20, 20)
    point[0, 0, 0] = 1
    assert (masks.grow(point, 16384, tapered_corners=True) == 1).all()
    assert (masks.grow(1 - point, -16384, tapered_corners=False) == 0).all()


def test_only_the_colour_itself_is_masked() -> None:
    image = torch.zeros(1, 1, 3, 4)
    image[0, 0, 1, :3] = torch.tensor([1, 0x33 / 255, 0])
    image[0, 0, 2, :3] = torch.tensor([1, 0x34 / 255, 0])
    assert masks.colour_mask(image, 0xFF3300).tolist() == [[[0, 1, 0]]]
