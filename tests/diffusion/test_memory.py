"""Amounts of memory, what the machine has, which layers stay, and what is tried when memory runs out."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from diffusion.memory.machine import available_bytes, default_budget, private_bytes
from diffusion.memory.plan import least, passing, staying
from diffusion.memory.shortage import NotEnoughMemory, is_shortage, with_relief
from diffusion.memory.sizes import parse_size, readable
from diffusion.placement import choose_placement

MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2_000_000_000),
        ("2GiB", 2 << 30),
        ("1500 MB", 1_500_000_000),
        (" 0.5gb ", 500_000_000),
        (".25TB", 250_000_000_000),
        ("4096kib", 4 << 20),
        ("123456789B", 123_456_789),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "2", "GB", "two GB", "-2GB", "2GB!", "1,5GB", "2 G B", "nanGB", "1e3MB", "0MB"]
)
def test_nonsense_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="write a"):
        parse_size(text)


def test_sizes_are_shown_with_three_digits() -> None:
    sizes = (0, 999, 12_300, 350_000_000, 1_720_000_000)
    assert [readable(size) for size in sizes] == ["0 bytes", "999 bytes", "12.3 kB", "350 MB", "1.72 GB"]


def test_a_limit_is_read_with_the_placement() -> None:
    assert choose_placement("cpu", "fp32").memory_limit is None
    assert choose_placement("cpu", "fp32", "64GB").memory_limit == 64_000_000_000


@pytest.mark.parametrize("text", ["10MB", "1B"])
def test_a_limit_below_what_the_process_takes_already_names_the_least(text: str) -> None:
    with pytest.raises(ValueError, match=r"too small: .* is taken .* give \d+MB at least") as refusal:
        choose_placement("cpu", "fp32", text)
    named = str(refusal.value).split("give ")[1].split(" ")[0]
    assert choose_placement("cpu", "fp32", named).memory_limit == parse_size(named)


def test_memory_is_what_is_free_within_the_containers_limit(tmp_path: Path) -> None:
    meminfo, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    meminfo.write_text("MemTotal:  99 kB\nMemAvailable:    2048 kB\n")
    limit.write_text("max\n")
    missing = tmp_path / "missing"
    assert available_bytes(meminfo, [limit, missing]) == 2048 * 1024
    limit.write_text("1000000\n")
    assert available_bytes(meminfo, [limit, missing]) == 1_000_000
    assert available_bytes(missing, [missing]) is None
    assert available_bytes(missing, [limit]) == 1_000_000


def test_the_machines_own_figures_make_sense() -> None:
    before = private_bytes()
    held = torch.ones(64 * MEGABYTE, dtype=torch.uint8)
    assert private_bytes() - before > 60 * MEGABYTE
    assert default_budget(torch.device("cpu")) > 0
    del held


Sizes = st.lists(st.integers(1, 60 * MEGABYTE), min_size=1, max_size=80)


@given(Sizes, st.integers(0, 1 << 32))
def test_a_plan_fits_its_room(sizes: list[int], room: int) -> None:
    stay = staying(sizes, room)
    if stay is None:
        assert room < least(sizes)
        return
    streamed = [place for place in range(len(sizes)) if place not in stay]
    assert sum(sizes[place] for place in stay) + passing(sizes, streamed) <= room
    assert stay == staying(sizes, room), "the same room gives the same plan"


@given(Sizes)
def test_all_stay_where_all_fit_and_the_least_room_is_enough(sizes: list[int]) -> None:
    assert staying(sizes, sum(sizes)) == frozenset(range(len(sizes)))
    assert staying(sizes, least(sizes)) is not None


def test_what_is_streamed_lies_evenly_between_what_stays() -> None:
    stay = staying([MEGABYTE] * 120, 90 * MEGABYTE)
    assert stay is not None
    streamed = [place for place in range(120) if place not in stay]
    assert 30 <= len(streamed) <= 35
    gaps = {after - before for before, after in itertools.pairwise(streamed)}
    assert max(gaps) - min(gaps) <= 1


def test_more_room_keeps_more() -> None:
    sizes = [MEGABYTE * (1 + number % 7) for number in range(100)]
    kept = [
        sum(sizes[place] for place in staying(sizes, room * MEGABYTE) or ()) for room in range(0, 420, 10)
    ]
    assert kept == sorted(kept)
    assert kept[-1] == sum(sizes)


OUT = (
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has ..."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:123] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
        "allocate 12000000 bytes. Error code 12 (Cannot allocate memory)"
    ),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 12000000 bytes."),
)


class Script:
    """A step that fails so many times with an error, and says what was done."""

    def __init__(self, error: BaseException, failures: int) -> None:
        self.error, self.failures, self.done = error, failures, list[str]()

    def step(self, name: str) -> Callable[[], str]:
        def run() -> str:
            self.done.append(name)
            if self.failures:
                self.failures -= 1
                raise self.error
            return name

        return run

    def run(self) -> str:
        return with_relief(
            self.step("whole"),
            relieve=lambda: self.done.append("relieve"),
            smaller=[self.step("halves"), self.step("quarters")],
            situation=lambda: "The situation.",
        )


@pytest.mark.parametrize("error", OUT, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("failures", "done"),
    [
        (0, ["whole"]),
        (1, ["whole", "relieve", "whole"]),
        (2, ["whole", "relieve", "whole", "relieve", "halves"]),
        (3, ["whole", "relieve", "whole", "relieve", "halves", "relieve", "quarters"]),
    ],
)
def test_first_models_go_then_steps_get_smaller(error: BaseException, failures: int, done: list[str]) -> None:
    script = Script(error, failures)
    assert script.run() == done[-1]
    assert script.done == done


def test_when_nothing_helps_the_error_names_sizes() -> None:
    with pytest.raises(NotEnoughMemory, match=r"2\.68 GB more were wanted at once\. The situation\."):
        Script(OUT[1], 99).run()
    with pytest.raises(NotEnoughMemory, match=r"12 MB more were wanted at once\. The situation\."):
        Script(OUT[2], 99).run()
    with pytest.raises(NotEnoughMemory, match=r"There is not enough memory\. The situation\."):
        Script(OUT[0], 99).run()


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("bad"), OSError()]
)
def test_other_errors_are_not_retried(error: BaseException) -> None:
    script = Script(error, 99)
    with pytest.raises(type(error)):
        script.run()
    assert script.done == ["whole"]
    assert not is_shortage(error)


def test_what_a_failed_attempt_held_is_gone_before_the_next() -> None:
    """The traceback of the failure keeps the tensors of its frames."""
    alive: list[int] = []

    class Held:
        def __init__(self) -> None:
            alive.append(1)

        def __del__(self) -> None:
            alive.pop()

    def fail() -> None:
        held = Held()
        raise MemoryError(held is None)

    with pytest.raises(NotEnoughMemory):
        with_relief(fail, relieve=lambda: None, smaller=[lambda: _check(alive)], situation=lambda: "")


def _check(alive: list[int]) -> None:
    assert alive == []
    raise MemoryError
