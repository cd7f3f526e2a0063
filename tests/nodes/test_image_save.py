"""Pictures saved in each format: their pixels, their frames, the workflow inside, and what a format can't hold."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from cli.workflow_file import NoWorkflow, read_workflow_file
from diffusion.types import Image
from graph import Context, Folders
from nodes.image import load_image, load_image_output
from nodes.image_save import save_animated_png, save_animated_webp, save_image_as

WORKFLOW = {"1": {"class_type": "EmptyImage", "inputs": {"text": "größer: ✓"}, "_meta": {"title": "a:b"}}}
EDITOR_FORM = {"nodes": [1, 2, 3]}


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    for place in ("input", "output", "temp"):
        (tmp_path / place).mkdir()
    folders = Folders(models=(), input=tmp_path / "input", output=tmp_path / "output", temp=tmp_path / "temp")
    return Context(folders=folders, workflow=WORKFLOW, extra={"workflow": EDITOR_FORM})


def slope(batch: int = 1, channels: int = 3) -> Image:
    rows = torch.linspace(0, 1, 32).reshape(1, 32, 1, 1).expand(batch, 32, 48, channels)
    shift = torch.arange(batch).reshape(-1, 1, 1, 1) / (4 * batch)
    return Image(((rows + shift).clamp(max=1) * 255).floor() / 255 + 1e-4)


@pytest.mark.parametrize(("format", "ending"), [("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp")])
def test_a_picture_of_each_format_carries_its_workflow(ctx: Context, format: str, ending: str) -> None:
    shown = save_image_as(images=slope(2), filename_prefix="a/b", format=format, ctx=ctx).ui["images"]
    assert [image["filename"] for image in shown] == [f"b_00001_{ending}", f"b_00002_{ending}"]
    text, _ = read_workflow_file(ctx.folders.output / "a" / shown[0]["filename"])
    assert json.loads(text) == WORKFLOW
    loaded, _ = load_image_output(image=f"a/{shown[0]['filename']}", ctx=ctx)
    assert (loaded - slope()).abs().max() < (1e-3 if format == "PNG" else 0.05)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_without_metadata_nothing_is_inside(ctx: Context, format: str) -> None:
    (shown,) = save_image_as(images=slope(), format=format, metadata=False, ctx=ctx).ui["images"]
    with pytest.raises(NoWorkflow, match="carries no workflow"):
        read_workflow_file(ctx.folders.output / shown["filename"])


def test_a_lossless_webp_is_exact_and_quality_makes_files_larger(ctx: Context) -> None:
    noise = Image(torch.randint(0, 256, (1, 64, 64, 4)).float() / 255 + 1e-4)
    noise[..., 3] = 1
    (shown,) = save_image_as(images=noise, format="WEBP", lossless=True, ctx=ctx).ui["images"]
    loaded, _ = load_image(image=f"{shown['filename']} [output]", ctx=ctx)
    assert (loaded - noise[..., :3]).abs().max() < 1e-3
    for format in ("JPEG", "WEBP"):
        sizes = []
        for quality in (10, 95):
            (shown,) = save_image_as(
                images=Image(noise[..., :3]), format=format, quality=quality, ctx=ctx
            ).ui["images"]
            sizes.append((ctx.folders.output / shown["filename"]).stat().st_size)
        assert sizes[0] < sizes[1]


def test_transparency_and_grey_are_kept_where_they_can_be(ctx: Context) -> None:
    clear = slope(channels=4)
    (shown,) = save_image_as(images=clear, format="WEBP", lossless=True, ctx=ctx).ui["images"]
    _, mask = load_image(image=f"{shown['filename']} [output]", ctx=ctx)
    assert (1 - mask - clear[..., 3]).abs().max() < 1e-3
    with pytest.raises(ValueError, match=r"JPEG has no alpha channel.*SplitImageWithAlpha"):
        save_image_as(images=clear, format="JPEG", ctx=ctx)
    for format in ("PNG", "JPEG", "WEBP"):
        save_image_as(images=slope(channels=1), format=format, ctx=ctx)


def test_a_workflow_too_large_for_a_jpeg_is_said_and_the_picture_kept(
    ctx: Context, caplog: pytest.LogCaptureFixture
) -> None:
    large = Context(folders=ctx.folders, workflow=WORKFLOW, extra={"workflow": "x" * 70_000})
    (shown,) = save_image_as(images=slope(), format="JPEG", ctx=large).ui["images"]
    assert json.loads(read_workflow_file(ctx.folders.output / shown["filename"])[0]) == WORKFLOW
    with caplog.at_level(logging.WARNING):
        larger = Context(folders=ctx.folders, workflow={"1": {"class_type": "x" * 70_000}})
        (shown,) = save_image_as(images=slope(), format="JPEG", ctx=larger).ui["images"]
    assert "more than a JPEG has room for" in caplog.text
    assert (ctx.folders.output / shown["filename"]).is_file()


def test_a_picture_too_wide_for_a_webp_is_said(ctx: Context) -> None:
    with pytest.raises(ValueError, match="at most 16383 pixels a side"):
        save_image_as(images=Image(torch.zeros(1, 1, 16384, 3)), format="WEBP", ctx=ctx)


@pytest.mark.parametrize(("save", "ending"), [(save_animated_png, ".png"), (save_animated_webp, ".webp")])
def test_an_animation_has_every_frame_its_pace_and_its_workflow(
    ctx: Context, save: object, ending: str
) -> None:
    frames = slope(3)
    result = save(images=frames, filename_prefix="m", fps=4.0, ctx=ctx)  # type: ignore[operator]
    assert result.ui["images"] == [{"filename": f"m_00001_{ending}", "subfolder": "", "type": "output"}]
    assert result.ui["animated"] == [True]
    path = ctx.folders.output / f"m_00001_{ending}"
    loaded, _ = load_image(image=f"{path.name} [output]", ctx=ctx)
    assert (loaded - frames).abs().max() < 1e-3
    with Pillow.open(path) as picture:
        assert picture.n_frames == 3
        picture.seek(1)
        picture.load()
        assert picture.info["duration"] == 250
    assert json.loads(read_workflow_file(path)[0]) == WORKFLOW


def test_an_animations_settings_reach_its_file(ctx: Context) -> None:
    noise = Image(torch.rand(2, 64, 64, 3, generator=torch.Generator().manual_seed(0)))
    kinds = {
        "exact": save_animated_webp(images=noise, filename_prefix="a", ctx=ctx),
        "poor": save_animated_webp(images=noise, filename_prefix="b", lossless=False, quality=5, ctx=ctx),
        "fast": save_animated_webp(
            images=noise, filename_prefix="c", lossless=False, quality=5, method="fastest", ctx=ctx
        ),
        "loose": save_animated_png(images=slope(2), filename_prefix="d", compress_level=0, ctx=ctx),
        "tight": save_animated_png(images=slope(2), filename_prefix="e", compress_level=9, ctx=ctx),
    }
    size = {
        name: (ctx.folders.output / shown.ui["images"][0]["filename"]).stat().st_size
        for name, shown in kinds.items()
    }
    assert size["poor"] < size["exact"] / 5
    assert size["fast"] != size["poor"]
    assert size["tight"] < size["loose"] / 5


def test_one_picture_is_no_animation(ctx: Context) -> None:
    assert save_animated_webp(images=slope(), ctx=ctx).ui["animated"] == [False]


@pytest.mark.parametrize("save", [save_image_as, save_animated_png, save_animated_webp])
def test_what_is_no_picture_is_not_saved(ctx: Context, save: object) -> None:
    for wrong in (torch.zeros(0, 4, 4, 3), torch.full((1, 4, 4, 3), torch.nan), torch.zeros(1, 4, 4, 5)):
        with pytest.raises(ValueError, match=r"[Pp]ictures"):
            save(images=Image(wrong), ctx=ctx)  # type: ignore[operator]
    assert list(ctx.folders.output.iterdir()) == []


def test_a_picture_whose_exif_says_other_things_carries_no_workflow(tmp_path: Path) -> None:
    exif = Pillow.Exif()
    exif[0x0110] = "Camera 3000"
    Pillow.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "x.jpg", exif=exif)
    with pytest.raises(NoWorkflow, match="carries no workflow"):
        read_workflow_file(tmp_path / "x.jpg")
