"""What can go wrong with a graph: faults found before a run, and the exceptions that carry them."""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_FAULTS_SHOWN = 20


@dataclass(frozen=True)
class Problem:
    """Why a value does not do for an input, in words. `kind` is the field's name for this sort of fault."""

    kind: str
    expected: str
    nearest: str | None = None


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a workflow: where it is, what was found, what was expected, and what may be meant.

    kind: the field's name for it: missing_node_type, required_input_missing, value_not_in_list, ...
    blocking: whether it keeps the workflow from running. A fault in a node that no output needs does not.
    cycle: the nodes of the cycle, in order, when kind is dependency_cycle.
    """

    kind: str
    message: str
    node: str | None = None
    title: str | None = None
    class_type: str | None = None
    input: str | None = None
    found: object = None
    expected: str | None = None
    nearest: str | None = None
    blocking: bool = True
    cycle: tuple[str, ...] = ()


class GraphError(Exception):
    """Any error of the graph."""


class DeclarationError(GraphError):
    """A node function is declared wrongly. The message names the function, its file, and what to do."""


class WorkflowError(GraphError):
    """A workflow cannot be read, or has faults that keep it from running."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        shown = [fault.message for fault in self.faults[:MOST_FAULTS_SHOWN]]
        if len(self.faults) > MOST_FAULTS_SHOWN:
            shown.append(f"... and {len(self.faults) - MOST_FAULTS_SHOWN} more faults")
        super().__init__("\n".join(shown))


class ValueRefused(GraphError):
    """A value that arrived at an input, or came out of a node, is not what the node declares."""


class UnsafePath(GraphError, ValueError):
    """A file name that points outside of its folder, or is no file name at all."""


class Cancelled(BaseException):
    """The run was cancelled. Not an Exception, so that a node's own error handling does not swallow it."""
