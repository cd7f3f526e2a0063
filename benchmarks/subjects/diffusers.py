"""diffusers at its best on a processor: bfloat16, channels last, its own pipeline, no safety checker."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.tasks import Picture

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def load_pipeline(checkpoint: Path, config: Path, dtype: torch.dtype) -> Any:
    """diffusers' pipeline for the checkpoint. config: a folder that describes its parts (see materials.py)."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_single_file(
        str(checkpoint), config=str(config), torch_dtype=dtype, safety_checker=None, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def initial_latents(picture: Picture, sigma_max: float) -> Tensor:
    """Seeded noise, scaled so that sampling starts where the other subjects' does: from noise * sqrt(1 + sigma^2)."""
    noise = torch.randn(picture.latent_shape, generator=torch.Generator().manual_seed(picture.seed))
    return noise * ((1 + sigma_max**2) ** 0.5 / sigma_max)


class Subject:
    """A pipeline that stays loaded."""

    def __init__(self, *, checkpoint: str, config: str, dtype: str, output: str) -> None:
        self.output = Path(output)
        self.pipeline = load_pipeline(Path(checkpoint), Path(config), DTYPES[dtype])
        self.pipeline.unet.to(memory_format=torch.channels_last)
        self.pipeline.vae.to(memory_format=torch.channels_last)

    def picture(self, **task: Any) -> Mapping[str, Any]:
        """Make one picture; where it was saved, and the seconds of each step but the first."""
        picture, marks = Picture(**task), list[float]()
        latents = initial_latents(picture, float(self.pipeline.scheduler.sigmas.max()))

        def mark(pipeline: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            marks.append(time.perf_counter())
            return values

        with torch.inference_mode():
            made = self.pipeline(
                picture.prompt,
                negative_prompt=picture.negative,
                width=picture.size,
                height=picture.size,
                num_inference_steps=picture.steps,
                guidance_scale=picture.cfg,
                num_images_per_prompt=picture.batch,
                latents=latents.to(self.pipeline.unet.dtype),
                output_type="pil" if picture.decode else "latent",
                callback_on_step_end=mark,
            ).images
        files = self._save(made) if picture.decode else []
        steps = [after - before for before, after in pairwise(marks)]
        return {"files": files, "step_seconds": steps}

    def _save(self, pictures: Any) -> list[str]:
        files = []
        for number, picture in enumerate(pictures):
            path = self.output / f"diffusers-{number}.png"
            picture.save(path)
            files.append(str(path))
        return files
