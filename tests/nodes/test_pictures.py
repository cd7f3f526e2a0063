"""Pictures in and out: every mode, orientation, alpha, animations, and files that are none."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo

from diffusion.types import Image
from graph import Context, Folders
from nodes.image import load_image, load_image_mask, preview_image, save_image


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    for place in ("input", "output", "temp"):
        (tmp_path / place).mkdir()
    return Context(
        folders=Folders(
            models=(), input=tmp_path / "input", output=tmp_path / "output", temp=tmp_path / "temp"
        )
    )


def store(ctx: Context, picture: Pillow.Image, name: str = "x.png", **options: object) -> str:
    picture.save(ctx.folders.input / name, **options)
    return name


def test_saved_pictures_load_again_as_they_were(ctx: Context) -> None:
    pixels = torch.randint(0, 256, (2, 5, 7, 3)).float() / 255
    shown = save_image(images=Image(pixels), filename_prefix="a", ctx=ctx).ui["images"]
    assert [image["filename"] for image in shown] == ["a_00001_.png", "a_00002_.png"]
    for expected, image in zip(pixels, shown, strict=True):
        loaded, _ = load_image(image=f"{image['filename']} [output]", ctx=ctx)
        assert torch.equal(loaded[0], expected)


def test_values_are_cut_to_the_range_and_rounded_down(ctx: Context) -> None:
    values = torch.tensor([-1.0, 0.5, 0.999, 2.0]).reshape(1, 1, 4, 1).expand(1, 1, 4, 3)
    save_image(images=Image(values), filename_prefix="a", ctx=ctx)
    with Pillow.open(ctx.folders.output / "a_00001_.png") as picture:
        saved = np.asarray(picture)
    assert saved[0, :, 0].tolist() == [0, 127, 254, 255]


def test_previews_go_to_the_temporary_folder(ctx: Context) -> None:
    shown = preview_image(images=Image(torch.zeros(1, 8, 8, 3)), ctx=ctx).ui["images"]
    assert shown[0]["type"] == "temp"
    assert (ctx.folders.temp / shown[0]["filename"]).is_file()
    assert list(ctx.folders.output.iterdir()) == []


def test_transparency_becomes_the_mask(ctx: Context) -> None:
    picture = Pillow.new("RGBA", (4, 2), (10, 20, 30, 255))
    picture.putpixel((1, 0), (10, 20, 30, 0))
    image, mask = load_image(image=store(ctx, picture), ctx=ctx)
    assert image.shape == (1, 2, 4, 3)
    assert mask.tolist() == [[[0, 1, 0, 0], [0, 0, 0, 0]]]


def test_a_picture_without_transparency_has_a_mask_of_zeros(ctx: Context) -> None:
    _, mask = load_image(image=store(ctx, Pillow.new("RGB", (4, 2))), ctx=ctx)
    assert torch.equal(mask, torch.zeros(1, 64, 64))


def test_a_palette_with_transparency_has_a_mask(ctx: Context) -> None:
    picture = Pillow.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putpixel((1, 0), 1)
    image, mask = load_image(image=store(ctx, picture, transparency=1), ctx=ctx)
    assert image[0, 0, 0].tolist() == [1, 0, 0]
    assert mask.tolist() == [[[0, 1]]]


def test_a_turned_photograph_is_turned_upright(ctx: Context) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    name = store(ctx, Pillow.new("RGB", (8, 4)), "x.jpg", exif=exif)
    assert load_image(image=name, ctx=ctx).IMAGE.shape == (1, 8, 4, 3)


def test_sixteen_bits_of_grey_keep_their_tones(ctx: Context) -> None:
    values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    image, _ = load_image(image=store(ctx, Pillow.fromarray(values)), ctx=ctx)
    assert (image[0, 0, :, 0] * 255).round().tolist() == [0, 100, 255]


def test_every_frame_of_an_animation_is_read(ctx: Context) -> None:
    frames = [Pillow.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    name = store(ctx, frames[0], "x.gif", save_all=True, append_images=frames[1:])
    image, mask = load_image(image=name, ctx=ctx)
    assert image.shape == (2, 4, 4, 3)
    assert mask.shape == (2, 64, 64)
    assert image[1, 0, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize(("channel", "expected"), [("red", 1), ("green", 0.2), ("blue", 0), ("alpha", 0.6)])
def test_a_channel_as_a_mask(ctx: Context, channel: str, expected: float) -> None:
    name = store(ctx, Pillow.new("RGBA", (3, 2), (255, 51, 0, 102)))
    mask = load_image_mask(image=name, channel=channel, ctx=ctx)
    assert mask.shape == (1, 2, 3)
    assert mask[0, 0, 0].item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no picture"),
        (b"<html>", "no picture"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "no picture|damaged"),
    ],
)
def test_what_is_no_picture_is_said_so(ctx: Context, content: bytes, message: str) -> None:
    (ctx.folders.input / "x.png").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_image(image="x.png", ctx=ctx)


def test_a_picture_cut_short_is_said_so(ctx: Context) -> None:
    file = io.BytesIO()
    Pillow.effect_noise((64, 64), 50).save(file, "PNG")
    (ctx.folders.input / "x.png").write_bytes(file.getvalue()[:-2000])
    with pytest.raises(ValueError, match=r"x\.png is damaged or cut short"):
        load_image(image="x.png", ctx=ctx)


def test_a_decompression_bomb_is_refused(ctx: Context) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )
    (ctx.folders.input / "x.png").write_bytes(bomb)
    with pytest.raises(ValueError, match="scale it down"):
        load_image(image="x.png", ctx=ctx)


def test_a_text_that_unpacks_to_too_much_is_said(ctx: Context) -> None:
    texts = PngInfo()
    texts.add_text("prompt", "a" * 3_000_000, zip=True)
    name = store(ctx, Pillow.new("RGB", (2, 2)), pnginfo=texts)
    with pytest.raises(ValueError, match=r"x\.png is damaged"):
        load_image(image=name, ctx=ctx)


@pytest.mark.parametrize("shape", [(0, 4, 4, 3), (1, 0, 4, 3), (4, 4, 3), (1, 4, 4, 5)])
@pytest.mark.parametrize("save", [save_image, preview_image])
def test_what_is_no_picture_is_not_saved(
    ctx: Context, shape: tuple[int, ...], save: Callable[..., object]
) -> None:
    with pytest.raises(ValueError, match="Pictures have the shape"):
        save(images=Image(torch.zeros(shape)), ctx=ctx)


def test_nan_is_not_saved_as_black(ctx: Context) -> None:
    with pytest.raises(ValueError, match="NaN"):
        save_image(images=Image(torch.full((1, 4, 4, 3), float("nan"))), ctx=ctx)
    assert list(ctx.folders.output.iterdir()) == []


def test_pictures_that_record_gradients_are_saved(ctx: Context) -> None:
    shown = save_image(images=Image(torch.zeros(1, 2, 2, 3, requires_grad=True)), ctx=ctx)
    assert len(shown.ui["images"]) == 1
