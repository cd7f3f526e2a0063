"""The workflows that subjects are given: each is valid, and says what it is meant to say."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from benchmarks.compare import IDENTICAL, latent_error, picture_psnr
from benchmarks.rows.approximations import VARIANTS, Variant
from benchmarks.tasks import Picture
from benchmarks.workflows import Drawn, renamed, text_to_image, together, with_model_node
from graph import Folders, Workflow, validate
from nodes import REGISTRY

MODELS = Path(__file__).parents[2] / "models"
TINY, LORA = "weft-tiny.safetensors", "weft-tiny-outline.safetensors"
PICTURE = Picture(128, 4, batch=2)


def _with_lora() -> Drawn:
    node = {"lora_name": LORA, "strength_model": 1.0}
    return with_model_node(text_to_image(PICTURE, TINY), "LoraLoaderModelOnly", **node)


WORKFLOWS = {
    "plain": text_to_image(PICTURE, TINY),
    "latent": text_to_image(Picture(128, 4, decode=False), TINY),
    "two LoRAs": text_to_image(PICTURE, TINY, [LORA, LORA]),
    "other ids": renamed(text_to_image(PICTURE, TINY), "-b"),
    "two in one": together(text_to_image(PICTURE, TINY), text_to_image(PICTURE.numbered(1), TINY)),
    "a node for the model": _with_lora(),
}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_workflow_is_valid(name: str) -> None:
    assert validate(Workflow.from_json(WORKFLOWS[name]), REGISTRY, Folders(models=(MODELS,))) == []


def test_a_node_for_the_model_stands_between_it_and_the_sampler() -> None:
    changed, plain = _with_lora(), text_to_image(PICTURE, TINY)
    assert changed["sampler"]["inputs"]["model"] == ["LoraLoaderModelOnly", 0]
    assert changed["LoraLoaderModelOnly"]["inputs"]["model"] == plain["sampler"]["inputs"]["model"]
    assert plain == text_to_image(PICTURE, TINY)


def test_other_ids_share_nothing_with_the_first() -> None:
    plain = text_to_image(PICTURE, TINY)
    assert not plain.keys() & renamed(plain, "-b").keys()


def test_likeness_of_pictures(tmp_path: Path) -> None:
    pixels = np.full((8, 8, 3), 100, dtype=np.uint8)
    paths = [tmp_path / name for name in ("a.png", "b.png", "small.png")]
    for path, picture in zip(paths, (pixels, pixels + 10, pixels[:4]), strict=True):
        Image.fromarray(picture).save(path)
    assert picture_psnr(paths[0], paths[0]) == IDENTICAL
    assert picture_psnr(paths[0], paths[1]) == pytest.approx(28.13, abs=0.01)
    with pytest.raises(ValueError, match="differ in size"):
        picture_psnr(paths[0], paths[2])


def test_error_of_latents(tmp_path: Path) -> None:
    values = np.ones((1, 4, 2, 2), dtype=np.float32)
    for name, tensor in (("one", values), ("other", values * 1.25)):
        save_file({"latent_tensor": tensor}, tmp_path / name)
    assert latent_error(tmp_path / "other", tmp_path / "one") == pytest.approx(0.25)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_an_approximation_is_valid_and_leaves_the_exact_workflow_as_it_is(
    variant: Variant, tmp_path: Path
) -> None:
    (tmp_path / "vae_approx").mkdir()
    (tmp_path / "vae_approx" / "weft-tiny-taesd_decoder.safetensors").touch()
    exact = text_to_image(PICTURE, TINY)
    changed = variant.change(exact)
    assert validate(Workflow.from_json(changed), REGISTRY, Folders(models=(MODELS, tmp_path))) == []
    assert exact == text_to_image(PICTURE, TINY)
    (added,) = changed.keys() - exact.keys()
    used = [
        value[0] for node in changed.values() for value in node["inputs"].values() if isinstance(value, list)
    ]
    assert added in used
