"""FreeU, HyperTile, deep shrink, perturbed- and self-attention guidance: each against its published formula."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffusion.config import SD15_UNET, UNetConfig
from diffusion.features.deep_shrink import DeepShrink
from diffusion.features.freeu import FreeU, Scales
from diffusion.features.hyper_tile import HyperTile, drawn_division
from diffusion.model import Model
from diffusion.networks.attachments import Attachment, Call, Hooks, Place
from diffusion.networks.attention import Prompt
from diffusion.networks.unet import UNet
from diffusion.networks.unet_blocks import Signals, timestep_embedding
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from diffusion.sampling.denoiser import Denoiser
from diffusion.sampling.guidance import CFG
from diffusion.sampling.guiders.basic import Unguided
from diffusion.sampling.guiders.dual import DualCFG
from diffusion.sampling.guiders.perp_neg import PerpNeg
from diffusion.sampling.schedule import stable_diffusion_schedule
from diffusion.types import Cond, Conditioning
from tests.diffusion.reference import diffusers_unet, load, random_weights, relative_error
from tests.nodes.toys import call as call_node

CONFIG = UNetConfig(
    channels=(16, 32, 64), attention=(True, True, False), blocks=1, context_dim=24, num_heads=2, norm_groups=8
)
WEIGHTS = random_weights(lambda: UNet(CONFIG))
CLOSE = 2e-5


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, CONTEXT = normal(2, 4, 16, 24), normal(4, 7, CONFIG.context_dim, seed=1)
TIME = torch.tensor([400.0])


@pytest.fixture(scope="module")
def unet() -> UNet:
    return load(lambda: UNet(CONFIG), WEIGHTS)


@pytest.fixture(autouse=True)
def _no_gradients() -> Any:
    with torch.inference_mode():
        yield


def hooks_of(feature: Attachment, sigma: float = 1.0) -> Hooks:
    return feature.begin()(Call(X, sigma, (0, 1)))


def with_feature(unet: UNet, feature: Attachment, sigma: float = 1.0) -> Tensor:
    return unet(X, TIME, CONTEXT, hooks_of(feature, sigma))


def test_the_stages_of_freeu_are_those_that_the_published_code_knows_by_their_width() -> None:
    """1280 and 640 channels from below, in Stable Diffusion 1.x."""
    coarse, fine = Scales(1.1, 0.9), Scales(1.2, 0.2)
    found = FreeU.of(SD15_UNET, coarse, fine).scales
    from_below = [1280, *(width for width in (1280, 1280, 640, 320) for _ in range(3))][:12]
    assert found == tuple({1280: coarse, 640: fine}.get(width) for width in from_below)


def joined_by(unet: UNet, change: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]) -> Tensor:
    """The UNet with what its output stages join changed by hand. `change` is told the width of what is from below."""
    widths = [64, 64, 64, 32, 32, 16]
    handles = []
    for stage, width in zip(unet.output_blocks, widths, strict=True):

        def before(_: nn.Module, given: tuple[Any, ...], width: int = width) -> tuple[Any, ...]:
            x, signals = given
            return torch.cat(change(x[:, :width].clone(), x[:, width:].clone(), width), dim=1), signals

        handles.append(stage.register_forward_pre_hook(before))
    try:
        return unet(X, TIME, CONTEXT)
    finally:
        for handle in handles:
            handle.remove()


def test_freeu_is_what_diffusers_makes_of_it(unet: UNet) -> None:
    from diffusers.utils.torch_utils import apply_freeu

    scales = {"b1": 1.4, "b2": 1.6, "s1": 0.9, "s2": 0.2}

    def published(h: Tensor, skip: Tensor, width: int) -> tuple[Tensor, Tensor]:
        stage = {64: 0, 32: 1}.get(width, 2)
        return cast(tuple[Tensor, Tensor], apply_freeu(stage, h, skip, **scales))

    feature = FreeU.of(CONFIG, Scales(1.4, 0.9), Scales(1.6, 0.2))
    expected = joined_by(unet, published)
    assert relative_error(expected, unet(X, TIME, CONTEXT)) > 0.01
    assert relative_error(with_feature(unet, feature), expected) < CLOSE


def test_the_second_freeu_follows_the_structure(unet: UNet) -> None:
    """((b - 1) * mean over channels, stretched to 0..1 in each picture, + 1) times the first half of the channels."""
    from diffusers.utils.torch_utils import fourier_filter

    def published(h: Tensor, skip: Tensor, width: int) -> tuple[Tensor, Tensor]:
        if width == 16:
            return h, skip
        b, s = {64: (1.4, 0.9), 32: (1.6, 0.2)}[width]
        for row in h:
            mean = row.double().mean(dim=0)
            structure = (mean - mean.min()) / (mean.max() - mean.min())
            row[: width // 2] *= ((b - 1) * structure + 1).float()
        return h, fourier_filter(skip, threshold=1, scale=s)

    feature = FreeU.of(CONFIG, Scales(1.4, 0.9), Scales(1.6, 0.2), by_structure=True)
    assert relative_error(with_feature(unet, feature), joined_by(unet, published)) < CLOSE


def test_hyper_tile_attends_within_tiles() -> None:
    unet = load(lambda: UNet(CONFIG), WEIGHTS)
    tiled = with_feature(unet, HyperTile(tile_size=32, swap_size=1))
    expected_tiles = 0

    def wrap(layer: nn.Module, height: int, width: int) -> None:
        plain = layer.forward

        def forward(tokens: Tensor) -> Tensor:
            """Tiles of 4 x 4 cells one by one."""
            nonlocal expected_tiles
            grid = tokens.unflatten(1, (height, width))
            result = torch.empty_like(grid)
            for top in range(0, height, 4):
                for left in range(0, width, 4):
                    tile = grid[:, top : top + 4, left : left + 4]
                    result[:, top : top + 4, left : left + 4] = plain(tile.flatten(1, 2)).unflatten(1, (4, 4))
                    expected_tiles += 1
            return result.flatten(1, 2)

        layer.forward = forward  # type: ignore[method-assign]

    plain = unet(X, TIME, CONTEXT)
    for stage in (unet.input_blocks[1], unet.output_blocks[4], unet.output_blocks[5]):
        wrap(stage[1].transformer_blocks[0].attn1, 16, 24)
    expected = unet(X, TIME, CONTEXT)
    assert expected_tiles == 3 * 4 * 6
    assert relative_error(expected, plain) > 1e-3
    assert relative_error(tiled, expected) < CLOSE


def test_hyper_tile_leaves_merged_tokens_whole() -> None:
    (around,) = hooks_of(HyperTile(tile_size=32, swap_size=1)).self_attention
    merged = normal(2, math.prod(X.shape[-2:]) // 2, 8)
    spot = cast(Any, SimpleNamespace(size=tuple(X.shape[-2:])))
    assert torch.equal(around(lambda tokens: tokens, merged, spot), merged)


def test_hyper_tile_reaches_down_to_its_depth(unet: UNet) -> None:
    def sizes(feature: HyperTile) -> set[tuple[int, int]]:
        """The tokens that attend to each other, at each of the picture's sizes."""
        seen = set()

        def watch(attend: Callable[[Tensor], Tensor], tokens: Tensor, spot: Any) -> Tensor:
            seen.add((spot.size[0] * spot.size[1], tokens.shape[1]))
            return attend(tokens)

        hooks = hooks_of(feature)
        unet(X, TIME, CONTEXT, replace(hooks, self_attention=(*hooks.self_attention, watch)))
        return seen

    assert sizes(HyperTile(64, 1)) == {(384, 64), (96, 96), (24, 24)}
    assert sizes(HyperTile(32, 1, max_depth=1)) == {(384, 16), (96, 16), (24, 24)}
    assert sizes(HyperTile(32, 1, max_depth=1, scale_depth=True)) == {(384, 16), (96, 96), (24, 24)}
    assert sizes(HyperTile(2048, 1)) == {(384, 384), (96, 96), (24, 24)}


@pytest.mark.parametrize(
    ("side", "least", "options"), [(64, 8, 3), (60, 7, 2), (17, 5, 4), (8, 32, 2), (1, 4, 1)]
)
def test_sides_are_divided_into_equal_parts(side: int, least: int, options: int) -> None:
    random = torch.Generator().manual_seed(0)
    drawn = {drawn_division(side, least, options, random) for _ in range(60)}
    parts = [part for part in range(min(least, side), side + 1) if side % part == 0]
    assert drawn == {side // part for part in parts[:options]}


def shrunk_by_hand(unet: UNet, block: int, factor: float, *, after_skip: bool) -> Tensor:
    """The UNet's way down and up, written out, with the published change in it."""

    def resize(h: Tensor, size: Sequence[int]) -> Tensor:
        return F.interpolate(h, size=tuple(size), mode="bicubic")

    context = Prompt(CONTEXT)
    emb = unet.time_embed(timestep_embedding(TIME, CONFIG.channels[0]))
    h, skips = torch.cat([X, X]), []
    for place, stage in enumerate(unet.input_blocks):
        h = stage(h, Signals(emb, context, Place("input", place)))
        small = [round(side / factor) for side in h.shape[2:]]
        if place == block and not after_skip:
            h = resize(h, small)
        skips.append(h)
        if place == block and after_skip:
            h = resize(h, small)
    h = unet.middle_block(h, Signals(emb, context, Place("middle", 0)))
    for place, stage in enumerate(unet.output_blocks):
        skip = skips.pop()
        if h.shape[2] != skip.shape[2]:
            h = resize(h, skip.shape[2:])
        size = (skips[-1].shape[2], skips[-1].shape[3]) if skips else None
        h = stage(torch.cat([h, skip], dim=1), Signals(emb, context, Place("output", place), size))
    result: Tensor = unet.out(h)
    return result


@pytest.mark.parametrize("after_skip", [True, False])
@pytest.mark.parametrize(("block", "factor"), [(1, 2.0), (2, 2.0), (3, 1.5), (5, 2.0), (2, 0.5)])
def test_deep_shrink(unet: UNet, block: int, factor: float, after_skip: bool) -> None:
    feature = DeepShrink(block, factor, after_skip, "bicubic", "bicubic")
    expected = shrunk_by_hand(unet, block, factor, after_skip=after_skip)
    assert relative_error(expected, unet(X, TIME, CONTEXT)) > 1e-3
    assert relative_error(with_feature(unet, feature), expected) < CLOSE


def model() -> Model:
    return Model(WEIGHTS, CONFIG, Runtime(Placement(pack=False)))


def prompt(seed: int) -> Conditioning:
    return Conditioning((Cond(normal(1, 7, CONFIG.context_dim, seed=seed)),))


POSITIVE, NEGATIVE, EMPTY = prompt(11), prompt(12), prompt(13)
SIGMA, SCHEDULE = 2.5, stable_diffusion_schedule()


def predictor(value: Model) -> Any:
    network = value.runtime.unet(value)
    return Denoiser(network, SCHEDULE, read=network.read).predict


def x0(reference: Any, x: Tensor, conditioning: Conditioning, rows: int = 1) -> Tensor:
    """What diffusers' UNet says x is without its noise; it sees every picture `rows` times in a row."""
    seen = torch.cat([x / (SIGMA**2 + 1) ** 0.5] * rows)
    context = conditioning.entries[0].embedding.expand(len(seen), -1, -1)
    time = torch.tensor([SCHEDULE.timestep(SIGMA)])
    return torch.cat([x] * rows) - SIGMA * reference(seen, time, context).sample


def middle_attention(reference: Any) -> Any:
    return reference.mid_block.attentions[0].transformer_blocks[0].attn1


def perturbed_by_diffusers(x: Tensor, conditioning: Conditioning) -> Tensor:
    from diffusers.models.attention_processor import PAGIdentitySelfAttnProcessor2_0

    reference = diffusers_unet(CONFIG, WEIGHTS)
    middle_attention(reference).set_processor(PAGIdentitySelfAttnProcessor2_0())
    return x0(reference, x, conditioning, rows=2)[len(x) :]  # the second half of a batch is perturbed


def test_perturbed_attention_guidance_is_what_diffusers_makes_of_it() -> None:
    x = normal(2, 4, 8, 8, seed=3) * SIGMA
    value = call_node("PerturbedAttentionGuidance", model=model(), scale=1.7)
    found = CFG(value, POSITIVE, NEGATIVE, 4.0).guide(predictor(value), x, SIGMA).denoised
    reference = diffusers_unet(CONFIG, WEIGHTS)
    cond, uncond = x0(reference, x, POSITIVE), x0(reference, x, NEGATIVE)
    perturbed = perturbed_by_diffusers(x, POSITIVE)
    assert relative_error(perturbed, cond) > 1e-4
    expected = uncond + 4.0 * (cond - uncond) + 1.7 * (cond - perturbed)
    assert relative_error(found, expected) < CLOSE


def test_perturbed_attention_guides_every_guider_by_its_own_prompt() -> None:
    x = normal(1, 4, 8, 8, seed=3) * SIGMA
    plain, value = model(), call_node("PerturbedAttentionGuidance", model=model(), scale=1.7)
    perturbed = perturbed_by_diffusers(x, POSITIVE)
    cond = x0(diffusers_unet(CONFIG, WEIGHTS), x, POSITIVE)
    for with_it, without in (
        (Unguided(value, POSITIVE), Unguided(plain, POSITIVE)),
        (
            PerpNeg(value, POSITIVE, NEGATIVE, EMPTY, 3.0, 1.0),
            PerpNeg(plain, POSITIVE, NEGATIVE, EMPTY, 3.0, 1.0),
        ),
    ):
        found = with_it.guide(predictor(value), x, SIGMA).denoised
        expected = without.guide(predictor(plain), x, SIGMA).denoised + 1.7 * (cond - perturbed)
        assert relative_error(found, expected) < CLOSE


class Storing:
    """An attention processor of diffusers that computes attention by its definition, and keeps what it computed."""

    def __call__(self, attn: Any, hidden_states: Tensor, **_: Any) -> Tensor:
        query, key, value = (
            attn.head_to_batch_dim(project(hidden_states)) for project in (attn.to_q, attn.to_k, attn.to_v)
        )
        self.probabilities = attn.get_attention_scores(query, key)  # [B * H, N, N]
        result: Tensor = attn.to_out[0](attn.batch_to_head_dim(self.probabilities @ value))
        return result


def gaussian(x: Tensor, deviation: float) -> Tensor:
    """9 x 9 cells, mirrored at the edges, summed up one by one."""
    weights = [math.exp(-0.5 * (place / deviation) ** 2) for place in range(-4, 5)]
    padded = F.pad(x.double(), [4, 4, 4, 4], mode="reflect")
    height, width = x.shape[2:]
    total = sum(
        weights[down] * weights[across] * padded[..., down : down + height, across : across + width]
        for down in range(9)
        for across in range(9)
    )
    assert isinstance(total, Tensor)
    return (total / sum(weights) ** 2).float()


def sag_by_hand(x: Tensor, blur: float) -> tuple[Tensor, Tensor]:
    """(degraded, x0 predicted from it without the prompt): Hong et al. 2023, section 4, as their code has it."""
    reference, store = diffusers_unet(CONFIG, WEIGHTS), Storing()
    middle_attention(reference).set_processor(store)
    uncond = x0(reference, x, NEGATIVE)
    batch, _, height, width = x.shape
    looked_at = store.probabilities.unflatten(0, (batch, -1)).mean(1).sum(1)
    mask = (looked_at > 1.0).reshape(batch, 1, height // 4, width // 4).repeat(1, 4, 1, 1).float()
    assert 0 < mask.mean() < 1
    mask = F.interpolate(mask, (height, width))
    degraded = gaussian(uncond, blur) * mask + uncond * (1 - mask)
    return degraded, x0(reference, degraded + x - uncond, NEGATIVE)


@pytest.mark.parametrize("scale", [1.0, 5.0])
def test_self_attention_guidance_on_the_network_of_diffusers(scale: float) -> None:
    x = normal(2, 4, 16, 24, seed=3) * SIGMA
    value = call_node("SelfAttentionGuidance", model=model(), scale=0.8, blur_sigma=1.5)
    found = CFG(value, POSITIVE, NEGATIVE, scale).guide(predictor(value), x, SIGMA).denoised
    reference = diffusers_unet(CONFIG, WEIGHTS)
    cond, uncond = x0(reference, x, POSITIVE), x0(reference, x, NEGATIVE)
    degraded, predicted = sag_by_hand(x, 1.5)
    expected = uncond + scale * (cond - uncond) + 0.8 * (degraded - predicted)
    assert relative_error(found, uncond + scale * (cond - uncond)) > 1e-3
    assert relative_error(found, expected) < CLOSE


def test_self_attention_guidance_with_three_prompts_watches_the_negative_one() -> None:
    x = normal(1, 4, 16, 16, seed=3) * SIGMA
    plain, value = model(), call_node("SelfAttentionGuidance", model=model(), scale=0.8, blur_sigma=1.5)
    found = PerpNeg(value, POSITIVE, NEGATIVE, EMPTY, 3.0, 1.0).guide(predictor(value), x, SIGMA).denoised
    without = PerpNeg(plain, POSITIVE, NEGATIVE, EMPTY, 3.0, 1.0).guide(predictor(plain), x, SIGMA).denoised
    degraded, predicted = sag_by_hand(x, 1.5)
    assert relative_error(found, without + 0.8 * (degraded - predicted)) < CLOSE


@pytest.mark.parametrize(
    ("guider", "x", "said"),
    [
        (lambda value: Unguided(value, POSITIVE), X, "negative"),
        (lambda value: CFG(value, POSITIVE, NEGATIVE, 2.0), X[..., :4, :], "more than 32 pixels"),
        (
            lambda value: DualCFG(value, POSITIVE, EMPTY, NEGATIVE, 2.0, 2.0),
            X[..., :4],
            "more than 32 pixels",
        ),
    ],
)
def test_self_attention_guidance_says_what_it_needs(
    guider: Callable[[Model], Any], x: Tensor, said: str
) -> None:
    value = call_node("SelfAttentionGuidance", model=model())
    with pytest.raises(ValueError, match=said):
        guider(value).guide(predictor(value), x, SIGMA)
