"""Nodes that say how a model was trained: at which noise levels, to predict what."""

from typing import Annotated

from diffusion.model import Model
from diffusion.sampling.prediction import (
    CONTINUOUS,
    DISCRETE,
    angular_training,
    continuous_training,
    discrete_training,
)
from graph import Choice, Range, node

Level = Annotated[float, Range(0, 1000, step=0.001)]


@node("ModelSamplingDiscrete", category="advanced/model")
def model_sampling_discrete(
    *, model: Model, sampling: Annotated[str, Choice(tuple(DISCRETE))] = "eps", zsnr: bool = False
) -> Model:
    """Take a model to have been trained at Stable Diffusion's 1000 timesteps to predict something else.

    Inputs:
        model: The model.
        sampling: What it predicts: the noise, v, x0, a picture from a picture, or the noise as an LCM distilled model.
        zsnr: Whether the last timestep was all noise (Lin et al. 2023, zero terminal SNR).

    Outputs:
        MODEL: The model.
    """
    return model.trained_as(discrete_training(sampling, zero_terminal_snr=zsnr))


@node("ModelSamplingContinuousEDM", category="advanced/model")
def model_sampling_continuous_edm(
    *,
    model: Model,
    sampling: Annotated[str, Choice(tuple(CONTINUOUS))] = "v_prediction",
    sigma_max: Level = 120.0,
    sigma_min: Level = 0.002,
) -> Model:
    """Take a model to have been trained at any noise level between two, told to it as log(sigma) / 4 (EDM).

    Inputs:
        model: The model.
        sampling: What it predicts: v, EDM's own combination of noise and data, or the noise.
        sigma_max: The highest level.
        sigma_min: The lowest level, above 0.

    Outputs:
        MODEL: The model.
    """
    return model.trained_as(continuous_training(sampling, sigma_min=sigma_min, sigma_max=sigma_max))


@node("ModelSamplingContinuousV", category="advanced/model")
def model_sampling_continuous_v(
    *,
    model: Model,
    sampling: Annotated[str, Choice(("v_prediction",))] = "v_prediction",
    sigma_max: Level = 500.0,
    sigma_min: Level = 0.03,
) -> Model:
    """Take a model to have been trained at any noise level between two, told to it as an angle, to predict v.

    Inputs:
        model: The model.
        sampling: What it predicts.
        sigma_max: The highest level.
        sigma_min: The lowest level, above 0.

    Outputs:
        MODEL: The model.
    """
    return model.trained_as(angular_training(sigma_min=sigma_min, sigma_max=sigma_max))
