"""Nodes that combine prompts and say where and when they count, on a model that answers by formula."""

from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.types import Area, Cond, Conditioning, Latent, Mask
from nodes.conditioning_scope import TimestepsRange
from tests.nodes.toys import PROMPTS, call, prompt, toy_latent, toy_model

SIGMAS = torch.tensor([8.0, 3.0, 1.0, 0.0])


def sampled(positive: Conditioning, negative: Conditioning | None = None) -> Tensor:
    guider = call(
        "CFGGuider",
        model=toy_model(),
        positive=positive,
        negative=prompt("negative") if negative is None else negative,
        cfg=3.0,
    )
    result = call(
        "SamplerCustomAdvanced",
        noise=call("RandomNoise", noise_seed=1),
        guider=guider,
        sampler=call("KSamplerSelect", sampler_name="euler"),
        sigmas=SIGMAS,
        latent_image=toy_latent(),
    )
    latent: Latent = result.output
    return latent.samples


def embeddings(conditioning: Conditioning) -> list[Tensor]:
    return [entry.embedding for entry in conditioning.entries]


def values(conditioning: Conditioning) -> list[float]:
    return [float(embedding[0, 0, 0]) for embedding in embeddings(conditioning)]


def test_combine_keeps_both() -> None:
    both = call("ConditioningCombine", conditioning_1="@positive", conditioning_2="@empty")
    assert values(both) == pytest.approx([PROMPTS["positive"], PROMPTS["empty"]])
    assert not torch.allclose(sampled(both), sampled(prompt("positive")), atol=1e-3)


def test_concat_puts_the_first_behind_each() -> None:
    both = call("ConditioningCombine", conditioning_1="@positive", conditioning_2="@empty")
    longer = call("ConditioningConcat", conditioning_to=both, conditioning_from="@middle")
    first, second = embeddings(longer)
    assert first.shape == second.shape == (1, 154, 1)
    torch.testing.assert_close(first[0, [0, 76, 77, 153], 0], torch.tensor([0.9, 0.9, 0.4, 0.4]))
    torch.testing.assert_close(second[0, [0, 77], 0], torch.tensor([0.1, 0.4]))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_average_mixes(share: float) -> None:
    mixed = call(
        "ConditioningAverage",
        conditioning_to="@positive",
        conditioning_from="@empty",
        conditioning_to_strength=share,
    )
    assert values(mixed) == pytest.approx([0.9 * share + 0.1 * (1 - share)])


def test_average_keeps_the_length_it_is_put_into() -> None:
    longer = call("ConditioningConcat", conditioning_to="@positive", conditioning_from="@middle")
    mixed = call(
        "ConditioningAverage",
        conditioning_to=longer,
        conditioning_from="@empty",
        conditioning_to_strength=0.5,
    )
    (embedding,) = embeddings(mixed)
    torch.testing.assert_close(embedding[0, [0, 77], 0], torch.tensor([0.5, 0.2]))
    shorter = call(
        "ConditioningAverage",
        conditioning_to="@empty",
        conditioning_from=longer,
        conditioning_to_strength=0.5,
    )
    assert embeddings(shorter)[0].shape == (1, 77, 1)
    assert values(shorter) == pytest.approx([0.5])


def test_zero_out() -> None:
    zeroed = call("ConditioningZeroOut", conditioning="@positive")
    assert values(zeroed) == [0.0]
    assert embeddings(zeroed)[0].shape == (1, 77, 1)


def test_prompts_of_different_encoders_do_not_mix() -> None:
    wide = Conditioning((Cond(torch.zeros(1, 77, 3)),))
    for node in ("ConditioningConcat", "ConditioningAverage"):
        with pytest.raises(ValueError, match="vectors of 1 numbers, the other of 3"):
            call(node, conditioning_to="@positive", conditioning_from=wide)


@pytest.mark.parametrize(
    ("node", "inputs"),
    [
        ("ConditioningSetArea", {"width": 64, "height": 64, "x": 8, "y": 0, "strength": 1.0}),
        ("ConditioningSetAreaPercentage", {"width": 0.5, "height": 0.5, "x": 0.2, "y": 0.4, "strength": 1.0}),
        ("ConditioningSetMask", {"mask": Mask(torch.eye(16)[None])}),
        ("ConditioningSetMask", {"mask": Mask(torch.eye(16)[None]), "set_cond_area": "mask bounds"}),
        ("ConditioningSetTimestepRange", {"start": 0.0, "end": 0.5}),
        ("ConditioningSetProperties", {"mask": Mask(torch.eye(16)[None])}),
        ("ConditioningSetProperties", {"timesteps": TimestepsRange(0.0, 0.5)}),
    ],
)
def test_a_scope_changes_the_picture_beside_another_prompt(node: str, inputs: dict[str, Any]) -> None:
    name = "cond_NEW" if node == "ConditioningSetProperties" else "conditioning"
    scoped = call(node, **{name: prompt("middle")}, **inputs)
    both = call("ConditioningCombine", conditioning_1="@positive", conditioning_2=scoped)
    plain = call("ConditioningCombine", conditioning_1="@positive", conditioning_2="@middle")
    assert not torch.allclose(sampled(both), sampled(plain), atol=1e-3)
    assert not torch.allclose(sampled(both), sampled(prompt("positive")), atol=1e-3)


def test_areas_are_in_cells_and_shares() -> None:
    (entry,) = call(
        "ConditioningSetArea", conditioning="@positive", width=80, height=68, x=9, y=23, strength=2.0
    ).entries
    assert entry.scope.area == Area(height=8, width=10, top=2, left=1)
    assert entry.scope.strength == 2.0
    (entry,) = call(
        "ConditioningSetAreaPercentage", conditioning="@positive", width=0.3, height=0.4, x=0.1, y=0.2
    ).entries
    assert entry.scope.area == Area(height=0.4, width=0.3, top=0.2, left=0.1, shares=True)


def test_strength_weighs_the_mean() -> None:
    def of(strength: float) -> Tensor:
        strong = call("ConditioningSetAreaStrength", conditioning="@positive", strength=strength)
        return sampled(call("ConditioningCombine", conditioning_1=strong, conditioning_2="@empty"))

    torch.testing.assert_close(of(0.0), sampled(prompt("empty")))
    distances = [float((of(strength) - sampled(prompt("positive"))).norm()) for strength in (0.0, 1.0, 9.0)]
    assert distances == sorted(distances, reverse=True)


def test_two_ranges_share_a_run() -> None:
    ranges = call("ConditioningTimestepsRange", start_percent=0.5, end_percent=1.0)
    late = call("ConditioningSetProperties", cond_NEW="@positive", timesteps=ranges.TIMESTEPS_RANGE)
    early = call("ConditioningSetProperties", cond_NEW="@empty", timesteps=ranges.BEFORE_RANGE)
    none = call("ConditioningSetProperties", cond_NEW="@middle", timesteps=ranges.AFTER_RANGE)
    both = call("ConditioningCombine", conditioning_1=late, conditioning_2=early)
    found = sampled(both)
    assert not torch.allclose(found, sampled(prompt("positive")), atol=1e-3)
    assert not torch.allclose(found, sampled(prompt("empty")), atol=1e-3)
    all_three = call("ConditioningCombine", conditioning_1=both, conditioning_2=none)
    torch.testing.assert_close(sampled(all_three), found)


def test_the_default_fills_what_a_mask_leaves() -> None:
    mask = torch.zeros(1, 6, 5)
    mask[..., :2] = 1
    left = call("ConditioningSetMask", conditioning="@positive", mask=Mask(mask))
    right = call("ConditioningSetMask", conditioning="@empty", mask=Mask(1 - mask))
    filled = call("ConditioningSetDefaultCombine", cond=left, cond_DEFAULT="@empty")
    both = call("ConditioningCombine", conditioning_1=left, conditioning_2=right)
    torch.testing.assert_close(sampled(filled), sampled(both))


def test_pairs_are_what_singles_are() -> None:
    mask = Mask(torch.eye(16)[None])
    a, b = prompt("positive"), prompt("negative")
    new: dict[str, Any] = {"strength": 2.0, "mask": mask, "set_cond_area": "mask bounds"}
    pair = call(
        "PairConditioningSetPropertiesAndCombine",
        positive=a,
        negative=b,
        positive_NEW="@middle",
        negative_NEW="@empty",
        **new,
    )
    singles = [
        call("ConditioningSetPropertiesAndCombine", cond=cond, cond_NEW=name, **new)
        for cond, name in ((a, "@middle"), (b, "@empty"))
    ]
    assert torch.equal(sampled(*pair), sampled(*singles))
    alone = call("PairConditioningSetProperties", positive_NEW="@middle", negative_NEW="@empty", **new)
    joined = call(
        "PairConditioningCombine",
        positive_A=a,
        negative_A=b,
        positive_B=alone.positive,
        negative_B=alone.negative,
    )
    assert torch.equal(sampled(*joined), sampled(*pair))
    filled = call(
        "PairConditioningSetDefaultCombine",
        positive=alone.positive,
        negative=alone.negative,
        positive_DEFAULT=a,
        negative_DEFAULT=b,
    )
    assert [entry.scope.fallback for entry in filled.positive.entries] == [False, True]
    assert [entry.scope.fallback for entry in filled.negative.entries] == [False, True]


@pytest.mark.parametrize("guider", ["BasicGuider", "CFGGuider", "DualCFGGuider", "PerpNegGuider"])
def test_every_guider_takes_prompts_for_areas(guider: str) -> None:
    area = {"width": 0.5, "height": 1.0, "x": 0.0, "y": 0.0, "strength": 1.0}
    local = call("ConditioningSetAreaPercentage", conditioning="@middle", **area)
    regional = call("ConditioningCombine", conditioning_1="@positive", conditioning_2=local)
    wanted: dict[str, dict[str, Any]] = {
        "BasicGuider": {"conditioning": regional},
        "CFGGuider": {"positive": regional, "negative": "@negative"},
        "DualCFGGuider": {"cond1": regional, "cond2": "@middle", "negative": "@negative"},
        "PerpNegGuider": {"positive": regional, "negative": "@negative", "empty_conditioning": "@empty"},
    }
    plain = {name: "@positive" if value is regional else value for name, value in wanted[guider].items()}
    found, other = (
        call(
            "SamplerCustomAdvanced",
            noise=call("RandomNoise", noise_seed=1),
            guider=call(guider, model=toy_model(), **inputs),
            sampler=call("KSamplerSelect", sampler_name="dpmpp_2m"),
            sigmas=SIGMAS,
            latent_image=toy_latent(),
        ).output.samples
        for inputs in (wanted[guider], plain)
    )
    assert torch.isfinite(found).all()
    assert not torch.allclose(found, other, atol=1e-3)


def test_masks_that_mark_nothing_and_ranges_that_never_come_are_refused() -> None:
    with pytest.raises(ValueError, match="mask is empty"):
        call("ConditioningSetMask", conditioning="@positive", mask=Mask(torch.zeros(1, 8, 8)))
    with pytest.raises(ValueError, match=r"got 0\.7 to 0\.2: never"):
        call("ConditioningSetTimestepRange", conditioning="@positive", start=0.7, end=0.2)
