"""Blur, sharpening, noise, few colours, edges: against plain loops and what is known of them."""

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from PIL import ImageDraw

from imaging import edges, filters, quantize

PICTURE = torch.rand(1, 11, 14, 3, generator=torch.Generator().manual_seed(0))


def plain_blur(picture: np.ndarray, radius: int, sigma: float) -> np.ndarray:
    """Each pixel as the weighted mean of the square around it, whose half side counts as 1."""
    places = np.arange(-radius, radius + 1) / radius
    weights = np.exp(-(places[:, None] ** 2 + places[None] ** 2) / (2 * sigma**2))
    padded = np.pad(picture, ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    result = np.zeros_like(picture)
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            window = padded[row : row + 2 * radius + 1, column : column + 2 * radius + 1]
            result[row, column] = (window * weights[..., None]).sum(axis=(0, 1)) / weights.sum()
    return result


@pytest.mark.parametrize(("radius", "sigma"), [(1, 1.0), (3, 0.4), (10, 5.0)])
def test_blur_is_a_weighted_mean(radius: int, sigma: float) -> None:
    expected = plain_blur(PICTURE[0].double().numpy(), radius, sigma)
    assert np.allclose(filters.gaussian_blur(PICTURE, radius, sigma)[0], expected, atol=1e-6)


def test_sharpening_adds_what_a_blur_takes_away() -> None:
    picture = PICTURE[0].double().numpy()
    expected = np.clip(picture + 10 * 0.2 * (picture - plain_blur(picture, 2, 1.0)), 0, 1)
    assert np.allclose(filters.sharpen(PICTURE, 2, 1.0, 0.2)[0], expected, atol=1e-5)
    assert torch.equal(filters.sharpen(PICTURE, 2, 1.0, 0.0), PICTURE)


def test_a_radius_larger_than_the_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="A radius of 11 does not fit a picture of 14x11"):
        filters.gaussian_blur(PICTURE, 11, 1.0)


def test_noise_has_the_strength_asked_for_and_comes_from_the_seed() -> None:
    grey = torch.full((1, 100, 100, 3), 0.5)
    noisy = filters.add_noise(grey, 3, 0.1)
    assert (noisy - grey).std().item() == pytest.approx(0.1, rel=0.02)
    assert torch.equal(noisy, filters.add_noise(grey, 3, 0.1))
    assert not torch.equal(noisy, filters.add_noise(grey, 4, 0.1))
    assert filters.add_noise(grey, 3, 1.0).max() == 1


@pytest.mark.parametrize("dither", quantize.DITHERS)
def test_few_colours_are_few_and_near(dither: str) -> None:
    slope = torch.linspace(0, 1, 64).reshape(1, 1, 64, 1).expand(2, 32, 64, 3)
    few = quantize.quantize(slope, 8, dither)
    assert len(few[0].reshape(-1, 3).unique(dim=0)) <= 8
    assert (few - slope).abs().mean() < 0.15
    assert few.shape == slope.shape


def test_dithers_differ() -> None:
    slope = torch.linspace(0, 1, 64).reshape(1, 1, 64, 1).expand(1, 32, 64, 3)
    results = [quantize.quantize(slope, 4, dither) for dither in quantize.DITHERS]
    assert all(
        not torch.equal(first, second)
        for place, first in enumerate(results)
        for second in results[place + 1 :]
    )


def test_bayers_pattern_is_the_published_one() -> None:
    assert ((quantize.bayer_matrix(2) + 0.5) * 4 - 0.5).tolist() == [[-0.0, 2.0], [3.0, 1.0]]
    assert sorted(quantize.bayer_matrix(8).ravel() * 64 + 31.5) == list(range(64))


def test_the_edge_of_a_disc_is_its_outline() -> None:
    drawn = Pillow.new("L", (320, 320))
    ImageDraw.Draw(drawn).ellipse((60, 60, 260, 260), fill=255)
    values = np.asarray(drawn.reduce(8)).astype(np.float32) / 255
    found = edges.canny(torch.from_numpy(values)[None, ..., None], 0.4, 0.8)[0].numpy()
    assert set(np.unique(found)) == {0, 1}
    rows, columns = np.nonzero(found)
    distance = np.hypot(rows + 0.5 - 20, columns + 0.5 - 20)
    assert abs(distance - 12.5).max() < 1.2
    assert len(np.unique((np.arctan2(rows - 19.5, columns - 19.5) * 8 / np.pi).round())) >= 16
    assert 55 <= found.sum() <= 110


def test_a_weak_edge_counts_where_it_goes_on_from_a_strong_one() -> None:
    step = torch.zeros(1, 30, 60, 3)
    step[:, 15:] = torch.linspace(0.05, 1, 60).reshape(1, 1, 60, 1)
    apart = torch.zeros(1, 30, 60, 3)
    apart[:, 15:] = 0.2
    assert edges.canny(step, 0.3, 2.0)[0, 14:16].sum() > 40
    assert edges.canny(apart, 0.3, 2.0).sum() == 0
    assert edges.canny(apart, 0.3, 0.4).sum() > 50


def test_thresholds_the_wrong_way_round_and_tiny_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="Swap them"):
        edges.canny(PICTURE, 0.8, 0.4)
    with pytest.raises(ValueError, match="3x3 at least"):
        edges.canny(PICTURE[:, :2], 0.1, 0.2)
