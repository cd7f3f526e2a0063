"""The tiny autoencoder against diffusers' around the same random weights, from every layout of its files."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion.approximations.tiny_vae import is_tiny_vae, load_tiny_vae
from diffusion.codec import decode_latent, encode_image
from diffusion.config import LATENT_SCALE, TinyVAEConfig
from diffusion.files.mapped_file import CheckpointError
from diffusion.model import Vae
from diffusion.runtime import Runtime
from diffusion.types import Image, Latent
from tests.diffusion.reference import relative_error

RUNTIME = Runtime()


@cache
def theirs() -> Any:
    from diffusers import AutoencoderTiny

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoencoderTiny().eval()


def half(name: str) -> dict[str, Tensor]:
    """One half in the published layout. The decoder's first layer has no weights, and diffusers does not count it."""
    moved = int(name == "decoder")
    found = {}
    for key, tensor in getattr(theirs(), name).state_dict().items():
        number, _, rest = key.removeprefix("layers.").partition(".")
        found[f"{int(number) + moved}.{rest}"] = tensor.contiguous()
    return found


def both_prefixed() -> dict[str, Tensor]:
    halves = {f"taesd_{name}.{key}": t for name in ("encoder", "decoder") for key, t in half(name).items()}
    return halves | {"vae_scale": torch.tensor(LATENT_SCALE), "vae_shift": torch.tensor(0.0)}


def as_diffusers() -> dict[str, Tensor]:
    return {key: tensor.contiguous() for key, tensor in theirs().state_dict().items()}


LAYOUTS = {
    "two files": lambda: [half("decoder"), half("encoder")],
    "one file of both": lambda: [both_prefixed()],
    "diffusers": lambda: [as_diffusers()],
}


def load(folder: Path, *files: dict[str, Tensor]) -> Vae:
    paths = [folder / f"{number}.safetensors" for number in range(len(files))]
    for path, tensors in zip(paths, files, strict=True):
        save_file(tensors, path)
    return load_tiny_vae(paths, RUNTIME)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_agrees_with_diffusers_from_every_layout(tmp_path: Path, layout: str) -> None:
    vae = load(tmp_path, *LAYOUTS[layout]())
    generator = torch.Generator().manual_seed(1)
    latent = torch.randn(2, 4, 7, 9, generator=generator) * 8
    pixels = torch.rand(2, 24, 40, 3, generator=generator)
    with torch.no_grad():
        drawn = theirs().decode(latent * LATENT_SCALE).sample
        encoded = theirs().encode(pixels.permute(0, 3, 1, 2) * 2 - 1).latents
    picture = decode_latent(vae, Latent(latent))
    assert relative_error(picture, ((drawn + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)) < 1e-5
    assert relative_error(encode_image(vae, Image(pixels)).samples * LATENT_SCALE, encoded) < 1e-5


def test_its_width_is_read_off_the_weights(tmp_path: Path) -> None:
    assert load(tmp_path, half("decoder"), half("encoder")).config == TinyVAEConfig(width=64)


def test_one_half_serves_and_says_what_the_other_would_do(tmp_path: Path) -> None:
    decoding = load(tmp_path, half("decoder"))
    assert decode_latent(decoding, Latent(torch.zeros(1, 4, 2, 2))).shape == (1, 16, 16, 3)
    with pytest.raises(ValueError, match=r"decodes only.*_encoder\.safetensors"):
        encode_image(decoding, Image(torch.zeros(1, 16, 16, 3)))
    encoding = load(tmp_path, half("encoder"))
    assert encode_image(encoding, Image(torch.zeros(1, 16, 16, 3))).samples.shape == (1, 4, 2, 2)
    with pytest.raises(ValueError, match=r"encodes only.*_decoder\.safetensors"):
        decode_latent(encoding, Latent(torch.zeros(1, 4, 2, 2)))


def damaged(**changes: Tensor | None) -> dict[str, Tensor]:
    tensors = {**half("decoder"), **changes}
    return {key: tensor for key, tensor in tensors.items() if tensor is not None}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([damaged(**{"8.conv.2.bias": None})], r"1 missing key \(decoder\.8\.conv\.2\.bias\)"),
        ([damaged(**{"8.conv.2.bias": torch.zeros(3)})], r"decoder\.8\.conv\.2\.bias is \[3\]"),
        ([damaged(**{"1.weight": torch.zeros(64, 16, 3, 3)})], "takes 16 channels, and a decoder's 4"),
        ([damaged(**{"1.weight": None})], "lacks its first convolution"),
        ([{"decoder.conv_in.weight": torch.zeros(4, 4)}], "not those of a tiny autoencoder"),
        ([half("decoder"), {"0.weight": torch.zeros(8, 3, 3, 3)}], "one width: encoder 8, decoder 64"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, files: list[dict[str, Tensor]], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path, *files)


def test_keys_of_a_full_autoencoder_are_not_taken_for_a_tiny_one() -> None:
    assert not is_tiny_vae(
        {"decoder.conv_in.weight": torch.zeros(1), "encoder.conv_in.weight": torch.zeros(1)}
    )
    assert not is_tiny_vae({})
