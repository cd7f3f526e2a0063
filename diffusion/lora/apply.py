"""LoRA: small trained changes of a model's weights. Reading one from a file, and putting it on Model and Clip."""

import logging
import math
from collections.abc import Mapping

from diffusion.checkpoints.diffusers_names import unet_modules
from diffusion.files.in_files import InFiles
from diffusion.lora.about import made_for
from diffusion.lora.keys import flattened
from diffusion.lora.patch import Change, LoraPatch
from diffusion.lora.read import Lora, LoraError, examples
from diffusion.model import Clip, Model
from diffusion.types import Weights

_LOG = logging.getLogger(__name__)
_WEIGHT = ".weight"


def apply_lora(
    model: Model | None, clip: Clip | None, lora: Lora, *, strength_model: float, strength_clip: float
) -> tuple[Model | None, Clip | None]:
    """`model` and `clip` with one more patch each, copying no weights. What the LoRA does not change is returned as is.

    strength_model, strength_clip: 1 is the LoRA as trained, 0 leaves the value as it was, negative ones invert it.
    Keys without a weight in the model are logged as a warning. Raises LoraError when none of a network's keys has
    one, when a shape differs, and for a strength that is not finite.
    """
    for strength in (strength_model, strength_clip):
        if not math.isfinite(strength):
            raise LoraError(lora.path, f"its strength is {strength}", "Give a finite number, such as 1.0.")
    missing: list[str] = []
    if model is not None and strength_model and lora.unet:
        factors = _targeted(lora, lora.unet, model.weights, _unet_targets(model), missing)
        model = model.patched(LoraPatch(InFiles(factors, (lora.file,)), strength_model, lora.source))
    if clip is not None and strength_clip and lora.text:
        factors = _targeted(lora, lora.text, clip.weights, _text_targets(clip), missing)
        clip = clip.patched(LoraPatch(InFiles(factors, (lora.file,)), strength_clip, lora.source))
    unused = [*missing, *lora.unmatched]
    if unused:
        _LOG.warning(
            "%s: %d of its modules and keys match nothing and are left out: %s",
            lora.path,
            len(unused),
            examples(unused),
        )
    return model, clip


def _targeted(
    lora: Lora,
    modules: Mapping[str, Change],
    weights: Weights,
    targets: Mapping[str, str],
    missing: list[str],
) -> dict[str, Change]:
    """The changes by the canonical key of the weight they change; modules without one are added to `missing`.

    targets: modules by the flattened names that files give them.
    """
    factors: dict[str, Change] = {}
    for place, change in modules.items():
        flat, _, parameter = place.rpartition(".")
        key = f"{targets[flat]}.{parameter}" if flat in targets else None
        if key is None or key not in weights:
            missing.append(change.name)
            continue
        if key in factors:
            twice = f"{factors[key].name} and {change.name} both change {key}"
            raise LoraError(lora.path, twice, "Keep one of the two adapters it holds.")
        if not change.fits(weights[key].shape):
            shapes = f"is of shape {list(change.shape)}, but {key} is {list(weights[key].shape)}"
            raise _wrong_model(lora, f"its change of {change.name} {shapes}")
        factors[key] = change
    if not factors:
        raise _wrong_model(
            lora, f"none of its {len(modules)} modules is in this model (it has {examples(missing)})"
        )
    return factors


def _wrong_model(lora: Lora, problem: str) -> LoraError:
    modules = (*lora.unet.values(), *lora.text.values())
    family = made_for(modules, (*(module.name for module in modules), *lora.unmatched))
    return LoraError(
        lora.path, f"{problem}; the LoRA seems made for {family}", "Use it with a model of that kind."
    )


def _unet_targets(model: Model) -> dict[str, str]:
    """The canonical name of each module, by every flattened name that LoRA files give it."""
    theirs = {flattened(name): own for name, own in unet_modules(model.config).items()}
    return theirs | _own_targets(model.weights)


def _text_targets(clip: Clip) -> dict[str, str]:
    """As `_unet_targets`. Newer files leave out the outermost module's name, `text_model`."""
    own = _own_targets(clip.weights)
    return {name.removeprefix("text_model_"): module for name, module in own.items()} | own


def _own_targets(weights: Weights) -> dict[str, str]:
    modules = (key.removesuffix(_WEIGHT) for key in weights if key.endswith(_WEIGHT))
    return {flattened(module): module for module in modules}
