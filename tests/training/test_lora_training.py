"""A LoRA as the trainer makes it: it starts as no change, and the engine applies what was trained."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from diffusion.checkpoints.checkpoint import load_checkpoint
from diffusion.lora.apply import apply_lora
from diffusion.lora.read import read_lora
from diffusion.runtime import Runtime
from tests.training.toys import TOY_SIZES
from training.loop import Logbook
from training.lora import PLAN, Adapted, LoraRecipe, adapt, make_lora, save_lora
from training.networks import fresh_networks, load_networks, save_networks

MERGES = ("r e", "re d</w>")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    networks = fresh_networks(TOY_SIZES, MERGES, seed=5)
    with torch.no_grad():
        last = networks.unet.out[-1].weight
        assert isinstance(last, torch.Tensor)
        last.normal_(generator=torch.Generator().manual_seed(0))
    save_networks(networks, tmp_path / "toy.safetensors")
    return tmp_path / "toy.safetensors"


def noisy() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    return (
        torch.randn(2, 4, 16, 16, generator=random),
        torch.tensor([5, 900]),
        torch.randn(2, 77, 16, generator=random),
    )


def test_an_adapted_network_starts_as_it_was(checkpoint: Path) -> None:
    unet = load_networks(checkpoint, TOY_SIZES).unet
    with torch.no_grad():
        before = unet(*noisy())
        adapt(unet, rank=2, seed=0)
        after = unet(*noisy())
    torch.testing.assert_close(after, before)
    trained = {name.rsplit(".", 2)[1] for name, value in unet.named_parameters() if value.requires_grad}
    assert trained == {"down", "up"}
    assert isinstance(unet.get_submodule("middle_block.1.transformer_blocks.0.attn2.to_k"), Adapted)


def test_the_engine_computes_what_was_trained(checkpoint: Path, tmp_path: Path) -> None:
    unet = load_networks(checkpoint, TOY_SIZES).unet
    adapt(unet, rank=2, seed=0)
    random = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for module in unet.modules():
            if isinstance(module, Adapted) and isinstance(module.up, nn.Linear | nn.Conv2d):
                module.up.weight.normal_(std=0.1, generator=random)
        wanted = unet(*noisy())
    trained = {f"unet.{name}": value for name, value in unet.named_parameters() if value.requires_grad}
    save_lora(trained, TOY_SIZES.unet, 2, tmp_path / "a.safetensors")

    model = load_checkpoint(checkpoint, Runtime()).model
    lora = read_lora(tmp_path / "a.safetensors")
    assert lora.unmatched == ()
    patched, _ = apply_lora(model, None, lora, strength_model=1.0, strength_clip=0.0)
    assert patched is not None
    plain, styled = (one.runtime.unet(one)(*noisy()) for one in (model, patched))
    torch.testing.assert_close(styled, wanted, rtol=1e-2, atol=1e-2)
    assert (plain - wanted).abs().mean() > 0.05


def test_training_writes_kohyas_keys(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.lora.TINY", TOY_SIZES)
    recipe = LoraRecipe(rank=2, pictures=4, plan=replace(PLAN, steps=2))
    out = tmp_path / "style.safetensors"
    make_lora("outline", checkpoint, out, recipe=recipe, seed=0, logbook=Logbook(tmp_path / "work"))
    tensors = load_file(out)
    name = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    assert tensors[f"{name}.lora_down.weight"].shape == (2, 8)
    assert tensors[f"{name}.lora_up.weight"].abs().max() > 0
    assert tensors[f"{name}.alpha"] == 2
    assert tensors["lora_unet_mid_block_resnets_0_conv1.lora_down.weight"].shape == (2, 8, 3, 3)


def test_an_unknown_style_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="outline"):
        make_lora(
            "cubist", checkpoint, tmp_path / "a", recipe=LoraRecipe(), seed=0, logbook=Logbook(tmp_path)
        )
