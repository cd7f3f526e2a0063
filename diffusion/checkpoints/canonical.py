"""Sorts a checkpoint's tensors into its networks under canonical keys, and checks that each is exactly complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from diffusion.checkpoints.marks import MARKS
from diffusion.files.mapped_file import CheckpointError
from diffusion.networks.blueprint import blueprint
from diffusion.types import Weights

UNET_PREFIX = "model.diffusion_model."
TEXT_PREFIX = "cond_stage_model.transformer."
VAE_PREFIX = "first_stage_model."
EMA_PREFIX = "model_ema."
TEXT_ROOT = "text_model."
SHOWN = 3
"""How many keys of each kind an error names."""

_SCHEDULE = frozenset(
    (
        *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod"),
        *("sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod"),
        *("sqrt_recipm1_alphas_cumprod", "posterior_variance", "posterior_log_variance_clipped"),
        *("posterior_mean_coef1", "posterior_mean_coef2", "lvlb_weights", "logvar", "scale_factor"),
    )
)
"""The noise schedule as training saves it: the same in every Stable Diffusion 1.x."""
_HARMLESS_TEXT = frozenset({"embeddings.position_ids", "text_projection.weight", "logit_scale"})
_HARMLESS_VAE = ("loss.", "model_ema.", "ema.")
_HARMLESS_ROOT = ("cond_stage_model.logit_scale", "cond_stage_model.text_projection", "loss.")


@dataclass(frozen=True, eq=False)
class Parts:
    """A checkpoint's networks, keys without their prefix; ema by the names that training gave the averaged weights."""

    unet: dict[str, Tensor]
    text: dict[str, Tensor]
    vae: dict[str, Tensor]
    ema: dict[str, Tensor]


def split(path: Path, tensors: Weights) -> Parts:
    """The networks of an original single-file checkpoint. Raises CheckpointError for keys that belong to none."""
    parts = Parts({}, {}, {}, {})
    by_prefix = {
        UNET_PREFIX: parts.unet,
        TEXT_PREFIX: parts.text,
        VAE_PREFIX: parts.vae,
        EMA_PREFIX: parts.ema,
    }
    strangers = []
    for key, tensor in tensors.items():
        prefix = next((prefix for prefix in by_prefix if key.startswith(prefix)), None)
        if prefix is not None:
            by_prefix[prefix][key.removeprefix(prefix)] = tensor
        elif key not in _SCHEDULE | MARKS and not key.startswith(_HARMLESS_ROOT):
            strangers.append(key)
    if strangers:
        raise CheckpointError(
            path,
            f"it has {_counted(strangers, 'extra key')} that belong to no part of Stable Diffusion 1.x",
            "Use a checkpoint of Stable Diffusion 1.x that holds nothing else.",
        )
    return parts


def canonical_text(weights: Weights) -> dict[str, Tensor]:
    """A text encoder's weights under `text_model.`, which some files leave out, without what it never reads."""
    bare = {key.removeprefix(TEXT_ROOT): tensor for key, tensor in weights.items()}
    return {TEXT_ROOT + key: tensor for key, tensor in bare.items() if key not in _HARMLESS_TEXT}


def canonical_vae(weights: Weights) -> dict[str, Tensor]:
    """An autoencoder's weights without what only its training needs."""
    return {key: tensor for key, tensor in weights.items() if not key.startswith(_HARMLESS_VAE)}


def averaged(path: Path, unet: Weights, ema: Weights) -> dict[str, Tensor]:
    """The UNet's weights as averaged over training, by the keys of `unet`.

    Training names them without dots: diffusion_model.out.2.bias is diffusion_modelout2bias.
    """
    if not ema:
        raise CheckpointError(
            path,
            "it holds no averaged (EMA) weights, no keys that begin with model_ema.",
            "Load it without EMA: most published files hold the averaged weights as their only ones.",
        )
    names = {key: f"diffusion_model.{key}".replace(".", "") for key in unet}
    missing = [EMA_PREFIX + name for name in names.values() if name not in ema]
    if missing:
        raise CheckpointError(
            path,
            f"its averaged (EMA) weights are incomplete: {_counted(missing, 'key')} missing",
            "Load it without EMA.",
        )
    return {key: ema[name] for key, name in names.items()}


def conformed(
    path: Path,
    part: str,
    weights: Weights,
    network: Callable[[], nn.Module],
    *,
    prefix: str = "",
    family: str = "Stable Diffusion 1.x",
) -> Weights:
    """`weights` if they are just those of `network`; matrices kept as 1x1 kernels, and the reverse, become views.

    part, prefix: how the network and its keys are called in the file. family: of networks, for messages. Raises
    CheckpointError that names missing, extra and misshapen keys.
    """
    try:
        expected = blueprint(network).state_dict()
    except ValueError as error:
        raise CheckpointError(path, f"its {part} cannot be built ({error})", _remedy(family)) from error
    fitted = {key: _fitted(weights[key], tensor.shape) for key, tensor in expected.items() if key in weights}
    misshapen = [
        f"{prefix}{key} is {list(weights[key].shape)} and should be {list(tensor.shape)}"
        for key, tensor in expected.items()
        if key in fitted and fitted[key].shape != tensor.shape
    ]
    faults = [
        _counted([prefix + key for key in expected if key not in weights], "missing key"),
        _counted([prefix + key for key in weights if key not in expected], "extra key"),
        _counted(misshapen, "misshapen key"),
        _counted(
            [
                f"{prefix}{key} ({tensor.dtype})"
                for key, tensor in fitted.items()
                if not tensor.is_floating_point()
            ],
            "key whose numbers are integers",
        ),
    ]
    if any(faults):
        raise CheckpointError(
            path, f"its {part} does not fit {family}: {'; '.join(filter(None, faults))}", _remedy(family)
        )
    return MappingProxyType(fitted)


def _remedy(family: str) -> str:
    return f"Use a complete, unquantised file of {family}, or fetch this one again."


def _fitted(tensor: Tensor, shape: torch.Size) -> Tensor:
    """A matrix [a, b] as a kernel [a, b, 1, 1] or the reverse; any other tensor as it is."""
    longer, shorter = (shape, tensor.shape) if len(shape) > tensor.ndim else (tensor.shape, shape)
    if len(longer) == 4 and len(shorter) == 2 and longer == (*shorter, 1, 1):
        return tensor.reshape(shape)
    return tensor


def _counted(keys: Iterable[str], what: str) -> str:
    """`3 missing keys (a, b, c)`; nothing when there are none."""
    keys = list(keys)
    if not keys:
        return ""
    shown = ", ".join(keys[:SHOWN]) + (f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else "")
    plural = what.replace("key", "keys", 1) if len(keys) > 1 else what
    return f"{len(keys)} {plural} ({shown})"


def renamed(weights: Weights, modules: Mapping[str, str]) -> dict[str, Tensor]:
    """`weights` with the module part of each key replaced as `modules` says.

    Keys that it does not name are kept, and so is the second of two that would get the same name.
    """
    result: dict[str, Tensor] = {}
    for key, tensor in weights.items():
        module, _, parameter = key.rpartition(".")
        name = f"{modules[module]}.{parameter}" if module in modules else key
        result[key if name in result else name] = tensor
    return result
