"""Files of ControlNets and T2I-Adapters: every layout gives the same weights, and what is none is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion.config import ControlNetConfig
from diffusion.control.load import load_control
from diffusion.files.mapped_file import CheckpointError
from diffusion.model import Model
from diffusion.networks.controlnet import ControlNet
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from tests.diffusion.checkpoint_samples import assert_same, original
from tests.diffusion.control_reference import (
    FULL,
    LIGHT,
    NET,
    UNET,
    adapter_to_diffusers,
    controlnet_to_diffusers,
    diffusers_controlnet,
    model,
    weights_of,
)
from tests.diffusion.reference import random_weights

FACTS = {"weft.facts": json.dumps({"unet": {"num_heads": UNET.num_heads, "norm_groups": UNET.norm_groups}})}
WEIGHTS = dict(weights_of(NET))
ONE = torch.zeros(1)
OF_SD1 = ControlNetConfig(replace(UNET, num_heads=8, norm_groups=32))
"""What a file without facts is taken to be."""


def write(path: Path, tensors: Mapping[str, Tensor], *, facts: bool = True) -> Path:
    save_file(dict(tensors), path, FACTS if facts else None)
    return path


def prefixed(prefix: str, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: tensor for key, tensor in weights.items()}


LAYOUTS = {
    "bare": lambda: WEIGHTS,
    "published": lambda: prefixed("control_model.", WEIGHTS),
    "with its whole checkpoint": lambda: original() | prefixed("control_model.", WEIGHTS),
    "diffusers": lambda: controlnet_to_diffusers(WEIGHTS, UNET.blocks),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_a_controlnet_is_read(tmp_path: Path, layout: str) -> None:
    loaded = load_control(write(tmp_path / "net.safetensors", LAYOUTS[layout]()), Runtime())
    assert loaded.config == NET
    assert not loaded.pooled
    assert_same(loaded.weights, WEIGHTS)


def test_a_pickle_is_read_without_running_it(tmp_path: Path) -> None:
    torch.save({"state_dict": prefixed("control_model.", WEIGHTS)}, tmp_path / "net.pth")
    loaded = load_control(tmp_path / "net.pth", Runtime())
    assert loaded.config == OF_SD1
    assert_same(loaded.weights, WEIGHTS)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_in_the_file_and_computes_in_the_placements(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    half = {key: tensor.to(dtype) for key, tensor in WEIGHTS.items()}
    loaded = load_control(write(tmp_path / "net.safetensors", half), Runtime())
    assert_same(loaded.weights, WEIGHTS, dtype)
    network = Runtime().control_network(loaded)
    assert isinstance(network, ControlNet)
    assert network.dtype == torch.float32


def test_a_folder_by_diffusers_says_what_shapes_do_not(tmp_path: Path) -> None:
    diffusers_controlnet(pooled=True).save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    loaded = load_control(path, Runtime())
    assert (loaded.config, loaded.pooled) == (NET, True)
    assert_same(loaded.weights, WEIGHTS)
    config = json.loads((tmp_path / "config.json").read_text())
    for change, message in (
        ({"controlnet_conditioning_channel_order": "bgr"}, "channel order 'bgr'"),
        ({"attention_head_dim": [4, 8]}, r"attention_head_dim is \[4, 8\]"),
        ({"norm_num_groups": -1}, "norm_num_groups is -1"),
        ({"norm_num_groups": 7}, "do not split into 7 norm groups"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(CheckpointError, match=message):
            load_control(path, Runtime())


@pytest.mark.parametrize("stem", ["control_v11e_sd15_shuffle", "control_v11e_sd15_shuffle_fp16"])
def test_nets_that_copy_style_are_told_by_their_names(tmp_path: Path, stem: str) -> None:
    assert load_control(write(tmp_path / f"{stem}.safetensors", WEIGHTS), Runtime()).pooled


@pytest.mark.parametrize("config", [FULL, LIGHT, replace(FULL, hint_channels=1, kernel=3, strided=True)])
def test_adapters_are_read(tmp_path: Path, config: object) -> None:
    weights = weights_of(config)  # type: ignore[arg-type]
    layouts = {"bare": weights, "nested": prefixed("adapter.", weights)}
    for name, tensors in layouts.items():
        loaded = load_control(write(tmp_path / f"{name}.safetensors", tensors, facts=False), Runtime())
        assert loaded.config == config
        assert_same(loaded.weights, weights)


@pytest.mark.parametrize("config", [FULL, LIGHT])
def test_adapters_in_the_layout_of_diffusers_are_read(tmp_path: Path, config: object) -> None:
    weights = weights_of(config)  # type: ignore[arg-type]
    theirs = adapter_to_diffusers(weights, config)  # type: ignore[arg-type]
    loaded = load_control(write(tmp_path / "adapter.safetensors", theirs), Runtime())
    assert loaded.config == config
    assert_same(loaded.weights, weights)


def test_an_unchanged_file_gives_the_same_weights_again(tmp_path: Path) -> None:
    runtime, path = Runtime(), write(tmp_path / "net.safetensors", WEIGHTS)
    first, again = load_control(path, runtime), load_control(path, runtime)
    assert first.weights is again.weights
    assert runtime.control_network(first) is runtime.control_network(again)


def test_a_difference_is_added_to_the_model(tmp_path: Path) -> None:
    base = model().weights
    kept = {key: tensor - base[key] if key in base else tensor for key, tensor in WEIGHTS.items()}
    marked = prefixed("control_model.", kept) | {"difference": ONE}
    loaded = load_control(write(tmp_path / "net.safetensors", marked), Runtime(), model())
    network = Runtime(Placement(pack=False)).control_network(loaded)
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, WEIGHTS[key], rtol=0, atol=1e-6)
    whole = load_control(write(tmp_path / "whole.safetensors", WEIGHTS), Runtime(), model())
    assert whole.patches == ()


def low_rank(rank: int = 4) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A Control-LoRA, and the weights of the ControlNet that it makes of the model."""
    base, generator = model().weights, torch.Generator().manual_seed(6)
    kept, expected = {"lora_controlnet": ONE}, {}
    for key, tensor in WEIGHTS.items():
        if key in base and tensor.ndim > 1:
            name = key.removesuffix(".weight")
            up = torch.randn(len(tensor), rank, generator=generator) * 0.1
            down = torch.randn(rank, *tensor.shape[1:], generator=generator) * 0.1
            kept |= {f"{name}.up": up, f"{name}.down": down}
            expected[key] = base[key] + (up @ down.flatten(1)).reshape(tensor.shape)
        elif key.startswith("middle_block.0.") and key in base:
            expected[key] = base[key]
        else:
            kept[key] = expected[key] = tensor
    return kept, expected


def test_a_control_lora_is_added_to_the_model(tmp_path: Path) -> None:
    kept, expected = low_rank()
    loaded = load_control(write(tmp_path / "net.safetensors", kept), Runtime(), model())
    assert loaded.config == NET
    network = Runtime(Placement(pack=False)).control_network(loaded)
    assert network.state_dict().keys() == expected.keys()
    for key, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, expected[key], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"time_embed.0.down": None}, "its factors of time_embed.0.weight are incomplete"),
        (
            {"time_embed.0.up": torch.zeros(5, 4)},
            r"factors of time_embed.0.weight are \[5, 4\] and \[4, 32\], and",
        ),
        ({"time_embed.0.up": torch.zeros(128, 3)}, r"are \[128, 3\] and"),
        ({"time_embed.0.up": torch.zeros(128, 0), "time_embed.0.down": torch.zeros(0, 32)}, "are incomplete"),
        ({"nowhere.up": torch.zeros(1, 1), "nowhere.down": torch.zeros(1, 1)}, "model has no such weight"),
        ({"zero_convs.0.0.weight": None}, r"1 missing key \(zero_convs.0.0.weight\)"),
        ({"input_hint_block.0.weight": None}, "lacks the key input_hint_block.0.weight"),
    ],
)
def test_a_control_lora_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, Tensor | None], message: str
) -> None:
    tensors = {key: tensor for key, tensor in (low_rank()[0] | change).items() if tensor is not None}
    path = write(tmp_path / "net.safetensors", tensors)
    with pytest.raises(CheckpointError, match=message):
        load_control(path, Runtime(), model())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"in_channels": 9}, "to a model of 4 channels, and this model takes 9"),
        ({"context_dim": 32}, "a model of another size"),
    ],
)
def test_a_difference_to_another_model_is_refused(
    tmp_path: Path, change: dict[str, int], message: str
) -> None:
    other = Model({}, replace(UNET, **change), Runtime())
    path = write(tmp_path / "net.safetensors", WEIGHTS | {"difference": ONE})
    with pytest.raises(ValueError, match=message):
        load_control(path, Runtime(), other)


def without(weights: Mapping[str, Tensor], *keys: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in weights.items() if key not in keys}


XL_ADAPTER = {"conv_in.weight": torch.zeros(32, 768, 3, 3), "body.0.block1.weight": torch.zeros(32, 32, 3, 3)}
REFUSED = {
    "Control-LoRA": (
        lambda: WEIGHTS | {"lora_controlnet": ONE},
        "it is a Control-LoRA.* Load it with the DiffControlNetLoader",
    ),
    "difference": (
        lambda: prefixed("control_model.", WEIGHTS) | {"difference": ONE},
        "it is a ControlNet's difference .* Load it with the DiffControlNetLoader",
    ),
    "union": (lambda: WEIGHTS | {"task_embedding": ONE}, "several kinds in one"),
    "checkpoint": (original, "no ControlNet and no T2I-Adapter: it seems to be a whole checkpoint"),
    "something": (lambda: {"a.b": torch.zeros(2, 2, 2)}, "it seems to be something else"),
    "missing": (lambda: without(WEIGHTS, "zero_convs.1.0.bias"), r"1 missing key \(zero_convs.1.0.bias\)"),
    "extra": (lambda: WEIGHTS | {"label_emb.0.0.weight": ONE}, r"1 extra key \(label_emb.0.0.weight\)"),
    "misshapen": (
        lambda: WEIGHTS | {"zero_convs.0.0.bias": ONE},
        r"zero_convs.0.0.bias is \[1\] and should be \[32\]",
    ),
    "no middle": (
        lambda: without(WEIGHTS, "middle_block.1.transformer_blocks.0.attn2.to_k.weight"),
        "lacks the key middle_block.1",
    ),
    "nine channels": (
        lambda: WEIGHTS | {"input_blocks.0.0.weight": torch.zeros(32, 9, 3, 3)},
        "takes latents of 9 channels",
    ),
    "few halvings": (
        lambda: without(
            WEIGHTS, *(f"input_hint_block.{n}.{p}" for n in (10, 12, 14) for p in ("weight", "bias"))
        ),
        "halved 1 times",
    ),
    "odd numbers": (
        lambda: WEIGHTS | {"input_hint_block.999.weight": ONE},
        "lacks the key input_hint_block.16",
    ),
    "XL adapter": (lambda: XL_ADAPTER, "as those for SDXL do"),
    "odd adapter": (
        lambda: {**weights_of(FULL), "body.6.block1.weight": torch.zeros(64, 64, 3, 3)},
        "odd, 7",
    ),
    "even kernel": (
        lambda: {**weights_of(FULL), "body.0.block2.weight": torch.zeros(32, 32, 2, 2)},
        "convolutions are of size 2",
    ),
    "no numbers": (
        lambda: (
            controlnet_to_diffusers(WEIGHTS, UNET.blocks)
            | {"controlnet_cond_embedding.blocks.six.weight": ONE}
        ),
        "1 extra key",
    ),
    "large numbers": (
        lambda: (
            adapter_to_diffusers(weights_of(FULL), FULL) | {f"adapter.body.{'9' * 5000}.resnets.0.a": ONE}
        ),
        "lacks every key that begins with body.6",
    ),
    "short adapter": (lambda: without(weights_of(LIGHT), "body.1.out_conv.bias"), "1 missing key"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_none_is_refused(tmp_path: Path, name: str) -> None:
    tensors, message = REFUSED[name]
    path = write(tmp_path / "net.safetensors", tensors())
    with pytest.raises(CheckpointError, match=message) as refusal:
        load_control(path, Runtime())
    assert str(path) in str(refusal.value)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "net.safetensors", WEIGHTS)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cut short"):
        load_control(path, Runtime())


def test_it_is_no_checkpoint_to_other_loaders(tmp_path: Path) -> None:
    from diffusion.checkpoints.checkpoint import load_checkpoint

    path = write(tmp_path / "net.safetensors", random_weights(lambda: ControlNet(NET)))
    with pytest.raises(CheckpointError, match="seems to be a ControlNet"):
        load_checkpoint(path, Runtime())
