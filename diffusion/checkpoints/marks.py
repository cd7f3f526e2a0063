"""Empty tensors by which checkpoint files say what their UNet was trained to predict, by the field's convention."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from diffusion.model import Model
from diffusion.sampling.prediction import NOISE, VelocityPrediction, discrete_training
from diffusion.sampling.schedule.trained import stable_diffusion_schedule

VELOCITY = "v_pred"
ZERO_TERMINAL_SNR = "ztsnr"
MARKS = frozenset({VELOCITY, ZERO_TERMINAL_SNR})


def marked(model: Model, keys: Iterable[str]) -> Model:
    """The model, trained as the marks among a file's keys say; as it was when there are none."""
    marks = MARKS.intersection(keys)
    if VELOCITY not in marks:
        return model
    return model.trained_as(discrete_training("v_prediction", zero_terminal_snr=ZERO_TERMINAL_SNR in marks))


def marks_of(model: Model) -> dict[str, Tensor]:
    """The marks of the model, so far as there are any for what it was trained to do."""
    if not isinstance(model.prediction, VelocityPrediction):
        return {}
    rescaled = stable_diffusion_schedule(zero_terminal_snr=True).sigma_max
    found = (VELOCITY, ZERO_TERMINAL_SNR) if model.schedule.sigma_max == rescaled else (VELOCITY,)
    return {mark: torch.empty(0) for mark in found}


def predicted(model: Model) -> Mapping[str, str]:
    """The same as text for a file's header."""
    if model.prediction is NOISE:
        return {"modelspec.prediction_type": "epsilon", "modelspec.predict_key": "epsilon"}
    if isinstance(model.prediction, VelocityPrediction):
        return {"modelspec.prediction_type": "v", "modelspec.predict_key": "v"}
    return {}
