"""Controls at work in one sampling run: which prompt is led by which, and what they add on every step."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from diffusion.approximations.window import Window
from diffusion.config import AdapterConfig, UNetConfig
from diffusion.control.additions import Additions
from diffusion.control.hints import fitted
from diffusion.control.model import TO_ALL, Control, controls_of
from diffusion.memory.activations import hint_bytes
from diffusion.memory.residents import Way
from diffusion.networks.attachments import NO_HOOKS, Hooks, Place
from diffusion.networks.attention import Prompt
from diffusion.networks.controlnet import ControlNet
from diffusion.sampling.batches import repeated
from diffusion.types import Cond, Conditioning, Image

if TYPE_CHECKING:
    from diffusion.model import Model
    from diffusion.runtime import Runtime

Value = TypeVar("Value")
Chains = Mapping[Cond, tuple[Control, ...]]
_KEPT = 8
"""Prompts and sizes of picture that are kept for each network: steps may ask for different ones in turn."""


class Seen(NamedTuple):
    """A call of the UNet. x: [B, 4, h, w] as it sees the latents. timestep: [1]. sigma: their noise level.

    entries: its prompts, n of them. context: what it reads of them, [n * B, T, context_dim].
    """

    x: Tensor
    timestep: Tensor
    sigma: float
    entries: Sequence[Cond]
    context: Tensor


def begin_controls(conditionings: Sequence[Conditioning], model: Model) -> Callable[[Seen], Hooks] | None:
    """What gives the hooks of each UNet call in a run of `model`; None when no prompt is led by anything.

    conditionings: all that the run may ask for, the positive one first. Raises ValueError for controls that do not
    fit the UNet.
    """
    chains = _chains(conditionings)
    controls = list(dict.fromkeys(control for chain in chains.values() for control in chain))
    if not controls:
        return None
    for control in controls:
        control.model.check_fits(model.config)
    windows = {control: Window.of(model.schedule, control.start, control.end) for control in controls}
    return ControlRun(chains, windows, model.config, model.runtime)


def _chains(conditionings: Sequence[Conditioning]) -> Chains:
    """The controls of every prompt: its own; and those that the positive one shares, where a conditioning has none.

    Several that are shared go to the prompts of the other conditioning in turn. Prompts for a part of the picture
    neither share nor are shared with.
    """
    chains = {entry: controls_of(entry) for conditioning in conditionings for entry in conditioning.entries}
    positive, *others = [
        [entry for entry in conditioning.entries if not entry.scope.is_local]
        for conditioning in conditionings
    ]
    shared = [chains[entry] for entry in positive if chains[entry] and entry.options.get(TO_ALL)]
    for entries in others:
        if entries and not any(chains[entry] for entry in entries):
            chains |= {entries[number % len(entries)]: chain for number, chain in enumerate(shared)}
    return chains


@dataclass(frozen=True, eq=False)
class ControlRun:
    """Gives the hooks for each call of the UNet. Every network runs once a call, for all prompts that it leads.

    Networks are asked for on every step and not held: between two steps they may be let go of when memory is short.
    """

    chains: Chains
    windows: Mapping[Control, Window]
    unet: UNetConfig
    runtime: Runtime
    _prompts: WeakKeyDictionary[nn.Module, _Recent[Prompt]] = field(
        default_factory=WeakKeyDictionary, init=False
    )
    _hints: dict[Control, _Recent[list[Tensor]]] = field(default_factory=dict, init=False)

    def __call__(self, seen: Seen) -> Hooks:
        led = self._led(seen)
        if not led:
            return NO_HOOKS
        additions = Additions(len(seen.entries), len(seen.x))
        for control, jobs in led.items():
            additions.add(self._places(control, seen, jobs), jobs)
        return additions.hooks()

    def _led(self, seen: Seen) -> dict[Control, list[int]]:
        """The controls at work at this noise level, with the prompts that each leads, by their number."""
        led: dict[Control, list[int]] = {}
        for job, entry in enumerate(seen.entries):
            for control in self.chains.get(entry, ()):
                if seen.sigma in self.windows[control]:
                    led.setdefault(control, []).append(job)
        return led

    def _places(self, control: Control, seen: Seen, jobs: Sequence[int]) -> dict[Place, Tensor]:
        """What a control adds, and where."""
        hint = self._hint(control, seen)
        stages = len(self.unet.channels) * (self.unet.blocks + 1)
        if isinstance(control.model.config, AdapterConfig):
            # The last residual block of every level: those before it and a stage that halves count for each.
            last = [level * (self.unet.blocks + 1) + self.unet.blocks for level in range(len(hint))]
            return {
                Place("input", stage): part * control.strength_at(stage, stages)
                for stage, part in zip(last, hint, strict=True)
            }
        network = self.runtime.control_network(control.model)
        assert isinstance(network, ControlNet)
        *skips, middle = network(seen.x, hint[0], seen.timestep, self._prompt(network, seen, jobs))
        if control.model.pooled:
            *skips, middle = (part.mean((2, 3), keepdim=True) for part in (*skips, middle))
        added = {
            Place("output", stages - 1 - stage): part * control.strength_at(stage, stages)
            for stage, part in enumerate(skips)
        }
        return added | {Place("middle", 0): middle * control.strength_at(stages - 1, stages)}

    def _prompt(self, network: ControlNet, seen: Seen, jobs: Sequence[int]) -> Prompt:
        """The prompts of these numbers as the network reads them."""
        key = (len(seen.x), seen.context.shape[1], *(seen.entries[job] for job in jobs))
        read = self._prompts.setdefault(network, _Recent())
        contexts = seen.context.unflatten(0, (len(seen.entries), -1))
        return read.get(key, lambda: network.read(contexts[list(jobs)].flatten(0, 1)))

    def _hint(self, control: Control, seen: Seen) -> list[Tensor]:
        """What the network makes of the control's pictures alone, one row for each latent or the one for all."""
        read = self._hints.setdefault(control, _Recent())
        size = (len(seen.x), *seen.x.shape[2:])
        return read.get(size, lambda: _read_hint(control, self.runtime, seen.x))


def _read_hint(control: Control, runtime: Runtime, x: Tensor) -> list[Tensor]:
    model = control.model
    network = runtime.control_network(model)
    hint, (height, width) = control.hint, x.shape[2:]
    batch = 1 if len(hint) == 1 else len(x)
    if hint.shape[-1] != model.config.hint_channels:
        hint = Image(hint[..., :3].mean(dim=-1, keepdim=True))
    picture = repeated(fitted(hint, (height, width)), batch).to(x.device)

    def read() -> list[Tensor]:
        return [network.read_hint(picture)] if isinstance(network, ControlNet) else network(picture)

    itemsize = runtime.placement.dtype.itemsize
    needs = hint_bytes(model.config, rows=batch, height=height, width=width, itemsize=itemsize)
    return runtime.attempt_maps(network, [Way(needs, read)])


@dataclass(frozen=True, eq=False)
class _Recent(Generic[Value]):
    """The values asked for last."""

    values: OrderedDict[Hashable, Value] = field(default_factory=OrderedDict)

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        if key not in self.values:
            self.values[key] = make()
        self.values.move_to_end(key)
        if len(self.values) > _KEPT:
            self.values.popitem(last=False)
        return self.values[key]
