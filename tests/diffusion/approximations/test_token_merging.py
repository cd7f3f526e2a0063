"""Token merging against the definition, token by token; and where in a UNet it acts."""

from collections.abc import Callable
from typing import cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.approximations.token_merging import TokenMerging, match
from diffusion.networks.attachments import Call, Place, Spot
from diffusion.networks.attention import CrossAttention


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(batch: int, size: tuple[int, int], channels: int = 6) -> Tensor:
    return torch.randn(batch, size[0] * size[1], channels, generator=seeded(5))


def hook(merging: TokenMerging, latent: tuple[int, int]) -> Callable[[Callable, Tensor, Spot], Tensor]:
    hooks = merging.begin()(Call(torch.zeros(1, 4, *latent), 3.0, (0, 1)))
    assert not hooks.cross_attention + hooks.inner + hooks.join + hooks.after
    (around,) = hooks.self_attention
    return around


def spot(size: tuple[int, int]) -> Spot:
    return Spot(Place("input", 1), size, cast(CrossAttention, None))


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (2, 9), (8, 6)])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0])
def test_each_token_joins_the_likest_of_those_that_may_be_joined(size: tuple[int, int], ratio: float) -> None:
    tokens, (height, width) = picture(2, size), size
    count = height * width
    found = match(tokens, size, ratio, seeded())
    assert found is not None
    groups = found.groups.reshape(2, count)
    for row in range(2):
        offset = row * found.size // 2
        members = [torch.nonzero(groups[row] == offset + group).flatten() for group in range(found.size // 2)]
        assert sum(len(each) for each in members) == count
        goals = _goals(size)
        assert len(goals) == (height // 2) * (width // 2)
        # What may be joined is apart; every other token is alone, or with the one most like it.
        likeness = F.cosine_similarity(tokens[row][:, None], tokens[row][None], dim=-1)
        merged = []
        for token in set(range(count)) - set(goals):
            (home,) = [set(each.tolist()) for each in members if token in each]
            if home == {token}:
                continue
            merged.append(token)
            assert home & set(goals) == {max(goals, key=lambda goal: float(likeness[token, goal]))}
        assert len(merged) == min(int(ratio * count), count - len(goals))
        best = {t: max(float(likeness[t, goal]) for goal in goals) for t in set(range(count)) - set(goals)}
        alone = set(best) - set(merged)
        assert not alone or max(best[t] for t in alone) <= min(best[t] for t in merged) + 1e-6


def _goals(size: tuple[int, int]) -> list[int]:
    """The places drawn by the same generator: one in every cell of four."""
    chosen = torch.randint(4, (size[0] // 2, size[1] // 2), generator=seeded())
    return [
        (2 * row + int(choice) // 2) * size[1] + 2 * column + int(choice) % 2
        for row, choices in enumerate(chosen)
        for column, choice in enumerate(choices)
    ]


def test_merged_tokens_are_means_and_each_gets_its_groups_result() -> None:
    tokens = picture(3, (6, 6))
    found = match(tokens, (6, 6), 0.5, seeded())
    assert found is not None
    merged = found.merge(tokens)
    assert merged.shape == (3, 18, 6)
    groups, flat = found.groups, tokens.flatten(0, 1)
    for group in range(3 * 18):
        torch.testing.assert_close(merged.flatten(0, 1)[group], flat[groups == group].mean(dim=0))
    back = found.unmerge(merged)
    assert back.shape == tokens.shape
    assert torch.equal(back.flatten(0, 1), merged.flatten(0, 1)[groups])


def test_attention_sees_fewer_tokens_and_the_picture_keeps_its_own() -> None:
    counts = []

    def attend(tokens: Tensor) -> Tensor:
        counts.append(tokens.shape[1])
        return tokens * 2

    same = torch.ones(2, 64, 4)
    assert torch.equal(hook(TokenMerging(0.5), (8, 8))(attend, same, spot((8, 8))), same * 2)
    assert counts == [32]


@pytest.mark.parametrize(("coarsest", "merged"), [(1, {8}), (2, {8, 4}), (4, {8, 4, 2}), (8, {8, 4, 2})])
def test_only_levels_asked_for_are_merged(coarsest: int, merged: set[int]) -> None:
    around, found = hook(TokenMerging(0.5, coarsest), (8, 8)), set()
    for side in (8, 4, 2, 1):

        def attend(tokens: Tensor, side: int = side) -> Tensor:
            if tokens.shape[1] < side * side:
                found.add(side)
            return tokens

        around(attend, picture(1, (side, side)), spot((side, side)))
    assert found == merged


def test_runs_are_alike_and_calls_differ() -> None:
    tokens = picture(1, (8, 8))

    def run() -> list[Tensor]:
        around = hook(TokenMerging(0.5), (8, 8))
        return [around(lambda merged: merged, tokens, spot((8, 8))) for _ in range(3)]

    first, again = run(), run()
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])


def test_nothing_to_merge_is_left_alone() -> None:
    tokens = picture(1, (8, 8))
    assert match(tokens, (8, 8), 0.01, seeded()) is None
    assert match(picture(1, (1, 9)), (1, 9), 0.5, seeded()) is None
    assert hook(TokenMerging(0.0), (8, 8))(lambda seen: seen, tokens, spot((8, 8))) is tokens


@pytest.mark.parametrize(("ratio", "level"), [(-0.1, 1), (1.1, 1), (float("nan"), 1), (0.5, 0)])
def test_settings_out_of_bounds_are_refused(ratio: float, level: int) -> None:
    with pytest.raises(ValueError, match=r"share of tokens|time smaller"):
        TokenMerging(ratio, level)


def test_tokens_in_tiles_are_left_whole() -> None:
    """Another feature may have cut the picture into tiles: then its size says nothing of the tokens' places."""
    around = hook(TokenMerging(0.5), (8, 8))
    tiles = torch.randn(4, 16, 6, generator=seeded())
    assert torch.equal(around(lambda tokens: tokens, tiles, spot((8, 8))), tiles)
