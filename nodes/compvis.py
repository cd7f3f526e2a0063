"""The original scripts txt2img.py and img2img.py as nodes, under the names and with the defaults of their options."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from torch import Tensor

from diffusion.model import Clip, Model
from diffusion.sampling.guidance import CFG
from diffusion.sampling.original import (
    PromptBatch,
    ScriptOptions,
    prompt_batches,
    sample_from_noise,
    sample_from_picture,
)
from diffusion.text.literal import encode_literally
from diffusion.types import Conditioning, Image, Latent
from graph import QUIET, Choice, Context, File, Folders, Range, Socket, Text, node
from graph.errors import Problem
from imaging.checks import COLOUR_OR_ALPHA, picture
from imaging.scale import resize
from nodes.fingerprints import content_stamp
from nodes.limits import MOST_ITEMS, check_items
from nodes.prompts import read_lines
from nodes.sampling import SeedInput

CATEGORY = "compvis"
Batch = Annotated[PromptBatch, Socket("PROMPT_BATCH")]
Count = Annotated[int, Range(1, MOST_ITEMS)]
Steps = Annotated[int, Range(1, 1000)]
Eta = Annotated[float, Range(0, 1, step=0.01)]
Scale = Annotated[float, Range(0, 100, step=0.1)]
Pixels = Annotated[int, Range(8, 16384, step=8)]
RandDevice = Annotated[str, Choice(("cpu", "device"))]
_MULTIPLE = 32


@dataclass(frozen=True)
class OptionalFile(File):
    """The name of a file in the folder, or nothing."""

    def choices(self, folders: Folders) -> tuple[str, ...]:
        return ("", *super().choices(folders))

    def problem(self, value: str, folders: Folders) -> Problem | None:
        return super().problem(value, folders) if value else None


def _prompts_stamp(*, from_file: str = "", ctx: Context = QUIET) -> str:
    return content_stamp(ctx.folders.find("input", from_file)) if from_file else ""


@node("CompVisPrompts", title="Original Script: Prompts", category=CATEGORY, fingerprint=_prompts_stamp)
def compvis_prompts(
    *,
    prompt: Annotated[str, Text(multiline=True)] = "a painting of a virus monster playing guitar",
    from_file: Annotated[str, OptionalFile("input", suffixes=(".txt",))] = "",
    n_iter: Count = 2,
    n_samples: Count = 3,
    repeat: Count = 1,
    ctx: Context = QUIET,
) -> list[Annotated[PromptBatch, Socket("PROMPT_BATCH")]]:
    """What the original scripts sample, batch by batch. What follows runs for each.

    Inputs:
        prompt: What every picture of a batch shows, when there is no file.
        from_file: A text file in the input folder, a prompt in each line; a batch takes the next n_samples lines.
        n_iter: How often all is sampled.
        n_samples: Pictures in a batch.
        repeat: How often each line of the file is taken in a row: n_samples makes a batch of each line.

    Outputs:
        PROMPT_BATCH: The batches, one by one.
    """
    if from_file:
        lines = read_lines(ctx.folders.find("input", from_file))
        if not lines:
            raise ValueError(f"{from_file} is empty: write one prompt per line.")
        check_items(len(lines) * repeat)
        prompts = [line for line in lines for _ in range(repeat)]
    else:
        prompts = [prompt] * n_samples
    check_items(len(prompts) * n_iter)
    return prompt_batches(prompts, n_iter=n_iter, n_samples=n_samples)


class Encoded(NamedTuple):
    """What to follow, and what to lead away from."""

    positive: Conditioning
    negative: Conditioning


@node("CompVisTextEncode", title="Original Script: Encode", category=CATEGORY)
def compvis_text_encode(*, clip: Clip, batch: Batch) -> Encoded:
    """Encode a batch of prompts as the original scripts do: no letter has a meaning, 75 tokens at most.

    Inputs:
        clip: The text encoder.
        batch: The prompts.

    Outputs:
        positive: Each prompt, [B, 77, width] float32.
        negative: The empty prompt, [1, 77, width].
    """
    return Encoded(encode_literally(clip, batch.prompts), encode_literally(clip, [""]))


@node("CompVisTxt2Img", title="Original Script: txt2img", category=CATEGORY)
def compvis_txt2img(
    *,
    model: Model,
    batch: Batch,
    positive: Conditioning,
    negative: Conditioning,
    seed: SeedInput = 42,
    ddim_steps: Steps = 50,
    ddim_eta: Eta = 0.0,
    plms: bool = False,
    fixed_code: bool = False,
    scale: Scale = 7.5,
    H: Pixels = 512,
    W: Pixels = 512,
    C: Annotated[int, Range(1, 64)] = 4,
    f: Annotated[int, Range(1, 64)] = 8,
    rand_device: RandDevice = "cpu",
    ctx: Context = QUIET,
) -> Latent:
    """Sample a batch as scripts/txt2img.py does, with its timesteps, scale and order of random numbers.

    Inputs:
        model: The model that denoises.
        batch: Which batch of the run this is.
        positive: Its prompts.
        negative: The empty prompt.
        seed: Of the whole run: later batches go on where the one before ended.
        ddim_steps: Sampling steps; where 1000 is no multiple, some more are taken.
        ddim_eta: How much noise DDIM adds back: 0 none, 1 as much as DDPM.
        plms: Sample with PLMS instead of DDIM.
        fixed_code: Start every batch from the same noise.
        scale: Guidance: eps(x, empty) + scale * (eps(x, prompt) - eps(x, empty)).
        H: Height of the picture in pixels.
        W: Width of the picture in pixels.
        C: Channels of the latent: 4 in Stable Diffusion 1.x.
        f: Pixels to a side of a latent's cell: 8 in Stable Diffusion 1.x.
        rand_device: Where noise is drawn. The scripts draw on the GPU (device); cpu gives the same picture everywhere.

    Outputs:
        LATENT: The latents, [B, C, H/f, W/f] float32.
    """
    options = ScriptOptions(seed, ddim_steps, ddim_eta, plms, fixed_code, rand_device == "device")
    guider = CFG(model, positive, negative, scale)
    return sample_from_noise(guider, (C, H // f, W // f), batch, options, on_step=_report(ctx))


@node("CompVisInitImage", title="Original Script: init-img", category=CATEGORY)
def compvis_init_image(*, image: Image) -> Image:
    """Scale a picture down to sides that are multiples of 32, as scripts/img2img.py does with --init-img.

    Inputs:
        image: The picture, 32x32 pixels at least.

    Outputs:
        IMAGE: The picture, [B, H, W, 3] float32, 0..1.
    """
    picture(image, "image", COLOUR_OR_ALPHA)
    height, width = (side - side % _MULTIPLE for side in image.shape[1:3])
    if 0 in (height, width):
        raise ValueError(
            f"image has {image.shape[2]}x{image.shape[1]} pixels; it needs {_MULTIPLE} a side at least. Enlarge it."
        )
    colours = image[..., :3]
    return Image(
        colours if colours.shape[1:3] == (height, width) else resize(colours, width, height, "lanczos")
    )


@node("CompVisImg2Img", title="Original Script: img2img", category=CATEGORY)
def compvis_img2img(
    *,
    model: Model,
    batch: Batch,
    positive: Conditioning,
    negative: Conditioning,
    latent_image: Latent,
    strength: Annotated[float, Range(0, 1, step=0.01)] = 0.75,
    seed: SeedInput = 42,
    ddim_steps: Steps = 50,
    ddim_eta: Eta = 0.0,
    scale: Scale = 5.0,
    rand_device: RandDevice = "cpu",
    ctx: Context = QUIET,
) -> Latent:
    """Sample a batch from a picture as scripts/img2img.py does. It knows DDIM alone.

    Inputs:
        model: The model that denoises.
        batch: Which batch of the run this is.
        positive: Its prompts.
        negative: The empty prompt.
        latent_image: The encoded picture, one; every picture of the batch starts from it.
        strength: How much of the picture is made anew.
        seed: Of the whole run: later batches go on where the one before ended.
        ddim_steps: Sampling steps; int(strength * ddim_steps) of them are taken.
        ddim_eta: How much noise DDIM adds back: 0 none, 1 as much as DDPM.
        scale: Guidance: eps(x, empty) + scale * (eps(x, prompt) - eps(x, empty)).
        rand_device: Where noise is drawn. The scripts draw on the GPU (device); cpu gives the same picture everywhere.

    Outputs:
        LATENT: The latents, [B, 4, H/8, W/8] float32.
    """
    options = ScriptOptions(seed, ddim_steps, ddim_eta, on_device=rand_device == "device")
    guider = CFG(model, positive, negative, scale)
    return sample_from_picture(guider, latent_image, batch, options, strength=strength, on_step=_report(ctx))


def _report(ctx: Context) -> Callable[[int, int, Tensor], None]:
    return lambda done, total, denoised: ctx.progress(done, total, preview=denoised)
