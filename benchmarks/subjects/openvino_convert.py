"""Converts diffusers' networks for OpenVINO, once, run as a program by the peers' Python.

Conversion takes minutes and some gigabytes, so it has a process of its own, which leaves no trace in the memory
peak of the subject.
"""

import argparse
from pathlib import Path
from typing import Any

import openvino
import torch
from torch import Tensor, nn

from benchmarks.subjects.diffusers import load_pipeline

COMPLETE = "complete"
"""An empty file of this name says that a folder holds all three networks."""


class _Plain(nn.Module):
    """A network that returns its first tensor, as the tracer wants it."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        result: Tensor = self.network(*inputs, return_dict=False)[0]
        return result


def convert(checkpoint: Path, config: Path, folder: Path) -> None:
    """Write unet, vae and text networks of `checkpoint` into `folder`, in float32 and with weights in float16."""
    pipeline = load_pipeline(checkpoint, config, torch.float32)
    context = pipeline.unet.config.cross_attention_dim
    tokens = pipeline.tokenizer.model_max_length
    examples = {
        "unet": (
            pipeline.unet,
            (torch.randn(2, 4, 32, 32), torch.tensor(1.0), torch.randn(2, tokens, context)),
        ),
        "vae": (_Decoder(pipeline.vae), (torch.randn(1, 4, 32, 32),)),
        "text": (pipeline.text_encoder, (torch.zeros(2, tokens, dtype=torch.long),)),
    }
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        for name, (network, example) in examples.items():
            traced = network if isinstance(network, _Decoder) else _Plain(network)
            converted = openvino.convert_model(traced.eval(), example_input=example)
            openvino.save_model(converted, folder / f"{name}-fp32.xml", compress_to_fp16=False)
            openvino.save_model(converted, folder / f"{name}-fp16.xml", compress_to_fp16=True)
    pipeline.tokenizer.save_pretrained(folder / "tokenizer")
    (folder / COMPLETE).touch()


class _Decoder(nn.Module):
    """Latents to pictures in -1..1."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, latents: Tensor) -> Tensor:
        pictures: Tensor = self.vae.decode(latents, return_dict=False)[0]
        return pictures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("checkpoint", "config", "folder"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    convert(arguments.checkpoint, arguments.config, arguments.folder)
