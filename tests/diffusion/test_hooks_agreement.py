"""Hooks over time against what ComfyUI 0.3.64 samples with the same small model, LoRAs, prompts and noise."""

import json
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from diffusion.conditioning.combine import as_fallback, combined, in_mask
from diffusion.hooks.changes import LoraChange, ModelChange
from diffusion.hooks.group import Hook, HookGroup, Scaled, hooked
from diffusion.hooks.keyframes import Keyframe, Keyframes, interpolated, spread
from diffusion.hooks.text import ClipHooks, encoded
from diffusion.lora.apply import apply_lora
from diffusion.model import Clip, Model
from diffusion.sampling.sample import sample
from diffusion.types import Cond, Conditioning, Mask
from tests.diffusion.hook_samples import empty, half_mask, lora, model, prompt
from tests.diffusion.lora_samples import clip
from tests.diffusion.reference import relative_error

DATA = Path(__file__).parents[1] / "data" / "hooks"
RESULTS = load_file(DATA / "results.safetensors")
TABLES: dict[str, Any] = json.loads((DATA / "schedules.json").read_text())
Case = tuple[Model, Conditioning, Conditioning, str, str]
POSITIVE, NEGATIVE = prompt("positive"), prompt("negative")


def keyframes(*pairs: tuple[float, float]) -> Keyframes:
    made = Keyframes()
    for strength, start in pairs:
        made = made.extended(Keyframe(strength, start))
    return made


def hook(folder: Path, seed: int, strength: float = 1.0) -> HookGroup:
    return HookGroup((Hook(LoraChange(lora(folder, seed)), strength, strength),))


def plain(folder: Path) -> Case:
    return model(), POSITIVE, NEGATIVE, "euler", "normal"


def two_strengths(folder: Path) -> Case:
    changing = hook(folder, 1).scheduled(keyframes((1.0, 0.0), (-0.5, 0.4)))
    return model(), hooked(POSITIVE, changing), NEGATIVE, "euler", "normal"


def masked_and_default(folder: Path) -> Case:
    easing = Keyframes().extended(*spread(interpolated(1.5, 0.0, 5, "ease_in"), 0.1, 0.9))
    left, rest = hook(folder, 1, 0.8).scheduled(easing), hook(folder, 2)
    positive, negative = (
        combined(
            in_mask(hooked(each, left), Mask(half_mask()), 1.0, crop=False),
            as_fallback(hooked(prompt("other"), rest)),
        )
        for each in (POSITIVE, NEGATIVE)
    )
    return model(), positive, negative, "euler", "normal"


def guaranteed(folder: Path) -> Case:
    crowded = keyframes((1.0, 0.0), (0.5, 0.30), (-1.0, 0.31), (0.0, 0.32), (2.0, 0.9))
    changing = hook(folder, 1).scheduled(crowded)
    return model(), hooked(POSITIVE, changing), hooked(NEGATIVE, changing), "heun", "karras"


def combined_upon_a_lora(folder: Path) -> Case:
    two = hook(folder, 1).scheduled(keyframes((1.0, 0.0), (-0.5, 0.4)))
    late = hook(folder, 1).scheduled(keyframes((0.0, 0.0), (1.0, 0.5)))
    early = hook(folder, 2, -0.6).scheduled(keyframes((1.0, 0.0), (0.2, 0.35)))
    patched, _ = apply_lora(model(), None, lora(folder, 2), strength_model=0.7, strength_clip=0.0)
    assert patched is not None
    return patched, hooked(POSITIVE, late.joined(early)), hooked(NEGATIVE, two), "euler", "normal"


def model_as_lora(folder: Path) -> Case:
    change = ModelChange(model(1), clip())
    changing = HookGroup((Hook(change, 0.3, 0.0),)).scheduled(keyframes((1.0, 0.0), (0.5, 0.5)))
    return model(), hooked(POSITIVE, changing), NEGATIVE, "dpmpp_2m", "normal"


@pytest.mark.parametrize(
    "case",
    [plain, two_strengths, masked_and_default, guaranteed, combined_upon_a_lora, model_as_lora],
    ids=lambda case: case.__name__,
)
def test_samples_agree(case: Callable[[Path], Case], tmp_path: Path) -> None:
    sampled, positive, negative, sampler, scheduler = case(tmp_path)
    found = sample(
        sampled,
        positive=positive,
        negative=negative,
        latent=empty(),
        seed=5,
        steps=6,
        cfg=3.0,
        sampler_name=sampler,
        scheduler=scheduler,
    )
    assert relative_error(found.samples, RESULTS[case.__name__]) < 1e-4


@pytest.mark.parametrize("table", TABLES["interpolations"], ids=lambda table: str(table["method"]))
def test_interpolations_agree(table: dict[str, Any]) -> None:
    found = interpolated(table["first"], table["last"], table["count"], table["method"])
    assert found == pytest.approx(table["strengths"], abs=1e-6)


@dataclass(frozen=True, eq=False)
class Marked:
    """A patch that changes nothing and says whose it is, and how strong."""

    change: object
    strength: float
    keys: frozenset[str] = frozenset()

    @property
    def identity(self) -> Hashable:
        return (id(self.change), self.strength)

    def apply(self, key: str, weight: Tensor) -> Tensor:
        return weight


class Noted:
    """A change that says at which strength it is asked for."""

    def on_model(self, model: Model) -> Scaled:
        return lambda strength: (Marked(self, strength),)

    def on_clip(self, clip: Clip) -> Scaled:
        return lambda strength: (Marked(self, strength),)


@pytest.mark.parametrize("table", TABLES["schedules"], ids=lambda table: str(table["keyframes"]))
def test_schedules_of_text_encoders_agree(table: dict[str, Any]) -> None:
    changes = [Noted() for _ in table["keyframes"]]
    hooks = tuple(
        Hook(change, 1.0, 1.0, keyframes(*map(tuple, frames)))
        for change, frames in zip(changes, table["keyframes"], strict=True)
    )
    seen = []

    def read(encoder: Clip) -> Cond:
        strengths = {patch.change: patch.strength for patch in encoder.patches if isinstance(patch, Marked)}
        seen.append([strengths.get(change, 0.0) for change in changes])
        return Cond(torch.zeros(1, 77, 1))

    entries = encoded(replace(clip(), hooks=ClipHooks(HookGroup(hooks), scheduled=True)), read)
    assert [[list(entry.scope.text_range), found] for entry, found in zip(entries, seen, strict=True)] == (
        table["parts"]
    )
