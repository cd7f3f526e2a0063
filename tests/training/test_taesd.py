"""A tiny autoencoder as the trainer makes it: two files that the engine reads, nearer to the full one with time."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffusion.approximations.tiny_vae import load_tiny_vae
from diffusion.config import TinyVAEConfig
from diffusion.networks.tiny_decoder import TinyAutoencoder
from diffusion.runtime import Runtime
from tests.training.toys import TOY_SIZES
from training.loop import Logbook, Plan, train
from training.networks import fresh_networks, save_networks
from training.stages.distilling import Distilling, lessons
from training.taesd import PLAN, TaesdRecipe, make_taesd, save_taesd

RECIPE = TaesdRecipe(width=4, pictures=4, count=1, plan=replace(PLAN, steps=3))


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("training.taesd.TINY", TOY_SIZES)
    save_networks(fresh_networks(TOY_SIZES, ("r e",), seed=5), tmp_path / "toy.safetensors")
    return tmp_path / "toy.safetensors"


def make(checkpoint: Path, name: str, seed: int) -> dict[str, bytes]:
    folder = checkpoint.parent / name
    make_taesd(checkpoint, folder / "toy", recipe=RECIPE, seed=seed, logbook=Logbook(folder / "work"))
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def test_two_files_are_written_that_depend_on_the_seed_alone(checkpoint: Path) -> None:
    first, again, other = make(checkpoint, "a", 3), make(checkpoint, "b", 3), make(checkpoint, "c", 4)
    assert set(first) == {"toy_decoder.safetensors", "toy_encoder.safetensors"}
    assert first == again
    assert first["toy_decoder.safetensors"] != other["toy_decoder.safetensors"]
    vae = load_tiny_vae([checkpoint.parent / "a" / name for name in sorted(first)], Runtime())
    assert vae.config == TinyVAEConfig(4)


def test_it_comes_nearer_to_the_full_autoencoder(tmp_path: Path) -> None:
    full = fresh_networks(TOY_SIZES, ("r e",), seed=5).vae
    torch.manual_seed(0)
    tiny = TinyAutoencoder(TinyVAEConfig(8))
    learned = lessons(full, seed=0, count=6, mixture=RECIPE.mixture, path=tmp_path / "lessons.pt")
    task = Distilling(tiny, learned, seed=0, count=2)
    before = sum(float(task.loss(step, 0).detach()) for step in range(4))
    train("toy", task, Plan(steps=25, rates=PLAN.rates, warmup=3), Logbook(tmp_path))
    assert sum(float(task.loss(step, 0).detach()) for step in range(4)) < 0.7 * before


def test_lessons_are_read_back(tmp_path: Path) -> None:
    full = fresh_networks(TOY_SIZES, ("r e",), seed=5).vae
    made = [
        lessons(full, seed=seed, count=2, mixture=RECIPE.mixture, path=tmp_path / "lessons.pt")
        for seed in (0, 1)
    ]
    assert torch.equal(made[0].noisy, made[1].noisy)
    assert made[0].pixels.shape == made[0].drawn.shape == (2, 3, 128, 128)
    assert made[0].means.shape == (2, 4, 16, 16)


def test_a_file_of_more_than_a_megabyte_is_refused(tmp_path: Path) -> None:
    large = TinyAutoencoder(TinyVAEConfig(64)).state_dict()
    with pytest.raises(ValueError, match="larger than"):
        save_taesd(large, tmp_path / "large")
    assert list(tmp_path.iterdir()) == []
