"""Binds the inputs of one node to its ports: constants as the ports take them, defaults, and links."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from graph.errors import Problem, ValueRefused
from graph.folders import Folders
from graph.mapping import Items
from graph.ports import Rule
from graph.sockets import WIDGETS, accept, takes_constants
from graph.spec import NodeSpec, Port
from graph.values import Link

_DEEPEST = 100
_SCALARS = frozenset({int, float, str, bool})


class Bound(NamedTuple):
    """A node whose inputs are known: each is a constant, a default or a link."""

    id: str
    spec: NodeSpec
    constants: Mapping[str, Any]
    links: Mapping[str, Link]


def with_defaults(spec: NodeSpec, given: Mapping[str, Any], links: Mapping[str, Link]) -> Mapping[str, Any]:
    """The constants of a node: those given, and the defaults of the inputs that are not linked."""
    if not given and links.keys().isdisjoint(spec.defaults):
        return spec.defaults
    return {name: value for name, value in spec.defaults.items() if name not in links} | dict(given)


def bind_constant(port: Port, value: Any, folders: Folders) -> tuple[Any, Problem | None]:
    """The value that `port` takes for a constant of a workflow, or what is wrong with it."""
    if type(value) in _SCALARS and port.socket in WIDGETS and not port.is_list:
        return _bind_one(port, value, folders)
    if type(value) is list:
        return None, Problem(
            "bad_linked_input",
            'a link [node id, output index]; a list of values is written {"__value__": [...]}',
        )
    wrapped = isinstance(value, Mapping) and value.keys() == {"__value__"}
    if wrapped:
        value = value["__value__"]
    if not takes_constants(port.socket):
        return None, Problem("bad_linked_input", f"a link to an output of type {port.socket}")
    if port.socket not in WIDGETS:
        reason = unfit_for_json(value)
        if reason:
            return None, Problem("invalid_input_type", f"a value of JSON; this one {reason}")
    items = value if wrapped and port.is_list and isinstance(value, list) else [value]
    taken: list[Any] = []
    for item in items:
        accepted, problem = _bind_one(port, item, folders)
        if problem is not None:
            return None, problem
        taken.append(accepted)
    return (Items(taken) if port.is_list else taken[0]), None


def _bind_one(port: Port, value: Any, folders: Folders) -> tuple[Any, Problem | None]:
    try:
        accepted = accept(port.socket, value)
    except ValueRefused as error:
        return None, Problem("invalid_input_type", str(error))
    return accepted, rule_problem(port.rule, accepted, folders) if port.rule is not None else None


def rule_problem(rule: Rule, value: Any, folders: Folders) -> Problem | None:
    """What `rule` finds wrong; a rule that fails itself, such as choices that cannot be listed, is a problem too."""
    try:
        return rule.problem(value, folders)
    except Exception as error:
        return Problem(
            "exception_during_validation", f"a value that can be checked ({type(error).__name__}: {error})"
        )


def unfit_for_json(value: Any) -> str | None:
    """Why a value cannot stand in a workflow; None if it can."""
    pending = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        if depth > _DEEPEST:
            return f"is nested more than {_DEEPEST} deep"
        if isinstance(item, Mapping):
            if not all(isinstance(key, str) for key in item):
                return "has keys that are no texts"
            pending.extend((inner, depth + 1) for inner in item.values())
        elif isinstance(item, list | tuple):
            pending.extend((inner, depth + 1) for inner in item)
        elif isinstance(item, float):
            if not math.isfinite(item):
                return f"holds {item}"
        elif item is not None and not isinstance(item, str | int):
            return f"holds a {type(item).__name__}"
    return None
