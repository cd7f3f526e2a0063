"""The nodes that trade picture for time: each saves the work that it says, and set to nothing changes nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffusion.checkpoints.checkpoint import Checkpoint, load_checkpoint
from diffusion.model import Model
from diffusion.runtime import Runtime
from diffusion.sampling.sample import sample
from diffusion.text.encode import encode
from diffusion.types import Latent
from nodes.speed import apply_fb_cache_on_model, deep_cache, guidance_interval, tome_patch_model

ROOT = Path(__file__).parents[2]
STEPS = 6


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(ROOT / "models" / "checkpoints" / "weft-tiny.safetensors", Runtime())


@pytest.fixture(scope="module")
def plain(checkpoint: Checkpoint) -> Tensor:
    return drawn(checkpoint, checkpoint.model)


def drawn(checkpoint: Checkpoint, model: Model, sampler: str = "euler") -> Tensor:
    return sample(
        model,
        positive=encode(checkpoint.clip, "a red circle on a white background"),
        negative=encode(checkpoint.clip, ""),
        latent=Latent(torch.zeros(1, 4, 16, 16)),
        seed=3,
        steps=STEPS,
        cfg=5.0,
        sampler_name=sampler,
        scheduler="normal",
    ).samples


@contextmanager
def watched(model: Model, part: str) -> Iterator[list[torch.Size]]:
    """The shapes of what a part of the model's UNet gives, call by call."""
    shapes: list[torch.Size] = []
    module = model.runtime.unet(model).get_submodule(part)
    handle = module.register_forward_hook(lambda _, __, result: shapes.append(result.shape))
    yield shapes
    handle.remove()


def difference(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    "node",
    [
        lambda model: tome_patch_model(model=model, ratio=0.0),
        lambda model: deep_cache(model=model, cache_interval=1),
        lambda model: deep_cache(model=model, cache_interval=3, start_step=0, end_step=0),
        lambda model: deep_cache(model=model, cache_interval=3, cache_depth=12),
        lambda model: apply_fb_cache_on_model(model=model, residual_diff_threshold=0.0),
        lambda model: guidance_interval(model=model, start_percent=0.0, end_percent=1.0),
    ],
)
def test_set_to_nothing_changes_nothing(
    checkpoint: Checkpoint, plain: Tensor, node: Callable[[Model], Model]
) -> None:
    assert difference(drawn(checkpoint, node(checkpoint.model)), plain) < 1e-4


def test_a_model_stays_as_it_was(checkpoint: Checkpoint, plain: Tensor) -> None:
    drawn(checkpoint, deep_cache(model=tome_patch_model(model=checkpoint.model, ratio=0.5), cache_interval=2))
    assert torch.equal(drawn(checkpoint, checkpoint.model), plain)


def test_deep_cache_computes_the_middle_on_every_nth_step(checkpoint: Checkpoint, plain: Tensor) -> None:
    model = deep_cache(model=checkpoint.model, cache_interval=3, cache_depth=2)
    with watched(model, "middle_block") as middle, watched(model, "input_blocks.2") as shallow:
        found = drawn(checkpoint, model)
    assert (len(middle), len(shallow)) == (STEPS // 3, STEPS)
    assert 1e-3 < difference(found, plain) < 0.2


def test_deep_cache_serves_a_sampler_that_calls_twice_a_step(checkpoint: Checkpoint) -> None:
    model = deep_cache(model=checkpoint.model, cache_interval=2)
    with watched(model, "middle_block") as middle:
        found = drawn(checkpoint, model, "heun")
    assert len(middle) == STEPS  # of 2 * STEPS - 1 calls
    assert difference(found, drawn(checkpoint, checkpoint.model, "heun")) < 0.3


def test_the_first_block_decides(checkpoint: Checkpoint, plain: Tensor) -> None:
    model = apply_fb_cache_on_model(model=checkpoint.model, residual_diff_threshold=0.3)
    with watched(model, "middle_block") as middle, watched(model, "input_blocks.1") as first:
        found = drawn(checkpoint, model)
    assert 0 < len(middle) < len(first) == STEPS
    assert 1e-3 < difference(found, plain) < 0.3
    never = apply_fb_cache_on_model(
        model=checkpoint.model, residual_diff_threshold=0.3, max_consecutive_cache_hits=0
    )
    with watched(never, "middle_block") as middle:
        drawn(checkpoint, never)
    assert len(middle) == STEPS


def test_token_merging_projects_fewer_tokens(checkpoint: Checkpoint, plain: Tensor) -> None:
    model = tome_patch_model(model=checkpoint.model, ratio=0.5)
    finest = "input_blocks.1.1.transformer_blocks.0.attn1.to_q"
    with watched(model, finest) as merged, watched(model, finest.replace("attn1", "attn2")) as whole:
        found = drawn(checkpoint, model)
    assert {shape[1] for shape in merged} == {128}
    assert {shape[1] for shape in whole} == {256}
    assert 1e-3 < difference(found, plain) < 0.3


def test_outside_of_the_interval_one_prompt_is_computed(checkpoint: Checkpoint, plain: Tensor) -> None:
    """Six steps at the timesteps 999, 799.2, ... 0: the second, third and fourth lie within."""
    model = guidance_interval(model=checkpoint.model, start_percent=0.1, end_percent=0.65)
    with watched(model, "out") as results:
        found = drawn(checkpoint, model)
    assert [shape[0] for shape in results] == [1, 2, 2, 2, 1, 1]
    assert difference(found, plain) > 1e-2


def test_they_work_together(checkpoint: Checkpoint, plain: Tensor) -> None:
    model = guidance_interval(model=checkpoint.model, start_percent=0.0, end_percent=0.5)
    model = tome_patch_model(model=deep_cache(model=model, cache_interval=2), ratio=0.3)
    found = drawn(checkpoint, model)
    assert torch.isfinite(found).all()
    assert 1e-3 < difference(found, plain) < 0.5


@pytest.mark.parametrize(
    "node",
    [
        lambda model: tome_patch_model(model=model, ratio=1.5),
        lambda model: deep_cache(model=model, cache_interval=0),
        lambda model: deep_cache(model=model, start_step=900, end_step=100),
        lambda model: apply_fb_cache_on_model(model=model, residual_diff_threshold=-1.0),
        lambda model: guidance_interval(model=model, start_percent=0.8, end_percent=0.2),
    ],
)
def test_settings_out_of_bounds_are_refused(checkpoint: Checkpoint, node: Callable[[Model], Model]) -> None:
    with pytest.raises(ValueError, match="got"):
        node(checkpoint.model)
