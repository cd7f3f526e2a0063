"""Nodes for loops: what stands between a start and its end runs again, with the values that came out of it.

A loop that does the same for each item of a list needs none of these: what is linked to a list runs for each item.
"""

from typing import Annotated, Any

from graph import QUIET, Context, Expansion, Lazy, Range, Workflow, node
from nodes.loop_body import Enclosing, Loop, Started, Values, next_round

MOST_ROUNDS = 10_000


@node("ForLoopStart", title="For Loop: Start", category="logic/loops")
def for_loop_start(
    *,
    total: Annotated[int, Range(0, MOST_ROUNDS)] = 4,
    value1: Any = None,
    value2: Any = None,
    value3: Any = None,
    value4: Any = None,
    outer: Enclosing | None = None,
    ctx: Context = QUIET,
) -> Started:
    """Begin a loop of so many rounds. Connect `loop` to a For Loop: End.

    Inputs:
        total: How many rounds; with 0 nothing between start and end runs.
        value1: A value for the first round.
        value2: Another.
        value3: Another.
        value4: Another.
        outer: Leave it unconnected: a loop around this one fills it in.

    Outputs:
        loop: For the end of the loop.
        number: Which round it is, counted from 0.
        value1: The value in this round: what came to the end in the round before.
        value2: Another.
        value3: Another.
        value4: Another.
    """
    return Loop.first(outer, ctx.node_id, total, (value1, value2, value3, value4)).started()


@node("ForLoopEnd", title="For Loop: End", category="logic/loops")
def for_loop_end(
    *,
    loop: Loop,
    value1: Lazy[Any] | None = None,
    value2: Lazy[Any] | None = None,
    value3: Lazy[Any] | None = None,
    value4: Lazy[Any] | None = None,
    ctx: Context = QUIET,
) -> Values | Expansion[Values]:
    """End a loop: go to the next round, or on after the last.

    Inputs:
        loop: From the start of the loop, directly.
        value1: What value1 is in the next round; as before when it is not connected.
        value2: The same for value2.
        value3: The same for value3.
        value4: The same for value4.

    Outputs:
        value1: What came to the end in the last round; the start's own value when there was none.
        value2: Another.
        value3: Another.
        value4: Another.
    """
    if loop.total is None:
        raise ValueError("A For Loop: End is connected to a While Loop: Start. Use the end of the same kind.")
    if loop.total == 0:
        return loop.values
    given = (value1, value2, value3, value4)
    values = loop.carried(None if value is None else value.value() for value in given)
    if loop.index + 1 >= loop.total:
        return values
    return next_round(Workflow.from_json(ctx.workflow), loop, values)


@node("WhileLoopStart", title="While Loop: Start", category="logic/loops")
def while_loop_start(
    *,
    value1: Any = None,
    value2: Any = None,
    value3: Any = None,
    value4: Any = None,
    outer: Enclosing | None = None,
    ctx: Context = QUIET,
) -> Started:
    """Begin a loop that goes on while a condition holds. Connect `loop` to a While Loop: End.

    Inputs:
        value1: A value for the first round.
        value2: Another.
        value3: Another.
        value4: Another.
        outer: Leave it unconnected: a loop around this one fills it in.

    Outputs:
        loop: For the end of the loop.
        number: Which round it is, counted from 0.
        value1: The value in this round: what came to the end in the round before.
        value2: Another.
        value3: Another.
        value4: Another.
    """
    return Loop.first(outer, ctx.node_id, None, (value1, value2, value3, value4)).started()


@node("WhileLoopEnd", title="While Loop: End", category="logic/loops")
def while_loop_end(
    *,
    loop: Loop,
    condition: bool,
    most_rounds: Annotated[int, Range(1, MOST_ROUNDS)] = 100,
    value1: Any = None,
    value2: Any = None,
    value3: Any = None,
    value4: Any = None,
    ctx: Context = QUIET,
) -> Values | Expansion[Values]:
    """End a loop: another round while the condition holds. The first round always runs.

    Inputs:
        loop: From the start of the loop, directly.
        condition: Whether to go on, found in this round.
        most_rounds: A loop that would take more fails, instead of going on for ever.
        value1: What value1 is in the next round; as before when it is not connected.
        value2: The same for value2.
        value3: The same for value3.
        value4: The same for value4.

    Outputs:
        value1: What came to the end in the last round.
        value2: Another.
        value3: Another.
        value4: Another.
    """
    if loop.total is not None:
        raise ValueError("A While Loop: End is connected to a For Loop: Start. Use the end of the same kind.")
    values = loop.carried((value1, value2, value3, value4))
    if not condition:
        return values
    if loop.index + 1 >= most_rounds:
        raise ValueError(
            f"The loop has run {most_rounds} times and its condition still holds. Correct the condition, or raise "
            "most_rounds."
        )
    return next_round(Workflow.from_json(ctx.workflow), loop, values)
