"""Nodes between a prompt and what the model is asked to show."""

from dataclasses import replace
from typing import Annotated

from diffusion.model import Clip
from diffusion.text.encode import encode
from diffusion.types import Conditioning
from graph import Range, Text, node


@node("CLIPTextEncode", title="CLIP Text Encode (Prompt)", category="conditioning")
def clip_text_encode(
    *, text: Annotated[str, Text(multiline=True, dynamic_prompts=True)], clip: Clip
) -> Conditioning:
    """Encode a prompt with the checkpoint's text encoder.

    `(word:1.2)` weighs a part, `(word)` means 1.1, `\\(` is a plain bracket. A prompt of any length is read in
    chunks of 75 tokens.

    Inputs:
        text: The prompt.
        clip: The text encoder.

    Outputs:
        CONDITIONING: The encoded prompt, [1, 77 x chunks, width] float32.
    """
    return encode(clip, text)


@node("CLIPSetLastLayer", title="CLIP Set Last Layer", category="conditioning")
def clip_set_last_layer(*, clip: Clip, stop_at_clip_layer: Annotated[int, Range(-24, -1)] = -1) -> Clip:
    """Choose which of the text encoder's layers conditions the model ("clip skip").

    Inputs:
        clip: The text encoder.
        stop_at_clip_layer: -1 is the last layer, -2 the one before it, and so on.

    Outputs:
        CLIP: The text encoder, read at that layer.
    """
    return replace(clip, layer=stop_at_clip_layer)
