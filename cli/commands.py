"""What main.py can be asked to do, each as one function that returns the exit code."""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cli.arguments import Arguments
from cli.energy import Power
from cli.overrides import BadOverride, with_overrides
from cli.report import Report, TerminalReport, json_report, print_json, printable, report_nothing, saved_paths
from cli.workflow_file import NoWorkflow, read_workflow_file
from diffusion.placement import choose_placement
from diffusion.runtime import Runtime
from graph import (
    Executor,
    Fault,
    Folders,
    NodeError,
    Registry,
    RunResult,
    Services,
    Workflow,
    WorkflowError,
    describe,
    describe_all,
    validate,
)
from graph.context import Flag
from graph.discover import discover
from graph.docs import document, document_all
from graph.errors import MOST_FAULTS_SHOWN
from nodes import REGISTRY

DONE, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 130


class NoPlace(ValueError):
    """Results can't be saved where they are to go."""


def run_file(arguments: Arguments, path: Path, stop_flag: Callable[[], Flag]) -> int:
    """Run the workflow in `path`; its saved files are the last lines of standard output.

    stop_flag: called when the run begins, for what tells it to stop.
    """
    registry, folders = _registry(arguments), _folders(arguments)
    try:
        text, extra = read_workflow_file(path)
        workflow = Workflow.from_json(text, registry)
        workflow = with_overrides(workflow, registry, arguments.set, arguments.seed)
        _check_writable(folders.output)
        services = Services()
        services.put(
            Runtime, Runtime(choose_placement(arguments.device, arguments.dtype, arguments.memory_limit))
        )
        executor = Executor(registry, folders=folders, services=services)
        result = executor.run(workflow, on_event=_report(arguments, folders), cancel=stop_flag(), extra=extra)
    except (NoWorkflow, BadOverride, NoPlace) as error:
        return _refuse(arguments, str(error))
    except WorkflowError as error:
        return _refuse_faults(arguments, path, error.faults)
    except ValueError as error:
        return _refuse(arguments, str(error))
    return _conclude(arguments, result, folders)


def _check_writable(folder: Path) -> None:
    """Raise NoPlace for a folder that can't be written to, before hours of work end there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise NoPlace(
            f"{folder} can't be written to ({error.strerror}): name another with --output-directory"
        ) from error


def validate_file(arguments: Arguments, path: Path) -> int:
    """Name every fault of the workflow in `path`."""
    registry = _registry(arguments)
    try:
        text, _ = read_workflow_file(path)
        workflow = with_overrides(Workflow.from_json(text, registry), registry, arguments.set, arguments.seed)
        faults = validate(workflow, registry, _folders(arguments))
    except (NoWorkflow, BadOverride) as error:
        return _refuse(arguments, str(error))
    except WorkflowError as error:
        faults = list(error.faults)
    if faults:
        return _refuse_faults(arguments, path, faults)
    if arguments.json:
        print_json("valid", nodes=len(workflow.nodes))
    else:
        print(f"{path}: {len(workflow.nodes)} nodes, nothing wrong")
    return DONE


def explain_nodes(arguments: Arguments) -> int:
    """Print the list of nodes, or the documentation of one or all; with --json their descriptions for an editor."""
    registry, name = _registry(arguments), arguments.nodes or "all"
    if name != "all" and name not in registry:
        close = registry.nearest(name)
        hint = f"; did you mean {close!r}?" if close else ""
        return _refuse(arguments, f"there is no node {name!r}{hint}")
    if arguments.json:
        folders = _folders(arguments)
        found = (
            describe_all(registry, folders) if name == "all" else {name: describe(registry[name], folders)}
        )
        print(json.dumps(found))
    elif not arguments.nodes:
        print(_node_list(registry))
    else:
        print(document_all(registry) if name == "all" else document(registry[name]), end="")
    return DONE


def _registry(arguments: Arguments) -> Registry:
    registry = discover(REGISTRY, (*arguments.custom_nodes, _home() / "custom_nodes"))
    for problem in registry.problems:
        print(f"Nodes from {problem.source} could not be loaded:\n{problem.reason}", file=sys.stderr)
    return registry


def _home() -> Path:
    """The project's own folder when Weft runs from a checkout, else the folder it is called from."""
    checkout = Path(__file__).resolve().parent.parent
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def _node_list(registry: Registry) -> str:
    lines = []
    for category in sorted({spec.category for spec in registry.values()}):
        lines.append(category)
        lines += [
            f"  {name:<28} {spec.description.splitlines()[0]}"
            for name, spec in sorted(registry.items())
            if spec.category == category
        ]
    return "\n".join(lines)


def _folders(arguments: Arguments) -> Folders:
    home = _home()
    return Folders(
        models=(*arguments.models, home / "models"),
        input=arguments.input_directory or home / "input",
        output=arguments.output_directory or home / "output",
        temp=arguments.temp_directory or home / "temp",
    )


def _report(arguments: Arguments, folders: Folders) -> Report:
    power = None if arguments.power is None else Power(arguments.power, arguments.carbon_intensity)
    if arguments.json:
        return json_report(folders, power)
    return report_nothing if arguments.quiet else TerminalReport(power=power)


def _conclude(arguments: Arguments, result: RunResult, folders: Folders) -> int:
    for error in result.errors:
        where = f"{error.title} ({error.class_type}, node {error.node})"
        line = f" (at {error.where})" if error.where and error.class_type not in REGISTRY else ""
        print(printable(f"{where} failed: {_explained(error)}{line}"), file=sys.stderr)
    if result.skipped and result.status == "failed":
        print(f"Not run, because they depend on it: {', '.join(result.skipped)}", file=sys.stderr)
    if not arguments.json:
        for path in saved_paths(result, folders):
            print(_short(path))
    if result.status == "cancelled":
        print("Stopped.", file=sys.stderr)
        return STOPPED
    return DONE if result.status == "success" else FAILED


def _explained(error: NodeError) -> str:
    """The error's message; torch's own about memory says nothing of what to do."""
    kind = error.exception_type.rpartition(".")[2]
    if kind in ("MemoryError", "OutOfMemoryError") or "can't allocate memory" in error.message:
        return (
            "there is not enough memory. Make the picture smaller, lower batch_size, or compute with --dtype bf16. "
            f"({error.message.splitlines()[0]})"
        )
    return error.message


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _refuse(arguments: Arguments, message: str) -> int:
    if arguments.json:
        print_json("invalid", message=message, faults=[])
    print(printable(f"Error: {message}"), file=sys.stderr)
    return BAD_INPUT


def _refuse_faults(arguments: Arguments, path: Path, faults: Sequence[Fault]) -> int:
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    message = f"{path} can't run, it has {count}"
    if arguments.json:
        print_json("invalid", message=message, faults=[dataclasses.asdict(fault) for fault in faults])
    print(f"Error: {message}:", file=sys.stderr)
    for fault in faults[:MOST_FAULTS_SHOWN]:
        print(printable(f"  {fault.message}"), file=sys.stderr)
    if len(faults) > MOST_FAULTS_SHOWN:
        print(f"  ... and {len(faults) - MOST_FAULTS_SHOWN} more", file=sys.stderr)
    return BAD_INPUT
