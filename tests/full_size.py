"""A Stable Diffusion 1.5 checkpoint of seeded random weights: every key and shape of the real one, 4.3 GB in float32.

Written once into a cache folder outside the project, and shared by the tests of this and later sessions. The latents
in tests/data/parity were made from the same weights by another program.
"""

import json
import math
import os
import tempfile
import zlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

_RECIPE = 1
"""Raised when the weights change, so that no older file is taken for this one."""


def cached_checkpoint() -> Path:
    """The checkpoint's path; the file is made first where it is not there yet (about 40 s)."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weft-tests"
    path = folder / f"sd15-seeded-{_RECIPE}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            written = Path(unfinished) / path.name
            save_file(seeded_weights(), written)
            # Renaming is atomic: a run cut short, or a second one beside it, leaves no partial file behind.
            written.replace(path)
    return path


def seeded_weights() -> dict[str, Tensor]:
    """Original single-file keys to float32 tensors."""
    shapes = json.loads((Path(__file__).parent / "data" / "sd15_keys.json").read_text())
    return {key: _weight(key, shape) for key, shape in shapes}


def _weight(key: str, shape: list[int]) -> Tensor:
    """Unit-variance matrices and kernels, norms near 1, small biases and embeddings; seeded by the key alone."""
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    if "embedding" in key or (len(shape) == 1 and not key.endswith(".weight")):
        drawn *= 0.02
    elif len(shape) == 1:
        drawn = 1 + drawn * 0.02
    else:
        drawn /= math.sqrt(math.prod(shape[1:]))
    # The reference latents come from a text encoder kept in half precision.
    return drawn.half().float() if key.startswith("cond_stage_model.") else drawn
