"""Recognises, by their keys, files that are not what was asked for: a LoRA, an SDXL model, a VAE alone, ..."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from diffusion.files.mapped_file import CheckpointError
from diffusion.types import Weights

_SD1 = "Weft runs Stable Diffusion 1.x models."
_Test = Callable[[Weights], bool]


def _starts(*prefixes: str) -> _Test:
    return lambda tensors: any(key.startswith(prefixes) for key in tensors)


def _contains(*parts: str) -> _Test:
    return lambda tensors: any(part in key for key in tensors for part in parts)


def _context_width(*widths: int) -> _Test:
    """Whether the UNet attends to text states of one of these widths."""

    def test(tensors: Weights) -> bool:
        keys = (key for key in tensors if key.endswith("attn2.to_k.weight"))
        return any(tensors[key].ndim == 2 and tensors[key].shape[1] in widths for key in keys)

    return test


def _few_vectors(tensors: Weights) -> bool:
    return len(tensors) <= 2 and all(tensor.ndim <= 2 and tensor.shape[-1:] for tensor in tensors.values())


@dataclass(frozen=True)
class Lookalike:
    """A kind of file, and what to do with one."""

    what: str
    remedy: str
    test: _Test


_LORA = Lookalike(
    "a LoRA",
    "Put it into models/loras and load it with the LoraLoader node, on top of a checkpoint.",
    _contains(
        ".lora_up.",
        ".lora_down.",
        ".lora_A.",
        ".lora_B.",
        ".lora.up.",
        ".lora.down.",
        "_lora.",
        ".hada_w1_a",
        ".lokr_w",
        ".oft_",
    ),
)
_NEVER_STABLE_DIFFUSION_1 = (
    _LORA,
    Lookalike(
        "an SDXL model",
        _SD1,
        _starts("conditioner.embedders.", "model.diffusion_model.label_emb.", "add_embedding."),
    ),
    Lookalike("a Stable Diffusion 3 model", _SD1, _contains("joint_blocks.")),
    Lookalike("a Flux model", _SD1, _contains("double_blocks.")),
    Lookalike("a Stable Diffusion 2.x model", _SD1, _starts("cond_stage_model.model.")),
    Lookalike(
        "a ControlNet",
        "It belongs into models/controlnet; a checkpoint is something else.",
        _starts("control_model.", "controlnet_", "input_hint_block.", "zero_convs.", "lllite_"),
    ),
    Lookalike(
        "an IP-Adapter", "It is used beside a checkpoint, not as one.", _starts("image_proj.", "ip_adapter.")
    ),
    Lookalike(
        "an embedding (textual inversion)",
        "It is no checkpoint, and Weft cannot use embeddings in prompts yet.",
        lambda tensors: _starts("emb_params", "string_to_param.")(tensors) or _few_vectors(tensors),
    ),
    Lookalike(
        "an upscaler",
        "It belongs into models/upscale_models.",
        _starts("params_ema.", "params.", "model.0.weight", "conv_first."),
    ),
)

_WHOLE_MODEL = "model.diffusion_model."
_OTHER_UNETS = (
    Lookalike("an SDXL model (its text states are 2048 wide)", _SD1, _context_width(2048)),
    Lookalike("a Stable Diffusion 2.x model (its text states are 1024 wide)", _SD1, _context_width(1024)),
    Lookalike("an SDXL refiner (its text states are 1280 wide)", _SD1, _context_width(1280)),
)

_VAE = Lookalike(
    "a VAE alone",
    "Put it into models/vae and load it with the VAELoader node.",
    _starts("first_stage_model.", "encoder.conv_in.", "decoder.conv_in.", "quant_conv.", "post_quant_conv."),
)
_UNET = Lookalike(
    "a UNet alone",
    "Use a checkpoint that holds the text encoder and the VAE too, or the whole model folder it came from.",
    _starts("input_blocks.", "down_blocks.", "diffusion_model.", "model.diffusion_model."),
)
_TEXT_ENCODER = Lookalike(
    "a text encoder alone",
    "Use a checkpoint that holds the UNet and the VAE too.",
    _starts("text_model.", "cond_stage_model.", "transformer.text_model.", "embeddings.token_embedding."),
)

_CHECKPOINT = Lookalike(
    "a whole checkpoint",
    "Put it into models/checkpoints and load it with the CheckpointLoaderSimple node.",
    _starts(_WHOLE_MODEL),
)

_WANTED_CHECKPOINT = "a Stable Diffusion 1.x checkpoint"
_WANTED_VAE = "a VAE"


def check_is_checkpoint(path: Path, tensors: Weights) -> None:
    """Raise CheckpointError, saying what it seems to be, unless it may be a Stable Diffusion 1.x checkpoint."""
    whole = any(key.startswith(_WHOLE_MODEL) for key in tensors)
    unlikely = _OTHER_UNETS if whole else (_UNET, _VAE, _TEXT_ENCODER, *_OTHER_UNETS)
    _refuse(path, tensors, _WANTED_CHECKPOINT, (*_NEVER_STABLE_DIFFUSION_1, *unlikely))
    if not whole:
        raise _unknown(path, tensors, _WANTED_CHECKPOINT)


def check_is_unet(path: Path, tensors: Weights) -> None:
    """Raise CheckpointError when a model folder's UNet is of another family."""
    _refuse(path, tensors, "a Stable Diffusion 1.x UNet", (*_NEVER_STABLE_DIFFUSION_1, *_OTHER_UNETS))


def check_is_vae(path: Path, tensors: Weights) -> None:
    """Raise CheckpointError, saying what it seems to be, unless it may hold an autoencoder."""
    _refuse(path, tensors, _WANTED_VAE, _NEVER_STABLE_DIFFUSION_1)
    if not _VAE.test(tensors):
        _refuse(path, tensors, _WANTED_VAE, (_UNET, _TEXT_ENCODER))
        raise _unknown(path, tensors, _WANTED_VAE)


def seems_to_be(tensors: Weights) -> str:
    """What a file without a LoRA seems to be, in words that follow "it seems to be"."""
    kinds = (*_NEVER_STABLE_DIFFUSION_1, *_OTHER_UNETS, _CHECKPOINT, _VAE, _UNET, _TEXT_ENCODER)
    known = (kind.what for kind in kinds if kind is not _LORA and kind.test(tensors))
    return next(known, "something else")


def _refuse(path: Path, tensors: Weights, wanted: str, lookalikes: Iterable[Lookalike]) -> None:
    for lookalike in lookalikes:
        if lookalike.test(tensors):
            raise CheckpointError(
                path, f"it is not {wanted}: it seems to be {lookalike.what}", lookalike.remedy
            )


def _unknown(path: Path, tensors: Weights, wanted: str) -> CheckpointError:
    examples = ", ".join(list(tensors)[:3])
    return CheckpointError(
        path,
        f"it is not {wanted}: its {len(tensors)} tensors have names such as {examples}",
        f"Choose {wanted}.",
    )
