"""What is saved loads again, here and in diffusers, with the changes that were on it; and what cannot be saved."""

import json
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from diffusion.approximations.tiny_vae import load_tiny_vae
from diffusion.checkpoints.checkpoint import Checkpoint, load_checkpoint, load_vae
from diffusion.checkpoints.components import load_text_encoder_files, load_unet_files
from diffusion.config import TinyVAEConfig
from diffusion.files.safetensors_writing import Stored, write_safetensors
from diffusion.model import Clip, Model, Vae
from diffusion.networks.tiny_decoder import TinyAutoencoder
from diffusion.patches import patched_weight
from diffusion.runtime import Runtime
from diffusion.sampling.prediction import NOISE, VelocityPrediction
from diffusion.weight_changes import Multiplied
from graph import Context, Executor, Folders, Shown, Workflow
from nodes import REGISTRY
from nodes.model_saving import checkpoint_save, clip_save, model_save, vae_save
from tests.diffusion.checkpoint_samples import (
    MERGES,
    UNET,
    VAE,
    assert_same,
    diffusers_folder,
    networks,
    original,
    write,
)
from tests.diffusion.reference import random_weights, unet_to_diffusers, vae_to_diffusers
from tests.nodes.toys import call

UNET_KEY = "middle_block.1.proj_in.weight"
TEXT_KEY = "text_model.encoder.layers.0.mlp.fc1.weight"


def checkpoint(folder: Path, dtype: torch.dtype = torch.float32, **more: Tensor) -> Checkpoint:
    return load_checkpoint(write(folder / "from.safetensors", {**original(dtype), **more}), Runtime())


def changed(value: Checkpoint) -> Checkpoint:
    """The checkpoint with a patch on its UNet and one on its text encoder."""
    model = value.model.patched(Multiplied({UNET_KEY: 2.0}))
    return Checkpoint(model, value.clip.patched(Multiplied({TEXT_KEY: -3.0})), value.vae)


def file_of(shown: Shown[None], folder: Path) -> Path:
    assert shown.ui is not None
    (place,) = shown.ui["models"]
    return folder / place["subfolder"] / place["filename"]


def context(folder: Path, **more: Any) -> Context:
    return Context(folders=Folders(output=folder), **more)


def expected(value: Model | Clip, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    return {
        key: patched_weight(key, tensor, value.patches).to(dtype) for key, tensor in value.weights.items()
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_checkpoint_loads_again_with_what_was_on_it(tmp_path: Path, dtype: torch.dtype) -> None:
    model, clip, vae = changed(checkpoint(tmp_path, dtype))
    shown = checkpoint_save(
        model=model, clip=clip, vae=vae, filename_prefix="mine/all", ctx=context(tmp_path)
    )
    path = file_of(shown, tmp_path)
    assert path == tmp_path / "mine" / "all_00001_.safetensors"
    again = load_checkpoint(path, Runtime())
    assert_same(again.model.weights, expected(model, dtype), dtype)
    assert_same(again.clip.weights, expected(clip, dtype), dtype)
    assert_same(again.vae.weights, dict(vae.weights), dtype)
    assert not torch.equal(again.model.weights[UNET_KEY], model.weights[UNET_KEY])
    assert (again.model.config, again.clip.config, again.vae.config) == (
        model.config,
        clip.config,
        vae.config,
    )
    assert again.clip.tokenizer.encode("the cat") == clip.tokenizer.encode("the cat")
    assert (again.model.patches, again.model.prediction) == ((), NOISE)


def test_the_header_says_what_it_is_and_how_it_was_made(tmp_path: Path) -> None:
    model, clip, vae = checkpoint(tmp_path)
    nodes = {"1": {"class_type": "CheckpointSave", "inputs": {}}}
    ctx = context(tmp_path, workflow=nodes, extra={"extra_pnginfo": {"a": 1}})
    path = file_of(checkpoint_save(model=model, clip=clip, vae=vae, filename_prefix="x", ctx=ctx), tmp_path)
    with safe_open(path, "pt") as file:
        said = file.metadata()
    assert json.loads(said["prompt"]) == nodes
    assert json.loads(said["weft.facts"])["tokenizer"]["merges"] == list(MERGES)
    assert said["modelspec.architecture"] == "stable-diffusion-v1"
    assert said["modelspec.prediction_type"] == "epsilon"
    assert said["format"] == "pt"


@torch.no_grad()
def test_diffusers_loads_it_from_the_single_file(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL, UNet2DConditionModel

    model, clip, vae = changed(checkpoint(tmp_path))
    shown = checkpoint_save(model=model, clip=clip, vae=vae, filename_prefix="x", ctx=context(tmp_path))
    config = str(diffusers_folder(tmp_path / "config"))
    path = str(file_of(shown, tmp_path))
    options: dict[str, Any] = {"config": config, "local_files_only": True}
    unet = UNet2DConditionModel.from_single_file(path, subfolder="unet", **options)
    assert_same(unet.state_dict(), unet_to_diffusers(expected(model), UNET))
    theirs = AutoencoderKL.from_single_file(path, subfolder="vae", **options)
    assert_same(theirs.state_dict(), vae_to_diffusers(vae.weights, VAE))


def test_parts_load_again_alone(tmp_path: Path) -> None:
    model, clip, vae = changed(checkpoint(tmp_path))
    ctx = context(tmp_path)
    unet = load_unet_files([file_of(model_save(model=model, ctx=ctx), tmp_path)], Runtime())
    assert_same(unet.weights, expected(model))
    assert unet.config == model.config
    text = load_text_encoder_files([file_of(clip_save(clip=clip, ctx=ctx), tmp_path)], Runtime())
    assert_same(text.weights, expected(clip))
    assert text.tokenizer.encode("the cat") == clip.tokenizer.encode("the cat")
    assert_same(load_vae(file_of(vae_save(vae=vae, ctx=ctx), tmp_path), Runtime()).weights, dict(vae.weights))


def tiny_vae() -> Vae:
    config = TinyVAEConfig(8)
    return Vae(random_weights(lambda: TinyAutoencoder(config)), config, Runtime())


def test_a_tiny_autoencoder_is_saved_alone_and_never_in_a_checkpoint(tmp_path: Path) -> None:
    vae, (model, clip, _) = tiny_vae(), checkpoint(tmp_path)
    again = load_tiny_vae([file_of(vae_save(vae=vae, ctx=context(tmp_path)), tmp_path)], Runtime())
    assert_same(again.weights, dict(vae.weights))
    with pytest.raises(ValueError, match="TAESD"):
        checkpoint_save(model=model, clip=clip, vae=vae, ctx=context(tmp_path))


@pytest.mark.parametrize("zsnr", [False, True])
def test_what_predicts_v_does_so_again(tmp_path: Path, zsnr: bool) -> None:
    plain, clip, vae = checkpoint(tmp_path)
    model = call("ModelSamplingDiscrete", model=plain, sampling="v_prediction", zsnr=zsnr)
    ctx = context(tmp_path)
    whole = load_checkpoint(
        file_of(checkpoint_save(model=model, clip=clip, vae=vae, ctx=ctx), tmp_path), Runtime()
    )
    alone = load_unet_files([file_of(model_save(model=model, ctx=ctx), tmp_path)], Runtime())
    for again in (whole.model, alone):
        assert isinstance(again.prediction, VelocityPrediction)
        assert again.schedule.sigma_max == model.schedule.sigma_max
    assert (model.schedule.sigma_max > 1000) == zsnr


@pytest.mark.parametrize("prefix", ["../out", "/etc/x", "a\0b"])
def test_nothing_is_saved_outside(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(ValueError, match="filename_prefix"):
        model_save(model=checkpoint(tmp_path).model, filename_prefix=prefix, ctx=context(tmp_path / "out"))


def test_spoiled_weights_are_not_saved_and_leave_nothing_behind(tmp_path: Path) -> None:
    model = checkpoint(tmp_path, torch.float16).model.patched(Multiplied({UNET_KEY: 1e30}))
    with pytest.raises(ValueError, match=UNET_KEY):
        model_save(model=model, filename_prefix="x", ctx=context(tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_checkpoint_without_a_vae_says_so(tmp_path: Path) -> None:
    tensors = {key: tensor for key, tensor in original().items() if "first_stage" not in key}
    model, clip, vae = load_checkpoint(write(tmp_path / "from.safetensors", tensors), Runtime())
    with pytest.raises(ValueError, match="holds no VAE"):
        checkpoint_save(model=model, clip=clip, vae=vae, ctx=context(tmp_path))


def test_tensors_are_made_one_at_a_time(tmp_path: Path) -> None:
    alive: list[weakref.ref[Tensor]] = []

    def make() -> Tensor:
        assert all(held() is None for held in alive)
        tensor = torch.ones(3, 5)
        alive.append(weakref.ref(tensor))
        return tensor

    tensors = {f"{place}": Stored(torch.bfloat16, (3, 5), make) for place in range(4)}
    tensors["empty"] = Stored.of(torch.empty(0))
    tensors["number"] = Stored.of(torch.tensor(2.5))
    with (tmp_path / "x.safetensors").open("wb") as file:
        write_safetensors(file, tensors, {"a": "ü"})
    found = load_file(tmp_path / "x.safetensors")
    assert torch.equal(found["3"], torch.ones(3, 5, dtype=torch.bfloat16))
    assert (found["empty"].shape, float(found["number"])) == ((0,), 2.5)


def run(nodes: Mapping[str, Any], folder: Path) -> list[str]:
    executor = Executor(REGISTRY, folders=Folders(models=(folder,), output=folder / "out"))
    result = executor.run(Workflow.from_json(json.dumps(nodes)))
    return [error.message for error in result.errors]


def test_in_a_workflow_the_model_that_is_being_saved_may_come_from_the_same_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "checkpoints"
    folder.mkdir(parents=True)
    write(folder / "x_00001_.safetensors", original())
    (tmp_path / "checkpoints").symlink_to(folder)
    nodes = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x_00001_.safetensors"}},
        "2": {
            "class_type": "CheckpointSave",
            "inputs": {
                "model": ["1", 0],
                "clip": ["1", 1],
                "vae": ["1", 2],
                "filename_prefix": "checkpoints/x",
            },
        },
    }
    assert run(nodes, tmp_path) == []
    assert_same(
        load_checkpoint(folder / "x_00002_.safetensors", Runtime()).model.weights, dict(networks()[0])
    )
