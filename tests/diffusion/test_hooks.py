"""Hooks: keyframes along a run, networks that come and go with them, and text encoders changed by them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffusion.hooks.changes import LoraChange, ModelChange
from diffusion.hooks.group import Hook, HookGroup, hooked
from diffusion.hooks.keyframes import Keyframe, Keyframes, interpolated, spread
from diffusion.hooks.run import begin_hooks
from diffusion.hooks.text import ClipHooks
from diffusion.lora.apply import apply_lora
from diffusion.lora.read import LoraError, read_lora
from diffusion.model import Model
from diffusion.networks.unet import UNet
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from diffusion.sampling.sample import sample
from diffusion.sampling.schedule import stable_diffusion_schedule
from diffusion.text.encode import encode
from diffusion.types import Conditioning
from tests.diffusion import lora_samples
from tests.diffusion.hook_samples import empty, lora, model, prompt

SD = stable_diffusion_schedule()
NEGATIVE = prompt("negative")


def group(folder: Path, seed: int = 1, strength: float = 1.0, *frames: tuple[float, float]) -> HookGroup:
    made = HookGroup((Hook(LoraChange(lora(folder, seed)), strength, strength),))
    return made.scheduled(Keyframes().extended(*(Keyframe(*frame) for frame in frames))) if frames else made


def sampled(
    value: Model, positive: Conditioning, negative: Conditioning = NEGATIVE, *, steps: int = 4
) -> Tensor:
    return sample(
        value,
        positive=positive,
        negative=negative,
        latent=empty(),
        seed=1,
        steps=steps,
        cfg=3.0,
        sampler_name="euler",
        scheduler="normal",
    ).samples


def strengths(frames: Sequence[Keyframe], shares: Sequence[float]) -> list[float]:
    """What holds at each share of a run that begins at the first of them."""
    levels = [SD.sigma_at(share) for share in shares]
    progress = Keyframes().extended(*frames).begin(SD, levels[0])
    return [progress.strength_at(level) for level in levels]


def test_a_keyframe_holds_until_the_next_and_the_first_from_the_start() -> None:
    frames = [Keyframe(3.0, 0.7), Keyframe(2.0, 0.3)]
    assert strengths(frames, [0.1, 0.2, 0.4, 0.69, 0.71, 0.9]) == [2.0, 2.0, 2.0, 2.0, 3.0, 3.0]


def test_a_keyframe_of_the_same_start_takes_the_place_of_the_one_before() -> None:
    frames = [Keyframe(1.0, 0.0, guaranteed=0), Keyframe(2.0, 0.3, guaranteed=0), Keyframe(3.0, 0.3)]
    assert strengths(frames, [0.1, 0.4]) == [1.0, 3.0]


def test_every_guaranteed_keyframe_gets_its_steps_and_others_may_be_passed_over() -> None:
    crowded = [Keyframe(float(i), 0.5 + i / 100, guaranteed=2 if i == 1 else 0) for i in range(4)]
    shares = [0.1, 0.9, 0.92, 0.94, 0.96]
    assert strengths([Keyframe(9.0), *crowded], shares) == [9.0, 1.0, 1.0, 3.0, 3.0]


def test_asking_twice_at_one_level_counts_once() -> None:
    progress = Keyframes().extended(Keyframe(1.0), Keyframe(2.0, 0.2, 2), Keyframe(3.0, 0.3)).begin(SD, 14.0)
    levels = [SD.sigma_at(share) for share in (0.1, 0.5, 0.5, 0.5, 0.6, 0.6, 0.7)]
    assert [progress.strength_at(level) for level in levels] == [1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strength": float("nan")}, "finite"),
        ({"strength": 1.0, "start": 1.5}, "0 to 1"),
        ({"strength": 1.0, "guaranteed": -1}, "fewer than 0"),
    ],
)
def test_impossible_keyframes_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Keyframe(**given)


def test_impossible_series_are_refused() -> None:
    for strengths_given, start, end, message in (([], 0.0, 1.0, "no strengths"), ([1.0], 0.8, 0.2, "Swap")):
        with pytest.raises(ValueError, match=message):
            spread(strengths_given, start, end)
    with pytest.raises(ValueError, match="choose linear"):
        interpolated(0.0, 1.0, 3, "cubic")
    with pytest.raises(ValueError, match="2 keyframes"):
        interpolated(0.0, 1.0, 1, "linear")


@pytest.mark.parametrize("strength", [1.0, -0.4])
def test_hooks_on_all_prompts_are_the_lora_on_the_model(strength: float, tmp_path: Path) -> None:
    patched, _ = apply_lora(model(), None, lora(tmp_path, 1), strength_model=strength, strength_clip=0.0)
    assert patched is not None
    hooks = group(tmp_path, 1, strength)
    found = sampled(model(), hooked(prompt("positive"), hooks), hooked(NEGATIVE, hooks))
    torch.testing.assert_close(found, sampled(patched, prompt("positive")))


def test_hooks_of_no_strength_change_nothing(tmp_path: Path) -> None:
    plain = sampled(model(), prompt("positive"))
    for hooks in (group(tmp_path, 1, 0.0), group(tmp_path, 1, 1.0, (0.0, 0.0)), HookGroup(), None):
        torch.testing.assert_close(sampled(model(), hooked(prompt("positive"), hooks)), plain)


@dataclass(eq=False)
class Counting(Runtime):
    """A runtime that knows the UNets that it has given, and how many of them live. calls: rows of each UNet call."""

    given: weakref.WeakSet[nn.Module] = field(default_factory=weakref.WeakSet)
    most: int = 0
    made: int = 0

    def __post_init__(self) -> None:
        super().__init__(Placement(pack=False))

    def unet(self, model: Model) -> UNet:
        network = super().unet(model)
        if network not in self.given:
            self.made += 1
            self.given.add(network)
        gc.collect()
        self.most = max(self.most, len(self.given))
        return network


def test_memory_does_not_grow_with_the_number_of_strengths(tmp_path: Path) -> None:
    runtime = Counting()
    easing = group(tmp_path).scheduled(Keyframes().extended(*spread([i / 5 for i in range(1, 6)], 0.0, 0.9)))
    sampled(replace(model(), runtime=runtime), hooked(prompt("positive"), easing), steps=5)
    assert runtime.made >= 5
    assert runtime.most == 2


def test_what_no_hook_changes_is_shared_with_the_plain_network(tmp_path: Path) -> None:
    name = "input_blocks.1.1.transformer_blocks.0.attn1.to_q"
    tensors = {
        f"diffusion_model.{name}.lora_{side}.weight": torch.ones(*shape)
        for side, shape in (("down", (2, 32)), ("up", (32, 2)))
    }
    path = lora_samples.write(tmp_path / "one.safetensors", tensors)
    value = model()
    hooks = HookGroup((Hook(LoraChange(read_lora(path))),))
    positive = hooked(prompt("positive"), hooks)
    begun = begin_hooks([positive, NEGATIVE], value, torch.tensor([14.0, 0.0]))
    assert begun is not None
    plain = value.runtime.unet(value)
    asked: list[Model] = []
    unet = value.runtime.unet

    def noting(model: Model) -> UNet:
        asked.append(model)
        return unet(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(value.runtime, "unet", noting)
        reader = begun(positive.entries[0], 14.0)
        assert reader is not None
        reader.prompt([positive.entries[0].embedding], torch.zeros(1, 4, 8, 8))
    variant = unet(asked[0])
    assert begun(NEGATIVE.entries[0], 14.0) is None
    different = {
        key
        for key, tensor in variant.state_dict().items()
        if tensor.data_ptr() != plain.state_dict()[key].data_ptr()
    }
    assert different == {f"{name}.weight"}


def rows_of_calls(positive: Conditioning, negative: Conditioning) -> list[int]:
    rows: list[int] = []
    forward = UNet.forward

    def spy(self: UNet, x: Tensor, timesteps: Tensor, context: Any, *rest: Any) -> Tensor:
        rows.append(len(context.context))
        return forward(self, x, timesteps, context, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UNet, "forward", spy)
        sampled(model(), positive, negative, steps=1)
    return rows


def test_prompts_of_different_hooks_are_read_apart_and_of_the_same_at_once(tmp_path: Path) -> None:
    one, other = group(tmp_path, 1), group(tmp_path, 2)
    positive = prompt("positive")
    assert rows_of_calls(positive, NEGATIVE) == [2]
    assert rows_of_calls(hooked(positive, one), hooked(NEGATIVE, one)) == [2]
    assert rows_of_calls(hooked(positive, one), NEGATIVE) == [1, 1]
    assert rows_of_calls(hooked(positive, one), hooked(NEGATIVE, other)) == [1, 1]


def test_a_change_in_two_groups_counts_once(tmp_path: Path) -> None:
    one, other = group(tmp_path, 1), group(tmp_path, 2)
    assert one.joined(one) is one
    assert len(one.joined(other).joined(one.scheduled(Keyframes((Keyframe(0.5),)))).hooks) == 2
    twice = hooked(hooked(prompt("positive"), one), other)
    both = hooked(prompt("positive"), one.joined(other))
    torch.testing.assert_close(sampled(model(), twice), sampled(model(), both))


def test_a_lora_for_another_model_is_refused_by_its_file(tmp_path: Path) -> None:
    tensors = {
        "diffusion_model.input_blocks.1.1.proj_in.lora_down.weight": torch.ones(2, 7),
        "diffusion_model.input_blocks.1.1.proj_in.lora_up.weight": torch.ones(9, 2),
    }
    change = LoraChange(read_lora(lora_samples.write(tmp_path / "other.safetensors", tensors)))
    with pytest.raises(LoraError, match=r"other\.safetensors"):
        sampled(model(), hooked(prompt("positive"), HookGroup((Hook(change),))))


def test_a_checkpoint_of_another_size_is_refused() -> None:
    change = ModelChange(lora_samples.model(), lora_samples.clip())
    with pytest.raises(ValueError, match="different sizes"):
        sampled(model(), hooked(prompt("positive"), HookGroup((Hook(change),))))
    wide = replace(model(), config=replace(model().config, in_channels=9))
    with pytest.raises(ValueError, match="4 channels and this model 9"):
        ModelChange(model(), lora_samples.clip()).on_model(wide)


def text_hooks(folder: Path, *frames: tuple[float, float]) -> HookGroup:
    tensors = lora_samples.named(lora_samples.text_factors(), lora_samples.kohya_text)
    change = LoraChange(read_lora(lora_samples.write(folder / "text.safetensors", tensors)))
    made = HookGroup((Hook(change, 1.0, 0.8),))
    return made.scheduled(Keyframes().extended(*(Keyframe(*frame) for frame in frames))) if frames else made


def test_a_text_encoder_with_hooks_encodes_as_with_the_lora(tmp_path: Path) -> None:
    plain, hooks = lora_samples.clip(), text_hooks(tmp_path, (0.5, 0.0), (0.0, 0.6))
    change = hooks.hooks[0].change
    assert isinstance(change, LoraChange)

    def with_lora(strength: float) -> Tensor:
        _, patched = apply_lora(None, plain, change.lora, strength_model=0.0, strength_clip=strength)
        assert patched is not None
        return encode(patched, "abc").entries[0].embedding

    (entry,) = encode(replace(plain, hooks=ClipHooks(hooks)), "abc").entries
    torch.testing.assert_close(entry.embedding, with_lora(0.8))
    assert entry.hooks is hooks
    early, late = encode(replace(plain, hooks=ClipHooks(hooks, False, True)), "abc").entries
    torch.testing.assert_close(early.embedding, with_lora(0.4))
    torch.testing.assert_close(late.embedding, with_lora(0.0))
    assert (early.scope.text_range, late.scope.text_range) == ((0.0, 0.6), (0.6, 1.0))
    assert early.hooks is late.hooks is None


def test_a_limit_of_memory_holds_for_hooked_networks_too(tmp_path: Path) -> None:
    limited = replace(model(), runtime=Runtime(Placement(pack=False, memory_limit=16 << 30)))
    hooks = group(tmp_path, 1, 1.0, (1.0, 0.0), (-0.5, 0.3), (0.2, 0.6))
    positive = hooked(prompt("positive"), hooks)
    torch.testing.assert_close(sampled(limited, positive), sampled(model(), positive))
