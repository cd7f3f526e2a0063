"""Prompt to conditioning against transformers' CLIPTextModel and the weighting written out token by token."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.config import TextConfig
from diffusion.model import Clip
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from diffusion.text.encode import encode
from diffusion.text.tokenizer import Tokenizer
from diffusion.types import Cond
from tests.diffusion.reference import relative_error
from tests.diffusion.text_reference import reference_states, text_weights, transformers_text_model

TOLERANCE = 1e-4
MERGES = ("t h", "th e</w>", "c a", "ca t</w>", "r e", "re d</w>")
THE, CAT, RED = 513, 515, 517
START, END = 518, 519
CONFIG = TextConfig(vocab_size=520, width=32, layers=3, num_heads=4, hidden=64)
WEIGHTS = text_weights(CONFIG)
TOKENIZER = Tokenizer.from_merges(MERGES)
EMPTY = [START] + [END] * 76


def _clip(runtime: Runtime | None = None) -> Clip:
    return Clip(WEIGHTS, CONFIG, TOKENIZER, runtime or Runtime())


@pytest.fixture(scope="module")
def reference() -> Any:
    return transformers_text_model(CONFIG, WEIGHTS)


def _encoded(clip: Clip, text: str) -> Cond:
    (cond,) = encode(clip, text).entries
    assert cond.embedding.dtype == torch.float32
    assert cond.embedding.shape[::2] == (1, CONFIG.width)
    assert cond.pooled is not None
    assert cond.pooled.shape == (1, CONFIG.width)
    assert cond.pooled.dtype == torch.float32
    return cond


def _chunk(*ids: int) -> list[int]:
    return [START, *ids] + [END] * (76 - len(ids))


def _states(reference: Any, *chunks: list[int], layer: int = -1) -> Tensor:
    return reference_states(reference, WEIGHTS, torch.tensor(chunks), layer).hidden


@pytest.mark.parametrize("layer", [-1, -2, -3])
@pytest.mark.parametrize(
    ("text", "ids"), [("", []), ("the red cat", [THE, RED, CAT]), ("(the cat:1.0)", [THE, CAT])]
)
def test_plain_prompts(reference: Any, text: str, ids: list[int], layer: int) -> None:
    cond = _encoded(replace(_clip(), layer=layer), text)
    expected = reference_states(reference, WEIGHTS, torch.tensor([_chunk(*ids)]), layer)
    assert relative_error(cond.embedding, expected.hidden) < TOLERANCE
    assert cond.pooled is not None
    assert relative_error(cond.pooled, expected.pooled) < TOLERANCE


@pytest.mark.parametrize("layer", [-1, -2])
def test_weights_draw_away_from_the_empty_prompt(reference: Any, layer: int) -> None:
    cond = _encoded(replace(_clip(), layer=layer), "the (red:1.5) (cat (the:0.25))")
    states, empty = _states(reference, _chunk(THE, RED, CAT, THE), EMPTY, layer=layer)
    expected = states.clone()
    for position, weight in {2: 1.5, 3: 1.1, 4: 0.25}.items():
        expected[position] = empty[position] + weight * (states[position] - empty[position])
    assert relative_error(cond.embedding[0], expected) < TOLERANCE
    assert relative_error(cond.embedding[0, 2:5], expected[2:5]) < TOLERANCE


def test_a_token_of_weight_one_keeps_its_states_to_the_bit() -> None:
    plain, weighted = _encoded(_clip(), "the red cat"), _encoded(_clip(), "the red (cat:1.4)")
    assert torch.equal(plain.embedding[0, :3], weighted.embedding[0, :3])
    assert not torch.equal(plain.embedding[0, 3], weighted.embedding[0, 3])


def test_pooled_is_not_weighted() -> None:
    plain, weighted = _encoded(_clip(), "the red cat"), _encoded(_clip(), "the red (cat:1.4)")
    assert plain.pooled is not None
    assert weighted.pooled is not None
    torch.testing.assert_close(plain.pooled, weighted.pooled)


def test_weight_zero_is_the_empty_prompts_state_and_minus_one_its_mirror(reference: Any) -> None:
    cond = _encoded(_clip(), "(the:0) (cat:-1)")
    states, empty = _states(reference, _chunk(THE, CAT), EMPTY)
    assert relative_error(cond.embedding[0, 1], empty[1]) < TOLERANCE
    assert relative_error(cond.embedding[0, 2], 2 * empty[2] - states[2]) < TOLERANCE


def test_chunks_are_encoded_apart_and_joined(reference: Any) -> None:
    cond = _encoded(_clip(), "cat " * 75 + "(red the:1.3)")
    first, second, empty = _states(reference, _chunk(*[CAT] * 75), _chunk(RED, THE), EMPTY)
    second[1:3] = empty[1:3] + 1.3 * (second[1:3] - empty[1:3])
    assert relative_error(cond.embedding[0], torch.cat([first, second])) < TOLERANCE
    pooled = reference_states(reference, WEIGHTS, torch.tensor([_chunk(*[CAT] * 75)])).pooled
    assert cond.pooled is not None
    assert relative_error(cond.pooled, pooled) < TOLERANCE


def test_a_prompt_of_a_thousand_words(reference: Any) -> None:
    cond = _encoded(_clip(), "the cat " * 500)
    assert cond.embedding.shape == (1, 77 * 14, CONFIG.width)
    (last,) = _states(reference, _chunk(CAT, *[THE, CAT] * 12))  # 975 tokens stand before it
    assert relative_error(cond.embedding[0, -77:], last) < TOLERANCE


def test_chunks_are_as_long_as_the_encoder_has_positions() -> None:
    config = replace(CONFIG, positions=10)
    clip = Clip(text_weights(config), config, TOKENIZER, Runtime())
    assert _encoded(clip, "cat " * 9).embedding.shape == (1, 20, CONFIG.width)


def test_half_precision_encoders_give_float32() -> None:
    low = _encoded(_clip(Runtime(Placement(dtype=torch.bfloat16))), "the (red:1.2) cat")
    assert relative_error(low.embedding, _encoded(_clip(), "the (red:1.2) cat").embedding) < 0.05


def test_encoding_records_no_gradients() -> None:
    assert not _encoded(_clip(), "(cat)").embedding.requires_grad


@pytest.mark.parametrize("layer", [0, -4, -12])
def test_a_layer_the_encoder_does_not_have(layer: int) -> None:
    with pytest.raises(ValueError, match=rf"layer {layer} does not exist.* 3 layers"):
        encode(replace(_clip(), layer=layer), "cat")


def test_a_tokenizer_that_is_not_the_encoders() -> None:
    with pytest.raises(ValueError, match=r"token 49407 .* only has 520 tokens"):
        encode(replace(_clip(), tokenizer=Tokenizer.clip()), "cat")


@pytest.mark.parametrize("text", ["(cat:1e308)", "(" * 1000 + "cat" + ")" * 1000])
def test_emphasis_past_all_measure_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="emphasis in this prompt is too strong: a part of it weighs inf"):
        encode(_clip(), text)


@pytest.mark.parametrize(
    "text", ["embedding:foo", "a cat, (embedding:bad-hands:1.2)", "embedding:a embedding:b"]
)
def test_embeddings_that_are_not_there_are_refused_not_read_as_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"names the embedding .* no such file.* models/embeddings"):
        encode(_clip(), text)
