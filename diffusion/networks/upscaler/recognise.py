"""Which network a file of upscaler weights is for, its sizes, and its weights under canonical keys."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from diffusion.files.mapped_file import CheckpointError
from diffusion.networks.upscaler.compact import CompactConfig
from diffusion.networks.upscaler.rrdb import RRDBConfig
from diffusion.types import Weights

UpscalerConfig = RRDBConfig | CompactConfig

_NESTS = ("params_ema.", "params.", "state_dict.", "model_state_dict.", "net_g.")
"""Where training programs keep the weights, the ones to prefer first."""
_OTHER_FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "overlap_attn.": "HAT",
        "before_RG.": "DAT or RGT",
        "layers.0.residual_group.": "SwinIR, Swin2SR or ATD",
        "layers.0.swin1.": "DRCT",
        "block_1.c1_r.": "SPAN",
        "feats.1.lk.": "PLKSR",
        "feats.0.safm.": "SAFMN",
        "initial.cnn.": "SwiftSRGAN",
        "unet1.conv1.": "Real-CUGAN",
        "residual_layer.0.": "OmniSR",
        "stylegan_decoder.": "GFPGAN, which restores faces",
        "m_head.": "SCUNet or another one of its kind",
    }
)
_FAMILIES = (
    "Weft runs the ESRGAN family (ESRGAN, ESRGAN+, BSRGAN, Real-ESRGAN) and Real-ESRGAN's compact form."
)
_OLD_DENSE = re.compile(r"model\.1\.sub\.(\d+)\.RDB(\d)\.(conv\d)\.0\.(weight|bias)")
_OLD_SKIP = re.compile(r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv1x1\.(weight)")
_OLD_BODY = re.compile(r"model\.1\.sub\.\d+\.(weight|bias)")
_OLD_OUTER = re.compile(r"model\.(\d+)\.(weight|bias)")
_TRUNK = re.compile(r"RRDB_trunk\.(\d+)\.RDB(\d)\.(conv\d|conv1x1)\.(weight|bias)")
_TRUNK_NAMES: Mapping[str, str] = MappingProxyType(
    {"trunk_conv": "conv_body", "HRconv": "conv_hr", "upconv1": "conv_up1", "upconv2": "conv_up2"}
    | {"upconv3": "conv_up3", "upconv4": "conv_up4", "upconv5": "conv_up5"}
)


def recognise(path: Path, tensors: Weights) -> tuple[UpscalerConfig, dict[str, Tensor]]:
    """(config, weights under canonical keys) of an upscaler's file, of whichever age and layout.

    Raises CheckpointError, with the family that it seems to be, for a network of another one.
    """
    weights = _canonical(_unnested(tensors))
    if "conv_first.weight" in weights and "body.0.rdb1.conv1.weight" in weights:
        return _rrdb_config(path, weights), weights
    if "body.0.weight" in weights and "body.1.weight" in weights:
        return _compact_config(path, weights), weights
    family = next(
        (name for part, name in _OTHER_FAMILIES.items() if any(part in key for key in weights)), None
    )
    found = (
        f"it seems to be {family}"
        if family
        else f"its {len(weights)} tensors have names such as {', '.join(list(weights)[:3])}"
    )
    raise CheckpointError(path, f"it is no upscale model that Weft knows: {found}", _FAMILIES)


def _unnested(tensors: Weights) -> dict[str, Tensor]:
    for nest in _NESTS:
        inside = {key.removeprefix(nest): tensor for key, tensor in tensors.items() if key.startswith(nest)}
        if inside:
            tensors = inside
            break
    return {key.removeprefix("module."): tensor for key, tensor in tensors.items()}


def _canonical(weights: Weights) -> dict[str, Tensor]:
    """Real-ESRGAN's keys in place of ESRGAN's older and BSRGAN's; any others as they are."""
    if "model.0.weight" in weights and any(key.startswith("model.1.sub.") for key in weights):
        return _from_old(weights)
    if "trunk_conv.weight" in weights:
        return {_from_trunk(key): tensor for key, tensor in weights.items()}
    return dict(weights)


def _from_trunk(key: str) -> str:
    module, _, parameter = key.rpartition(".")
    if module in _TRUNK_NAMES:
        return f"{_TRUNK_NAMES[module]}.{parameter}"
    return _TRUNK.sub(r"body.\1.rdb\2.\3.\4", key)


def _from_old(weights: Weights) -> dict[str, Tensor]:
    """The oldest files number the layers of a flat row: first, body, one for each doubling, the last two."""
    outer = sorted({int(match[1]) for key in weights if (match := _OLD_OUTER.fullmatch(key))})
    names = {0: "conv_first"} | dict(zip(outer[-2:], ("conv_hr", "conv_last"), strict=False))
    names |= {place: f"conv_up{number}" for number, place in enumerate(outer[1:-2], start=1)}

    def renamed(key: str) -> str:
        if match := _OLD_OUTER.fullmatch(key):
            return f"{names[int(match[1])]}.{match[2]}"
        key = _OLD_DENSE.sub(r"body.\1.rdb\2.\3.\4", key)
        key = _OLD_SKIP.sub(r"body.\1.rdb\2.conv1x1.\3", key)
        return _OLD_BODY.sub(r"conv_body.\1", key)

    return {renamed(key): tensor for key, tensor in weights.items()}


def _rrdb_config(path: Path, weights: Weights) -> RRDBConfig:
    for key in ("conv_first.weight", "conv_last.weight", "body.0.rdb1.conv1.weight"):
        _check_kernel(path, weights, key)
    first, dense = weights["conv_first.weight"], weights["body.0.rdb1.conv1.weight"]
    channels, out_channels = first.shape[1], weights["conv_last.weight"].shape[0]
    unshuffle = {4 * out_channels: 2, 16 * out_channels: 4}.get(channels, 1)
    config = RRDBConfig(
        in_channels=channels // unshuffle**2,
        out_channels=out_channels,
        width=first.shape[0],
        growth=dense.shape[0],
        blocks=len({key.split(".")[1] for key in weights if key.startswith("body.")}),
        doublings=len({key.split(".")[0] for key in weights if key.startswith("conv_up")}),
        unshuffle=unshuffle,
        skips="body.0.rdb1.conv1x1.weight" in weights,
    )
    if 2**config.doublings < unshuffle:
        raise CheckpointError(
            path, f"it would enlarge by {2**config.doublings}/{unshuffle}, less than 1", _FAMILIES
        )
    return config


def _compact_config(path: Path, weights: Weights) -> CompactConfig:
    last = max(int(key.split(".")[1]) for key in weights if re.fullmatch(r"body\.\d+\.weight", key))
    for key in ("body.0.weight", f"body.{last}.weight"):
        _check_kernel(path, weights, key)
    first, shuffled = weights["body.0.weight"], weights[f"body.{last}.weight"].shape[0]
    scale = math.isqrt(shuffled // first.shape[1])
    if scale < 1 or shuffled != first.shape[1] * scale**2:
        raise CheckpointError(
            path,
            f"its last layer makes {shuffled} channels, which is no square times the {first.shape[1]} of a picture",
            _FAMILIES,
        )
    return CompactConfig(
        in_channels=first.shape[1],
        out_channels=first.shape[1],
        width=first.shape[0],
        convolutions=last // 2 - 1,
        scale=scale,
    )


def _check_kernel(path: Path, weights: Weights, key: str) -> None:
    if key not in weights or weights[key].ndim != 4 or 0 in weights[key].shape:
        state = f"has the shape {list(weights[key].shape)}" if key in weights else "is missing"
        raise CheckpointError(
            path, f"its weight {key} {state}", "Fetch the file again, or use another upscale model."
        )
