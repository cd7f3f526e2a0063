"""The files behind `embedding:name` in a prompt."""

from pathlib import Path

from torch import Tensor

from diffusion.text.embeddings import SUFFIXES, FindEmbedding, read_embedding
from graph import QUIET, Context, Folders
from nodes.fingerprints import file_stamp

KIND = "embeddings"


def embedding_path(folders: Folders, name: str) -> Path | None:
    """The file of an embedding: by its path in the folder, or by its name in any sub-folder; suffix given or not."""
    wanted = name.replace("\\", "/")
    spellings = tuple(wanted + suffix for suffix in ("", *SUFFIXES))
    known = [file for file in folders.list(KIND) if file.lower().endswith(SUFFIXES)]
    direct = [spelling for spelling in spellings if spelling in known]
    below = [file for file in known if file.endswith(tuple(f"/{spelling}" for spelling in spellings))]
    return next((folders.find(KIND, file) for file in [*direct, *below]), None)


def embeddings_of(ctx: Context) -> FindEmbedding:
    """What finds the embeddings that prompts name."""

    def find(name: str) -> Tensor | None:
        path = embedding_path(ctx.folders, name)
        return None if path is None else read_embedding(path)

    return find


def prompt_stamp(*, text: str | None = None, ctx: Context = QUIET) -> str:
    """What a prompt's result depends on beside the prompt: the embeddings there are, if it names any.

    text: None where it is not known yet.
    """
    if text is not None and "embedding:" not in text:
        return ""
    return "\n".join(file_stamp(ctx.folders.find(KIND, name)) for name in ctx.folders.list(KIND))
