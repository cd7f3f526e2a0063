"""OpenVINO at its best exact settings: static shapes, a stated precision, every network its own."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from PIL import Image
from transformers import CLIPTokenizer

from benchmarks.subjects.diffusers import initial_latents
from benchmarks.tasks import Picture

LATENT_SCALE = 0.18215
HINTS = {"bf16": "bf16", "fp32": "f32"}
WEIGHTS = {"bf16": "fp16", "fp32": "fp32"}
"""Which files are read. Half-precision weights lose nothing that bf16 has, and take half the memory to load."""

Array = np.ndarray[Any, np.dtype[Any]]


class Subject:
    """Networks converted beforehand (openvino_convert.py), compiled for a size when it is first asked for."""

    def __init__(self, *, networks: str, dtype: str, output: str) -> None:
        self.networks, self.dtype, self.output = Path(networks), dtype, Path(output)
        self.core = openvino.Core()
        self.tokenizer = CLIPTokenizer.from_pretrained(str(self.networks / "tokenizer"))
        self.compiled: dict[tuple[object, ...], Any] = {}

    def forget(self) -> Mapping[str, Any]:
        """Let go of every compiled network."""
        self.compiled.clear()
        return {}

    def picture(self, **task: Any) -> Mapping[str, Any]:
        """Make one picture by Euler's method (Karras et al. 2022, algorithm 1)."""
        picture, marks = Picture(**task), list[float]()
        context = self._encode(picture)
        sigmas = _sigmas(picture.steps)
        x = initial_latents(picture, sigmas[0]).numpy() * sigmas[0]
        unet = self._unet(picture.size, picture.batch)
        for sigma, after in pairwise(sigmas):
            seen = np.concatenate([x, x]) / math.sqrt(sigma**2 + 1)
            noise = unet({0: seen, 1: np.float32(_timestep(sigma)), 2: context})[0]
            uncond, cond = np.split(noise, 2)
            x = x + (uncond + (cond - uncond) * picture.cfg) * np.float32(after - sigma)
            marks.append(time.perf_counter())
        steps = [after - before for before, after in pairwise(marks)]
        return {"files": self._save(x, picture) if picture.decode else [], "step_seconds": steps}

    def _encode(self, picture: Picture) -> Array:
        texts = [picture.negative, picture.prompt]
        ids = self.tokenizer(texts, padding="max_length", truncation=True, max_length=77, return_tensors="np")
        states: Array = self._text_encoder()({0: ids["input_ids"]})[0]
        return np.repeat(states, picture.batch, axis=0)

    def _save(self, latents: Array, picture: Picture) -> list[str]:
        decode, files = self._decoder(picture.size), []
        for number, latent in enumerate(latents):
            pixels = decode({0: latent[None] / LATENT_SCALE})[0][0].transpose(1, 2, 0)
            bytes_ = ((pixels / 2 + 0.5).clip(0, 1) * 255).round().astype(np.uint8)
            path = self.output / f"openvino-{number}.png"
            Image.fromarray(bytes_).save(path)
            files.append(str(path))
        return files

    def _text_encoder(self) -> Any:
        return self._compile("text", [[2, 77]])

    def _unet(self, size: int, batch: int) -> Any:
        side = size // 8
        return self._compile("unet", [[2 * batch, 4, side, side], [], [2 * batch, 77, -1]])

    def _decoder(self, size: int) -> Any:
        return self._compile("vae", [[1, 4, size // 8, size // 8]])

    def _compile(self, name: str, shapes: list[list[int]]) -> Any:
        """The network for inputs of these shapes; -1 is what the network itself says."""
        key = (name, str(shapes))
        if key not in self.compiled:
            model = self.core.read_model(self.networks / f"{name}-{WEIGHTS[self.dtype]}.xml")
            shaped = {}
            for place, shape in zip(model.inputs, shapes, strict=True):
                known = place.get_partial_shape()
                shaped[place] = [known[i] if n == -1 else n for i, n in enumerate(shape)]
            model.reshape(shaped)
            self.compiled[key] = self.core.compile_model(
                model, "CPU", {"INFERENCE_PRECISION_HINT": HINTS[self.dtype], "PERFORMANCE_HINT": "LATENCY"}
            )
        return self.compiled[key]


@cache
def _training_sigmas() -> Array:
    """Noise levels of the 1000 training steps (Rombach et al. 2022, released v1 configs)."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas = np.cumprod(1 - betas)
    levels: Array = np.sqrt((1 - alphas) / alphas)
    return levels


def _sigmas(steps: int) -> list[float]:
    """The levels of `steps` steps evenly spread over the training steps, and 0."""
    levels = _training_sigmas()
    return [*np.interp(np.linspace(999, 0, steps), np.arange(1000), levels).tolist(), 0.0]


def _timestep(sigma: float) -> float:
    return float(np.interp(np.log(sigma), np.log(_training_sigmas()), np.arange(1000)))
