"""A workflow as a person keeps it: a JSON file, or a picture that a workflow made."""

import json
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from nodes.metadata import picture_texts

MAX_BYTES = 64 << 20
_UNREADABLE = (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError)
_JSON_STARTS = (b"{", b"[", b"\xef\xbb\xbf")


class NoWorkflow(ValueError):
    """The file can't be read, or holds no workflow. The message says what to do."""


def read_workflow_file(path: Path) -> tuple[str | bytes, dict[str, Any]]:
    """(the workflow's JSON text, what travels with it into the pictures it makes).

    A workflow in the editor's form is kept as `workflow`, so that the editor can open the pictures.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise NoWorkflow(
            f"there is no file {path}; the workflows that come along are in workflows/"
        ) from error
    except OSError as error:
        raise NoWorkflow(f"{path} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise NoWorkflow(f"{str(path)!r} is no name of a file: {error}") from error
    if len(content) > MAX_BYTES:
        raise NoWorkflow(f"{path} is larger than {MAX_BYTES >> 20} MB: it is no workflow")
    if path.suffix.lower() in (".png", ".webp", ".jpg", ".jpeg") and not content.startswith(_JSON_STARTS):
        return _from_picture(path), {}
    return content, _kept(content)


def _from_picture(path: Path) -> str:
    try:
        with Pillow.open(path) as picture:
            texts = picture_texts(picture)
    except _UNREADABLE as error:
        raise NoWorkflow(f"{path} is neither a picture that can be read nor JSON") from error
    for key in ("prompt", "workflow"):
        if key in texts:
            return texts[key]
    raise NoWorkflow(f"{path} carries no workflow: it was not made by one, or was saved anew without it")


def _kept(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    drawn = isinstance(document, dict) and isinstance(document.get("nodes"), list)
    return {"workflow": document} if drawn else {}
