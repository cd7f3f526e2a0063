"""LoRA against diffusers and peft: their loaders on their networks around the same weights, and files they write."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from diffusion.checkpoints.diffusers_names import unet_modules
from diffusion.config import SD15_INPAINT_UNET, SD15_UNET, UNetConfig
from diffusion.lora.apply import apply_lora
from diffusion.lora.read import read_lora
from diffusion.networks.unet import UNet
from tests.diffusion.lora_samples import (
    RANK,
    TEXT,
    UNET,
    Factors,
    clip,
    kohya_text,
    kohya_unet,
    model,
    named,
    text_factors,
    unet_factors,
    unet_names,
    write,
)
from tests.diffusion.reference import diffusers_unet, relative_error, unet_to_diffusers

CLOSE = 1e-5


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def unet_inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(11)
    return (
        torch.randn((2, 4, 8, 8), generator=generator),
        torch.tensor([3, 950]),
        torch.randn((2, 9, UNET.context_dim), generator=generator),
    )


def reference_unet() -> nn.Module:
    return diffusers_unet(UNET, {key: tensor.clone() for key, tensor in model().weights.items()})


def reference_text_encoder() -> nn.Module:
    from transformers import CLIPTextConfig, CLIPTextModel

    network = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=TEXT.vocab_size,
            hidden_size=TEXT.width,
            intermediate_size=TEXT.hidden,
            num_hidden_layers=TEXT.layers,
            num_attention_heads=TEXT.num_heads,
            hidden_act=TEXT.activation,
            eos_token_id=TEXT.vocab_size - 1,
        )
    ).eval()
    ours = {key.removeprefix("text_model."): tensor.clone() for key, tensor in clip().weights.items()}
    theirs = network.state_dict()
    network.load_state_dict({key: ours[key.removeprefix("text_model.")] for key in theirs})
    return network


def our_unet_output(path: Path, strength: float) -> Tensor:
    patched, _ = apply_lora(model(), None, read_lora(path), strength_model=strength, strength_clip=1.0)
    assert patched is not None
    assert len(patched.patches) == 1
    return patched.runtime.unet(patched)(*unet_inputs())


def our_text_output(path: Path, ids: Tensor, strength: float) -> Tensor:
    _, patched = apply_lora(None, clip(), read_lora(path), strength_model=1.0, strength_clip=strength)
    assert patched is not None
    assert len(patched.patches) == 1
    return patched.runtime.text_encoder(patched)(ids).last


def load_into(network: nn.Module, path: Path, *, strength: float) -> None:
    """Put the file on the network as StableDiffusionPipeline.load_lora_weights does, without a pipeline."""
    from diffusers.loaders.lora_pipeline import StableDiffusionLoraLoaderMixin as Loader
    from diffusers.utils.peft_utils import set_weights_and_activate_adapters

    state, alphas, metadata = Loader.lora_state_dict(
        str(path.parent), weight_name=path.name, return_lora_metadata=True
    )
    if type(network).__name__ == "CLIPTextModel":
        Loader.load_lora_into_text_encoder(state, alphas, network, adapter_name="style", metadata=metadata)
    else:
        Loader.load_lora_into_unet(state, alphas, network, adapter_name="style", metadata=metadata)
    set_weights_and_activate_adapters(network, ["style"], [strength])


def attention_only(factors: Mapping[str, Factors]) -> dict[str, Factors]:
    return {name: given for name, given in factors.items() if "transformer_blocks" in name}


@pytest.mark.parametrize("strength", [1.0, -0.6])
def test_kohya_unet_files_do_what_they_do_in_diffusers(tmp_path: Path, strength: float) -> None:
    path = write(tmp_path / "kohya.safetensors", named(attention_only(unet_factors(alpha=2.0)), kohya_unet))
    reference = reference_unet()
    before = reference(*unet_inputs()).sample
    load_into(reference, path, strength=strength)
    expected = reference(*unet_inputs()).sample
    assert relative_error(expected, before) > 0.01
    assert relative_error(our_unet_output(path, strength), expected) < CLOSE


def test_peft_unet_files_with_convolutions_do_what_they_do_in_diffusers(tmp_path: Path) -> None:
    tensors = named(unet_factors(), lambda name: f"unet.{unet_names()[name]}", down=".lora_A", up=".lora_B")
    path = write(tmp_path / "pytorch_lora_weights.safetensors", tensors)
    reference = reference_unet()
    load_into(reference, path, strength=0.8)
    assert relative_error(our_unet_output(path, 0.8), reference(*unet_inputs()).sample) < CLOSE


@pytest.mark.parametrize("layout", ["kohya", "peft"])
def test_text_encoder_files_do_what_they_do_in_diffusers(tmp_path: Path, layout: str) -> None:
    factors = text_factors(alpha=2.0 if layout == "kohya" else None)
    tensors = (
        named(factors, kohya_text)
        if layout == "kohya"
        else named(factors, lambda name: f"text_encoder.{name}", down=".lora_A", up=".lora_B")
    )
    path = write(tmp_path / f"{layout}.safetensors", tensors)
    ids = torch.randint(0, TEXT.vocab_size, (2, 77), generator=torch.Generator().manual_seed(2))
    reference = reference_text_encoder()
    before = reference(ids).last_hidden_state
    load_into(reference, path, strength=1.3)
    expected = reference(ids).last_hidden_state
    assert relative_error(expected, before) > 0.01
    assert relative_error(our_text_output(path, ids, 1.3), expected) < CLOSE


def draw_adapter(network: nn.Module) -> None:
    """Give fresh adapters, whose up factors are zero, something to do."""
    generator = torch.Generator().manual_seed(4)
    for name, parameter in network.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.05


def adapter_config(**options: Any) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=RANK,
        target_modules=["to_q", "to_v", "proj_in", "conv1", "ff.net.2"],
        init_lora_weights=False,
        **options,
    )


@pytest.mark.parametrize(
    "options",
    [
        {"lora_alpha": 12},
        {"lora_alpha": 4, "alpha_pattern": {"to_q": 1, "down_blocks.0.resnets.0.conv1": 16}},
        {"lora_alpha": 6, "use_rslora": True},
    ],
    ids=["alpha", "alpha by module", "rank-stabilised"],
)
@pytest.mark.parametrize("writer", ["diffusers", "peft"])
def test_files_written_by_others_keep_their_scale(
    tmp_path: Path, writer: str, options: dict[str, object]
) -> None:
    reference = reference_unet()
    if writer == "diffusers":
        reference.add_adapter(adapter_config(**options), adapter_name="style")  # type: ignore[operator]
        draw_adapter(reference)
        reference.save_lora_adapter(tmp_path, adapter_name="style")  # type: ignore[operator]
        path = tmp_path / "pytorch_lora_weights.safetensors"
    else:
        from peft import get_peft_model

        wrapped = get_peft_model(reference, adapter_config(**options))
        draw_adapter(wrapped)
        wrapped.save_pretrained(str(tmp_path))
        path = tmp_path / "adapter_model.safetensors"
    assert len(load_file(path)) > 20
    assert relative_error(our_unet_output(path, 1.0), reference(*unet_inputs()).sample) < CLOSE


@pytest.mark.parametrize(
    "config",
    [
        SD15_UNET,
        SD15_INPAINT_UNET,
        UNET,
        UNetConfig(
            channels=(32, 48, 64), attention=(False, True, False), blocks=3, context_dim=24, norm_groups=8
        ),
        UNetConfig(channels=(16, 32), attention=(False, False), blocks=1, num_heads=1, norm_groups=4),
    ],
    ids=["sd15", "inpainting", "tiny", "three levels", "attention in the middle"],
)
def test_the_names_are_those_of_diffusers_own_converter(config: UNetConfig) -> None:
    with torch.device("meta"):
        ours = UNet(config).state_dict()
    tagged = {key: torch.tensor(place) for place, key in enumerate(ours)}
    keys = list(ours)
    theirs = {name: keys[int(tensor)] for name, tensor in unet_to_diffusers(tagged, config).items()}
    names = unet_modules(config)
    for name, key in theirs.items():
        module, parameter = name.rsplit(".", 1)
        assert f"{names[module]}.{parameter}" == key
    assert len(theirs) == len(keys)
