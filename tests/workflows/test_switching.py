"""What a second run does again: only what changed, and no network that is there already."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from torch import nn

from diffusion.model import Clip, Model, Vae
from diffusion.networks.tiny_decoder import TinyAutoencoder
from diffusion.networks.unet import UNet
from diffusion.networks.vae import Autoencoder
from diffusion.runtime import Runtime
from diffusion.text.text_encoder import TextEncoder
from graph import Executor, Folders, NodeStarted, Services, Workflow
from nodes import REGISTRY

ROOT = Path(__file__).parents[2]
LOADER, PROMPT, NEGATIVE, LATENT, SAMPLER, DECODER, SAVER = "1", "2", "3", "4", "5", "6", "7"
LORA = "8"
ONE_OF_EACH = Counter({"UNet": 1, "TextEncoder": 1, "Autoencoder": 1})


class Watched(Runtime):
    """Keeps every network that it hands out, so that those it made can be counted."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[int, nn.Module] = {}

    def unet(self, model: Model) -> UNet:
        network = super().unet(model)
        self._seen[id(network)] = network
        return network

    def text_encoder(self, clip: Clip) -> TextEncoder:
        network = super().text_encoder(clip)
        self._seen[id(network)] = network
        return network

    def autoencoder(self, vae: Vae) -> Autoencoder | TinyAutoencoder:
        network = super().autoencoder(vae)
        self._seen[id(network)] = network
        return network

    @property
    def made(self) -> Counter[str]:
        """How many networks of each kind there have been."""
        return Counter(type(network).__name__ for network in self._seen.values())


class Bench:
    """An executor over the models that come along, and what its runs did."""

    def __init__(self, folders: Folders) -> None:
        self.runtime = Watched()
        services = Services()
        services.put(Runtime, self.runtime)
        self.executor = Executor(REGISTRY, folders=folders, services=services)

    def run(self, name: str, **changes: object) -> set[str]:
        """Run workflows/`name`.json for one step, with changes as `_node_input=value`; the nodes that ran."""
        workflow = Workflow.from_json((ROOT / "workflows" / f"{name}.json").read_text())
        workflow = workflow.with_input(SAMPLER, "steps", 1)
        for target, value in changes.items():
            node, _, input_name = target.removeprefix("_").partition("_")
            workflow = workflow.with_input(node, input_name, value)
        started: list[str] = []
        result = self.executor.run(
            workflow,
            on_event=lambda event: started.append(event.node) if type(event) is NodeStarted else None,
        )
        assert result.errors == ()
        return set(started)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    models = tmp_path / "models"
    shutil.copytree(ROOT / "models", models)
    return Folders(models=(models,), input=ROOT / "input", output=tmp_path / "output", temp=tmp_path / "temp")


@pytest.fixture
def bench(folders: Folders) -> Bench:
    """One that has run txt2img."""
    bench = Bench(folders)
    assert bench.run("txt2img") == {LOADER, PROMPT, NEGATIVE, LATENT, SAMPLER, DECODER, SAVER}
    assert bench.runtime.made == ONE_OF_EACH
    return bench


def test_the_same_again_runs_nothing(bench: Bench) -> None:
    assert bench.run("txt2img") == set()


def test_a_changed_prompt_is_encoded_alone(bench: Bench) -> None:
    assert bench.run("txt2img", _2_text="a red heart") == {PROMPT, SAMPLER, DECODER, SAVER}
    assert bench.run("txt2img", _3_text="blurred") == {NEGATIVE, SAMPLER, DECODER, SAVER}
    assert bench.runtime.made == ONE_OF_EACH


def test_a_changed_seed_encodes_and_loads_nothing(bench: Bench) -> None:
    assert bench.run("txt2img", _5_seed=99) == {SAMPLER, DECODER, SAVER}
    assert bench.runtime.made == ONE_OF_EACH


def test_another_workflow_on_the_same_checkpoint_loads_nothing(bench: Bench) -> None:
    for name in ("img2img", "inpaint"):
        ran = bench.run(name)
        assert SAMPLER in ran
        assert LOADER not in ran
    assert bench.runtime.made == ONE_OF_EACH


def test_loading_the_file_again_makes_no_network(bench: Bench) -> None:
    bench.executor.cache.clear()
    assert LOADER in bench.run("txt2img")
    assert bench.runtime.made == ONE_OF_EACH


def test_a_lora_makes_its_networks_once(bench: Bench) -> None:
    assert LORA in bench.run("lora")
    with_lora = bench.runtime.made
    assert with_lora["UNet"] == 2
    bench.run("txt2img", _5_seed=1)
    bench.run("lora", _5_seed=2)
    bench.executor.cache.clear()
    assert {LOADER, LORA} <= bench.run("lora", _5_seed=3)
    assert bench.runtime.made == with_lora


def test_a_replaced_checkpoint_is_loaded_and_its_networks_made_anew(bench: Bench, folders: Folders) -> None:
    path = folders.find("checkpoints", "weft-tiny.safetensors")
    shutil.copy2(path, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)
    assert {LOADER, PROMPT, NEGATIVE, SAMPLER, DECODER} <= bench.run("txt2img")
    assert bench.runtime.made == ONE_OF_EACH + ONE_OF_EACH


def test_a_checkpoint_used_for_its_vae_makes_no_other_network(folders: Folders) -> None:
    bench = Bench(folders)
    nodes = json.loads((ROOT / "workflows" / "img2img.json").read_text())
    kept = {node: nodes[node] for node in (LOADER, LATENT, DECODER, SAVER, "8")}
    kept[DECODER]["inputs"]["samples"] = ["8", 0]
    result = bench.executor.run(Workflow.from_json(json.dumps(kept)))
    assert result.errors == ()
    assert bench.runtime.made == Counter({"Autoencoder": 1})
