"""UNETLoader and CLIPLoader: every layout, older folders, eight bits, and files that hold something else."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion.files.mapped_file import CheckpointError
from diffusion.text.encode import encode
from graph import Context, Folders, Workflow, validate
from nodes import REGISTRY
from nodes.component_loaders import clip_loader, unet_loader
from tests.diffusion.checkpoint_samples import FACTS, UNET, assert_same, networks, original, write
from tests.diffusion.reference import unet_to_diffusers

LAYOUTS = ["alone", "of a checkpoint", "diffusers", "whole checkpoint"]


def unet_file(layout: str) -> dict[str, Tensor]:
    unet = networks()[0]
    prefix = "model.diffusion_model." if layout == "of a checkpoint" else ""
    if layout == "diffusers":
        return unet_to_diffusers(unet, UNET)
    return (
        original() if layout == "whole checkpoint" else {prefix + key: tensor for key, tensor in unet.items()}
    )


def context(root: Path) -> Context:
    return Context(folders=Folders(models=(root,)))


def saved(root: Path, kind: str, tensors: dict[str, Tensor]) -> Context:
    (root / kind).mkdir()
    write(root / kind / "part.safetensors", {key: tensor.contiguous() for key, tensor in tensors.items()})
    return context(root)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["diffusion_models", "unet"])
def test_a_unet_in_every_layout(tmp_path: Path, layout: str, kind: str) -> None:
    ctx = saved(tmp_path, kind, unet_file(layout))
    model = unet_loader(unet_name="part.safetensors", ctx=ctx)
    assert model.config == UNET
    assert_same(model.weights, networks()[0])
    assert model.patches == ()


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("fp8_e4m3fn", torch.float8_e4m3fn),
        ("fp8_e4m3fn_fast", torch.float8_e4m3fn),
        ("fp8_e5m2", torch.float8_e5m2),
    ],
)
def test_eight_bits(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    ctx = saved(tmp_path, "diffusion_models", unet_file("alone"))
    loaded = unet_loader(unet_name="part.safetensors", weight_dtype=name, ctx=ctx)
    model = replace(loaded, runtime=loaded.runtime.placed(replace(loaded.runtime.placement, pack=False)))
    for key, tensor in model.runtime.unet(model).state_dict().items():
        assert torch.equal(tensor, networks()[0][key].to(dtype).float()), key
        assert not torch.equal(tensor, networks()[0][key]) or tensor.ndim < 2, key


@pytest.mark.parametrize("layout", ["alone", "without its root", "with pictures", "whole checkpoint"])
@pytest.mark.parametrize("kind", ["text_encoders", "clip"])
def test_a_text_encoder_in_every_layout(tmp_path: Path, layout: str, kind: str) -> None:
    text = networks()[1]
    files: dict[str, dict[str, Tensor]] = {
        "alone": dict(text),
        "without its root": {key.removeprefix("text_model."): tensor for key, tensor in text.items()},
        "with pictures": {
            **text,
            "vision_model.post_layernorm.weight": torch.ones(4),
            "logit_scale": torch.ones(()),
        },
        "whole checkpoint": original(),
    }
    clip = clip_loader(clip_name="part.safetensors", ctx=saved(tmp_path, kind, files[layout]))
    assert_same(clip.weights, text)
    assert encode(clip, "the cat").entries[0].embedding.shape[-1] == 64


@pytest.mark.parametrize("loader", ["UNETLoader", "CLIPLoader"])
def test_a_vae_is_neither(tmp_path: Path, loader: str) -> None:
    vae = dict(networks()[2])
    if loader == "UNETLoader":
        ctx = saved(tmp_path, "diffusion_models", vae)
        with pytest.raises(CheckpointError, match=r"part\.safetensors"):
            unet_loader(unet_name="part.safetensors", ctx=ctx)
    else:
        ctx = saved(tmp_path, "text_encoders", vae)
        with pytest.raises(CheckpointError, match="no CLIP text encoder"):
            clip_loader(clip_name="part.safetensors", ctx=ctx)


def test_files_of_both_folders_are_listed_and_others_are_refused(tmp_path: Path) -> None:
    for kind, name in (("diffusion_models", "b"), ("unet", "a"), ("vae", "c")):
        (tmp_path / kind).mkdir()
        save_file({"x": torch.zeros(1)}, tmp_path / kind / f"{name}.safetensors", FACTS)
    folders = Folders(models=(tmp_path,))
    rule = REGISTRY["UNETLoader"].ports["unet_name"].rule
    assert rule is not None
    assert rule.choices(folders) == ("a.safetensors", "b.safetensors")  # type: ignore[attr-defined]
    said = {}
    for name in ("a", "b", "c"):
        nodes = {
            "1": {"class_type": "UNETLoader", "inputs": {"unet_name": f"{name}.safetensors"}},
            "2": {"class_type": "ModelSave", "inputs": {"model": ["1", 0]}},
        }
        said[name] = validate(Workflow.from_json(nodes), REGISTRY, folders)
    assert said["a"] == said["b"] == []
    assert len(said["c"]) == 1
