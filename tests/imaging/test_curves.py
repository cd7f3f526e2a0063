"""Curves: where their points lie, and which numbers stand at the axes."""

import math

import numpy as np
import pytest

from imaging.curves import Axes, draw_curves, ticks


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.5, 8.0], [0.0, 2.0, 4.0, 6.0, 8.0]),
        ([0.231, 0.274], [0.23, 0.24, 0.25, 0.26, 0.27, 0.28]),
        ([5.0], [4.4, 4.6, 4.8, 5.0, 5.2, 5.4, 5.6]),
        ([-100.0, 900.0], [-200.0, 0.0, 200.0, 400.0, 600.0, 800.0, 1000.0]),
    ],
)
def test_ticks_are_round_and_enclose(values: list[float], expected: list[float]) -> None:
    found = ticks(values)
    assert found[0] <= min(values)
    assert found[-1] >= max(values)
    assert np.allclose(np.diff(found), found[1] - found[0])
    assert 2 <= len(found) <= 8
    if len(values) > 1:
        assert found == pytest.approx(expected)


def place(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[float, float]:
    """The middle of what has that colour below the legend."""
    rows, columns = np.nonzero((np.abs(picture * 255 - colour) < 2).all(axis=-1))
    below = rows > 60
    return float(columns[below].mean()), float(rows[below].mean())


def test_a_higher_value_lies_higher_and_a_larger_one_further_right() -> None:
    blue, red = (31, 119, 180), (214, 39, 40)
    curves = {"low": [(1.0, 10.0)], "high": [(9.0, 90.0)]}
    picture = draw_curves(curves, Axes("x", "y", 400, 300))[0].numpy()
    assert picture.shape == (300, 400, 3)
    (low_x, low_y), (high_x, high_y) = place(picture, blue), place(picture, red)
    assert high_x > low_x + 150
    assert high_y < low_y - 80


def test_points_are_joined() -> None:
    line = draw_curves({"": [(0.0, 0.0), (10.0, 10.0)]}, Axes("x", "y", 400, 300))[0].numpy()
    ends = draw_curves({"a": [(0.0, 0.0)], "b": [(10.0, 10.0)]}, Axes("x", "y", 400, 300))[0].numpy()
    blue = (np.abs(line * 255 - (31, 119, 180)) < 2).all(axis=-1)
    assert len(np.unique(np.nonzero(blue)[1])) > 200
    assert (np.abs(ends * 255 - (31, 119, 180)) < 2).all(axis=-1).sum() < blue.sum()


def test_what_cannot_be_drawn_is_said() -> None:
    with pytest.raises(ValueError, match="one point at least"):
        draw_curves({}, Axes("x", "y"))
    with pytest.raises(ValueError, match="finite"):
        draw_curves({"": [(0.0, math.nan)]}, Axes("x", "y"))
    with pytest.raises(ValueError, match="too few"):
        draw_curves({"": [(0.0, 1.0)]}, Axes("x", "y", 40, 40))
