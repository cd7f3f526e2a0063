"""How near pictures are to texts in the space that CLIP has for both (Radford et al. 2021; Hessel et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from diffusion.checkpoints.canonical import canonical_text
from diffusion.checkpoints.detect import text_config
from diffusion.checkpoints.facts import facts_from_metadata
from diffusion.files.mapped_file import CheckpointError
from diffusion.files.weight_files import read_weights
from diffusion.networks.blueprint import blueprint
from diffusion.safety.vision import VisionConfig, VisionTransformer, prepared
from diffusion.text.prompt import Part, pack_chunks
from diffusion.text.text_encoder import TextEncoder
from diffusion.text.tokenizer import Tokenizer
from diffusion.types import Image

_VISION, _TEXT = "vision_model.", "text_model."
_LAST_LAYER = -1


@dataclass(frozen=True, eq=False)
class ClipScorer:
    """Both halves of a CLIP model, with the projections [D, C] of their vectors. They compute on the CPU in float32."""

    vision: VisionTransformer
    config: VisionConfig
    text: TextEncoder
    positions: int
    tokenizer: Tokenizer
    visual_projection: Tensor
    text_projection: Tensor

    @torch.inference_mode()
    def picture_vectors(self, image: Image) -> Tensor:
        """[B, D] of unit length, for pictures [B, H, W, 3 or 4], 0..1."""
        vectors = [
            F.linear(self.vision(prepared(Image(picture), self.config.image)), self.visual_projection)
            for picture in image.split(1)
        ]
        return F.normalize(torch.cat(vectors), dim=-1)

    @torch.inference_mode()
    def text_vectors(self, texts: Sequence[str]) -> Tensor:
        """[B, D] of unit length; of a long text the first 75 tokens."""
        tokens = [Part(self.tokenizer.encode(text)[: self.positions - 2]) for text in texts]
        chunks = [pack_chunks([part], self.tokenizer, length=self.positions)[0] for part in tokens]
        ids = torch.tensor([[token.id for token in chunk] for chunk in chunks])
        states = self.text(ids, _LAST_LAYER, end_token=self.tokenizer.end)
        return F.normalize(F.linear(states.pooled, self.text_projection), dim=-1)

    def score(self, image: Image, text: str) -> list[float]:
        """The cosine between each picture and the text, 0 where it is below."""
        cosines = self.picture_vectors(image) @ self.text_vectors([text])[0]
        return [float(cosine) for cosine in cosines.clamp(min=0)]


def load_clip_scorer(path: Path) -> ClipScorer:
    """Read a whole CLIP model in transformers' layout (.safetensors or .bin), such as openai/clip-vit-large-patch14.

    Raises CheckpointError for a file that lacks one half, or is something else.
    """
    file = read_weights(path)
    tensors = file.tensors
    halves = [
        {
            key.removeprefix(prefix): _copied(tensor)
            for key, tensor in tensors.items()
            if key.startswith(prefix)
        }
        for prefix in (_VISION, _TEXT)
    ]
    missing = [f"its {name} half" for name, half in zip(("image", "text"), halves, strict=True) if not half]
    missing += [
        name for name in ("visual_projection.weight", "text_projection.weight") if name not in tensors
    ]
    if missing:
        raise CheckpointError(
            path,
            f"it lacks {', '.join(missing)}, and a CLIP score needs both halves of one CLIP",
            "Use the whole model, such as model.safetensors of openai/clip-vit-large-patch14.",
        )
    vision_weights, text_weights = halves
    vision_weights.pop("embeddings.position_ids", None)
    words = canonical_text(text_weights)
    facts = facts_from_metadata(path, file.metadata)
    config = text_config(path, words, facts)
    try:
        vision_config = VisionConfig.of(vision_weights)
        vision = blueprint(lambda: VisionTransformer(vision_config))
        text = blueprint(lambda: TextEncoder(config))
        vision.load_state_dict(vision_weights, assign=True)
        text.load_state_dict(words, assign=True)
    except (KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            path, f"it is no CLIP model ({str(error).splitlines()[0]})", "Fetch it again, or use another."
        ) from error
    projections = [_copied(tensors[name]) for name in ("visual_projection.weight", "text_projection.weight")]
    return ClipScorer(
        vision.eval().requires_grad_(False),
        vision_config,
        text.eval().requires_grad_(False),
        config.positions,
        Tokenizer.clip() if facts.merges is None else Tokenizer.from_merges(facts.merges),
        *projections,
    )


def _copied(tensor: Tensor) -> Tensor:
    """Away from the mapped file, which may change while the model is in use."""
    return tensor.to(torch.float32, copy=True)
