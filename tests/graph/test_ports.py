"""Types of sockets, the values they take, and the metadata that bounds them."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph import Choice, Folders, Range, Seed, ValueRefused
from graph.ports import nearest
from graph.sockets import accept, fits

NOWHERE = Folders(models=())


@pytest.mark.parametrize(
    ("source", "target", "fit"),
    [
        ("IMAGE", "IMAGE", True),
        ("IMAGE", "MASK", False),
        ("*", "IMAGE", True),
        ("IMAGE", "*", True),
        ("INT", "FLOAT", True),
        ("FLOAT", "INT", False),
        ("INT", "FLOAT,STRING", True),
        ("IMAGE,MASK", "MASK,LATENT", True),
        ("IMAGE,MASK", "LATENT", False),
        ("STRING", "COMBO", True),
        ("COMBO", "STRING", True),
        ("BOOLEAN", "INT", False),
    ],
)
def test_what_may_be_linked(source: str, target: str, fit: bool) -> None:
    assert fits(source, target) is fit


@pytest.mark.parametrize(
    ("socket", "value", "taken"),
    [
        ("INT", 3, 3),
        ("INT", 3.0, 3),
        ("INT", "3", 3),
        ("INT", "3.0", 3),
        ("INT,BOOLEAN", True, True),
        ("FLOAT", 3, 3.0),
        ("FLOAT", "0.5", 0.5),
        ("STRING", 3, "3"),
        ("BOOLEAN", "false", False),
        ("BOOLEAN", 1, True),
        ("COMBO", "a", "a"),
        ("INT,STRING", "3", "3"),
        ("INT,STRING", 3, 3),
        ("INT,IMAGE", None, None),
    ],
)
def test_values_as_they_are_taken(socket: str, value: Any, taken: Any) -> None:
    assert accept(socket, value) == taken
    assert type(accept(socket, value)) is type(taken)


@pytest.mark.parametrize(
    ("socket", "value"),
    [
        ("INT", 2.5),
        ("INT", "2.5"),
        ("INT", "x"),
        ("INT", None),
        ("INT", math.nan),
        ("INT", []),
        ("INT", True),
        ("FLOAT", False),
        ("INT,FLOAT", True),
        ("FLOAT", "x"),
        ("FLOAT", math.inf),
        ("FLOAT", 10**400),
        ("FLOAT", None),
        ("STRING", None),
        ("STRING", {}),
        ("BOOLEAN", 2),
        ("BOOLEAN", "yes"),
        ("INT,FLOAT", "x"),
    ],
)
def test_values_that_are_refused(socket: str, value: Any) -> None:
    with pytest.raises(ValueRefused):
        accept(socket, value)


def test_numbers_of_other_libraries_are_numbers() -> None:
    import numpy as np
    import torch

    assert accept("INT", np.int64(3)) == 3
    assert accept("FLOAT", np.float32(0.5)) == 0.5
    assert accept("FLOAT", torch.tensor(0.5)) == 0.5


@given(st.integers() | st.floats(allow_nan=False), st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_a_range_takes_what_lies_in_it(value: float, low: float, high: float) -> None:
    problem = Range(low, high).problem(value, NOWHERE)
    assert (problem is None) == (low <= value <= high)


def test_ranges_describe_themselves() -> None:
    assert Range(0, 1, step=0.1).describe(NOWHERE) == {"min": 0, "max": 1, "step": 0.1}
    assert Range(-math.inf, 5).describe(NOWHERE) == {"max": 5}
    assert Seed().describe(NOWHERE) == {"min": 0, "max": 2**64 - 1, "control_after_generate": True}


def test_choices_may_grow() -> None:
    names = ["a"]
    rule = Choice(lambda: names)
    assert rule.problem("b", NOWHERE) is not None
    names.append("b")
    assert rule.problem("b", NOWHERE) is None


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("KSmapler", "KSampler"),
        ("ksampler", "KSampler"),
        ("vaedecode", "VAEDecode"),
        ("Zebra", None),
        ("", None),
    ],
)
def test_the_nearest_name(name: str, found: str | None) -> None:
    assert nearest(name, ["KSampler", "VAEDecode", "LoadImage"]) == found
