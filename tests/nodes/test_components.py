"""Parts of a model from files of their own, and each in its own precision."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from diffusion.checkpoints.checkpoint import load_checkpoint, load_diffusers
from diffusion.files.mapped_file import CheckpointError
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from diffusion.text.encode import encode
from graph import Context, Executor, Folders, Node, Workflow, validate
from graph.errors import UnsafePath
from nodes import REGISTRY
from nodes.components import (
    clip_placement,
    component_loader,
    matching,
    model_compute_dtype,
    model_placement,
    vae_placement,
)
from tests.diffusion.checkpoint_samples import diffusers_folder, original, write

RUNTIME = Runtime()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one model as a folder, as a checkpoint, and with its UNet in shards."""
    root = tmp_path_factory.mktemp("models")
    diffusers_folder(root / "diffusers" / "whole")
    diffusers_folder(root / "diffusers" / "shards", max_shard_size="300KB")
    (root / "checkpoints").mkdir()
    write(root / "checkpoints" / "one.safetensors", original())
    return root


def load(root: Path, **patterns: str) -> Any:
    return component_loader(**patterns, ctx=Context(folders=Folders(models=(root,))))


def same(found: Any, expected: Any) -> bool:
    return found.config == expected.config and all(
        torch.equal(found.weights[key], expected.weights[key]) for key in expected.weights
    )


@pytest.mark.parametrize("name", ["whole", "shards"])
def test_files_by_path_and_pattern_are_the_folders_parts(root: Path, name: str) -> None:
    expected = load_diffusers(root / "diffusers" / name, RUNTIME)
    found = load(
        root,
        unet=f"diffusers/{name}/unet/*.safetensors",
        text_encoder=f"diffusers/{name}/text_encoder/model.safetensors",
        vae=f"diffusers/{name}/vae/*.safetensors",
        tokenizer=f"diffusers/{name}/tokenizer/",
    )
    assert same(found.MODEL, expected.model)
    assert same(found.CLIP, expected.clip)
    assert same(found.VAE, expected.vae)
    assert found.CLIP.tokenizer.encode("the cat") == expected.clip.tokenizer.encode("the cat")


def test_parts_are_taken_out_of_a_checkpoint(root: Path) -> None:
    path = "checkpoints/one.safetensors"
    expected = load_checkpoint(root / path, RUNTIME)
    found = load(root, unet=path, text_encoder="checkpoints/o*e.safetensors", vae=path)
    assert same(found.MODEL, expected.model)
    assert same(found.CLIP, expected.clip)
    assert same(found.VAE, expected.vae)
    assert found.CLIP.tokenizer.encode("the cat") == expected.clip.tokenizer.encode("the cat")


def test_a_part_that_is_not_named_is_missed_when_it_is_used(root: Path) -> None:
    found = load(root, unet="checkpoints/one.safetensors")
    with pytest.raises(CheckpointError, match="no text encoder"):
        encode(found.CLIP, "a cat")


def test_wrong_files_are_said(root: Path, tmp_path: Path) -> None:
    whole = "diffusers/whole"
    with pytest.raises(CheckpointError, match="no CLIP text encoder"):
        load(root, unet="checkpoints/one.safetensors", text_encoder=f"{whole}/vae/*.safetensors")
    with pytest.raises(CheckpointError, match="UNet"):
        load(root, unet=f"{whole}/vae/*.safetensors")
    with pytest.raises(CheckpointError, match="Name one of them"):
        load(root, unet="diffusers/*/unet/*.safetensors")
    with pytest.raises(ValueError, match="name one folder"):
        load(
            root,
            unet="checkpoints/one.safetensors",
            text_encoder="checkpoints/one.safetensors",
            tokenizer="*",
        )
    folders = Folders(models=(root,))
    for bad in ("../x", "/etc/passwd", "a/../../b", "c:/x"):
        with pytest.raises(UnsafePath):
            matching(folders, bad)
    (fault,) = validate(
        Workflow({"1": Node("ComponentLoader", {"unet": "unet/none.safetensors"})}), REGISTRY, folders
    )[:1]
    assert "none.safetensors" in fault.message


def test_a_changed_file_is_loaded_again(root: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", original())
    executor = Executor(REGISTRY, folders=Folders(models=(tmp_path,)))
    workflow = Workflow({"1": Node("ComponentLoader", {"unet": "*.safetensors"})})
    first = executor.run(workflow, targets=["1"]).values["1"][0].weights
    again = executor.run(workflow, targets=["1"]).values["1"][0].weights
    assert again is first
    path.unlink()
    write(path, {key: tensor + 1 for key, tensor in original().items()})
    changed = executor.run(workflow, targets=["1"]).values["1"][0].weights
    key = next(iter(first))
    assert not torch.equal(changed[key], original()["model.diffusion_model." + key])


@pytest.fixture(scope="module")
def parts(root: Path) -> Any:
    return load_checkpoint(root / "checkpoints" / "one.safetensors", Runtime())


def test_each_part_computes_in_its_own_precision(parts: Any) -> None:
    model = model_placement(model=parts.model, computing_dtype="bf16")
    assert model.runtime.unet(model).dtype == torch.bfloat16
    assert parts.model.runtime.unet(parts.model).dtype == torch.float32
    assert model_compute_dtype(model=parts.model, dtype="bf16").runtime is model.runtime
    clip = clip_placement(clip=parts.clip, computing_dtype="bf16")
    exact, rounded = (encode(each, "the cat").entries[0].embedding for each in (parts.clip, clip))
    assert 0 < float((exact - rounded).abs().max()) < 0.2 * float(exact.abs().max())
    vae = vae_placement(vae=parts.vae, computing_dtype="bf16")
    assert next(vae.runtime.autoencoder(vae).parameters()).dtype == torch.bfloat16


def test_weights_are_rounded_to_the_storage_type(parts: Any) -> None:
    stored = model_placement(model=parts.model, storage_dtype="fp8_e4m3fn")
    key = "out.2.weight"
    kept = parts.model.weights[key]
    plain = replace(parts.model.runtime.placement, pack=False)
    for model, expected in ((parts.model, kept), (stored, kept.to(torch.float8_e4m3fn).float())):
        runtime = model.runtime.placed(replace(plain, storage=model.runtime.placement.storage))
        found = dict(runtime.unet(model).named_parameters())[key]
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)
    assert not torch.equal(kept, kept.to(torch.float8_e4m3fn).float())


def test_default_changes_nothing_and_one_placement_is_one_runtime(parts: Any) -> None:
    assert model_placement(model=parts.model).runtime is parts.model.runtime
    first, second = (vae_placement(vae=parts.vae, computing_dtype="bf16").runtime for _ in range(2))
    assert first is second
    assert first.placed(parts.vae.runtime.placement) is parts.vae.runtime


def test_what_a_machine_cannot_do_is_said(parts: Any) -> None:
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        model_placement(model=parts.model, device="gpu")
    with pytest.raises(ValueError, match="poorly in fp16"):
        clip_placement(clip=parts.clip, device="cpu", computing_dtype="fp16")


def test_networks_of_two_precisions_stay_beside_each_other() -> None:
    runtime = Runtime(Placement())
    other = runtime.placed(replace(runtime.placement, dtype=torch.bfloat16))
    assert other.placement.dtype == torch.bfloat16
    assert runtime.placement.dtype == torch.float32
    assert other.loaded is runtime.loaded
