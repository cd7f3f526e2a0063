"""Scores and distances against scipy, transformers and what can be computed by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from diffusion.evaluation.clip_score import ClipScorer, load_clip_scorer
from diffusion.evaluation.frechet import FeatureStatistics, frechet_distance, read_features
from diffusion.files.mapped_file import CheckpointError
from diffusion.text.tokenizer import Tokenizer
from diffusion.types import Image


def features(seed: int, count: int = 60, numbers: int = 7) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, numbers)) @ rng.normal(size=(numbers, numbers)) + rng.normal(size=numbers)


def test_the_distance_is_the_formulas_by_scipys_matrix_root() -> None:
    from scipy.linalg import sqrtm

    first, second = (FeatureStatistics.of(features(seed)) for seed in (1, 2))
    root = sqrtm(first.covariance @ second.covariance)
    expected = np.square(first.mean - second.mean).sum() + np.trace(
        first.covariance + second.covariance - 2 * np.real(root)
    )
    assert frechet_distance(first, second) == pytest.approx(float(expected), rel=1e-8)
    assert frechet_distance(second, first) == pytest.approx(float(expected), rel=1e-8)


def test_gaussians_on_a_line_are_apart_by_their_means_and_deviations() -> None:
    first = FeatureStatistics(np.array([1.0]), np.array([[4.0]]))
    second = FeatureStatistics(np.array([4.0]), np.array([[9.0]]))
    assert frechet_distance(first, second) == pytest.approx(3.0**2 + (2.0 - 3.0) ** 2)
    assert frechet_distance(first, first) == pytest.approx(0.0, abs=1e-12)


def test_fewer_pictures_than_numbers_are_no_trouble() -> None:
    few = FeatureStatistics.of(features(3, count=4, numbers=20))
    assert frechet_distance(few, few) == pytest.approx(0.0, abs=1e-6)


def test_files_of_features(tmp_path: Path) -> None:
    values = features(5)
    np.save(tmp_path / "f.npy", values)
    np.savez(tmp_path / "f.npz", mu=values.mean(axis=0), sigma=np.cov(values, rowvar=False))
    both = [read_features(tmp_path / name) for name in ("f.npy", "f.npz")]
    assert frechet_distance(*both) == pytest.approx(0.0, abs=1e-6)
    assert both[0].count == 60


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"mu": np.zeros(3)}, "sigma"),
        ({"mu": np.zeros(3), "sigma": np.zeros((2, 2))}, "do not fit"),
        ({"mu": np.full(3, np.nan), "sigma": np.zeros((3, 3))}, "finite"),
        (np.zeros((1, 4)), "two pictures"),
        (np.array([["a"], ["b"]]), "finite"),
        (np.array([{}], dtype=object), "no file of features"),
    ],
)
def test_other_files_are_said(tmp_path: Path, content: Any, said: str) -> None:
    path = tmp_path / ("x.npz" if isinstance(content, dict) else "x.npy")
    if isinstance(content, dict):
        np.savez(path, **content)
    else:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(ValueError, match=said):
        read_features(path)


def test_features_of_two_networks_are_not_compared() -> None:
    with pytest.raises(ValueError, match="7 and 5 numbers"):
        frechet_distance(FeatureStatistics.of(features(1)), FeatureStatistics.of(features(1, numbers=5)))


def random_clip() -> Any:
    """A small random CLIP of transformers, with CLIP's vocabulary."""
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

    text = CLIPTextConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=1,
        projection_dim=24,
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=49407,
    )
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=1,
        patch_size=8,
        image_size=32,
        projection_dim=24,
    )
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=24)
    return CLIPModel(config).eval()


@pytest.fixture(scope="module")
def theirs() -> Any:
    return random_clip()


@pytest.fixture(scope="module")
def file(theirs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "model.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in theirs.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def scorer(file: Path) -> ClipScorer:
    return load_clip_scorer(file)


def test_scores_are_transformers_cosines(theirs: Any, scorer: ClipScorer) -> None:
    from diffusion.safety.vision import prepared

    image = Image(torch.rand(3, 32, 40, 3, generator=torch.Generator().manual_seed(1)))
    text = "a red circle"
    tokenizer = Tokenizer.clip()
    ids = torch.tensor([[tokenizer.start, *tokenizer.encode(text), tokenizer.end]])
    with torch.no_grad():
        result = theirs(input_ids=ids, pixel_values=prepared(image, 32))
    expected = (result.image_embeds @ result.text_embeds[0]).clamp(min=0)
    assert torch.allclose(torch.tensor(scorer.score(image, text)), expected, atol=1e-5)


def test_a_file_without_a_half_is_said(theirs: Any, tmp_path: Path) -> None:
    state = {key: tensor.contiguous() for key, tensor in theirs.state_dict().items()}
    for missing, said in (("text_model.", "its text half"), ("visual_projection", "visual_projection")):
        path = tmp_path / "half.safetensors"
        save_file({key: tensor for key, tensor in state.items() if not key.startswith(missing)}, path)
        with pytest.raises(CheckpointError, match=said):
            load_clip_scorer(path)
        path.unlink()
