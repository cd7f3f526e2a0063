"""Lists of prompts, values of plots, labelled grids, and noise between two noises."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffusion.latents.operations import OnGuidance, Tonemap
from diffusion.latents.variation import slerp
from diffusion.sampling.starting_noise import Noise
from diffusion.sampling.transforms.stages import Predicted
from diffusion.types import Image, Latent
from graph import Context, Executor, Folders, Items, Link, Node, Workflow
from nodes import REGISTRY
from nodes.latent_combine import latent_apply_operation_cfg
from nodes.noise import variation_noise
from nodes.plots import labelled_image_grid, plot_values
from nodes.prompts import prompt_matrix, prompts_from_file
from tests.nodes.toys import toy_model

CPU = torch.device("cpu")


def reading(folder: Path) -> Context:
    return Context(folders=Folders(models=(), input=folder))


def test_prompts_come_from_the_lines_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes("\ufeffa cat\r\n\r\n  a dög \nlast".encode())
    ctx = reading(tmp_path)
    assert prompts_from_file(file="p.txt", ctx=ctx) == ["a cat", "  a dög ", "last"]
    assert prompts_from_file(file="p.txt", start=1, count=1, ctx=ctx) == ["  a dög "]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\n \n", "no prompt"), (b"\xff\xfe\x00", "UTF-8"), (b"a\n" * 10_001, "10001 items")],
)
def test_files_without_prompts_are_said(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "p.txt").write_bytes(content)
    with pytest.raises(ValueError, match=said):
        prompts_from_file(file="p.txt", ctx=reading(tmp_path))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    executor = Executor(REGISTRY, folders=Folders(models=(), input=tmp_path))
    workflow = Workflow({"f": Node("PromptsFromFile", {"file": "p.txt"})})
    for text in ("one", "two"):
        (tmp_path / "p.txt").write_text(text)
        assert executor.run(workflow, targets=["f"]).values["f"] == (Items([text]),)


def test_a_matrix_combines_the_parts_of_a_prompt() -> None:
    matrix = prompt_matrix(prompt="a house,| at night|in snow|oil")
    assert matrix.column_labels == ["", "at night", "in snow", "at night, in snow"]
    assert matrix.row_labels == ["", "oil"]
    assert matrix.prompts[:4] == [
        "a house",
        "a house, at night",
        "a house, in snow",
        "a house, at night, in snow",
    ]
    assert matrix.prompts[4:] == [f"{prompt}, oil" for prompt in matrix.prompts[:4]]
    assert prompt_matrix(prompt="alone") == (["alone"], [""], [""])
    assert prompt_matrix(prompt="a|b;c", separator=";").prompts == ["a|b", "a|b, c"]


def test_matrices_that_cannot_be_made_are_said() -> None:
    with pytest.raises(ValueError, match="11 parts to combine, 10"):
        prompt_matrix(prompt="|".join("abcdefghijkl"))
    with pytest.raises(ValueError, match="separator is empty"):
        prompt_matrix(prompt="a", separator="")


def test_a_plot_has_every_combination_row_by_row() -> None:
    plot = plot_values(x=[1, 2], y=["a", "b"], z=[0.5, 1.0], x_name=["seed"], z_name=["cfg"])
    assert plot.x == [1, 2] * 4
    assert plot.y == ["a", "a", "b", "b"] * 2
    assert plot.z == [0.5] * 4 + [1.0] * 4
    assert plot.column_labels == ["seed: 1", "seed: 2"]
    assert plot.row_labels == ["cfg: 0.5\na", "cfg: 0.5\nb", "cfg: 1.0\na", "cfg: 1.0\nb"]
    alone = plot_values(x=[1, 2, 3])
    assert (alone.x, alone.y, alone.row_labels) == ([1, 2, 3], [None] * 3, [])
    with pytest.raises(ValueError, match="list of y has no items"):
        plot_values(x=[1], y=[])
    with pytest.raises(ValueError, match="40000 items"):
        plot_values(x=[0] * 200, y=[0] * 200)


def test_the_values_of_a_plot_fit_the_inputs_they_are_for() -> None:
    nodes = {
        "x": Node("ParseList", {"text": "8, 16", "kind": "whole numbers"}),
        "y": Node("ParseList", {"text": "1-2", "kind": "whole numbers"}),
        "p": Node("PlotValues", {"x": Link("x"), "y": Link("y")}),
        "e": Node("EmptyLatentImage", {"width": 64, "height": Link("p", 0), "batch_size": Link("p", 1)}),
    }
    nodes["x"] = Node("ParseList", {"text": "64, 80", "kind": "whole numbers"})
    result = Executor(REGISTRY).run(Workflow(nodes), targets=["e"])
    assert result.errors == ()
    shapes = [(latent.samples.shape[0], latent.samples.shape[2]) for latent in result.values["e"][0]]
    assert shapes == [(1, 8), (1, 10), (2, 8), (2, 10)]


def picture(value: float, count: int = 1) -> Image:
    return Image(torch.full((count, 40, 60, 3), value))


def test_pictures_lie_in_a_labelled_grid() -> None:
    pictures = [picture(0.2), picture(0.4), picture(0.6), picture(0.8)]
    grid = labelled_image_grid(images=pictures, column_labels=["left", "right"], row_labels=["top", "below"])
    height, width = grid.shape[1:3]
    for number, (y, x) in enumerate(((-88, -128), (-88, -64), (-44, -128), (-44, -64))):
        part = grid[0, height + y : height + y + 40, width + x : width + x + 60]
        assert torch.allclose(part, torch.tensor(0.2 * (number + 1)))
    labels_above, labels_beside = grid[0, : height - 92, width - 132 :], grid[0, height - 92 :, : width - 132]
    for labels in (labels_above, labels_beside):
        assert (labels < 0.2).any(), "there are letters"
        assert labels.mean() > 0.6, "on white"
    bare = labelled_image_grid(images=[picture(0.5, 3)])
    assert bare.shape == (1, 92, 132, 3)
    assert labelled_image_grid(images=[picture(0.5, 3)], columns=[3]).shape == (1, 48, 196, 3)


def test_long_labels_are_broken_and_larger_letters_take_more_room() -> None:
    def height(label: str, size: int = 10) -> int:
        return labelled_image_grid(images=[picture(0.5)], column_labels=[label], font_size=[size]).shape[1]

    assert height("word") < height("several words that do not fit") < height("x" * 400)
    assert height("word", 10) < height("word", 30)
    grid = labelled_image_grid(images=[picture(0.5)], row_labels=["x" * 400])
    assert grid.shape[2] <= 68 + 60 + 16


def test_grids_that_do_not_fit_are_said() -> None:
    with pytest.raises(
        ValueError, match=r"4 pictures make 2 columns and 2 rows, but there are 3 labels for the rows"
    ):
        labelled_image_grid(images=[picture(0.5, 4)], column_labels=["a", "b"], row_labels=["a", "b", "c"])
    with pytest.raises(ValueError, match="one size"):
        labelled_image_grid(images=[picture(0.5), Image(torch.ones(1, 8, 8, 3))])
    with pytest.raises(ValueError, match="no pictures"):
        labelled_image_grid(images=[])


def test_noise_between_two_noises_is_noise() -> None:
    latent = Latent(torch.zeros(2, 4, 32, 32))
    first, second = Noise(1), Noise(2)
    ends = [noise.draw(latent, CPU) for noise in (first, second)]
    drawn = {
        s: variation_noise(noise=first, variation=second, strength=s).draw(latent, CPU)
        for s in (0.0, 0.4, 1.0)
    }
    torch.testing.assert_close(drawn[0.0], ends[0])
    torch.testing.assert_close(drawn[1.0], ends[1])
    assert abs(float(drawn[0.4].std()) - 1) < 0.02
    # Two independent noises are at right angles, where the great circle is a cosine and a sine.
    expected = (
        torch.cos(torch.tensor(0.2 * torch.pi)) * ends[0] + torch.sin(torch.tensor(0.2 * torch.pi)) * ends[1]
    )
    assert (drawn[0.4] - expected).abs().mean() < 0.03
    assert variation_noise(noise=first, variation=second, strength=0.4).seed == 1


def test_mixtures_of_mixtures_and_of_one_noise() -> None:
    latent = Latent(torch.zeros(1, 4, 8, 8), batch_index=(3,))
    same = variation_noise(noise=Noise(1), variation=Noise(1), strength=0.5)
    torch.testing.assert_close(same.draw(latent, CPU), Noise(1).draw(latent, CPU))
    nested = variation_noise(noise=same, variation=Noise(5), strength=1.0)
    torch.testing.assert_close(nested.draw(latent, CPU), Noise(5).draw(latent, CPU))
    silent = variation_noise(noise=Noise(0, none=True), variation=Noise(5), strength=0.5)
    torch.testing.assert_close(silent.draw(latent, CPU), Noise(5).draw(latent, CPU) / 2)


def test_opposite_noises_are_mixed_on_a_line() -> None:
    noise = torch.randn(1, 4, 8, 8)
    torch.testing.assert_close(slerp(noise, -noise, 0.25), noise / 2)


def test_an_operation_changes_what_guidance_adds() -> None:
    model, tonemap = toy_model(), Tonemap(1.5)
    changed = latent_apply_operation_cfg(model=model, operation=tonemap)
    cond, uncond = torch.randn(2, 4, 6, 5), torch.randn(2, 4, 6, 5)
    seen = Predicted(cond, 1.0, 5.0, cond, uncond, lambda x, sigma, asked: ())
    made = changed.guidance.applied(changed.guidance.prepared(seen))
    torch.testing.assert_close(made, uncond + tonemap(cond - uncond) * 5)
    alone = OnGuidance(tonemap)(Predicted(cond, 1.0, 1.0, cond, None, lambda x, sigma, asked: ()))
    torch.testing.assert_close(alone.cond, tonemap(cond))
    assert model.guidance.before == ()
