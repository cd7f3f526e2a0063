"""Weight files that are written to, replaced or loaded again while their weights are in use."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffusion.checkpoints.checkpoint import Checkpoint, CheckpointError, load_checkpoint, load_vae
from diffusion.checkpoints.diffusers_folder import load_diffusers
from diffusion.files.mapped_file import FileChanged
from diffusion.lora.apply import apply_lora
from diffusion.lora.read import read_lora
from diffusion.model import Model
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from tests.diffusion import lora_samples
from tests.diffusion.checkpoint_samples import (
    diffusers_folder,
    full_training_state,
    original,
    with_clip_vocabulary,
    write,
)

CONV_IN = "input_blocks.0.0.weight"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path / "model.safetensors", original())


def cut(path: Path) -> None:
    os.truncate(path, 1000)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(1000))


def write_over(path: Path) -> None:
    """The same size, later."""
    content, status = path.read_bytes(), path.stat()
    with path.open("r+b") as file:
        file.write(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


Use = Callable[[Checkpoint], object]
USES: dict[str, Use] = {
    "unet": lambda loaded: loaded.model.runtime.unet(loaded.model),
    "text encoder": lambda loaded: loaded.clip.runtime.text_encoder(loaded.clip),
    "autoencoder": lambda loaded: loaded.vae.runtime.autoencoder(loaded.vae),
}


@pytest.mark.parametrize("change", [cut, lengthen, write_over])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_no_network_is_made_of_a_file_that_was_written_to(
    path: Path, use: Use, change: Callable[[Path], None]
) -> None:
    loaded = load_checkpoint(path, Runtime())
    change(path)
    with pytest.raises(FileChanged, match="changed while it was in use") as raised:
        use(loaded)
    assert str(path) in str(raised.value)
    assert "Run again" in str(raised.value)


@pytest.mark.parametrize("placement", [Placement(), Placement(pack=False), Placement(dtype=torch.bfloat16)])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_nor_is_one_used_that_was_made_before(path: Path, use: Use, placement: Placement) -> None:
    loaded = load_checkpoint(path, Runtime(placement))
    use(loaded)
    cut(path)
    with pytest.raises(FileChanged, match=r"it had \d+ bytes, now 1000"):
        use(loaded)


@pytest.mark.parametrize("kind", ["ckpt", "folder"])
def test_whatever_the_layout(tmp_path: Path, kind: str) -> None:
    if kind == "ckpt":
        file = tmp_path / "model.ckpt"
        torch.save({"state_dict": with_clip_vocabulary(original())}, file)
        loaded = load_checkpoint(file, Runtime())
    else:
        loaded = load_diffusers(diffusers_folder(tmp_path / "folder"), Runtime())
        file = tmp_path / "folder" / "unet" / "diffusion_pytorch_model.safetensors"
    cut(file)
    with pytest.raises(FileChanged, match="in use"):
        loaded.model.runtime.unet(loaded.model)


def test_nor_a_network_with_a_lora_that_was_written_to(tmp_path: Path) -> None:
    factors = lora_samples.named(lora_samples.unet_factors(), lora_samples.kohya_unet)
    style = lora_samples.write(tmp_path / "style.safetensors", factors)
    model = lora_samples.model()
    patched, _ = apply_lora(model, None, read_lora(style), strength_model=1.0, strength_clip=0.0)
    assert patched is not None
    cut(style)
    with pytest.raises(FileChanged, match=r"style\.safetensors.*in use"):
        model.runtime.unet(patched)
    model.runtime.unet(model)


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_is_renamed_over_or_deleted_stays_what_it_was(path: Path, replaced: bool) -> None:
    loaded = load_checkpoint(path, Runtime(Placement(pack=False)))
    if replaced:
        zeros = {key: torch.zeros_like(tensor) for key, tensor in original().items()}
        write(path.with_suffix(".new"), zeros).replace(path)
    else:
        path.unlink()
    made = loaded.model.runtime.unet(loaded.model).state_dict()
    assert torch.equal(made[CONV_IN], original()[f"model.diffusion_model.{CONV_IN}"])
    if replaced:
        again = load_checkpoint(path, loaded.model.runtime)
        assert not again.model.runtime.unet(again.model).state_dict()[CONV_IN].any()


def test_a_file_loaded_again_gives_the_same_weights_and_networks(path: Path) -> None:
    runtime = Runtime()
    first, again = load_checkpoint(path, runtime), load_checkpoint(path, runtime)
    assert again.model.weights is first.model.weights
    assert runtime.unet(again.model) is runtime.unet(first.model)
    assert runtime.text_encoder(again.clip) is runtime.text_encoder(first.clip)
    assert runtime.autoencoder(again.vae) is runtime.autoencoder(first.vae)
    assert again.clip.tokenizer is first.clip.tokenizer
    assert load_vae(path, runtime).weights is first.vae.weights
    assert load_checkpoint(path, Runtime()).model.weights is not first.model.weights


def test_so_does_a_model_folder(tmp_path: Path) -> None:
    runtime, folder = Runtime(), diffusers_folder(tmp_path / "folder")
    first, again = load_diffusers(folder, runtime), load_diffusers(folder, runtime)
    for one, other in zip(first, again, strict=True):
        assert one.weights is other.weights


def test_a_file_under_another_name_is_the_same_file(path: Path) -> None:
    runtime, other = Runtime(), path.with_name("other.safetensors")
    os.link(path, other)
    first = load_checkpoint(path, runtime)
    assert load_checkpoint(other, runtime).model.weights is first.model.weights


def test_a_changed_file_is_loaded_anew(path: Path) -> None:
    runtime = Runtime()
    first = load_checkpoint(path, runtime)
    write_over(path)
    again = load_checkpoint(path, runtime)
    assert again.model.weights is not first.model.weights
    assert sum(not part.weights[key].any() for part in again for key in part.weights) > 100
    cut(path)
    with pytest.raises(CheckpointError, match="cut short"):
        load_checkpoint(path, runtime)


def test_averaged_and_plain_weights_of_one_file_are_two(tmp_path: Path) -> None:
    file = write(tmp_path / "full.safetensors", full_training_state(original()))
    runtime = Runtime()
    plain, averaged = load_checkpoint(file, runtime), load_checkpoint(file, runtime, ema=True)
    assert torch.equal(averaged.model.weights[CONV_IN], plain.model.weights[CONV_IN] + 1)
    assert averaged.vae.weights is plain.vae.weights


def test_weights_that_nothing_uses_are_let_go_of(path: Path) -> None:
    runtime = Runtime()
    loaded = load_checkpoint(path, runtime)
    held, opened = weakref.ref(loaded.model.weights), len(os.listdir("/proc/self/fd"))
    copy: Model = replace(loaded.model)
    del loaded
    gc.collect()
    assert held() is not None
    del copy
    gc.collect()
    assert held() is None
    assert len(os.listdir("/proc/self/fd")) < opened
