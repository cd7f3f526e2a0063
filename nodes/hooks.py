"""Nodes that make hooks: changes of a model's weights for the prompts that they ride on."""

from dataclasses import replace
from typing import Annotated

from diffusion.checkpoints.checkpoint import load_checkpoint
from diffusion.hooks.changes import LoraChange, ModelChange, check_strength
from diffusion.hooks.group import Change, Hook, HookGroup
from diffusion.hooks.text import ClipHooks
from diffusion.lora.read import read_lora
from diffusion.lora.scale import BESIDE
from diffusion.model import Clip
from diffusion.runtime import Runtime
from graph import QUIET, Context, File, Range, node
from nodes.conditioning_combine import HooksSocket
from nodes.fingerprints import file_stamp

CREATE = "advanced/hooks/create"
COMBINE = "advanced/hooks/combine"
HookStrength = Annotated[float, Range(-20, 20, step=0.01)]


def _hook(change: Change, model: float, clip: float, before: HookGroup | None) -> HookGroup:
    check_strength(model, "strength_model")
    check_strength(clip, "strength_clip")
    return (before or HookGroup()).joined(HookGroup((Hook(change, model, clip),)))


def _lora_stamp(*, lora_name: str, ctx: Context = QUIET) -> str:
    path = ctx.folders.find("loras", lora_name)
    return "\n".join(file_stamp(file) for file in (path, path.with_name(BESIDE)) if file.exists())


def _checkpoint_stamp(*, ckpt_name: str, ctx: Context = QUIET) -> str:
    return file_stamp(ctx.folders.find("checkpoints", ckpt_name))


@node("CreateHookLora", title="Create Hook LoRA", category=CREATE, fingerprint=_lora_stamp)
def create_hook_lora(
    *,
    lora_name: Annotated[str, File("loras")],
    strength_model: HookStrength = 1.0,
    strength_clip: HookStrength = 1.0,
    prev_hooks: HooksSocket | None = None,
    ctx: Context = QUIET,
) -> HooksSocket:
    """A LoRA for some prompts alone, and by keyframes for parts of a run (see SetHookKeyframes).

    Put it on prompts with ConditioningSetProperties, or on all that a text encoder reads with SetClipHooks. Prompts
    with different hooks are read by the model one after the other, so two of them take as long as two runs.

    Inputs:
        lora_name: The file, relative to a loras folder.
        strength_model: How strongly it changes the model; may be negative.
        strength_clip: How strongly it changes a text encoder that the hook is set on.
        prev_hooks: Hooks to go before it.

    Outputs:
        HOOKS: These hooks and the new one; with both strengths 0, these alone.
    """
    if strength_model == 0 and strength_clip == 0:
        return prev_hooks or HookGroup()
    lora = read_lora(ctx.folders.find("loras", lora_name))
    return _hook(LoraChange(lora), strength_model, strength_clip, prev_hooks)


@node("CreateHookLoraModelOnly", title="Create Hook LoRA (MO)", category=CREATE, fingerprint=_lora_stamp)
def create_hook_lora_model_only(
    *,
    lora_name: Annotated[str, File("loras")],
    strength_model: HookStrength = 1.0,
    prev_hooks: HooksSocket | None = None,
    ctx: Context = QUIET,
) -> HooksSocket:
    """A LoRA for some prompts alone that leaves the text encoder as it is (see CreateHookLora).

    Inputs:
        lora_name: The file, relative to a loras folder.
        strength_model: How strongly it changes the model; may be negative.
        prev_hooks: Hooks to go before it.

    Outputs:
        HOOKS: These hooks and the new one.
    """
    return create_hook_lora(
        lora_name=lora_name,
        strength_model=strength_model,
        strength_clip=0.0,
        prev_hooks=prev_hooks,
        ctx=ctx,
    )


@node(
    "CreateHookModelAsLora",
    title="Create Hook Model as LoRA",
    category=CREATE,
    fingerprint=_checkpoint_stamp,
)
def create_hook_model_as_lora(
    *,
    ckpt_name: Annotated[str, File("checkpoints")],
    strength_model: HookStrength = 1.0,
    strength_clip: HookStrength = 1.0,
    prev_hooks: HooksSocket | None = None,
    ctx: Context = QUIET,
) -> HooksSocket:
    """Another checkpoint for some prompts alone: strength 1 draws with its weights, 0.5 half-way to them.

    Inputs:
        ckpt_name: The file, relative to a checkpoints folder; of the same sizes as the model that is sampled with.
        strength_model: How far the model's weights go towards it; may be negative.
        strength_clip: The same for a text encoder that the hook is set on.
        prev_hooks: Hooks to go before it.

    Outputs:
        HOOKS: These hooks and the new one.
    """
    path = ctx.folders.find("checkpoints", ckpt_name)
    loaded = load_checkpoint(path, ctx.service(Runtime, Runtime))
    return _hook(ModelChange(loaded.model, loaded.clip), strength_model, strength_clip, prev_hooks)


@node(
    "CreateHookModelAsLoraModelOnly",
    title="Create Hook Model as LoRA (MO)",
    category=CREATE,
    fingerprint=_checkpoint_stamp,
)
def create_hook_model_as_lora_model_only(
    *,
    ckpt_name: Annotated[str, File("checkpoints")],
    strength_model: HookStrength = 1.0,
    prev_hooks: HooksSocket | None = None,
    ctx: Context = QUIET,
) -> HooksSocket:
    """Another checkpoint's UNet for some prompts alone (see CreateHookModelAsLora).

    Inputs:
        ckpt_name: The file, relative to a checkpoints folder; of the same sizes as the model that is sampled with.
        strength_model: How far the model's weights go towards it; may be negative.
        prev_hooks: Hooks to go before it.

    Outputs:
        HOOKS: These hooks and the new one.
    """
    return create_hook_model_as_lora(
        ckpt_name=ckpt_name,
        strength_model=strength_model,
        strength_clip=0.0,
        prev_hooks=prev_hooks,
        ctx=ctx,
    )


def _joined(*groups: HookGroup | None) -> HookGroup:
    joined = HookGroup()
    for group in groups:
        joined = joined.joined(group)
    return joined


@node("CombineHooks2", title="Combine Hooks [2]", category=COMBINE)
def combine_hooks_2(*, hooks_A: HooksSocket | None = None, hooks_B: HooksSocket | None = None) -> HooksSocket:
    """Apply hooks together. One that is in several groups is applied once, as the first group has it.

    Inputs:
        hooks_A: Hooks.
        hooks_B: Hooks to go after them.

    Outputs:
        HOOKS: All of them.
    """
    return _joined(hooks_A, hooks_B)


@node("CombineHooks4", title="Combine Hooks [4]", category=COMBINE)
def combine_hooks_4(
    *,
    hooks_A: HooksSocket | None = None,
    hooks_B: HooksSocket | None = None,
    hooks_C: HooksSocket | None = None,
    hooks_D: HooksSocket | None = None,
) -> HooksSocket:
    """Apply hooks together (see CombineHooks2).

    Inputs:
        hooks_A: Hooks.
        hooks_B: Hooks to go after them.
        hooks_C: Hooks to go after them.
        hooks_D: Hooks to go after them.

    Outputs:
        HOOKS: All of them.
    """
    return _joined(hooks_A, hooks_B, hooks_C, hooks_D)


@node("CombineHooks8", title="Combine Hooks [8]", category=COMBINE)
def combine_hooks_8(
    *,
    hooks_A: HooksSocket | None = None,
    hooks_B: HooksSocket | None = None,
    hooks_C: HooksSocket | None = None,
    hooks_D: HooksSocket | None = None,
    hooks_E: HooksSocket | None = None,
    hooks_F: HooksSocket | None = None,
    hooks_G: HooksSocket | None = None,
    hooks_H: HooksSocket | None = None,
) -> HooksSocket:
    """Apply hooks together (see CombineHooks2).

    Inputs:
        hooks_A: Hooks.
        hooks_B: Hooks to go after them.
        hooks_C: Hooks to go after them.
        hooks_D: Hooks to go after them.
        hooks_E: Hooks to go after them.
        hooks_F: Hooks to go after them.
        hooks_G: Hooks to go after them.
        hooks_H: Hooks to go after them.

    Outputs:
        HOOKS: All of them.
    """
    return _joined(hooks_A, hooks_B, hooks_C, hooks_D, hooks_E, hooks_F, hooks_G, hooks_H)


@node("SetClipHooks", title="Set CLIP Hooks", category="advanced/hooks/clip")
def set_clip_hooks(
    *,
    clip: Clip,
    apply_to_conds: bool = True,
    schedule_clip: bool = False,
    hooks: HooksSocket | None = None,
) -> Clip:
    """Change a text encoder by hooks, and put them on every prompt that it encodes.

    Inputs:
        clip: The text encoder. Hooks that were set on it before are taken off.
        apply_to_conds: Put the hooks on its prompts, so that they change the model as well.
        schedule_clip: Encode a prompt once for each part of the run whose keyframes differ, with the strengths that
            hold there. Otherwise it is encoded once, without regard to keyframes.
        hooks: The hooks; nothing leaves the text encoder as it is.

    Outputs:
        CLIP: The text encoder with the hooks.
    """
    if hooks is None or not hooks.hooks:
        return clip
    return replace(clip, hooks=ClipHooks(hooks, apply_to_conds, schedule_clip))
