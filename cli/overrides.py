"""--set and --seed: changes to a workflow before it runs."""

import json
from collections.abc import Iterable

from graph import Link, NodeSpec, Port, Registry, Seed, Workflow
from graph.ports import nearest

_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_SHOWN = 120
_LISTED = 30
_EXPECTED = {"INT": "a whole number", "FLOAT": "a number", "BOOLEAN": "true or false"}


class BadOverride(ValueError):
    """A --set or --seed that can't be carried out. The message says which and why."""


def with_overrides(
    workflow: Workflow, registry: Registry, settings: Iterable[str], seed: int | None
) -> Workflow:
    """The workflow with `seed` in every node that has a seed, then each `NODE.INPUT=VALUE` carried out."""
    if seed is not None:
        workflow = _with_seed(workflow, registry, seed)
    for setting in settings:
        shown = "--set " + _shortened(setting)
        node_id, input_name, text = _read_setting(workflow, registry, setting, shown)
        port = _find_port(registry, workflow.nodes[node_id].class_type, input_name, shown)
        workflow = workflow.with_input(node_id, input_name, _value(port, text, shown))
    return workflow


def _read_setting(workflow: Workflow, registry: Registry, setting: str, shown: str) -> tuple[str, str, str]:
    """(node id, input, value) of NODE.INPUT=VALUE. A title may hold = and . itself: the first split that fits."""
    refusal: BadOverride | None = None
    for sign, letter in enumerate(setting):
        name, dot, input_name = setting[:sign].rpartition(".")
        if letter == "=" and dot:
            try:
                return _find_node(workflow, registry, name), input_name, setting[sign + 1 :]
            except KeyError as error:
                refusal = refusal or BadOverride(f"{shown}: {error.args[0]}")
    raise refusal or BadOverride(f"{shown}: write NODE.INPUT=VALUE, for example --set 'KSampler.steps=30'")


def _find_node(workflow: Workflow, registry: Registry, name: str) -> str:
    """The node with this id or title, or else the only one of this class or with its class's title.

    Raises KeyError, with a message that lists the nodes, for none or several.
    """
    try:
        return workflow.find(name)
    except KeyError as error:
        classes = {
            node_id: (node.class_type, registry[node.class_type].title)
            for node_id, node in workflow.nodes.items()
            if node.class_type in registry
        }
        alike = [node_id for node_id, names in classes.items() if name in names]
        if len(alike) == 1:
            return alike[0]
        problem = (
            f"{len(alike)} nodes are a {name}; say which by its id: {', '.join(alike)}"
            if alike
            else error.args[0]
        )
        known = ", ".join(
            f"{node_id} {node.title or classes.get(node_id, ('', node.class_type))[1]}"
            for node_id, node in list(workflow.nodes.items())[:_LISTED]
        )
        raise KeyError(problem if alike else f"{problem} There are: {known}") from error


def _shortened(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")


def _find_port(registry: Registry, class_type: str, input_name: str, shown: str) -> Port:
    spec: NodeSpec | None = registry.get(class_type)
    if spec is None:
        raise BadOverride(f"{shown}: the node's class {class_type!r} is not installed")
    if input_name not in spec.ports:
        close = nearest(input_name, spec.ports)
        hint = f"did you mean {close!r}?" if close else f"it has {', '.join(spec.ports) or 'none'}"
        raise BadOverride(f"{shown}: {spec.name} has no input {input_name!r}; {hint}")
    return spec.ports[input_name]


def _value(port: Port, text: str, shown: str) -> object:
    """The text as what the input takes. An input that takes no plain value can be given a link as JSON."""
    try:
        match port.socket:
            case "INT":
                return _whole_number(text)
            case "FLOAT":
                return float(text)
            case "BOOLEAN":
                return _BOOLEANS[text.strip().lower()]
            case "STRING" | "COMBO":
                return text
            case _:
                return _link(json.loads(text))
    except (ValueError, KeyError, RecursionError) as error:
        expected = _EXPECTED.get(port.socket, f'a link to a {port.socket} such as ["4", 0]')
        raise BadOverride(f"{shown}: {port.name} takes {expected}, not {_shortened(text)}") from error


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return int(text, 0)


def _link(value: object) -> object:
    match value:
        case [str() | int() as source, int(output)]:
            return Link(str(source), output)
    return value


def _with_seed(workflow: Workflow, registry: Registry, seed: int) -> Workflow:
    seeds = [
        (node_id, port.name)
        for node_id, node in workflow.nodes.items()
        if (spec := registry.get(node.class_type)) is not None
        for port in spec.inputs
        if isinstance(port.rule, Seed) and "seed" in port.name
    ]
    if not seeds:
        raise BadOverride(f"--seed {seed}: no node of this workflow has a seed")
    for node_id, name in seeds:
        workflow = workflow.with_input(node_id, name, seed)
    return workflow
