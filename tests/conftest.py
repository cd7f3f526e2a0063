"""What tests of several folders share."""

from pathlib import Path

import pytest

from tests.full_size import cached_checkpoint


@pytest.fixture(scope="session")
def full_size_checkpoint() -> Path:
    """A Stable Diffusion 1.5 checkpoint of seeded weights in the original layout, float32; not to be written to."""
    return cached_checkpoint()
