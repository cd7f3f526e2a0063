"""The training loop of every stage: gradients of several parts at once, averaging of weights, saving, progress.

A step's random numbers come from the seed and the step's number alone, so a run that was killed and started
again goes the way it would have gone.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.optimiser import Optimiser, Rates

log = logging.getLogger(__name__)

PARTS = 2
"""Into how many parts each step's work is cut. Fixed, so that the number of threads changes nothing but speed."""


@dataclass(frozen=True)
class Plan:
    """How long and how fast a stage trains. average: how slowly the averaged weights follow, 0..1."""

    steps: int
    rates: Rates = field(default_factory=Rates)
    warmup: int = 40
    average: float = 0.999
    largest_gradient: float = 1.0


@dataclass(frozen=True)
class Logbook:
    """Where a run keeps its state and how often. seconds: between two saves. threads: of work at once."""

    folder: Path
    seconds: float = 100.0
    interval: int = 50
    threads: int = 2


class Task(Protocol):
    """What a stage trains."""

    @property
    def network(self) -> nn.Module:
        """Holds the parameters that are trained: those that require gradients."""
        ...

    def loss(self, step: int, part: int) -> Tensor:
        """The loss of one part of one step, a scalar. Called from several threads at once."""
        ...


def generator(*words: object) -> torch.Generator:
    """A random generator that depends on the words (seed, stage, step, ...) and nothing else."""
    digest = hashlib.blake2b(repr(words).encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


def train(name: str, task: Task, plan: Plan, logbook: Logbook) -> dict[str, Tensor]:
    """Train the task's network in place, from where its saved state left off; returns the averaged weights.

    The state is saved in `logbook.folder` every `logbook.seconds`, whole or not at all.
    """
    run = _Run(task, plan)
    path = logbook.folder / f"{name}.state.pt"
    if path.exists():
        run.restore(torch.load(path, weights_only=True))
        log.info("%s: going on from step %d of %d", name, run.step, plan.steps)
    saved, losses = time.monotonic(), list[float]()
    with (
        ThreadPoolExecutor(logbook.threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        tqdm(total=plan.steps, initial=run.step, desc=name, mininterval=5, dynamic_ncols=True) as bar,
    ):
        while run.step < plan.steps:
            losses.append(run.advance(pool))
            bar.update()
            if run.step % logbook.interval == 0:
                mean = sum(losses) / len(losses)
                bar.set_postfix(loss=f"{mean:.4f}")
                log.info("%s: step %d of %d, loss %.5f", name, run.step, plan.steps, mean)
                losses.clear()
            if time.monotonic() - saved > logbook.seconds:
                save_atomically(run.state(), path)
                saved = time.monotonic()
    save_atomically(run.state(), path)
    return run.average


def save_atomically(state: object, path: Path) -> None:
    """torch.save to `path`, which holds either the old state or the new one, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def rate_scale(step: int, plan: Plan) -> float:
    """The rate at `step` (from 0) as a share of the plan's: a short rise, then half a cosine down to 3 %."""
    rise = min(1.0, (step + 1) / plan.warmup)
    return rise * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / plan.steps)))


class _Run:
    """A network being trained, with its optimiser and averaged weights."""

    def __init__(self, task: Task, plan: Plan) -> None:
        self.task, self.plan, self.step = task, plan, 0
        self.optimiser = Optimiser(task.network, plan.rates)
        named = dict(task.network.named_parameters())
        self.parameters = {name: named[name] for name in self.optimiser.names}
        self.average = {name: value.detach().clone() for name, value in self.parameters.items()}

    def advance(self, pool: ThreadPoolExecutor) -> float:
        """One step; returns its loss."""
        parts = list(pool.map(self._gradients, range(PARTS)))
        gradients = [_mean(column) for column in zip(*(grads for _, grads in parts), strict=True)]
        norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients if g is not None])).item()
        shrink = min(1.0, self.plan.largest_gradient / (norm + 1e-6))
        scaled = [None if g is None else g * shrink for g in gradients]
        self.optimiser.step(scaled, scale=rate_scale(self.step, self.plan))
        self.step += 1
        kept = min(self.plan.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                self.average[name].lerp_(parameter, 1 - kept)
        return sum(loss for loss, _ in parts) / PARTS

    def _gradients(self, part: int) -> tuple[float, tuple[Tensor | None, ...]]:
        loss = self.task.loss(self.step, part)
        return loss.item(), torch.autograd.grad(loss, list(self.parameters.values()), allow_unused=True)

    def state(self) -> dict[str, Any]:
        weights = {name: value.detach() for name, value in self.parameters.items()}
        return {
            "step": self.step,
            "weights": weights,
            "average": self.average,
            "optimiser": self.optimiser.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.step = state["step"]
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state["weights"][name])
                self.average[name].copy_(state["average"][name])
        self.optimiser.restore(state["optimiser"])


def _mean(gradients: tuple[Tensor | None, ...]) -> Tensor | None:
    present = [gradient for gradient in gradients if gradient is not None]
    return torch.stack(present).sum(0) / len(gradients) if present else None
