"""Reads LoRA files: tensors stay in the file until they are needed, sorted by the module they change."""

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from diffusion.files.lookalikes import seems_to_be
from diffusion.files.mapped_file import FETCH_AGAIN, CheckpointError, MappedFile
from diffusion.files.weight_files import read_weights
from diffusion.lora.about import made_for
from diffusion.lora.factors import ModuleTensors, changes
from diffusion.lora.keys import Part, other_kind, parse_key
from diffusion.lora.patch import Change
from diffusion.lora.scale import AdapterSettings, adapter_settings


class LoraError(CheckpointError):
    """A file that is no LoRA, a damaged one, or one that does not fit the model it is put on."""


@dataclass(frozen=True, eq=False)
class Lora:
    """A LoRA file read: what it changes in the UNet and in the text encoder.

    unet, text: by the module's flattened name and its parameter, `mid_block_resnets_0_conv1.weight`.
    file: what its tensors are views of. source: equal for two readings of the same unchanged file.
    unmatched: keys of the file that belong to neither, such as a second text encoder's.
    """

    path: Path
    file: MappedFile
    source: Hashable
    unet: Mapping[str, Change] = field(default_factory=dict)
    text: Mapping[str, Change] = field(default_factory=dict)
    unmatched: tuple[str, ...] = ()


def read_lora(path: Path) -> Lora:
    """The LoRA in a .safetensors, .pt, .bin or .ckpt file, its factors memory-mapped in the file's own dtype.

    Every value is looked at once, to find those that are not finite. No pickle code is run.

    Raises CheckpointError for a file that is missing, cut short or not of weights, and its LoraError, naming the
    key, for one without a LoRA, for adapters of other kinds (OFT, GLoRA, IA3), and for factors that are incomplete,
    misshapen or not finite. Kinds that are read: LoRA and LoCon, LoHa, LoKr, DoRA upon any of them, whole differences
    of weights, biases and norms.
    """
    file = read_weights(path)
    modules, unmatched = _sorted_by_module(path, file.tensors)
    if not modules:
        raise _nothing_for_us(path, file.tensors)
    parts: dict[Part, dict[str, Change]] = {"unet": {}, "text": {}}
    try:
        settings = adapter_settings(path, file.metadata)
        for (part, flat), module in modules.items():
            found = changes(module, settings.get(part, AdapterSettings()))
            parts[part] |= {f"{flat}.{parameter}": change for parameter, change in found.items()}
    except ValueError as error:
        raise LoraError(path, str(error), FETCH_AGAIN) from error
    # The scales may come from a file beside this one.
    scales = tuple(change.scale for part in parts.values() for change in part.values())
    return Lora(path, file.mapped, (file.mapped.stamp, scales), parts["unet"], parts["text"], unmatched)


def examples(names: Collection[str], most: int = 3) -> str:
    """The first few of some names, for a message."""
    return ", ".join(list(names)[:most]) + (", ..." if len(names) > most else "")


def _sorted_by_module(
    path: Path, tensors: Mapping[str, Tensor]
) -> tuple[dict[tuple[Part, str], ModuleTensors], tuple[str, ...]]:
    """The file's tensors by network and module, and the keys that belong to neither network."""
    modules: dict[tuple[Part, str], ModuleTensors] = {}
    unmatched = []
    for key, tensor in tensors.items():
        if kind := other_kind(key):
            raise LoraError(
                path,
                f"it is a {kind} file (it has {key})",
                "Weft applies LoRA, LoCon, LoHa, LoKr, DoRA and whole differences.",
            )
        parsed = parse_key(key)
        if parsed is None or parsed.part == "other":
            unmatched.append(key)
            continue
        module = modules.setdefault((parsed.part, parsed.flat), ModuleTensors(parsed.head, parsed.module))
        if parsed.role in module.entries:
            twice = f"{module.key(parsed.role)} and {key} are the same factor of the same weight"
            raise LoraError(path, twice, "Keep one of the two adapters it holds.")
        module.entries[parsed.role] = (key, tensor)
    lone = [name for name, module in modules.items() if set(module.entries) == {"alpha"}]
    unmatched += [modules.pop(name).key("alpha") for name in lone]
    return modules, tuple(unmatched)


def _nothing_for_us(path: Path, tensors: Mapping[str, Tensor]) -> LoraError:
    """The error for a file that changes nothing in Stable Diffusion 1.x's networks."""
    found = f"(it has {examples(tensors)})"
    if any(parsed and parsed.role != "alpha" for parsed in map(parse_key, tensors)):
        problem = f"this LoRA seems made for {made_for((), tensors)} {found}"
        return LoraError(path, problem, "Choose one for Stable Diffusion 1.x.")
    return LoraError(
        path, f"it is not a LoRA: it seems to be {seems_to_be(tensors)} {found}", "Choose a LoRA file."
    )
