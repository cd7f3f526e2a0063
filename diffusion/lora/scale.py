"""The alphas that peft and diffusers keep outside a LoRA's tensors: in the file's header or in the file beside it."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from diffusion.lora.keys import Part

HEADER_KEY = "lora_adapter_metadata"
"""Where diffusers puts the adapters' settings in a safetensors header: JSON, its keys prefixed by the network."""

BESIDE = "adapter_config.json"
"""Where peft puts them: a file in the folder of adapter_model.safetensors."""

_PREFIXES: Mapping[str, Part] = {"unet.": "unet", "text_encoder.": "text"}


@dataclass(frozen=True)
class AdapterSettings:
    """What peft's configs say of one network's scale. patterns: alphas of single modules, by name or regex.

    rank: for modules whose tensors do not tell it.
    """

    alpha: float | None = None
    patterns: Mapping[str, float] = field(default_factory=dict)
    rank_stabilised: bool = False
    rank: int | None = None

    def scale(self, module: str, rank: int | None) -> float:
        """alpha / rank, or alpha / sqrt(rank) for rank-stabilised LoRA (Kalajdzievski 2023); 1 without an alpha."""
        named = (a for name, a in self.patterns.items() if re.match(rf"(.*\.)?({name})$", module))
        alpha, rank = next(named, self.alpha), rank or self.rank
        if alpha is None or rank is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self.rank_stabilised else rank)


def adapter_settings(path: Path, header: Mapping[str, str]) -> Mapping[Part, AdapterSettings]:
    """The settings of each network's adapter, as far as the file's header or the file beside it has any.

    Raises ValueError when they are there but cannot be understood.
    """
    try:
        if HEADER_KEY in header:
            return _per_part(json.loads(header[HEADER_KEY]))
        beside = path.with_name(BESIDE)
        if path.stem.startswith("adapter_model") and beside.is_file():
            return _per_part(json.loads(beside.read_text(encoding="utf-8")))
    except (ValueError, TypeError, AttributeError, re.error) as error:
        raise ValueError(
            f"{path}: its LoRA settings ({HEADER_KEY} or {BESIDE}) are damaged: {error}"
        ) from error
    return {}


def _per_part(said: Mapping[str, object]) -> dict[Part, AdapterSettings]:
    """Settings without a network's prefix are those of whichever network the file is for."""
    prefixed = any(key.startswith(tuple(_PREFIXES)) for key in said)
    return {part: _settings(_under(prefix, said) if prefixed else said) for prefix, part in _PREFIXES.items()}


def _under(prefix: str, said: Mapping[str, object]) -> dict[str, object]:
    return {key.removeprefix(prefix): value for key, value in said.items() if key.startswith(prefix)}


def _settings(said: Mapping[str, object]) -> AdapterSettings:
    # LoHa and LoKr call it alpha, LoRA lora_alpha.
    alpha, patterns = said.get("lora_alpha", said.get("alpha")), said.get("alpha_pattern") or {}
    rank = said.get("r")
    if not isinstance(patterns, Mapping):
        raise TypeError(f"alpha_pattern is {patterns!r}, not a table")
    for name in patterns:
        re.compile(name)
    return AdapterSettings(
        alpha=None if alpha is None else float(str(alpha)),
        patterns={name: float(value) for name, value in patterns.items()},
        rank_stabilised=bool(said.get("use_rslora")),
        rank=rank if type(rank) is int and rank > 0 else None,
    )
