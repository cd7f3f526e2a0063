"""VAELoader lists tiny autoencoders by name, loads them, and tells one file's state from the next."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from diffusion.config import TinyVAEConfig
from diffusion.networks.tiny_decoder import TinyAutoencoder
from diffusion.types import Latent
from graph import Context, Folders, Workflow, validate
from nodes import REGISTRY
from nodes.latent import vae_decode
from nodes.loaders import vae_loader
from nodes.tiny_vaes import VaeFile, tiny_vae_files, tiny_vae_names


def save(path: Path, *halves: str, width: int = 8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    network = TinyAutoencoder(TinyVAEConfig(width))
    prefix = f"{halves[0]}." if len(halves) == 1 else ""
    kept = {
        key.removeprefix(prefix): tensor
        for key, tensor in network.state_dict().items()
        if key.startswith(halves)
    }
    save_file(kept, path)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    save(tmp_path / "vae_approx" / "taesd_decoder.safetensors", "decoder")
    save(tmp_path / "vae_approx" / "taesd_encoder.safetensors", "encoder")
    save(tmp_path / "vae_approx" / "sub" / "mine_decoder.safetensors", "decoder")
    save(tmp_path / "vae_approx" / "taesdxl_decoder.safetensors", "decoder")
    save(tmp_path / "vae_approx" / "lone_encoder.safetensors", "encoder")
    save(tmp_path / "vae" / "both.safetensors", "decoder", "encoder")
    return Folders(models=(tmp_path,))


def workflow(name: str) -> Workflow:
    return Workflow.from_json(
        {
            "1": {"class_type": "VAELoader", "inputs": {"vae_name": name}},
            "2": {"class_type": "EmptyLatentImage", "inputs": {"width": 16, "height": 16, "batch_size": 1}},
            "3": {"class_type": "VAEDecode", "inputs": {"samples": ["2", 0], "vae": ["1", 0]}},
            "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
        }
    )


def test_names_stand_beside_the_files(folders: Folders) -> None:
    assert tiny_vae_names(folders) == ("sub/mine", "taesd")
    assert VaeFile("vae").choices(folders) == ("both.safetensors", "sub/mine", "taesd")
    assert [path.name for path in tiny_vae_files(folders, "taesd")] == [
        "taesd_decoder.safetensors",
        "taesd_encoder.safetensors",
    ]


@pytest.mark.parametrize("name", ["taesd", "sub/mine", "both.safetensors"])
def test_every_listed_name_is_valid_and_decodes(folders: Folders, name: str) -> None:
    assert validate(workflow(name), REGISTRY, folders) == []
    vae = vae_loader(vae_name=name, ctx=Context(folders=folders))
    assert vae_decode(samples=Latent(torch.zeros(1, 4, 2, 3)), vae=vae).shape == (1, 16, 24, 3)


@pytest.mark.parametrize("name", ["taesdx", "lone", "taesd_decoder.safetensors", "../vae_approx/taesd"])
def test_other_names_are_refused(folders: Folders, name: str) -> None:
    (fault,) = validate(workflow(name), REGISTRY, folders)
    assert "vae_name" in str(fault)


def test_a_changed_half_is_another_autoencoder(folders: Folders) -> None:
    stamp = REGISTRY["VAELoader"].fingerprint
    assert stamp is not None
    context = Context(folders=folders)
    before = stamp(vae_name="taesd", ctx=context)
    save(folders.models[0] / "vae_approx" / "taesd_encoder.safetensors", "encoder", width=4)
    assert stamp(vae_name="taesd", ctx=context) != before
