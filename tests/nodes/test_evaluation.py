"""Sweeps, scores and curves as nodes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffusion.evaluation.frechet import FeatureStatistics, frechet_distance
from diffusion.types import Image
from graph import Context, Folders
from imaging.shapes.outlines import outline
from imaging.shapes.palette import PALETTE
from nodes.evaluation import clip_features, evaluation_curve, evaluation_sweep, load_features
from tests.nodes.toys import call


def test_a_sweep_is_every_prompt_at_every_scale_with_every_sampler() -> None:
    sweep = evaluation_sweep(prompts=["a", "b"], scales=["1.5, 2"], samplers=["plms, ddim"])
    places = list(zip(sweep.sampler_name, sweep.cfg, sweep.prompt, strict=True))
    assert places == [
        (sampler, scale, prompt) for sampler in ("plms", "ddim") for scale in (1.5, 2.0) for prompt in "ab"
    ]


def test_without_more_a_sweep_is_the_model_cards() -> None:
    sweep = evaluation_sweep(prompts=["a"])
    assert sweep.cfg == [1.5, 2, 3, 4, 5, 6, 7, 8]
    assert set(sweep.sampler_name) == {"plms"}


def test_what_cannot_be_swept_is_said() -> None:
    with pytest.raises(ValueError, match="plms"):
        evaluation_sweep(prompts=["a"], samplers=["plmss"])
    with pytest.raises(ValueError, match="no number"):
        evaluation_sweep(prompts=["a"], scales=["high"])
    with pytest.raises(ValueError, match="one prompt"):
        evaluation_sweep(prompts=[])
    with pytest.raises(ValueError, match="10000"):
        evaluation_sweep(prompts=["a"] * 2000)


def drawn(shape: str, colour: str, background: str) -> torch.Tensor:
    from PIL import Image as Pillow
    from PIL import ImageDraw

    canvas = Pillow.new("RGB", (128, 128), PALETTE[background])
    ImageDraw.Draw(canvas).polygon(outline(shape, 64, 64, 30), fill=PALETTE[colour])
    return torch.from_numpy(np.asarray(canvas) / np.float32(255))


def test_adherence_is_the_share_that_is_as_asked() -> None:
    images = Image(
        torch.stack(
            [
                drawn("circle", "red", "white"),
                drawn("square", "red", "white"),
                drawn("square", "blue", "white"),
                drawn("star", "blue", "black"),
            ]
        )
    )
    shares = call("ShapeAdherence", images=images, prompt="a red circle on a white background").value
    assert shares == [1.0, 0.75, 0.5, 0.25]
    with pytest.raises(ValueError, match="not a prompt about"):
        call("ShapeAdherence", images=images, prompt="an astronaut on a horse")


class Numbers:
    """Stands for a CLIP: a picture's vector is its mean colour."""

    def picture_vectors(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean(dim=(1, 2))

    def score(self, image: torch.Tensor, text: str) -> list[float]:
        return [len(text) / 10] * len(image)


def test_every_picture_has_its_score() -> None:
    scorer: Any = Numbers()
    shown = call("CLIPScore", images=torch.rand(2, 4, 4, 3), prompt="abc", clip_scorer=scorer)
    assert shown.value == [0.3, 0.3]


def test_features_of_all_batches_are_taken_together() -> None:
    scorer: Any = Numbers()
    batches = [Image(torch.rand(count, 4, 4, 3)) for count in (2, 3)]
    found = clip_features(images=batches, clip_scorer=[scorer])
    assert found.count == 5
    expected = torch.cat(list(batches)).mean(dim=(1, 2)).double().numpy()
    assert np.allclose(found.mean, expected.mean(axis=0), atol=1e-6)
    with pytest.raises(ValueError, match="no pictures"):
        clip_features(images=[], clip_scorer=[scorer])


def test_the_distance_of_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sets = [rng.normal(size=(9, 4)), rng.normal(size=(8, 4)) + 1]
    ctx = Context(folders=Folders(models=(), input=tmp_path))
    loaded = []
    for number, values in enumerate(sets):
        np.save(tmp_path / f"{number}.npy", values)
        loaded.append(load_features(file=f"{number}.npy", ctx=ctx))
    found = call("FrechetDistance", first=loaded[0], second=loaded[1]).value
    assert found == pytest.approx(frechet_distance(*map(FeatureStatistics.of, sets)))
    assert found > 1


def test_a_curve_shows_the_mean_at_each_place() -> None:
    several = evaluation_curve(x=[2.0, 1.0, 1.0], y=[5.0, 1.0, 3.0], x_name=["scale"], height=[300])
    one = evaluation_curve(x=[1.0, 2.0], y=[2.0, 5.0], x_name=["scale"], height=[300])
    other = evaluation_curve(x=[1.0, 2.0], y=[3.0, 5.0], x_name=["scale"], height=[300])
    assert several.shape == (1, 300, 640, 3)
    assert torch.equal(several, one)
    assert not torch.equal(several, other)


def test_a_curve_of_lists_that_do_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match="x has 2 numbers, y 1"):
        evaluation_curve(x=[1.0, 2.0], y=[1.0])
    with pytest.raises(ValueError, match="series 2"):
        evaluation_curve(x=[1.0, 2.0, 3.0], y=[1.0, 2.0, 3.0], series=["a", "b"])
