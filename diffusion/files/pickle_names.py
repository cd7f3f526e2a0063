"""Which globals a checkpoint's pickle may mention. None of them is ever imported or called."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Name:
    """A global that a pickle mentions, as text."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Refusal(ValueError):
    """A pickle mentions a global that no checkpoint needs."""

    def __init__(self, name: Name) -> None:
        super().__init__(str(name))
        self.name = name


STORAGE_DTYPES: Mapping[str, torch.dtype] = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}
UNTYPED_STORAGES = frozenset({"torch.storage.UntypedStorage", "torch.UntypedStorage"})

DTYPES: Mapping[str, torch.dtype] = {
    str(dtype): dtype
    for dtype in (
        *STORAGE_DTYPES.values(),
        torch.float8_e4m3fn,
        torch.float8_e5m2,
        torch.uint16,
        torch.uint32,
    )
}

_CONTAINERS = frozenset(
    {"collections.OrderedDict", "collections.defaultdict", "builtins.dict", "__builtin__.dict"}
)

PARAMETER_TABLE = "torch.nn.modules.container.ParameterDict"
"""A module that is nothing but a table of tensors; the first embeddings were saved as one."""

_REBUILDERS = frozenset(
    {
        "torch._tensor._rebuild_from_type_v2",
        "torch._utils._rebuild_parameter",
        "torch._utils._rebuild_parameter_with_state",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_tensor_v3",
        "torch.Size",
        "torch.Tensor",
        "torch.device",
        "torch.nn.parameter.Parameter",
    }
)

_INERT = frozenset(
    {
        "_codecs.encode",
        "argparse.Namespace",
        "collections.Counter",
        "copy_reg._reconstructor",
        "copyreg._reconstructor",
        "datetime.date",
        "datetime.datetime",
        "datetime.timedelta",
        "easydict.EasyDict",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.PurePosixPath",
        "pathlib.WindowsPath",
        "typing.Any",
        "typing.Dict",
        "typing.List",
        "typing.Optional",
        "typing.Union",
        "numpy.dtype",
        "numpy.ndarray",
    }
    | {
        f"{core}.multiarray.{name}"
        for core in ("numpy.core", "numpy._core")
        for name in ("scalar", "_reconstruct")
    }
    | {
        f"{builtins}.{name}"
        for builtins in ("builtins", "__builtin__")
        for name in (
            *("bool", "bytearray", "bytes", "complex", "float", "frozenset", "int"),
            *("list", "object", "set", "slice", "str", "tuple"),
        )
    }
)

_TRAINING_PACKAGES = frozenset(
    {
        "lightning",
        "lightning_fabric",
        "lightning_utilities",
        "ldm",
        "omegaconf",
        "pytorch_lightning",
        "torchmetrics",
    }
)


def is_container(name: Name) -> bool:
    """Whether the global makes an empty dictionary when called."""
    return str(name) in _CONTAINERS


def check_allowed(name: Name) -> Name:
    """`name`, if a checkpoint may mention it. Raises Refusal if not."""
    text = str(name)
    known = (
        text in _CONTAINERS
        or text == PARAMETER_TABLE
        or text in _REBUILDERS
        or text in _INERT
        or text in STORAGE_DTYPES
        or text in UNTYPED_STORAGES
        or text in DTYPES
    )
    if not (known or _is_class_of_training_package(name)):
        raise Refusal(name)
    return name


def _is_class_of_training_package(name: Name) -> bool:
    """A class, told by its capital, straight in its module: a dotted name could lead out of the package."""
    package = name.module.partition(".")[0]
    return package in _TRAINING_PACKAGES and name.name.isidentifier() and name.name.lstrip("_")[:1].isupper()
