"""Colours of one picture given to another: what must hold afterwards, and numpy's account of it."""

import numpy as np
import pytest
import torch

from imaging import colour_match
from tests.pictures import to_lab

generator = torch.Generator().manual_seed(0)
SOURCE = torch.rand(2, 20, 30, 3, generator=generator) * 0.4 + 0.2
REFERENCE = torch.rand(1, 25, 17, 3, generator=generator) * torch.tensor([0.5, 0.3, 0.2]) + 0.3


def test_lab_is_the_known_one_and_comes_back() -> None:
    assert np.allclose(colour_match.to_lab(SOURCE.double()), to_lab(SOURCE.double().numpy()), atol=0.05)
    assert torch.allclose(colour_match.from_lab(colour_match.to_lab(SOURCE.double())), SOURCE.double())
    red = colour_match.to_lab(torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    assert torch.allclose(red, torch.tensor([53.24, 80.09, 67.20]).double(), atol=0.02)


def test_reinhard_gives_the_references_mean_and_spread() -> None:
    matched = colour_match.match_colours(SOURCE, REFERENCE, "reinhard", 1.0)
    wanted = to_lab(REFERENCE[0].double().numpy())
    for picture in matched:
        found = to_lab(picture.double().numpy())
        assert np.allclose(found.mean(axis=(0, 1)), wanted.mean(axis=(0, 1)), atol=0.3)
        assert np.allclose(found.std(axis=(0, 1)), wanted.std(axis=(0, 1)), atol=0.3)


def test_a_flat_picture_gets_the_references_mean() -> None:
    matched = colour_match.match_colours(torch.full((1, 4, 4, 3), 0.7), REFERENCE, "reinhard", 1.0)
    assert np.allclose(
        to_lab(matched[0].double().numpy()).mean(axis=(0, 1)),
        to_lab(REFERENCE[0].double().numpy()).mean(axis=(0, 1)),
        atol=0.1,
    )


def numpy_histogram_match(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(source, return_inverse=True, return_counts=True)
    values, wanted = np.unique(target, return_counts=True)
    matched = np.interp(np.cumsum(counts) / source.size, np.cumsum(wanted) / target.size, values)
    return matched[places.reshape(source.shape)]


def test_histograms_match_as_numpy_matches_them() -> None:
    source = (SOURCE * 16).round() / 16
    matched = colour_match.match_colours(source, REFERENCE, "histogram", 1.0)
    for channel in range(3):
        expected = numpy_histogram_match(source[0, ..., channel].numpy(), REFERENCE[0, ..., channel].numpy())
        assert np.allclose(matched[0, ..., channel], expected, atol=1e-6)


def test_a_picture_matched_to_itself_stays_as_it_is() -> None:
    for method in colour_match.METHODS:
        assert torch.allclose(colour_match.match_colours(SOURCE, SOURCE, method, 1.0), SOURCE, atol=1e-5), (
            method
        )


def test_strength_goes_from_nothing_to_all() -> None:
    full = colour_match.match_colours(SOURCE, REFERENCE, "reinhard", 1.0)
    assert torch.equal(colour_match.match_colours(SOURCE, REFERENCE, "reinhard", 0.0), SOURCE)
    half = colour_match.match_colours(SOURCE, REFERENCE, "reinhard", 0.5)
    assert torch.allclose(half, (SOURCE + full) / 2, atol=1e-6)


def test_references_that_fit_no_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="There are 2 pictures and 3 references"):
        colour_match.match_colours(SOURCE, REFERENCE.expand(3, -1, -1, -1), "reinhard", 1.0)
