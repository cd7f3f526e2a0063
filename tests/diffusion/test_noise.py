"""Seeded noise: which numbers a seed gives, whatever the batch."""

import math

import pytest
import torch

from diffusion.sampling.noise import brownian_noise, independent_noise, initial_noise

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


LEVELS = torch.tensor([14.6146, 5.0, 1.2345678, 0.3, 0.0291671, 0.0])


def test_brownian_noise_is_torchsdes_own_tree() -> None:
    import torchsde

    tree = torchsde.BrownianTree(t0=0.029167, w0=SAMPLES, t1=14.6146, entropy=11)
    noise = brownian_noise(SAMPLES, LEVELS, 11)
    torch.testing.assert_close(noise(5.0, 2.0), -tree(2.0, 5.0) / 3**0.5)
    torch.testing.assert_close(noise(2.0, 5.0), tree(2.0, 5.0) / 3**0.5)


def test_brownian_noise_of_a_step_is_made_of_that_of_its_parts() -> None:
    noise = brownian_noise(SAMPLES, LEVELS, 3)
    whole = noise(9.0, 1.0) * math.sqrt(8)
    parts = noise(9.0, 4.0) * math.sqrt(5) + noise(4.0, 1.0) * math.sqrt(3)
    torch.testing.assert_close(whole, parts, rtol=1e-5, atol=1e-5)


def test_brownian_noise_belongs_to_the_seed_and_the_range_alone() -> None:
    ends = torch.tensor([14.6146, 0.0291671])
    first, second = brownian_noise(SAMPLES, LEVELS, 3), brownian_noise(SAMPLES, ends, 3)
    first(14.6146, 5.0)
    assert torch.equal(first(5.0, 1.2345678), second(5.0, 1.2345678))
    assert not torch.allclose(first(5.0, 2.0), brownian_noise(SAMPLES, ends, 4)(5.0, 2.0), atol=0.1)


def test_brownian_noise_is_of_unit_variance_and_independent_from_step_to_step() -> None:
    noise = brownian_noise(torch.zeros(1, 4, 50, 50), LEVELS, 8)
    draws = torch.stack([noise(a, b).flatten() for a, b in [(14.6146, 5.0), (5.0, 0.3), (0.3, 0.0291671)]])
    torch.testing.assert_close(torch.cov(draws), torch.eye(3), rtol=0, atol=0.05)


def test_brownian_noise_knows_no_levels_outside_its_range() -> None:
    """The ends are rounded, so a first or last step may reach past them; and nothing is warned of."""
    noise = brownian_noise(SAMPLES, LEVELS, 3)
    torch.testing.assert_close(noise(20.0, 5.0) * math.sqrt(15), noise(14.6146, 5.0) * math.sqrt(9.6146))
    assert torch.equal(noise(2.0, 2.0), SAMPLES)


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1])
@pytest.mark.parametrize("levels", [[2.0, 1.0, 0.0], [2.0, 0.0], [2.0], [1.0, 2.0]])
def test_brownian_noise_is_made_for_any_levels_and_seed(levels: list[float], seed: int) -> None:
    noise = brownian_noise(SAMPLES, torch.tensor(levels), seed)
    assert torch.isfinite(noise(2.0, 1.0)).all()


def test_drawing_along_brownian_motion_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    brownian_noise(SAMPLES, LEVELS, 3)(5.0, 1.0)
    assert torch.equal(torch.get_rng_state(), before)
