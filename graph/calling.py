"""Calls a node's function, once or once per item, with handles for its lazy inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from graph.context import Context
from graph.errors import ValueRefused
from graph.mapping import Items, arguments, at, grown
from graph.spec import Port
from graph.tasks import Task
from graph.values import Lazy, Link
from graph.work import receive

Values = Mapping[str, tuple[Any, ...]]


class Wanted(BaseException):
    """A node asked for a lazy input that is not there yet. Not an Exception, so that no node swallows it."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.link = link


def call(task: Task, values: Values, context: Context) -> None:
    """Call a node for all items that have no result yet. Raises Wanted, Cancelled, or whatever the node raises."""
    results = started(task)
    spec, items = task.node.spec, 0
    for made in _arguments_left(task, results, values, context):
        results.append(spec.function(**made))
        if spec.fans_out:
            items = grown(spec, items, results[-1])


async def call_async(task: Task, values: Values, context: Context) -> None:
    """The same for an async node."""
    try:
        results = started(task)
        spec, items = task.node.spec, 0
        for made in _arguments_left(task, results, values, context):
            results.append(await spec.function(**made))
            if spec.fans_out:
                items = grown(spec, items, results[-1])
    except SystemExit as error:
        # It would end the thread of the event loop, and every other async node with it.
        raise RuntimeError(f"the node called sys.exit({error.code})") from error


def started(task: Task) -> list[Any]:
    """What the task's calls returned so far."""
    if task.results is None:
        task.results = []
    return task.results


def _arguments_left(
    task: Task, results: list[Any], values: Values, context: Context
) -> Iterator[dict[str, Any]]:
    """The arguments of each call still to be made. A list that a lazy input turns out to be makes them more."""
    spec, inputs = task.node.spec, task.inputs or {}
    while len(results) < (1 if task.count is None else task.count):
        context.check_cancelled()
        index = len(results)
        made = arguments(spec, inputs, index)
        if spec.context:
            made[spec.context] = context
        for name in spec.lazy:
            given, port = inputs.get(name), spec.ports[name]
            if type(given) is Link:
                made[name] = _handle(task, port, given, index, values, context)
            elif given is not None or not port.optional:
                made[name] = Lazy.of(made[name])
        yield made


def _handle(task: Task, port: Port, link: Link, index: int, values: Values, context: Context) -> Lazy[Any]:
    def get() -> Any:
        outputs = values.get(link.node)
        if outputs is None:
            raise Wanted(link)
        value = receive(port, outputs[link.output], context.folders)
        if port.is_list:
            return list(value) if type(value) is Items else [value]
        if type(value) is Items:
            if not value:
                raise ValueRefused(f"input {port.name}: found a list without items, expected at least one")
            task.count = max(task.count or 0, len(value))
        return at(value, index)

    return Lazy(get, source=link)
