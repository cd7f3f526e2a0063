"""The training loop: a run that is killed and started again ends where it would have ended."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.loop import Logbook, Plan, generator, rate_scale, save_atomically, train
from training.optimiser import Rates

PLAN = Plan(steps=12, rates=Rates(matrix=0.05, other=0.05), warmup=3, average=0.8)


class Fitting:
    """Fits a linear layer to a fixed map; may be killed at a step."""

    def __init__(self, *, killed_at: int | None = None) -> None:
        self.network: nn.Module = nn.Linear(6, 4)
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.zero_()
        self._killed_at = killed_at

    def loss(self, step: int, part: int) -> Tensor:
        if step == self._killed_at:
            raise KeyboardInterrupt
        x = torch.randn(32, 6, generator=generator("fit", step, part))
        return (self.network(x) - x[:, :4] * 2 - 1).square().mean()


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    task = Fitting()
    before = task.loss(99, 0).item()
    average = train("fit", task, Plan(steps=300, rates=PLAN.rates, average=0.8), Logbook(tmp_path))
    assert task.loss(99, 0).item() < 0.3 * before
    assert average.keys() == {"weight", "bias"}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_killed_run_goes_on_and_ends_the_same(tmp_path: Path, threads: int) -> None:
    whole = train("fit", Fitting(), PLAN, Logbook(tmp_path / "whole", threads=2))
    logbook = Logbook(tmp_path / "killed", seconds=0, threads=threads)
    with pytest.raises(KeyboardInterrupt):
        train("fit", Fitting(killed_at=7), PLAN, logbook)
    resumed = train("fit", Fitting(), PLAN, logbook)
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    first = train("fit", Fitting(), PLAN, Logbook(tmp_path))
    again = train("fit", Fitting(killed_at=12), PLAN, Logbook(tmp_path))
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_saving_that_fails_leaves_the_old_state(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_atomically({"step": 1}, path)
    with pytest.raises((pickle.PicklingError, AttributeError)):
        save_atomically({"step": lambda: 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}


def test_the_rate_rises_and_falls() -> None:
    plan = Plan(steps=100, warmup=10)
    scales = [rate_scale(step, plan) for step in range(100)]
    assert scales[0] == pytest.approx(0.1)
    assert max(scales) == scales[9]
    assert scales[-1] < 0.04
    assert scales[10:] == sorted(scales[10:], reverse=True)


def test_random_numbers_depend_on_the_words_alone() -> None:
    draws = [torch.rand(3, generator=generator(0, "unet", step, 0)) for step in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
