"""What tensor shapes cannot tell about a model: head and group counts, the activation, the tokenizer's merges."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffusion.config import SD15_TEXT, SD15_UNET, SD15_VAE
from diffusion.files.mapped_file import CheckpointError

FACTS_KEY = "weft.facts"
"""The key of a safetensors header's `__metadata__` under which they travel, as a JSON text."""


@dataclass(frozen=True)
class Facts:
    """The facts of one model; the defaults are Stable Diffusion 1.x's.

    text_heads: None means heads of 64 channels, as every CLIP text encoder has. merges: None means CLIP's own.
    """

    num_heads: int = SD15_UNET.num_heads
    unet_groups: int = SD15_UNET.norm_groups
    vae_groups: int = SD15_VAE.norm_groups
    text_heads: int | None = None
    activation: str = SD15_TEXT.activation
    merges: tuple[str, ...] | None = None


def facts_from_metadata(path: Path, metadata: Mapping[str, str]) -> Facts:
    """The facts in a safetensors header; Stable Diffusion 1.x's own for any that it does not state.

    The text is JSON, every part optional: {"unet": {"num_heads", "norm_groups"}, "vae": {"norm_groups"},
    "text": {"num_heads", "activation"}, "tokenizer": {"merges": ["t h", ...]}}. Raises CheckpointError when it
    is not readable.
    """
    text = metadata.get(FACTS_KEY)
    if text is None:
        return Facts()
    try:
        stated = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unusable(path, f"is not readable JSON ({error})") from error
    if not isinstance(stated, dict) or not all(isinstance(part, dict) for part in stated.values()):
        raise _unusable(path, "is not a table of parts")
    reader = _Stated(path, stated)
    return Facts(
        num_heads=reader.count("unet", "num_heads") or Facts.num_heads,
        unet_groups=reader.count("unet", "norm_groups") or Facts.unet_groups,
        vae_groups=reader.count("vae", "norm_groups") or Facts.vae_groups,
        text_heads=reader.count("text", "num_heads"),
        activation=reader.text("text", "activation") or Facts.activation,
        merges=reader.texts("tokenizer", "merges"),
    )


@dataclass(frozen=True)
class _Stated:
    path: Path
    parts: Mapping[str, Mapping[str, Any]]

    def count(self, part: str, name: str) -> int | None:
        value = self._value(part, name)
        if value is not None and (type(value) is not int or value < 1):
            raise _unusable(self.path, f"gives {part}.{name} as {value!r}, not a positive integer")
        return value

    def text(self, part: str, name: str) -> str | None:
        value = self._value(part, name)
        if value is not None and not isinstance(value, str):
            raise _unusable(self.path, f"gives {part}.{name} as {value!r}, not a text")
        return value

    def texts(self, part: str, name: str) -> tuple[str, ...] | None:
        value = self._value(part, name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _unusable(self.path, f"gives {part}.{name} as something other than a list of texts")
        return tuple(value)

    def _value(self, part: str, name: str) -> Any:
        return self.parts.get(part, {}).get(name)


def _unusable(path: Path, detail: str) -> CheckpointError:
    return CheckpointError(
        path, f"{FACTS_KEY} in its header {detail}", "Write the file again with the program that made it."
    )
