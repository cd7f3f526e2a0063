"""What ComfyUI's own examples for Stable Diffusion 1.x show, run as it exports them, every result read by program."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from diffusion.checkpoints.checkpoint import load_checkpoint
from diffusion.config import ControlNetConfig
from diffusion.networks.controlnet import ControlNet
from diffusion.networks.upscaler.compact import CompactConfig, CompactNet
from diffusion.runtime import Runtime
from graph import Executor, Folders, RunResult, Workflow, validate
from nodes import REGISTRY
from tests.adherence import check_picture
from tests.diffusion.reference import random_weights
from tests.pictures import Pixels, read_picture
from tests.workflows import exported
from tests.workflows.exported import GRAPHS, Graph, drawing
from tests.workflows.test_workflows import pixels_of

ROOT = Path(__file__).parents[2]
TINY = ROOT / "models" / "checkpoints" / "weft-tiny.safetensors"
FACTS = {"weft.facts": json.dumps({"unet": {"num_heads": 8, "norm_groups": 32}})}
FIRST_LAYER = "model.diffusion_model.input_blocks.0.0.weight"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Folders with every file that the graphs name."""
    models, places = tmp_path_factory.mktemp("models"), tmp_path_factory.mktemp("places")
    for kind in ("checkpoints/SD1.5", "vae", "loras/styles", "embeddings", "controlnet", "upscale_models"):
        (models / kind).mkdir(parents=True)
    _checkpoints(models)
    outline = ROOT / "models" / "loras" / "weft-tiny-outline.safetensors"
    for name in ("styles/outline.safetensors", "outline_v2.safetensors"):
        (models / "loras" / name).symlink_to(outline)
    vectors = load_file(ROOT / "models" / "embeddings" / "weft-tiny-red-star.safetensors")["emb_params"]
    torch.save({"string_to_param": {"*": vectors}}, models / "embeddings" / "red-star.pt")
    _controlnets(models / "controlnet")
    enlarging = CompactNet(CompactConfig(width=16, convolutions=1, scale=2)).state_dict()
    nothing = {key: torch.zeros_like(tensor) for key, tensor in enlarging.items()}
    torch.save(nothing, models / "upscale_models" / "nearest_x2.pth")
    made = Folders(models=(models,), input=places / "input", output=places / "output", temp=places / "temp")
    _pictures(made)
    return made


def _checkpoints(models: Path) -> None:
    (models / "checkpoints" / "SD1.5" / "tiny-pruned.safetensors").symlink_to(TINY)
    weights = load_file(TINY)
    with safe_open(TINY, "pt") as file:
        said = file.metadata()
    vae = {key: tensor for key, tensor in weights.items() if key.startswith("first_stage_model.")}
    save_file(vae, models / "vae" / exported.VAE, said)
    blind = torch.zeros(len(weights[FIRST_LAYER]), 5, 3, 3, dtype=weights[FIRST_LAYER].dtype)
    weights[FIRST_LAYER] = torch.cat([weights[FIRST_LAYER], blind], dim=1)
    save_file(weights, models / "checkpoints" / "tiny-inpainting.safetensors", said)


def _controlnets(folder: Path) -> None:
    config = ControlNetConfig(load_checkpoint(TINY, Runtime()).model.config)
    weights = random_weights(lambda: ControlNet(config))
    save_file(weights, folder / "control_scribble.safetensors", FACTS)
    different = {
        f"control_model.{key}": tensor
        * (1 if key.startswith(("zero_", "middle_block_out", "input_hint")) else 0.05)
        for key, tensor in random_weights(lambda: ControlNet(config), 1).items()
    }
    save_file(different | {"difference": torch.zeros(1)}, folder / "diff_depth.safetensors", FACTS)


def _pictures(folders: Folders) -> None:
    (folders.input / "clipspace").mkdir(parents=True)
    folders.output.mkdir()
    red_circle = ROOT / "input" / "red-circle.png"
    (folders.input / "red-circle.png").write_bytes(red_circle.read_bytes())
    (folders.output / "depth.png").write_bytes(red_circle.read_bytes())
    masked = (ROOT / "input" / "half-painted.png").read_bytes()
    (folders.input / "clipspace" / "clipspace-mask-31.png").write_bytes(masked)


@pytest.fixture(scope="module")
def executor(folders: Folders) -> Executor:
    return Executor(REGISTRY, folders=folders)


def run(executor: Executor, graph: Graph) -> RunResult:
    result = executor.run(Workflow.from_json(json.dumps(graph)))
    assert result.errors == ()
    return result


def shown_by(executor: Executor, result: RunResult, name: str) -> Path:
    (shown,) = result.ui[name]["images"]
    place = {"output": executor.folders.output, "temp": executor.folders.temp}[shown["type"]]
    return place / shown["subfolder"] / shown["filename"]


def picture(executor: Executor, graph: Graph, name: str = "9") -> Path:
    return shown_by(executor, run(executor, graph), name)


def pixels(executor: Executor, graph: Graph, name: str = "9") -> Pixels:
    return pixels_of(picture(executor, graph, name))


def changed(graph: Graph, name: str, **inputs: Any) -> Graph:
    copied = copy.deepcopy(graph)
    copied[name]["inputs"] |= inputs
    return copied


@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_is_valid_as_it_stands(folders: Folders, name: str) -> None:
    faults = validate(Workflow.from_json(json.dumps(GRAPHS[name]())), REGISTRY, folders)
    assert [fault.message for fault in faults if fault.blocking] == []


@pytest.mark.parametrize("age", ["first", "second", "third"])
@pytest.mark.parametrize("name", GRAPHS)
def test_its_drawing_says_the_same(name: str, age: str) -> None:
    graph = GRAPHS[name]()
    read = Workflow.from_json(json.dumps(drawing(graph, age)), REGISTRY)
    assert read.faults == ()
    for each in graph.values():
        each["inputs"].pop("upload", None)  # a button, which is no input of the node
        each["inputs"].pop("choose file to upload", None)
    assert {key: (node.class_type, dict(node.inputs)) for key, node in read.nodes.items()} == {
        key: (node.class_type, dict(node.inputs))
        for key, node in Workflow.from_json(json.dumps(graph)).nodes.items()
    }


@pytest.mark.slow
def test_text_to_image(executor: Executor) -> None:
    graph = exported.text_to_image()
    assert check_picture(picture(executor, graph), graph["6"]["inputs"]["text"]).right
    other = changed(graph, "6", text="a green star on a black background")
    assert check_picture(picture(executor, other), other["6"]["inputs"]["text"]).right


def test_a_drawing_runs_to_the_same_picture(executor: Executor) -> None:
    graph = exported.text_to_image()
    drawn = Workflow.from_json(json.dumps(drawing(graph, "first")), REGISTRY)
    result = executor.run(drawn)
    assert result.errors == ()
    assert np.array_equal(pixels_of(shown_by(executor, result, "9")), pixels(executor, graph))


def test_image_to_image(executor: Executor) -> None:
    (start,) = read_picture(pixels_of(ROOT / "input" / "red-circle.png")).things
    (result,) = read_picture(pixels(executor, exported.image_to_image())).things
    assert (start.colour, result.colour) == ("red", "blue")
    assert abs(start.x - result.x) < 0.08
    assert abs(start.y - result.y) < 0.08


def test_inpainting(executor: Executor) -> None:
    graph = exported.inpaint()
    result = pixels(executor, graph)
    start = pixels_of(ROOT / "input" / "half-painted.png")
    far = np.abs(result - start)
    assert far[:, :48].mean() < 0.04 < 0.08 < far[:, 80:112].mean()
    things = {(thing.colour, thing.shape) for thing in read_picture(result).things}
    assert things == {("yellow", "star"), ("red", "heart")}
    # A model for inpainting that makes nothing of what it sees beside the latent draws what the plain one does.
    blind = changed(graph, "4", ckpt_name="tiny-inpainting.safetensors")
    assert np.abs(pixels(executor, blind) - result).max() < 0.02


def test_loras(executor: Executor) -> None:
    def ink(graph: Graph) -> float:
        return float((pixels(executor, graph).max(axis=-1) < 0.35).mean())

    graph = exported.loras()
    assert ink(changed(graph, "10", strength_model=0, strength_clip=0)) < 0.001
    assert ink(graph) > 0.005


def test_embeddings(executor: Executor) -> None:
    assert check_picture(picture(executor, exported.embedding()), "a red star on a blue background").right


@pytest.mark.slow
def test_controlnets(executor: Executor) -> None:
    graph = exported.controlnets()
    led = pixels(executor, graph)
    without = {"scribble": changed(graph, "23", strength=0), "depth": changed(graph, "22", strength=0)}
    for less in without.values():
        assert np.abs(pixels(executor, less) - led).mean() > 0.003
    plain = changed(graph, "3", positive=["6", 0])
    neither = changed(without["scribble"], "22", strength=0)
    assert np.array_equal(pixels(executor, neither), pixels(executor, plain))


@pytest.mark.slow
def test_area_composition(executor: Executor) -> None:
    left, right = np.split(pixels(executor, exported.areas()), 2, axis=1)
    for half, wanted in ((left, ("red", "circle")), (right, ("blue", "star"))):
        seen = read_picture(half)
        assert seen.background == "white"
        assert [(each.colour, each.shape) for each in seen.things if each.colour != "white"] == [wanted]


def test_upscaling(executor: Executor) -> None:
    result = run(executor, exported.upscale())
    small, large = (pixels_of(shown_by(executor, result, name)) for name in ("15", "9"))
    assert result.ui["15"]["images"][0]["type"] == "temp"
    assert np.array_equal(small.repeat(2, axis=0).repeat(2, axis=1), large)


@pytest.mark.slow
@pytest.mark.parametrize("way", [exported.hires_fix, exported.hires_fix_by_pictures])
def test_high_resolution(executor: Executor, way: Any) -> None:
    graph = way()
    result = run(executor, graph)
    first, second = (shown_by(executor, result, name) for name in ("9", "12"))
    assert check_picture(first, graph["6"]["inputs"]["text"]).right
    (thing,) = read_picture(pixels_of(second)).things
    assert pixels_of(second).shape == (192, 192, 3)
    assert thing.colour == "red"
    once = pixels(executor, changed(graph, "11", denoise=0.0), "12")
    assert np.abs(once - pixels_of(second)).mean() > 0.005


@pytest.mark.slow
def test_noisy_latents_composed(executor: Executor) -> None:
    graph = exported.noisy_latents()
    path = picture(executor, graph)
    assert check_picture(path, graph["71"]["inputs"]["text"]).right
    other = pixels(executor, changed(graph, "64", noise_seed=9))
    far = np.abs(other - pixels_of(path)).mean(axis=(1, 2))
    assert far[64:].mean() > far[:64].mean(), "the lower part comes from its own noise"


def test_what_other_versions_left_in_a_file_changes_nothing(executor: Executor) -> None:
    graph = changed(exported.text_to_image(), "3", steps=4)
    usual = pixels(executor, graph)
    odd = changed(graph, "3", control_after_generate="randomize", cfg="8.0", steps=4.0, noise_seed=1)
    odd["4"]["inputs"]["ckpt_name"] = "SD1.5/tiny-pruned.safetensors"
    odd["5"]["inputs"]["batch_size"] = "1"
    odd["9"] |= {"_meta": {"title": "Save"}, "is_changed": False, "extra": {"a": [1]}}
    assert np.array_equal(pixels(executor, odd), usual)
    body = {"prompt": odd, "client_id": "x", "extra_data": {"extra_pnginfo": {"workflow": {}}}}
    result = executor.run(Workflow.from_json(json.dumps(body)))
    assert result.errors == ()
    assert np.array_equal(pixels_of(shown_by(executor, result, "9")), usual)


def test_names_of_files_are_filled_in(executor: Executor) -> None:
    graph = changed(exported.text_to_image(), "3", steps=4)
    graph["5"]["_meta"] = {"title": "Size"}
    pattern = "%date:yyyy%\\%KSampler.seed%_%Size.width%x%height%_%CLIPTextEncode.clip%"
    path = picture(executor, changed(graph, "9", filename_prefix=pattern))
    assert path.name == "156680208700286_128x128_%CLIPTextEncode.clip%_00001_.png"
    assert path.parent == executor.folders.output / time.strftime("%Y")
    with Pillow.open(path) as saved:
        assert json.loads(saved.info["prompt"])["9"]["inputs"]["filename_prefix"] == pattern
