"""Who takes part: which subject, run by which Python, with which settings."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from benchmarks.materials import Materials
from benchmarks.options import Options
from benchmarks.worker import SubjectFailed, Worker, child_environment

OURS = ("weft bf16", "weft fp32")
PEERS = ("diffusers bf16", "openvino bf16", "openvino fp32", "server")


@dataclass(frozen=True)
class Contestant:
    """One subject to be started. settings: makes what it is given, and what that needs, when it starts."""

    module: str
    python: Path
    settings: Callable[[], Mapping[str, Any]]

    def start(self) -> Worker:
        """A process of it. Raises SubjectFailed."""
        try:
            settings = self.settings()
        except (OSError, RuntimeError) as error:
            raise SubjectFailed(str(error)) from error
        return Worker(self.python, self.module, settings)


@dataclass(frozen=True)
class Field:
    """All contestants for one checkpoint."""

    options: Options
    materials: Materials

    @classmethod
    def of(cls, options: Options, checkpoint: Path) -> Field:
        return cls(options, Materials.of(checkpoint, options.cache))

    def choose(self, names: Iterable[str]) -> dict[str, Contestant]:
        """Those of `names` that are installed and were not left out."""
        return {name: self.get(name) for name in names if self._takes_part(name)}

    def get(self, name: str, *, checkpoint: str | None = None, loras: tuple[str, ...] = ()) -> Contestant:
        """The contestant of this name. checkpoint: another file in the models folder, for Weft and diffusers."""
        program, _, dtype = name.partition(" ")
        file = checkpoint or self.materials.checkpoint.name
        match program:
            case "weft":
                make: Callable[[], Mapping[str, Any]] = partial(self._weft, dtype, file, loras)
            case "diffusers":
                make = partial(self._diffusers, dtype, file)
            case "openvino":
                make = partial(self._openvino, dtype)
            case _:
                make = self._server
        python = self.options.peers_python if program in ("diffusers", "openvino") else self.options.python
        return Contestant(f"benchmarks.subjects.{program}", python, make)

    def _weft(self, dtype: str, checkpoint: str, loras: tuple[str, ...]) -> dict[str, Any]:
        return {
            "models": str(self.materials.models),
            "checkpoint": checkpoint,
            "dtype": dtype,
            "loras": loras,
            "output": self._output(),
        }

    def _diffusers(self, dtype: str, checkpoint: str) -> dict[str, Any]:
        return {
            "checkpoint": str(self.materials.models / "checkpoints" / checkpoint),
            "config": str(self.materials.diffusers_config()),
            "dtype": dtype,
            "output": self._output(),
        }

    def _openvino(self, dtype: str) -> dict[str, Any]:
        networks = self.materials.openvino_networks(self.options.peers_python)
        return {"networks": str(networks), "dtype": dtype, "output": self._output()}

    def _server(self) -> dict[str, Any]:
        return {
            "url": self.options.peer_url,
            "checkpoint": self.materials.checkpoint.name,
            "pid": self.options.peer_pid,
            "output": self._output(),
        }

    def _output(self) -> str:
        self.options.output.mkdir(parents=True, exist_ok=True)
        return str(self.options.output)

    def _takes_part(self, name: str) -> bool:
        program = name.partition(" ")[0]
        if self.options.subjects and program not in self.options.subjects:
            return False
        if program == "server":
            return self.options.peer_url is not None
        return program == "weft" or installed(self.options.peers_python, program) is not None


@cache
def installed(python: Path, package: str) -> str | None:
    """The version of a package that this Python has, or None."""
    asked = subprocess.run(
        [python, "-c", f"import importlib.metadata as m; print(m.version({package!r}))"],
        capture_output=True,
        text=True,
        check=False,
        env=child_environment(),
    )
    return asked.stdout.strip() or None if asked.returncode == 0 else None
