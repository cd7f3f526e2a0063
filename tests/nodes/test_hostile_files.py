"""Damaged, hostile and mistaken model files at every node that loads one: an error in words that names the file."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from graph import Folders, WorkflowError
from tests.nodes.attack.arena import limited, run
from tests.nodes.attack.camp import Camp, pitch
from tests.nodes.attack.verdicts import about_error

LOADERS = {
    "CheckpointLoaderSimple": ("checkpoints", "ckpt_name"),
    "VAELoader": ("vae", "vae_name"),
    "LoraLoader": ("loras", "lora_name"),
    "LoraLoaderModelOnly": ("loras", "lora_name"),
    "ControlNetLoader": ("controlnet", "control_net_name"),
    "DiffControlNetLoader": ("controlnet", "control_net_name"),
    "HypernetworkLoader": ("hypernetworks", "hypernetwork_name"),
    "UpscaleModelLoader": ("upscale_models", "model_name"),
    "UNETLoader": ("diffusion_models", "unet_name"),
    "CLIPLoader": ("text_encoders", "clip_name"),
    "CLIPScorerLoader": ("clip_vision", "clip_name"),
    "SafetyCheckerLoader": ("safety_checker", "checker_name"),
}
ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


class Code:
    """Would end the process if it were unpickled by a reader that runs code."""

    def __reduce__(self) -> tuple[Callable[[int], object], tuple[int]]:
        import os

        return os._exit, (7,)


def header(entries: object, length: int | None = None) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(4)


CONTENTS: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "a few bytes": lambda: b"\x00\x01\x02",
    "text": lambda: b"<!DOCTYPE html><html>Not found</html>" * 9,
    "cut short": lambda: save({"a.weight": torch.ones(40, 40)})[:-9],
    "a header past any file": lambda: header({}, 2**63),
    "a header of the wrong length": lambda: header({"a": ONE}, 9),
    "a header that is no object": lambda: header([1, 2]),
    "a negative shape": lambda: header({"a": {**ONE, "shape": [-1]}}),
    "a huge shape": lambda: header({"a": {**ONE, "shape": [2**40, 2**40]}}),
    "places outside": lambda: header({"a": {**ONE, "data_offsets": [0, 2**40]}}),
    "an unknown type": lambda: header({"a": {**ONE, "dtype": "F7"}}),
    "the same name twice": lambda: (
        struct.pack("<Q", 122)
        + (b'{"a":%s,"a":%s}' % ((json.dumps(ONE).encode(),) * 2)).ljust(122)
        + bytes(4)
    ),
    "no tensors": lambda: save({}),
    "tensors of nothing": lambda: save({"a.weight": torch.ones(0, 4)}),
    "no matching key": lambda: save({"a.b.c": torch.ones(2, 2)}),
    "deep": lambda: header("[")[:8] + b"[" * 100_000,
    "code": lambda: pickle.dumps(Code()),
}


@pytest.fixture(scope="module")
def camp(tmp_path_factory: pytest.TempPathFactory) -> Camp:
    return pitch(tmp_path_factory.mktemp("camp"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("loader", LOADERS)
def test_bad_files(loader: str, suffix: str, camp: Camp, tmp_path: Path) -> None:
    kind, name = LOADERS[loader]
    (tmp_path / kind).mkdir()
    folders = Folders(models=(tmp_path,))
    wrong: list[str] = []
    for what, content in CONTENTS.items():
        (tmp_path / kind / f"bad{suffix}").write_bytes(content())
        with limited():
            outcome = run(loader, {name: f"bad{suffix}"}, camp.linked(loader), folders)
        assert not isinstance(outcome, WorkflowError), outcome
        if not outcome.errors:
            wrong.append(f"{what}: taken")
        for error in outcome.errors:
            said = about_error(error) or ("" if f"bad{suffix}" in error.message else "the file is not named")
            if said:
                wrong.append(f"{what}: {said}: {error.message[:200]} ({error.exception_type})")
    assert not wrong, "\n".join(wrong)
