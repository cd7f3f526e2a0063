"""`embedding:name` in the prompt of a node: which file it finds, and when a changed file is noticed."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion.config import TextConfig
from diffusion.model import Clip
from diffusion.runtime import Runtime
from diffusion.text.encode import encode
from diffusion.text.tokenizer import Tokenizer
from diffusion.types import Conditioning
from graph import Context, Executor, Folders, Link, Node, Registry, Shown, Workflow, node
from nodes.conditioning import clip_text_encode
from nodes.embeddings import embedding_path
from tests.diffusion.text_reference import text_weights

CONFIG = TextConfig(vocab_size=520, width=16, layers=1, num_heads=2, hidden=32)
CLIP = Clip(text_weights(CONFIG), CONFIG, Tokenizer.from_merges(("c a", "ca t</w>")), Runtime())


def vectors(seed: int) -> Tensor:
    return torch.randn(2, 16, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    below = tmp_path / "models" / "embeddings" / "styles"
    below.mkdir(parents=True)
    save_file({"emb_params": vectors(1)}, below.parent / "ink.safetensors")
    torch.save({"string_to_param": {"*": vectors(2)}}, below / "oil.pt")
    torch.save({"<x>": vectors(3)}, below / "ink.bin")
    (below / "notes.txt").write_text("not an embedding")
    return Folders(models=(tmp_path / "models",), output=tmp_path / "output")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ink", "ink.safetensors"),
        ("ink.safetensors", "ink.safetensors"),
        ("styles/ink", "styles/ink.bin"),
        (r"styles\ink", "styles/ink.bin"),
        ("oil", "styles/oil.pt"),
        ("oil.pt", "styles/oil.pt"),
        ("notes.txt", None),
        ("notes", None),
        ("../embeddings/ink", None),
        ("k", None),
    ],
)
def test_names_and_their_files(folders: Folders, name: str, file: str | None) -> None:
    expected = None if file is None else folders.find("embeddings", file)
    assert embedding_path(folders, name) == expected


def test_the_node_puts_the_vectors_into_the_prompt(folders: Folders) -> None:
    found = clip_text_encode(text="cat embedding:oil", clip=CLIP, ctx=Context(folders=folders))
    expected = encode(CLIP, "cat embedding:any", lambda name: vectors(2))
    assert torch.equal(found.entries[0].embedding, expected.entries[0].embedding)


def test_a_missing_embedding_says_where_it_belongs(folders: Folders) -> None:
    with pytest.raises(
        ValueError, match=r"'pencil', and there is no such file; put it into models/embeddings"
    ):
        clip_text_encode(text="cat, (embedding:pencil:1.2)", clip=CLIP, ctx=Context(folders=folders))


@node("Clip", category="toys")
def clip() -> Clip:
    """A text encoder."""
    return CLIP


@node("Words", category="toys")
def words() -> str:
    """A prompt."""
    return "cat embedding:oil"


@node("Show", category="toys", output=True)
def show(*, conditioning: Conditioning) -> Shown[None]:
    """Show a conditioning."""
    return Shown(None, ui={"sum": [float(conditioning.entries[0].embedding.abs().sum())]})


@pytest.mark.parametrize(
    ("text", "seen"), [("cat embedding:oil", True), (Link("words"), True), ("a cat", False)]
)
def test_a_changed_file_is_noticed_where_the_prompt_may_name_one(
    folders: Folders, text: object, seen: bool
) -> None:
    workflow = Workflow(
        {
            "clip": Node.of(clip),
            "words": Node.of(words),
            "text": Node.of(clip_text_encode, text=text, clip=Link("clip")),
            "show": Node.of(show, conditioning=Link("text")),
        }
    )
    executor = Executor(Registry.of(clip, words, clip_text_encode, show), folders=folders)
    first = executor.run(workflow)
    assert first.errors == ()
    assert executor.run(workflow).timings == {}
    replacement = folders.find("embeddings", "styles/oil.pt").with_suffix(".new")
    torch.save({"string_to_param": {"*": vectors(9)}}, replacement)
    replacement.rename(replacement.with_suffix(".pt"))
    again = executor.run(workflow)
    assert ("text" in again.timings) is seen
    assert not seen or again.ui["show"] != first.ui["show"]
