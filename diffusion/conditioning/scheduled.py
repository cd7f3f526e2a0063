"""A prompt that changes during a run, as a conditioning: an entry for each text, with the steps that it is said in."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

from diffusion.hooks.text import encoded
from diffusion.model import Clip
from diffusion.text.embeddings import FindEmbedding, no_embeddings
from diffusion.text.emphasis import emphasised
from diffusion.text.encode import encode_parts, fitting
from diffusion.text.prompt import weighted_parts
from diffusion.text.schedule import composed, stretches
from diffusion.types import Cond, Conditioning, Scope

MOST_STEPS = 1000
"""Prompts that alternate are encoded step by step at the most, so there must be an end to it."""


def encode_scheduled(
    clip: Clip,
    prompt: str,
    *,
    steps: int,
    negative: Conditioning | None = None,
    find: FindEmbedding = no_embeddings,
) -> Conditioning:
    """`prompt` by the rules of AUTOMATIC1111's web UI: scheduling, alternation, AND, emphasis (see text.schedule).

    steps: of the run that the rules count in; in a run of another length every step stands for its share.
    `a AND b` is led away from `negative` by each prompt on its own, times its weight (Liu et al. 2022, eq. 11): x0 is
    n + sum w (x0_i - n), so n, the negative prompt's or an empty one's where there is none, counts with 1 - sum w.
    Raises as encode, and ValueError for steps below 1 or above MOST_STEPS.
    """
    if not 1 <= steps <= MOST_STEPS:
        raise ValueError(f"A prompt's schedule counts in 1 to {MOST_STEPS} steps; got {steps}.")
    looked_up = fitting(clip, find)
    known: dict[str, tuple[Cond, ...]] = {}

    def said(text: str, scope: Scope) -> list[Cond]:
        if text not in known:
            parts = weighted_parts(emphasised(text), clip.tokenizer, looked_up)
            known[text] = encoded(clip, lambda encoder: encode_parts(encoder, parts))
        return [
            replace(entry, scope=replace(scope, text_range=entry.scope.text_range)) for entry in known[text]
        ]

    entries: list[Cond] = []
    prompts = composed(prompt)
    for text, weight in prompts:
        told = stretches(text, steps)
        for each in told:
            whole = Scope(strength=weight)
            part = replace(whole, steps=(Fraction(each.first, steps), Fraction(each.end, steps)))
            entries += said(each.text, whole if len(told) == 1 else part)
    rest = 1.0 - sum(weight for _, weight in prompts)
    if not math.isclose(rest, 0.0, abs_tol=1e-9):
        base = negative or Conditioning(tuple(said("", Scope())))
        entries += [
            replace(entry, scope=replace(entry.scope, strength=entry.scope.strength * rest))
            for entry in base.entries
        ]
    return Conditioning(tuple(entries))
