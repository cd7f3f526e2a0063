"""Merges of two models: what each weight becomes, that nothing is copied, and what cannot be merged."""

import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.config import TextConfig, UNetConfig
from diffusion.merging import Shares, all_weights, merged_models
from diffusion.model import Clip, Model
from diffusion.networks.unet import UNet
from diffusion.patches import patched_weight
from diffusion.runtime import Runtime
from diffusion.text.text_encoder import TextEncoder
from diffusion.text.tokenizer import Tokenizer
from diffusion.weight_changes import Multiplied
from graph import Folders, Workflow, validate
from nodes import REGISTRY
from nodes.model_merging_sd1 import BLOCKS
from tests.diffusion.lora_samples import TEXT, UNET
from tests.diffusion.reference import load, random_weights, relative_error
from tests.nodes.toys import call

ROOT = Path(__file__).parents[2]
NINE = replace(UNET, in_channels=9)


def model(seed: int, config: UNetConfig = UNET) -> Model:
    return Model(random_weights(lambda: UNet(config), seed), config, Runtime())


def clip(seed: int, config: TextConfig = TEXT) -> Clip:
    weights = random_weights(lambda: TextEncoder(config), seed)
    return Clip(weights, config, Tokenizer.from_merges(()), Runtime())


def made(value: Model | Clip) -> dict[str, Tensor]:
    return {key: patched_weight(key, tensor, value.patches) for key, tensor in value.weights.items()}


def assert_made(value: Model | Clip, expected: Mapping[str, Tensor]) -> None:
    for key, found in made(value).items():
        assert relative_error(found, expected[key]) < 1e-6, key


def summed(first: Model | Clip, a: float, second: Model | Clip, b: float) -> dict[str, Tensor]:
    return {
        key: a * tensor.double() + b * second.weights[key].double() for key, tensor in first.weights.items()
    }


ONE, TWO = model(1), model(2)
WORDS, MORE_WORDS = clip(3), clip(4)


@pytest.mark.parametrize(
    ("name", "inputs", "shares"),
    [
        ("Simple", {"ratio": 0.3}, (0.3, 0.7)),
        ("Simple", {"ratio": 0.0}, (0.0, 1.0)),
        ("Add", {}, (1.0, 1.0)),
        ("Subtract", {"multiplier": -2.5}, (-2.5, 2.5)),
    ],
)
def test_sums_of_models_and_of_text_encoders(
    name: str, inputs: dict[str, float], shares: tuple[float, float]
) -> None:
    a, b = shares
    merged = call(f"ModelMerge{name}", model1=ONE, model2=TWO, **inputs)
    assert_made(merged, summed(ONE, a, TWO, b))
    words = call(f"CLIPMerge{name}", clip1=WORDS, clip2=MORE_WORDS, **inputs)
    assert_made(words, summed(WORDS, a, MORE_WORDS, b))
    assert (merged.weights, words.weights, words.tokenizer) == (ONE.weights, WORDS.weights, WORDS.tokenizer)
    assert (ONE.patches, TWO.patches, WORDS.patches) == ((), (), ())


def test_a_ratio_of_one_is_the_first_model_itself() -> None:
    assert call("ModelMergeSimple", model1=ONE, model2=TWO) is ONE
    assert call("CLIPMergeSimple", clip1=WORDS, clip2=MORE_WORDS) is WORDS


def test_the_network_of_a_merge_computes_with_the_summed_weights() -> None:
    generator = torch.Generator().manual_seed(5)
    inputs = (
        torch.randn((1, 4, 8, 8), generator=generator),
        torch.tensor([300]),
        torch.randn((1, 7, UNET.context_dim), generator=generator),
    )
    weights = {key: tensor.float() for key, tensor in summed(ONE, 0.4, TWO, 0.6).items()}
    with torch.inference_mode():
        expected = load(lambda: UNet(UNET), weights)(*inputs)
        merged = call("ModelMergeSimple", model1=ONE, model2=TWO, ratio=0.4)
        assert relative_error(merged.runtime.unet(merged)(*inputs), expected) < 1e-5


def test_patches_of_both_models_count_and_so_do_merges_of_merges() -> None:
    key = next(iter(UNET_KEYS))
    first = ONE.patched(Multiplied({key: 2.0}))
    second = TWO.patched(Multiplied({key: 3.0}))
    once = call("ModelMergeSimple", model1=first, model2=second, ratio=0.5)
    twice = call("ModelMergeAdd", model1=once, model2=once)
    wanted = 2 * (0.5 * 2 * ONE.weights[key].double() + 0.5 * 3 * TWO.weights[key].double())
    assert relative_error(made(twice)[key], wanted) < 1e-6


UNET_KEYS = tuple(ONE.weights)


@dataclass(eq=False)
class Watched(Mapping[str, Tensor]):
    """Weights that come into being when they are looked up. most: so many were alive at once. asked: how often."""

    kept: Mapping[str, Tensor]
    alive: list[weakref.ref[Tensor]] = field(default_factory=list)
    most: int = 0
    asked: int = 0

    def __getitem__(self, key: str) -> Tensor:
        tensor = self.kept[key].clone()
        self.alive = [held for held in self.alive if held() is not None] + [weakref.ref(tensor)]
        self.most, self.asked = max(self.most, len(self.alive)), self.asked + 1
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.kept)

    def __len__(self) -> int:
        return len(self.kept)


def test_the_second_models_weights_are_read_one_at_a_time_and_only_when_a_network_is_made() -> None:
    first, watched = model(1), Watched(TWO.weights)
    merged = call("ModelMergeSimple", model1=first, model2=replace(TWO, weights=watched), ratio=0.5)
    assert watched.asked == 0
    merged.runtime.unet(merged)
    assert (watched.asked, watched.most) == (len(UNET_KEYS), 1)


def test_equal_merges_are_one_network_and_unequal_ones_share_what_they_have_in_common() -> None:
    def blocks(middle: float) -> Model:
        merged: Model = call("ModelMergeBlocks", model1=ONE, model2=TWO, middle=middle)
        return merged

    runtime = ONE.runtime
    assert runtime.unet(blocks(0.5)) is runtime.unet(blocks(0.5))
    half, none, plain = runtime.unet(blocks(0.5)), runtime.unet(blocks(0.0)), runtime.unet(ONE)
    assert half is not none
    assert half.input_blocks[0][0] is none.input_blocks[0][0] is plain.input_blocks[0][0]
    assert half.middle_block[0].in_layers[2] is not none.middle_block[0].in_layers[2]


def ratio_of(merged: Model, key: str) -> float:
    """How much of the first model is in the merge's weight of this key."""
    one, two, found = ONE.weights[key], TWO.weights[key], made(merged)[key]
    return float(((found - two) * (one - two)).sum() / (one - two).square().sum())


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("time_embed.0.weight", 0.1),
        ("input_blocks.1.0.in_layers.2.weight", 0.1),
        ("middle_block.1.proj_in.weight", 0.5),
        ("output_blocks.0.0.in_layers.2.weight", 0.8),
        ("out.2.weight", 0.8),
    ],
)
def test_a_ratio_for_each_part(key: str, expected: float) -> None:
    merged = call("ModelMergeBlocks", model1=ONE, model2=TWO, input=0.1, middle=0.5, out=0.8)
    assert ratio_of(merged, key) == pytest.approx(expected, abs=1e-5)


def test_a_ratio_for_each_block() -> None:
    ratios = {name: place / len(BLOCKS) for place, name in enumerate(BLOCKS)}
    merged = call("ModelMergeSD1", model1=ONE, model2=TWO, **ratios)
    for key in ("time_embed.0.weight", "input_blocks.1.0.in_layers.2.weight", "out.2.weight"):
        named = next(name for name in BLOCKS if key.startswith(name))
        assert ratio_of(merged, key) == pytest.approx(ratios[named], abs=1e-5)


def test_the_inputs_of_a_block_merge_are_those_of_saved_workflows() -> None:
    spec = REGISTRY["ModelMergeSD1"]
    names = [port.name for port in spec.inputs]
    assert names[:4] == ["model1", "model2", "time_embed.", "label_emb."]
    assert names[4:16] == [f"input_blocks.{place}." for place in range(12)]
    assert names[-13:] == [*(f"output_blocks.{place}." for place in range(12)), "out."]
    assert all(port.default == 1.0 for port in spec.inputs[2:])


def test_an_inpainting_model_takes_a_difference_in_the_channels_that_it_has() -> None:
    """The recipe for an inpainting model of any other: inpainting + (custom - original)."""
    nine = model(6, NINE)
    difference = call("ModelMergeSubtract", model1=TWO, model2=ONE)
    merged = call("ModelMergeAdd", model1=nine, model2=difference)
    key = "input_blocks.0.0.weight"
    found, plain = made(merged)[key], nine.weights[key]
    torch.testing.assert_close(found[:, :4], plain[:, :4] + TWO.weights[key] - ONE.weights[key])
    assert torch.equal(found[:, 4:], plain[:, 4:])


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (ONE, model(1, replace(UNET, context_dim=64)), "different sizes"),
        (ONE, model(6, NINE), "swap the two"),
    ],
)
def test_models_that_do_not_go_together_are_refused(first: Model, second: Model, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        merged_models(first, second, all_weights(first, Shares(1.0, 1.0)))


def test_text_encoders_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match="different sizes"):
        call("CLIPMergeAdd", clip1=WORDS, clip2=clip(1, replace(TEXT, layers=1)))


def test_the_block_merge_is_checked_as_other_nodes_are() -> None:
    def faults(**inputs: Any) -> list[str]:
        loader = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "weft-tiny.safetensors"}}
        both = {"model1": ["1", 0], "model2": ["1", 0]}
        merge = {"class_type": "ModelMergeSD1", "inputs": {**both, **inputs}}
        save = {"class_type": "ModelSave", "inputs": {"model": ["2", 0]}}
        nodes = {"1": loader, "2": merge, "3": save}
        folders = Folders(models=(ROOT / "models",))
        return [fault.message for fault in validate(Workflow.from_json(nodes), REGISTRY, folders)]

    assert faults() == []
    (said,) = faults(**{"input_blocks.3.": 1.5})
    assert "input_blocks.3." in said
    assert "at most 1" in said
