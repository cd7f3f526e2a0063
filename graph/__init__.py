"""The typed node graph: what a node is, what a workflow is, how it runs, and what is cached. Knows no tensors."""

from graph.cache import Cache
from graph.context import QUIET, Context, Services
from graph.declare import node
from graph.description import describe, describe_all
from graph.docs import document, document_all
from graph.errors import (
    Cancelled,
    DeclarationError,
    Fault,
    GraphError,
    UnsafePath,
    ValueRefused,
    WorkflowError,
)
from graph.events import (
    Event,
    NodeCached,
    NodeError,
    NodeFailed,
    NodeFinished,
    NodeProgress,
    NodeStarted,
    RunFinished,
    RunResult,
    RunStarted,
)
from graph.executor import Executor
from graph.folders import Folders
from graph.mapping import Items
from graph.ports import Choice, File, Range, Seed, Socket, Text
from graph.registry import ImportProblem, Registry
from graph.spec import NodeSpec, Output, Port, spec_of
from graph.validation import validate
from graph.values import Expansion, Lazy, Link, Shown
from graph.workflow import Node, Workflow

__all__ = [
    "QUIET",
    "Cache",
    "Cancelled",
    "Choice",
    "Context",
    "DeclarationError",
    "Event",
    "Executor",
    "Expansion",
    "Fault",
    "File",
    "Folders",
    "GraphError",
    "ImportProblem",
    "Items",
    "Lazy",
    "Link",
    "Node",
    "NodeCached",
    "NodeError",
    "NodeFailed",
    "NodeFinished",
    "NodeProgress",
    "NodeSpec",
    "NodeStarted",
    "Output",
    "Port",
    "Range",
    "Registry",
    "RunFinished",
    "RunResult",
    "RunStarted",
    "Seed",
    "Services",
    "Shown",
    "Socket",
    "Text",
    "UnsafePath",
    "ValueRefused",
    "Workflow",
    "WorkflowError",
    "describe",
    "describe_all",
    "document",
    "document_all",
    "node",
    "spec_of",
    "validate",
]
