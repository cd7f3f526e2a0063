"""What goes into a node's function and what comes out of it: inputs made ready, results and errors read."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from graph.binding import Bound, rule_problem
from graph.errors import ValueRefused
from graph.events import NodeError
from graph.folders import Folders
from graph.mapping import Items
from graph.sockets import WIDGETS, accept
from graph.spec import NodeSpec, Output, Port
from graph.values import Expansion, Shown
from graph.wording import described, meant, shown

_EXACT = {"INT": int, "STRING": str, "BOOLEAN": bool}
_HERE = str(Path(__file__).parent)


class Part(NamedTuple):
    """What one call of a node gave: its outputs, or a sub-graph that will give them."""

    outputs: tuple[Any, ...]
    expansion: Expansion[Any] | None
    ui: Mapping[str, Any] | None


def ready_inputs(node: Bound, values: Mapping[str, tuple[Any, ...]], folders: Folders) -> dict[str, Any]:
    """The node's inputs by name, those over links taken from `values` and checked. Raises ValueRefused."""
    spec = node.spec
    inputs = dict(node.constants)
    for name, link in node.links.items():
        port = spec.ports[name]
        if port.lazy:
            inputs[name] = link
            continue
        value = values[link.node][link.output]
        as_it_is = port.socket not in WIDGETS or type(value) is _EXACT.get(port.socket)
        unchecked = as_it_is and port.rule is None and port.classes is None
        inputs[name] = value if unchecked else receive(port, value, folders)
    return inputs


def receive(port: Port, value: Any, folders: Folders) -> Any:
    """A value, or each item of a fanned-out list, as `port` takes it. Raises ValueRefused."""
    if type(value) is Items:
        return Items(_receive_one(port, item, folders) for item in value)
    return _receive_one(port, value, folders)


def _receive_one(port: Port, value: Any, folders: Folders) -> Any:
    if value is None and port.optional:
        return None
    try:
        accepted = accept(port.socket, value)
    except ValueRefused as error:
        raise ValueRefused(f"input {port.name}: found {described(value)}, expected {error}") from None
    if port.classes is not None and not isinstance(accepted, port.classes):
        # Out of an output that may be anything, which no link can be refused for.
        raise ValueRefused(
            f"input {port.name}: found {described(value)}, expected a value of type {port.socket}: link it to a node "
            "that makes one"
        )
    problem = rule_problem(port.rule, accepted, folders) if port.rule is not None else None
    if problem is not None:
        hint = meant(problem.nearest)
        raise ValueRefused(f"input {port.name}: found {shown(accepted)}, expected {problem.expected}.{hint}")
    return accepted


def read_result(spec: NodeSpec, result: Any) -> Part:
    """What a call returned, as outputs in their declared order. Raises ValueRefused if it is not what was declared."""
    ui = None
    if isinstance(result, Shown):
        ui, result = result.ui, result.value
    if isinstance(result, Expansion):
        return Part((), result, ui)
    outputs = spec.outputs
    if spec.named:
        if not isinstance(result, tuple) or len(result) != len(outputs):
            names = ", ".join(output.name for output in outputs)
            raise ValueRefused(
                f"it returned {described(result)}, where {len(outputs)} values were declared: {names}"
            )
        values = tuple(result)
    elif outputs:
        values = (result,)
    elif result is None:
        values = ()
    else:
        raise ValueRefused(f"it returned {described(result)}, where nothing was declared")
    if spec.fans_out:
        values = tuple(fan_out(output, value) for output, value in zip(outputs, values, strict=True))
    for output, value in zip(outputs, values, strict=True):
        classes = output.classes
        if classes is not None and (output.is_list or not isinstance(value, classes)):
            check_output(spec, output, value)
    return Part(values, None, ui)


def check_output(spec: NodeSpec, output: Output, value: Any) -> None:
    """Raises ValueRefused if a value, or an item of a fanned-out list, is no instance of what the output declares."""
    classes = output.classes
    if classes is None or (not output.is_list and isinstance(value, classes)):
        return
    for item in value if output.is_list and type(value) is Items else (value,):
        if not isinstance(item, classes):
            kind = type(item).__name__
            found = "None" if item is None else f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"
            named = f" as {output.name}" if spec.named else ""
            within = " in its list" if output.is_list else ""
            raise ValueRefused(
                f"{spec.name} returned {found}{named}{within} where its signature says {output.socket}"
            )


def fan_out(output: Output, value: Any) -> Any:
    """An output's value; the items of a list when the output is declared as one. Raises ValueRefused."""
    if not output.is_list or type(value) is Items:
        return value
    if not isinstance(value, list | tuple):
        raise ValueRefused(f"output {output.name} is {described(value)}, where a list was declared")
    return Items(value)


def node_error(
    node: Bound, origin: str, title: str, error: BaseException, inputs: Mapping[str, Any]
) -> NodeError:
    """What is to be told of a failure. Nothing in it refers to the values that were at work."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return NodeError(
        node=node.id,
        origin=origin,
        class_type=node.spec.name,
        title=title,
        message=str(error) or kind.__name__,
        exception_type=name,
        where=_line_at_work(node.spec, error.__traceback__),
        traceback=tuple(traceback.format_exception(kind, error, _from_node(error.__traceback__))),
        inputs={name: described(value) for name, value in inputs.items()},
    )


def _line_at_work(spec: NodeSpec, trace: TracebackType | None) -> str:
    """ "folder/file.py:line" of the innermost frame in the file of the node's function; "" if it was not at work.

    For a wrong return value, which is found when that frame is gone, it is where the function stands.
    """
    file, _, declared = spec.where.rpartition(":")
    line = ""
    for frame, number in traceback.walk_tb(trace):
        if frame.f_code.co_filename == file:
            line = str(number)
        elif frame.f_code is check_output.__code__:
            line = declared
    return f"{'/'.join(Path(file).parts[-2:])}:{line}" if file and line else ""


def _from_node(trace: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame on that is not the executor's own."""
    first = trace
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_HERE):
        first = first.tb_next
    return first
