"""Files that are no checkpoint, or a damaged one: each error says where, what it seems to be, and what to do."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion.checkpoints.checkpoint import CheckpointError, load_checkpoint, load_vae
from diffusion.config import UNetConfig
from diffusion.runtime import Runtime
from tests.diffusion.checkpoint_samples import UNET, VAE, networks, original, with_clip_vocabulary, write
from tests.diffusion.reference import unet_to_diffusers, vae_to_diffusers

RUNTIME = Runtime()
PREFIX = "model.diffusion_model."
Load = Callable[[Path, Runtime], object]


def message_of(path: Path, load: Load = load_checkpoint) -> str:
    """What the error says, which always begins with the file."""
    with pytest.raises(CheckpointError) as error:
        load(path, RUNTIME)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert text.endswith(".")
    return text.removeprefix(f"{path}: ")


def filled(*keys: str) -> dict[str, Tensor]:
    return {key: torch.zeros(2, 2) for key in keys}


def attending_to(width: int) -> dict[str, Tensor]:
    """A checkpoint whose UNet reads text states of this width."""
    return original(unet=UNetConfig(channels=UNET.channels, blocks=1, context_dim=width))


PUT_LORA = "Put it into models/loras and load it with the LoraLoader node, on top of a checkpoint."
SD1 = "Weft runs Stable Diffusion 1.x models."
LOOKALIKES: dict[str, tuple[Callable[[], dict[str, Tensor]], str, str]] = {
    "kohya LoRA": (
        lambda: filled("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", "x.lora_up.weight"),
        "a LoRA",
        PUT_LORA,
    ),
    "peft LoRA": (lambda: filled("unet.down_blocks.0.attn1.to_q.lora_A.weight"), "a LoRA", PUT_LORA),
    "diffusers LoRA": (lambda: filled("unet.mid_block.to_q_lora.down.weight"), "a LoRA", PUT_LORA),
    "SDXL": (
        lambda: {
            **original(),
            **filled("conditioner.embedders.0.transformer.text_model.final_layer_norm.bias"),
        },
        "an SDXL model",
        SD1,
    ),
    "SDXL by its width": (lambda: attending_to(2048), "an SDXL model (its text states are 2048 wide)", SD1),
    "SD2": (
        lambda: {
            **original(),
            **filled("cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight"),
        },
        "a Stable Diffusion 2.x model",
        SD1,
    ),
    "SD2 by its width": (
        lambda: attending_to(1024),
        "a Stable Diffusion 2.x model (its text states are 1024 wide)",
        SD1,
    ),
    "SD3": (
        lambda: filled("model.diffusion_model.joint_blocks.0.x.weight"),
        "a Stable Diffusion 3 model",
        SD1,
    ),
    "Flux": (lambda: filled("double_blocks.0.img_attn.qkv.weight"), "a Flux model", SD1),
    "ControlNet": (
        lambda: filled("control_model.input_hint_block.0.weight"),
        "a ControlNet",
        "models/controlnet",
    ),
    "diffusers ControlNet": (
        lambda: filled("controlnet_cond_embedding.conv_in.weight", "down_blocks.0.resnets.0.conv1.weight"),
        "a ControlNet",
        "models/controlnet",
    ),
    "embedding": (lambda: {"emb_params": torch.zeros(3, 768)}, "an embedding", "cannot use embeddings"),
    "nameless embedding": (lambda: {"<cat>": torch.zeros(768)}, "an embedding", "cannot use embeddings"),
    "upscaler": (lambda: filled("conv_first.weight", "a", "b"), "an upscaler", "models/upscale_models"),
    "VAE": (lambda: dict(networks()[2]), "a VAE alone", "VAELoader"),
    "prefixed VAE": (
        lambda: {f"first_stage_model.{key}": tensor for key, tensor in networks()[2].items()},
        "a VAE alone",
        "VAELoader",
    ),
    "diffusers VAE": (lambda: vae_to_diffusers(networks()[2], VAE), "a VAE alone", "VAELoader"),
    "UNet": (lambda: dict(networks()[0]), "a UNet alone", "that holds the text encoder and the VAE too"),
    "diffusers UNet": (
        lambda: unet_to_diffusers(networks()[0], UNET),
        "a UNet alone",
        "the whole model folder",
    ),
    "text encoder": (lambda: dict(networks()[1]), "a text encoder alone", "holds the UNet and the VAE too"),
}


@pytest.mark.parametrize("name", LOOKALIKES)
def test_lookalikes_are_recognised(tmp_path: Path, name: str) -> None:
    tensors, what, remedy = LOOKALIKES[name]
    path = write(tmp_path / "a.safetensors", {key: tensor.contiguous() for key, tensor in tensors().items()})
    text = message_of(path)
    assert f"it is not a Stable Diffusion 1.x checkpoint: it seems to be {what}" in text
    assert remedy in text


def test_an_embedding_in_pickled_form(tmp_path: Path) -> None:
    path = tmp_path / "cat.pt"
    torch.save(
        {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.zeros(2, 768)}, "step": 5}, path
    )
    assert "it seems to be an embedding" in message_of(path)


def test_what_nobody_knows_is_described(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", filled("alpha.w", "beta.w", "gamma.w", "zeta.w"))
    assert "its 4 tensors have names such as alpha.w, beta.w, gamma.w" in message_of(path)


@pytest.mark.parametrize(
    ("name", "what"), [("kohya LoRA", "a LoRA"), ("UNet", "a UNet alone"), ("SDXL", "an SDXL model")]
)
def test_lookalikes_of_a_vae(tmp_path: Path, name: str, what: str) -> None:
    path = write(tmp_path / "a.safetensors", LOOKALIKES[name][0]())
    assert f"it is not a VAE: it seems to be {what}" in message_of(path, load_vae)


def test_a_vae_for_other_latents(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.safetensors", {**networks()[2], "decoder.conv_in.weight": torch.zeros(64, 16, 3, 3)}
    )
    text = message_of(path, load_vae)
    assert "its VAE makes latents of 16 channels, as those of SD 3 and Flux" in text


def test_a_vae_without_an_encoder(tmp_path: Path) -> None:
    decoder = {key: tensor for key, tensor in networks()[2].items() if not key.startswith("encoder.")}
    text = message_of(write(tmp_path / "a.safetensors", decoder), load_vae)
    assert "its VAE lacks every key that begins with encoder.down.0." in text


Edit = Callable[[dict[str, Tensor]], object]


def delete(*keys: str) -> Edit:
    return lambda tensors: [tensors.pop(key) for key in keys]


def put(**changes: Tensor) -> Edit:
    return lambda tensors: tensors.update({key.replace("__", "."): tensor for key, tensor in changes.items()})


OUT = f"{PREFIX}out.2.bias"
EDITS: dict[str, tuple[Edit, str]] = {
    "missing": (delete(OUT), f"its UNet does not fit Stable Diffusion 1.x: 1 missing key ({OUT})"),
    "missing where sizes are read": (
        delete(f"{PREFIX}out.2.weight"),
        f"its UNet lacks the key {PREFIX}out.2.weight",
    ),
    "a whole block missing": (
        lambda tensors: [
            tensors.pop(key) for key in list(tensors) if key.startswith(f"{PREFIX}input_blocks.3.")
        ],
        f"its UNet lacks every key that begins with {PREFIX}input_blocks.3.",
    ),
    "many missing": (
        lambda tensors: [
            tensors.pop(key) for key in list(tensors) if key.startswith(f"{PREFIX}output_blocks.1.")
        ],
        f"missing keys ({PREFIX}output_blocks.1.0.in_layers.0.weight, ",
    ),
    "of the text encoder": (
        delete("cond_stage_model.transformer.text_model.final_layer_norm.bias"),
        "its text encoder does not fit Stable Diffusion 1.x: 1 missing key "
        "(cond_stage_model.transformer.text_model.final_layer_norm.bias)",
    ),
    "of the VAE": (
        delete("first_stage_model.quant_conv.bias"),
        "its VAE does not fit Stable Diffusion 1.x: 1 missing key (first_stage_model.quant_conv.bias)",
    ),
    "extra": (
        put(model__diffusion_model__out__9__bias=torch.zeros(1)),
        f"its UNet does not fit Stable Diffusion 1.x: 1 extra key ({PREFIX}out.9.bias)",
    ),
    "extra, of no part": (
        put(depth_model__a=torch.zeros(1), b=torch.zeros(1)),
        "it has 2 extra keys (b, depth_model.a) that belong to no part of Stable Diffusion 1.x",
    ),
    "misshapen": (
        put(model__diffusion_model__out__2__bias=torch.zeros(5)),
        f"1 misshapen key ({OUT} is [5] and should be [4])",
    ),
    "misshapen where sizes are read": (
        put(model__diffusion_model__out__2__weight=torch.zeros(4)),
        f"in its UNet, {PREFIX}out.2.weight has the shape [4], not one of 4 axes",
    ),
    "integers": (
        put(model__diffusion_model__out__2__bias=torch.zeros(4, dtype=torch.int8)),
        f"1 key whose numbers are integers ({OUT} (torch.int8))",
    ),
    "depth": (
        put(model__diffusion_model__input_blocks__0__0__weight=torch.zeros(32, 5, 3, 3)),
        "its UNet takes 5 channels and gives 4, as a depth model does",
    ),
    "two levels of unequal depth": (
        put(model__diffusion_model__input_blocks__8__0__in_layers__0__bias=torch.zeros(1)),
        "its UNet has unequal numbers of residual blocks per level: 1, 1, 1, 2",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_keys_at_fault_are_named(tmp_path: Path, name: str) -> None:
    edit, expected = EDITS[name]
    tensors = original()
    edit(tensors)
    text = message_of(write(tmp_path / "a.safetensors", tensors))
    assert expected in text


def test_long_lists_of_keys_are_cut(tmp_path: Path) -> None:
    tensors = {key: tensor for key, tensor in original().items() if ".output_blocks." not in key}
    text = message_of(write(tmp_path / "a.safetensors", tensors))
    missing = sum(".output_blocks." in key for key in original())
    assert f"{missing} missing keys (" in text
    assert f" and {missing - 3} more)" in text


CONTENTS: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "the file is empty", "Fetch the file again"),
    "git-lfs pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4265380512\n",
        "it is a git-lfs pointer, 75 bytes of text that stand for the real file",
        "Run `git lfs pull`",
    ),
    "web page": (
        b"\n<!DOCTYPE html><html><body>Please log in",
        "it is a web page",
        "a link that leads to the file",
    ),
    "XML": (
        b"<?xml version='1.0'?><Error>denied</Error>",
        "it is a web page",
        "a link that leads to the file",
    ),
    "text": (b"Hello, I am a note about models.\n", "it is a text file", "Weft reads .safetensors, .ckpt"),
    "JSON": (b'{"a": 1, "b": [1, 2, 3]}', "it is a text file", "Weft reads .safetensors, .ckpt"),
    "GGUF": (b"GGUF\x03\0\0\0", "it is a GGUF model", "Weft reads"),
    "picture": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "it is a PNG picture", "Weft reads"),
    "tar": (b"a.txt".ljust(257, b"\0") + b"ustar\x0000" + b"\0" * 300, "it is a tar archive", "Weft reads"),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0", "it is a gzip archive", "Weft reads"),
    "empty zip": (b"PK\x05\x06" + b"\0" * 18, "it is an empty zip archive", "Weft reads"),
    "zeros": (
        b"\0" * 5000,
        "nothing but zero bytes, as a download that never finished",
        "Fetch the file again",
    ),
    "noise": (
        bytes(range(7, 255)) * 9,
        "begins neither as a .safetensors file nor as a PyTorch file",
        "Weft reads",
    ),
    "few bytes": (b"\x01\x02", "begins neither as a .safetensors file", "Fetch the file again"),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("name", CONTENTS)
def test_files_of_other_kinds(tmp_path: Path, name: str, suffix: str) -> None:
    content, what, remedy = CONTENTS[name]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    text = message_of(path)
    assert what in text
    assert remedy in text


def test_no_such_file(tmp_path: Path) -> None:
    assert "there is no such file. Check its name and folder" in message_of(tmp_path / "a.safetensors")


def test_a_folder(tmp_path: Path) -> None:
    assert "it is a folder, not a file. Choose a weight file inside it" in message_of(tmp_path)


def test_a_model_folder(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    text = message_of(tmp_path)
    assert "it is a model folder in diffusers form, not a file. Load it with the DiffusersLoader node" in text


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert "cannot be looked at" in message_of(tmp_path / ("a" * 5000))


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.ckpt")
    assert "it is not an ordinary file" in message_of(tmp_path / "a.ckpt")


def test_a_name_that_promises_no_code_but_holds_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    torch.save(filled("a"), path)
    assert "it is a PyTorch file (.ckpt, .pt, .bin). Rename it to a.ckpt." in message_of(path)


@pytest.mark.parametrize("suffix", [".ckpt", ".zip", ""])
def test_safetensors_under_another_name(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", original())
    text = message_of(path)
    assert "its name says something else, but it is a .safetensors file. Rename it to a.safetensors." in text


def test_an_archive_of_other_files(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/unet.bin", b"x")
        archive.writestr("model/readme.txt", b"x")
    text = message_of(path)
    assert "a zip archive of 2 files, not a checkpoint (it has no data.pkl; it holds model/unet.bin, " in text
    assert "Unpack it" in text


def test_a_compressed_archive(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain.ckpt", tmp_path / "a.ckpt"
    torch.save(filled("a"), plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert "it is a compressed or encrypted zip archive" in message_of(path)


def test_big_endian_numbers(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain.ckpt", tmp_path / "a.ckpt"
    torch.save(filled("a"), plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"big" if name.endswith("byteorder") else old.read(name))
    assert "its numbers are in big-endian order" in message_of(path)


def test_a_list_of_tensors(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save([torch.zeros(1)], path)
    assert "it holds a list where a checkpoint holds a table of tensors" in message_of(path)


def test_nothing_inside(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({}, path)
    assert "it is a .safetensors file without any tensors" in message_of(path)


def test_safetensors_cut_short(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", original())
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    text = message_of(path)
    assert (
        f"cut short: its header describes {len(whole)} bytes, and it has {len(whole) - 1000} (1000 are"
        in text
    )
    path.write_bytes(whole[:1000])
    text = message_of(path)
    assert "cut short: its header alone should take " in text
    assert text.endswith(
        "and it has 1000 in all. Fetch the file again, and compare its size with the one its source gives."
    )


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_ckpt_cut_short(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "a.ckpt"
    torch.save(with_clip_vocabulary(original()), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 300):
        path.write_bytes(whole[:size])
        text = message_of(path)
        assert "the file is cut short" in text
        assert "Fetch the file again" in text
