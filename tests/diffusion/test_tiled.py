"""Pictures in tiles: the geometry exactly, the result beside that of the whole picture, and the nodes."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from diffusion.checkpoints.checkpoint import load_checkpoint
from diffusion.codec import decode_latent, decode_tiled, encode_image, encode_tiled
from diffusion.memory.shortage import NotEnoughMemory
from diffusion.model import Vae
from diffusion.networks.vae import Autoencoder
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from diffusion.tiles import Tiling, in_tiles
from diffusion.types import Image, Latent
from nodes.tiled import vae_decode_tiled, vae_encode_tiled
from tests.diffusion.limits import limit_with_room
from tests.diffusion.reference import relative_error

TINY = Path(__file__).parents[2] / "models" / "checkpoints" / "weft-tiny.safetensors"
DISC = (torch.linspace(-1, 1, 192)[:, None].square() + torch.linspace(-1, 1, 256).square() < 0.5).float()


def vae(**placement: Any) -> Vae:
    return load_checkpoint(TINY, Runtime(Placement(**placement))).vae


def picture() -> Image:
    """A yellow disc on blue, 192 x 256."""
    colours = torch.tensor([[0.1, 0.2, 0.8], [0.9, 0.8, 0.1]])
    return Image((DISC[..., None] * colours[1] + (1 - DISC[..., None]) * colours[0])[None])


def psnr(one: Tensor, other: Tensor) -> float:
    return float(-10 * torch.log10((one - other).square().mean()))


@given(st.integers(1, 300), st.integers(1, 80), st.integers(0, 40))
def test_tiles_cover_everything_and_overlap_enough(size: int, side: int, overlap: int) -> None:
    if 2 * overlap > side:
        with pytest.raises(ValueError, match="half of a tile"):
            Tiling(side, overlap)
        return
    starts = Tiling(side, overlap).starts(size)
    assert starts[0] == 0
    assert starts[-1] + side >= size
    assert all(0 < after - before <= side - overlap for before, after in itertools.pairwise(starts))
    assert all(0 <= start <= max(0, size - side) for start in starts)


@pytest.mark.parametrize(("side", "overlap"), [(4, 0), (4, 1), (6, 3), (50, 10)])
def test_what_does_not_depend_on_its_surroundings_comes_out_whole(side: int, overlap: int) -> None:
    source = torch.randn(2, 3, 11, 17)

    def enlarged(part: Tensor) -> Tensor:
        return torch.nn.functional.interpolate(part, scale_factor=2, mode="nearest") * 3

    found = in_tiles(source, enlarged, Tiling(side, overlap), source_cell=1, result_cell=2)
    assert torch.allclose(found, enlarged(source), atol=1e-6)

    def reduced(part: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(part, 2)

    wide = torch.randn(1, 3, 22, 34)
    found = in_tiles(wide, reduced, Tiling(side, overlap), source_cell=2, result_cell=1)
    assert torch.allclose(found, reduced(wide), atol=1e-6)


def test_tiles_fade_into_each_other() -> None:
    """Of two tiles that disagree, one rules at each end, and between them the mix changes steadily."""
    answers = iter((torch.zeros(1, 1, 1, 6), torch.ones(1, 1, 1, 6)))
    found = in_tiles(
        torch.zeros(1, 1, 1, 8), lambda _: next(answers), Tiling(6, 3), source_cell=1, result_cell=1
    )
    mix = found[0, 0, 0]
    assert mix[0] == 0
    assert mix[-1] == 1
    assert bool((mix.diff() >= 0).all())
    assert mix.diff().max() < 0.5


def test_decoded_tiles_are_close_to_the_whole_picture() -> None:
    value = vae()
    latent = encode_image(value, picture())
    whole = decode_latent(value, latent)
    assert psnr(decode_tiled(value, latent, tile_size=128, overlap=64), whole) > 30
    assert torch.equal(decode_tiled(value, latent, tile_size=256, overlap=64), whole)


def test_encoded_tiles_are_close_to_the_whole_latent() -> None:
    value = vae()
    whole = encode_image(value, picture()).samples
    found = encode_tiled(value, picture(), tile_size=128, overlap=64).samples
    assert found.shape == whole.shape
    assert relative_error(found, whole) < 0.1
    assert torch.equal(encode_tiled(value, picture(), tile_size=512, overlap=0).samples, whole)


def test_there_are_no_seams() -> None:
    """What tiles do differently changes no faster where they meet than anywhere else."""
    value = vae()
    latent = encode_image(value, Image(torch.full((1, 256, 256, 3), 0.4)))
    whole = decode_latent(value, latent)

    def jumps(overlap: int) -> Tensor:
        error = decode_tiled(value, latent, tile_size=128, overlap=overlap) - whole
        return error.diff(dim=2).abs().mean(dim=(0, 1, 3))

    hard, soft = jumps(0), jumps(64)
    assert hard.argmax() == 127, "without an overlap there is a seam"
    assert hard.max() > 4 * hard.median()
    assert soft.max() < 0.5 * hard.max()


def test_the_nodes_do_the_same() -> None:
    value = vae()
    latent = vae_encode_tiled(pixels=picture(), vae=value, tile_size=128, overlap=32)
    assert torch.equal(latent.samples, encode_tiled(value, picture(), tile_size=128, overlap=32).samples)
    found = vae_decode_tiled(samples=latent, vae=value, tile_size=128, overlap=32)
    assert torch.equal(found, decode_tiled(value, latent, tile_size=128, overlap=32))
    # An overlap of more than half a tile, which the inputs' bounds allow, is taken for half.
    assert vae_decode_tiled(samples=latent, vae=value, tile_size=64, overlap=4096).shape == found.shape


def failing(monkeypatch: pytest.MonkeyPatch, method: str, largest: int) -> list[int]:
    """Let the autoencoder run out of memory for pictures of more than `largest` rows; the rows that were tried."""
    tried: list[int] = []
    working: Callable[..., Any] = getattr(Autoencoder, method)

    def run(self: Autoencoder, value: Tensor) -> Any:
        tried.append(value.shape[-2])
        if value.shape[-2] > largest:
            raise RuntimeError(
                "DefaultCPUAllocator: not enough memory: you tried to allocate 123456789 bytes."
            )
        return working(self, value)

    monkeypatch.setattr(Autoencoder, method, run)
    return tried


def test_a_picture_too_large_for_memory_is_decoded_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    value = vae()
    latent = encode_image(value, picture())
    whole = decode_latent(value, latent)
    tried = failing(monkeypatch, "decode", largest=16)
    assert psnr(decode_latent(value, latent), whole) > 25
    assert tried[:2] == [24, 24], "the whole is tried again once models are let go of"
    assert tried[-1] == 16


def test_a_picture_too_large_for_memory_is_encoded_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    value = vae()
    whole = encode_image(value, picture()).samples
    tried = failing(monkeypatch, "encode", largest=128)
    assert relative_error(encode_image(value, picture()).samples, whole) < 0.2
    assert tried[:2] == [192, 192]


def test_when_no_tile_is_small_enough_the_error_names_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    value = vae()
    failing(monkeypatch, "decode", largest=0)
    with pytest.raises(
        NotEnoughMemory, match=r"123 MB more were wanted at once\. Networks hold .* is free\. Make"
    ):
        decode_latent(value, Latent(torch.zeros(1, 4, 24, 32)))


def test_other_errors_of_the_autoencoder_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Autoencoder, value: Tensor) -> Tensor:
        raise RuntimeError("a bug")

    value = vae()
    monkeypatch.setattr(Autoencoder, "decode", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        decode_latent(value, Latent(torch.zeros(1, 4, 24, 32)))


def test_within_a_limit_large_pictures_come_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each latent pixel took a megabyte; nothing fails then, it is known beforehand."""
    monkeypatch.setattr(
        "diffusion.codec.decoder_bytes", lambda _, *, height, width, **__: height * width << 20
    )
    value = vae(memory_limit=limit_with_room(600 << 20))
    tried = failing(monkeypatch, "decode", largest=16)
    assert decode_latent(value, Latent(torch.zeros(1, 4, 24, 32))).shape == (1, 192, 256, 3)
    assert set(tried) == {16}
