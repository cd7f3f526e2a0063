"""Saves pictures and their grid where the original scripts saved them, under the names they gave."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Annotated

from diffusion.types import Image
from graph import QUIET, Context, Range, Shown, node
from imaging.canvas import make_grid
from nodes.image_encoding import Encoding, picture_bytes
from nodes.metadata import workflow_metadata
from nodes.pictures import check_pictures
from nodes.saving import FilePrefix, expand_prefix, save_first_free, split_prefix

SAMPLES = "samples"


@node("CompVisSave", title="Original Script: Save", category="compvis", output=True, io=True)
def compvis_save(
    *,
    images: list[Image],
    outdir: Annotated[str, FilePrefix()] = "txt2img-samples",
    skip_save: bool = False,
    skip_grid: bool = False,
    n_rows: Annotated[int, Range(0, 4096)] = 0,
    ctx: Context = QUIET,
) -> Shown[None]:
    """Save pictures as outdir/samples/00000.png and on, and a grid of all of them as outdir/grid-0000.png.

    Numbers go on from how many files are there, as the original scripts count; no file is written over. Pixels are
    rounded down as they were there. Each file carries the workflow that made it.

    Inputs:
        images: The pictures of all batches.
        outdir: A folder in the output folder. `%date:yyyy-MM-dd%` and `%Node title.input%` are filled in.
        skip_save: Save the grid alone.
        skip_grid: Save the pictures alone.
        n_rows: Pictures in a row of the grid; 0 for as many as a batch has.
    """
    if not images:
        raise ValueError("There are no pictures to save. Look at the node they come from.")
    for batch in images:
        check_pictures(batch)
    folder = PurePosixPath(expand_prefix(outdir, ctx=ctx).replace("\\", "/"))
    split_prefix(str(folder))
    metadata, encoding = workflow_metadata(ctx), Encoding("PNG")
    root = ctx.folders.output
    saved = []
    if not skip_save:
        saved = [
            save_first_free(
                root,
                str(folder / SAMPLES),
                _sample_names,
                picture_bytes(picture, metadata, encoding),
                kind="output",
            )
            for batch in images
            for picture in batch
        ]
    if not skip_grid:
        grid = picture_bytes(make_grid(images, columns=n_rows)[0], metadata, encoding)
        saved.append(save_first_free(root, str(folder), _grid_names, grid, kind="output"))
    return Shown(None, ui={"images": saved})


def _sample_names(folder: Path) -> Iterator[str]:
    return (f"{number:05}.png" for number in count(_entries(folder)))


def _grid_names(folder: Path) -> Iterator[str]:
    return (f"grid-{number:04}.png" for number in count(_entries(folder)))


def _entries(folder: Path) -> int:
    """What is in the folder, but for the folder of samples and what is still being written."""
    return sum(1 for entry in folder.iterdir() if entry.name != SAMPLES and not entry.name.startswith("."))
