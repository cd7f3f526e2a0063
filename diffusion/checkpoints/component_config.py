"""What the config.json files of a model folder say: facts that shapes do not tell, and options we must agree with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusion.checkpoints.facts import Facts
from diffusion.config import LATENT_SCALE
from diffusion.files.mapped_file import CheckpointError
from diffusion.sampling.prediction import Training, discrete_training

UNET, VAE, TEXT, SCHEDULER = "unet", "vae", "text_encoder", "scheduler"

_FIXED: Mapping[str, Mapping[str, Any]] = {
    UNET: {
        "act_fn": "silu",
        "addition_embed_type": None,
        "center_input_sample": False,
        "class_embed_type": None,
        "downsample_padding": 1,
        "dual_cross_attention": False,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-5,
        "resnet_time_scale_shift": "default",
    },
    VAE: {"act_fn": "silu", "latents_mean": None, "scaling_factor": LATENT_SCALE, "shift_factor": None},
    TEXT: {"layer_norm_eps": 1e-5},
    SCHEDULER: {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "trained_betas": None,
    },
}
"""Options that change what a network computes and no shape; these are Stable Diffusion 1.x's."""
_PREDICTIONS: Mapping[str, str] = {"epsilon": "eps", "v_prediction": "v_prediction", "sample": "x0"}
"""What a UNet may predict, by diffusers' names and ours."""


def read_json(path: Path) -> dict[str, Any]:
    """The table in a JSON file. Raises CheckpointError when there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(path, "there is no such file", "Fetch the whole model folder.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(path, f"it is not readable JSON ({error})", "Fetch the file again.") from error
    if not isinstance(content, dict):
        raise CheckpointError(path, "it holds no table of settings", "Fetch the file again.")
    return content


def check_fixed(path: Path, part: str, config: Mapping[str, Any]) -> None:
    """Raise CheckpointError if a part is set to compute something that Stable Diffusion 1.x does not."""
    for name, value in _FIXED[part].items():
        if config.get(name, value) != value:
            raise CheckpointError(
                path,
                f"{name} is {config[name]!r}, and in Stable Diffusion 1.x it is {value!r}: another kind of model",
                "Use a Stable Diffusion 1.x model folder; Weft does not run this one.",
            )


def stated_training(path: Path, config: Mapping[str, Any]) -> Training:
    """What the UNet was trained to predict and at which levels, as a scheduler's config says.

    Raises CheckpointError for options that no Stable Diffusion 1.x has, in any of its fine-tuned forms.
    """
    check_fixed(path, SCHEDULER, config)
    predicted, rescaled = (
        config.get("prediction_type", "epsilon"),
        config.get("rescale_betas_zero_snr", False),
    )
    if predicted not in list(_PREDICTIONS):
        raise CheckpointError(
            path,
            f"prediction_type is {predicted!r}, and Weft knows {', '.join(_PREDICTIONS)}: another kind of model",
            "Use a Stable Diffusion 1.x model folder; Weft does not run this one.",
        )
    if not isinstance(rescaled, bool):
        raise CheckpointError(
            path, f"rescale_betas_zero_snr is {rescaled!r}, not true or false", "Fetch the file again."
        )
    return discrete_training(_PREDICTIONS[predicted], zero_terminal_snr=rescaled)


def check_sizes(path: Path, config: Mapping[str, Any], **found: int | list[int]) -> None:
    """Raise CheckpointError if the config states another size than was found in the weights."""
    for name, size in found.items():
        stated = config.get(name, size)
        if stated != size:
            raise CheckpointError(
                path,
                f"it says that {name} is {stated}, and in the weights beside it it is {size}",
                "Fetch the model folder again: its files do not belong together.",
            )


def folder_facts(folder: Path, configs: Mapping[str, Mapping[str, Any]]) -> Facts:
    """The facts that a model folder's configs state, by part; Stable Diffusion 1.x's own for any that they do not."""
    unet, vae, text = (
        _Config(folder / part / "config.json", configs.get(part, {})) for part in (UNET, VAE, TEXT)
    )
    heads = unet.count("num_attention_heads") or unet.count("attention_head_dim")
    activation = text.settings.get("hidden_act", Facts.activation)
    return Facts(
        num_heads=heads or Facts.num_heads,
        unet_groups=unet.count("norm_num_groups") or Facts.unet_groups,
        vae_groups=vae.count("norm_num_groups") or Facts.vae_groups,
        text_heads=text.count("num_attention_heads"),
        activation=str(activation),
    )


class _Config:
    """One part's settings. In UNets of 1.x, diffusers calls the number of heads attention_head_dim."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.settings = settings

    def count(self, name: str) -> int | None:
        """A positive integer, or a list of the same one for every level, or None when it is not stated."""
        value = self.settings.get(name)
        if value is None:
            return None
        values = value if isinstance(value, list) and value else [value]
        if len(set(map(str, values))) > 1:
            raise CheckpointError(
                self.path,
                f"{name} differs from level to level ({value}), as in Stable Diffusion 2.x",
                "Use a Stable Diffusion 1.x model folder.",
            )
        if type(values[0]) is not int or values[0] < 1:
            raise CheckpointError(
                self.path, f"{name} is {value!r}, not a positive integer", "Fetch the file again."
            )
        return values[0]
