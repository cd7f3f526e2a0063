"""The safety checker against diffusers' own class, and watermarks against the package's own way."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from imwatermark import WatermarkDecoder, WatermarkEncoder
from PIL import Image as Pillow
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessor

from diffusion.files.mapped_file import CheckpointError
from diffusion.safety.checker import load_safety_checker
from diffusion.safety.vision import prepared
from diffusion.safety.watermark import read_watermark
from diffusion.types import Image
from graph import Context, Executor, Folders, Items, Link, Node, Workflow
from nodes import REGISTRY
from nodes.safety import (
    add_invisible_watermark,
    read_invisible_watermark,
    safety_check,
    safety_checker_loader,
)

SIDE = 32


@pytest.fixture(scope="module")
def pictures() -> Image:
    """Six of different colours and patterns, wider than high, on a grid of 8 bits."""
    generator = torch.Generator().manual_seed(3)
    cells = torch.rand(6, 3, 5, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(cells, size=(60, 90), mode="bicubic").clamp(0, 1)
    return Image((smooth.permute(0, 2, 3, 1) * 255).round() / 255)


def random_checker() -> StableDiffusionSafetyChecker:
    """A small one, its limits random too."""
    torch.manual_seed(5)
    sizes = {"hidden_size": 128, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**sizes, "image_size": SIDE, "patch_size": 8, "projection_dim": 24}
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=24)).eval()
    with torch.no_grad():
        for parameter in checker.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.2)
    return checker


@pytest.fixture(scope="module")
def reference(pictures: Image) -> StableDiffusionSafetyChecker:
    """One with limits at which it flags some of the pictures and not others."""
    checker = random_checker()
    with torch.no_grad():
        for name in ("concept_embeds", "special_care_embeds"):
            vectors = getattr(checker, name)
            cosines = torch.nn.functional.normalize(embeddings(checker, pictures)) @ (
                torch.nn.functional.normalize(vectors).T
            )
            # Of the concepts, only one comes near enough to some of the pictures.
            limits = cosines.max(dim=0).values + 0.5
            limits[1] = cosines[:, 1].sort().values[2:4].mean()
            getattr(checker, f"{name}_weights").copy_(limits)
    return checker


def clip_input(pictures: Image) -> torch.Tensor:
    processor = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    whole = [Pillow.fromarray((picture.numpy() * 255).round().astype(np.uint8)) for picture in pictures]
    values: torch.Tensor = processor(images=whole, return_tensors="pt").pixel_values
    return values


def embeddings(checker: StableDiffusionSafetyChecker, pictures: Image) -> torch.Tensor:
    embedded: torch.Tensor = checker.visual_projection(checker.vision_model(clip_input(pictures))[1])
    return embedded


def published_layout(checker: StableDiffusionSafetyChecker) -> dict[str, torch.Tensor]:
    """The keys of the files that were published, which some versions of transformers shorten."""
    return {
        (f"vision_model.{key}" if key.startswith("vision_model.") and "vision_model.vision_model." not in key else key):
        tensor.contiguous()
        for key, tensor in checker.state_dict().items()
    }  # fmt: skip


def context(root: Path) -> Context:
    return Context(folders=Folders(models=(root,)))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, reference: StableDiffusionSafetyChecker) -> Path:
    root = tmp_path_factory.mktemp("models")
    folder = root / "safety_checker"
    folder.mkdir()
    save_file(published_layout(reference), folder / "one.safetensors")
    reference.save_pretrained(folder / "from-diffusers")
    with_ids = {
        **published_layout(reference),
        "vision_model.vision_model.embeddings.position_ids": torch.arange(17),
    }
    torch.save(
        {f"safety_checker.{key}": tensor.half() for key, tensor in with_ids.items()}, folder / "half.bin"
    )
    return root


def test_pictures_are_prepared_as_clip_has_them(pictures: Image) -> None:
    torch.testing.assert_close(prepared(pictures, SIDE), clip_input(pictures), rtol=0, atol=0.02)
    upright = Image(pictures.transpose(1, 2))
    torch.testing.assert_close(prepared(upright, SIDE), clip_input(upright), rtol=0, atol=0.02)


@pytest.mark.parametrize("name", ["one.safetensors", "from-diffusers/model.safetensors"])
def test_the_same_pictures_are_flagged(
    models: Path, name: str, pictures: Image, reference: StableDiffusionSafetyChecker
) -> None:
    checker = safety_checker_loader(checker_name=name, ctx=context(models))
    with torch.no_grad():
        torch.testing.assert_close(
            checker.embed(pictures), embeddings(reference, pictures), rtol=1e-3, atol=1e-3
        )
    expected, flags = reference(clip_input(pictures), pictures.clone())
    assert 0 < sum(flags) < len(flags)
    shown = safety_check(images=pictures, safety_checker=checker)
    assert shown.value.flagged == flags
    assert torch.equal(shown.value.IMAGE, expected)
    assert sum("flagged and replaced (black)" in text for text in shown.ui["text"]) == sum(flags)
    assert sum("nothing found" in text for text in shown.ui["text"]) == len(flags) - sum(flags)


def test_special_care_makes_the_others_stricter(models: Path, pictures: Image) -> None:
    checker = load_safety_checker(models / "safety_checker" / "one.safetensors")
    findings = checker.check(pictures)
    cautious = [bool(finding.special_care) for finding in findings]
    assert any(cautious)
    assert not all(cautious)
    for finding, picture in zip(findings, pictures.split(1), strict=True):
        with torch.no_grad():
            cosine = torch.nn.functional.cosine_similarity(checker.embed(picture), checker.concepts[1:2])
        score = float(cosine - checker.limits[1]) + (0.01 if finding.special_care else 0.0)
        assert (round(score, 3) > 0) == finding.flagged


def test_an_adjustment_flags_more_or_less(models: Path, pictures: Image) -> None:
    checker = safety_checker_loader(checker_name="half.bin", ctx=context(models))

    def count(adjustment: float) -> int:
        return sum(safety_check(images=pictures, safety_checker=checker, adjustment=adjustment).value.flagged)

    assert count(-1.0) == 0
    assert 0 < count(0.0) < 6
    assert count(1.0) == 6


def test_flagged_pictures_are_blurred_or_only_told_of(models: Path, pictures: Image) -> None:
    checker = safety_checker_loader(checker_name="one.safetensors", ctx=context(models))
    with_alpha = Image(torch.cat([pictures, torch.full_like(pictures[..., :1], 0.5)], dim=-1))
    blurred, flags = safety_check(images=with_alpha, safety_checker=checker, replacement="blurred").value
    black = safety_check(images=with_alpha, safety_checker=checker).value.IMAGE
    for before, after, dark, flagged in zip(with_alpha, blurred, black, flags, strict=True):
        if flagged:
            assert after[..., :3].diff(dim=1).abs().max() < before[..., :3].diff(dim=1).abs().max()
            assert torch.allclose(after.mean(dim=(0, 1)), before.mean(dim=(0, 1)), atol=0.03)
            assert dark[..., :3].max() == 0
            assert torch.equal(dark[..., 3], before[..., 3])
        else:
            assert torch.equal(after, before)
    told = safety_check(images=pictures, safety_checker=checker, replacement="none")
    assert torch.equal(told.value.IMAGE, pictures)
    assert any("flagged and left as it is" in text for text in told.ui["text"])


def test_a_checker_works_in_a_workflow(models: Path) -> None:
    nodes = {
        "l": Node("SafetyCheckerLoader", {"checker_name": "one.safetensors"}),
        "p": Node("LoadImage", {"image": "red-circle.png"}),
        "c": Node("SafetyCheck", {"images": Link("p"), "safety_checker": Link("l"), "adjustment": 1.0}),
    }
    root = Path(__file__).parents[2]
    folders = Folders(models=(models,), input=root / "input")
    result = Executor(REGISTRY, folders=folders).run(Workflow(nodes), targets=["c"])
    assert result.errors == ()
    assert result.values["c"][0].max() == 0
    assert result.values["c"][1] == Items([True])
    assert "Picture 1: flagged" in result.ui["c"]["text"][0]


def test_what_is_no_checker_is_said(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / "safety_checker"
    folder.mkdir()
    save_file({"a": torch.zeros(2)}, folder / "a.safetensors")
    weights = published_layout(
        StableDiffusionSafetyChecker.from_pretrained(models / "safety_checker/from-diffusers")
    )
    save_file({**weights, "concept_embeds": torch.zeros(17, 9)}, folder / "b.safetensors")
    del weights["vision_model.vision_model.encoder.layers.1.mlp.fc2.bias"]
    save_file(weights, folder / "c.safetensors")
    for name in ("a", "b", "c"):
        with pytest.raises(
            CheckpointError, match=r"is no safety checker .* Take the file model\.safetensors"
        ):
            safety_checker_loader(checker_name=f"{name}.safetensors", ctx=context(tmp_path))


def test_pictures_that_cannot_be_checked_are_said(models: Path) -> None:
    checker = safety_checker_loader(checker_name="one.safetensors", ctx=context(models))
    with pytest.raises(ValueError, match="images"):
        safety_check(images=Image(torch.zeros(0, 8, 8, 3)), safety_checker=checker)
    with pytest.raises(ValueError, match=r"finite|NaN"):
        safety_check(images=Image(torch.full((1, 8, 8, 3), float("nan"))), safety_checker=checker)


@pytest.fixture(scope="module")
def photographs() -> Image:
    """Two with soft shapes and coloured grain, in the middle of the range; sides that are no multiples of 8."""
    generator = torch.Generator().manual_seed(1)
    soft = torch.nn.functional.interpolate(
        torch.rand(2, 3, 9, 12, generator=generator), size=(270, 361), mode="bicubic"
    )
    grain = torch.randn(2, 3, 270, 361, generator=generator) * 0.1
    return Image((0.25 + 0.5 * soft + grain).clamp(0, 1).permute(0, 2, 3, 1).contiguous())


def test_a_watermark_is_written_as_the_package_writes_it(photographs: Image) -> None:
    marked = add_invisible_watermark(images=photographs)
    encoder = WatermarkEncoder()
    encoder.set_watermark("bytes", b"StableDiffusionV1")
    for before, after in zip(photographs, marked, strict=True):
        rgb = (before.numpy() * 255).astype(np.uint8)
        expected = encoder.encode(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), "dwtDct")
        bgr = cv2.cvtColor((after.numpy() * 255).round().astype(np.uint8), cv2.COLOR_RGB2BGR)
        assert np.array_equal(bgr, expected)
        (read,) = read_watermark(Image(after[None]), 17)
        assert read == WatermarkDecoder("bytes", 136).decode(bgr, "dwtDct")
    assert (marked - photographs).abs().mean() < 0.03, "it is not seen"


def test_a_watermark_is_read_again_and_not_found_where_there_is_none(photographs: Image) -> None:
    read = read_invisible_watermark(images=add_invisible_watermark(images=photographs))
    assert read.value.found == [True, True]
    assert all(share > 0.9 for share in read.value.agreement)
    for text, said in zip(read.value.text, read.ui["text"], strict=True):
        assert said.startswith(f"{text!r}, 9")
    nothing = read_invisible_watermark(images=photographs).value
    assert nothing.found == [False, False]
    assert all(0.2 < share < 0.8 for share in nothing.agreement)
    own = add_invisible_watermark(images=photographs, text="grün")
    assert read_invisible_watermark(images=own, expected="grau ").value.text == ["grün"] * 2
    assert read_invisible_watermark(images=own, expected="grau ").value.found == [False, False]
    assert read_invisible_watermark(images=own, expected="grün").value == (
        ["grün"] * 2,
        [True] * 2,
        [1.0] * 2,
    )


def test_a_watermark_leaves_transparency_alone(photographs: Image) -> None:
    alpha = torch.rand(2, 270, 361, 1)
    marked = add_invisible_watermark(images=Image(torch.cat([photographs, alpha], dim=-1)))
    assert torch.equal(marked[..., 3:], alpha)
    assert torch.equal(marked[..., :3], add_invisible_watermark(images=photographs))


def test_watermarks_that_have_no_room_are_said(photographs: Image) -> None:
    with pytest.raises(ValueError, match=r"255x256 pixels is too small .* Scale it up"):
        add_invisible_watermark(images=Image(torch.zeros(1, 256, 255, 3)))
    with pytest.raises(ValueError, match=r"1 to 185 bytes .* this text has 186"):
        add_invisible_watermark(images=photographs, text="x" * 186)
    with pytest.raises(ValueError, match="this text has 0"):
        read_invisible_watermark(images=photographs, expected="")
    with pytest.raises(ValueError, match="Pictures have the shape"):
        add_invisible_watermark(images=Image(torch.zeros(1, 300, 300, 1)))


def test_a_missing_package_is_said(photographs: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imwatermark", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'weft\[watermark\]'"):
        add_invisible_watermark(images=photographs)


def test_a_package_that_cannot_be_loaded_is_said(
    photographs: Image, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "imwatermark.py").write_text(
        'raise ImportError("libGL.so.1: cannot open shared object file")'
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "imwatermark")
    with pytest.raises(ImportError, match=r"cannot be loaded \(libGL.* opencv-python-headless"):
        read_invisible_watermark(images=photographs)
