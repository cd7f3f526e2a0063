"""Single-file checkpoints and VAEs: the same canonical tensors out of every layout, format and dtype."""

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion.checkpoints.checkpoint import Checkpoint, CheckpointError, load_checkpoint, load_vae
from diffusion.config import SD15_INPAINT_UNET, SD15_TEXT, SD15_UNET, SD15_VAE, UNetConfig
from diffusion.runtime import Runtime
from diffusion.text.tokenizer import Tokenizer
from graph.sizes import measure
from tests.diffusion.checkpoint_samples import (
    MERGES,
    TEXT,
    TOKENS,
    UNET,
    VAE,
    assert_same,
    full_training_state,
    networks,
    original,
    with_clip_vocabulary,
    write,
)
from tests.diffusion.reference import vae_to_diffusers

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
RUNTIME = Runtime()
SHIPPED = Path(__file__).parents[2] / "models" / "checkpoints" / "weft-tiny.safetensors"
SD15_KEYS = Path(__file__).parents[1] / "data" / "sd15_keys.json"


def assert_is_sample(loaded: Checkpoint, dtype: torch.dtype = torch.float32) -> None:
    unet, text, vae = networks()
    assert_same(loaded.model.weights, unet, dtype)
    assert_same(loaded.clip.weights, text, dtype)
    assert_same(loaded.vae.weights, vae, dtype)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_safetensors_keeps_its_dtype_and_every_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    loaded = load_checkpoint(write(tmp_path / "a.safetensors", original(dtype)), RUNTIME)
    assert_is_sample(loaded, dtype)
    assert (loaded.model.config, loaded.clip.config, loaded.vae.config) == (UNET, TEXT, VAE)
    assert loaded.model.runtime is RUNTIME


@pytest.mark.parametrize("nested", [True, False], ids=["in a state_dict", "bare"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_ckpt_keeps_its_dtype_and_every_bit(
    tmp_path: Path, dtype: torch.dtype, zipped: bool, nested: bool
) -> None:
    path = tmp_path / "a.ckpt"
    weights = OrderedDict(with_clip_vocabulary(original(dtype)))
    content = {"state_dict": weights, "epoch": 3, "hyper_parameters": {"lr": 1e-4}} if nested else weights
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    loaded = load_checkpoint(path, RUNTIME)
    unet, text, vae = networks()
    tokens = TOKENS.removeprefix("cond_stage_model.transformer.")
    assert_same(loaded.model.weights, unet, dtype)
    assert_same(loaded.clip.weights, {**text, tokens: text[tokens][:1].expand(49408, -1)}, dtype)
    assert_same(loaded.vae.weights, vae, dtype)
    assert loaded.clip.config.vocab_size == loaded.clip.tokenizer.size == 49408


def test_loaded_values_make_networks(tmp_path: Path) -> None:
    loaded = load_checkpoint(write(tmp_path / "a.safetensors", original(torch.float16)), RUNTIME)
    unet = RUNTIME.unet(loaded.model)
    noise = unet(torch.zeros(1, 4, 8, 8), torch.tensor([10]), torch.zeros(1, 3, UNET.context_dim))
    assert noise.shape == (1, 4, 8, 8)
    assert RUNTIME.text_encoder(loaded.clip)(torch.tensor([[1, 2]])).last.shape == (1, 2, TEXT.width)
    assert RUNTIME.autoencoder(loaded.vae).decode(torch.zeros(1, 4, 2, 2)).shape == (1, 3, 16, 16)


def test_tokenizer_comes_from_the_header(tmp_path: Path) -> None:
    loaded = load_checkpoint(write(tmp_path / "a.safetensors", original()), RUNTIME)
    assert loaded.clip.tokenizer.encode("the cat") == Tokenizer.from_merges(MERGES).encode("the cat")


def test_stated_facts_win_over_defaults(tmp_path: Path) -> None:
    facts = {
        "unet": {"num_heads": 4, "norm_groups": 16},
        "vae": {"norm_groups": 8},
        "text": {"num_heads": 2, "activation": "gelu"},
        "tokenizer": {"merges": MERGES},
    }
    loaded = load_checkpoint(
        write(tmp_path / "a.safetensors", original(), {"weft.facts": json.dumps(facts)}), RUNTIME
    )
    assert (loaded.model.config.num_heads, loaded.model.config.norm_groups) == (4, 16)
    assert loaded.vae.config.norm_groups == 8
    assert (loaded.clip.config.num_heads, loaded.clip.config.activation) == (2, "gelu")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ("{", "weft.facts in its header is not readable JSON"),
        ("[1]", "is not a table of parts"),
        ('{"unet": {"num_heads": 0}}', "gives unet.num_heads as 0, not a positive integer"),
        ('{"unet": {"num_heads": true}}', "gives unet.num_heads as True"),
        ('{"unet": {"num_heads": 7}}', "its UNet cannot be built"),
        ('{"unet": {"norm_groups": 24}}', "its UNet cannot be built"),
        ('{"vae": {"norm_groups": 24}, "tokenizer": {"merges": []}}', "its VAE cannot be built"),
        ('{"text": {"num_heads": 5}}', "is said to have 5 heads and quick_gelu"),
        ('{"text": {"activation": "relu"}}', "is said to have 1 heads and relu"),
        ('{"text": {"activation": 3}}', "gives text.activation as 3, not a text"),
        ('{"tokenizer": {"merges": "t h"}}', "something other than a list of texts"),
        ('{"tokenizer": {"merges": ["xx yy"]}}', "the tokenizer in its header is unusable"),
        ("{}", "its text encoder knows 518 tokens, and its tokenizer makes 49408"),
    ],
)
def test_facts_that_cannot_be_true_are_refused(tmp_path: Path, facts: str, message: str) -> None:
    path = write(tmp_path / "a.safetensors", original(), {"weft.facts": facts})
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path, RUNTIME)
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_inpainting_models_have_nine_channels(tmp_path: Path) -> None:
    nine = UNetConfig(9, 4, UNET.channels, UNET.attention, UNET.blocks, UNET.context_dim)
    loaded = load_checkpoint(write(tmp_path / "a.safetensors", original(unet=nine)), RUNTIME)
    assert loaded.model.config == nine


def test_what_training_saves_beside_the_weights_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", full_training_state(original()))
    assert_is_sample(load_checkpoint(path, RUNTIME))


def test_averaged_weights_are_taken_on_request(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", full_training_state(original()))
    loaded = load_checkpoint(path, RUNTIME, ema=True)
    unet, text, _ = networks()
    assert_same(loaded.model.weights, {key: tensor + 1 for key, tensor in unet.items()})
    assert_same(loaded.clip.weights, text)


def test_averaged_weights_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", original())
    with pytest.raises(CheckpointError, match=r"holds no averaged \(EMA\) weights.*Load it without EMA"):
        load_checkpoint(path, RUNTIME, ema=True)


def test_averaged_weights_that_are_incomplete(tmp_path: Path) -> None:
    tensors = full_training_state(original())
    del tensors["model_ema.diffusion_modelout2bias"]
    path = write(tmp_path / "a.safetensors", tensors)
    with pytest.raises(CheckpointError, match=r"incomplete: 1 key \(model_ema.diffusion_modelout2bias\)"):
        load_checkpoint(path, RUNTIME, ema=True)


def older_text_keys(key: str) -> str:
    return key.replace("transformer.text_model.", "transformer.")


@pytest.mark.parametrize(
    "rename", [older_text_keys, lambda key: key], ids=["without text_model.", "with text_model."]
)
def test_text_encoder_keys_of_either_age(tmp_path: Path, rename: Callable[[str], str]) -> None:
    tensors = {rename(key): tensor for key, tensor in full_training_state(original()).items()}
    assert_is_sample(load_checkpoint(write(tmp_path / "a.safetensors", tensors), RUNTIME))


def as_matrices(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """1x1 kernels as matrices, as some converters leave them."""
    return {
        key: tensor[:, :, 0, 0].contiguous() if tensor.shape[2:] == (1, 1) else tensor
        for key, tensor in tensors.items()
    }


def test_matrices_where_kernels_belong_become_views_of_the_file(tmp_path: Path) -> None:
    loaded = load_checkpoint(write(tmp_path / "a.safetensors", as_matrices(original())), RUNTIME)
    assert_is_sample(loaded)


@pytest.mark.parametrize("ema", [False, True], ids=["plain", "averaged"])
@pytest.mark.parametrize("kind", ["safetensors", "zip", "before torch 1.6"])
def test_tensors_are_views_of_the_mapped_file(tmp_path: Path, kind: str, ema: bool) -> None:
    """Every tensor's address lies in a mapping of the file, by the kernel's own account."""
    path = tmp_path / ("a.safetensors" if kind == "safetensors" else "a.ckpt")
    tensors = full_training_state(original())
    if kind == "safetensors":
        write(path, tensors)
    else:
        torch.save(with_clip_vocabulary(tensors), path, _use_new_zipfile_serialization=kind == "zip")
    loaded = load_checkpoint(path, RUNTIME, ema=ema)
    mapped = mappings_of(path)
    assert mapped
    for weights in (loaded.model.weights, loaded.clip.weights, loaded.vae.weights):
        for key, tensor in weights.items():
            assert any(tensor.data_ptr() in addresses for addresses in mapped), key


def mappings_of(path: Path) -> list[range]:
    """Address ranges of this process that map `path`."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    ranges = [line.split()[0].split("-") for line in lines if line.endswith(str(path))]
    return [range(int(first, 16), int(last, 16)) for first, last in ranges]


def test_writing_to_a_tensor_does_not_reach_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", original())
    before = path.read_bytes()
    with torch.no_grad():
        load_checkpoint(path, RUNTIME).model.weights["out.2.bias"].add_(1)
    assert path.read_bytes() == before


@pytest.mark.parametrize("part", ["first_stage_model.", "cond_stage_model."])
def test_a_missing_part_matters_only_when_it_is_used(tmp_path: Path, part: str) -> None:
    tensors = {key: tensor for key, tensor in original().items() if not key.startswith(part)}
    path = write(tmp_path / "a.safetensors", tensors)
    loaded = load_checkpoint(path, RUNTIME)
    RUNTIME.unet(loaded.model)
    measure(loaded)  # as a cache does with every value
    use = {
        "first_stage_model.": lambda: RUNTIME.autoencoder(loaded.vae),
        "cond_stage_model.": lambda: RUNTIME.text_encoder(loaded.clip),
    }
    message = {
        "first_stage_model.": "it holds no VAE. Load one with the VAELoader node",
        "cond_stage_model.": "it holds no text encoder. Take the CLIP output of a checkpoint",
    }
    with pytest.raises(CheckpointError) as error:
        use[part]()
    assert f"{path}: {message[part]}" in str(error.value)


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
@pytest.mark.parametrize("layout", ["original", "diffusers", "diffusers before 2023"])
def test_vae_files(tmp_path: Path, layout: str, prefix: str) -> None:
    _, _, vae = networks()
    tensors = dict(vae) if layout == "original" else vae_to_diffusers(vae, VAE)
    if layout == "diffusers before 2023":
        old = {"to_q.": "query.", "to_k.": "key.", "to_v.": "value.", "to_out.0.": "proj_attn."}
        for new_name, old_name in old.items():
            tensors = {key.replace(new_name, old_name): tensor for key, tensor in tensors.items()}
    path = tmp_path / "vae.safetensors"
    save_file({prefix + key: tensor.contiguous() for key, tensor in tensors.items()}, path)
    loaded = load_vae(path, RUNTIME)
    assert_same(loaded.weights, vae)
    assert loaded.config == VAE


def test_vae_as_its_own_training_saves_it(tmp_path: Path) -> None:
    _, _, vae = networks()
    path = tmp_path / "vae.ckpt"
    state = {**vae, "loss.logvar": torch.zeros(()), "model_ema.decay": torch.zeros(())}
    torch.save({"state_dict": state}, path)
    assert_same(load_vae(path, RUNTIME).weights, vae)


def test_vae_out_of_a_whole_checkpoint(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", full_training_state(original(torch.bfloat16)))
    assert_same(load_vae(path, RUNTIME).weights, networks()[2], torch.bfloat16)


@pytest.mark.parametrize("in_channels", [4, 9])
def test_stable_diffusion_15_itself(tmp_path: Path, in_channels: int) -> None:
    """Every key and shape of the released file, each tensor one repeated number."""
    shapes = dict(json.loads(SD15_KEYS.read_text()))
    shapes["model.diffusion_model.input_blocks.0.0.weight"][1] = in_channels
    path = tmp_path / "sd15.ckpt"
    torch.save({key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}, path)
    loaded = load_checkpoint(path, RUNTIME)
    assert loaded.model.config == (SD15_UNET if in_channels == 4 else SD15_INPAINT_UNET)
    assert (loaded.clip.config, loaded.vae.config) == (SD15_TEXT, SD15_VAE)
    assert len(loaded.model.weights) + len(loaded.clip.weights) + len(loaded.vae.weights) == len(shapes)


def test_the_shipped_checkpoint() -> None:
    loaded = load_checkpoint(SHIPPED, RUNTIME)
    assert loaded.clip.tokenizer.size == loaded.clip.config.vocab_size
    assert loaded.model.config.context_dim == loaded.clip.config.width


def test_header_without_facts_means_stable_diffusion(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", original(), {"format": "pt"})
    with pytest.raises(CheckpointError, match="must carry its merges"):
        load_checkpoint(path, RUNTIME)


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_data_may_begin_at_any_byte(tmp_path: Path, shift: int) -> None:
    """Nothing in the format says that tensors are aligned."""
    path = write(tmp_path / "a.safetensors", original())
    whole = path.read_bytes()
    end = 8 + int.from_bytes(whole[:8], "little")
    header = whole[8:end] + b" " * shift
    path.write_bytes(len(header).to_bytes(8, "little") + header + whole[end:])
    loaded = load_checkpoint(path, RUNTIME)
    assert_is_sample(loaded)
    RUNTIME.autoencoder(loaded.vae).decode(torch.zeros(1, 4, 2, 2))
