"""Within a memory limit: the same numbers from networks that come and go, and a process that stays below it."""

import gc
import json
import subprocess
import sys
import weakref
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion.assembly import LayerMaker, assemble
from diffusion.config import UNetConfig, VAEConfig
from diffusion.memory.shortage import NotEnoughMemory
from diffusion.memory.streaming import Stream, streamed
from diffusion.memory.transfer import InMemory
from diffusion.model import Model, Vae
from diffusion.networks.blueprint import blueprint
from diffusion.networks.unet import UNet
from diffusion.networks.vae import Autoencoder
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from tests.diffusion.limits import limit_with_room
from tests.diffusion.lora_samples import clip, model
from tests.diffusion.reference import random_weights
from tests.diffusion.test_runtime import Plus, plus

X, T, CONTEXT = torch.randn(1, 4, 16, 16), torch.tensor([3.0]), torch.randn(2, 77, 48)
WIDE = UNetConfig(
    channels=(64, 128), attention=(True, True), blocks=1, context_dim=48, num_heads=2, norm_groups=8
)
"""Layers large enough to be worth streaming."""


@cache
def wide_weights() -> dict[str, Tensor]:
    return {key: tensor.half() for key, tensor in random_weights(lambda: UNet(WIDE)).items()}


def maker(weights: dict[str, Tensor], dtype: torch.dtype = torch.float32, *patches: Plus) -> LayerMaker:
    return LayerMaker(weights, patches, torch.device("cpu"), dtype, pack=True)


def stream_of(make: LayerMaker) -> tuple[UNet, Stream]:
    network = blueprint(lambda: UNet(WIDE))
    return network, streamed(network, make, InMemory())


@torch.no_grad()
def passed(network: UNet, stream: Stream | None = None) -> Tensor:
    found = network(X, T, CONTEXT)
    if stream:
        stream.end_pass()
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("patched", [False, True])
def test_a_stream_computes_what_the_whole_network_does_bit_for_bit(dtype: torch.dtype, patched: bool) -> None:
    patches = (plus("input_blocks.1.0.in_layers.2.weight", "out.2.weight", number=0.1),) if patched else ()
    make = maker(wide_weights(), dtype, *patches)
    whole = assemble(blueprint(lambda: UNet(WIDE)), make)
    assert isinstance(whole.network, UNet)
    expected = passed(whole.network)
    network, stream = stream_of(make)
    for room in (stream.least_room, stream.nbytes * 3 // 4, stream.nbytes, stream.least_room):
        assert stream.fit(room)
        for _ in range(2):
            assert torch.equal(passed(network, stream), expected)
            assert stream.held_nbytes <= room


def test_what_fits_is_made_once_and_what_does_not_each_time() -> None:
    made: list[str] = []

    class Counting(InMemory):
        def fill(self, maker: LayerMaker, name: str, *rest: Any) -> None:
            made.append(name)
            super().fill(maker, name, *rest)

    network = blueprint(lambda: UNet(WIDE))
    stream = streamed(network, maker(wide_weights()), Counting())
    assert stream.fit(stream.nbytes)
    passed(network, stream)
    passed(network, stream)
    assert len(made) == len(set(made))
    assert stream.fit(stream.nbytes * 3 // 4)
    made.clear()
    passed(network, stream)
    passed(network, stream)
    again = set(made)
    assert 0 < len(again) < 40
    assert len(made) <= 2 * len(again) + 1  # and the first one of a third pass


def test_too_little_room_is_said_and_changes_nothing() -> None:
    network, stream = stream_of(maker(wide_weights()))
    assert stream.fit(stream.nbytes)
    expected = passed(network, stream)
    assert not stream.fit(stream.least_room - 1)
    assert torch.equal(passed(network, stream), expected)


def test_released_streams_hold_nothing_and_still_work() -> None:
    network, stream = stream_of(maker(wide_weights()))
    stream.fit(stream.nbytes)
    expected = passed(network, stream)
    assert stream.held_nbytes > 0
    stream.release()
    assert stream.held_nbytes == 0
    assert torch.equal(passed(network, stream), expected)


def test_features_around_layers_work_on_streams_too() -> None:
    network, stream = stream_of(maker(wide_weights()))
    stream.fit(stream.least_room)
    seen: list[tuple[int, ...]] = []
    network.middle_block[0].register_forward_hook(lambda _, inputs, output: seen.append(tuple(output.shape)))
    passed(network, stream)
    assert len(seen) == 1


def test_networks_of_a_limited_runtime_are_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime(Placement(memory_limit=limit_with_room(1 << 30)))
    m = replace(model(), runtime=runtime)
    network = runtime.unet(m)
    assert runtime.unet(m) is network
    passed_once = network(X, T, torch.randn(2, 77, 48))
    gone = weakref.ref(network)
    del network, passed_once
    runtime.release()
    gc.collect()
    assert gone() is None


def test_every_network_works_within_a_limit() -> None:
    limited = Runtime(Placement(memory_limit=limit_with_room(200 << 20)))
    config = VAEConfig(channels=(32, 32), blocks=1)
    weights = random_weights(lambda: Autoencoder(config))

    def found(runtime: Runtime) -> tuple[Tensor, ...]:
        m, c = replace(model(), runtime=runtime), replace(clip(), runtime=runtime)
        autoencoder = runtime.autoencoder(Vae(weights, config, runtime))
        with torch.no_grad():
            hidden = runtime.text_encoder(c)(torch.tensor([[0, 1, 2, 3]])).hidden
            noise = runtime.unet(m)(X, T, CONTEXT)
            mean, _ = autoencoder.encode(autoencoder.decode(X))
            return hidden, noise, mean

    for one, other in zip(found(limited), found(Runtime()), strict=True):
        assert torch.equal(one, other)


def test_a_limit_that_no_plan_meets_names_the_least() -> None:
    runtime = Runtime(Placement(memory_limit=limit_with_room(60 << 20)))
    m = Model(wide_weights(), WIDE, runtime)
    with pytest.raises(NotEnoughMemory, match=r"too small for this step.*--memory-limit \d+MB or more"):
        runtime.unet(m)(torch.zeros(1, 4, 128, 128), T, CONTEXT)


def test_a_batch_that_does_not_fit_is_computed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each row took a gigabyte, of which there are three."""
    monkeypatch.setattr("diffusion.memory.calls.unet_bytes", lambda config, *, rows, **_: rows << 30)
    x, context, times = torch.randn(4, 4, 16, 16), torch.randn(8, 77, 48), torch.arange(4.0)
    limited = Runtime(Placement(memory_limit=limit_with_room(3 << 30)))
    network, rows = limited.unet(Model(wide_weights(), WIDE, limited)), list[int]()
    network.middle_block.register_forward_hook(lambda _, inputs, output: rows.append(len(output)))
    with torch.no_grad():
        for prompt in (context, network.read(context)):
            for timesteps in (T, times):
                expected = UNet.forward(network, x, timesteps, context)
                rows.clear()
                assert torch.allclose(network(x, timesteps, prompt), expected, atol=1e-4)
                assert rows == [2, 2, 2, 2]


CHILD = """
import ast, json, sys, threading
from pathlib import Path
import torch
from diffusion.codec import decode_latent
from diffusion.types import Latent
from diffusion.files.weight_files import read_weights
from diffusion.config import UNetConfig, VAEConfig
from diffusion.memory.machine import private_bytes
from diffusion.model import Model, Vae
from diffusion.placement import Placement
from diffusion.runtime import Runtime

folder, room = sys.argv[1], int(sys.argv[2])
unet, vae = UNetConfig(**ast.literal_eval(sys.argv[3])), VAEConfig((64, 256), 1)
weights = {name: read_weights(Path(folder, name + ".safetensors")).tensors for name in ("first", "second", "vae")}
torch.randn(64, 64, 8, 8).to(torch.bfloat16).sum()
start, peaks, done = private_bytes(), [0], threading.Event()

def watch():
    while not done.wait(0.005):
        peaks.append(private_bytes())

runtime = Runtime(Placement(memory_limit=start + room if room else None))
latent = torch.linspace(-2, 2, 4 * 16 * 16).reshape(1, 4, 16, 16)
watcher = threading.Thread(target=watch, daemon=True)
watcher.start()
figures = []
with torch.no_grad():
    for name in ("first", "second", "first"):
        network = runtime.unet(Model(weights[name], unet, runtime))
        for _ in range(2):
            noise = network(latent, torch.tensor([3.0]), torch.ones(2, 77, 48))
        figures += [noise.double().sum().item(), noise.double().abs().sum().item()]
        autoencoder = Vae(weights["vae"], vae, runtime)
        figures.append(decode_latent(autoencoder, Latent(noise[:1])).double().sum().item())
done.set()
watcher.join()
print(json.dumps({"taken": max(peaks) - start, "figures": figures}))
"""
LARGE = {"channels": (256, 384), "attention": (True, True), "blocks": 1, "context_dim": 48, "num_heads": 4}
ROOM = 260 << 20


def run_child(folder: Path, room: int) -> dict[str, Any]:
    command = [sys.executable, "-c", CHILD, str(folder), str(room), repr(LARGE)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert run.returncode == 0, run.stderr
    result: dict[str, Any] = json.loads(run.stdout)
    return result


@pytest.mark.slow
def test_two_checkpoints_and_a_vae_in_turn_stay_within_the_limit(tmp_path: Path) -> None:
    """Counted by the system in a process of its own; without a limit the same work takes more."""
    config, vae = UNetConfig(**LARGE), VAEConfig((64, 256), 1)
    for name, network in (
        ("first", lambda: UNet(config)),
        ("second", lambda: UNet(config)),
        ("vae", lambda: Autoencoder(vae)),
    ):
        weights = {key: tensor.half() for key, tensor in random_weights(network).items()}
        weights = {key: tensor * 0.9 if name == "second" else tensor for key, tensor in weights.items()}
        save_file(weights, tmp_path / f"{name}.safetensors")
    free, limited = run_child(tmp_path, 0), run_child(tmp_path, ROOM)
    assert limited["figures"] == free["figures"]
    assert limited["taken"] <= ROOM < free["taken"]
