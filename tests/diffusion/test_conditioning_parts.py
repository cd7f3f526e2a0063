"""Areas, masks, strengths and ranges of prompts around a UNet whose answers can be computed by hand."""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.conditioning.combine import (
    as_fallback,
    combined,
    in_area,
    in_mask,
    in_range,
    of_strength,
    zeroed,
)
from diffusion.networks.attachments import Hooks
from diffusion.networks.attention import Prompt
from diffusion.sampling.areas import Box, matched
from diffusion.sampling.denoiser import Denoiser
from diffusion.sampling.parts import Plan
from diffusion.sampling.schedule import stable_diffusion_schedule
from diffusion.types import Area, Cond, Conditioning, Mask

SD = stable_diffusion_schedule()
SIGMA = 2.0
HEIGHT, WIDTH = 48, 40
EDGE = torch.arange(1, 9) / 8
"""How the edge of an area fades in."""


@dataclass
class MeanUNet:
    """Answers with the prompt's value plus the mean of all that it sees, so that a crop has an answer of its own."""

    seen: list[Tensor] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def __call__(self, x: Tensor, timesteps: Tensor, prompt: Prompt, hooks: Hooks) -> Tensor:
        self.seen.append(x)
        self.rows.append(len(prompt.context))
        values = prompt.context[:, 0, 0].unflatten(0, (-1, len(x)))  # (n, B)
        answers = (values + x.mean(dim=(1, 2, 3))).flatten()
        return answers[:, None, None, None].expand(-1, 4, *x.shape[2:])


def text(value: float, tokens: int = 77) -> Conditioning:
    return Conditioning((Cond(torch.full((1, tokens, 8), value)),))


def noisy(batch: int = 1) -> Tensor:
    return torch.randn(batch, 4, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))


def answer(value: float, x: Tensor, box: Box | None = None) -> Tensor:
    """x0 of the toy under a prompt of this value, looking at the box alone."""
    part = x if box is None else box.of(x)
    mean = part.mean(dim=(1, 2, 3), keepdim=True) / (1 + SIGMA**2) ** 0.5
    return part - SIGMA * (value + mean)


def predict(*conditionings: Conditioning, x: Tensor, sigma: float = SIGMA, unet: Any = None) -> list[Tensor]:
    plan = Plan.of(SD, torch.empty(0), conditionings, x)
    return list(Denoiser(unet or MeanUNet(), SD, plan=plan).predict(x, sigma, conditionings))


def test_strengths_weigh_the_mean() -> None:
    x, unet = noisy(2), MeanUNet()
    both = combined(of_strength(text(1.0), 3.0), of_strength(text(-1.0), 1.0))
    (found,) = predict(both, x=x, unet=unet)
    torch.testing.assert_close(found, (3 * answer(1.0, x) + answer(-1.0, x)) / 4)
    assert unet.rows == [4]


def test_a_strength_alone_changes_nothing() -> None:
    x = noisy()
    assert torch.equal(predict(of_strength(text(1.0), 0.3), x=x)[0], predict(text(1.0), x=x)[0])


def test_without_any_strength_nothing_is_predicted() -> None:
    (found,) = predict(of_strength(text(1.0), 0.0), x=noisy())
    assert torch.equal(found, torch.zeros_like(found))


def test_an_area_sees_its_part_and_counts_there_with_fading_edges() -> None:
    x, box = noisy(2), Box(24, 32, 16, 8)
    local = in_area(text(1.0), Area(*box), 2.0)
    found, _ = predict(combined(text(-1.0), local), text(0.0), x=x)
    weight = torch.zeros(HEIGHT, WIDTH)
    rows, columns = torch.ones(24), torch.ones(32)
    fade = torch.arange(1, 7) / 6  # a fourth of 24
    rows[:6], rows[-6:] = fade, fade.flip(0)
    columns[:8] = EDGE  # the right edge is the picture's
    weight[16:40, 8:40] = 2.0 * rows[:, None] * columns
    total = answer(-1.0, x)
    total[..., 16:40, 8:40] += weight[16:40, 8:40] * answer(1.0, x, box)
    torch.testing.assert_close(found, total / (1 + weight))


def test_edges_at_the_borders_do_not_fade() -> None:
    x = noisy()
    (found,) = predict(in_area(text(1.0), Area(HEIGHT, WIDTH, 0, 0), 1.0), x=x)
    torch.testing.assert_close(found, answer(1.0, x))


def test_what_no_area_covers_is_zero_and_a_faint_edge_counts_in_full() -> None:
    x, box = noisy(), Box(16, 16, 8, 8)
    (found,) = predict(in_area(text(1.0), Area(*box), 0.25), x=x)
    expected = torch.zeros_like(x)
    expected[..., 8:24, 8:24] = answer(1.0, x, box)
    torch.testing.assert_close(found, expected)


def test_areas_past_the_edge_are_clipped_and_those_outside_refused() -> None:
    x = noisy()
    (found,) = predict(in_area(text(1.0), Area(64, 64, 24, 24), 1.0), x=x)
    inside = Box(24, 16, 24, 24)
    torch.testing.assert_close(inside.of(found), answer(1.0, x, inside))
    with pytest.raises(ValueError, match=r"begins at x 0, y 400.*outside of the picture of 320x384"):
        predict(in_area(text(1.0), Area(8, 8, 50, 0), 1.0), x=x)


def test_shares_are_of_the_pictures_sides() -> None:
    x, unet = noisy(), MeanUNet()
    predict(in_area(text(1.0), Area(0.5, 0.26, 0.25, 0.3, shares=True), 1.0), x=x, unet=unet)
    torch.testing.assert_close(unet.seen[0] * (1 + SIGMA**2) ** 0.5, x[..., 12:36, 12:22])
    tiny = MeanUNet()
    predict(in_area(text(1.0), Area(0.0, 0.0, 0.0, 0.0, shares=True), 1.0), x=x, unet=tiny)
    assert tiny.seen[0].shape[-2:] == (1, 1)


def half(value: float = 1.0) -> Mask:
    """The left half of the picture, in pixels."""
    mask = torch.zeros(1, HEIGHT * 8, WIDTH * 8)
    mask[..., : WIDTH * 4] = value
    return Mask(mask)


def test_masks_weigh_from_place_to_place() -> None:
    x = noisy(2)
    left = in_mask(text(1.0), half(0.5), 3.0, crop=False)
    found, _ = predict(combined(text(-1.0), left), text(0.0), x=x)
    torch.testing.assert_close(found[..., 20:], answer(-1.0, x)[..., 20:])
    mixed = (answer(-1.0, x) + 1.5 * answer(1.0, x)) / 2.5
    torch.testing.assert_close(found[..., :20], mixed[..., :20])


def test_mask_and_area_strength_multiply() -> None:
    x = noisy()
    left = of_strength(in_mask(text(1.0), half(), 0.5, crop=False), 4.0)
    found, _ = predict(combined(text(-1.0), left), text(0.0), x=x)
    torch.testing.assert_close(found[..., :20], ((answer(-1.0, x) + 2.0 * answer(1.0, x)) / 3)[..., :20])


def test_a_mask_for_every_sample() -> None:
    x = noisy(4)
    masks = Mask(torch.cat([half(), 1 - half()]))
    found, _ = predict(combined(text(-1.0), in_mask(text(1.0), masks, 1.0, crop=False)), text(0.0), x=x)
    mixed = (answer(-1.0, x) + answer(1.0, x)) / 2
    for sample in range(4):
        inside = slice(0, 20) if sample % 2 == 0 else slice(20, 40)
        torch.testing.assert_close(found[sample, ..., inside], mixed[sample, ..., inside])


def test_mask_bounds_are_looked_at_alone() -> None:
    x, unet = noisy(), MeanUNet()
    mask = torch.zeros(1, HEIGHT, WIDTH)
    mask[0, 10:30, 5:8] = 1
    bounded = in_mask(text(1.0), Mask(mask), 1.0, crop=True)
    (found,) = predict(bounded, x=x, unet=unet)
    box = Box(20, 8, 10, 5)  # 8 cells at least
    torch.testing.assert_close(unet.seen[0] * (1 + SIGMA**2) ** 0.5, box.of(x))
    torch.testing.assert_close(box.of(found)[..., :3], answer(1.0, x, box)[..., :3])
    assert torch.equal(box.of(found)[..., 3:], torch.zeros(1, 4, 20, 5))


def test_a_mask_does_not_fade_the_area_it_is_in() -> None:
    x, box = noisy(), Box(16, 16, 8, 8)
    local = in_mask(in_area(text(1.0), Area(*box), 1.0), Mask(torch.ones(1, 8, 8)), 1.0, crop=False)
    found, _ = predict(combined(text(-1.0), local), text(0.0), x=x)
    torch.testing.assert_close(box.of(found), (box.of(answer(-1.0, x)) + answer(1.0, x, box)) / 2)


def test_other_prompts_answer_an_area() -> None:
    """Guidance compares like with like: the negative prompt is looked at in the area too."""
    x, box = noisy(), Box(48, 20, 0, 0)
    local = in_area(text(1.0), Area(*box), 2.0)
    _, negative = predict(combined(text(0.5), local), text(-1.0), x=x)
    weight = torch.ones(20)
    weight[-5:] = torch.arange(5, 0, -1) / 5
    weight = 2.0 * weight
    expected = answer(-1.0, x)
    expected[..., :20] = (expected[..., :20] + weight * answer(-1.0, x, box)) / (1 + weight)
    torch.testing.assert_close(negative, expected)


def test_the_smallest_prompt_around_an_area_answers_it() -> None:
    asking = in_area(text(1.0), Area(8, 8, 8, 8), 0.5)
    wide, narrow = in_area(text(-1.0), Area(32, 32, 0, 0), 1.0), in_area(text(-2.0), Area(24, 24, 0, 0), 1.0)
    beside = in_area(text(-4.0), Area(8, 8, 30, 30), 1.0)
    positive, negative = matched([asking, combined(text(-3.0), wide, narrow, beside)], (HEIGHT, WIDTH))
    assert [values(entry) for entry in negative.entries] == [-3.0, -1.0, -2.0, -4.0, -2.0]
    assert negative.entries[-1].scope == asking.entries[0].scope
    # The negative prompt's areas have no prompt around them on the other side.
    assert positive.entries == asking.entries


def values(entry: Cond) -> float:
    return float(entry.embedding[0, 0, 0])


def test_an_area_that_has_its_answer_needs_no_other() -> None:
    first, second = in_area(text(1.0), Area(8, 8, 0, 0), 1.0), in_area(text(2.0), Area(8, 8, 0, 0), 0.5)
    both = [combined(text(0.0), first), combined(text(0.0), second)]
    assert matched(both, (HEIGHT, WIDTH)) == both


def test_what_leads_a_prompt_leads_its_answer() -> None:
    led = Conditioning((replace(text(1.0).entries[0], options={"control": ("net",)}),))
    asking = in_area(led, Area(8, 8, 0, 0), 1.0)
    _, negative = matched([asking, text(-1.0)], (HEIGHT, WIDTH))
    assert [entry.options for entry in negative.entries] == [{}, {"control": ("net",)}]


def test_a_range_of_the_schedule_includes_its_ends() -> None:
    x = noisy()
    start, end = SD.sigma_at(0.2), SD.sigma_at(0.6)
    ranged = combined(text(-1.0), in_range(text(1.0), 0.2, 0.6))
    for sigma, inside in ((start * 1.001, False), (start, True), (end, True), (end * 0.999, False)):
        (found,) = predict(ranged, x=x, sigma=sigma)
        alone, with_it = (predict(text(value), x=x, sigma=sigma)[0] for value in (-1.0, 0.0))
        torch.testing.assert_close(found, with_it if inside else alone)
    assert torch.count_nonzero(predict(in_range(text(1.0), 0.5, 1.0), x=x, sigma=14.0)[0]) == 0


def test_the_whole_range_leaves_no_level_out() -> None:
    x, whole = noisy(), in_range(text(1.0), 0.0, 1.0)
    for sigma in (1e4, 14.6, 0.001, 1e-9):
        assert torch.equal(predict(whole, x=x, sigma=sigma)[0], predict(text(1.0), x=x, sigma=sigma)[0])


def of_steps(value: float, first: Fraction, end: Fraction) -> Conditioning:
    (entry,) = text(value).entries
    return Conditioning((replace(entry, scope=replace(entry.scope, steps=(first, end))),))


@pytest.mark.parametrize("ascending", [False, True])
def test_shares_of_the_runs_steps(ascending: bool) -> None:
    sigmas = [10.0, 6.0, 3.0, 1.0, 0.5] if not ascending else [0.5, 1.0, 3.0, 6.0, 10.0]
    thirds = combined(*(of_steps(float(part), Fraction(part, 4), Fraction(part + 1, 4)) for part in range(4)))
    plan = Plan.of(SD, torch.tensor(sigmas), [thirds], noisy())
    between = [(sigmas[i] + sigmas[i + 1]) / 2 for i in range(4)]
    for levels in (sigmas[:-1], between, [level * (1 + 1e-6) for level in sigmas[:-1]]):
        found = [[values(part.entry) for part in plan.at(thirds, noisy(), level)] for level in levels]
        assert found == [[0.0], [1.0], [2.0], [3.0]]
    assert values(plan.at(thirds, noisy(), 100.0)[0].entry) == (3.0 if ascending else 0.0)


def test_shares_of_steps_in_a_run_of_another_length() -> None:
    both = combined(of_steps(1.0, Fraction(0), Fraction(1, 2)), of_steps(2.0, Fraction(1, 2), Fraction(1)))
    sigmas = torch.tensor([10.0, 6.0, 3.0, 0.0])
    plan = Plan.of(SD, sigmas, [both], noisy())
    said = [values(plan.at(both, noisy(), level)[0].entry) for level in sigmas[:-1].tolist()]
    assert said == [1.0, 1.0, 2.0]


def test_the_fallback_fills_what_others_leave() -> None:
    x, box = noisy(), Box(48, 20, 0, 0)
    faint = in_mask(in_area(text(1.0), Area(*box), 1.0), Mask(torch.full((1, 8, 8), 0.25)), 1.0, crop=False)
    found, _ = predict(combined(faint, as_fallback(text(-1.0))), text(0.0), x=x)
    whole = answer(-1.0, x)
    torch.testing.assert_close(found[..., 20:], whole[..., 20:])
    torch.testing.assert_close(found[..., :20], 0.25 * answer(1.0, x, box) + 0.75 * whole[..., :20])


def test_a_fallback_that_has_no_room_costs_nothing() -> None:
    x, unet = noisy(), MeanUNet()
    (found,) = predict(combined(text(1.0), as_fallback(text(-1.0))), x=x, unet=unet)
    torch.testing.assert_close(found, answer(1.0, x))
    assert unet.rows == [1]


def test_zeroed_prompts_are_zero() -> None:
    (found,) = predict(zeroed(text(1.0)), x=noisy())
    torch.testing.assert_close(found, answer(0.0, noisy()))


def test_plain_prompts_share_a_call_and_areas_have_their_own() -> None:
    x, unet = noisy(), MeanUNet()
    predict(text(1.0), text(-1.0), x=x, unet=unet)
    assert unet.rows == [2]
    unet = MeanUNet()
    left, right = in_area(text(1.0), Area(48, 20, 0, 0), 1.0), in_area(text(2.0), Area(48, 20, 0, 20), 1.0)
    predict(combined(left, right), text(-1.0), x=x, unet=unet)
    assert unet.rows == [2, 2, 1]  # the areas with their answers, and the whole


def test_prompts_are_read_once_whatever_their_scope() -> None:
    read = []

    def note(contexts: Tensor) -> Prompt:
        read.append(len(contexts))
        return Prompt(contexts)

    x, plain = noisy(), text(1.0)
    ranges = combined(in_range(plain, 0.0, 0.5), in_range(plain, 0.5, 1.0))
    plan = Plan.of(SD, torch.empty(0), [ranges], x)
    denoiser = Denoiser(MeanUNet(), SD, read=note, plan=plan)
    for sigma in (14.0, 10.0, 1.0, 0.1):
        denoiser.predict(x, sigma, [ranges])
    assert read == [1]


def test_empty_masks_and_reversed_ranges_are_refused() -> None:
    with pytest.raises(ValueError, match="mask is empty"):
        in_mask(text(1.0), Mask(torch.zeros(1, 8, 8)), 1.0, crop=False)
    with pytest.raises(ValueError, match="NaN"):
        in_mask(text(1.0), Mask(torch.full((1, 8, 8), float("nan"))), 1.0, crop=True)
    with pytest.raises(ValueError, match=r"got 0\.6 to 0\.2: never"):
        in_range(text(1.0), 0.6, 0.2)
