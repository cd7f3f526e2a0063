"""Nodes between a prompt and what the model is asked to show."""

from dataclasses import replace
from typing import Annotated

from diffusion.conditioning.scheduled import MOST_STEPS, encode_scheduled
from diffusion.model import Clip
from diffusion.text.encode import encode
from diffusion.types import Conditioning
from graph import QUIET, Context, Range, Text, node
from nodes.embeddings import embeddings_of, prompt_stamp

Prompt = Annotated[str, Text(multiline=True, dynamic_prompts=True)]


@node(
    "CLIPTextEncode",
    title="CLIP Text Encode (Prompt)",
    category="conditioning",
    fingerprint=prompt_stamp,
)
def clip_text_encode(*, text: Prompt, clip: Clip, ctx: Context = QUIET) -> Conditioning:
    """Encode a prompt with the checkpoint's text encoder.

    `(word:1.2)` weighs a part, `(word)` means 1.1, `\\(` is a plain bracket. A prompt of any length is read in
    chunks of 75 tokens; `BREAK` begins the next one. `embedding:name` is a textual inversion, a file in
    models/embeddings or below it.

    Inputs:
        text: The prompt.
        clip: The text encoder.

    Outputs:
        CONDITIONING: The encoded prompt, [1, 77 x chunks, width] float32.
    """
    return encode(clip, text, embeddings_of(ctx))


@node(
    "CLIPTextEncodeScheduled",
    title="CLIP Text Encode (Prompt Schedule)",
    category="conditioning",
    fingerprint=prompt_stamp,
)
def clip_text_encode_scheduled(
    *,
    text: Prompt,
    clip: Clip,
    steps: Annotated[int, Range(1, MOST_STEPS)] = 20,
    negative: Conditioning | None = None,
    ctx: Context = QUIET,
) -> Conditioning:
    """Encode a prompt that changes during the run, by the rules of AUTOMATIC1111's web UI.

    `[a:b:0.5]` is a for half of the steps, then b; `[a:0.5]` begins there, `[a::0.5]` ends there; a number without a
    point is a step. `[a|b]` alternates step by step. `a AND b :0.8` leads towards each on its own, times its weight.
    `(a)`, `(a:1.2)` and `[a]` weigh a part by 1.1, by 1.2 and by 1/1.1, and multiply where they nest. `BREAK` and
    `embedding:name` are as in CLIPTextEncode.

    Inputs:
        text: The prompt.
        clip: The text encoder.
        steps: The sampler's number of steps. In a run of another length, every step stands for its share of it.
        negative: The negative prompt, which `AND` leads away from; an empty one if nothing is connected.

    Outputs:
        CONDITIONING: The encoded prompts with the steps that each is for.
    """
    return encode_scheduled(clip, text, steps=steps, negative=negative, find=embeddings_of(ctx))


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
