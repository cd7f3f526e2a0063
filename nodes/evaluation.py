"""Nodes that measure pictures as the model card did: a sweep, scores, the distance to real ones, and the curve."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple, TypeVar

import torch

from diffusion.evaluation.clip_score import ClipScorer, load_clip_scorer
from diffusion.evaluation.frechet import FeatureStatistics, frechet_distance, read_features
from diffusion.sampling.lookup import find
from diffusion.sampling.samplers import SAMPLERS
from diffusion.types import Image
from graph import QUIET, Context, File, Range, Shown, Socket, Text, node
from imaging.checks import COLOUR_OR_ALPHA, picture
from imaging.curves import Axes, draw_curves
from imaging.shapes.adherence import check_pixels
from nodes.fingerprints import content_stamp, file_stamp
from nodes.limits import check_items
from nodes.series import read_series

CATEGORY = "evaluation"
LongText = Annotated[str, Text(multiline=True)]
Scorer = Annotated[ClipScorer, Socket("CLIP_SCORER")]
Features = Annotated[FeatureStatistics, Socket("FEATURES")]
Side = Annotated[int, Range(200, 4096)]
Value = TypeVar("Value")
_SUFFIXES = (".safetensors", ".sft", ".bin", ".pt", ".pth")


class Sweep(NamedTuple):
    """What to sample: three lists of one length."""

    prompt: list[str]
    cfg: list[float]
    sampler_name: list[str]


@node("EvaluationSweep", title="Evaluation: Sweep", category=CATEGORY)
def evaluation_sweep(
    *,
    prompts: list[str],
    scales: list[LongText] | None = None,
    samplers: list[LongText] | None = None,
) -> Sweep:
    """Every prompt at every guidance scale with every sampler. What is linked to the outputs runs once for each.

    Inputs:
        prompts: The prompts, from Prompts from File or List from Text.
        scales: Guidance scales; without, those of the model card: 1.5, 2, 3, 4, 5, 6, 7, 8.
        samplers: Names of samplers; without, plms, as in the model card.

    Outputs:
        prompt: The prompt of each picture, one by one: all prompts at the first scale, then at the next.
        cfg: Its guidance scale.
        sampler_name: Its sampler.
    """
    guidance = read_series((scales or ["1.5, 2, 3, 4, 5, 6, 7, 8"])[0], "numbers", ",")
    names = [str(name) for name in read_series((samplers or ["plms"])[0], "text", ",")]
    for name in names:
        find(SAMPLERS, name, kind="sampler")
    if not (prompts and guidance and names):
        raise ValueError("A sweep needs one prompt, one scale and one sampler at least.")
    check_items(len(prompts) * len(guidance) * len(names))
    places = [(prompt, float(scale), name) for name in names for scale in guidance for prompt in prompts]
    return Sweep(*(list(column) for column in zip(*places, strict=True)))


def _scorer_stamp(*, clip_name: str, ctx: Context = QUIET) -> str:
    return file_stamp(ctx.folders.find("clip_vision", clip_name))


@node("CLIPScorerLoader", title="Load CLIP for Scores", category="loaders", fingerprint=_scorer_stamp)
def clip_scorer_loader(
    *, clip_name: Annotated[str, File("clip_vision", suffixes=_SUFFIXES)], ctx: Context = QUIET
) -> Annotated[ClipScorer, Socket("CLIP_SCORER")]:
    """Read a whole CLIP model, which compares pictures with texts. It computes on the processor, in float32.

    Inputs:
        clip_name: Its weights, relative to a clip_vision folder: those of openai/clip-vit-large-patch14, say.

    Outputs:
        CLIP_SCORER: The model.
    """
    return load_clip_scorer(ctx.folders.find("clip_vision", clip_name))


@node("CLIPScore", title="CLIP Score", category=CATEGORY)
def clip_score(*, images: Image, prompt: LongText, clip_scorer: Scorer) -> Shown[list[float]]:
    """How well pictures follow a prompt: the cosine between them in CLIP's space (Hessel et al. 2021, without factor).

    Inputs:
        images: The pictures, [B, H, W, 3 or 4].
        prompt: The prompt.
        clip_scorer: The CLIP model.

    Outputs:
        FLOAT: The score of each picture, 0..1, one by one; good pictures have about 0.3.
    """
    picture(images, "images", COLOUR_OR_ALPHA)
    scores = clip_scorer.score(images, prompt)
    return Shown(scores, ui={"text": [f"{score:.4f}" for score in scores]})


@node("ShapeAdherence", title="Prompt Adherence (Shapes)", category=CATEGORY)
def shape_adherence(*, images: Image, prompt: LongText) -> Shown[list[float]]:
    """How much of a prompt about plain shapes pictures show, read by program: for the tiny checkpoint, without a CLIP.

    Inputs:
        images: The pictures, [B, H, W, 3 or 4].
        prompt: One of six shapes in one of ten colours, or two of them in a relation, on a background of a colour.

    Outputs:
        FLOAT: The share of background, colours, shapes and places that is as asked, of each picture, one by one.
    """
    picture(images, "images", COLOUR_OR_ALPHA)
    shares = [check_pixels(each[..., :3].double().numpy(), prompt).share for each in images]
    return Shown(shares, ui={"text": [f"{share:.2f}" for share in shares]})


@node("CLIPFeatures", title="CLIP Features", category=CATEGORY)
def clip_features(
    *, images: list[Image], clip_scorer: list[Scorer]
) -> Annotated[FeatureStatistics, Socket("FEATURES")]:
    """The mean and covariance of pictures' vectors in CLIP's space, to be compared with those of real pictures.

    Inputs:
        images: The pictures, a list or batches, two at least; hundreds for numbers that mean something.
        clip_scorer: The CLIP model.

    Outputs:
        FEATURES: Their statistics.
    """
    if not images:
        raise ValueError("There are no pictures. Look at the node they come from.")
    vectors = [
        clip_scorer[0].picture_vectors(Image(picture(batch, "images", COLOUR_OR_ALPHA))) for batch in images
    ]
    return FeatureStatistics.of(torch.cat(vectors).numpy())


def _features_stamp(*, file: str, ctx: Context = QUIET) -> str:
    return content_stamp(ctx.folders.find("input", file))


@node("LoadFeatures", title="Load Features", category=CATEGORY, fingerprint=_features_stamp)
def load_features(
    *, file: Annotated[str, File("input", suffixes=(".npy", ".npz"))], ctx: Context = QUIET
) -> Annotated[FeatureStatistics, Socket("FEATURES")]:
    """Read features of pictures that another program made, Inception's for the usual FID.

    Inputs:
        file: In the input folder: a .npy of [pictures, numbers], or a .npz with mu and sigma.

    Outputs:
        FEATURES: Their mean and covariance.
    """
    return read_features(ctx.folders.find("input", file))


@node("FrechetDistance", title="Fréchet Distance (FID)", category=CATEGORY)
def frechet_distance_of(*, first: Features, second: Features) -> Shown[float]:
    """How far two sets of pictures are from each other (Heusel et al. 2017): FID when both are Inception features.

    Inputs:
        first: Features of one set.
        second: Features of the other, by the same network.

    Outputs:
        FLOAT: The distance, 0 or more; 0 for the same statistics.
    """
    distance = frechet_distance(first, second)
    return Shown(distance, ui={"text": [f"{distance:.4f}"]})


@node("EvaluationCurve", title="Evaluation: Curve", category=CATEGORY)
def evaluation_curve(
    *,
    x: list[float],
    y: list[float],
    series: list[str] | None = None,
    x_name: list[str] | None = None,
    y_name: list[str] | None = None,
    width: list[Side] | None = None,
    height: list[Side] | None = None,
) -> Image:
    """Draw numbers against others, one curve for each series; of several numbers at one place the mean.

    Inputs:
        x: From left to right: guidance scales, say.
        y: Upwards: scores, say; one for each x.
        series: Which curve each belongs to: the sampler's name, say. One name for all, or one for each.
        x_name: What x is.
        y_name: What y is.
        width: Of the picture in pixels; 640 when nothing is linked.
        height: Of the picture in pixels; 480 when nothing is linked.

    Outputs:
        IMAGE: The curves, [1, height, width, 3] float32, 0..1.
    """
    names = series or [""]
    if len(x) != len(y) or len(names) not in (1, len(x)):
        raise ValueError(
            f"x has {len(x)} numbers, y {len(y)} and series {len(names)}: give each picture one of each."
        )
    names = names * len(x) if len(names) == 1 else names
    axes = Axes(_one(x_name, "x"), _one(y_name, "y"), _one(width, 640), _one(height, 480))
    curves = {
        name: _means([(a, b) for a, b, other in zip(x, y, names, strict=True) if other == name])
        for name in dict.fromkeys(names)
    }
    return Image(draw_curves(curves, axes))


def _one(values: list[Value] | None, default: Value) -> Value:
    return values[0] if values else default


def _means(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Each x once, ascending, with the mean of its y."""
    at = {x: [b for a, b in points if a == x] for x in sorted({a for a, _ in points})}
    return [(x, sum(values) / len(values)) for x, values in at.items()]
