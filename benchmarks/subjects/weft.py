"""Weft as its users run it: a workflow through the executor, again and again in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.tasks import Picture
from benchmarks.workflows import Drawn, text_to_image
from diffusion.networks.unet import UNet
from diffusion.networks.vae import Autoencoder
from diffusion.placement import choose_placement
from diffusion.runtime import Runtime
from diffusion.text.text_encoder import TextEncoder
from graph import Event, Executor, Folders, NodeProgress, Services, Workflow
from nodes import REGISTRY


class Subject:
    """An executor and a runtime that stay, and a count of the networks that were made.

    models: the folder above checkpoints/ and loras/. checkpoint, loras: names of files there.
    """

    def __init__(
        self, *, models: str, checkpoint: str, dtype: str, output: str, loras: Sequence[str] = ()
    ) -> None:
        self.checkpoint, self.loras, self.made = checkpoint, tuple(loras), 0
        for network in (UNet, TextEncoder, Autoencoder):
            network.__init__ = self._counted(network.__init__)  # type: ignore[method-assign]
        services = Services()
        services.put(Runtime, Runtime(choose_placement("cpu", dtype)))
        folders = Folders(models=(Path(models),), output=Path(output), temp=Path(output))
        self.executor = Executor(REGISTRY, folders=folders, services=services)

    def _counted(self, init: Callable[..., None]) -> Callable[..., None]:
        @wraps(init)
        def counted(*arguments: Any, **named: Any) -> None:
            self.made += 1
            init(*arguments, **named)

        return counted

    def picture(self, **task: Any) -> Mapping[str, Any]:
        """Make one picture from text, with the subject's checkpoint and LoRAs."""
        return self.run(text_to_image(Picture(**task), self.checkpoint, self.loras))

    def run(self, workflow: Drawn) -> Mapping[str, Any]:
        """Run any workflow: the files it saved, seconds of each step but the first, nodes run, networks made."""
        marks: list[float] = []

        def listen(event: Event) -> None:
            if isinstance(event, NodeProgress):
                marks.append(time.perf_counter())

        made = self.made
        result = self.executor.run(Workflow.from_json(workflow), on_event=listen)
        if result.status != "success":
            raise RuntimeError("; ".join(error.message for error in result.errors) or result.status)
        return {
            "files": self._saved(result.ui),
            "step_seconds": [after - before for before, after in pairwise(marks)],
            "nodes_run": sorted(result.timings),
            "networks_made": self.made - made,
        }

    def _saved(self, shown: Mapping[str, Mapping[str, Any]]) -> list[str]:
        return [
            str(self.executor.folders.output / file["subfolder"] / file["filename"])
            for ui in shown.values()
            for files in ui.values()
            for file in files
        ]
