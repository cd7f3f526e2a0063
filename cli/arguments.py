"""What can be said on the command line."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.energy import WORLD_CARBON

MODEL_KINDS = ("checkpoints", "loras", "vae", "diffusers")


@dataclass(frozen=True)
class Arguments:
    """The command line, read."""

    run: Path | None
    validate: Path | None
    nodes: str | None
    set: tuple[str, ...]
    seed: int | None
    models: tuple[Path, ...]
    input_directory: Path | None
    output_directory: Path | None
    temp_directory: Path | None
    custom_nodes: tuple[Path, ...]
    device: str
    dtype: str
    memory_limit: str | None
    power: float | None
    carbon_intensity: float
    json: bool
    quiet: bool


def parse(argv: Sequence[str] | None = None) -> Arguments:
    """Read `argv` (by default the process's own). Ends the process with code 2 and a usage line when it is wrong."""
    parser = _parser()
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(parser.parse_args(argv)).items()
    }
    arguments = Arguments(**given)
    for option, folders in (
        ("--models", arguments.models),
        ("--custom-nodes", arguments.custom_nodes),
        ("--input-directory", filter(None, [arguments.input_directory])),
    ):
        for folder in folders:
            if not _is_folder(folder):
                parser.error(f"argument {option}: there is no folder {str(folder)!r}")
    for folder in arguments.models:
        if folder.name in MODEL_KINDS and not any((folder / kind).is_dir() for kind in MODEL_KINDS):
            parser.error(
                f"argument --models: name the folder above, {str(folder.parent)!r}, which holds {folder.name}/"
            )
    return arguments


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        # A name too long for any file, or a folder above it that may not be looked into.
        return False


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Weft runs Stable Diffusion 1.x as a graph of typed nodes.",
        epilog="Exit codes: 0 done, 1 the run failed, 2 a bad workflow or arguments, 130 stopped by Ctrl-C.",
    )
    actions = parser.add_mutually_exclusive_group(required=True)
    actions.add_argument(
        "--run", type=Path, metavar="FILE", help="run a workflow: a JSON file, or a picture that carries one"
    )
    actions.add_argument(
        "--validate", type=Path, metavar="FILE", help="check a workflow, name every fault, run nothing"
    )
    actions.add_argument(
        "--nodes", nargs="?", const="", metavar="NAME", help="list the nodes, or explain one of them, or all"
    )
    _add_workflow_options(parser)
    _add_folder_options(parser)
    parser.add_argument("--device", default="auto", help="where to compute: auto, cpu, cuda, cuda:1, mps")
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=("auto", "fp32", "bf16", "fp16"),
        help="the precision to compute in",
    )
    parser.add_argument(
        "--memory-limit",
        metavar="SIZE",
        help="hold no more than this (2GB, 1500MB, ...) on the device; what does not fit is read again when needed",
    )
    _add_energy_options(parser)
    parser.add_argument("--json", action="store_true", help="print events as JSON lines")
    parser.add_argument("--quiet", action="store_true", help="print nothing but the saved paths, and errors")
    return parser


def _add_workflow_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("changes to the workflow")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NODE.INPUT=VALUE",
        help="change one input; NODE is an id or a title; may be repeated",
    )
    group.add_argument("--seed", type=int, metavar="N", help="use this seed in every node that has one")


def _add_energy_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("estimate of energy and carbon")
    group.add_argument(
        "--power",
        type=_positive,
        metavar="WATTS",
        help="what the machine draws while it computes; the summary then says what the run took",
    )
    group.add_argument(
        "--carbon-intensity",
        type=_positive,
        default=WORLD_CARBON,
        metavar="GRAMS",
        help=f"CO2 of a kilowatt-hour where the machine stands (the world's: {WORLD_CARBON:g})",
    )


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def _add_folder_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("folders")
    group.add_argument(
        "--models",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="look for models here too (checkpoints/, loras/, vae/ ... below it); may be repeated",
    )
    group.add_argument("--input-directory", type=Path, metavar="DIR", help="pictures to load (input/)")
    group.add_argument("--output-directory", type=Path, metavar="DIR", help="where results go (output/)")
    group.add_argument("--temp-directory", type=Path, metavar="DIR", help="where previews go (temp/)")
    group.add_argument(
        "--custom-nodes",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="load nodes from the Python files here too; may be repeated",
    )
