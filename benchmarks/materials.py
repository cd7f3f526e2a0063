"""What the subjects work with, made once and kept in a cache folder outside the project.

The checkpoint in three precisions, two LoRAs for it, the description of its parts that diffusers needs, OpenVINO's
conversion of its networks.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.description import MODEL_INDEX, diffusers_description
from benchmarks.worker import ROOT, child_environment

LORA_RANK = 16
_UNET = "model.diffusion_model."
_CONVERTED = "complete"


@dataclass(frozen=True)
class Materials:
    """Everything made of one checkpoint. folder: a cache folder of its own; checkpoint: the file it is all made of."""

    checkpoint: Path
    folder: Path

    @classmethod
    def of(cls, checkpoint: Path, cache: Path) -> Materials:
        """Those of this file, told from other files by name, size and time."""
        stamp = checkpoint.stat()
        folder = cache / f"{checkpoint.stem}-{stamp.st_size}-{stamp.st_mtime_ns}"
        (folder / "models" / "checkpoints").mkdir(parents=True, exist_ok=True)
        _link(folder / "models" / "checkpoints" / checkpoint.name, checkpoint)
        _link(folder / "models" / "vae_approx", ROOT / "models" / "vae_approx")
        return cls(checkpoint, folder)

    @property
    def models(self) -> Path:
        """A folder for Weft's --models, with everything made so far in it."""
        return self.folder / "models"

    def in_precision(self, dtype: str) -> str:
        """The name of the checkpoint with its weights in `dtype`: fp32, fp16 or bf16."""
        path = self.models / "checkpoints" / f"{self.checkpoint.stem}-{dtype}.safetensors"
        _once(path, partial(_write_in_precision, self.checkpoint, dtype))
        return path.name

    def loras(self) -> tuple[str, str]:
        """The names of two LoRAs that change every linear layer of the UNet's attention."""
        names = ("benchmark-1.safetensors", "benchmark-2.safetensors")
        for seed, name in enumerate(names):
            _once(self.models / "loras" / name, partial(_write_lora, self.checkpoint, seed))
        return names

    def diffusers_config(self) -> Path:
        """A folder that describes the checkpoint's parts as diffusers does, and holds no weights."""
        folder = self.folder / "diffusers-config"
        index = folder / "model_index.json"
        if not index.exists():
            for name, content in diffusers_description(self.checkpoint).items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_text(content)
            index.write_text(MODEL_INDEX)
        return folder

    def openvino_networks(self, peers_python: Path) -> Path:
        """The folder with OpenVINO's conversion of the networks. Raises RuntimeError when it fails."""
        folder = self.folder / "openvino"
        if not (folder / _CONVERTED).exists():
            _run_module(
                peers_python,
                "benchmarks.subjects.openvino_convert",
                *(self.checkpoint, self.diffusers_config(), folder),
            )
        return folder

    def diffusers_folder(self, peers_python: Path) -> Path:
        """The whole model as diffusers saves one, weights in float32."""
        folder = self.folder / "diffusers"
        if not (folder / "model_index.json").exists():
            arguments = (self.checkpoint, self.diffusers_config(), folder)
            _run_module(peers_python, "benchmarks.subjects.diffusers_folder", *arguments)
        return folder


def _link(place: Path, target: Path) -> None:
    """Make `place` lead to `target`, wherever it led before."""
    if place.is_symlink() and place.readlink() == target.resolve():
        return
    place.unlink(missing_ok=True)
    place.symlink_to(target.resolve())


def _run_module(python: Path, module: str, *arguments: object) -> None:
    done = subprocess.run(
        [python, "-m", module, *map(str, arguments)],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed: {done.stderr.strip().splitlines()[-1:]}")


def _once(path: Path, write: Callable[[Path], None]) -> None:
    """Have `write` make the file where it is not there yet; a run cut short leaves none."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        unfinished = Path(folder) / path.name
        write(unfinished)
        unfinished.replace(path)


def _write_in_precision(checkpoint: Path, dtype: str, path: Path) -> None:
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    wanted = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
    with safe_open(checkpoint, "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    changed = {
        key: value.to(wanted) if value.is_floating_point() else value for key, value in tensors.items()
    }
    save_file(changed, path, metadata)


def _write_lora(checkpoint: Path, seed: int, path: Path) -> None:
    """Random factors, faint enough to leave a picture."""
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    with safe_open(checkpoint, "pt") as file:
        for key in sorted(file.keys()):
            shape = file.get_slice(key).get_shape()
            if not key.startswith(_UNET) or ".attn" not in key or len(shape) != 2:
                continue
            name = key.removeprefix("model.").removesuffix(".weight")
            down = torch.randn(LORA_RANK, shape[1], generator=generator) * shape[1] ** -0.5
            up = torch.randn(shape[0], LORA_RANK, generator=generator) * 0.02
            tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
    save_file(tensors, path)
