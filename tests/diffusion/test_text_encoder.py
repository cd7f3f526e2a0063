"""The text encoder against transformers' CLIPTextModel around the same random weights."""

import pytest
import torch
from torch import Tensor

from diffusion.config import SD15_TEXT, TextConfig
from diffusion.text.text_encoder import TextEncoder
from tests.diffusion.reference import faint, load, relative_error
from tests.diffusion.text_reference import reference_states, text_weights, transformers_text_model

TOLERANCE = 1e-4
TINY = TextConfig(vocab_size=923, width=128, layers=3, num_heads=2, hidden=512)
CONFIGS = {
    "tiny": TINY,
    "one layer, one head": TextConfig(
        vocab_size=60, width=24, layers=1, num_heads=1, hidden=40, positions=12
    ),
    "exact GELU": TextConfig(
        vocab_size=300, width=48, layers=4, num_heads=6, hidden=192, positions=77, activation="gelu"
    ),
    "many narrow heads": TextConfig(
        vocab_size=515, width=64, layers=6, num_heads=16, hidden=96, positions=33
    ),
}


def _ids(config: TextConfig, count: int = 3, seed: int = 0) -> Tensor:
    """Sequences as prompts make them: start, tokens, end, padding; each shorter than the one before."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, config.vocab_size - 2, (count, config.positions), generator=generator)
    ids[:, 0] = config.vocab_size - 2
    for row in range(count):
        ids[row, config.positions - 1 - 3 * row :] = config.vocab_size - 1
    return ids


def _encoder(config: TextConfig, weights: dict[str, Tensor]) -> TextEncoder:
    return load(lambda: TextEncoder(config), weights).requires_grad_(False)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("quiet", [False, True], ids=["plain", "faint"])
def test_states_of_every_layer_equal_transformers(name: str, quiet: bool) -> None:
    config = CONFIGS[name]
    weights = text_weights(config)
    if quiet:
        weights = faint(weights)
    ids = _ids(config)
    encoder, reference = _encoder(config, weights), transformers_text_model(config, weights)
    for layer in range(-config.layers, 0):
        found, expected = encoder(ids, layer), reference_states(reference, weights, ids, layer)
        assert relative_error(found.last, expected.last) < TOLERANCE
        assert relative_error(found.hidden, expected.hidden) < TOLERANCE
        assert relative_error(found.pooled, expected.pooled) < TOLERANCE


@pytest.mark.slow
def test_full_size_equals_transformers() -> None:
    weights = text_weights(SD15_TEXT)
    ids = _ids(SD15_TEXT, count=2)
    encoder, reference = _encoder(SD15_TEXT, weights), transformers_text_model(SD15_TEXT, weights)
    for layer in (-1, -2, -12):
        found, expected = encoder(ids, layer), reference_states(reference, weights, ids, layer)
        assert relative_error(found.last, expected.last) < TOLERANCE
        assert relative_error(found.hidden, expected.hidden) < TOLERANCE
        assert relative_error(found.pooled, expected.pooled) < TOLERANCE


def test_the_last_layer_is_the_default() -> None:
    encoder, ids = _encoder(TINY, text_weights(TINY)), _ids(TINY)
    states = encoder(ids)
    assert torch.equal(states.hidden, states.last)
    assert torch.equal(states.last, encoder(ids, -2).last)
    assert not torch.equal(states.hidden, encoder(ids, -2).hidden)


def test_a_token_is_blind_to_what_follows() -> None:
    encoder, ids = _encoder(TINY, text_weights(TINY)), _ids(TINY, count=1)
    changed = ids.clone()
    changed[:, 40:] = 5
    before, after = encoder(ids).last, encoder(changed).last
    torch.testing.assert_close(before[:, :40], after[:, :40])
    assert relative_error(after[:, 40:], before[:, 40:]) > 0.01


def test_sequences_may_be_shorter_than_the_encoder_has_positions() -> None:
    encoder, ids = _encoder(TINY, text_weights(TINY)), _ids(TINY, count=1)
    torch.testing.assert_close(encoder(ids[:, :20]).last, encoder(ids).last[:, :20])


def test_pooled_is_the_state_at_the_first_end_token() -> None:
    encoder, ids = _encoder(TINY, text_weights(TINY)), _ids(TINY, count=1)
    ids[0, 10] = 922
    states = encoder(ids)
    assert torch.equal(states.pooled[0], states.last[0, 10])
    ids[0, 20] = 7
    ids[0, 5:20] = 8
    states = encoder(ids, end_token=7)
    assert torch.equal(states.pooled[0], states.last[0, 20])


def test_vectors_may_stand_for_tokens() -> None:
    encoder, ids = _encoder(TINY, text_weights(TINY)), _ids(TINY)
    vectors = encoder.text_model.embeddings.token_embedding(ids)
    assert torch.equal(encoder(ids, embeddings=vectors).last, encoder(ids).last)
    vectors[:, 4] = 0.5
    assert not torch.equal(encoder(ids, embeddings=vectors).last, encoder(ids).last)


@pytest.mark.parametrize("layer", [0, 1, -4, -12])
def test_a_layer_that_does_not_exist_is_an_error_that_says_how_many_there_are(layer: int) -> None:
    encoder = _encoder(TINY, text_weights(TINY))
    with pytest.raises(ValueError, match=rf"layer {layer} .* 3 layers.* from -3 to -1"):
        encoder(_ids(TINY), layer)


def test_a_sequence_too_long_is_an_error() -> None:
    encoder = _encoder(TINY, text_weights(TINY))
    with pytest.raises(ValueError, match=r"78 tokens is too long.* 77 positions"):
        encoder(torch.zeros(1, 78, dtype=torch.long))


def test_configs_that_make_no_sense_are_errors() -> None:
    with pytest.raises(ValueError, match=r"width 10 .* 3 heads"):
        TextEncoder(TextConfig(vocab_size=8, width=10, layers=1, num_heads=3, hidden=8))
    with pytest.raises(ValueError, match=r"'relu'.*quick_gelu, gelu"):
        TextEncoder(TextConfig(vocab_size=8, width=8, layers=1, num_heads=2, hidden=8, activation="relu"))
