"""How LoRA files name their tensors: kohya's, LyCORIS', diffusers' and peft's keys, read into part, module and role."""

import re
from dataclasses import dataclass
from typing import Literal

Part = Literal["unet", "text", "other"]
"""The network a key belongs to; "other" is one that Stable Diffusion 1.x does not have."""

Role = Literal[
    "down",
    "up",
    "mid",
    "alpha",
    "up_bias",
    "magnitude",
    "dora_scale",
    "diff",
    "diff_b",
    "hada_w1_a",
    "hada_w1_b",
    "hada_t1",
    "hada_w2_a",
    "hada_w2_b",
    "hada_t2",
    "lokr_w1",
    "lokr_w1_a",
    "lokr_w1_b",
    "lokr_w2",
    "lokr_w2_a",
    "lokr_w2_b",
    "lokr_t2",
]
"""What a tensor is to its module's change. diff, diff_b: the whole change of the weight, of the bias."""

_BY_NAME: tuple[Role, ...] = (
    *("hada_w1_a", "hada_w1_b", "hada_t1", "hada_w2_a", "hada_w2_b", "hada_t2"),
    *("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"),
)
"""Roles that files call as we do."""

_ROLES: tuple[tuple[re.Pattern[str], Role], ...] = (
    (re.compile(r"\.lora_down\.weight$"), "down"),
    (re.compile(r"\.lora_up\.weight$"), "up"),
    (re.compile(r"\.lora_mid\.weight$"), "mid"),
    (re.compile(r"\.lora_A(\.(?!weight$|bias$)\w+)?(\.weight)?$"), "down"),
    (re.compile(r"\.lora_B(\.(?!weight$|bias$)\w+)?(\.weight)?$"), "up"),
    (re.compile(r"(_lora|\.lora|\.lora_linear_layer)\.down\.weight$"), "down"),
    (re.compile(r"(_lora|\.lora|\.lora_linear_layer)\.up\.weight$"), "up"),
    (re.compile(r"(_lora|\.lora|\.lora_linear_layer)?\.alpha$"), "alpha"),
    (re.compile(r"\.lora_B(\.\w+)?\.bias$"), "up_bias"),
    (re.compile(r"\.lora_magnitude_vector(\.(?!weight$)\w+)?(\.weight)?$"), "magnitude"),
    (re.compile(r"\.dora_scale$"), "dora_scale"),
    (re.compile(r"\.(diff|w_norm)$"), "diff"),
    (re.compile(r"\.(diff_b|b_norm)$"), "diff_b"),
    *((re.compile(rf"\.{name}(\.(?!weight$)\w+)?(\.weight)?$"), name) for name in _BY_NAME),
)

_OTHER_KINDS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\.(oft_blocks|oft_diag|oft_[rRsS](\..+)?|boft_.+)$"), "OFT"),
    (re.compile(r"\.[ab][12]\.weight$"), "GLoRA"),
    (re.compile(r"\.on_input$"), "IA3"),
    (re.compile(r"\.lokr_t1$"), "LoKr of two kernels"),
    (re.compile(r"\.(set_weight|reshape_weight)$"), "weight replacement"),
)

_PREFIXES: tuple[tuple[str, Part], ...] = (
    ("lora_unet_", "unet"),
    ("lycoris_", "unet"),
    ("lora_te_", "text"),
    ("lora_te1_", "text"),
    ("lora_te2_", "other"),
    ("lora_te3_", "other"),
    ("unet.", "unet"),
    ("model.diffusion_model.", "unet"),
    ("diffusion_model.", "unet"),
    ("text_encoder.", "text"),
    ("text_encoders.clip_l.transformer.", "text"),
    ("cond_stage_model.transformer.", "text"),
    ("text_encoder_", "other"),
    ("text_encoders.", "other"),
    ("transformer.", "other"),
    ("text_model.", "text"),
)
"""Looked through in order. A key with none of them is a UNet's, as in the oldest files that diffusers wrote."""

_WRAPPER = "base_model.model."


@dataclass(frozen=True)
class LoraKey:
    """One key of a LoRA file, as the file spells it.

    head: the key without the suffix that tells the role. module: the head without the prefix that tells the part.
    """

    part: Part
    head: str
    module: str
    role: Role

    @property
    def flat(self) -> str:
        """The module's name as `flattened` spells it, which does not depend on the file's layout."""
        name = self.module.replace(".processor.", ".")
        if name.endswith(".to_out"):
            name += ".0"
        return flattened(name)


def flattened(module: str) -> str:
    """A module's name with its dots as underscores, as kohya's files have it."""
    return module.replace(".", "_")


def parse_key(key: str) -> LoraKey | None:
    """What a key of a LoRA file names; None when it is not one of a LoRA's."""
    for pattern, role in _ROLES:
        match = pattern.search(key)
        if match and match.start():
            head = key[: match.start()]
            part, module = _split_part(head)
            return LoraKey(part, head, module, role)
    return None


def other_kind(key: str) -> str | None:
    """The name of the adapter kind that a key belongs to, if it is known and not one that can be applied."""
    return next((kind for pattern, kind in _OTHER_KINDS if pattern.search(key)), None)


def _split_part(name: str) -> tuple[Part, str]:
    name = name.removeprefix(_WRAPPER)
    for prefix, part in _PREFIXES:
        if name.startswith(prefix):
            # The prefix of a text encoder that stands alone is also the head of its modules' names.
            rest = name if prefix == "text_model." else name.removeprefix(prefix)
            return part, rest.removeprefix(_WRAPPER)
    return "unet", name
