"""The typed node graph: what a node is, what a workflow is, how it runs, and what is cached. Knows no tensors."""

from graph.context import QUIET, Context, Services
from graph.declare import node
from graph.errors import (
    Cancelled,
    DeclarationError,
    Fault,
    GraphError,
    UnsafePath,
    ValueRefused,
    WorkflowError,
)
from graph.folders import Folders
from graph.ports import Choice, File, Range, Seed, Socket, Text
from graph.registry import ImportProblem, Registry
from graph.spec import NodeSpec, Output, Port, spec_of
from graph.values import Expansion, Lazy, Link, Shown

__all__ = [
    "QUIET",
    "Cancelled",
    "Choice",
    "Context",
    "DeclarationError",
    "Expansion",
    "Fault",
    "File",
    "Folders",
    "GraphError",
    "ImportProblem",
    "Lazy",
    "Link",
    "NodeSpec",
    "Output",
    "Port",
    "Range",
    "Registry",
    "Seed",
    "Services",
    "Shown",
    "Socket",
    "Text",
    "UnsafePath",
    "ValueRefused",
    "WorkflowError",
    "node",
    "spec_of",
]
