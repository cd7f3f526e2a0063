"""What subjects are asked for: one picture, said in the same words to all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

PROMPT = "a lighthouse on a cliff above the sea at sunset, oil painting"
LATENT_DOWNSCALE = 8


@dataclass(frozen=True)
class Picture:
    """A picture to make: Euler's method, guidance in one batch of two, noise of the seed. decode: to a PNG, or not."""

    size: int
    steps: int
    batch: int = 1
    seed: int = 0
    prompt: str = PROMPT
    negative: str = ""
    cfg: float = 7.5
    decode: bool = True

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """[batch, 4, size/8, size/8]."""
        side = self.size // LATENT_DOWNSCALE
        return self.batch, 4, side, side

    def numbered(self, number: int) -> Picture:
        """The same work with another prompt and seed, so that no cache has any of it."""
        seed = self.seed + number
        return replace(self, seed=seed, prompt=f"{self.prompt}, {seed}")
