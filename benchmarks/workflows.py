"""Workflows as the queue API takes them, the same JSON for Weft and for any server."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.tasks import Picture

Drawn = dict[str, dict[str, Any]]
"""{id: {"class_type", "inputs"}}; a link is [id, output index]."""


def text_to_image(picture: Picture, checkpoint: str, loras: Sequence[str] = ()) -> Drawn:
    """From a checkpoint to a saved picture, or to a saved latent where `picture.decode` is off."""
    model, clip = ["checkpoint", 0], ["checkpoint", 1]
    drawn: Drawn = {"checkpoint": _node("CheckpointLoaderSimple", ckpt_name=checkpoint)}
    for number, name in enumerate(loras):
        drawn[f"lora{number}"] = _node(
            "LoraLoader", model=model, clip=clip, lora_name=name, strength_model=1.0, strength_clip=1.0
        )
        model, clip = [f"lora{number}", 0], [f"lora{number}", 1]
    drawn |= {
        "positive": _node("CLIPTextEncode", text=picture.prompt, clip=clip),
        "negative": _node("CLIPTextEncode", text=picture.negative, clip=clip),
        "empty": _node("EmptyLatentImage", width=picture.size, height=picture.size, batch_size=picture.batch),
        "sampler": _node(
            "KSampler",
            model=model,
            positive=["positive", 0],
            negative=["negative", 0],
            latent_image=["empty", 0],
            seed=picture.seed,
            steps=picture.steps,
            cfg=picture.cfg,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        ),
    }
    if picture.decode:
        drawn["decode"] = _node("VAEDecode", samples=["sampler", 0], vae=["checkpoint", 2])
        drawn["save"] = _node("SaveImage", images=["decode", 0], filename_prefix="benchmark")
    else:
        drawn["save"] = _node("SaveLatent", samples=["sampler", 0], filename_prefix="benchmark")
    return drawn


def renamed(drawn: Mapping[str, Mapping[str, Any]], suffix: str) -> Drawn:
    """The same nodes under other ids: what another workflow of the same kind looks like."""

    def value(given: Any) -> Any:
        return [given[0] + suffix, given[1]] if isinstance(given, list) else given

    return {
        key + suffix: {**node, "inputs": {name: value(given) for name, given in node["inputs"].items()}}
        for key, node in drawn.items()
    }


def with_model_node(drawn: Drawn, class_type: str, **inputs: Any) -> Drawn:
    """The workflow with one more node between the model and the sampler: MODEL in, MODEL out."""
    changed = copy.deepcopy(drawn)
    changed[class_type] = _node(class_type, model=drawn["sampler"]["inputs"]["model"], **inputs)
    changed["sampler"]["inputs"]["model"] = [class_type, 0]
    return changed


def with_other_vae(drawn: Drawn, vae_name: str) -> Drawn:
    """The workflow with its pictures decoded by another autoencoder."""
    changed = copy.deepcopy(drawn)
    changed["vae"] = _node("VAELoader", vae_name=vae_name)
    changed["decode"]["inputs"]["vae"] = ["vae", 0]
    return changed


def together(*workflows: Mapping[str, Mapping[str, Any]]) -> Drawn:
    """Several workflows as one graph."""
    return {
        key: dict(node)
        for number, drawn in enumerate(workflows)
        for key, node in renamed(drawn, f"-{number}").items()
    }


def _node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}
