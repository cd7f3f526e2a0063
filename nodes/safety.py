"""Nodes that check what pictures show, and that write and read watermarks."""

from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from diffusion.safety.checker import Finding, SafetyChecker, load_safety_checker
from diffusion.safety.watermark import (
    ORIGINAL_TEXT,
    add_watermark,
    agreement,
    as_bytes,
    is_watermark,
    read_watermark,
)
from diffusion.types import Image
from graph import QUIET, Choice, Context, File, Range, Shown, Socket, node
from imaging.checks import COLOUR_OR_ALPHA, picture
from nodes.fingerprints import file_stamp

Checker = Annotated[SafetyChecker, Socket("SAFETY_CHECKER")]
_SUFFIXES = (".safetensors", ".sft", ".bin", ".pt", ".pth", ".ckpt")
_BLURRED_CELLS = 8


class Checked(NamedTuple):
    """Pictures that may be shown, and which of them were flagged."""

    IMAGE: Image
    flagged: list[bool]


class Watermarks(NamedTuple):
    """What was read out of each picture."""

    text: list[str]
    found: list[bool]
    agreement: list[float]


def _checker_stamp(*, checker_name: str, ctx: Context = QUIET) -> str:
    return file_stamp(ctx.folders.find("safety_checker", checker_name))


@node("SafetyCheckerLoader", title="Load Safety Checker", category="loaders", fingerprint=_checker_stamp)
def safety_checker_loader(
    *, checker_name: Annotated[str, File("safety_checker", suffixes=_SUFFIXES)], ctx: Context = QUIET
) -> Annotated[SafetyChecker, Socket("SAFETY_CHECKER")]:
    """Read the safety checker that came with Stable Diffusion 1.x.

    Inputs:
        checker_name: Its weights, relative to a safety_checker folder: the file model.safetensors (or
            pytorch_model.bin) of the folder safety_checker of a model in the diffusers layout, or that folder whole.

    Outputs:
        SAFETY_CHECKER: The checker. It computes on the processor, in float32.
    """
    return load_safety_checker(ctx.folders.find("safety_checker", checker_name))


@node("SafetyCheck", title="Safety Check", category="image/safety")
def safety_check(
    *,
    images: Image,
    safety_checker: Checker,
    replacement: Annotated[str, Choice(("black", "blurred", "none"))] = "black",
    adjustment: Annotated[float, Range(-1, 1, step=0.01)] = 0.0,
) -> Shown[Checked]:
    """Check pictures for concepts that are not to be shown, replace those that come too near, and say which.

    Nothing is checked without this node. It errs in both directions.

    Inputs:
        images: The pictures, [B, H, W, 3 or 4].
        safety_checker: The checker.
        replacement: What stands in place of a flagged picture: black, a blur beyond recognition, or the picture itself.
        adjustment: Above 0 flags more, below 0 less; 0.01 is a small step.

    Outputs:
        IMAGE: The pictures, flagged ones replaced.
        flagged: Whether each picture was flagged, one by one.
    """
    picture(images, "images", COLOUR_OR_ALPHA)
    findings = safety_checker.check(images, adjustment)
    result = images.clone()
    for number, finding in enumerate(findings):
        if finding.flagged and replacement != "none":
            result[number] = _replaced(images[number], replacement)
    said = [_said(number, finding, replacement) for number, finding in enumerate(findings, start=1)]
    return Shown(Checked(Image(result), [finding.flagged for finding in findings]), ui={"text": said})


def _replaced(shown: Tensor, replacement: str) -> Tensor:
    """Colour replaced, an alpha channel kept: a transparent black would show what is behind."""
    if replacement == "black":
        return torch.cat([torch.zeros_like(shown[..., :3]), shown[..., 3:]], dim=-1)
    colours = rearrange(shown[..., :3], "h w c -> 1 c h w")
    cells = F.interpolate(colours, size=(_BLURRED_CELLS, _BLURRED_CELLS), mode="area")
    blurred = F.interpolate(cells, size=shown.shape[:2], mode="bilinear")
    return torch.cat([rearrange(blurred, "1 c h w -> h w c"), shown[..., 3:]], dim=-1)


def _said(number: int, finding: Finding, replacement: str) -> str:
    if not finding.flagged:
        return f"Picture {number}: nothing found."
    done = "left as it is" if replacement == "none" else f"replaced ({replacement})"
    scores = ", ".join(f"{concept} by {score:.3f}" for concept, score in finding.concepts.items())
    return f"Picture {number}: flagged and {done}; past the limit of concept {scores}."


@node("AddWatermark", title="Add Invisible Watermark", category="image/safety")
def add_invisible_watermark(*, images: Image, text: str = ORIGINAL_TEXT) -> Image:
    """Write a text into pictures so that it is not seen, and can be read again: that they are generated, say.

    Needs the package invisible-watermark (the extra `watermark`). Put it after everything that changes the pictures.

    Inputs:
        images: The pictures, [B, H, W, 3 or 4], of 256x256 pixels at least.
        text: The text; the default is what the original scripts write. Short ones are read most surely.

    Outputs:
        IMAGE: The pictures with the text, in steps of 1/255.
    """
    return add_watermark(images, text)


@node("ReadWatermark", title="Read Invisible Watermark", category="image/safety")
def read_invisible_watermark(*, images: Image, expected: str = ORIGINAL_TEXT) -> Shown[Watermarks]:
    """Read the text that is hidden in pictures.

    Needs the package invisible-watermark (the extra `watermark`). Smooth pictures and compression cost some letters, so
    the text counts as found when far more of its bits agree than chance would have.

    Inputs:
        images: The pictures, [B, H, W, 3 or 4], of 256x256 pixels at least.
        expected: The text to look for; what is read is as long as it.

    Outputs:
        text: What was read from each picture, one by one; anything at all where there is no watermark.
        found: Whether the expected text is there, beyond chance.
        agreement: How many of its bits agree, 0..1; about 0.5 where there is no watermark.
    """
    wanted = as_bytes(expected)
    read = read_watermark(images, len(wanted))
    texts = [content.decode(errors="replace") for content in read]
    shares = [agreement(content, wanted) for content in read]
    found = [is_watermark(share, len(wanted)) for share in shares]
    said = [f"{text!r}, {share:.0%} as expected" for text, share in zip(texts, shares, strict=True)]
    return Shown(Watermarks(texts, found, shares), ui={"text": said})
