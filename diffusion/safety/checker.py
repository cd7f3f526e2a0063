"""The safety checker of Stable Diffusion 1.x: how near a picture comes to concepts that are not to be shown.

As diffusers' StableDiffusionSafetyChecker computes it. The concepts are known by their vectors alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.files.mapped_file import CheckpointError
from diffusion.files.weight_files import read_weights
from diffusion.safety.vision import VisionConfig, VisionTransformer, prepared
from diffusion.types import Image

_VISION_PREFIXES = ("vision_model.vision_model.", "vision_model.")
_OUTER_PREFIX = "safety_checker."
_CAUTION = 0.01
"""Added to the scores of a picture that comes near a concept of special care."""


@dataclass(frozen=True)
class Finding:
    """What was found in one picture: numbers of the concepts it comes too near to, with how far past their limits."""

    concepts: Mapping[int, float]
    special_care: Mapping[int, float]

    @property
    def flagged(self) -> bool:
        """Whether the picture is not to be shown."""
        return bool(self.concepts)


@dataclass(frozen=True, eq=False)
class SafetyChecker:
    """A vision transformer, the projection of its vectors [D, C], and the concepts.

    concepts: [n, D] vectors, and the cosine past which a picture is too near, [n]. special_care: the same for those
    that make the others stricter.
    """

    vision: VisionTransformer
    config: VisionConfig
    projection: Tensor
    concepts: Tensor
    limits: Tensor
    special_care: Tensor
    special_limits: Tensor

    @torch.inference_mode()
    def check(self, image: Image, adjustment: float = 0.0) -> tuple[Finding, ...]:
        """What is found in each picture [B, H, W, 3 or 4], 0..1.

        adjustment: added to all scores; above 0 flags more, below 0 less. Scores are rounded to 3 decimals.
        """
        return tuple(
            self._found(vector, adjustment) for picture in image.split(1) for vector in self.embed(picture)
        )

    def embed(self, image: Tensor) -> Tensor:
        """The vectors [B, D] of pictures [B, H, W, 3 or 4]."""
        return F.linear(self.vision(prepared(Image(image), self.config.image)), self.projection)

    def _found(self, vector: Tensor, adjustment: float) -> Finding:
        special = _past(vector, self.special_care, self.special_limits, adjustment)
        caution = _CAUTION if special else 0.0
        return Finding(_past(vector, self.concepts, self.limits, adjustment + caution), special)


def _past(vector: Tensor, concepts: Tensor, limits: Tensor, adjustment: float) -> dict[int, float]:
    cosines = F.cosine_similarity(vector[None], concepts)
    scores = (cosines - limits + adjustment).round(decimals=3)
    return {number: float(score) for number, score in enumerate(scores) if score > 0}


def load_safety_checker(path: Path) -> SafetyChecker:
    """Read a checker from its file of weights (.safetensors or .bin; that of diffusers' folder, or a copy of it).

    Raises CheckpointError for a file that is something else.
    """
    tensors = {key.removeprefix(_OUTER_PREFIX): tensor for key, tensor in read_weights(path).tensors.items()}
    vision = {
        _inner(key): _copied(tensor) for key, tensor in tensors.items() if key.startswith("vision_model.")
    }
    vision.pop("embeddings.position_ids", None)
    try:
        config = VisionConfig.of(vision)
        with torch.device("meta"):
            network = VisionTransformer(config)
        network.load_state_dict(vision, assign=True)
        rest = [
            _copied(tensors[name])
            for name in (
                "visual_projection.weight",
                "concept_embeds",
                "concept_embeds_weights",
                "special_care_embeds",
                "special_care_embeds_weights",
            )
        ]
        _check_shapes(config, *rest)
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            path,
            f"it is no safety checker of Stable Diffusion 1.x ({str(error).splitlines()[0]})",
            "Take the file model.safetensors out of the folder safety_checker of a model in the diffusers layout.",
        ) from error
    return SafetyChecker(network.eval().requires_grad_(False), config, *rest)


def _copied(tensor: Tensor) -> Tensor:
    """Away from the mapped file, which may change while the checker is in use."""
    return tensor.to(torch.float32, copy=True)


def _inner(key: str) -> str:
    for prefix in _VISION_PREFIXES:
        if key.startswith(prefix):
            return key.removeprefix(prefix)
    return key


def _check_shapes(
    config: VisionConfig,
    projection: Tensor,
    concepts: Tensor,
    limits: Tensor,
    special: Tensor,
    bounds: Tensor,
) -> None:
    size = len(projection)
    if projection.shape != (size, config.width) or any(
        vectors.shape != (len(cosines), size) for vectors, cosines in ((concepts, limits), (special, bounds))
    ):
        raise ValueError("its concepts and its vision transformer do not fit each other")
