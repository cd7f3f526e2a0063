"""Textual inversion: files of every layout, and prompts that name them, against transformers with tokens added."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from diffusion.config import TextConfig
from diffusion.files.mapped_file import CheckpointError
from diffusion.model import Clip
from diffusion.runtime import Runtime
from diffusion.text.embeddings import read_embedding
from diffusion.text.encode import encode
from diffusion.text.prompt import pack_chunks, prompt_parts
from diffusion.text.tokenizer import Tokenizer
from diffusion.types import Cond
from tests.diffusion.reference import relative_error
from tests.diffusion.text_reference import reference_states, text_weights, transformers_text_model

MERGES = ("t h", "th e</w>", "c a", "ca t</w>", "r e", "re d</w>")
THE, CAT, RED = 513, 515, 517
START, END = 518, 519
CONFIG = TextConfig(vocab_size=520, width=32, layers=2, num_heads=4, hidden=64)
WEIGHTS = text_weights(CONFIG)
TOKENIZER = Tokenizer.from_merges(MERGES)
(COMMA,) = TOKENIZER.encode(",")
TOKENS = "text_model.embeddings.token_embedding.weight"


def drawn(count: int, width: int = CONFIG.width) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(count))


KNOWN: Mapping[str, Tensor] = {"one": drawn(1), "style": drawn(3), "long": drawn(80), "odd,": drawn(2)}


def clip() -> Clip:
    return Clip(WEIGHTS, CONFIG, TOKENIZER, Runtime())


def encoded(text: str) -> Cond:
    (cond,) = encode(clip(), text, KNOWN.get).entries
    return cond


def reference(*chunks: list[int]) -> Tensor:
    """transformers' states for ids, those from 520 on standing for the vectors of KNOWN in order."""
    weights = {**WEIGHTS, TOKENS: torch.cat([WEIGHTS[TOKENS], *KNOWN.values()])}
    config = replace(CONFIG, vocab_size=len(weights[TOKENS]))
    model = transformers_text_model(config, weights)
    return reference_states(model, weights, torch.tensor(chunks)).hidden


def chunk(*ids: int) -> list[int]:
    return [START, *ids] + [END] * (76 - len(ids))


ONE, STYLE, LONG = 520, range(521, 524), range(524, 604)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("embedding:one", [ONE]),
        ("the embedding:style cat", [THE, *STYLE, CAT]),
        ("the embedding:one, cat", [THE, ONE, COMMA, CAT]),
        ("embedding:one embedding:style", [ONE, *STYLE]),
        ("the\nembedding:one\ncat", [THE, ONE, CAT]),
    ],
)
def test_an_embedding_stands_where_its_words_would(text: str, ids: list[int]) -> None:
    assert relative_error(encoded(text).embedding[0], reference(chunk(*ids))[0]) < 1e-4


def test_a_weight_counts_for_every_vector() -> None:
    states, empty = reference(chunk(THE, *STYLE, CAT), chunk())
    states[2:5] = empty[2:5] + 1.4 * (states[2:5] - empty[2:5])
    assert relative_error(encoded("the (embedding:style:1.4) cat").embedding[0], states) < 1e-4


def test_a_name_may_end_in_a_comma() -> None:
    plain = pack_chunks(prompt_parts("embedding:odd, cat", TOKENIZER, KNOWN.get), TOKENIZER)
    assert [token.id for token in plain[0][1:5]] == [START, START, CAT, END]


def test_few_vectors_move_to_the_next_chunk_and_many_are_cut() -> None:
    moved = reference(chunk(*[CAT] * 74), chunk(*STYLE))
    assert relative_error(encoded("cat " * 74 + "embedding:style").embedding[0], moved.flatten(0, 1)) < 1e-4
    cut = reference(chunk(CAT, *LONG[:74]), chunk(*LONG[74:]))
    assert relative_error(encoded("cat embedding:long").embedding[0], cut.flatten(0, 1)) < 1e-4


def test_pooled_is_still_read_at_the_end() -> None:
    found = encoded("the embedding:style").pooled
    states = encoded("the embedding:style").embedding
    assert found is not None
    torch.testing.assert_close(found[0], states[0, 5])


def test_break_begins_a_chunk() -> None:
    for text in ("the cat BREAK red", "the cat\nBREAK\nred BREAK"):
        expected = reference(chunk(THE, CAT), chunk(RED))
        assert relative_error(encoded(text).embedding[0], expected.flatten(0, 1)) < 1e-4
    assert encoded("the break red").embedding.shape[1] == encoded("BREAKS red").embedding.shape[1] == 77
    assert encoded("BREAK").embedding.shape[1] == 77
    assert encoded("the BREAK BREAK red").embedding.shape[1] == 3 * 77


def test_break_keeps_the_weight_around_it() -> None:
    first, second, empty = reference(chunk(CAT), chunk(RED), chunk())
    for states in (first, second):
        states[1] = empty[1] + 1.5 * (states[1] - empty[1])
    found = encoded("(cat BREAK red:1.5)").embedding[0]
    assert relative_error(found, torch.cat([first, second])) < 1e-4


def test_vectors_for_another_encoder() -> None:
    with pytest.raises(ValueError, match=r"'big' has vectors of 48 numbers, this text encoder reads 32"):
        encode(clip(), "embedding:big", lambda name: drawn(1, 48))


@pytest.mark.parametrize("text", ["embedding:", "embedding:none", "a embedding:none, cat", "(embedding:,)"])
def test_a_name_without_a_file(text: str) -> None:
    with pytest.raises(ValueError, match=r"names the embedding .*models/embeddings"):
        encoded(text)


def test_what_only_looks_like_an_embedding_is_words() -> None:
    assert torch.equal(encoded("xembedding:one").embedding, encoded("xembedding : one").embedding)


def files(folder: Path, vectors: Tensor) -> dict[str, Path]:
    """The same vectors in the layouts that programs write."""

    def saved(name: str, content: Any) -> Path:
        path = folder / name
        torch.save(content, path)
        return path

    one = nn.Parameter(vectors)
    original = nn.ParameterDict({"*": one})
    tensors = {"emb_params": vectors}
    save_file(tensors, folder / "emb.safetensors")
    save_file({"clip_g": drawn(3, 48), "clip_l": vectors}, folder / "two.safetensors")
    return {
        "webui": saved(
            "webui.pt",
            {
                "string_to_token": {"*": 265},
                "string_to_param": {"*": one},
                "name": "style",
                "step": 4000,
                "sd_checkpoint": None,
            },
        ),
        "original": saved("original.pt", {"string_to_token": {"*": 265}, "string_to_param": original}),
        "diffusers": saved("learned_embeds.bin", {"<style>": vectors}),
        "half": saved("half.pt", {"string_to_param": {"*": vectors.half()}}),
        "safetensors": folder / "emb.safetensors",
        "two encoders": folder / "two.safetensors",
    }


@pytest.mark.parametrize("kind", ["webui", "original", "diffusers", "half", "safetensors", "two encoders"])
def test_every_layout_gives_the_vectors(tmp_path: Path, kind: str) -> None:
    found = read_embedding(files(tmp_path, drawn(3))[kind])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, drawn(3), rtol=1e-3, atol=1e-3 if kind == "half" else 0)


def test_a_single_vector_is_a_row(tmp_path: Path) -> None:
    torch.save({"<cat>": drawn(1)[0]}, tmp_path / "one.bin")
    torch.testing.assert_close(read_embedding(tmp_path / "one.bin"), drawn(1))


def test_files_that_are_something_else(tmp_path: Path) -> None:
    save_file({f"layer.{i}.weight": drawn(2) for i in range(20)}, tmp_path / "lora.safetensors")
    save_file({"emb_params": drawn(2) / 0}, tmp_path / "nan.safetensors")
    save_file({"weight": torch.ones(3, 3, 1)}, tmp_path / "cube.safetensors")
    for name, message in (("lora", "not an embedding"), ("nan", "NaN"), ("cube", "not an embedding")):
        with pytest.raises(CheckpointError, match=message):
            read_embedding(tmp_path / f"{name}.safetensors")


class Harmful:
    def __reduce__(self) -> Any:
        return print, ("run!",)


def test_no_code_of_a_pt_file_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"string_to_param": {"*": drawn(1)}, "name": Harmful()}, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match="print"):
        read_embedding(tmp_path / "bad.pt")
    assert capsys.readouterr().out == ""
