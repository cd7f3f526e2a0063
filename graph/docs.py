"""Writes a node's documentation, in Markdown, out of its signature and docstring."""

from __future__ import annotations

import json
from collections import defaultdict

from graph.folders import Folders
from graph.ports import Choice, File
from graph.registry import Registry
from graph.spec import NodeSpec, Output, Port

_MOST_CHOICES = 60


def document(spec: NodeSpec) -> str:
    """One node: what it does, its inputs and its outputs."""
    lines = [f"## {spec.name}", ""]
    facts = [f"Category `{spec.category}`"]
    if spec.title != spec.name:
        facts.append(f'titled "{spec.title}"')
    if spec.output:
        facts.append("an output node: runs start from it")
    lines += [", ".join(facts) + ".", ""]
    if spec.description:
        lines += [spec.description, ""]
    if spec.inputs:
        lines += ["| Input | Type | Default | Meaning |", "|---|---|---|---|"]
        lines += [_input_row(port) for port in spec.inputs]
        lines.append("")
    if spec.outputs:
        lines += ["| Output | Type | Meaning |", "|---|---|---|"]
        lines += [_output_row(output) for output in spec.outputs]
        lines.append("")
    return "\n".join(lines)


def document_all(registry: Registry, title: str = "Nodes") -> str:
    """All nodes of a registry by category, with a table of contents."""
    by_category: dict[str, list[NodeSpec]] = defaultdict(list)
    for spec in registry.values():
        by_category[spec.category].append(spec)
    lines = [f"# {title}", ""]
    for category in sorted(by_category):
        names = sorted(spec.name for spec in by_category[category])
        lines.append(f"- {category}: " + ", ".join(f"[{name}](#{_anchor(name)})" for name in names))
    lines.append("")
    for category in sorted(by_category):
        lines += [document(spec) for spec in sorted(by_category[category], key=lambda spec: spec.name)]
    return "\n".join(lines).rstrip() + "\n"


def _input_row(port: Port) -> str:
    default = (
        "needed" if port.required else "none" if port.default is None else _code(json.dumps(port.default))
    )
    return f"| `{port.name}` | {_type(port)} | {default} | {_cell(' '.join(_meaning(port)))} |"


def _type(port: Port | Output) -> str:
    return _cell(f"list of {port.socket}" if port.is_list else port.socket)


def _meaning(port: Port) -> list[str]:
    said = [port.tooltip] if port.tooltip else []
    rule = port.rule
    if isinstance(rule, File):
        said.append(f"A file in the folder `{rule.kind}`.")
    elif isinstance(rule, Choice):
        choices = rule.choices(Folders())
        more = ", ..." if len(choices) > _MOST_CHOICES else ""
        said.append("One of " + ", ".join(_code(choice) for choice in choices[:_MOST_CHOICES]) + more + ".")
    elif rule is not None:
        bounds = rule.describe(Folders())
        if "min" in bounds and "max" in bounds:
            said.append(f"From {bounds['min']} to {bounds['max']}.")
    if port.lazy:
        said.append("Computed only if it is needed.")
    return said


def _output_row(output: Output) -> str:
    return f"| `{output.name}` | {_type(output)} | {_cell(output.tooltip)} |"


def _code(text: str) -> str:
    return f"`{text}`" if text else '`""`'


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _anchor(name: str) -> str:
    return "".join(letter for letter in name.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")
