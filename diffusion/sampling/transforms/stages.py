"""Where guidance can be changed: before the predictions are combined, how they are, and after.

A Model carries a Guidance; guiders follow it. Each change is a function, or an immutable object that can be called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from torch import Tensor

from diffusion.networks.attachments import HooksForCall
from diffusion.types import Conditioning


class Predict(Protocol):
    """(x, sigma, conditionings) -> x0 under each (see Denoiser.predict). attached: features for this call alone."""

    def __call__(
        self,
        x: Tensor,
        sigma: float,
        conditionings: Sequence[Conditioning],
        /,
        *,
        attached: Sequence[HooksForCall] = (),
    ) -> Sequence[Tensor]: ...


Memory = dict[object, Any]
"""What changes keep from one call of the model to the next within a run, each under itself as the key."""


@dataclass(frozen=True, eq=False)
class Predicted:
    """What guidance starts from at one call of the model.

    x: the noisy latent at level sigma. scale: how far to go from uncond past cond. cond: x0 with the prompt; uncond:
    x0 without it, or with the negative one; None where scale is 1 and nobody needs it. All [B, 4, h, w] float32.
    predict: for changes that ask the model for more. memory: of this run. positive, negative: the prompts of cond and
    uncond.
    """

    x: Tensor
    sigma: float
    scale: float
    cond: Tensor
    uncond: Tensor | None
    predict: Predict
    memory: Memory = field(default_factory=dict)
    positive: Conditioning | None = None
    negative: Conditioning | None = None


Before = Callable[[Predicted], Predicted]
Combine = Callable[[Predicted], Tensor]
After = Callable[[Predicted, Tensor], Tensor]
"""(what was predicted, x0 as combined so far) -> x0."""
Watch = Callable[[Memory], HooksForCall]
"""(memory of the run) -> what looks on while the UNet predicts, and keeps there what a change wants to know."""


def classifier_free(seen: Predicted) -> Tensor:
    """Ho and Salimans 2022, eq. 6, in terms of x0."""
    if seen.uncond is None:
        return seen.cond
    return seen.uncond + (seen.cond - seen.uncond) * seen.scale


@dataclass(frozen=True, eq=False)
class Guidance:
    """How the predictions under two prompts become one. Immutable; each method gives a changed copy.

    before, after: in the order in which they were added. needs_uncond: the prediction without the prompt is made at
    scale 1 too. conditionings: what the changes may ask the model for. watches: what they want to see of the UNet.
    """

    before: tuple[Before, ...] = ()
    combine: Combine = classifier_free
    after: tuple[After, ...] = ()
    needs_uncond: bool = False
    conditionings: tuple[Conditioning, ...] = ()
    watches: tuple[Watch, ...] = ()

    def first(self, change: Before) -> Guidance:
        """With one more change to the predictions before they are combined."""
        return replace(self, before=(*self.before, change))

    def combined_by(self, combine: Combine) -> Guidance:
        """With another way to combine them, in place of the one before."""
        return replace(self, combine=combine)

    def then(self, change: After) -> Guidance:
        """With one more change to what they were combined to."""
        return replace(self, after=(*self.after, change))

    def watching(self, predict: Predict, memory: Memory) -> Predict:
        """`predict` for the prompts that are to be combined, looked on by the changes that want to."""
        if not self.watches:
            return predict
        return partial(predict, attached=tuple(watch(memory) for watch in self.watches))

    def prepared(self, seen: Predicted) -> Predicted:
        """The predictions as the changes before combination leave them."""
        for change in self.before:
            seen = change(seen)
        return seen

    def finished(self, seen: Predicted, denoised: Tensor) -> Tensor:
        """x0 as the changes after combination leave it."""
        for change in self.after:
            denoised = change(seen, denoised)
        return denoised

    def applied(self, seen: Predicted) -> Tensor:
        """Combination and what follows it, on predictions that are prepared."""
        return self.finished(seen, self.combine(seen))


CLASSIFIER_FREE = Guidance()
"""Guidance without changes."""
