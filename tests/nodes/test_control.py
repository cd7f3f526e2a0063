"""Control nodes on the tiny checkpoint, their networks made here: found by name, at work in a sampler, and refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion.checkpoints.checkpoint import Checkpoint, load_checkpoint
from diffusion.config import AdapterConfig, ControlNetConfig
from diffusion.control.model import ControlModel, network_kind
from diffusion.networks.controlnet import ControlNet
from diffusion.runtime import Runtime
from diffusion.sampling.sample import sample
from diffusion.text.encode import encode
from diffusion.types import Conditioning, Image, Latent
from graph import Context, Folders
from nodes.control import (
    control_net_apply,
    control_net_apply_advanced,
    control_net_loader,
    diff_control_net_loader,
    hypernetwork_loader,
)
from tests.diffusion.reference import random_weights

ROOT = Path(__file__).parents[2]
FACTS = {"weft.facts": json.dumps({"unet": {"num_heads": 8, "norm_groups": 32}})}
Prompts = tuple[Conditioning, Conditioning]


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return load_checkpoint(ROOT / "models" / "checkpoints" / "weft-tiny.safetensors", Runtime())


@pytest.fixture(scope="module")
def prompts(checkpoint: Checkpoint) -> Prompts:
    return encode(checkpoint.clip, "a red circle on a white background"), encode(checkpoint.clip, "")


@pytest.fixture(scope="module")
def ctx(tmp_path_factory: pytest.TempPathFactory, checkpoint: Checkpoint) -> Context:
    """Networks of the tiny checkpoint's size under models/."""
    root = tmp_path_factory.mktemp("models")
    unet = checkpoint.model.config
    for kind in ("controlnet", "hypernetworks"):
        (root / kind).mkdir()
    configs = {"net": ControlNetConfig(unet), "adapter": AdapterConfig(unet.channels)}
    for name, config in configs.items():
        weights = random_weights(lambda config=config: network_kind(config)(config))  # type: ignore[misc]
        save_file(weights, root / "controlnet" / f"{name}.safetensors", FACTS)
    width = unet.context_dim
    state = {"linear.0.weight": torch.eye(width), "linear.0.bias": torch.zeros(width)}
    torch.save({width: (state, state)}, root / "hypernetworks" / "double.pt")
    return Context(folders=Folders(models=(root,)))


def load(ctx: Context, name: str = "net") -> ControlModel:
    return control_net_loader(control_net_name=f"{name}.safetensors", ctx=ctx)


def picture(batch: int = 1) -> Image:
    return Image(torch.rand(batch, 128, 128, 3, generator=torch.Generator().manual_seed(0)))


def drawn(checkpoint: Checkpoint, prompts: Sequence[Conditioning], **changes: Any) -> Tensor:
    settings = {"seed": 3, "steps": 3, "cfg": 5.0, "sampler_name": "euler", "scheduler": "normal"}
    return sample(
        **{
            "model": checkpoint.model,
            "positive": prompts[0],
            "negative": prompts[1],
            "latent": Latent(torch.zeros(1, 4, 16, 16)),
            **settings,
            **changes,
        }
    ).samples


def advanced(prompts: Prompts, model: ControlModel, **changes: Any) -> Prompts:
    given = {
        "positive": prompts[0],
        "negative": prompts[1],
        "control_net": model,
        "image": picture(),
        **changes,
    }
    return tuple(control_net_apply_advanced(**given))  # type: ignore[return-value]


@pytest.mark.parametrize("name", ["net", "adapter"])
def test_a_picture_leads_what_is_drawn(
    checkpoint: Checkpoint, prompts: Prompts, ctx: Context, name: str
) -> None:
    model, plain = load(ctx, name), drawn(checkpoint, prompts)
    led = drawn(checkpoint, advanced(prompts, model, strength=0.5))
    other = drawn(checkpoint, advanced(prompts, model, strength=0.5, image=Image(1 - picture())))
    assert (led - plain).norm() > 0.02 * plain.norm()
    assert (led - other).norm() > 5e-4 * plain.norm()


def test_settings_that_leave_nothing_change_nothing(
    checkpoint: Checkpoint, prompts: Prompts, ctx: Context
) -> None:
    model, plain = load(ctx), drawn(checkpoint, prompts)
    assert advanced(prompts, model, strength=0.0) == prompts
    assert (
        control_net_apply(conditioning=prompts[0], control_net=model, image=picture(), strength=0.0)
        is prompts[0]
    )
    # Three steps, at the timesteps 999, 499 and 0: none lies within.
    between = advanced(prompts, model, start_percent=0.1, end_percent=0.2)
    assert torch.equal(drawn(checkpoint, between), plain)


def test_the_older_node_leads_both_prompts(checkpoint: Checkpoint, prompts: Prompts, ctx: Context) -> None:
    model = load(ctx)
    positive = control_net_apply(conditioning=prompts[0], control_net=model, image=picture(), strength=0.5)
    expected = drawn(checkpoint, advanced(prompts, model, strength=0.5, vae=checkpoint.vae))
    assert torch.equal(drawn(checkpoint, (positive, prompts[1])), expected)


def test_strength_types_differ(checkpoint: Checkpoint, prompts: Prompts, ctx: Context) -> None:
    constant = drawn(checkpoint, advanced(prompts, load(ctx), strength=0.5))
    softer = drawn(checkpoint, advanced(prompts, load(ctx), strength=0.5, strength_type="linear_up"))
    assert (softer - constant).norm() > 1e-3 * constant.norm()


def test_a_model_without_control_runs_as_before(
    checkpoint: Checkpoint, prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stands at any place of the UNet."""
    seen: list[bool] = []
    unet = checkpoint.model.runtime.unet(checkpoint.model)
    handle = unet.register_forward_pre_hook(lambda _, given: seen.append(bool(given[3])))
    drawn(checkpoint, prompts)
    handle.remove()
    assert seen == [False] * 3


def test_a_difference_added_to_the_model_is_the_whole_net(
    checkpoint: Checkpoint, prompts: Prompts, ctx: Context, tmp_path: Path
) -> None:
    base, whole = checkpoint.model.weights, load(ctx)
    kept = {
        key: tensor - base[key].float() if key in base else tensor for key, tensor in whole.weights.items()
    }
    (tmp_path / "controlnet").mkdir()
    marked = kept | {"difference": torch.zeros(1)}
    save_file(marked, tmp_path / "controlnet" / "diff.safetensors", FACTS)
    added = diff_control_net_loader(
        model=checkpoint.model,
        control_net_name="diff.safetensors",
        ctx=Context(folders=Folders(models=(tmp_path,))),
    )
    expected = drawn(checkpoint, advanced(prompts, whole, strength=0.5))
    assert (
        drawn(checkpoint, advanced(prompts, added, strength=0.5)) - expected
    ).norm() < 1e-3 * expected.norm()


def test_hypernetworks_change_what_is_drawn(checkpoint: Checkpoint, prompts: Prompts, ctx: Context) -> None:
    def with_strength(strength: float) -> Tensor:
        model = hypernetwork_loader(
            model=checkpoint.model, hypernetwork_name="double.pt", strength=strength, ctx=ctx
        )
        return drawn(checkpoint, prompts, model=model)

    plain = drawn(checkpoint, prompts)
    assert torch.equal(with_strength(0.0), plain)
    assert (with_strength(0.5) - plain).norm() > 1e-3 * plain.norm()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": Image(torch.rand(1, 8, 8, 4))}, "SplitImageWithAlpha"),
        ({"image": Image(torch.rand(8, 8, 3))}, "shape"),
        ({"image": Image(torch.full((1, 8, 8, 3), torch.nan))}, "NaN"),
        ({"start_percent": 0.8, "end_percent": 0.2}, "end not before the start"),
    ],
)
def test_what_does_not_fit_is_said(
    prompts: Prompts, ctx: Context, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        advanced(prompts, load(ctx), **changes)


def test_a_net_of_another_size_is_refused_when_it_is_used(
    checkpoint: Checkpoint, prompts: Prompts, ctx: Context, tmp_path: Path
) -> None:
    from tests.diffusion.control_reference import NET

    (tmp_path / "controlnet").mkdir()
    save_file(random_weights(lambda: ControlNet(NET)), tmp_path / "controlnet" / "net.safetensors")
    other = control_net_loader(
        control_net_name="net.safetensors", ctx=Context(folders=Folders(models=(tmp_path,)))
    )
    with pytest.raises(ValueError, match="made for a model of another size"):
        drawn(checkpoint, advanced(prompts, other))
