"""LoRA files in every layout, put on models: what the weights become, against explicit side branches."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffusion.lora.apply import apply_lora
from diffusion.lora.read import LoraError, read_lora
from diffusion.model import Clip, Model
from diffusion.networks.layers import GatedLinear, geglu
from diffusion.patches import patched_weight
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from tests.diffusion.lora_samples import (
    TEXT,
    UNET,
    Factors,
    clip,
    draw,
    full_changes,
    kohya_text,
    kohya_unet,
    model,
    named,
    text_factors,
    unet_factors,
    unet_names,
    write,
)
from tests.diffusion.reference import relative_error

CLOSE = 1e-6

LAYOUTS: Mapping[str, Callable[[Mapping[str, Factors]], dict[str, Tensor]]] = {
    "kohya, diffusers' names": lambda factors: named(factors, kohya_unet),
    "kohya, original names": lambda factors: named(
        factors, lambda name: "lora_unet_" + name.replace(".", "_")
    ),
    "dotted original names": lambda factors: named(factors, lambda name: f"diffusion_model.{name}"),
    "diffusers": lambda factors: named(
        factors, lambda name: f"unet.{unet_names()[name]}", down=".lora_A", up=".lora_B"
    ),
    "diffusers, lora.down": lambda factors: named(
        factors, lambda name: f"unet.{unet_names()[name]}", down=".lora.down", up=".lora.up"
    ),
    "peft, one network": lambda factors: named(
        factors, lambda name: f"base_model.model.{unet_names()[name]}", down=".lora_A", up=".lora_B"
    ),
    "peft, adapter named": lambda factors: named(
        factors,
        lambda name: f"unet.base_model.model.{unet_names()[name]}",
        down=".lora_A.default",
        up=".lora_B.default",
    ),
}


def changed_weights(value: Model | Clip) -> dict[str, Tensor]:
    """Every weight as its network will have it."""
    return {key: patched_weight(key, tensor, value.patches) for key, tensor in value.weights.items()}


def assert_changed_by(value: Model | Clip, changes: Mapping[str, Tensor], strength: float = 1.0) -> None:
    """Each weight gained `strength` times its change, and the rest are the very same tensors."""
    for key, found in changed_weights(value).items():
        if key in changes:
            expected = value.weights[key].double() + strength * changes[key].reshape(found.shape)
            assert found.dtype == torch.float32
            assert relative_error(found, expected) < CLOSE, key
        else:
            assert found is value.weights[key], key


def on_model(path: Path, strength: float = 1.0) -> Model:
    patched, _ = apply_lora(model(), None, read_lora(path), strength_model=strength, strength_clip=0.0)
    assert patched is not None
    return patched


def on_clip(path: Path, strength: float = 1.0) -> Clip:
    _, patched = apply_lora(None, clip(), read_lora(path), strength_model=0.0, strength_clip=strength)
    assert patched is not None
    return patched


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("alpha", [None, 2.0])
def test_every_unet_module_is_found_in_every_layout(tmp_path: Path, layout: str, alpha: float | None) -> None:
    factors = unet_factors(alpha=alpha)
    path = write(tmp_path / "style.safetensors", LAYOUTS[layout](factors))
    assert_changed_by(on_model(path), full_changes(factors))


@pytest.mark.parametrize("prefix", ["", "unet."])
def test_attention_processors_of_older_files(tmp_path: Path, prefix: str) -> None:
    every = unet_factors()
    factors = {name: given for name, given in every.items() if ".attn" in name}

    def module(name: str) -> str:
        head, projection = unet_names()[name].removesuffix(".0").rsplit(".", 1)
        return f"{prefix}{head}.processor.{projection}_lora"

    path = write(
        tmp_path / "pytorch_lora_weights.safetensors", named(factors, module, down=".down", up=".up")
    )
    assert len(factors) == 8 * 4  # one attention each way at the finest level (two up), one in the middle
    assert_changed_by(on_model(path), full_changes(factors))


@pytest.mark.parametrize(
    ("module", "down", "up"),
    [
        (kohya_text, ".lora_down", ".lora_up"),
        (lambda name: kohya_text(name).replace("lora_te_", "lora_te1_"), ".lora_down", ".lora_up"),
        (lambda name: f"text_encoder.{name}", ".lora_linear_layer.down", ".lora_linear_layer.up"),
        (lambda name: f"text_encoder.{name}", ".lora_A", ".lora_B"),
        (lambda name: f"text_encoder.{name.removeprefix('text_model.')}", ".lora_A", ".lora_B"),
        (lambda name: f"base_model.model.{name}", ".lora_A.default", ".lora_B.default"),
        (lambda name: f"text_encoders.clip_l.transformer.{name}", ".lora_down", ".lora_up"),
    ],
    ids=["lora_te", "lora_te1", "linear_layer", "diffusers", "diffusers, new names", "peft", "dotted"],
)
def test_every_text_module_is_found_in_every_layout(
    tmp_path: Path, module: Callable[[str], str], down: str, up: str
) -> None:
    factors = text_factors()
    path = write(tmp_path / "words.safetensors", named(factors, module, down=down, up=up))
    assert len(factors) == 6 * TEXT.layers
    assert_changed_by(on_clip(path), full_changes(factors))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_factors_keep_the_dtype_of_the_file_and_count_in_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    factors = unet_factors(dtype=dtype, alpha=1.0)
    path = write(tmp_path / "half.safetensors", named(factors, kohya_unet))
    lora = read_lora(path)
    assert {low_rank.down.dtype for low_rank in lora.unet.values()} == {dtype}
    assert_changed_by(on_model(path), full_changes(factors))


def test_a_pickled_file_is_read_too(tmp_path: Path) -> None:
    factors = unet_factors(alpha=2.0)
    path = tmp_path / "pytorch_lora_weights.bin"
    torch.save(named(factors, kohya_unet), path)
    assert_changed_by(on_model(path), full_changes(factors))


def test_linear_factors_fit_pointwise_convolutions_and_the_reverse(tmp_path: Path) -> None:
    every = unet_factors()
    pointwise = {name: given for name, given in every.items() if name.endswith(("proj_in", "proj_out"))}
    linear = {name: given for name, given in every.items() if name.endswith("to_q")}
    swapped = {
        name: Factors(given.down.flatten(1), given.up.flatten(1)) for name, given in pointwise.items()
    } | {
        name: Factors(given.down[:, :, None, None], given.up[:, :, None, None])
        for name, given in linear.items()
    }
    path = write(tmp_path / "swapped.safetensors", named(swapped, kohya_unet))
    assert all(given.down.ndim == 4 for given in pointwise.values())
    assert_changed_by(on_model(path), full_changes(pointwise | linear))


def side_branches(network: nn.Module, factors: Mapping[str, Factors], strength: float) -> None:
    """Make each module's output y + strength * alpha / rank * up(mid(down(x))), leaving the weights alone."""

    def branch(module: nn.Module, given: Factors, x: Tensor) -> Tensor:
        if isinstance(module, nn.Linear):
            return F.linear(F.linear(x, given.down), given.up)
        assert isinstance(module, nn.Conv2d)
        stride, padding = module.stride, module.padding
        assert not isinstance(padding, str)
        if given.mid is None:
            return F.conv2d(F.conv2d(x, given.down, stride=stride, padding=padding), given.up)
        return F.conv2d(
            F.conv2d(F.conv2d(x, given.down), given.mid, stride=stride, padding=padding), given.up
        )

    def with_branch(module: nn.Module, given: Factors, x: Tensor, output: Tensor) -> Tensor:
        side = strength * given.scale * branch(module, given, x)
        if isinstance(module, GatedLinear):  # whose output is behind the gate
            return geglu(F.linear(x, module.weight, module.bias) + side)
        return output + side

    for name, given in factors.items():
        network.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, given=given: with_branch(module, given, inputs[0], output)
        )


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return (
        torch.randn((2, 4, 8, 6), generator=generator),
        torch.tensor([20, 700]),
        torch.randn((2, 7, UNET.context_dim), generator=generator),
    )


def assert_as_side_branches(path: Path, factors: Mapping[str, Factors], strength: float) -> None:
    """The patched network does what the unpatched one does with side branches, and that is not nothing."""
    patched = on_model(path, strength)
    plain = Model(patched.weights, patched.config, patched.runtime)
    before = plain.runtime.unet(plain)(*inputs())
    found = patched.runtime.unet(patched)(*inputs())
    branched = replace(model(), runtime=Runtime(Placement(pack=False)))
    network = branched.runtime.unet(branched)
    side_branches(network, factors, strength)
    expected = network(*inputs())
    assert relative_error(expected, before) > 0.01
    assert relative_error(found, expected) < 1e-5


@pytest.mark.parametrize("strength", [1.0, 0.3, -0.8])
def test_the_network_computes_as_with_side_branches(tmp_path: Path, strength: float) -> None:
    factors = unet_factors(alpha=3.0)
    path = write(tmp_path / "style.safetensors", named(factors, kohya_unet))
    assert_as_side_branches(path, factors, strength)


def test_the_cp_form_of_convolutions(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    factors = {}
    for name, given in unet_factors(alpha=2.0).items():
        if given.down.shape[2:] == (3, 3):
            rank = given.down.shape[0]
            mid = torch.randn((rank, rank, 3, 3), generator=generator) / (9 * rank) ** 0.5
            factors[name] = Factors(given.down[:, :, 1:2, 1:2] * 3, given.up, given.alpha, mid)
    path = write(tmp_path / "locon.safetensors", named(factors, kohya_unet))
    assert_as_side_branches(path, factors, 0.7)


def test_any_number_stack_in_any_mixture(tmp_path: Path) -> None:
    first, second = unet_factors(seed=1), unet_factors(seed=2, rank=2, alpha=1.0)
    value: Model | None = model()
    for factors, strength in ((first, 0.5), (second, -1.5), (first, 0.25)):
        path = write(tmp_path / f"{strength}.safetensors", named(factors, kohya_unet))
        value, _ = apply_lora(value, None, read_lora(path), strength_model=strength, strength_clip=1.0)
    assert value is not None
    assert len(value.patches) == 3
    a, b = full_changes(first), full_changes(second)
    assert_changed_by(value, {key: 0.75 * a[key] - 1.5 * b[key] for key in a})


def test_the_two_strengths_are_apart(tmp_path: Path) -> None:
    unet, text = unet_factors(), text_factors()
    path = write(tmp_path / "both.safetensors", named(unet, kohya_unet) | named(text, kohya_text))
    m, c = model(), clip()
    patched_m, patched_c = apply_lora(m, c, read_lora(path), strength_model=0.5, strength_clip=-2.0)
    assert patched_m is not None
    assert patched_c is not None
    assert_changed_by(patched_m, full_changes(unet), 0.5)
    assert_changed_by(patched_c, full_changes(text), -2.0)
    assert (m.patches, c.patches) == ((), ())
    assert patched_m.weights is m.weights
    assert patched_c.weights is c.weights


def test_strength_zero_and_absent_parts_leave_the_value_itself(tmp_path: Path) -> None:
    m, c = model(), clip()
    unet_only = read_lora(write(tmp_path / "unet.safetensors", named(unet_factors(), kohya_unet)))
    text_only = read_lora(write(tmp_path / "text.safetensors", named(text_factors(), kohya_text)))
    assert apply_lora(m, c, unet_only, strength_model=0.0, strength_clip=1.0) == (m, c)
    assert apply_lora(m, c, text_only, strength_model=1.0, strength_clip=0.0) == (m, c)
    assert apply_lora(None, None, text_only, strength_model=1.0, strength_clip=1.0) == (None, None)
    patched, same = apply_lora(m, c, unet_only, strength_model=1.0, strength_clip=1.0)
    assert same is c
    assert patched is not None
    assert len(patched.patches) == 1


def test_no_weight_is_copied_and_removal_restores_every_bit(tmp_path: Path) -> None:
    some = {name: given for name, given in unet_factors().items() if ".attn2." in name}
    lora = read_lora(write(tmp_path / "style.safetensors", named(some, kohya_unet)))
    plain = model()
    before = plain.runtime.unet(plain)(*inputs())
    patched, _ = apply_lora(plain, None, lora, strength_model=1.0, strength_clip=1.0)
    assert patched is not None
    assert patched.weights is plain.weights
    changed = plain.runtime.unet(patched)
    untouched, touched = plain.runtime.unet(plain).state_dict(), {f"{name}.weight" for name in some}
    for key, tensor in changed.state_dict().items():
        assert (tensor.data_ptr() == untouched[key].data_ptr()) == (key not in touched), key
    assert not torch.equal(changed(*inputs()), before)
    assert torch.equal(plain.runtime.unet(plain)(*inputs()), before)
    plain.runtime.release()
    assert torch.equal(plain.runtime.unet(plain)(*inputs()), before)


def test_the_same_file_at_the_same_strength_is_the_same_patch(tmp_path: Path) -> None:
    path = write(tmp_path / "style.safetensors", named(unet_factors(), kohya_unet))
    first = on_model(path, 0.5).patches[0].identity
    assert on_model(path, 0.5).patches[0].identity == first
    assert hash(on_model(path, 0.5).patches[0].identity) == hash(first)
    assert on_model(path, 0.75).patches[0].identity != first


def test_another_file_in_its_place_is_another_patch(tmp_path: Path) -> None:
    path = write(tmp_path / "style.safetensors", named(unet_factors(), kohya_unet))
    first = on_model(path).patches[0].identity
    write(tmp_path / "new.safetensors", named(unet_factors(seed=1), kohya_unet)).replace(path)
    assert on_model(path).patches[0].identity != first


def test_other_settings_beside_the_file_make_another_patch(tmp_path: Path) -> None:
    path = write(tmp_path / "adapter_model.safetensors", named(unet_factors(), kohya_unet))
    first = on_model(path).patches[0].identity
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 16}')
    assert on_model(path).patches[0].identity != first


def test_what_matches_nothing_is_left_out_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    factors = unet_factors()
    strangers = draw({f"down_blocks.7.attentions.{i}.proj_in": (32, 32) for i in range(5)})
    tensors = named(factors, kohya_unet) | named(
        strangers, lambda name: "lora_unet_" + name.replace(".", "_")
    )
    tensors["lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"] = torch.zeros(8, 4)
    lora = read_lora(write(tmp_path / "style.safetensors", tensors))
    assert lora.unmatched == ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight",)
    with caplog.at_level(logging.WARNING):
        patched, _ = apply_lora(model(), None, lora, strength_model=1.0, strength_clip=1.0)
    assert patched is not None
    assert_changed_by(patched, full_changes(factors))
    (message,) = [record.getMessage() for record in caplog.records]
    assert "style.safetensors" in message
    assert "6 of its modules and keys" in message
    assert "lora_unet_" not in message.split("left out: ")[0]
    assert "down_blocks_7_attentions_0_proj_in" in message


@pytest.mark.parametrize("strength", [float("nan"), float("inf")])
def test_a_strength_that_is_no_number_is_refused(tmp_path: Path, strength: float) -> None:
    lora = read_lora(write(tmp_path / "style.safetensors", named(unet_factors(), kohya_unet)))
    with pytest.raises(LoraError, match="strength"):
        apply_lora(model(), None, lora, strength_model=strength, strength_clip=1.0)
