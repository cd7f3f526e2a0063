"""What @node makes of a signature, and what it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal, NamedTuple

import pytest

from graph import (
    QUIET,
    Choice,
    Context,
    DeclarationError,
    Expansion,
    Lazy,
    Range,
    Seed,
    Shown,
    Socket,
    Text,
    node,
    spec_of,
)
from tests.graph.toys import Image, Pair, T, add, sampler, split, switch


def test_the_function_stays_itself() -> None:
    assert add(a=2, b=3) == 5
    assert split(value=4) == Pair(4, "4")
    assert switch(which=True, yes=Lazy.of("y"), no=Lazy.of("n")) == "y"


def test_everything_comes_from_the_signature() -> None:
    spec = spec_of(sampler)
    assert (spec.name, spec.title, spec.category) == ("Sampler", "Sample it", "toys/sampling")
    assert [(port.name, port.socket, port.required, port.optional) for port in spec.inputs] == [
        ("image", "IMAGE", True, False),
        ("seed", "INT", False, False),
        ("steps", "INT", False, False),
        ("cfg", "FLOAT", False, False),
        ("method", "COMBO", False, False),
        ("text", "STRING", False, False),
        ("mask", "MASK", False, True),
    ]
    assert [(output.name, output.socket, output.tooltip) for output in spec.outputs] == [
        ("IMAGE", "IMAGE", "the picture")
    ]
    assert spec.ports["steps"].tooltip == "how many steps are taken"
    assert spec.description == "Make an image out of an image.\n\nA second paragraph."
    assert "toys.py:" in spec.where


def test_outputs_are_named_by_a_named_tuple() -> None:
    assert [(output.name, output.socket) for output in spec_of(split).outputs] == [
        ("FIRST", "INT"),
        ("SECOND", "STRING"),
    ]


def test_sockets_of_all_kinds_of_hints() -> None:
    class Thing: ...

    def every(
        *,
        thing: Thing,
        anything: Any,
        same: T,
        either: int | float,
        flag: bool = True,
        renamed: Annotated[Thing, Socket("CONTROL_NET")],
        menu: Literal["a", "b"] = "a",
        lazy: Lazy[Image] | None = None,
        whole: list[Image],
        lazy_list: Lazy[list[int]],
        ctx: Context = QUIET,
    ) -> list[Thing]:
        """Every kind."""
        return [thing]

    every.__annotations__ = {
        "thing": Thing, "anything": Any, "same": T, "either": int | float, "flag": bool,
        "renamed": Annotated[Thing, Socket("CONTROL_NET")], "menu": Literal["a", "b"], "lazy": Lazy[Image] | None,
        "whole": list[Image], "lazy_list": Lazy[list[int]], "ctx": Context, "return": list[Thing],
    }  # fmt: skip
    spec = spec_of(node("Every", category="toys")(every))
    sockets = {port.name: port.socket for port in spec.inputs}
    assert sockets == {
        "thing": "THING",
        "anything": "*",
        "same": "*",
        "either": "INT,FLOAT",
        "flag": "BOOLEAN",
        "renamed": "CONTROL_NET",
        "menu": "COMBO",
        "lazy": "IMAGE",
        "whole": "IMAGE",
        "lazy_list": "INT",
    }
    assert {port.name for port in spec.inputs if port.lazy} == {"lazy", "lazy_list"}
    assert {port.name for port in spec.inputs if port.is_list} == {"whole", "lazy_list"}
    assert spec.context == "ctx"
    assert [(output.socket, output.is_list) for output in spec.outputs] == [("THING", True)]


def test_shown_and_expansion_are_no_outputs_of_their_own() -> None:
    @node("Either", category="toys")
    def either() -> Shown[int] | Expansion[int]:
        """One of both."""
        return Shown(1)

    @node("Nothing", category="toys", output=True)
    def nothing() -> Shown[None]:
        """No outputs."""
        return Shown(None)

    assert [output.socket for output in spec_of(either).outputs] == ["INT"]
    assert spec_of(nothing).outputs == ()


def declared(function: Callable[..., Any], name: str = "X", **options: Any) -> str:
    """The message that refuses a declaration."""
    with pytest.raises(DeclarationError) as refused:
        node(name, category="toys", **options)(function)
    message = str(refused.value)
    assert function.__qualname__ in message
    assert "test_declare.py:" in message
    return message


def test_a_missing_docstring_is_refused() -> None:
    def silent() -> int:
        return 1

    assert "no docstring" in declared(silent)


def test_missing_hints_are_all_refused_at_once() -> None:
    def bare(a, b=1):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
        """Bare."""

    message = declared(bare)
    assert "parameter a has no type hint" in message
    assert "parameter b has no type hint" in message
    assert "no return type" in message


def test_an_unresolvable_hint_is_refused() -> None:
    def lost(a: Nowhere) -> int:  # type: ignore[name-defined] # noqa: F821
        """Lost."""
        return 1

    assert "'Nowhere' is not defined" in declared(lost)


@pytest.mark.parametrize(
    ("hint", "default", "said"),
    [
        (Annotated[int, Range(1, 10)], 11, "at most 10"),
        (Annotated[int, Range(10, 1)], 5, "empty"),
        (Annotated[str, Range(1, 10)], "a", "int and float only"),
        (Annotated[float, Seed()], 1.0, "int only"),
        (Annotated[int, Text()], 1, "str only"),
        (Annotated[int, Choice(("a",))], 1, "str only"),
        (Annotated[str, Choice(("a", "b"))], "c", "one of 'a', 'b'"),
        (Annotated[int, Range], 1, "must be called"),
        (int, "many", "a whole number"),
        (int, 1.5, "a whole number"),
        (float, math.nan, "a finite number"),
        (bool, "perhaps", "true or false"),
        (Image, None, "T | None = None"),
        (Image, 3, "T | None = None"),
        (list, None, "list[T]"),
        (list[list[int]], None, "list of lists"),
        (int | None, ..., "may be None but has no default"),
        (set[int], None, "no type of a value"),
        (Callable[[], int], None, "no type of a value"),
        (Literal[1, 2], 1, "strings only"),
        (list[int] | int, None, "plain types only"),
        (3, None, "no type of a value"),
    ],
)
def test_a_wrong_input_is_refused(hint: Any, default: Any, said: str) -> None:
    def wrong(*, a=default) -> int:  # type: ignore[no-untyped-def] # noqa: ANN001
        """Wrong."""
        return 1

    wrong.__annotations__["a"] = hint
    if default is ...:
        wrong.__kwdefaults__ = None
    assert said in declared(wrong)


@pytest.mark.parametrize(
    ("hint", "said"),
    [(Shown, "Shown[T]"), (Expansion, "Expansion[T]"), (Lazy[int], "cannot be Lazy"), (list, "list[T]")],
)
def test_a_wrong_output_is_refused(hint: Any, said: str) -> None:
    def wrong():  # type: ignore[no-untyped-def] # noqa: ANN202
        """Wrong."""

    wrong.__annotations__["return"] = hint
    assert said in declared(wrong)


def test_inputs_go_by_name() -> None:
    def positional(a: int, /, *rest: int, **more: int) -> int:
        """By position."""
        return a

    message = declared(positional)
    assert all(f"parameter {name}: inputs go by name" in message for name in ("a", "rest", "more"))


def test_other_wrong_declarations() -> None:
    def two(*, first: Context = QUIET, second: Context = QUIET) -> int:
        """Two contexts."""
        return 1

    def drifted(*, a: int) -> int:
        """Documented wrongly.

        Inputs:
            b: gone
        """
        return a

    def many() -> Iterator[int]:
        """Yields."""
        yield 1

    assert "both Context" in declared(two)
    assert 'lists b under "Inputs:"' in declared(drifted)
    assert "it yields" in declared(many)
    assert "class id is empty" in declared(two, name="")


def test_a_fingerprint_takes_only_what_there_is() -> None:
    def plain(*, a: int = 1) -> int:
        """Plain."""
        return a

    assert "fingerprint takes b" in declared(plain, fingerprint=lambda b: b)
    spec = spec_of(node("Y", category="toys", fingerprint=lambda a, folders: a)(plain))
    assert spec.fingerprint_takes == {"a", "folders"}


def test_a_named_tuple_inside_may_hold_lists() -> None:
    class Mixed(NamedTuple):
        ONE: int
        MANY: list[int]

    def mixed():  # type: ignore[no-untyped-def] # noqa: ANN202
        """One and many."""

    mixed.__annotations__["return"] = Mixed
    Mixed.__annotations__ = {"ONE": int, "MANY": list[int]}
    spec = spec_of(node("Mixed", category="toys")(mixed))
    assert [(output.name, output.is_list) for output in spec.outputs] == [("ONE", False), ("MANY", True)]
