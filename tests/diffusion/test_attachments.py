"""The places of a UNet where features attach: each is reached in order, and costs nothing while empty."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.networks.attachments import Hooks, Place, Spot, all_hooks
from diffusion.networks.unet import UNet
from tests.diffusion.reference import random_weights
from tests.diffusion.test_unet import TINY, load


@pytest.fixture(scope="module")
def unet() -> UNet:
    return load(lambda: UNet(TINY), random_weights(lambda: UNet(TINY)))


def inputs(batch: int = 1, prompts: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(batch, TINY.in_channels, 9, 12, generator=generator)
    context = torch.randn(batch * prompts, 11, TINY.context_dim, generator=generator)
    return x, torch.tensor([400.0]), context


@torch.inference_mode()
def test_prompts_share_what_comes_before_them(unet: UNet) -> None:
    x, timestep, context = inputs(batch=3)
    together = unet(x, timestep, context)
    apart = torch.cat([unet(x, timestep.repeat(3), part) for part in context.chunk(2)])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_a_prompt_read_beforehand_is_the_same_prompt(unet: UNet) -> None:
    x, timestep, context = inputs()
    assert torch.equal(unet(x, timestep, unet.read(context)), unet(x, timestep, context))


@torch.inference_mode()
def test_hooks_that_change_nothing_change_nothing(unet: UNet) -> None:
    seen: list[Any] = []

    def around_self(attend: Callable[[Tensor], Tensor], tokens: Tensor, spot: Spot) -> Tensor:
        seen.append(("self", spot.place, spot.size, tokens.shape[1]))
        return attend(tokens)

    def around_cross(attend: Any, tokens: Tensor, keys: Tensor, values: Tensor, spot: Spot) -> Tensor:
        seen.append(("cross", spot.place))
        return attend(tokens, keys, values)

    def around_inner(descend: Callable[[Tensor], Tensor], h: Tensor, place: Place) -> Tensor:
        seen.append(("inner", place))
        return descend(h)

    def join(h: Tensor, skip: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        seen.append(("join", place))
        return h, skip

    def after(h: Tensor, place: Place) -> Tensor:
        seen.append(("after", place))
        return h

    hooks = Hooks((around_self,), (around_cross,), (around_inner,), (join,), (after,))
    x, timestep, context = inputs()
    torch.testing.assert_close(
        unet(x, timestep, unet.read(context), hooks), unet(x, timestep, context), rtol=1e-4, atol=1e-4
    )
    depth = len(unet.input_blocks)
    assert [entry[1] for entry in seen if entry[0] == "inner"] == [Place("input", i) for i in range(depth)]
    assert [entry[1] for entry in seen if entry[0] == "join"] == [Place("output", i) for i in range(depth)]
    assert [entry[1] for entry in seen if entry[0] == "after"] == [
        *(Place("input", i) for i in range(depth)),
        Place("middle", 0),
        *(Place("output", i) for i in range(depth)),
    ]
    attended = [entry for entry in seen if entry[0] == "self"]
    assert all(height * width == count for _, _, (height, width), count in attended)
    assert [entry[1] for entry in seen if entry[0] == "cross"] == [entry[1] for entry in attended]
    assert Place("middle", 0) in [entry[1] for entry in attended]


@torch.inference_mode()
@pytest.mark.parametrize(
    "hooks",
    [
        Hooks(self_attention=(lambda attend, tokens, spot: 0 * tokens,)),
        Hooks(cross_attention=(lambda attend, tokens, keys, values, spot: attend(tokens, keys, 2 * values),)),
        Hooks(inner=(lambda descend, h, place: descend(h) if place.index else 0 * descend(h),)),
        Hooks(join=(lambda h, skip, place: (h, skip * 0.9),)),
        Hooks(after=(lambda h, place: h * 1.1 if place.part == "middle" else h,)),
    ],
    ids=["self", "cross", "inner", "join", "after"],
)
def test_what_stands_at_a_place_is_heard(unet: UNet, hooks: Hooks) -> None:
    x, timestep, context = inputs()
    assert not torch.allclose(unet(x, timestep, context, hooks), unet(x, timestep, context), atol=1e-3)


@torch.inference_mode()
def test_the_first_of_several_is_the_outermost_or_comes_first(unet: UNet) -> None:
    order: list[str] = []

    def named(name: str) -> Hooks:
        def around(attend: Callable[[Tensor], Tensor], tokens: Tensor, spot: Spot) -> Tensor:
            order.append(f"{name} in")
            result = attend(tokens)
            order.append(f"{name} out")
            return result

        def after(h: Tensor, place: Place) -> Tensor:
            order.append(name)
            return h

        return Hooks(self_attention=(around,), after=(after,))

    x, timestep, context = inputs()
    unet(x, timestep, context, all_hooks([named("a"), Hooks(), named("b")]))
    first = order.index("a in")
    assert order[first : first + 4] == ["a in", "b in", "b out", "a out"]
    assert order[:2] == ["a", "b"]


def test_prompts_that_do_not_divide_are_refused(unet: UNet) -> None:
    x, timestep, context = inputs(batch=2, prompts=1)
    with pytest.raises(ValueError, match="3 prompts"):
        unet(x, timestep, torch.cat([context, context[:1]]))
    with pytest.raises(ValueError, match="3 timesteps"):
        unet(x, timestep.repeat(3), context)
