"""The workflows about latents and lists of prompts, each run as it stands, its result checked by program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graph import Executor, Folders
from nodes import REGISTRY
from tests.adherence import check_picture
from tests.pictures import Pixels, read_picture
from tests.workflows.test_workflows import ROOT, picture_of, pixels_of, prompt_of, run


@pytest.fixture(scope="module")
def executor(tmp_path_factory: pytest.TempPathFactory) -> Executor:
    results = tmp_path_factory.mktemp("results")
    folders = Folders(
        models=(ROOT / "models",), input=ROOT / "input", output=results / "output", temp=results / "temp"
    )
    return Executor(REGISTRY, folders=folders)


def saved(executor: Executor, name: str, node: str, **changes: object) -> list[Path]:
    shown = run(executor, name, **changes).ui[node]["images"]
    return [executor.folders.output / image["subfolder"] / image["filename"] for image in shown]


def tiles(pixels: Pixels, columns: int, rows: int, gap: int) -> list[Pixels]:
    """The pictures of a grid, row by row, found from its lower right corner."""
    size = 128
    return [
        pixels[len(pixels) - (rows - y) * (size + gap) :, pixels.shape[1] - (columns - x) * (size + gap) :][
            :size, :size
        ]
        for y in range(rows)
        for x in range(columns)
    ]


@pytest.mark.slow
def test_the_second_pass_makes_the_larger_picture_sharp(executor: Executor) -> None:
    def steepest(pixels: Pixels) -> float:
        return float(np.quantile(np.abs(np.diff(pixels[..., 1], axis=1)), 0.995))

    once = pixels_of(picture_of(executor, "hires_fix", _9_denoise=0.0))
    twice = pixels_of(picture_of(executor, "hires_fix"))
    assert once.shape == twice.shape == (192, 192, 3)
    assert steepest(twice) > 1.1 * steepest(once)
    (thing,) = read_picture(twice).things
    assert thing.colour == "red"


@pytest.mark.slow
def test_parts_that_were_begun_apart_are_finished_as_one(executor: Executor) -> None:
    path = picture_of(executor, "noisy_latent_composition")
    assert check_picture(path, prompt_of("noisy_latent_composition")).right
    other = pixels_of(picture_of(executor, "noisy_latent_composition", _12_noise_seed=9))
    changed = np.abs(other - pixels_of(path)).mean(axis=(1, 2))
    assert changed[64:].mean() > changed[:64].mean(), "the lower part comes from its own noise"


@pytest.mark.slow
def test_a_plot_shows_each_seed_at_each_guidance(executor: Executor) -> None:
    pixels = pixels_of(picture_of(executor, "xy_plot"))
    shown = tiles(pixels, 3, 2, 4)
    for picture in shown:
        assert [(thing.colour, thing.shape) for thing in read_picture(picture).things] == [("green", "star")]
    assert all(np.abs(one - two).mean() > 0.001 for i, one in enumerate(shown) for two in shown[:i])
    above, beside = pixels[: -2 * 132 - 4], pixels[:, : -3 * 132 - 4]
    assert above.min() < 0.2
    assert beside.min() < 0.2


@pytest.mark.slow
def test_a_matrix_shows_every_combination(executor: Executor) -> None:
    _, green, yellow, both = (
        read_picture(part) for part in tiles(pixels_of(picture_of(executor, "prompt_matrix")), 2, 2, 4)
    )
    assert (yellow.background, both.background) == ("yellow", "yellow")
    assert green.background != "yellow"
    assert [(thing.colour, thing.shape) for thing in both.things] == [("green", "star")]


@pytest.mark.slow
def test_each_line_of_a_file_makes_a_picture(executor: Executor) -> None:
    prompts = (ROOT / "input" / "prompts.txt").read_text().splitlines()
    paths = saved(executor, "prompts_from_file", "7")
    assert len(paths) == len(prompts) == 4
    for path, prompt in zip(paths, prompts, strict=True):
        assert check_picture(path, prompt).right
    (grid,) = saved(executor, "prompts_from_file", "10")
    assert pixels_of(grid).shape == (262, 262, 3)


@pytest.mark.slow
def test_variations_are_near_to_each_other_and_further_with_strength(executor: Executor) -> None:
    def spread(strength: float) -> float:
        grid = pixels_of(picture_of(executor, "variation_seed", _11_strength=strength, _14_steps=4))
        shown = tiles(grid, 2, 2, 2)
        return float(np.mean([np.abs(picture - shown[0]).mean() for picture in shown[1:]]))

    little, all_of_it = spread(0.3), spread(1.0)
    assert 1e-4 < little < all_of_it
