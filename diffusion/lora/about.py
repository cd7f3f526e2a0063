"""Guesses, for error messages, which family of models a LoRA was made for."""

from collections.abc import Iterable, Mapping

from diffusion.lora.patch import Change

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


def made_for(modules: Iterable[Change], keys: Iterable[str]) -> str:
    """The family of models that a LoRA with these modules and file keys fits, as far as they tell."""
    text_width = None
    for module in (module for module in modules if len(module.shape) > 1):
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
