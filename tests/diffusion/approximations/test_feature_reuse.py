"""When the deep part of the UNet is computed and when it is reused, on a stand-in for it that counts."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from diffusion.approximations.feature_reuse import EveryNth, FeatureReuse, Policy, WhileAlike
from diffusion.approximations.window import Window
from diffusion.networks.attachments import Call, Place


def computed(
    reuse: FeatureReuse,
    given: Sequence[float],
    *,
    owners: Sequence[tuple[int, ...]] = ((0, 1),),
    place: Place | None = None,
) -> dict[tuple[int, ...], list[int]]:
    """At which steps the deep part was computed in one run, for each of their calls. given: what goes in, by step."""
    at: dict[tuple[int, ...], list[int]] = {owner: [] for owner in owners}
    begun = reuse.begin()
    for step, value in enumerate(given):
        x = torch.zeros(1, 4, 2, 2)
        for owner in owners:

            def descend(h: Tensor, step: int = step, owner: tuple[int, ...] = owner) -> Tensor:
                at[owner].append(step)
                return h * 10

            result = torch.full((len(owner), 3, 2, 2), value) * (1 + owner[0])
            hooks = begun(Call(x, 10.0 - step, owner))
            for around in hooks.inner:
                result = around(descend, result, place or Place("input", reuse.depth))
            if not hooks.inner:
                result = descend(result)
            last = given[at[owner][-1]] * (1 + owner[0])
            torch.testing.assert_close(result, torch.full_like(result, 10 * last))
    return at


@pytest.mark.parametrize(
    ("interval", "steps"), [(1, range(7)), (2, [0, 2, 4, 6]), (3, [0, 3, 6]), (100, [0])]
)
def test_every_nth_step_is_computed(interval: int, steps: Sequence[int]) -> None:
    reuse = FeatureReuse(2, EveryNth(interval))
    assert computed(reuse, range(1, 8)) == {(0, 1): list(steps)}


def test_each_run_begins_anew() -> None:
    reuse = FeatureReuse(2, EveryNth(100))
    assert computed(reuse, [1.0, 2.0]) == computed(reuse, [3.0, 4.0]) == {(0, 1): [0]}


def test_what_was_kept_for_one_prompt_does_not_serve_another() -> None:
    begun = FeatureReuse(2, EveryNth(100)).begin()
    computed_for = []
    for said in ("a", "a", "b", "b", "a"):

        def descend(h: Tensor, said: str = said) -> Tensor:
            computed_for.append(said)
            return h

        (around,) = begun(Call(torch.zeros(1, 4, 2, 2), 1.0, (0, 1), parts=said)).inner
        around(descend, torch.ones(2, 3, 2, 2), Place("input", 2))
    assert computed_for == ["a", "b", "a"]


def test_prompts_that_go_in_separate_calls_are_kept_apart() -> None:
    found = computed(FeatureReuse(2, EveryNth(2)), [1.0, 2.0, 3.0], owners=((0,), (1,)))
    assert found == {(0,): [0, 2], (1,): [0, 2]}


def test_two_calls_of_one_step_for_the_same_prompt_are_kept_apart() -> None:
    begun, results = FeatureReuse(0, EveryNth(2)).begin(), []
    for x in (torch.zeros(1, 4, 2, 2), torch.ones(1, 4, 2, 2)):
        for value in (1.0, 2.0):
            (around,) = begun(Call(x, 1.0, (0,))).inner
            results.append(float(around(lambda h: h, torch.full((1,), value), Place("input", 0))))
    assert results == [1.0, 2.0, 1.0, 2.0]


def test_what_was_kept_of_a_call_is_not_used_after_steps_without_it() -> None:
    """As with guidance in a part of the run: its first and its last steps have a call that those between have not."""
    begun, computed_at = FeatureReuse(0, EveryNth(100)).begin(), []
    for step, owners in enumerate([(0,), (0,), (0, 1), (0, 1), (0,), (0,)]):
        (around,) = begun(Call(torch.zeros(1, 4, 2, 2), 1.0, owners)).inner
        around(lambda h, step=step: computed_at.append(step) or h, torch.zeros(1), Place("input", 0))  # type: ignore[misc,func-returns-value]
    assert computed_at == [0, 2, 4]


def test_another_size_is_computed() -> None:
    begun = FeatureReuse(0, EveryNth(100)).begin()
    shapes = []
    for side in (2, 2, 3):
        (around,) = begun(Call(torch.zeros(1, 4, side, side), 1.0, (0,))).inner
        shapes.append(around(lambda h: h, torch.zeros(1, 1, side, side), Place("input", 0)).shape[-1])
    assert shapes == [2, 2, 3]


def test_other_stages_are_always_computed() -> None:
    reuse = FeatureReuse(2, EveryNth(3))
    assert computed(reuse, [1.0, 2.0, 3.0], place=Place("input", 1)) == {(0, 1): [0, 1, 2]}


def test_outside_of_the_window_all_is_computed() -> None:
    """Noise levels 10, 9, ... 1; the window's first step is computed too, since nothing was kept before it."""
    reuse = FeatureReuse(2, EveryNth(100), Window(highest=8.0, lowest=5.0))
    assert computed(reuse, range(1, 9)) == {(0, 1): [0, 1, 2, 6, 7]}


@pytest.mark.parametrize(
    ("policy", "steps"),
    [
        (WhileAlike(0.0), [0, 1, 2, 3, 4, 5]),
        (WhileAlike(0.15), [0, 2, 4]),
        (WhileAlike(0.25), [0, 3]),
        (WhileAlike(10.0), [0]),
        (WhileAlike(10.0, most=1), [0, 2, 4]),
        (WhileAlike(10.0, most=0), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_it_is_computed_when_what_goes_in_has_moved_away(policy: Policy, steps: list[int]) -> None:
    """Changes count from the last computed step, so that small ones add up: a tenth of 1, a step."""
    given = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
    assert computed(FeatureReuse(2, policy), given) == {(0, 1): steps}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EveryNth(0), "interval is a number of steps"),
        (lambda: WhileAlike(-0.1), "threshold"),
        (lambda: WhileAlike(float("nan")), "threshold"),
        (lambda: WhileAlike(0.1, most=-1), "threshold"),
        (lambda: FeatureReuse(-1, EveryNth(2)), "depth is a stage"),
    ],
)
def test_settings_out_of_bounds_are_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()
