"""LoRA files that cannot be used: each error says which file, which key, what is wrong and what it seems to be."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffusion.files.mapped_file import CheckpointError
from diffusion.lora.apply import apply_lora
from diffusion.lora.keys import LoraKey, parse_key
from diffusion.lora.read import LoraError, read_lora
from tests.diffusion.lora_samples import clip, draw, kohya_text, model, named, unet_factors, unet_names, write

Q = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"


def pair(name: str = Q, *, inputs: int = 64, out: int = 64, rank: int = 4) -> dict[str, Tensor]:
    """A whole LoRA of one linear module."""
    return {
        f"{name}.lora_down.weight": torch.ones(rank, inputs),
        f"{name}.lora_up.weight": torch.ones(out, rank),
        f"{name}.alpha": torch.tensor(4.0),
    }


def one_in(tensor: Tensor, value: float) -> Tensor:
    """The tensor with this value somewhere in its middle."""
    tensor[2, 2] = value
    return tensor


def message(path: Path, error: type[Exception] = LoraError) -> str:
    """What reading the file raises, on one line."""
    with pytest.raises(error) as caught:
        read_lora(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def message_of(tmp_path: Path, tensors: Mapping[str, Tensor]) -> str:
    return message(write(tmp_path / "style.safetensors", tensors))


def misfit(path: Path) -> str:
    """What putting the file on the small model raises."""
    lora = read_lora(path)
    with pytest.raises(LoraError) as caught:
        apply_lora(model(), clip(), lora, strength_model=1.0, strength_clip=1.0)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("key", "seems"),
    [
        ("model.diffusion_model.input_blocks.0.0.weight", "a whole checkpoint"),
        ("conditioner.embedders.0.transformer.text_model.final_layer_norm.weight", "an SDXL model"),
        ("first_stage_model.decoder.conv_in.weight", "a VAE"),
        ("decoder.conv_in.weight", "a VAE"),
        ("control_model.input_blocks.0.0.weight", "a ControlNet"),
        ("emb_params", "textual inversion"),
        ("down_blocks.0.resnets.0.conv1.weight", "a UNet alone"),
        ("text_model.encoder.layers.0.mlp.fc1.weight", "a text encoder"),
        ("what.is.this", "something else"),
    ],
)
def test_a_file_without_a_lora_is_named_for_what_it_seems(tmp_path: Path, key: str, seems: str) -> None:
    others = {f"z{i}": torch.zeros(2, 2, 3, 3) for i in range(5)}
    said = message_of(tmp_path, {key: torch.zeros(2, 2)} | others)
    assert "not a LoRA" in said
    assert seems in said
    assert key in said


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        ("oft_blocks", "OFT"),
        ("a1.weight", "GLoRA"),
        ("on_input", "IA3"),
        ("lokr_t1", "LoKr of two kernels"),
        ("set_weight", "weight replacement"),
    ],
)
def test_adapters_of_other_kinds_are_refused_by_name(tmp_path: Path, suffix: str, kind: str) -> None:
    said = message_of(tmp_path, pair() | {f"{Q}.{suffix}": torch.zeros(4, 4)})
    assert f"it is a {kind} file" in said
    assert f"{Q}.{suffix}" in said


def test_half_a_pair(tmp_path: Path) -> None:
    for role, lacking in (("down", "up"), ("up", "down")):
        tensors = pair()
        del tensors[f"{Q}.lora_{lacking}.weight"]
        said = message_of(tmp_path, tensors)
        assert f"{Q}.lora_{role}.weight has no {lacking} factor" in said


def test_an_alpha_alone_is_reported_and_does_no_harm(tmp_path: Path) -> None:
    lora = read_lora(
        write(tmp_path / "style.safetensors", pair() | {"lora_unet_conv_in.alpha": torch.tensor(1.0)})
    )
    assert lora.unmatched == ("lora_unet_conv_in.alpha",)
    assert len(lora.unet) == 1


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"lora_up.weight": torch.ones(64, 5)}, ["ranks disagree (4, 5)", "[4, 64]", "[64, 5]"]),
        ({"lora_mid.weight": torch.ones(3, 4, 1, 1)}, ["ranks disagree (3, 4)", "[3, 4, 1, 1]"]),
        ({"lora_up.weight": torch.ones(64, 4, 3, 3)}, ["kernel", "[64, 4, 3, 3]"]),
        ({"lora_up.weight": torch.ones(64)}, ["matrices", "[64]"]),
        ({"lora_down.weight": torch.ones(4, 64, 3)}, ["matrices", "[4, 64, 3]"]),
        (
            {"lora_down.weight": torch.ones(0, 64), "lora_up.weight": torch.ones(64, 0)},
            ["matrices", "[0, 64]"],
        ),
        ({"alpha": torch.ones(2)}, ["alpha", "[2]", "one number"]),
        ({"alpha": torch.tensor(float("nan"))}, [f"{Q}.alpha", "NaN"]),
        ({"lora_up.weight": one_in(torch.ones(64, 4), float("-inf"))}, [f"{Q}.lora_up.weight", "infinite"]),
        (
            {"lora_down.weight": one_in(torch.ones(4, 64).half(), float("nan"))},
            [f"{Q}.lora_down.weight", "NaN"],
        ),
        (
            {"lora_down.weight": one_in(torch.ones(4, 64), float("nan")).to(torch.float8_e4m3fn)},
            [f"{Q}.lora_down.weight", "NaN"],
        ),
        ({"lora_down.weight": torch.ones(4, 64, dtype=torch.int8)}, [f"{Q}.lora_down.weight", "int8"]),
    ],
)
def test_damaged_factors(tmp_path: Path, change: dict[str, Tensor], parts: list[str]) -> None:
    said = message_of(tmp_path, pair() | {f"{Q}.{name}": tensor for name, tensor in change.items()})
    assert Q in said
    for part in parts:
        assert part in said


def test_two_adapters_in_one_file(tmp_path: Path) -> None:
    one = named(draw({"m": (8, 8)}), lambda name: f"unet.{name}", down=".lora_A.one", up=".lora_B.one")
    two = named(draw({"m": (8, 8)}), lambda name: f"unet.{name}", down=".lora_A.two", up=".lora_B.two")
    assert "unet.m.lora_A.one.weight and unet.m.lora_A.two.weight" in message_of(tmp_path, one | two)


def test_two_names_of_one_weight(tmp_path: Path) -> None:
    path = write(
        tmp_path / "style.safetensors",
        pair() | pair("lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q"),
    )
    assert "both change middle_block.1.transformer_blocks.0.attn1.to_q.weight" in misfit(path)


@pytest.mark.parametrize("keep", [0, 5, 200, -1])
def test_a_file_cut_short(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path / "style.safetensors", pair())
    path.write_bytes(path.read_bytes()[:keep])
    assert re.search("cut short|empty|begins neither", message(path, CheckpointError))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "no such file" in message(tmp_path / "missing.safetensors", CheckpointError)


def test_a_pickle_with_code_in_it_runs_nothing(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
            return Path.touch, (ran,)

    path = tmp_path / "style.pt"
    torch.save({**pair(), "extra": Trap()}, path)
    message(path, CheckpointError)
    assert not ran.exists()


def test_a_pickle_without_a_table_of_tensors(tmp_path: Path) -> None:
    path = tmp_path / "style.pt"
    torch.save([torch.ones(4, 64), torch.ones(64, 4)], path)
    assert "list" in message(path, CheckpointError)


@pytest.mark.parametrize(
    "said", ["{", "[1]", '{"unet.lora_alpha": "many"}', '{"unet.alpha_pattern": {"(": 1}}']
)
def test_damaged_settings_in_the_header(tmp_path: Path, said: str) -> None:
    path = write(tmp_path / "style.safetensors", pair(), {"lora_adapter_metadata": said})
    assert "lora_adapter_metadata" in message(path)


def test_settings_in_the_header_are_of_one_network_each(tmp_path: Path) -> None:
    unet = named(unet_factors(), lambda name: f"unet.{unet_names()[name]}", down=".lora_A", up=".lora_B")
    text = named(draw({"text_model.encoder.layers.0.mlp.fc1": (96, 48)}), kohya_text)
    settings = {"unet.lora_alpha": 8, "unet.r": 4, "text_encoder.lora_alpha": 2, "text_encoder.r": 4}
    header = {"lora_adapter_metadata": json.dumps(settings)}
    lora = read_lora(write(tmp_path / "style.safetensors", unet | text, header))
    assert {low_rank.scale for low_rank in lora.unet.values()} == {8 / 4, 8 / 5}  # ranks 4 and 5 in turn
    assert {low_rank.scale for low_rank in lora.text.values()} == {2 / 4}


SDXL_V = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_v"


@pytest.mark.parametrize(
    ("width", "family"), [(768, "1.x"), (1024, "2.x"), (2048, "SDXL"), (4096, "4096 wide")]
)
def test_a_lora_of_another_text_width(tmp_path: Path, width: int, family: str) -> None:
    said = misfit(write(tmp_path / "style.safetensors", pair() | pair(SDXL_V, inputs=width, out=32)))
    assert SDXL_V in said
    assert f"[32, {width}]" in said
    assert "input_blocks.1.1.transformer_blocks.0.attn2.to_v.weight is [32, 48]" in said
    assert family in said


def test_a_lora_none_of_whose_modules_exist(tmp_path: Path) -> None:
    names = [f"lora_unet_double_blocks_{i}_img_attn_qkv" for i in range(9)]
    path = write(
        tmp_path / "flux.safetensors", {key: value for name in names for key, value in pair(name).items()}
    )
    said = misfit(path)
    assert "none of its 9 modules" in said
    assert names[0] in said
    assert names[8] not in said
    assert "Flux" in said


def test_a_text_encoder_lora_of_another_width(tmp_path: Path) -> None:
    path = write(
        tmp_path / "sd2.safetensors",
        pair("lora_te_text_model_encoder_layers_0_self_attn_q_proj", inputs=1024, out=1024),
    )
    said = misfit(path)
    assert "[1024, 1024]" in said
    assert "[48, 48]" in said
    assert "Stable Diffusion 2.x" in said


def test_a_lora_for_networks_that_stable_diffusion_1_lacks(tmp_path: Path) -> None:
    said = message_of(tmp_path, pair("lora_te2_text_model_encoder_layers_0_mlp_fc1"))
    assert "SDXL" in said
    assert "lora_te2_" in said


def test_a_kernel_that_does_not_fit(tmp_path: Path) -> None:
    tensors = named(draw({"conv_in": (32, 4, 1, 1)}), lambda name: f"lora_unet_{name}")
    said = misfit(write(tmp_path / "style.safetensors", tensors))
    assert "[32, 4, 1, 1]" in said
    assert "input_blocks.0.0.weight is [32, 4, 3, 3]" in said


@pytest.mark.parametrize(
    "key",
    [
        "lora_unet_x.lora_down",
        "lora_A.weight",
        ".lora_A.weight",
        "unet.x.weight",
        "alpha",
        "",
        "unet.x.lora_C.weight",
    ],
)
def test_other_keys_are_no_lora_keys(key: str) -> None:
    assert parse_key(key) is None


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("unet.mid_block.x.lora.up.weight", LoraKey("unet", "unet.mid_block.x", "mid_block.x", "up")),
        ("lora_te1_text_model_x.alpha", LoraKey("text", "lora_te1_text_model_x", "text_model_x", "alpha")),
        ("text_encoder_2.x.lora_A.weight", LoraKey("other", "text_encoder_2.x", "2.x", "down")),
    ],
)
def test_keys_are_read_into_part_module_and_role(key: str, found: LoraKey) -> None:
    assert parse_key(key) == found
