"""Upscale models: against plain functional forms with random weights, in every layout of keys, and what is refused."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from diffusion.files.mapped_file import CheckpointError
from diffusion.memory.shortage import NotEnoughMemory
from diffusion.networks.upscaler.compact import CompactConfig, CompactNet
from diffusion.networks.upscaler.rrdb import RRDBConfig, RRDBNet
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from diffusion.upscaling import enlarge, load_upscaler
from tests.diffusion.limits import limit_with_room

Weights = dict[str, Tensor]
SMALL = {"width": 32, "growth": 32, "blocks": 2}


def random_rrdb(**config: int | bool) -> Weights:
    torch.manual_seed(0)
    return RRDBNet(RRDBConfig(**{**SMALL, **config})).state_dict()  # type: ignore[arg-type]


def random_compact(scale: int = 4) -> Weights:
    torch.manual_seed(0)
    return CompactNet(CompactConfig(width=32, convolutions=3, scale=scale)).state_dict()


def plain_rrdb(weights: Weights, x: Tensor, doublings: int, unshuffle: int) -> Tensor:
    """ESRGAN as its paper draws it."""

    def conv(name: str, value: Tensor) -> Tensor:
        weight = weights[f"{name}.weight"]
        return F.conv2d(value, weight, weights.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    def act(value: Tensor) -> Tensor:
        return torch.where(value > 0, value, 0.2 * value)

    def dense(name: str, value: Tensor) -> Tensor:
        known = [value]
        skips = f"{name}.conv1x1.weight" in weights
        for number in range(1, 5):
            new = act(conv(f"{name}.conv{number}", torch.cat(known, 1)))
            if skips and number == 2:
                new = new + conv(f"{name}.conv1x1", value)
            if skips and number == 4:
                new = new + known[2]
            known.append(new)
        return value + 0.2 * conv(f"{name}.conv5", torch.cat(known, 1))

    height, width = x.shape[-2:]
    if unshuffle > 1:
        x = F.pad(x, (0, -width % 4, 0, -height % 4), mode="reflect")
        batch, channels, rows, columns = x.shape
        x = x.reshape(batch, channels, rows // unshuffle, unshuffle, columns // unshuffle, unshuffle)
        x = x.permute(0, 1, 3, 5, 2, 4).reshape(batch, -1, rows // unshuffle, columns // unshuffle)
    first = conv("conv_first", x)
    trunk = first
    for block in sorted({key.split(".")[1] for key in weights if key.startswith("body.")}, key=int):
        inside = trunk
        for number in (1, 2, 3):
            inside = dense(f"body.{block}.rdb{number}", inside)
        trunk = trunk + 0.2 * inside
    x = first + conv("conv_body", trunk)
    for number in range(1, doublings + 1):
        x = act(conv(f"conv_up{number}", x.repeat_interleave(2, 2).repeat_interleave(2, 3)))
    scale = 2**doublings // unshuffle
    return conv("conv_last", act(conv("conv_hr", x)))[..., : height * scale, : width * scale].clamp(0, 1)


def plain_compact(weights: Weights, x: Tensor, scale: int) -> Tensor:
    value = x
    for number in range(9):
        weight = weights[f"body.{number}.weight"]
        if number % 2:
            value = torch.where(value > 0, value, weight.reshape(1, -1, 1, 1) * value)
        else:
            value = F.conv2d(value, weight, weights[f"body.{number}.bias"], padding=1)
    batch, _, height, width = value.shape
    detail = value.reshape(batch, 3, scale, scale, height, width).permute(0, 1, 4, 2, 5, 3)
    detail = detail.reshape(batch, 3, height * scale, width * scale)
    return (detail + x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)).clamp(0, 1)


def write(path: Path, weights: Mapping[str, Tensor]) -> Path:
    save_file({key: tensor.contiguous() for key, tensor in weights.items()}, path)
    return path


def runtime(dtype: torch.dtype = torch.float32, *, pack: bool = True) -> Runtime:
    return Runtime(Placement(dtype=dtype, pack=pack))


PICTURE = torch.rand(1, 3, 13, 18, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("doublings", "unshuffle", "skips"),
    [(0, 1, False), (1, 1, False), (2, 1, False), (3, 1, False), (2, 1, True), (2, 2, False), (2, 4, False)],
)
def test_rrdb_computes_what_its_paper_draws(
    tmp_path: Path, doublings: int, unshuffle: int, skips: bool
) -> None:
    weights = random_rrdb(doublings=doublings, unshuffle=unshuffle, skips=skips)
    model = load_upscaler(write(tmp_path / "x.safetensors", weights), runtime())
    scale = 2**doublings // unshuffle
    assert model.config.scale == scale
    larger = enlarge(model, PICTURE)
    assert larger.shape == (1, 3, 13 * scale, 18 * scale)
    assert torch.allclose(larger, plain_rrdb(weights, PICTURE, doublings, unshuffle), atol=1e-5)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_compact_adds_detail_to_a_nearest_enlargement(tmp_path: Path, scale: int) -> None:
    weights = random_compact(scale)
    model = load_upscaler(write(tmp_path / "x.safetensors", weights), runtime())
    assert model.config == CompactConfig(width=32, convolutions=3, scale=scale)
    assert torch.allclose(enlarge(model, PICTURE), plain_compact(weights, PICTURE, scale), atol=1e-5)


def test_packing_and_lower_precision_change_little(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", random_rrdb())
    exact = enlarge(load_upscaler(path, runtime(pack=False)), PICTURE)
    assert torch.allclose(enlarge(load_upscaler(path, runtime()), PICTURE), exact, atol=1e-5)
    coarse = enlarge(load_upscaler(path, runtime(torch.bfloat16)), PICTURE)
    assert 0 < (coarse - exact).abs().max() < 0.01


@pytest.mark.parametrize("weights", [random_rrdb(width=64), random_compact()], ids=["rrdb", "compact"])
def test_within_a_memory_limit_the_numbers_are_the_same(tmp_path: Path, weights: Weights) -> None:
    path = write(tmp_path / "x.safetensors", weights)
    limited = Runtime(Placement(memory_limit=limit_with_room(200 << 20)))
    found = enlarge(load_upscaler(path, limited), PICTURE)
    assert torch.equal(found, enlarge(load_upscaler(path, Runtime(Placement())), PICTURE))


def test_a_limit_with_room_for_tiles_alone_gives_nearly_the_same(tmp_path: Path) -> None:
    """96x96 take 200 MB in one piece, tiles of 32 take 70."""
    path = write(tmp_path / "x.safetensors", random_rrdb(width=64))
    picture = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    limited = Runtime(Placement(memory_limit=limit_with_room((48 << 20) + (90 << 20))))
    model, sizes = load_upscaler(path, limited), list[int]()
    limited.upscaler(model).register_forward_pre_hook(lambda _, given: sizes.append(given[0].shape[-1]))
    found = enlarge(model, picture)
    assert set(sizes) == {32}
    expected = enlarge(load_upscaler(path, Runtime(Placement())), picture)
    assert (found - expected).abs().mean() < 1e-3


def test_too_little_memory_for_any_tile_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", random_rrdb())
    limited = Runtime(Placement(memory_limit=limit_with_room(60 << 20)))
    with pytest.raises(NotEnoughMemory, match=r"--memory-limit \d+MB or more"):
        enlarge(load_upscaler(path, limited), PICTURE)


def test_a_file_in_use_is_loaded_once_and_may_not_change(tmp_path: Path) -> None:
    path, shared = write(tmp_path / "x.safetensors", random_compact()), runtime()
    model = load_upscaler(path, shared)
    assert load_upscaler(path, shared).weights is model.weights
    network = shared.upscaler(model)
    assert shared.upscaler(load_upscaler(path, shared)) is network
    shared.release()
    assert shared.upscaler(model) is not network
    path.write_bytes(b"something else altogether")
    with pytest.raises(CheckpointError):
        enlarge(model, PICTURE)


def to_old(weights: Weights, doublings: int = 2) -> Weights:
    """ESRGAN's first files: a flat row of numbered layers."""
    last = 2 + 3 * doublings
    places = {"conv_first": "model.0", "conv_body": "model.1.sub.2", "conv_hr": f"model.{last}"}
    places |= {"conv_last": f"model.{last + 2}"}
    places |= {f"conv_up{number}": f"model.{3 * number}" for number in range(1, doublings + 1)}
    result = {}
    for key, tensor in weights.items():
        module, _, parameter = key.rpartition(".")
        dense = re.sub(r"body\.(\d+)\.rdb(\d)\.(conv\d)$", r"model.1.sub.\1.RDB\2.\3.0", module)
        dense = re.sub(r"body\.(\d+)\.rdb(\d)\.conv1x1$", r"model.1.sub.\1.RDB\2.conv1x1", dense)
        result[f"{places.get(module, dense)}.{parameter}"] = tensor
    return result


def to_trunk(weights: Weights) -> Weights:
    """BSRGAN's and the second ESRGAN's."""
    names = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}
    result = {}
    for key, tensor in weights.items():
        module, _, parameter = key.rpartition(".")
        dense = re.sub(r"body\.(\d+)\.rdb(\d)", r"RRDB_trunk.\1.RDB\2", module)
        result[f"{names.get(module, dense)}.{parameter}"] = tensor
    return result


LAYOUTS: Mapping[str, Callable[[Weights], Weights]] = {
    "old": to_old,
    "trunk": to_trunk,
    "averaged": lambda weights: (
        {f"params_ema.{key}": tensor for key, tensor in weights.items()}
        | {f"params.{key}": torch.zeros_like(tensor) for key, tensor in weights.items()}
    ),
    "params": lambda weights: {f"params.{key}": tensor for key, tensor in weights.items()},
    "parallel": lambda weights: {f"module.{key}": tensor for key, tensor in weights.items()},
    "half": lambda weights: {key: tensor.half() for key, tensor in weights.items()},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_keys_is_read(tmp_path: Path, layout: str) -> None:
    weights = random_rrdb(skips=layout == "old")
    model = load_upscaler(write(tmp_path / "x.safetensors", LAYOUTS[layout](weights)), runtime())
    assert torch.allclose(enlarge(model, PICTURE), plain_rrdb(weights, PICTURE, 2, 1), atol=1e-3)


@pytest.mark.parametrize("doublings", [0, 1, 3])
def test_the_oldest_layout_tells_its_scale_by_its_length(tmp_path: Path, doublings: int) -> None:
    weights = random_rrdb(doublings=doublings)
    path = write(tmp_path / "x.safetensors", to_old(weights, doublings))
    model = load_upscaler(path, runtime())
    assert model.config.scale == 2**doublings
    assert torch.allclose(enlarge(model, PICTURE), plain_rrdb(weights, PICTURE, doublings, 1), atol=1e-5)


def test_a_pth_with_nested_weights_is_read(tmp_path: Path) -> None:
    weights = random_compact()
    torch.save({"params": weights}, tmp_path / "x.pth")
    model = load_upscaler(tmp_path / "x.pth", runtime())
    assert torch.allclose(enlarge(model, PICTURE), plain_compact(weights, PICTURE, 4), atol=1e-5)


@pytest.mark.parametrize(
    ("key", "family"),
    [
        ("layers.0.residual_group.blocks.0.norm1.weight", "SwinIR"),
        ("layers.0.residual_group.overlap_attn.qkv.weight", "HAT"),
        ("block_1.c1_r.sk.weight", "SPAN"),
        ("feats.1.lk.conv.weight", "PLKSR"),
        ("m_head.0.weight", "SCUNet"),
        ("something.else.weight", "names such as something.else.weight"),
    ],
)
def test_another_family_is_named(tmp_path: Path, key: str, family: str) -> None:
    path = write(tmp_path / "x.safetensors", {key: torch.zeros(4), "zz.weight": torch.zeros(4)})
    with pytest.raises(CheckpointError, match=rf"no upscale model that Weft knows.*{family}.*ESRGAN family"):
        load_upscaler(path, runtime())


def without(weights: Weights, key: str) -> Weights:
    return {name: tensor for name, tensor in weights.items() if name != key}


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (lambda w: without(w, "body.1.rdb2.conv3.bias"), r"1 missing key \(body.1.rdb2.conv3.bias\)"),
        (lambda w: {**w, "extra.weight": torch.zeros(1)}, r"1 extra key \(extra.weight\)"),
        (lambda w: {**w, "conv_hr.bias": torch.zeros(5)}, r"misshapen key \(conv_hr.bias is \[5\]"),
        (lambda w: without(w, "conv_last.weight"), "its weight conv_last.weight is missing"),
        (lambda w: {**w, "conv_first.weight": torch.zeros(3)}, r"conv_first.weight has the shape \[3\]"),
    ],
)
def test_damaged_weights_are_named(
    tmp_path: Path, damaged: Callable[[Weights], Weights], message: str
) -> None:
    path = write(tmp_path / "x.safetensors", damaged(random_rrdb()))
    with pytest.raises(CheckpointError, match=message):
        load_upscaler(path, runtime())


def test_a_compact_model_of_no_whole_scale_is_refused(tmp_path: Path) -> None:
    weights = {**random_compact(), "body.8.weight": torch.zeros(15, 32, 3, 3)}
    with pytest.raises(CheckpointError, match="makes 15 channels"):
        load_upscaler(write(tmp_path / "x.safetensors", weights), runtime())


def test_a_model_that_makes_no_numbers_is_said(tmp_path: Path) -> None:
    weights = {**random_rrdb(), "conv_last.bias": torch.full((3,), torch.nan)}
    model = load_upscaler(write(tmp_path / "x.safetensors", weights), runtime())
    with pytest.raises(ValueError, match="makes NaN or infinite numbers"):
        enlarge(model, PICTURE)
