"""Every stage from nothing to a file, with toy networks: repeatable, restartable, readable by the engine."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from diffusion.checkpoints.checkpoint import load_checkpoint
from diffusion.codec import decode_latent
from diffusion.config import LATENT_SCALE
from diffusion.runtime import Runtime
from diffusion.text.encode import encode
from diffusion.types import Latent
from tests.training.toys import TOY, TOY_SIZES
from training.examples import as_pixels, example
from training.loop import Logbook
from training.networks import TINY, fresh_networks, load_networks, save_networks
from training.pipeline import Job, make_checkpoint
from training.recipe import EXPECTED_HOURS, STANDARD
from training.stages.autoencoder import fold_statistics

MERGES = ("r e", "re d</w>", "a t</w>")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    make_checkpoint(Job(TOY, 3, Logbook(folder / "work")), folder / "toy.safetensors")
    return folder


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again.safetensors", tmp_path / "other.safetensors"
    make_checkpoint(Job(TOY, 3, Logbook(tmp_path / "3", threads=1)), again)
    make_checkpoint(Job(TOY, 4, Logbook(tmp_path / "4")), other)
    assert again.read_bytes() == (made / "toy.safetensors").read_bytes()
    assert other.read_bytes() != again.read_bytes()


def test_the_engine_loads_what_was_made(made: Path) -> None:
    checkpoint = load_checkpoint(made / "toy.safetensors", Runtime())
    assert checkpoint.model.config == TOY_SIZES.unet
    assert checkpoint.vae.config == TOY_SIZES.vae
    embedding = encode(checkpoint.clip, "a red circle on a white background").entries[0].embedding
    assert embedding.shape == (1, 77, 16)
    picture = decode_latent(checkpoint.vae, Latent(torch.zeros(1, 4, 16, 16)))
    assert picture.shape == (1, 128, 128, 3)


def test_every_stage_moved_its_weights(made: Path) -> None:
    stages = {
        name: torch.load(made / "work" / f"{name}.pt", weights_only=True) for name in ("unet", "decoder")
    }
    file = load_file(made / "toy.safetensors")
    for key, trained in {
        "model.diffusion_model.middle_block.0.in_layers.2.weight": stages["unet"][
            "unet.middle_block.0.in_layers.2.weight"
        ],
        "first_stage_model.decoder.conv_in.weight": stages["decoder"]["decoder.conv_in.weight"],
    }.items():
        assert torch.equal(file[key], trained.half())


@pytest.mark.slow
def test_a_stage_that_is_lost_is_made_again_alone(made: Path) -> None:
    before = (made / "toy.safetensors").read_bytes()
    latents = made / "work" / "latents" / "000000.pt"
    stamp = latents.stat().st_mtime_ns
    (made / "work" / "unet.pt").unlink()
    (made / "work" / "unet.state.pt").unlink()
    make_checkpoint(Job(TOY, 3, Logbook(made / "work")), made / "toy.safetensors")
    assert (made / "toy.safetensors").read_bytes() == before
    assert latents.stat().st_mtime_ns == stamp


def test_results_of_another_job_are_not_mixed_in(made: Path) -> None:
    for job in (Job(TOY, 4, Logbook(made / "work")), Job(replace(TOY, crops=3), 3, Logbook(made / "work"))):
        with pytest.raises(ValueError, match="another seed, recipe or start"):
            make_checkpoint(job, made / "never.safetensors")
    assert not (made / "never.safetensors").exists()


def test_going_on_from_a_checkpoint_keeps_encoder_and_text(made: Path, tmp_path: Path) -> None:
    start, out = made / "toy.safetensors", tmp_path / "on.safetensors"
    make_checkpoint(Job(replace(TOY, text_frozen=1.0), 3, Logbook(tmp_path), start), out)
    before, after = load_file(start), load_file(out)
    same = {key for key in before if torch.equal(before[key], after[key])}
    assert all(key in same for key in before if key.startswith(("cond_stage", "first_stage_model.encoder")))
    assert not any(key.endswith("conv_in.weight") for key in same if ".decoder." in key)
    assert any(key.startswith("model.") and key not in same for key in before)


def test_folding_evens_out_the_latents_and_changes_no_picture() -> None:
    vae = fresh_networks(TOY_SIZES, MERGES, seed=1).vae
    pixels = as_pixels([example(0, "fold", i, mixture=STANDARD.mixture).picture for i in range(6)])
    with torch.no_grad():
        mean, before = vae.encode(pixels)
        drawn = vae.decode(mean)
        fold_statistics(vae, pixels)
        folded, after = vae.encode(pixels)
        scaled = folded * LATENT_SCALE
        redrawn = vae.decode(folded)
    assert scaled.mean((0, 2, 3)).abs().max() < 0.05
    assert scaled.std().item() == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(redrawn, drawn, rtol=1e-3, atol=1e-3)
    growth = (folded[:, :, 1:] - folded[:, :, :-1]).std() / (mean[:, :, 1:] - mean[:, :, :-1]).std()
    noise_growth = (0.5 * (after - before)).exp()
    assert (noise_growth / growth - 1).abs().max() < 0.01, "noise grows as the latents do"


def test_networks_survive_the_file(tmp_path: Path) -> None:
    networks = fresh_networks(TOY_SIZES, MERGES, seed=2)
    save_networks(networks, tmp_path / "a.safetensors")
    loaded = load_networks(tmp_path / "a.safetensors", TOY_SIZES)
    assert loaded.merges == MERGES
    for name, module in networks.parts().items():
        for key, value in module.state_dict().items():
            assert torch.equal(loaded.parts()[name].state_dict()[key], value.half().float())


def test_a_file_of_other_sizes_is_refused(made: Path) -> None:
    with pytest.raises(ValueError, match="sizes"):
        load_networks(made / "toy.safetensors", TINY)


def test_a_file_that_would_be_too_large_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.networks.LARGEST_FILE", 1000)
    with pytest.raises(ValueError, match="larger than 1000 bytes"):
        save_networks(fresh_networks(TOY_SIZES, MERGES, seed=2), tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_hours_scale_the_steps() -> None:
    half = STANDARD.for_hours(EXPECTED_HOURS / 2)
    assert half.unet.steps == STANDARD.unet.steps // 2
    assert half.unet.rates == STANDARD.unet.rates
    assert STANDARD.for_hours(2 * EXPECTED_HOURS).pictures == STANDARD.pictures
