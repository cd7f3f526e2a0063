"""The nodes that make hooks, say how strong they are along a run, and put them on prompts and text encoders."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.hooks.changes import LoraChange, ModelChange
from diffusion.hooks.group import HookGroup
from diffusion.hooks.keyframes import Keyframes
from diffusion.lora.read import LoraError
from diffusion.model import Clip
from diffusion.patches import patched_weight
from diffusion.sampling.sample import sample
from diffusion.types import Conditioning, Mask, Weights
from graph import Folders
from tests.diffusion import lora_samples
from tests.diffusion.hook_samples import empty, lora, lora_tensors, model, prompt
from tests.nodes.toys import call

ROOT = Path(__file__).parents[2]


class Here:
    """What nodes see of their surroundings: one folder of files."""

    def __init__(self, folder: Path) -> None:
        self.folders = Folders(models=(folder, ROOT / "models"))

    def service(self, kind: type, make: Any) -> Any:
        return make()


@pytest.fixture
def here(tmp_path: Path) -> Here:
    (tmp_path / "loras").mkdir()
    for seed in (1, 2):
        lora_samples.write(tmp_path / "loras" / f"{seed}.safetensors", lora_tensors(seed))
    return Here(tmp_path)


def hook(here: Here, seed: int = 1, strength: float = 1.0, **given: Any) -> HookGroup:
    made: HookGroup = call(
        "CreateHookLora",
        lora_name=f"{seed}.safetensors",
        strength_model=strength,
        strength_clip=0.5,
        ctx=here,
        **given,
    )
    return made


def strengths(hooks: HookGroup) -> list[tuple[float, float]]:
    return [(hook.strength_model, hook.strength_clip) for hook in hooks.hooks]


def frames(keyframes: Keyframes) -> list[tuple[float, float, int]]:
    return [(frame.strength, round(frame.start, 5), frame.guaranteed) for frame in keyframes.frames]


def sampled(positive: Conditioning, negative: Conditioning | None = None) -> Tensor:
    return sample(
        model(),
        positive=positive,
        negative=prompt("negative") if negative is None else negative,
        latent=empty(),
        seed=1,
        steps=2,
        cfg=3.0,
        sampler_name="euler",
        scheduler="normal",
    ).samples


def test_hooks_are_made_and_chained(here: Here) -> None:
    one = hook(here)
    both = hook(here, 2, -0.5, prev_hooks=one)
    assert strengths(both) == [(1.0, 0.5), (-0.5, 0.5)]
    only = call("CreateHookLoraModelOnly", lora_name="1.safetensors", strength_model=0.3, ctx=here)
    assert strengths(only) == [(0.3, 0.0)]
    nothing = call(
        "CreateHookLora",
        lora_name="1.safetensors",
        strength_model=0.0,
        strength_clip=0.0,
        prev_hooks=one,
        ctx=here,
    )
    assert nothing is one


def test_strengths_that_are_no_numbers_are_refused(here: Here) -> None:
    with pytest.raises(ValueError, match="strength_model is a finite number"):
        hook(here, strength=float("inf"))


def test_what_is_no_lora_is_refused(here: Here) -> None:
    lora_samples.write(here.folders.models[0] / "loras" / "junk.safetensors", {"a": torch.ones(1)})
    with pytest.raises(LoraError, match="not a LoRA"):
        call("CreateHookLora", lora_name="junk.safetensors", ctx=here)


def test_combining(here: Here) -> None:
    one, two = hook(here), hook(here, 2)
    for count in (2, 4, 8):
        last = "ABCDEFGH"[count - 1]
        both = call(f"CombineHooks{count}", **{"hooks_A": two, f"hooks_{last}": one})
        assert both.hooks == (*two.hooks, *one.hooks)
        assert call(f"CombineHooks{count}", hooks_A=one, hooks_B=one).hooks == one.hooks
        assert call(f"CombineHooks{count}").hooks == ()


def test_keyframes_are_set_on_all_hooks_in_step(here: Here) -> None:
    made = call("CreateHookKeyframe", strength_mult=0.5, start_percent=0.4)
    made = call("CreateHookKeyframe", strength_mult=2.0, start_percent=0.1, prev_hook_kf=made)
    assert frames(made) == [(2.0, 0.1, 1), (0.5, 0.4, 1)]
    hooks = hook(here, 2, prev_hooks=hook(here))
    first, second = call("SetHookKeyframes", hooks=hooks, hook_kf=made).hooks
    assert first.keyframes is second.keyframes
    assert first.keyframes.frames == made.frames
    assert call("SetHookKeyframes", hooks=hooks) is hooks


def test_keyframes_in_series(caplog: pytest.LogCaptureFixture) -> None:
    eased = call(
        "CreateHookKeyframesInterpolated",
        strength_start=1.0,
        strength_end=0.0,
        interpolation="ease_in",
        start_percent=0.2,
        end_percent=0.8,
        keyframes_count=3,
    )
    assert frames(eased) == [(1.0, 0.2, 1), (0.75, 0.5, 0), (0.0, 0.8, 0)]
    with caplog.at_level(logging.INFO):
        more = call(
            "CreateHookKeyframesFromFloats",
            floats_strength=[0.5, 2.0],
            start_percent=0.3,
            end_percent=0.9,
            print_keyframes=True,
            prev_hook_kf=eased,
        )
    assert frames(more) == [(1.0, 0.2, 1), (0.5, 0.3, 1), (0.75, 0.5, 0), (0.0, 0.8, 0), (2.0, 0.9, 0)]
    assert "hook keyframe at 0.900: 2.000" in caplog.text
    for floats, start, message in (
        ([], 0.0, "no strengths"),
        ([float("nan")], 0.0, "finite"),
        ([1.0], 0.9, "Swap"),
    ):
        with pytest.raises(ValueError, match=message):
            call(
                "CreateHookKeyframesFromFloats", floats_strength=floats, start_percent=start, end_percent=0.5
            )


def attachments(hooks: HookGroup) -> Iterator[tuple[str, Conditioning, Conditioning]]:
    """Each node that puts hooks on prompts: what it makes of a pair."""
    new = {"positive_NEW": prompt("positive"), "negative_NEW": prompt("negative"), "hooks": hooks}
    yield "PairConditioningSetProperties", *call("PairConditioningSetProperties", **new)
    yield (
        "ConditioningSetProperties",
        *(
            call("ConditioningSetProperties", cond_NEW=prompt(name), hooks=hooks)
            for name in ("positive", "negative")
        ),
    )


def test_hooks_on_prompts_change_what_is_sampled(here: Here) -> None:
    plain = sampled(prompt("positive"))
    found = [sampled(positive, negative) for _, positive, negative in attachments(hook(here))]
    assert not torch.allclose(found[0], plain, rtol=1e-2)
    torch.testing.assert_close(found[0], found[1])


def test_hooks_are_for_the_new_prompts_alone(here: Here) -> None:
    mask, hooks, other = Mask(torch.eye(8)[None]), hook(here), prompt("other")
    single = call(
        "ConditioningSetPropertiesAndCombine",
        cond=other,
        cond_NEW=prompt("positive"),
        mask=mask,
        hooks=hooks,
    )
    pair = call(
        "PairConditioningSetPropertiesAndCombine",
        positive=other,
        negative=other,
        positive_NEW=prompt("positive"),
        negative_NEW=prompt("negative"),
        mask=mask,
        hooks=hooks,
    )
    default = call("ConditioningSetDefaultCombine", cond=other, cond_DEFAULT=prompt("positive"), hooks=hooks)
    defaults = call(
        "PairConditioningSetDefaultCombine",
        positive=other,
        negative=other,
        positive_DEFAULT=prompt("positive"),
        negative_DEFAULT=prompt("negative"),
        hooks=hooks,
    )
    for made in (single, *pair, default, *defaults):
        assert [entry.hooks for entry in made.entries] == [None, hooks]
    assert single.entries[1].scope.mask is not None
    assert default.entries[1].scope.fallback


def test_hooks_add_up_on_a_prompt(here: Here) -> None:
    one, two = hook(here), hook(here, 2)
    first = call("ConditioningSetProperties", cond_NEW=prompt("positive"), hooks=one)
    both = call("ConditioningSetProperties", cond_NEW=first, hooks=two)
    (entry,) = both.entries
    assert entry.hooks is not None
    assert entry.hooks.hooks == (*one.hooks, *two.hooks)


def clip_with(hooks: HookGroup | None, **given: bool) -> Clip:
    made: Clip = call("SetClipHooks", clip=lora_samples.clip(), hooks=hooks, **given)
    return made


def test_a_text_encoder_puts_its_hooks_on_prompts(here: Here) -> None:
    tensors = lora_samples.named(lora_samples.text_factors(), lora_samples.kohya_text)
    lora_samples.write(here.folders.models[0] / "loras" / "text.safetensors", tensors)
    hooks = call("CreateHookLora", lora_name="text.safetensors", ctx=here)
    late = call("CreateHookKeyframe", strength_mult=0.0, start_percent=0.5)
    kept = call("CreateHookKeyframe", strength_mult=1.0, prev_hook_kf=late)
    hooks = call("SetHookKeyframes", hooks=hooks, hook_kf=kept)

    def said(clip: Clip) -> Conditioning:
        made: Conditioning = call("CLIPTextEncode", text="abc", clip=clip)
        return made

    plain = said(lora_samples.clip()).entries[0].embedding
    (both,) = said(clip_with(hooks)).entries
    assert both.hooks is hooks
    assert not torch.allclose(both.embedding, plain, rtol=1e-2)
    (text_alone,) = said(clip_with(hooks, apply_to_conds=False)).entries
    assert text_alone.hooks is None
    torch.testing.assert_close(text_alone.embedding, both.embedding)
    early, later = said(clip_with(hooks, schedule_clip=True)).entries
    torch.testing.assert_close(early.embedding, both.embedding)
    torch.testing.assert_close(later.embedding, plain)
    for clip in (clip_with(None), clip_with(HookGroup())):
        torch.testing.assert_close(said(clip).entries[0].embedding, plain)


def test_a_range_narrows_what_a_text_was_encoded_for(here: Here) -> None:
    (entry,) = prompt("positive").entries
    encoded = Conditioning((replace(entry, scope=replace(entry.scope, text_range=(0.5, 1.0))),))
    ranged = call("ConditioningSetTimestepRange", conditioning=encoded, start=0.0, end=0.8)
    plain = call("ConditioningSetTimestepRange", conditioning=prompt("positive"), start=0.5, end=0.8)
    torch.testing.assert_close(sampled(ranged), sampled(plain))


def test_prompt_schedules_and_batches_carry_hooks_too(here: Here) -> None:
    change = LoraChange(lora(here.folders.models[0], 1))
    hooks = HookGroup((replace(hook(here).hooks[0], change=change, strength_clip=0.0),))
    scheduled = call("CLIPTextEncodeScheduled", text="[a:b:0.5]", clip=clip_with(hooks), steps=4)
    assert [entry.hooks for entry in scheduled.entries] == [hooks, hooks]


def test_another_checkpoint_at_full_strength_is_that_checkpoint(here: Here) -> None:
    hooks = call("CreateHookModelAsLora", ckpt_name="weft-tiny.safetensors", strength_clip=0.5, ctx=here)
    assert strengths(hooks) == [(1.0, 0.5)]
    only = call("CreateHookModelAsLoraModelOnly", ckpt_name="weft-tiny.safetensors", ctx=here)
    assert strengths(only) == [(1.0, 0.0)]
    change = hooks.hooks[0].change
    assert isinstance(change, ModelChange)
    empty_model = replace(change.model, weights=zeros(change.model.weights))
    empty_clip = replace(change.clip, weights=zeros(change.clip.weights))
    for own, patches in (
        (change.model, change.on_model(empty_model)(0.25)),
        (change.clip, change.on_clip(empty_clip)(0.25)),
    ):
        key, weight = next((key, weight) for key, weight in own.weights.items() if weight.ndim > 1)
        found = patched_weight(key, torch.zeros_like(weight), patches)
        torch.testing.assert_close(found, weight.float() * 0.25)


def zeros(weights: Weights) -> Weights:
    return {name: torch.zeros_like(weight) for name, weight in weights.items()}
