"""Describes nodes to editors and other tools, in the shape of the field's /object_info."""

from __future__ import annotations

from typing import Any

from graph.folders import Folders
from graph.ports import Choice, File
from graph.registry import Registry
from graph.sockets import WIDGETS
from graph.spec import NodeSpec, Port


def describe(spec: NodeSpec, folders: Folders) -> dict[str, Any]:
    """A node as a JSON object: its inputs with types and options, its outputs, and what it is called.

    An input is [type, options]; where a value is chosen, the type is the list of choices, as they are now.
    """
    inputs: dict[str, dict[str, Any]] = {"required": {}, "optional": {}}
    for port in spec.inputs:
        inputs["optional" if port.optional else "required"][port.name] = describe_input(port, folders)
    return {
        "input": {section: given for section, given in inputs.items() if given or section == "required"},
        "input_order": {
            section: list(given) for section, given in inputs.items() if given or section == "required"
        },
        "is_input_list": bool(spec.whole_lists),
        "output": [output.socket for output in spec.outputs],
        "output_is_list": [output.is_list for output in spec.outputs],
        "output_name": [output.name for output in spec.outputs],
        "output_tooltips": [output.tooltip or None for output in spec.outputs],
        "name": spec.name,
        "display_name": spec.title,
        "description": spec.description,
        "python_module": spec.module,
        "category": spec.category,
        "output_node": spec.output,
    }


def describe_all(registry: Registry, folders: Folders) -> dict[str, Any]:
    """Every node of a registry, by class id."""
    return {name: describe(spec, folders) for name, spec in registry.items()}


def describe_input(port: Port, folders: Folders) -> list[Any]:
    """An input as [type, options]."""
    options: dict[str, Any] = {}
    if not port.required and port.default is not None:
        options["default"] = port.default
    if port.rule is not None:
        options |= port.rule.describe(folders)
    if port.tooltip:
        options["tooltip"] = port.tooltip
    if port.lazy:
        options["lazy"] = True
    if port.is_list and port.socket in WIDGETS:
        options["forceInput"] = True
    return [_type(port, folders), options]


def _type(port: Port, folders: Folders) -> str | list[str]:
    if isinstance(port.rule, Choice | File):
        return list(port.rule.choices(folders))
    return port.socket
