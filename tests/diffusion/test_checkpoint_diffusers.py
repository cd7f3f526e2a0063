"""Model folders written by diffusers and transformers, whole, halved, in shards, pickled, and with faults."""

import re
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor

from diffusion.checkpoints.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    load_diffusers,
    load_vae,
)
from diffusion.runtime import Runtime
from diffusion.sampling.prediction import NOISE
from diffusion.sampling.schedule import stable_diffusion_schedule
from diffusion.text.tokenizer import Tokenizer
from tests.diffusion.checkpoint_samples import (
    MERGES,
    TEXT,
    UNET,
    VAE,
    assert_same,
    diffusers_folder,
    edit_json,
    networks,
    write_json,
)

RUNTIME = Runtime()
WEIGHTS = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusers_folder(tmp_path_factory.mktemp("saved") / "model")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A model folder to change at will."""
    return Path(copytree(saved, tmp_path / "model"))


def assert_is_sample(loaded: Checkpoint, dtype: torch.dtype = torch.float32) -> None:
    unet, text, vae = networks()
    assert_same(loaded.model.weights, unet, dtype)
    assert_same(loaded.clip.weights, text, dtype)
    assert_same(loaded.vae.weights, vae, dtype)
    assert (loaded.model.config, loaded.clip.config, loaded.vae.config) == (UNET, TEXT, VAE)


def message_of(folder: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        load_diffusers(folder, RUNTIME)
    text = str(error.value)
    assert text.startswith(str(folder))
    assert text.endswith(".")
    return text


def test_a_folder_gives_the_same_tensors(saved: Path) -> None:
    loaded = load_diffusers(saved, RUNTIME)
    assert_is_sample(loaded)
    assert loaded.clip.tokenizer.encode("the cat") == Tokenizer.from_merges(MERGES).encode("the cat")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_half_precision_variants(tmp_path: Path, dtype: torch.dtype) -> None:
    variant = "fp16" if dtype is torch.float16 else "bf16"
    folder = diffusers_folder(tmp_path / "model", dtype=dtype, variant=variant)
    assert (folder / "unet" / f"diffusion_pytorch_model.{variant}.safetensors").is_file()
    assert (folder / "text_encoder" / f"model.{variant}.safetensors").is_file()
    assert_is_sample(load_diffusers(folder, RUNTIME), dtype)


def test_full_precision_is_taken_before_a_variant(folder: Path) -> None:
    tensors = load_file(folder / "unet" / WEIGHTS["unet"])
    halved = {key: tensor.half() for key, tensor in tensors.items()}
    save_file(halved, folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert_is_sample(load_diffusers(folder, RUNTIME))


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards(tmp_path: Path, variant: str | None) -> None:
    folder = diffusers_folder(tmp_path / "model", max_shard_size="300KB", variant=variant)
    assert len(list((folder / "unet").glob("*-of-*"))) > 2
    assert not list((folder / "unet").glob("diffusion_pytorch_model.safetensors"))
    assert_is_sample(load_diffusers(folder, RUNTIME))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_pickled_folders(folder: Path, zipped: bool) -> None:
    for part, name in WEIGHTS.items():
        file = folder / part / name
        pickled = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
        torch.save(load_file(file), folder / part / pickled, _use_new_zipfile_serialization=zipped)
        file.unlink()
    assert_is_sample(load_diffusers(folder, RUNTIME))


def rewrite(file: Path, change: Callable[[str, Tensor], tuple[str, Tensor]]) -> None:
    tensors = dict(change(key, tensor) for key, tensor in load_file(file).items())
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, file)


@pytest.mark.parametrize("kernels", [True, False], ids=["kernels", "matrices"])
def test_attention_names_before_2023(folder: Path, kernels: bool) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def older(key: str, tensor: Tensor) -> tuple[str, Tensor]:
        if "mid_block.attentions" not in key:
            return key, tensor
        for new_name, old_name in old.items():
            key = key.replace(new_name, old_name)
        return key, tensor[:, :, None, None] if kernels and tensor.ndim == 2 else tensor

    rewrite(folder / "vae" / WEIGHTS["vae"], older)
    assert_is_sample(load_diffusers(folder, RUNTIME))


def test_linear_projections_around_attention(folder: Path) -> None:
    def flat(key: str, tensor: Tensor) -> tuple[str, Tensor]:
        projects = key.endswith(("proj_in.weight", "proj_out.weight"))
        return key, tensor[:, :, 0, 0] if projects else tensor

    rewrite(folder / "unet" / WEIGHTS["unet"], flat)
    assert_is_sample(load_diffusers(folder, RUNTIME))


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_text_encoders_of_either_age(folder: Path, prefix: str) -> None:
    file = folder / "text_encoder" / WEIGHTS["text_encoder"]
    rewrite(file, lambda key, tensor: (prefix + key.removeprefix("text_model."), tensor))
    tensors = load_file(file)
    ignored = {f"{prefix}embeddings.position_ids": torch.arange(16), "text_projection.weight": torch.ones(3)}
    save_file({**tensors, **ignored}, file)
    assert_is_sample(load_diffusers(folder, RUNTIME))


def test_tensors_are_views_of_the_mapped_files(saved: Path) -> None:
    loaded = load_diffusers(saved, RUNTIME)
    for weights, part in (
        (loaded.model.weights, "unet"),
        (loaded.vae.weights, "vae"),
        (loaded.clip.weights, "text_encoder"),
    ):
        mapped = mappings_of(saved / part / WEIGHTS[part])
        assert all(any(tensor.data_ptr() in range_ for range_ in mapped) for tensor in weights.values())


def mappings_of(path: Path) -> list[range]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    ranges = [line.split()[0].split("-") for line in lines if line.endswith(str(path))]
    return [range(int(first, 16), int(last, 16)) for first, last in ranges]


def test_facts_come_from_the_configs(folder: Path) -> None:
    edit_json(folder / "unet" / "config.json", attention_head_dim=[4, 4, 4, 4], norm_num_groups=16)
    edit_json(folder / "vae" / "config.json", norm_num_groups=8)
    edit_json(folder / "text_encoder" / "config.json", num_attention_heads=4, hidden_act="gelu")
    loaded = load_diffusers(folder, RUNTIME)
    assert (loaded.model.config.num_heads, loaded.model.config.norm_groups) == (4, 16)
    assert loaded.vae.config.norm_groups == 8
    assert (loaded.clip.config.num_heads, loaded.clip.config.activation) == (4, "gelu")


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("unet", {"cross_attention_dim": 768}, "says that cross_attention_dim is 768, and in the weights"),
        (
            "unet",
            {"block_out_channels": [1, 2]},
            "says that block_out_channels is [1, 2], and in the weights",
        ),
        ("unet", {"act_fn": "gelu"}, "act_fn is 'gelu', and in Stable Diffusion 1.x it is 'silu'"),
        (
            "unet",
            {"attention_head_dim": [5, 10, 20, 20]},
            "differs from level to level ([5, 10, 20, 20]), as in",
        ),
        ("unet", {"attention_head_dim": "x"}, "attention_head_dim is 'x', not a positive integer"),
        ("unet", {"norm_num_groups": 24}, "its UNet cannot be built"),
        (
            "vae",
            {"scaling_factor": 0.13025},
            "scaling_factor is 0.13025, and in Stable Diffusion 1.x it is 0.18215",
        ),
        (
            "vae",
            {"layers_per_block": 2},
            "says that layers_per_block is 2, and in the weights beside it it is 1",
        ),
        ("text_encoder", {"hidden_size": 768}, "says that hidden_size is 768, and in the weights beside it"),
        ("text_encoder", {"hidden_act": "relu"}, "is said to have 1 heads and relu"),
    ],
)
def test_configs_that_disagree(folder: Path, part: str, changes: dict[str, Any], message: str) -> None:
    edit_json(folder / part / "config.json", **changes)
    assert message in message_of(folder)


@pytest.mark.parametrize("rescaled", [False, True])
@pytest.mark.parametrize("predicted", ["epsilon", "v_prediction", "sample"])
def test_the_scheduler_says_what_the_unet_was_trained_for(
    folder: Path, predicted: str, rescaled: bool
) -> None:
    """As diffusers' own scheduler of the folder understands it."""
    theirs = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        prediction_type=predicted,
        rescale_betas_zero_snr=rescaled,
    )
    theirs.save_pretrained(folder / "scheduler")
    model = load_diffusers(folder, RUNTIME).model
    levels = ((1 - theirs.alphas_cumprod) / theirs.alphas_cumprod).sqrt()
    # At the very last of a schedule that ends in nothing but noise, there is no level; a finite one stands for it.
    torch.testing.assert_close(model.schedule.sigmas[:-1], levels[:-1], rtol=2e-4, atol=0)
    assert model.schedule.sigma_max == pytest.approx(4518.77 if rescaled else 14.6146, rel=1e-4)
    theirs.set_timesteps(1000)
    output, x = torch.randn(2, 1, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    for step in (3, 500, 990):
        sigma, alpha = float(levels[step]), float(theirs.alphas_cumprod[step].sqrt())
        expected = theirs.step(output, step, x * alpha).pred_original_sample
        assert model.prediction.deviation(sigma) == pytest.approx(1 / alpha, rel=1e-4)
        torch.testing.assert_close(
            model.prediction.denoised(output, x, sigma), expected, rtol=1e-3, atol=1e-3
        )


def test_without_a_scheduler_it_predicts_noise(folder: Path) -> None:
    rmtree(folder / "scheduler")
    model = load_diffusers(folder, RUNTIME).model
    assert model.prediction is NOISE
    assert torch.equal(model.schedule.sigmas, stable_diffusion_schedule().sigmas)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"prediction_type": "flow_prediction"},
            "prediction_type is 'flow_prediction', and Weft knows epsilon, v",
        ),
        ({"prediction_type": ["epsilon"]}, "prediction_type is ['epsilon'], and Weft knows"),
        ({"rescale_betas_zero_snr": "yes"}, "rescale_betas_zero_snr is 'yes', not true or false"),
        ({"trained_betas": [0.1]}, "trained_betas is [0.1], and in Stable Diffusion 1.x it is None"),
        (
            {"beta_schedule": "linear"},
            "beta_schedule is 'linear', and in Stable Diffusion 1.x it is 'scaled_linear'",
        ),
    ],
)
def test_other_trainings_are_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit_json(folder / "scheduler" / "scheduler_config.json", **changes)
    assert message in message_of(folder)


@pytest.mark.parametrize(
    "index",
    [
        {"_class_name": "StableDiffusionXLPipeline"},
        {"_class_name": "Custom", "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"]},
        {"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]},
    ],
)
def test_other_families_are_refused(folder: Path, index: dict[str, Any]) -> None:
    write_json(folder / "model_index.json", index)
    text = message_of(folder)
    assert f"it is a model folder of another family ({index['_class_name']}" in text
    assert "Weft runs Stable Diffusion 1.x models." in text


def remove(*names: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        for name in names:
            path = folder / name
            rmtree(path) if path.is_dir() else path.unlink()

    return change


def index_of(content: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / "unet" / WEIGHTS["unet"]).unlink()
        write_json(folder / "unet" / (WEIGHTS["unet"] + ".index.json"), content)

    return change


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no index": (
        remove("model_index.json"),
        "not a model folder in diffusers form: it has no model_index.json",
    ),
    "no UNet": (remove("unet"), "its folder unet is missing. Fetch the whole model folder"),
    "no config": (remove("unet/config.json"), "unet/config.json: there is no such file"),
    "no weights": (remove(f"vae/{WEIGHTS['vae']}"), "vae: it has no weights under a name such as"),
    "an unreadable config": (
        lambda folder: (folder / "vae" / "config.json").write_text("{"),
        "vae/config.json: it is not readable JSON",
    ),
    "a config that is a list": (
        lambda folder: (folder / "vae" / "config.json").write_text("[]"),
        "vae/config.json: it holds no table of settings",
    ),
    "a pointer for weights": (
        lambda folder: (folder / "unet" / WEIGHTS["unet"]).write_text(
            "version https://git-lfs.github.com/spec/v1"
        ),
        f"unet/{WEIGHTS['unet']}: it is a git-lfs pointer",
    ),
    "an unusable tokenizer": (
        lambda folder: (folder / "tokenizer" / "vocab.json").write_text("[]"),
        "tokenizer: its tokenizer is unusable (",
    ),
    "a tokenizer of other size": (
        lambda folder: rmtree(folder / "tokenizer"),
        "its text encoder knows 518 tokens, and its tokenizer makes 49408",
    ),
    "a shard that is missing": (
        index_of({"weight_map": {"conv_in.weight": "a.safetensors"}}),
        "unet/a.safetensors: there is no such file",
    ),
    "a shard elsewhere": (
        index_of({"weight_map": {"conv_in.weight": "../../a.safetensors"}}),
        "it does not say which tensor is in which file beside it",
    ),
    "an index without a map": (index_of({}), "it does not say which tensor is in which file"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_folders(folder: Path, name: str) -> None:
    change, message = BROKEN[name]
    change(folder)
    assert message in message_of(folder)


def test_a_tensor_that_its_shard_lacks(folder: Path) -> None:
    file = folder / "unet" / WEIGHTS["unet"]
    file.rename(folder / "unet" / "a.safetensors")
    write_json(Path(f"{file}.index.json"), {"weight_map": {"conv_in.scale": "a.safetensors"}})
    assert "it names conv_in.scale, which a.safetensors does not hold" in message_of(folder)


def test_a_file_is_no_folder(saved: Path) -> None:
    assert "model_index.json: it is not a folder. Choose the folder" in message_of(saved / "model_index.json")


def test_keys_at_fault_are_named(folder: Path) -> None:
    file = folder / "unet" / WEIGHTS["unet"]
    tensors = load_file(file)
    del tensors["up_blocks.0.resnets.0.norm1.bias"]
    save_file({**tensors, "up_blocks.0.resnets.9.norm1.bias": torch.zeros(1)}, file)
    text = message_of(folder)
    assert (
        "1 missing key (output_blocks.0.0.in_layers.0.bias); 1 extra key (up_blocks.0.resnets.9.norm1.bias)"
        in text
    )


@pytest.mark.parametrize(("part", "use"), [("vae", "autoencoder"), ("text_encoder", "text_encoder")])
def test_a_missing_part_matters_only_when_it_is_used(folder: Path, part: str, use: str) -> None:
    rmtree(folder / part)
    loaded = load_diffusers(folder, RUNTIME)
    assert_same(loaded.model.weights, networks()[0])
    with pytest.raises(CheckpointError, match=rf"^{re.escape(str(folder))}: it holds no "):
        getattr(RUNTIME, use)(loaded.vae if part == "vae" else loaded.clip)


def test_a_vae_of_a_folder_by_itself(saved: Path) -> None:
    assert_same(load_vae(saved / "vae" / WEIGHTS["vae"], RUNTIME).weights, networks()[2])


def test_a_unet_of_a_folder_is_no_checkpoint(saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"seems to be a UNet alone.*the whole model folder"):
        load_checkpoint(saved / "unet" / WEIGHTS["unet"], RUNTIME)
