"""The kinds of adapters beside LoRA: against peft's own layers where it has them, and against their formulas."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffusion.lora.read import LoraError, read_lora
from tests.diffusion.lora_samples import clip, kohya_text, kohya_unet, model, write
from tests.diffusion.reference import relative_error
from tests.diffusion.test_lora import changed_weights, on_clip, on_model
from tests.diffusion.test_lora_diffusers import CLOSE, our_unet_output, reference_unet, unet_inputs

LINEAR = "input_blocks.1.1.transformer_blocks.0.attn1.to_q"  # [32, 32]
WIDE = "input_blocks.1.1.transformer_blocks.0.attn2.to_k"  # [32, 48]
KERNEL = "input_blocks.1.0.in_layers.2"  # [32, 32, 3, 3]
NORM = "input_blocks.1.0.in_layers.0"  # [32]
OTHERS = ["to_q", "to_k", "proj_in", "conv1", "ff.net.2"]


def peft_config(kind: str) -> Any:
    import peft

    common = {"r": 4, "alpha": 6, "target_modules": OTHERS, "init_weights": False}
    lora = {"r": 4, "lora_alpha": 6, "init_lora_weights": False}
    makers: Mapping[str, Callable[[], Any]] = {
        "LoHa": lambda: peft.LoHaConfig(**common),
        "LoHa, kernels factored": lambda: peft.LoHaConfig(**common, use_effective_conv2d=True),
        "LoKr": lambda: peft.LoKrConfig(**common),
        "LoKr, both factored": lambda: peft.LoKrConfig(**{**common, "r": 2}, decompose_both=True),
        "LoKr, kernels factored": lambda: peft.LoKrConfig(**{**common, "r": 2}, use_effective_conv2d=True),
        "LoKr, whole": lambda: peft.LoKrConfig(**{**common, "r": 64}),
        "DoRA": lambda: peft.LoraConfig(**lora, target_modules=OTHERS, use_dora=True),
        "trained biases": lambda: peft.LoraConfig(
            **lora, target_modules=["proj_in", "conv1", "ff.net.2"], lora_bias=True
        ),
    }
    return makers[kind]()


def draw(network: nn.Module) -> None:
    """Give fresh adapters something to do; lengths stay about what they were."""
    generator = torch.Generator().manual_seed(4)
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "magnitude" in name:
            parameter.data *= 1 + 0.3 * noise
        elif any(part in name for part in ("lora_", "hada_", "lokr_")):
            parameter.data = noise * (0.3 if "lora_" not in name else 0.08)


@torch.no_grad()
@pytest.mark.parametrize(
    "kind",
    [
        "LoHa",
        "LoHa, kernels factored",
        "LoKr",
        "LoKr, both factored",
        "LoKr, kernels factored",
        "LoKr, whole",
        "DoRA",
        "trained biases",
    ],
)
def test_a_file_that_peft_wrote_does_what_it_does_in_peft(tmp_path: Path, kind: str) -> None:
    from peft import get_peft_model

    reference = reference_unet()
    before = reference(*unet_inputs()).sample
    wrapped = get_peft_model(reference, peft_config(kind)).eval()
    draw(wrapped)
    with warnings.catch_warnings():
        # peft takes trained biases for damaged factors.
        warnings.filterwarnings("ignore", message=".*lora_B.bias.*")
        wrapped.save_pretrained(str(tmp_path))
    expected = reference(*unet_inputs()).sample
    assert relative_error(expected, before) > 0.005
    assert relative_error(our_unet_output(tmp_path / "adapter_model.safetensors", 1.0), expected) < CLOSE


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape))) * 0.3


def check(tensors: Mapping[str, Tensor], tmp_path: Path, expected: Mapping[str, Tensor]) -> None:
    """On the small model each weight is what is expected of it, at strength 1, and halfway to it at strength 0.5."""
    path = write(tmp_path / "style.safetensors", tensors)
    plain = model().weights
    for strength in (1.0, 0.5):
        found = changed_weights(on_model(path, strength))
        for key, wanted in expected.items():
            halfway = plain[key].double() + strength * (wanted - plain[key].double())
            assert relative_error(found[key], halfway) < 1e-6, key
            assert relative_error(wanted, plain[key]) > 1e-3, key
    assert len([key for key in found if not torch.equal(found[key], plain[key])]) == len(expected)


def weight(key: str) -> Tensor:
    return model().weights[key].double()


@pytest.mark.parametrize("alpha", [None, 2.0])
def test_loha_of_kohyas_names(tmp_path: Path, alpha: float | None) -> None:
    head, shape = kohya_unet(KERNEL), (32, 32, 3, 3)
    a1, b1, a2, b2 = normal(32, 5), normal(5, 288), normal(32, 5, seed=1), normal(5, 288, seed=1)
    tensors = {
        f"{head}.hada_{name}": tensor
        for name, tensor in zip(("w1_a", "w1_b", "w2_a", "w2_b"), (a1, b1, a2, b2), strict=True)
    }
    if alpha is not None:
        tensors[f"{head}.alpha"] = torch.tensor(alpha)
    first = torch.einsum("or,ri->oi", a1.double(), b1.double())
    second = torch.einsum("or,ri->oi", a2.double(), b2.double())
    change = (first * second).reshape(shape) * (1.0 if alpha is None else alpha / 5)
    check(tensors, tmp_path, {f"{KERNEL}.weight": weight(f"{KERNEL}.weight") + change})


def test_lokr_of_kohyas_names(tmp_path: Path) -> None:
    """Entry (i, j) of one matrix times entry (k, l) of the other is at row i * K + k and column j * L + l."""
    head = kohya_unet(WIDE)
    w1, a, b = normal(4, 6), normal(8, 3), normal(3, 8, seed=1)
    tensors = {
        f"{head}.lokr_w1": w1,
        f"{head}.lokr_w2_a": a,
        f"{head}.lokr_w2_b": b,
        f"{head}.alpha": torch.tensor(1.5),
    }
    change = torch.einsum("ij,kr,rl->ikjl", w1.double(), a.double(), b.double()).reshape(32, 48) * 1.5 / 3
    check(tensors, tmp_path, {f"{WIDE}.weight": weight(f"{WIDE}.weight") + change})


def test_whole_lokr_of_a_kernel_has_nothing_for_its_alpha_to_make_up_for(tmp_path: Path) -> None:
    head = kohya_unet(KERNEL)
    w1, w2 = normal(4, 4), normal(8, 8, 3, 3)
    tensors = {f"{head}.lokr_w1": w1, f"{head}.lokr_w2": w2, f"{head}.alpha": torch.tensor(1e6)}
    change = torch.einsum("ij,klyx->ikjlyx", w1.double(), w2.double()).reshape(32, 32, 3, 3)
    check(tensors, tmp_path, {f"{KERNEL}.weight": weight(f"{KERNEL}.weight") + change})


@pytest.mark.parametrize("spelling", ["kohya", "original"])
def test_whole_differences_of_weights_biases_and_norms(tmp_path: Path, spelling: str) -> None:
    name = kohya_unet if spelling == "kohya" else "diffusion_model.{}".format
    suffixes = ("w_norm", "b_norm") if spelling == "kohya" else ("diff", "diff_b")
    norm = "lora_unet_" + NORM.replace(".", "_") if spelling == "kohya" else name(NORM)
    tensors = {
        f"{name(KERNEL)}.diff": normal(32, 32, 3, 3),
        f"{name(KERNEL)}.diff_b": normal(32),
        f"{norm}.{suffixes[0]}": normal(32, seed=1),
        f"{norm}.{suffixes[1]}": normal(32, seed=2),
    }
    keys = [f"{KERNEL}.weight", f"{KERNEL}.bias", f"{NORM}.weight", f"{NORM}.bias"]
    changes = zip(keys, tensors.values(), strict=True)
    check(tensors, tmp_path, {key: weight(key) + tensor.double() for key, tensor in changes})


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("module", [WIDE, KERNEL])
def test_dora_of_rows_or_of_columns(tmp_path: Path, module: str, axis: int) -> None:
    """m * (W + BA) / |W + BA|, lengths over all axes but one (Liu et al. 2024, eq. 5)."""
    head, plain = kohya_unet(module), weight(f"{module}.weight")
    down, up = normal(3, *plain.shape[1:]), normal(32, 3, *(1 for _ in plain.shape[2:]))
    lengths = 1 + normal(*(size if place == axis else 1 for place, size in enumerate(plain.shape)))
    tensors = {
        f"{head}.lora_down.weight": down,
        f"{head}.lora_up.weight": up,
        f"{head}.alpha": torch.tensor(2.0),
        f"{head}.dora_scale": lengths,
    }
    changed = plain + 2 / 3 * torch.einsum("or,r...->o...", up.double().flatten(1), down.double())
    others = [place for place in range(plain.ndim) if place != axis]
    expected = lengths.double() * changed / torch.linalg.vector_norm(changed, dim=others, keepdim=True)
    check(tensors, tmp_path, {f"{module}.weight": expected})


def test_the_text_encoder_takes_them_too(tmp_path: Path) -> None:
    module = "text_model.encoder.layers.0.mlp.fc1"
    tensors = {f"{kohya_text(module)}.diff": normal(96, 48), f"{kohya_text(module)}.diff_b": normal(96)}
    found = changed_weights(on_clip(write(tmp_path / "style.safetensors", tensors), -2.0))
    for parameter, tensor in zip(("weight", "bias"), tensors.values(), strict=True):
        key = f"{module}.{parameter}"
        torch.testing.assert_close(found[key], clip().weights[key] - 2 * tensor)


Q = kohya_unet(LINEAR)


@pytest.mark.parametrize(
    ("tensors", "parts"),
    [
        ({"hada_w1_a": (32, 4), "hada_w1_b": (4, 32), "hada_w2_a": (32, 4)}, ["hada_w2_b", "incomplete"]),
        (
            {"hada_w1_a": (32, 4), "hada_w1_b": (5, 32), "hada_w2_a": (32, 4), "hada_w2_b": (4, 32)},
            ["hada_w1_b [5, 32]", "ranks disagree"],
        ),
        (
            {"hada_w1_a": (32, 4), "hada_w1_b": (4, 16), "hada_w2_a": (32, 4), "hada_w2_b": (4, 32)},
            ["one shape", "(32, 16)"],
        ),
        ({"lokr_w1": (4, 4)}, ["lokr_w2_a", "incomplete"]),
        ({"lokr_w1": (4,), "lokr_w2": (8, 8)}, ["lokr_w1 [4]", "2 axes"]),
        ({"dora_scale": (32, 1)}, ["dora_scale [32, 1]", "incomplete"]),
        (
            {"lora_down.weight": (4, 32), "lora_up.weight": (32, 4), "dora_scale": (31, 1)},
            ["dora_scale [31, 1]", "32 rows and 32 columns"],
        ),
        ({"lora_B.bias": (32,)}, ["lora_B.bias", "incomplete"]),
        (
            {"diff": (32, 32), "lora_down.weight": (4, 32), "lora_up.weight": (32, 4)},
            [f"{Q}.diff [32, 32]", f"{Q}.lora_up.weight", "two kinds"],
        ),
    ],
)
def test_damaged_files_are_refused_by_key(
    tmp_path: Path, tensors: Mapping[str, tuple[int, ...]], parts: list[str]
) -> None:
    path = write(
        tmp_path / "style.safetensors", {f"{Q}.{name}": torch.ones(shape) for name, shape in tensors.items()}
    )
    with pytest.raises(LoraError) as caught:
        read_lora(path)
    for part in (str(path), *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "tensors",
    [
        {"diff": (32, 31)},
        {"lokr_w1": (4, 4), "lokr_w2": (8, 7)},
        {"hada_w1_a": (32, 4), "hada_w1_b": (4, 31), "hada_w2_a": (32, 4), "hada_w2_b": (4, 31)},
    ],
)
def test_a_change_of_another_shape_is_refused(tmp_path: Path, tensors: Mapping[str, tuple[int, ...]]) -> None:
    path = write(
        tmp_path / "style.safetensors", {f"{Q}.{name}": torch.ones(shape) for name, shape in tensors.items()}
    )
    with pytest.raises(LoraError, match=r"is \[32, 32\]"):
        on_model(path)
