"""Upscale models at work as nodes: loaded by name, tiled without seams, refusing what does not fit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diffusion.networks.upscaler.compact import CompactConfig, CompactNet
from diffusion.types import Image
from diffusion.upscaling import UpscaleModel
from graph import Context, Folders
from nodes import upscale
from nodes.upscale import image_upscale_with_model, upscale_model_loader


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    (tmp_path / "upscale_models").mkdir()
    return Context(folders=Folders(models=(tmp_path,)))


def load(ctx: Context, *, random: float = 0.0) -> UpscaleModel:
    """A model that doubles by nearest neighbours, and adds `random` times what its random weights make."""
    torch.manual_seed(0)
    weights = CompactNet(CompactConfig(width=16, convolutions=2, scale=2)).state_dict()
    for name in ("body.6.weight", "body.6.bias"):
        weights[name] *= random
    save_file(weights, ctx.folders.models[0] / "upscale_models" / "x2.safetensors")
    return upscale_model_loader(model_name="x2.safetensors", ctx=ctx)


def test_pictures_are_enlarged_by_the_model(ctx: Context) -> None:
    image = Image(torch.rand(2, 9, 14, 3))
    larger = image_upscale_with_model(upscale_model=load(ctx), image=image)
    assert torch.allclose(larger, image.repeat_interleave(2, 1).repeat_interleave(2, 2), atol=1e-6)
    changed = image_upscale_with_model(upscale_model=load(ctx, random=1.0), image=image)
    assert (changed - larger).abs().mean() > 1e-3


def test_tiles_agree_with_the_whole(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = load(ctx, random=1.0), Image(torch.rand(1, 90, 130, 3))
    told: list[tuple[int, int]] = []
    whole = image_upscale_with_model(upscale_model=model, image=image)
    monkeypatch.setattr(upscale, "_TILE", 64)
    listening = Context(on_progress=lambda done, total, preview: told.append((done, total)))
    tiled = image_upscale_with_model(upscale_model=model, image=image, ctx=listening)
    # Within 4 pixels of a tile's edge, which is as far as four convolutions see, the share is small, and never all.
    assert (tiled - whole).abs().max() < 0.02
    assert (tiled - whole).abs().mean() < 1e-3
    assert told == [(done, 8) for done in range(1, 9)]


def test_out_of_memory_means_smaller_tiles(ctx: Context) -> None:
    model, image = load(ctx), Image(torch.rand(1, 300, 20, 3))
    heights = []

    def scarce(network: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        heights.append(given[0].shape[2])
        if heights[-1] > 128:
            raise torch.OutOfMemoryError

    model.runtime.upscaler(model).register_forward_pre_hook(scarce)
    larger = image_upscale_with_model(upscale_model=model, image=image)
    assert torch.allclose(larger, image.repeat_interleave(2, 1).repeat_interleave(2, 2), atol=1e-6)
    assert heights == [300, 300, 256, 128, 128, 128]


def test_what_does_not_fit_the_model_is_said(ctx: Context) -> None:
    model = load(ctx)
    for channels in (1, 4):
        with pytest.raises(ValueError, match=f"image has {channels} channels and this upscale model takes 3"):
            image_upscale_with_model(upscale_model=model, image=Image(torch.zeros(1, 4, 4, channels)))
    with pytest.raises(ValueError, match="Scale the picture down"):
        image_upscale_with_model(
            upscale_model=model, image=Image(torch.zeros(1, 1, 1, 3).expand(1, 2, 8193, 3))
        )
    with pytest.raises(ValueError, match="image holds NaN"):
        image_upscale_with_model(upscale_model=model, image=Image(torch.full((1, 4, 4, 3), torch.nan)))
