"""The nodes of the original scripts against those scripts' own loops, written out over a toy network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import Tensor

from diffusion.config import LATENT_SCALE
from diffusion.types import Image, Latent
from graph import Context, Folders
from nodes.compvis import compvis_prompts
from nodes.compvis_save import compvis_save
from tests.nodes.toys import PROMPTS, call, gaussian, toy_model, unet

MODEL = toy_model()
ALPHAS = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, dim=0)
SEED, SCALE, SIZE, SHAPE = 9, 3.0, {"H": 48, "W": 40}, (4, 6, 5)
Draw = Callable[[], Tensor]
Eps = Callable[[Tensor, int], Tensor]


def eps(x: Tensor, t: int) -> Tensor:
    """apply_model under guidance, x of unit variance."""
    times = torch.full((len(x),), t)
    empty, prompt = (unet(x, times, torch.full((1, 77, 1), PROMPTS[name])) for name in ("empty", "positive"))
    return empty + SCALE * (prompt - empty)


def timesteps(steps: int) -> list[int]:
    """make_ddim_timesteps, "uniform"."""
    return [t + 1 for t in range(0, 1000, 1000 // steps)]


def previous(x: Tensor, e: Tensor, times: list[int], index: int, draw: Draw, eta: float) -> Tensor:
    """p_sample_ddim and get_x_prev_and_pred_x0 after the network's call."""
    a, before = ALPHAS[times[index]], ALPHAS[times[index - 1]] if index else ALPHAS[0]
    sigma = eta * ((1 - before) / (1 - a) * (1 - a / before)).sqrt()
    clean = (x - (1 - a).sqrt() * e) / a.sqrt()
    noise = sigma * draw()
    return (before.sqrt() * clean + (1 - before - sigma**2).sqrt() * e + noise).float()


def ddim(x: Tensor, times: list[int], draw: Draw, eta: float) -> Tensor:
    for index in reversed(range(len(times))):
        x = previous(x, eps(x, times[index]), times, index, draw, eta)
    return x


def plms(x: Tensor, times: list[int], draw: Draw) -> Tensor:
    old: list[Tensor] = []
    for index in reversed(range(len(times))):
        e = eps(x, times[index])
        if not old:
            ahead = previous(x, e, times, index, draw, 0.0)
            combined = (e + eps(ahead, times[index - 1])) / 2
        elif len(old) == 1:
            combined = (3 * e - old[-1]) / 2
        elif len(old) == 2:
            combined = (23 * e - 16 * old[-1] + 5 * old[-2]) / 12
        else:
            combined = (55 * e - 59 * old[-1] + 37 * old[-2] - 9 * old[-3]) / 24
        x = previous(x, combined, times, index, draw, 0.0)
        old = [*old, e][-3:]
    return x


def drawing(samples: int) -> Draw:
    generator = torch.Generator().manual_seed(SEED)
    return lambda: torch.randn(samples, *SHAPE, generator=generator)


def nodes(name: str, *, n_iter: int, n_samples: int, **inputs: Any) -> list[Tensor]:
    """Every batch of a run, in the model's scale."""
    batches = compvis_prompts(prompt="a cat", n_iter=n_iter, n_samples=n_samples)
    common = {"model": MODEL, "positive": "@positive", "negative": "@empty", "seed": SEED, "scale": SCALE}
    return [
        call(name, batch=batch, **common, **inputs).samples * LATENT_SCALE for batch in batches
    ]  # fmt: skip


def check_same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert float((ours - theirs).norm() / theirs.norm()) < 1e-5


@pytest.mark.parametrize("fixed_code", [False, True])
@pytest.mark.parametrize("method", ["ddim", "ddim with noise", "plms"])
def test_txt2img_is_the_scripts_loop_over_all_batches(method: str, fixed_code: bool) -> None:
    eta = 0.7 if method == "ddim with noise" else 0.0
    draw, times = drawing(2), timesteps(7)
    code = draw() if fixed_code else None
    expected = []
    for _ in range(3):
        start = draw() if code is None else code
        expected.append(plms(start, times, draw) if method == "plms" else ddim(start, times, draw, eta))
    options = {"ddim_steps": 7, "ddim_eta": eta, "plms": method == "plms", "fixed_code": fixed_code}
    check_same(nodes("CompVisTxt2Img", n_iter=3, n_samples=2, **options, **SIZE), expected)


@pytest.mark.parametrize(("strength", "eta"), [(0.75, 0.0), (0.4, 0.5), (0.0, 0.0)])
def test_img2img_is_the_scripts_loop(strength: float, eta: float) -> None:
    picture = gaussian(1, 3)
    draw, times = drawing(2), timesteps(10)
    taken = int(strength * 10)
    expected = []
    for _ in range(2):
        level = ALPHAS[times[taken]]
        noised = (level.sqrt() * picture + (1 - level).sqrt() * draw()).float()
        expected.append(ddim(noised, times[:taken], draw, eta))
    found = nodes(
        "CompVisImg2Img",
        n_iter=2,
        n_samples=2,
        latent_image=Latent(picture / LATENT_SCALE),
        strength=strength,
        ddim_steps=10,
        ddim_eta=eta,
    )
    check_same(found, expected)


def test_strength_1_which_ended_the_script_is_sampled() -> None:
    latent = Latent(gaussian(1, 3))
    (whole,) = nodes(
        "CompVisImg2Img", n_iter=1, n_samples=1, latent_image=latent, strength=1.0, ddim_steps=10
    )
    assert whole.isfinite().all()


def test_what_cannot_be_sampled_is_said() -> None:
    with pytest.raises(ValueError, match="ddim_eta must be 0"):
        nodes("CompVisTxt2Img", n_iter=1, n_samples=1, plms=True, ddim_eta=0.5)
    with pytest.raises(ValueError, match="4, height"):
        nodes("CompVisTxt2Img", n_iter=1, n_samples=1, C=3)
    with pytest.raises(ValueError, match="one picture; got 2"):
        nodes("CompVisImg2Img", n_iter=1, n_samples=1, latent_image=Latent(gaussian(2, 0)))
    with pytest.raises(ValueError, match="between 1 and 1000"):
        nodes("CompVisTxt2Img", n_iter=1, n_samples=1, ddim_steps=1001)


def reading(folder: Path) -> Context:
    return Context(folders=Folders(models=(), input=folder, output=folder / "out"))


def test_lines_of_a_file_are_taken_n_samples_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("one\ntwo\n\nfour")
    ctx = reading(tmp_path)
    batches = compvis_prompts(from_file="p.txt", n_iter=2, n_samples=3, ctx=ctx)
    assert [(batch.number, batch.prompts) for batch in batches] == [
        (0, ("one", "two", "")),
        (1, ("four",)),
        (2, ("one", "two", "")),
        (3, ("four",)),
    ]
    sets = compvis_prompts(from_file="p.txt", n_iter=1, n_samples=2, repeat=2, ctx=ctx)
    assert [batch.prompts for batch in sets] == [(line,) * 2 for line in ("one", "two", "", "four")]
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(ValueError, match="is empty"):
        compvis_prompts(from_file="empty.txt", ctx=ctx)


def test_a_picture_is_scaled_down_to_multiples_of_32() -> None:
    pixels = torch.rand(1, 70, 100, 4, generator=torch.Generator().manual_seed(0))
    shown = Pillow.fromarray((pixels[0, ..., :3] * 255).to(torch.uint8).numpy())
    expected = np.asarray(shown.resize((96, 64), Pillow.Resampling.LANCZOS)) / 255
    found = call("CompVisInitImage", image=pixels)
    assert found.shape == (1, 64, 96, 3)
    assert np.abs(found[0].numpy() - expected).max() < 2 / 255
    assert torch.equal(call("CompVisInitImage", image=pixels[:, :64, :96]), pixels[:, :64, :96, :3])
    with pytest.raises(ValueError, match="31x70 pixels"):
        call("CompVisInitImage", image=pixels[:, :, :31])


def pictures(count: int) -> Image:
    return Image(torch.rand(count, 8, 10, 3, generator=torch.Generator().manual_seed(count)))


def saved(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))


def test_files_are_numbered_as_the_script_counts_and_never_written_over(tmp_path: Path) -> None:
    ctx = reading(tmp_path)
    out = tmp_path / "out" / "a"
    compvis_save(images=[pictures(2), pictures(2)], outdir="a", ctx=ctx)
    compvis_save(images=[pictures(1)], outdir="a", ctx=ctx)
    first = ["grid-0000.png", "grid-0001.png", *(f"samples/{n:05}.png" for n in range(5))]
    assert saved(out) == first
    before = (out / "samples" / "00003.png").read_bytes()
    (out / "samples" / "00001.png").unlink()
    compvis_save(images=[pictures(1)], outdir="a", ctx=ctx)
    assert (out / "samples" / "00003.png").read_bytes() == before
    assert (out / "samples" / "00005.png").exists()


def test_the_grid_is_the_scripts(tmp_path: Path) -> None:
    batches = [pictures(2), pictures(2)]
    compvis_save(images=batches, outdir="b", n_rows=3, skip_save=True, ctx=reading(tmp_path))
    out = tmp_path / "out" / "b"
    assert saved(out) == ["grid-0000.png"]
    with Pillow.open(out / "grid-0000.png") as file:
        grid = np.asarray(file)
    assert grid.shape == (2 * 10 + 2, 3 * 12 + 2, 3)
    fourth = (255 * batches[1][1].numpy()).astype(np.uint8)  # rounded down
    assert np.array_equal(grid[12:20, 2:12], fourth)
    assert not grid[12:, 12:].any()


def test_skipping_both_saves_nothing_and_no_folder_is_left(tmp_path: Path) -> None:
    compvis_save(images=[pictures(1)], skip_save=True, skip_grid=True, ctx=reading(tmp_path))
    assert saved(tmp_path) == []
    with pytest.raises(ValueError, match="no pictures"):
        compvis_save(images=[], ctx=reading(tmp_path))
    with pytest.raises(ValueError, match="points outside"):
        compvis_save(images=[pictures(1)], outdir="../x", ctx=reading(tmp_path))
