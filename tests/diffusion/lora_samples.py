"""Small models and random LoRA files for them, in every layout; the names come from diffusers' own converter."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from diffusion.config import TextConfig, UNetConfig
from diffusion.model import Clip, Model
from diffusion.networks.unet import UNet
from diffusion.runtime import Runtime
from diffusion.text.text_encoder import TextEncoder
from diffusion.text.tokenizer import Tokenizer
from tests.diffusion.reference import random_weights, unet_to_diffusers

UNET = UNetConfig(
    channels=(32, 64), attention=(True, False), blocks=1, context_dim=48, num_heads=4, norm_groups=16
)
TEXT = TextConfig(vocab_size=514, width=48, layers=2, num_heads=2, hidden=96, positions=77)
RANK = 4
SCALE = 0.25
"""Factors are drawn this large, so that a LoRA at strength 1 visibly changes the result and does not blow it up."""


def model() -> Model:
    """A small UNet with random weights, and a runtime of its own."""
    return Model(random_weights(lambda: UNet(UNET)), UNET, Runtime())


def clip() -> Clip:
    """A small text encoder with random weights, and a runtime of its own."""
    return Clip(random_weights(lambda: TextEncoder(TEXT)), TEXT, Tokenizer.from_merges(()), Runtime())


@cache
def unet_names() -> Mapping[str, str]:
    """diffusers' name of every module of the UNet that a LoRA can change, by ours. Who is who, tensors tell."""
    weights = model().weights
    ours = {tensor.data_ptr(): key for key, tensor in weights.items()}
    theirs = {ours[tensor.data_ptr()]: name for name, tensor in unet_to_diffusers(weights, UNET).items()}
    wide = (key for key, tensor in weights.items() if key.endswith(".weight") and tensor.ndim > 1)
    return {key.removesuffix(".weight"): theirs[key].removesuffix(".weight") for key in wide}


def text_names() -> tuple[str, ...]:
    """Every linear module of the text encoder."""
    names = (key.removesuffix(".weight") for key, tensor in clip().weights.items() if tensor.ndim > 1)
    return tuple(name for name in names if "embedding" not in name)


@dataclass(frozen=True, eq=False)
class Factors:
    """One module's LoRA: y += alpha / rank * up(mid(down(x)))."""

    down: Tensor
    up: Tensor
    alpha: float | None = None
    mid: Tensor | None = None

    @property
    def scale(self) -> float:
        return 1.0 if self.alpha is None else self.alpha / self.down.shape[0]


def draw(
    shapes: Mapping[str, Iterable[int]],
    *,
    seed: int = 0,
    rank: int = RANK,
    alpha: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Factors]:
    """Random factors for weights of these shapes, by the same names. Ranks differ from module to module."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for place, (name, shape) in enumerate(shapes.items()):
        out, inputs, *kernel = shape
        ranked = rank + place % 2
        down = torch.randn((ranked, inputs, *kernel), generator=generator)
        up = torch.randn((out, ranked, *(1 for _ in kernel)), generator=generator)
        down *= SCALE / down[0].numel() ** 0.5
        found[name] = Factors(down.to(dtype), up.to(dtype), alpha)
    return found


def unet_factors(**options: object) -> dict[str, Factors]:
    """Random factors for every module of the UNet, by our names."""
    weights = model().weights
    return draw({name: weights[f"{name}.weight"].shape for name in unet_names()}, **options)  # type: ignore[arg-type]


def text_factors(**options: object) -> dict[str, Factors]:
    """Random factors for every linear module of the text encoder."""
    weights = clip().weights
    return draw({name: weights[f"{name}.weight"].shape for name in text_names()}, **options)  # type: ignore[arg-type]


Naming = Callable[[str], str]


def named(
    factors: Mapping[str, Factors], module: Naming, *, down: str = ".lora_down", up: str = ".lora_up"
) -> dict[str, Tensor]:
    """The tensors of a LoRA file. `module` turns our name of a module into the file's; then come the suffixes."""
    tensors = {}
    for name, given in factors.items():
        head = module(name)
        tensors[f"{head}{down}.weight"] = given.down.contiguous()
        tensors[f"{head}{up}.weight"] = given.up.contiguous()
        if given.mid is not None:
            tensors[f"{head}.lora_mid.weight"] = given.mid
        if given.alpha is not None:
            tensors[f"{head}.alpha"] = torch.tensor(given.alpha)
    return tensors


def kohya_unet(name: str) -> str:
    """kohya's name of a UNet module, after diffusers' names."""
    return "lora_unet_" + unet_names()[name].replace(".", "_")


def kohya_text(name: str) -> str:
    """kohya's name of a text encoder's module."""
    return "lora_te_" + name.replace(".", "_")


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """Save as .safetensors."""
    save_file(dict(tensors), path, dict(metadata or {}))
    return path


def full_changes(factors: Mapping[str, Factors]) -> dict[str, Tensor]:
    """What each weight gains at strength 1, multiplied out element by element in float64."""
    changes = {}
    for name, given in factors.items():
        down, up = given.down.double(), given.up.double()
        change = torch.einsum("or,r...->o...", up.flatten(1), down)
        changes[f"{name}.weight"] = given.scale * change
    return changes
