"""Pickles in .ckpt files: harmful ones are refused and run nothing, real training checkpoints load."""

import argparse
import datetime
import io
import os
import pickle
import subprocess
import sys
import types
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from diffusion.checkpoints.checkpoint import CheckpointError, load_checkpoint
from diffusion.files.weight_files import read_weights
from diffusion.runtime import Runtime
from tests.diffusion.checkpoint_samples import assert_same, networks, original, with_clip_vocabulary

RUNTIME = Runtime()


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def payloads(trap: Path) -> dict[str, Any]:
    """Objects whose unpickling would create the file `trap`."""
    touch = f"touch {trap}"
    return {
        "posix.system": Calls(os.system, touch),
        "builtins.eval": Calls(eval, f"open({str(trap)!r}, 'w')"),
        "builtins.exec": Calls(exec, f"open({str(trap)!r}, 'w')"),
        "builtins.getattr": Calls(getattr, Calls(__import__, "os"), "system"),
        "io.open": Calls(io.open, str(trap), "w"),
        "subprocess.check_output": Calls(subprocess.check_output, ["touch", str(trap)]),
        "pathlib.Path.touch": Calls(Path.touch, trap),
        "torch.serialization.load": Calls(torch.load, str(trap)),
        "torch.hub.load": Calls(torch.hub.load, str(trap.parent), "run"),
        "numpy.load": Calls(np.load, str(trap)),
    }


NAMES = list(payloads(Path()))
REFUSED = "which no checkpoint needs: a program that trusts the file would run whatever it holds. It was refused, and"


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("name", NAMES)
def test_harmful_checkpoints_are_refused_and_run_nothing(
    tmp_path: Path, name: str, zipped: bool, protocol: int
) -> None:
    trap, path = tmp_path / "trap", tmp_path / "a.ckpt"
    content = {"state_dict": with_clip_vocabulary(original()), "callbacks": [payloads(trap)[name]]}
    torch.save(content, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path, RUNTIME)
    assert not trap.exists()
    assert f"{path}: its pickle refers to " in str(error.value)
    assert REFUSED in str(error.value)
    assert "prefer a .safetensors file" in str(error.value)


def test_the_trap_would_have_worked(tmp_path: Path) -> None:
    """The payloads are real: a loader that trusts them creates the file."""
    trap = tmp_path / "trap"
    pickle.loads(pickle.dumps(payloads(trap)["posix.system"]))
    assert trap.exists()


RAW = {
    "protocol 0": b"cposix\nsystem\n(S'touch %s'\ntR.",
    "an instance of protocol 0": b"(S'touch %s'\niposix\nsystem\n.",
    "an object of protocol 1": b"(cposix\nsystem\nS'touch %s'\no.",
    "by text from the stack": b"\x80\x04\x8c\x05posix\x8c\x06system\x93(S'touch %s'\ntR.",
    "a dotted name in a harmless package": b"\x80\x04\x8c\x05torch\x8c\x09os.system\x93(S'touch %s'\ntR.",
    "through a lightning module": b"cpytorch_lightning.utilities.cloud_io\nos.system\n(S'touch %s'\ntR.",
    "a function of a lightning module": b"cpytorch_lightning.utilities.cloud_io\nload\n(S'touch %s'\ntR.",
    "after the weights": b"}.cposix\nsystem\n(S'touch %s'\ntR.",
    "an extension code": b"\x80\x02\x82\x01(S'touch %s'\ntR.",
}


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "bare"])
def test_handmade_pickles_are_refused_and_run_nothing(tmp_path: Path, name: str, zipped: bool) -> None:
    trap, path = tmp_path / "trap", tmp_path / "a.ckpt"
    content = RAW[name] % str(trap).encode()
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", content)
    else:
        path.write_bytes(content)
    with pytest.raises(CheckpointError):
        load_checkpoint(path, RUNTIME)
    assert not trap.exists()


def test_a_pickle_that_torch_did_not_write(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match=r"Python pickle that torch\.save did not write"):
        read_weights(path)


def test_a_whole_pickled_module_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(
        CheckpointError, match=r"refers to torch\.nn\.modules\.linear\.Linear, which no checkpoint"
    ):
        read_weights(path)


def class_of(monkeypatch: pytest.MonkeyPatch, module: str, name: str, base: type = object) -> Any:
    """A class that pickles as if `module`, which is not installed, had it."""
    made = type(name, (base,), {"__module__": module})
    for depth in range(1, module.count(".") + 2):
        package = ".".join(module.split(".")[:depth])
        monkeypatch.setitem(sys.modules, package, sys.modules.get(package) or types.ModuleType(package))
    setattr(sys.modules[module], name, made)
    return made


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_full_training_checkpoint_loads(
    tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a training run leaves: callbacks, optimizer and scheduler states, numpy numbers, its settings."""
    model_checkpoint = class_of(
        monkeypatch, "pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"
    )
    attributes = class_of(monkeypatch, "pytorch_lightning.utilities.parsing", "AttributeDict", dict)
    list_config = class_of(monkeypatch, "omegaconf.listconfig", "ListConfig")
    callback = list_config()
    callback.content = {"any": Any, "where": PurePosixPath("a")}
    weights = OrderedDict(with_clip_vocabulary(original()))
    optimizer = torch.optim.AdamW([nn.Parameter(tensor) for tensor in list(weights.values())[:3]])
    content = {
        "epoch": 7,
        "global_step": np.int64(875000),
        "pytorch-lightning_version": "1.4.2",
        "state_dict": weights,
        "callbacks": {model_checkpoint: {"best_model_score": np.float64(0.5), "seen": np.arange(3)}},
        "optimizer_states": [optimizer.state_dict(), {0: {"exp_avg": torch.ones(5)}}],
        "lr_schedulers": [defaultdict(list, {"a": [1]}), {1, 2}, frozenset({3}), slice(1, 2), 1j],
        "hyper_parameters": attributes(lr=1e-4, data=callback, args=argparse.Namespace(x=1)),
        "when": datetime.timedelta(seconds=3),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
        "size": torch.Size([1, 2]),
        "parameter": nn.Parameter(torch.ones(2, 2)),
    }
    path = tmp_path / "full.ckpt"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert_same(load_checkpoint(path, RUNTIME).model.weights, networks()[0])


DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)
NEW_DTYPES = (torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16)
"""Younger than the older form of file."""


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_every_kind_of_tensor(tmp_path: Path, zipped: bool) -> None:
    """Transposed, sliced, repeated, shared, empty, scalar, parameters, of every dtype."""
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "base": base,
        "transposed": base.t(),
        "sliced": base[1:, ::2],
        "repeated": base[0, :1].expand(5),
        "scalar": torch.tensor(3.0),
        "empty": torch.empty(0, 3),
        "parameter": nn.Parameter(base),
        "buffer": nn.parameter.Buffer(base),
        **{
            str(dtype): torch.tensor([0, 1, 2]).to(dtype) for dtype in DTYPES + (NEW_DTYPES if zipped else ())
        },
    }
    path = tmp_path / "a.pth"
    torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    found = read_weights(path).tensors
    assert found.keys() == tensors.keys()
    for key, tensor in tensors.items():
        assert found[key].dtype == tensor.dtype
        assert found[key].stride() == tensor.stride()
        assert torch.equal(found[key].double(), tensor.double()), key


def test_a_storage_of_an_unknown_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"a": torch.tensor([1j])}, path)
    with pytest.raises(CheckpointError, match=r"refers to torch\.ComplexFloatStorage"):
        read_weights(path)
