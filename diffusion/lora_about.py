"""Guesses, for error messages: what a file that is no LoRA seems to be, and which model a LoRA was made for."""

from collections.abc import Iterable, Mapping

from diffusion.lora_patch import LowRank

_FILES: tuple[tuple[str, str], ...] = (
    ("conditioner.embedders.", "an SDXL checkpoint"),
    ("model.diffusion_model.", "a whole checkpoint: it belongs in models/checkpoints"),
    ("control_model.", "a ControlNet: it belongs in models/controlnet"),
    ("controlnet_", "a ControlNet: it belongs in models/controlnet"),
    ("first_stage_model.", "a VAE: it belongs in models/vae"),
    ("encoder.down", "a VAE: it belongs in models/vae"),
    ("decoder.up", "a VAE: it belongs in models/vae"),
    ("emb_params", "a textual inversion: it belongs in models/embeddings"),
    ("string_to_param", "a textual inversion: it belongs in models/embeddings"),
    ("down_blocks.", "a UNet in diffusers' layout"),
    ("double_blocks.", "a Flux model"),
    ("text_model.", "a text encoder"),
    ("embeddings.token_embedding", "a text encoder"),
    ("bundle_emb.", "a textual inversion: it belongs in models/embeddings"),
)

_CONTEXT_WIDTHS: Mapping[int, str] = {
    768: "Stable Diffusion 1.x",
    1024: "Stable Diffusion 2.x",
    1280: "the SDXL refiner",
    2048: "SDXL",
}
"""The width of the text states that a UNet's cross-attention reads, by family."""

_FAMILY_MARKS: tuple[tuple[str, str], ...] = (
    ("joint_blocks", "Stable Diffusion 3"),
    ("double_blocks", "Flux"),
    ("single_transformer_blocks", "Flux"),
    ("single_blocks", "Flux"),
    ("lora_te3_", "Stable Diffusion 3 or Flux"),
    ("lora_te2_", "SDXL"),
    ("text_encoder_2", "SDXL or Flux"),
)


def seems_to_be(keys: Iterable[str]) -> str:
    """What a file with these keys looks like, as the end of a sentence that begins "it seems to be"."""
    keys = tuple(keys)
    known = (what for prefix, what in _FILES if any(key.startswith(prefix) for key in keys))
    return next(known, "something else")


def made_for(modules: Iterable[LowRank], keys: Iterable[str]) -> str:
    """The family of models that a LoRA with these modules and file keys fits, as far as they tell."""
    text_width = None
    for module in modules:
        name, width = module.name.replace(".", "_"), module.shape[1]
        if "attn2" in name and name.endswith(("to_k", "to_v")):
            return _CONTEXT_WIDTHS.get(width, f"a model whose text states are {width} wide")
        if name.endswith("self_attn_q_proj"):
            text_width = width
    marks = (family for mark, family in _FAMILY_MARKS if any(mark in key for key in keys))
    family = next(marks, None)
    if family is None and text_width is not None:
        return _CONTEXT_WIDTHS.get(text_width, f"a model whose text states are {text_width} wide")
    return family or "a model of another family"
