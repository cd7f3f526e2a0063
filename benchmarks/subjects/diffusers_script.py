"""A picture from a cold shell with diffusers, as its own documentation does it; nothing of this project is imported."""

import json
import sys

import torch
from diffusers import StableDiffusionPipeline

folder, out, task = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
pipeline.set_progress_bar_config(disable=True)
size, sigma = task["size"], float(pipeline.scheduler.sigmas.max())
noise = torch.randn((1, 4, size // 8, size // 8), generator=torch.Generator().manual_seed(task["seed"]))
picture = pipeline(
    task["prompt"],
    negative_prompt=task["negative"],
    width=size,
    height=size,
    num_inference_steps=task["steps"],
    guidance_scale=task["cfg"],
    latents=noise * ((1 + sigma**2) ** 0.5 / sigma),
).images[0]
picture.save(out)
