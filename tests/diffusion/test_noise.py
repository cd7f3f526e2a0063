"""Seeded noise: which numbers a seed gives, whatever the batch."""

import pytest
import torch

from diffusion.sampling.noise import independent_noise, initial_noise

SAMPLES = torch.zeros(3, 4, 5, 6)


def test_a_seed_is_torchs_own_cpu_generator() -> None:
    expected = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(42))
    assert torch.equal(initial_noise(SAMPLES, 42), expected)


def test_drawing_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    independent_noise(SAMPLES, torch.ones(1), 1)(2.0, 1.0)
    initial_noise(SAMPLES, 1, (0, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)


def test_batch_index_picks_the_seeds_draws_of_one_sample() -> None:
    generator = torch.Generator().manual_seed(9)
    draws = [torch.randn(1, 4, 5, 6, generator=generator) for _ in range(6)]
    noise = initial_noise(SAMPLES, 9, (5, 0, 5))
    assert torch.equal(noise, torch.cat([draws[5], draws[0], draws[5]]))


def test_the_first_of_a_batch_by_index_is_the_picture_alone() -> None:
    assert torch.equal(initial_noise(SAMPLES, 3, (0, 1, 2))[:1], initial_noise(SAMPLES[:1], 3))


@pytest.mark.parametrize("batch_index", [(0, 1), (0, 1, 2, 3), (0, -1, 2), ()])
def test_a_batch_index_that_does_not_fit_is_refused(batch_index: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="one number from 0 up for each"):
        initial_noise(SAMPLES, 3, batch_index)


def test_step_noise_is_one_stream_of_draws() -> None:
    noise = independent_noise(SAMPLES, torch.tensor([2.0, 1.0, 0.0]), 7)
    generator = torch.Generator().manual_seed(7)
    for _ in range(3):
        assert torch.equal(noise(2.0, 1.0), torch.randn(SAMPLES.shape, generator=generator))


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1])
def test_seeds_reach_as_far_as_the_nodes_let_them(seed: int) -> None:
    assert torch.isfinite(initial_noise(SAMPLES, seed)).all()
    assert not torch.equal(initial_noise(SAMPLES, seed), initial_noise(SAMPLES, seed - 1 if seed else 1))
