"""Nodes that change what the UNet computes: set to nothing they change nothing, in a run they change the picture."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.config import UNetConfig
from diffusion.model import Clip, Model
from diffusion.networks.attachments import NO_HOOKS, Call
from diffusion.networks.unet import UNet
from diffusion.patches import patched_weight
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from diffusion.sampling.sample import sample
from diffusion.types import Cond, Conditioning, Latent
from tests.diffusion.lora_samples import clip
from tests.diffusion.reference import random_weights
from tests.nodes.toys import call

CONFIG = UNetConfig(
    channels=(16, 32, 64), attention=(True, True, False), blocks=1, context_dim=24, num_heads=2, norm_groups=8
)
WEIGHTS = random_weights(lambda: UNet(CONFIG))
Patch = Callable[[Model], Model]


def patch(name: str, **inputs: Any) -> Patch:
    return lambda model: call(name, model=model, **inputs)


@pytest.fixture(scope="module")
def plain() -> Model:
    return Model(WEIGHTS, CONFIG, Runtime(Placement(pack=False)))


def prompt(seed: int) -> Conditioning:
    embedding = torch.randn(1, 77, CONFIG.context_dim, generator=torch.Generator().manual_seed(seed))
    return Conditioning((Cond(embedding),))


def drawn(model: Model) -> Tensor:
    return sample(
        model,
        positive=prompt(1),
        negative=prompt(2),
        latent=Latent(torch.zeros(1, 4, 16, 16)),
        seed=3,
        steps=2,
        cfg=3.0,
        sampler_name="euler",
        scheduler="normal",
    ).samples


NOTHING: dict[str, Patch] = {
    "FreeU": patch("FreeU", b1=1.0, b2=1.0, s1=1.0, s2=1.0),
    "FreeU_V2": patch("FreeU_V2", b1=1.0, b2=1.0, s1=1.0, s2=1.0),
    "PerturbedAttentionGuidance": patch("PerturbedAttentionGuidance", scale=0.0),
    "SelfAttentionGuidance": patch("SelfAttentionGuidance", scale=0.0),
    "HyperTile": patch("HyperTile", tile_size=2048),
    "deep shrink": patch("PatchModelAddDownscale", downscale_factor=1.0),
    "deep shrink, never": patch("PatchModelAddDownscale", start_percent=1.0, end_percent=1.0),
    "self": patch("UNetSelfAttentionMultiply"),
    "cross": patch("UNetCrossAttentionMultiply"),
}
SOMETHING: dict[str, Patch] = {
    "FreeU": patch("FreeU"),
    "FreeU_V2": patch("FreeU_V2"),
    "PerturbedAttentionGuidance": patch("PerturbedAttentionGuidance"),
    "SelfAttentionGuidance": patch("SelfAttentionGuidance", scale=2.0),
    "HyperTile": patch("HyperTile", tile_size=32),
    "deep shrink": patch("PatchModelAddDownscale", block_number=2, end_percent=1.0),
    "deep shrink, bislerp": patch(
        "PatchModelAddDownscale",
        block_number=1,
        end_percent=1.0,
        downscale_after_skip=False,
        downscale_method="bislerp",
        upscale_method="area",
    ),
    "self": patch("UNetSelfAttentionMultiply", q=0.0),
    "cross": patch("UNetCrossAttentionMultiply", v=2.0),
}


@pytest.mark.parametrize("name", NOTHING)
def test_set_to_nothing_changes_nothing(plain: Model, name: str) -> None:
    torch.testing.assert_close(drawn(NOTHING[name](plain)), drawn(plain), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", SOMETHING)
def test_it_changes_what_is_drawn_and_leaves_the_model_as_it_was(plain: Model, name: str) -> None:
    before = drawn(plain)
    found = drawn(SOMETHING[name](plain))
    assert torch.isfinite(found).all()
    assert float((found - before).norm() / before.norm()) > 1e-3
    assert torch.equal(drawn(plain), before)


def test_all_together(plain: Model) -> None:
    model = plain
    for one in SOMETHING.values():
        model = one(model)
    assert torch.isfinite(drawn(model)).all()


def test_deep_shrink_has_a_part_of_the_run(plain: Model) -> None:
    model = call("PatchModelAddDownscale", model=plain, start_percent=0.2, end_percent=0.6)
    (attachment,) = model.attachments
    early, middle, late = (plain.schedule.sigma_at(share) for share in (0.1, 0.4, 0.7))
    hooks = attachment.begin()
    x = torch.zeros(1, 4, 8, 8)
    given = [hooks(Call(x, sigma, (0,))) is not NO_HOOKS for sigma in (early, middle, late)]
    assert given == [False, True, False]


@pytest.mark.parametrize(
    ("name", "layer"), [("UNetSelfAttentionMultiply", "attn1"), ("UNetCrossAttentionMultiply", "attn2")]
)
def test_projections_are_multiplied(plain: Model, name: str, layer: str) -> None:
    model = call(name, model=plain, q=0.5, k=2.0, v=3.0, out=0.25)
    factors = {"to_q": 0.5, "to_k": 2.0, "to_v": 3.0, "to_out.0": 0.25}
    check(model, {f"{layer}.{projection}": factor for projection, factor in factors.items()}, 7 * 5)


def test_the_text_encoders_projections_are_multiplied() -> None:
    words = call("CLIPAttentionMultiply", clip=clip(), q=0.5, k=2.0, v=3.0, out=0.25)
    factors = {"q_proj": 0.5, "k_proj": 2.0, "v_proj": 3.0, "out_proj": 0.25}
    named = {f"self_attn.{projection}": factor for projection, factor in factors.items()}
    check(words, named, 2 * 4 * 2)
    same = clip()
    assert call("CLIPAttentionMultiply", clip=same) is same


def check(value: Model | Clip, factors: dict[str, float], count: int) -> None:
    """Every weight whose module is named in `factors`, `count` in all, is multiplied so, and no other."""
    multiplied = 0
    for key, tensor in value.weights.items():
        module = key.rpartition(".")[0]
        factor = next((factor for name, factor in factors.items() if module.endswith(name)), None)
        found = patched_weight(key, tensor, value.patches)
        assert torch.equal(found, tensor if factor is None else tensor * factor), key
        multiplied += factor is not None
    assert multiplied == count


def test_bad_settings_are_refused_in_words(plain: Model) -> None:
    flat = replace(plain, config=replace(CONFIG, channels=(16,), attention=(True,)))
    for name in ("FreeU", "FreeU_V2"):
        with pytest.raises(ValueError, match="smaller than the latent"):
            call(name, model=flat)
    with pytest.raises(ValueError, match="numbered 0 to 5, and block_number is 6"):
        call("PatchModelAddDownscale", model=plain, block_number=6)
    with pytest.raises(ValueError, match=r"got 0\.8 to 0\.2"):
        call("PatchModelAddDownscale", model=plain, start_percent=0.8, end_percent=0.2)
    with pytest.raises(ValueError, match="tile_size"):
        call("HyperTile", model=plain, tile_size=0)
