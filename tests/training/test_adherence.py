"""The checker of pictures, on pictures whose content is known because they were drawn."""

from pathlib import Path
from random import Random

import pytest
import torch
from PIL import Image, ImageFilter

from tests.adherence import CLASSES, Asked, check_picture, parse_prompt, prompts, table
from training.drawing import Canvas
from training.drawing.arrangements import Arrangement, one_shape, two_shapes
from training.drawing.palette import NAMES, PALETTE
from training.drawing.shapes import SHAPES, draw_shape
from training.drawing.split import Split


def picture(*things: tuple[str, str, float, float, float], background: str) -> Image.Image:
    canvas = Canvas()
    canvas.fill(PALETTE[background])
    for colour, shape, x, y, radius in things:
        draw_shape(canvas, shape, x, y, radius, colour=PALETTE[colour])
    return canvas.picture()


@pytest.mark.parametrize("draw", [one_shape, two_shapes])
@pytest.mark.parametrize("split", list(Split))
def test_drawn_pictures_show_their_captions(draw: Arrangement, split: Split) -> None:
    rng = Random(7)
    for _ in range(60):
        canvas = Canvas()
        caption = draw(rng, canvas, split)
        assert check_picture(canvas.picture(), caption).right, caption


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_told_from_the_others_at_any_size(shape: str) -> None:
    for radius in (11, 20, 32, 45):
        image = picture(("red", shape, 64, 64, radius), background="white")
        for other in SHAPES:
            assert check_picture(image, f"a red {other} on a white background").shapes == (shape == other)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("blur", [1.0, 2.0])
def test_soft_shapes_keep_their_names(shape: str, blur: float) -> None:
    sharp = picture(("blue", shape, 60, 66, 18), background="green")
    soft = sharp.filter(ImageFilter.GaussianBlur(blur))
    assert check_picture(soft, f"a blue {shape} on a green background").right


@pytest.mark.parametrize("colour", NAMES)
def test_every_colour_is_told_from_the_others(colour: str) -> None:
    background = "white" if colour != "white" else "blue"
    image = picture((colour, "star", 64, 64, 28), background=background)
    for other in NAMES:
        if other != background:
            verdict = check_picture(image, f"a {other} star on a {background} background")
            assert verdict.colours == verdict.right == (colour == other)


def test_the_wrong_background_is_noticed() -> None:
    image = picture(("red", "circle", 64, 64, 28), background="yellow")
    verdict = check_picture(image, "a red circle on a pink background")
    assert not verdict.background
    assert verdict.colours
    assert not verdict.right


@pytest.mark.parametrize(
    ("x", "y", "relation"),
    [(33, 64, "left of"), (95, 64, "to the right of"), (64, 33, "above"), (64, 95, "under")],
)
def test_relations_are_told_apart(x: float, y: float, relation: str) -> None:
    image = picture(("red", "circle", x, y, 20), ("blue", "square", 128 - x, 128 - y, 20), background="white")
    for other in ("left of", "to the right of", "above", "under"):
        verdict = check_picture(image, f"a red circle {other} a blue square on a white background")
        assert verdict.relation == (other == relation)
        assert verdict.colours
        assert verdict.shapes


def test_swapped_colours_are_no_match() -> None:
    image = picture(("blue", "circle", 33, 64, 20), ("red", "square", 95, 64, 20), background="white")
    verdict = check_picture(image, "a red circle left of a blue square on a white background")
    assert not verdict.shapes
    assert not verdict.relation


def test_a_missing_thing_and_one_too_many_are_noticed() -> None:
    one = picture(("red", "circle", 64, 64, 20), background="white")
    assert not check_picture(one, "a red circle above a blue square on a white background").right
    two = picture(("red", "circle", 64, 33, 20), ("blue", "square", 64, 95, 20), background="white")
    assert not check_picture(two, "a red circle on a white background").right
    nothing = picture(background="white")
    assert not check_picture(nothing, "a red circle on a white background").right


def test_noise_shows_nothing() -> None:
    noise = torch.rand(128, 128, 3, generator=torch.Generator().manual_seed(1))
    assert not check_picture(noise, "a red circle on a white background").right


def test_blurred_and_noisy_pictures_still_count() -> None:
    drawn = picture(("green", "heart", 64, 33, 20), ("gray", "star", 64, 95, 20), background="purple")
    soft = drawn.resize((64, 64), Image.Resampling.BILINEAR).resize((128, 128), Image.Resampling.BILINEAR)
    pixels = torch.frombuffer(bytearray(soft.tobytes()), dtype=torch.uint8).view(1, 128, 128, 3) / 255
    noisy = (pixels + 0.02 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(2))).clamp(
        0, 1
    )
    assert check_picture(noisy, "a green heart on top of a gray star, purple background").right


def test_pictures_are_read_from_files_and_at_other_sizes(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    picture(("red", "circle", 64, 64, 28), background="white").resize((256, 256)).save(path)
    assert check_picture(path, "a photo of a red circle on white").right


def test_prompts_are_read() -> None:
    assert parse_prompt(
        "a drawing of a tiny red heart beneath a big blue star over a pink background"
    ) == Asked("pink", (("red", "heart"), ("blue", "star")), "below")
    assert parse_prompt("small gray circle at the top, black background") == Asked(
        "black", (("gray", "circle"),), None
    )


@pytest.mark.parametrize(
    "prompt", ["", "a house at night", "a red circle", "a red circle inside a blue star on white"]
)
def test_other_prompts_are_refused(prompt: str) -> None:
    with pytest.raises(ValueError, match=r"prompt|relation"):
        parse_prompt(prompt)


def test_the_sets_of_prompts_do_not_overlap() -> None:
    for kind in CLASSES:
        sets = [
            {parse_prompt(text) for text in prompts(kind, split, 40)}
            for split in (Split.HELDOUT, Split.FINAL)
        ]
        assert sets[0].isdisjoint(sets[1])
        assert prompts(kind, Split.FINAL, 5) == prompts(kind, Split.FINAL, 5)


def test_the_table_counts_what_is_right() -> None:
    right = check_picture(picture(("red", "star", 64, 64, 28), background="white"), "a red star on white")
    wrong = check_picture(picture(("red", "star", 64, 64, 28), background="white"), "a red heart on white")
    line = table({"one shape": [right, right, right, wrong]}).splitlines()[1]
    assert line.split() == ["one", "shape", "4", "100%", "100%", "75%", "-", "75%", "95%"]
