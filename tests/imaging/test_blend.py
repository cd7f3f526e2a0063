"""Mixing, laying on, and composing two pictures, against formulas pixel by pixel."""

import numpy as np
import pytest
import torch

from imaging import blend, channels, composite, porter_duff

generator = torch.Generator().manual_seed(0)
BELOW, ABOVE = (torch.rand(2, 5, 7, 3, generator=generator) for _ in range(2))
MASKS = [torch.rand(2, 5, 7, generator=generator) for _ in range(2)]


def soft_light(a: float, b: float) -> float:
    if b <= 0.5:
        return a - (1 - 2 * b) * a * (1 - a)
    lighter = ((16 * a - 12) * a + 4) * a if a <= 0.25 else a**0.5
    return a + (2 * b - 1) * (lighter - a)


FORMULAS = {
    "normal": lambda a, b: b,
    "multiply": lambda a, b: a * b,
    "screen": lambda a, b: a + b - a * b,
    "overlay": lambda a, b: 2 * a * b if a <= 0.5 else 1 - 2 * (1 - a) * (1 - b),
    "soft_light": soft_light,
    "difference": lambda a, b: a - b,
}


@pytest.mark.parametrize("mode", blend.MODES)
def test_modes_mix_as_their_formulas_say(mode: str) -> None:
    mixed = np.vectorize(FORMULAS[mode])(BELOW.double().numpy(), ABOVE.double().numpy())
    expected = np.clip(0.3 * BELOW.numpy() + 0.7 * mixed, 0, 1)
    assert np.allclose(blend.blend(BELOW, ABOVE, 0.7, mode), expected, atol=1e-6)
    assert torch.allclose(blend.blend(BELOW, ABOVE, 0.0, mode), BELOW)


def test_the_upper_picture_is_made_to_fit() -> None:
    above = torch.full((1, 10, 30, 4), 0.25)
    assert torch.allclose(blend.blend(BELOW, above, 1.0, "normal"), torch.tensor(0.25))


def test_a_source_is_pasted_where_it_is_asked_for() -> None:
    source = torch.ones(1, 3, 3, 3)
    pasted = composite.paste(BELOW, source, 5, 1, None, fit=False)
    expected = BELOW.clone()
    expected[:, 1:4, 5:] = 1
    assert torch.equal(pasted, expected)


def test_a_mask_is_scaled_to_the_source_and_mixes() -> None:
    mask = torch.full((1, 2, 2), 0.25)
    pasted = composite.paste(BELOW, ABOVE, 0, 0, mask, fit=False)
    assert torch.allclose(pasted, 0.25 * ABOVE + 0.75 * BELOW)
    half = torch.zeros(1, 5, 7)
    half[..., :3] = 1
    pasted = composite.paste(BELOW, ABOVE, 0, 0, half, fit=False)
    assert torch.equal(pasted[:, :, :3], ABOVE[:, :, :3])
    assert torch.equal(pasted[:, :, 3:], BELOW[:, :, 3:])


def test_a_fitted_source_covers_the_destination_and_nothing_is_written_into_inputs() -> None:
    before = BELOW.clone()
    pasted = composite.paste(BELOW, torch.ones(1, 1, 1, 3), 0, 0, None, fit=True)
    assert torch.allclose(pasted, torch.ones(()))
    assert torch.equal(BELOW, before)


def test_a_source_beside_the_destination_is_refused() -> None:
    with pytest.raises(ValueError, match="At x 7, y 0 the source lies outside"):
        composite.paste(BELOW, ABOVE, 7, 0, None, fit=False)


def porter_duff_pixel(mode: str, a: float, s: float, b: float, d: float) -> tuple[float, float]:
    """(colour, alpha) of the result; a, b: colours multiplied by their alphas s and d."""
    both, source, below = s * d, s * (1 - d), d * (1 - s)
    colour = {
        "CLEAR": 0,
        "SRC": a,
        "DST": b,
        "SRC_OVER": a + b * (1 - s),
        "DST_OVER": b + a * (1 - d),
        "SRC_IN": a * d,
        "DST_IN": b * s,
        "SRC_OUT": a * (1 - d),
        "DST_OUT": b * (1 - s),
        "SRC_ATOP": a * d + b * (1 - s),
        "DST_ATOP": b * s + a * (1 - d),
        "XOR": a * (1 - d) + b * (1 - s),
        "ADD": min(1, a + b),
        "MULTIPLY": a * b,
        "SCREEN": a + b - a * b,
        "DARKEN": a * (1 - d) + b * (1 - s) + min(a, b),
        "LIGHTEN": a * (1 - d) + b * (1 - s) + max(a, b),
        "OVERLAY": 2 * a * b if 2 * b < d else both - 2 * (d - a) * (s - b),
    }[mode]
    alpha = {
        "CLEAR": 0,
        "SRC": s,
        "DST": d,
        "SRC_IN": both,
        "DST_IN": both,
        "SRC_OUT": source,
        "DST_OUT": below,
        "SRC_ATOP": d,
        "DST_ATOP": s,
        "XOR": source + below,
        "ADD": min(1, s + d),
        "MULTIPLY": both,
    }.get(mode, both + source + below)
    return (min(1, max(0, colour / alpha)) if alpha > 1e-5 else 0), 1 - alpha


@pytest.mark.parametrize("mode", porter_duff.MODES)
def test_composing_follows_the_published_table(mode: str) -> None:
    colours, mask = porter_duff.compose(ABOVE, MASKS[0], BELOW, MASKS[1], mode)
    s, d = (1 - values.double().numpy()[..., None] for values in MASKS)
    a, b = ABOVE.double().numpy() * s, BELOW.double().numpy() * d
    expected, alpha = np.vectorize(lambda *values: porter_duff_pixel(mode, *values), otypes=[float, float])(
        a, s, b, d
    )
    assert np.allclose(colours, expected, atol=1e-5)
    assert np.allclose(mask, alpha[..., 0], atol=1e-6)


def test_all_eighteen_modes_are_there() -> None:
    assert len(porter_duff.MODES) == 18


def test_sources_are_made_to_fit_and_the_shortest_batch_counts() -> None:
    colours, mask = porter_duff.compose(
        torch.ones(1, 10, 10, 3), torch.zeros(1, 3, 3), BELOW, MASKS[1], "SRC"
    )
    assert colours.shape == (1, 5, 7, 3)
    assert torch.allclose(colours, torch.ones(()))
    assert torch.allclose(mask, torch.zeros(()))


def test_pictures_of_different_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="source has 4 channels and destination 3"):
        porter_duff.compose(torch.ones(1, 5, 7, 4), MASKS[0], BELOW, MASKS[1], "SRC")


def test_alpha_joined_and_split_comes_back() -> None:
    image, mask = channels.split_alpha(channels.join_alpha(BELOW, MASKS[0]))
    assert torch.equal(image, BELOW)
    assert torch.allclose(mask, MASKS[0], atol=1e-6)
    assert channels.split_alpha(BELOW)[1].sum() == 0


def test_channels_are_spread_cut_and_added() -> None:
    grey = BELOW[..., :1]
    assert torch.equal(channels.with_channels(grey, 3), grey.expand(-1, -1, -1, 3))
    assert torch.equal(channels.with_channels(grey, 4)[..., 3], torch.ones(2, 5, 7))
    assert torch.equal(channels.with_channels(torch.cat((BELOW, grey), -1), 3), BELOW)
    assert channels.repeated_to(BELOW, 5).shape[0] == 5
    assert torch.equal(channels.repeated_to(BELOW, 5)[2], BELOW[0])
    assert torch.equal(channels.padded_to(BELOW, 4)[3], BELOW[1])
    assert channels.rgb_of(0xFF3300) == (1.0, 0.2, 0.0)
