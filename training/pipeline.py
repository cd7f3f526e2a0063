"""Makes the tiny checkpoint stage by stage in a work folder, where every finished stage leaves its result."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from training.attention import blockwise
from training.examples import as_pixels, example, token_ids
from training.loop import Logbook, Plan, Task, save_atomically, train
from training.networks import Networks, fresh_networks, load_networks, save_networks
from training.recipe import Recipe
from training.stages.autoencoder import Autoencoding, fold_statistics
from training.stages.decoder import Decoding
from training.stages.latents import cached_latents
from training.stages.reading import Reading
from training.stages.unet import NoisePrediction
from training.vocabulary import caption_merges

log = logging.getLogger(__name__)

PICTURES_FOR_STATISTICS = 256


@dataclass(frozen=True)
class Job:
    """One checkpoint to be made. start: a finished checkpoint to go on from, or None to begin with nothing."""

    recipe: Recipe
    seed: int
    logbook: Logbook
    start: Path | None = None


def make_checkpoint(job: Job, out: Path) -> None:
    """Run every stage that has not been run yet, then write the checkpoint.

    Raises ValueError when the work folder holds another job's results.
    """
    _claim_folder(job)
    torch.set_num_threads(1)
    with blockwise():
        networks = load_networks(job.start, job.recipe.sizes) if job.start else _from_nothing(job)
        _unet(job, networks)
        _decoder(job, networks)
    save_networks(networks, out)
    log.info("wrote %s, %d bytes", out, out.stat().st_size)


def _claim_folder(job: Job) -> None:
    """Remember whose results the folder holds, so that another seed's or recipe's are never mixed with them."""
    about = {"seed": job.seed, "recipe": repr(job.recipe), "start": str(job.start)}
    path = job.logbook.folder / "job.json"
    if not path.exists():
        _write_whole(path, json.dumps(about, indent=1))
    elif json.loads(path.read_text()) != about:
        raise ValueError(
            f"{job.logbook.folder} holds the results of another seed, recipe or start; choose another --work folder"
        )


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text)
    temporary.replace(path)


def _from_nothing(job: Job) -> Networks:
    merges = _merges(job)
    networks = fresh_networks(job.recipe.sizes, merges, job.seed)
    _autoencoder(job, networks)
    _reading(job, networks)
    return networks


def _merges(job: Job) -> tuple[str, ...]:
    path = job.logbook.folder / "merges.json"
    if not path.exists():
        _write_whole(path, json.dumps(caption_merges(job.seed, captions=job.recipe.captions)))
    return tuple(json.loads(path.read_text()))


def _autoencoder(job: Job, networks: Networks) -> None:
    recipe, vae = job.recipe, networks.vae

    def task() -> Task:
        return Autoencoding(vae, seed=job.seed, count=recipe.crops, crop=recipe.crop, mixture=recipe.mixture)

    _take(vae, _stage(job, "autoencoder", task, recipe.autoencoder))
    drawn = (
        example(job.seed, "statistics", i, mixture=recipe.mixture) for i in range(PICTURES_FOR_STATISTICS)
    )
    fold_statistics(vae, as_pixels([one.picture for one in drawn]))


def _reading(job: Job, networks: Networks) -> None:
    recipe = job.recipe

    def task() -> Task:
        return Reading(
            networks.text,
            networks.tokenizer,
            seed=job.seed,
            steps=recipe.reading.steps,
            count=recipe.readings,
            mixture=recipe.reading_mixture,
        )

    result = _stage(job, "reading", task, recipe.reading)
    _take(networks.text, _part(result, "text"))


def _unet(job: Job, networks: Networks) -> None:
    recipe = job.recipe
    frozen_steps = round(recipe.text_frozen * recipe.unet.steps)
    networks.text.requires_grad_(frozen_steps < recipe.unet.steps)

    def task() -> Task:
        latents = cached_latents(
            networks.vae,
            networks.tokenizer,
            seed=job.seed,
            count=recipe.pictures,
            mixture=recipe.mixture,
            folder=job.logbook.folder / "latents",
        )
        return NoisePrediction(
            networks.unet,
            networks.text,
            latents,
            token_ids(networks.tokenizer, [""]),
            seed=job.seed,
            settings=replace(recipe.noise, frozen_steps=frozen_steps),
        )

    result = _stage(job, "unet", task, recipe.unet)
    _take(networks.unet, _part(result, "unet"))
    _take(networks.text, _part(result, "text"))


def _decoder(job: Job, networks: Networks) -> None:
    recipe = job.recipe

    def task() -> Task:
        return Decoding(networks.vae, seed=job.seed, count=recipe.decodings, mixture=recipe.mixture)

    _take(networks.vae, _stage(job, "decoder", task, recipe.decoder))


def _stage(job: Job, name: str, task: Callable[[], Task], plan: Plan) -> Mapping[str, Tensor]:
    """The averaged weights of a stage: trained now, or read back when it was finished before."""
    path = job.logbook.folder / f"{name}.pt"
    if not path.exists():
        save_atomically(train(name, task(), plan, job.logbook), path)
    result: Mapping[str, Tensor] = torch.load(path, weights_only=True)
    return result


def _part(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}."
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def _take(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put trained weights into a network that may have untrained ones beside them."""
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for name, value in weights.items():
            parameters[name].copy_(value)
