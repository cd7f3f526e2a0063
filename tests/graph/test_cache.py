"""The cache: bounded in bytes, and what it lets go of first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from graph import Cache, Shown
from graph.sizes import measure


def key(name: str) -> bytes:
    return name.encode()


def block(kilobytes: int) -> bytes:
    return bytes(kilobytes << 10)


def test_what_is_put_is_got() -> None:
    cache = Cache()
    cache.put(key("a"), (1, "x"), {"images": []}, 0.5)
    entry = cache.get(key("a"))
    assert entry is not None
    assert (entry.outputs, entry.ui) == ((1, "x"), {"images": []})
    assert cache.get(key("b")) is None
    assert key("a") in cache
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)


def test_it_stays_within_its_bytes() -> None:
    cache = Cache(max_bytes=1 << 20)
    for i in range(500):
        cache.put(key(str(i)), (block(10),), None, 0.1)
        assert cache.nbytes <= 1 << 20
    assert 90 <= len(cache) <= 102


def test_what_is_cheap_to_make_again_goes_first() -> None:
    cache = Cache(max_bytes=100 << 10)
    cache.put(key("dear"), (block(30),), None, 10.0)
    for i in range(20):
        cache.put(key(f"cheap{i}"), (block(30),), None, 0.001)
    assert key("dear") in cache
    assert key("cheap19") in cache


def test_what_is_large_goes_before_what_is_small() -> None:
    cache = Cache(max_bytes=100 << 10)
    cache.put(key("small"), (block(5),), None, 1.0)
    cache.put(key("large"), (block(80),), None, 1.0)
    cache.put(key("more"), (block(30),), None, 1.0)
    assert (key("small") in cache, key("large") in cache) == (True, False)


def test_what_is_long_unused_goes_first() -> None:
    cache = Cache(max_bytes=100 << 10)
    for name in "abc":
        cache.put(key(name), (block(30),), None, 1.0)
    for i in range(10):
        cache.get(key("b"))
        cache.put(key(f"x{i}"), (block(30),), None, 1.0)
    assert key("b") in cache
    assert key("a") not in cache


def test_even_what_was_dear_goes_when_it_is_never_used() -> None:
    cache = Cache(max_bytes=100 << 10)
    cache.put(key("dear"), (block(30),), None, 5.0)
    for i in range(100):
        cache.put(key(str(i)), (block(30),), None, 1.0)
    assert key("dear") not in cache


def test_what_is_larger_than_the_cache_is_not_kept() -> None:
    cache = Cache(max_bytes=10 << 10)
    cache.put(key("a"), (1,), None, 1.0)
    cache.put(key("huge"), (block(11),), None, 1.0)
    assert (key("a") in cache, key("huge") in cache) == (True, False)


def test_a_buffer_held_twice_counts_once() -> None:
    cache = Cache(max_bytes=200 << 10)
    shared = block(100)
    cache.put(key("a"), (shared,), None, 1.0)
    once = cache.nbytes
    cache.put(key("b"), ((shared, 1),), None, 2.0)
    assert cache.nbytes - once < 4096
    cache.put(key("c"), (block(150),), None, 50.0)
    assert key("c") in cache
    assert cache.nbytes < 160 << 10


def test_equal_keys_mean_equal_results() -> None:
    cache = Cache()
    for _ in range(3):
        cache.put(key("a"), (block(10),), None, 1.0)
    assert len(cache) == 1
    assert cache.nbytes < 12 << 10


def size(value: Any) -> int:
    own, buffers = measure(value)
    return own + sum(buffers.values())


@dataclass(frozen=True, eq=False)
class Holder:
    tensor: torch.Tensor
    options: Mapping[str, Any]


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(1000, 100),
        np.zeros((1000, 100), np.float32),
        bytes(400_000),
        "x" * 400_000,
        [torch.zeros(500, 100), {"a": (torch.zeros(500, 100),)}],
        Holder(torch.zeros(1000, 100), {}),
        Shown(1, {"a": [np.zeros(100_000, np.float32)]}),
        torch.zeros(1000, 100)[:2],
        np.zeros((1000, 100), np.float32)[:2],
        [1.5] * 3 + [torch.zeros(100_000)] * 5,
    ],
    ids=[
        "tensor",
        "array",
        "bytes",
        "text",
        "nested",
        "dataclass",
        "shown",
        "view",
        "array view",
        "repeated",
    ],
)
def test_sizes_of_values(value: Any) -> None:
    assert 400_000 <= size(value) < 410_000


def test_a_class_may_say_what_it_costs() -> None:
    class Handle:
        cache_nbytes: ClassVar[int] = 1000

        def __init__(self) -> None:
            self.weights = bytes(1 << 20)

    assert 1000 <= size(Handle()) < 1200
    assert 2000 <= size((Handle(), Handle())) < 2500


def test_values_that_hold_themselves_or_cannot_be_looked_into() -> None:
    ring: list[Any] = [1]
    ring.append(ring)

    class Broken(Mapping[str, int]):
        def __getitem__(self, name: str) -> int:
            raise KeyError(name)

        def __iter__(self) -> Any:
            raise RuntimeError("gone")

        def __len__(self) -> int:
            return 1

    assert size(ring) < 1000
    assert size(Broken()) < 1000
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert size(deep) > 100_000
