"""Nodes that decide: truth values, and switches that run only the branch that is taken."""

from typing import Annotated, Any, TypeVar

from graph import Choice, Lazy, Range, node

T = TypeVar("T")


@node("BooleanLogic", title="Boolean Logic", category="logic")
def boolean_logic(
    *,
    a: bool,
    b: bool = False,
    operation: Annotated[str, Choice(("a and b", "a or b", "a xor b", "not a", "a and not b"))] = "a and b",
) -> bool:
    """Combine truth values.

    Inputs:
        a: The first.
        b: The second; `not a` does without it.
        operation: How.

    Outputs:
        BOOLEAN: The result.
    """
    return {
        "a and b": a and b,
        "a or b": a or b,
        "a xor b": a != b,
        "not a": not a,
        "a and not b": a and not b,
    }[operation]


@node("ComfySwitchNode", title="Switch", category="logic")
def switch(*, switch: bool, on_false: Lazy[T], on_true: Lazy[T]) -> T:
    """One of two values. Only what leads to the value that is taken runs.

    Inputs:
        switch: Which to take.
        on_false: What to take when it is false.
        on_true: What to take when it is true.

    Outputs:
        value: The value taken.
    """
    return on_true.value() if switch else on_false.value()


@node("IndexSwitch", title="Switch by Number", category="logic")
def index_switch(
    *,
    index: Annotated[int, Range(0, 7)] = 0,
    value0: Lazy[Any] | None = None,
    value1: Lazy[Any] | None = None,
    value2: Lazy[Any] | None = None,
    value3: Lazy[Any] | None = None,
    value4: Lazy[Any] | None = None,
    value5: Lazy[Any] | None = None,
    value6: Lazy[Any] | None = None,
    value7: Lazy[Any] | None = None,
) -> Any:
    """One of several values. Only what leads to the value that is taken runs.

    Inputs:
        index: Which to take, 0 to 7.
        value0: What to take at 0.
        value1: What to take at 1.
        value2: What to take at 2.
        value3: What to take at 3.
        value4: What to take at 4.
        value5: What to take at 5.
        value6: What to take at 6.
        value7: What to take at 7.

    Outputs:
        value: The value taken.
    """
    values = (value0, value1, value2, value3, value4, value5, value6, value7)
    chosen = values[index]
    if chosen is None:
        connected = ", ".join(str(number) for number, value in enumerate(values) if value is not None)
        raise ValueError(
            f"The switch is set to {index}, and nothing is connected to value{index}. Connected: {connected or 'none'}."
        )
    return chosen.value()
