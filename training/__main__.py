"""python -m training: makes the tiny checkpoint or a LoRA for it. The only reader of this command's arguments."""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

from training.drawing.styles import STYLES
from training.loop import Logbook
from training.lora import PLAN, LoraRecipe, make_lora
from training.pipeline import Job, make_checkpoint
from training.recipe import CONTINUED, EXPECTED_HOURS, STANDARD
from training.taesd import PLAN as TAESD_PLAN
from training.taesd import TaesdRecipe, make_taesd

CHECKPOINT = Path("models/checkpoints/weft-tiny.safetensors")


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        arguments.run(arguments)
    except (ValueError, OSError) as error:
        print(f"training: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("training: stopped; the same command goes on from the last saved state", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Trains Weft's own small models.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    tiny = commands.add_parser("tiny", help="the tiny checkpoint")
    tiny.set_defaults(run=_tiny)
    tiny.add_argument("--out", type=Path, default=CHECKPOINT)
    tiny.add_argument("--hours", type=float, help=f"roughly, on two cores (default {EXPECTED_HOURS})")
    tiny.add_argument(
        "--init", type=Path, metavar="FILE", help="go on from this checkpoint instead of from nothing"
    )
    tiny.add_argument("--unet-steps", type=int, help="steps of the UNet stage, in place of the recipe's")
    tiny.add_argument(
        "--decoder-steps", type=int, help="steps of the decoder stage, in place of the recipe's"
    )
    _add_common(tiny)
    lora = commands.add_parser("lora", help="a LoRA that gives the tiny checkpoint's pictures a style")
    lora.set_defaults(run=_lora)
    lora.add_argument("--style", choices=tuple(STYLES), default="outline")
    lora.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    lora.add_argument("--out", type=Path, help="default: models/loras/weft-tiny-STYLE.safetensors")
    lora.add_argument("--steps", type=int, default=PLAN.steps)
    _add_common(lora)
    taesd = commands.add_parser("taesd", help="a tiny autoencoder for the tiny checkpoint's latents")
    taesd.set_defaults(run=_taesd)
    taesd.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    taesd.add_argument(
        "--out",
        type=Path,
        default=Path("models/vae_approx/weft-tiny-taesd"),
        help="the two files' common start",
    )
    taesd.add_argument("--steps", type=int, default=TAESD_PLAN.steps)
    _add_common(taesd)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed", type=int, default=0, help="with the steps, determines the result (default 0)"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("build/training"), help="folder for state and stages"
    )
    parser.add_argument(
        "--threads", type=int, default=2, choices=(1, 2), help="change the speed, not the result"
    )


def _tiny(arguments: argparse.Namespace) -> None:
    recipe = CONTINUED if arguments.init else STANDARD
    if arguments.hours is not None:
        recipe = recipe.for_hours(arguments.hours)
    if arguments.unet_steps is not None:
        recipe = replace(recipe, unet=replace(recipe.unet, steps=arguments.unet_steps))
    if arguments.decoder_steps is not None:
        recipe = replace(recipe, decoder=replace(recipe.decoder, steps=arguments.decoder_steps))
    logbook = Logbook(arguments.work, threads=arguments.threads)
    make_checkpoint(Job(recipe, arguments.seed, logbook, arguments.init), arguments.out)


def _lora(arguments: argparse.Namespace) -> None:
    recipe = LoraRecipe(plan=replace(PLAN, steps=arguments.steps))
    out = arguments.out or Path(f"models/loras/weft-tiny-{arguments.style}.safetensors")
    logbook = Logbook(arguments.work, threads=arguments.threads)
    make_lora(arguments.style, arguments.checkpoint, out, recipe=recipe, seed=arguments.seed, logbook=logbook)


def _taesd(arguments: argparse.Namespace) -> None:
    recipe = TaesdRecipe(plan=replace(TAESD_PLAN, steps=arguments.steps))
    logbook = Logbook(arguments.work, threads=arguments.threads)
    make_taesd(arguments.checkpoint, arguments.out, recipe=recipe, seed=arguments.seed, logbook=logbook)


if __name__ == "__main__":
    sys.exit(main())
