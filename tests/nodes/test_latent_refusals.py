"""What the nodes on latents refuse, and in which words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from diffusion.latents.inpaint import blanked
from diffusion.types import Image, Latent, Mask
from graph import Executor, Link, Node, Registry, Workflow
from nodes.latent import empty_latent_image
from nodes.latent_batch import latent_batch, latent_from_batch, rebatch_latents, repeat_latent_batch
from nodes.latent_combine import (
    latent_add,
    latent_apply_operation,
    latent_blend,
    latent_interpolate,
    latent_multiply,
    latent_operation_sharpen,
    latent_operation_tonemap,
)
from nodes.latent_transform import (
    latent_composite,
    latent_composite_masked,
    latent_concat,
    latent_crop,
    latent_cut,
    latent_flip,
    latent_rotate,
    latent_upscale,
    latent_upscale_by,
)

GOOD = Latent(torch.ones(1, 4, 8, 8))


@pytest.mark.parametrize(
    "call",
    [
        lambda bad: latent_upscale(samples=bad),
        lambda bad: latent_upscale_by(samples=bad),
        lambda bad: latent_crop(samples=bad),
        lambda bad: latent_flip(samples=bad),
        lambda bad: latent_rotate(samples=bad),
        lambda bad: latent_composite(samples_to=GOOD, samples_from=bad),
        lambda bad: latent_composite_masked(destination=bad, source=GOOD),
        lambda bad: latent_concat(samples1=GOOD, samples2=bad),
        lambda bad: latent_cut(samples=bad),
        lambda bad: latent_add(samples1=GOOD, samples2=bad),
        lambda bad: latent_multiply(samples=bad),
        lambda bad: latent_interpolate(samples1=bad, samples2=GOOD),
        lambda bad: latent_blend(samples1=GOOD, samples2=bad),
        lambda bad: latent_batch(samples1=bad, samples2=GOOD),
        lambda bad: latent_from_batch(samples=bad),
        lambda bad: repeat_latent_batch(samples=bad),
        lambda bad: rebatch_latents(latents=[GOOD, bad], batch_size=[1]),
        lambda bad: latent_apply_operation(samples=bad, operation=latent_operation_tonemap()),
    ],
)
def test_latents_of_another_shape_or_of_no_numbers_are_refused(call: Callable[[Latent], object]) -> None:
    with pytest.raises(ValueError, match="A latent has the shape"):
        call(Latent(torch.ones(4, 8, 8)))
    with pytest.raises(ValueError, match="A latent has the shape"):
        call(Latent(torch.ones(0, 4, 8, 8)))
    with pytest.raises(ValueError, match="NaN or infinite"):
        call(Latent(torch.full((1, 4, 8, 8), float("nan"))))


def test_latents_of_other_models_are_not_combined() -> None:
    other = Latent(torch.ones(1, 16, 8, 8))
    for call in (latent_add, latent_batch, latent_blend, latent_concat):
        with pytest.raises(ValueError, match="different kinds of model"):
            call(samples1=GOOD, samples2=other)
    with pytest.raises(ValueError, match="different kinds of model"):
        latent_composite(samples_to=GOOD, samples_from=other)


def test_what_is_pasted_outside_is_said() -> None:
    with pytest.raises(ValueError, match=r"x = 64, y = 0 lies outside .* 64x64 pixels"):
        latent_composite(samples_to=GOOD, samples_from=GOOD, x=64)
    with pytest.raises(ValueError, match="y = 800 lies outside"):
        latent_composite_masked(destination=GOOD, source=GOOD, y=800)


def test_an_empty_or_broken_mask_is_said() -> None:
    with pytest.raises(ValueError, match="mask is empty"):
        latent_composite_masked(destination=GOOD, source=GOOD, mask=Mask(torch.zeros(1, 8, 8)))
    with pytest.raises(ValueError, match="mask holds NaN"):
        blanked(Image(torch.ones(1, 16, 16, 3)), Mask(torch.full((1, 8, 8), float("nan"))), 0)


@pytest.mark.parametrize("shape", [(1, 16, 16, 1), (16, 16, 3), (0, 16, 16, 3), (1, 7, 16, 3)])
def test_pictures_that_cannot_be_inpainted_are_said(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="Pictures to encode have the shape"):
        blanked(Image(torch.zeros(shape)), Mask(torch.ones(1, 8, 8)), 6)


def test_time_is_no_axis_of_a_picture() -> None:
    for call in (
        lambda: latent_cut(samples=GOOD, dim="t"),
        lambda: latent_concat(samples1=GOOD, samples2=GOOD, dim="-t"),
    ):
        with pytest.raises(ValueError, match="axis of time"):
            call()


def test_sides_that_do_not_meet_are_said() -> None:
    with pytest.raises(ValueError, match="a height of 64 pixels, the other of 40"):
        latent_concat(samples1=GOOD, samples2=Latent(torch.ones(1, 4, 5, 8)), dim="x")


def test_sizes_of_nothing_are_said() -> None:
    with pytest.raises(ValueError, match="Choose a larger size"):
        latent_upscale_by(samples=GOOD, scale_by=0.01)
    with pytest.raises(ValueError, match="Turn crop off"):
        latent_upscale(samples=Latent(torch.ones(1, 4, 2, 200)), width=64, height=16000, crop="center")


def test_operations_that_leave_nothing_are_said() -> None:
    with pytest.raises(ValueError, match=r"radius of 9: choose one below 8"):
        latent_apply_operation(samples=GOOD, operation=latent_operation_sharpen())
    with pytest.raises(ValueError, match="choose one above 0"):
        latent_apply_operation(samples=GOOD, operation=latent_operation_tonemap(multiplier=0.0))


def test_a_sample_of_one_cell_can_be_tonemapped() -> None:
    one = latent_apply_operation(samples=Latent(torch.ones(1, 4, 1, 1)), operation=latent_operation_tonemap())
    assert torch.allclose(one.samples, torch.full((1, 4, 1, 1), 0.5))


def test_vectors_keep_their_strength_in_a_mixture_of_several_samples() -> None:
    first, second = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    mixed = latent_interpolate(samples1=Latent(first), samples2=Latent(second), ratio=0.5).samples
    assert torch.allclose(mixed.norm(dim=1), (first.norm(dim=1) + second.norm(dim=1)) / 2, atol=1e-5)


def test_a_repeated_mask_stays_with_its_sample() -> None:
    masks = torch.rand(2, 1, 8, 8)
    repeated = repeat_latent_batch(samples=Latent(torch.ones(3, 4, 8, 8), masks), amount=2).noise_mask
    assert repeated is not None
    assert torch.equal(repeated, torch.cat([masks, masks[:1], masks, masks[:1]]))


def test_rebatched_latents_go_on_one_by_one() -> None:
    nodes = {
        "a": Node.of(empty_latent_image, width=64, height=64, batch_size=3),
        "r": Node.of(rebatch_latents, latents=Link("a"), batch_size=2),
        "u": Node.of(latent_upscale_by, samples=Link("r"), scale_by=2.0),
    }
    registry = Registry.of(empty_latent_image, rebatch_latents, latent_upscale_by)
    result = Executor(registry).run(Workflow(nodes), targets=["u"])
    assert result.errors == ()
    assert [tuple(latent.samples.shape) for latent in result.values["u"][0]] == [
        (2, 4, 16, 16),
        (1, 4, 16, 16),
    ]


def test_a_sample_whose_mask_marks_nothing_is_rebatched_all_the_same() -> None:
    masks = torch.cat([torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8)])
    whole = Latent(torch.ones(2, 4, 8, 8), masks)
    first, second = rebatch_latents(latents=[whole], batch_size=[1])
    assert first.noise_mask is not None
    assert first.noise_mask.max() == 0
    assert second.noise_mask is None
