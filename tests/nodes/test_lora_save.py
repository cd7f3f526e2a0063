"""LoRAs made of two models: the nearest of their rank; put on the first they make the second, in diffusers too."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.lora.apply import apply_lora
from diffusion.lora.extract import nearest_of_rank
from diffusion.lora.read import read_lora
from diffusion.model import Clip, Model
from diffusion.patches import patched_weight
from graph import Cancelled, Context, Folders
from nodes.model_saving import lora_save
from tests.diffusion.lora_samples import kohya_unet, unet_factors, write
from tests.diffusion.lora_samples import named as lora_named
from tests.diffusion.reference import relative_error
from tests.diffusion.test_lora_diffusers import attention_only, load_into, reference_unet, unet_inputs
from tests.nodes.test_model_merging import ONE, TWO, WORDS, clip, model
from tests.nodes.toys import call

HALF = 2e-3
"""Factors are kept in float16."""


def difference(first: Any, second: Any) -> Any:
    if isinstance(first, Model):
        return call("ModelMergeSubtract", model1=first, model2=second)
    return call("CLIPMergeSubtract", clip1=first, clip2=second)


def saved(folder: Path, **inputs: Any) -> Path:
    shown = lora_save(filename_prefix="x", ctx=Context(folders=Folders(output=folder)), **inputs)
    assert shown.ui is not None
    return folder / shown.ui["models"][0]["filename"]


def with_lora(value: Model | Clip, path: Path) -> dict[str, Tensor]:
    model = value if isinstance(value, Model) else None
    clip = value if isinstance(value, Clip) else None
    changed = [
        part
        for part in apply_lora(model, clip, read_lora(path), strength_model=1.0, strength_clip=1.0)
        if part
    ]
    (patched,) = changed
    return {key: patched_weight(key, tensor, patched.patches) for key, tensor in patched.weights.items()}


@pytest.mark.parametrize("shape", [(20, 50), (50, 20), (30, 30)])
@pytest.mark.parametrize("rank", [1, 5, 20])
def test_no_matrix_of_that_rank_is_nearer(shape: tuple[int, int], rank: int) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(rank), dtype=torch.float64)
    up, down = nearest_of_rank(matrix, rank)
    u, s, v = torch.linalg.svd(matrix)
    nearest = (u[:, :rank] * s[:rank]) @ v[:rank]
    assert (up.shape, down.shape) == ((shape[0], rank), (rank, shape[1]))
    torch.testing.assert_close(up @ down, nearest, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(up.norm(), down.norm())


def large(shape: tuple[int, int], *, alike: bool) -> Tensor:
    """Singular values that are all alike, as of noise, or that fall as those of trained differences do."""
    generator = torch.Generator().manual_seed(5)
    matrix = torch.randn(shape, generator=generator, dtype=torch.float64)
    if alike:
        return matrix
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    return (u * (1.0 / torch.arange(1, len(s) + 1))) @ v


@pytest.mark.parametrize(("alike", "lost"), [(False, 1e-6), (True, 0.02)])
@pytest.mark.parametrize("shape", [(512, 700), (700, 512)])
def test_of_large_matrices_little_is_lost(shape: tuple[int, int], alike: bool, lost: float) -> None:
    matrix = large(shape, alike=alike)
    up, down = nearest_of_rank(matrix, 8)
    best = torch.linalg.svdvals(matrix)[:8].square().sum()
    assert (up.shape, down.shape) == ((shape[0], 8), (8, shape[1]))
    torch.testing.assert_close(up.norm(), down.norm())
    assert 1 - lost < float((up @ down).square().sum() / best) < 1 + 1e-9
    assert torch.equal(nearest_of_rank(matrix, 8)[0], up), "the same every time"


def test_a_large_matrix_of_low_rank_is_found_again() -> None:
    generator = torch.Generator().manual_seed(6)
    factors = [torch.randn(600, 4, generator=generator), torch.randn(4, 900, generator=generator)]
    up, down = nearest_of_rank(factors[0] @ factors[1], 8)
    assert relative_error(up @ down, factors[0] @ factors[1]) < 1e-5


@pytest.mark.parametrize("inputs", [{"rank": 4096}, {"lora_type": "full_diff"}])
def test_the_whole_difference_makes_one_model_of_the_other(tmp_path: Path, inputs: dict[str, Any]) -> None:
    path = saved(tmp_path, model_diff=difference(TWO, ONE), **inputs)
    for key, found in with_lora(ONE, path).items():
        assert relative_error(found, TWO.weights[key]) < HALF, key


def test_a_low_rank_difference_is_found_again_by_its_rank(tmp_path: Path) -> None:
    """A LoRA's own difference: extraction at its rank gives it back, and touches nothing else."""
    factors = attention_only(unet_factors(rank=3))  # and 4, in turn
    path = write(tmp_path / "style.safetensors", lora_named(factors, kohya_unet))
    tuned, _ = apply_lora(ONE, None, read_lora(path), strength_model=1.0, strength_clip=1.0)
    assert tuned is not None
    found = with_lora(ONE, saved(tmp_path, model_diff=difference(tuned, ONE), rank=4))
    changed = {key for key, tensor in found.items() if not torch.equal(tensor, ONE.weights[key])}
    assert changed == {f"{name}.weight" for name in factors}
    for key in changed:
        wanted = patched_weight(key, ONE.weights[key], tuned.patches) - ONE.weights[key]
        assert relative_error(found[key] - ONE.weights[key], wanted) < HALF, key


def test_both_networks_go_into_one_file(tmp_path: Path) -> None:
    words = clip(4)
    path = saved(
        tmp_path, model_diff=difference(TWO, ONE), text_encoder_diff=difference(words, WORDS), rank=4096
    )
    lora = read_lora(path)
    assert (len(lora.unet), len(lora.text), lora.unmatched) == (len(ONE.weights), len(WORDS.weights), ())
    for key, found in with_lora(WORDS, path).items():
        assert relative_error(found, words.weights[key]) < HALF, key


def test_biases_and_norms_are_left_out_when_told(tmp_path: Path) -> None:
    path = saved(tmp_path, model_diff=difference(TWO, ONE), rank=4096, bias_diff=False)
    for key, found in with_lora(ONE, path).items():
        assert torch.equal(found, ONE.weights[key]) == (ONE.weights[key].ndim < 2), key


@torch.no_grad()
def test_diffusers_reads_it(tmp_path: Path) -> None:
    factors = attention_only(unet_factors(rank=3))
    plain = model(0)  # the seed of the reference's weights
    path = write(tmp_path / "style.safetensors", lora_named(factors, kohya_unet))
    tuned, _ = apply_lora(plain, None, read_lora(path), strength_model=1.0, strength_clip=1.0)
    extracted = saved(tmp_path, model_diff=difference(tuned, plain), rank=4, bias_diff=False)
    reference = reference_unet()
    before = reference(*unet_inputs()).sample
    load_into(reference, extracted, strength=1.0)
    found = reference(*unet_inputs()).sample
    assert tuned is not None
    expected = tuned.runtime.unet(tuned)(*unet_inputs())
    assert relative_error(before, expected) > 0.01
    assert relative_error(found, expected) < HALF


def test_it_says_how_far_it_is_and_can_be_stopped(tmp_path: Path) -> None:
    said: list[tuple[int, int]] = []

    def progress(done: int, total: int, _: object) -> None:
        said.append((done, total))
        if done == 5:
            raise Cancelled

    ctx = Context(folders=Folders(output=tmp_path), on_progress=progress)
    with pytest.raises(Cancelled):
        lora_save(model_diff=difference(TWO, ONE), ctx=ctx)
    assert said == [(done, len(ONE.weights)) for done in range(6)]
    assert list(tmp_path.iterdir()) == []


def test_a_lora_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="connect model_diff"):
        saved(tmp_path)
    with pytest.raises(ValueError, match="whole model"):
        saved(tmp_path, model_diff=ONE)
    with pytest.raises(ValueError, match="do not differ"):
        saved(tmp_path, model_diff=difference(ONE, model(1)))
