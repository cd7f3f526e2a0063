"""Nodes that trade a little of the picture for time. docs/performance.md has what each saves and what it loses."""

from dataclasses import replace
from typing import Annotated

from diffusion.approximations.feature_reuse import EveryNth, FeatureReuse, WhileAlike
from diffusion.approximations.token_merging import TokenMerging
from diffusion.approximations.window import Window
from diffusion.model import Model
from diffusion.networks.compiling import BACKENDS, CompilationError, check_backend
from graph import Choice, Range, node

CATEGORY = "model_patches/unet"
WHOLE_UNET = "diffusion_model"
SCHEDULE_STEPS = 1000
Share = Annotated[float, Range(0, 1, step=0.01)]
ScheduleStep = Annotated[int, Range(0, SCHEDULE_STEPS)]


@node("TomePatchModel", title="Token Merging", category=CATEGORY)
def tome_patch_model(
    *,
    model: Model,
    ratio: Share = 0.3,
    max_downsample: Annotated[str, Choice(("1", "2", "4", "8"))] = "1",
) -> Model:
    """Merge tokens that are alike before self-attention (Bolya and Hoffman, 2023): faster on large pictures.

    Below about 512x512 attention is a small part of the work, and finding what is alike costs as much as it saves.

    Inputs:
        model: The model.
        ratio: The share of the tokens to merge; 0 merges none, more than 0.75 can't be merged.
        max_downsample: Up to which level: 1 for the finest alone, 2 for the next as well, up to 8 for all.

    Outputs:
        MODEL: The model with token merging.
    """
    return model.attached(TokenMerging(ratio, int(max_downsample))) if ratio > 0 else model


@node("DeepCache", title="DeepCache", category=CATEGORY)
def deep_cache(
    *,
    model: Model,
    cache_interval: Annotated[int, Range(1, 1000)] = 3,
    cache_depth: Annotated[int, Range(0, 12)] = 3,
    start_step: ScheduleStep = 0,
    end_step: ScheduleStep = SCHEDULE_STEPS,
) -> Model:
    """Compute the deep part of the UNet on some steps only and reuse what it gave on the others (Ma et al., 2023).

    Inputs:
        model: The model.
        cache_interval: Compute it on every so many steps; 1 computes it on all.
        cache_depth: How many of the UNet's stages are computed on every step, beside the first: 0 is the fastest.
        start_step: From where in the schedule to reuse, in thousandths of it, 0 being the noisiest level.
        end_step: Up to where in the schedule to reuse, 1000 being its end.

    Outputs:
        MODEL: The model with reuse.
    """
    window = Window.of(model.schedule, start_step / SCHEDULE_STEPS, end_step / SCHEDULE_STEPS)
    return model.attached(FeatureReuse(cache_depth, EveryNth(cache_interval), window))


@node("ApplyFBCacheOnModel", title="First Block Cache", category=CATEGORY)
def apply_fb_cache_on_model(
    *,
    model: Model,
    object_to_patch: Annotated[str, Choice((WHOLE_UNET,))] = WHOLE_UNET,
    residual_diff_threshold: Annotated[float, Range(0, 1, step=0.001)] = 0.12,
    start: Share = 0.0,
    end: Share = 1.0,
    max_consecutive_cache_hits: Annotated[int, Range(-1, 1000)] = -1,
) -> Model:
    """Reuse what the UNet gave on an earlier step for as long as what its first block gives has hardly changed.

    Inputs:
        model: The model.
        object_to_patch: What to apply it to: the UNet.
        residual_diff_threshold: Reuse while the first block's result has changed by less than this share; 0 never does.
        start: From where in the schedule to reuse, 0 being the noisiest level.
        end: Up to where in the schedule to reuse, 1 being its end.
        max_consecutive_cache_hits: How often in a row at most; -1 for any number.

    Outputs:
        MODEL: The model with reuse.
    """
    most = None if max_consecutive_cache_hits < 0 else max_consecutive_cache_hits
    policy = WhileAlike(residual_diff_threshold, most)
    return model.attached(FeatureReuse(1, policy, Window.of(model.schedule, start, end)))


@node("GuidanceInterval", title="Guidance in an Interval", category=CATEGORY)
def guidance_interval(*, model: Model, start_percent: Share = 0.2, end_percent: Share = 0.8) -> Model:
    """Apply guidance in part of the steps only (Kynkäänniemi et al., 2024); the others take half the time.

    Outside the interval the positive prompt alone is followed, as with a cfg of 1.

    Inputs:
        model: The model.
        start_percent: From where in the schedule to guide, 0 being the noisiest level.
        end_percent: Up to where in the schedule to guide, 1 being its end.

    Outputs:
        MODEL: The model with guidance in the interval.
    """
    window = Window.of(model.schedule, start_percent, end_percent)
    return replace(model, guided=(window.highest, window.lowest))


@node("TorchCompileModel", category="_for_testing")
def torch_compile_model(*, model: Model, backend: Annotated[str, Choice(BACKENDS)] = BACKENDS[0]) -> Model:
    """Run the UNet's repeated blocks through PyTorch's compiler: the same picture, up to rounding.

    The first step takes as long as compiling does, which is minutes for a full-size model on a few cores, and a change
    of size may compile again. On a processor the kernels that Weft brings are the faster ones; this is for graphics
    cards.

    Inputs:
        model: The model.
        backend: inductor writes kernels, for which it needs a C++ compiler on a processor, and triton on a graphics
            card; cudagraphs replays recorded calls on a CUDA device.

    Outputs:
        MODEL: The model, compiled when it is first sampled with.
    """
    placement = model.runtime.placement
    if placement.memory_limit is not None:
        raise CompilationError(
            "TorchCompileModel needs the whole model in memory, and --memory-limit lets it come in parts. Take one of "
            "the two out."
        )
    check_backend(backend, placement.device)
    return replace(model, compiled=backend)
