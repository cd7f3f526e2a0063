"""@node: reads a function's signature once, checks it, and attaches what it says as a NodeSpec."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from graph.classes import classes_of
from graph.context import Context
from graph.docstring import Docstring, read_docstring
from graph.errors import DeclarationError, ValueRefused
from graph.folders import Folders
from graph.ports import Choice, File
from graph.sockets import ANY, WIDGETS, Hint, UnsupportedType, accept, read_hint
from graph.spec import MISSING, NodeSpec, Output, Port, attach
from graph.values import Expansion, Shown

F = TypeVar("F", bound=Callable[..., Any])
_FINGERPRINT_SURROUNDINGS = frozenset({"folders", "ctx"})


def node(
    name: str,
    *,
    category: str = "custom",
    title: str | None = None,
    version: int = 1,
    output: bool = False,
    fingerprint: Callable[..., Any] | None = None,
    io: bool = False,
) -> Callable[[F], F]:
    """Make a typed function a node, and return the function unchanged.

    name: the class id in workflows. title: what an editor shows; the name itself if left out.
    version: raise it when the same inputs give other results than before, so that no stale result is used.
    output: whether runs start from this node, because it shows or saves something.
    fingerprint: given the inputs it names, and `folders` or `ctx` if it names them, returns JSON that changes when the
        results would, for what the inputs themselves do not show: a file's bytes, the clock. NaN means: run every time.
        An input that comes over a link is not known yet: one with a default is left out, else the node runs every time.
    io: whether it reads, writes or encodes rather than computes; it then runs in a thread beside the next nodes.

    Raises DeclarationError, with everything that is wrong with the declaration.
    """
    if callable(name):
        # @node without brackets, which would put another function in this one's place.
        raise DeclarationError(
            f'the node function {getattr(name, "__qualname__", name)} has no class id; write @node("Name") above it'
        )

    def declare(function: F) -> F:
        reading = _Reading(function)
        spec = reading.spec(name, category, title, version, output, fingerprint, io)
        reading.finish()
        attach(function, spec)
        return function

    return declare


class _Reading:
    """One function on its way to becoming a node, and what has been found wrong with it so far."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._wrong: list[str] = []
        plain = inspect.unwrap(function)
        code = getattr(plain, "__code__", None)
        self._where = f"{code.co_filename}:{code.co_firstlineno}" if code else "an unknown file"
        self._doc = self._read_doc()

    def finish(self) -> None:
        if self._wrong:
            name = getattr(self._function, "__qualname__", repr(self._function))
            raise DeclarationError(
                f"the node function {name} in {self._where} is declared wrongly:\n"
                + "\n".join(f"  - {problem}" for problem in self._wrong)
            )

    def spec(
        self,
        name: str,
        category: str,
        title: str | None,
        version: int,
        output: bool,
        fingerprint: Callable[..., Any] | None,
        io: bool,
    ) -> NodeSpec:
        if not isinstance(name, str) or not name.strip():
            self._wrong.append('the class id is empty; write @node("Name", ...)')
        if inspect.isgeneratorfunction(self._function) or inspect.isasyncgenfunction(self._function):
            self._wrong.append("it yields; a node returns its values at once")
        hints = self._hints()
        inputs, context = self._inputs(hints)
        outputs, named = self._outputs(hints)
        self._check_documented("Inputs", self._doc.inputs, [port.name for port in inputs])
        self._check_documented("Outputs", self._doc.outputs, [port.name for port in outputs])
        return NodeSpec(
            name=name,
            title=title or str(name),
            category=category,
            version=version,
            output=output,
            io=io,
            is_async=inspect.iscoroutinefunction(self._function),
            named=named,
            function=self._function,
            inputs=inputs,
            outputs=outputs,
            context=context,
            fingerprint=fingerprint,
            fingerprint_takes=self._fingerprint_takes(fingerprint, inputs),
            description=self._doc.description,
            module=self._function.__module__,
            where=self._where,
        )

    def _read_doc(self) -> Docstring:
        text = self._function.__doc__ or ""
        if not text.strip():
            self._wrong.append('it has no docstring; say in one what the node does: """..."""')
        return read_docstring(text)

    def _hints(self) -> Mapping[str, Any]:
        try:
            return typing.get_type_hints(self._function, include_extras=True)
        except Exception as error:
            self._wrong.append(
                f"a type hint cannot be resolved ({error}); import the name at the top of the module, "
                "not under TYPE_CHECKING and not inside a function"
            )
            self.finish()
            raise

    def _inputs(self, hints: Mapping[str, Any]) -> tuple[tuple[Port, ...], str | None]:
        ports: list[Port] = []
        contexts: list[str] = []
        for name, parameter in inspect.signature(self._function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                self._wrong.append(f"parameter {name}: inputs go by name; write each as a named parameter")
            elif name not in hints:
                self._wrong.append(f"parameter {name} has no type hint; write one, such as {name}: int")
            elif hints[name] is Context:
                contexts.append(name)
            else:
                default = MISSING if parameter.default is parameter.empty else parameter.default
                ports.extend(self._port(name, hints[name], default))
        if len(contexts) > 1:
            self._wrong.append(f"parameters {' and '.join(contexts)} are both Context; one is enough")
        return tuple(ports), contexts[0] if contexts else None

    def _port(self, name: str, hint: Any, default: Any) -> list[Port]:
        try:
            read = read_hint(hint)
        except UnsupportedType as error:
            self._wrong.append(f"parameter {name}: {error}")
            return []
        return [
            Port(
                name=name,
                socket=read.socket,
                default=self._default(name, read, default),
                optional=read.optional,
                is_list=read.is_list,
                lazy=read.lazy,
                rule=read.rule,
                tooltip=self._doc.inputs.get(name, ""),
                variable=_variable(hint),
                classes=_classes(hint, read),
            )
        ]

    def _default(self, name: str, hint: Hint, default: Any) -> Any:
        if default is MISSING and hint.optional:
            self._wrong.append(
                f"parameter {name} may be None but has no default; write {name}: T | None = None"
            )
        if default is MISSING or (default is None and (hint.optional or hint.socket == ANY)):
            return default
        if hint.is_list or hint.lazy or (hint.socket not in WIDGETS and hint.socket != ANY):
            self._wrong.append(
                f"parameter {name}: its only possible default is None; write {name}: T | None = None"
            )
            return default
        try:
            accepted = accept(hint.socket, default)
        except ValueRefused as error:
            self._wrong.append(f"parameter {name}: its default {default!r} is not {error}")
            return default
        fixed = not isinstance(hint.rule, File) and not (
            isinstance(hint.rule, Choice) and callable(hint.rule.options)
        )
        problem = hint.rule.problem(accepted, Folders()) if hint.rule and fixed else None
        if problem:
            self._wrong.append(f"parameter {name}: its default {default!r} is not {problem.expected}")
        return accepted

    def _outputs(self, hints: Mapping[str, Any]) -> tuple[tuple[Output, ...], bool]:
        if "return" not in hints:
            self._wrong.append("it has no return type; write -> T, or -> None for a node without outputs")
            return (), False
        try:
            returned = _returned(hints["return"])
            if returned is type(None):
                return (), False
            if isinstance(returned, type) and issubclass(returned, tuple) and hasattr(returned, "_fields"):
                fields = typing.get_type_hints(returned, include_extras=True)
                return tuple(self._output(name, fields[name]) for name in returned._fields), True
            return (self._output(None, returned),), False
        except UnsupportedType as error:
            self._wrong.append(f"its return type: {error}")
            return (), False

    def _output(self, name: str | None, hint: Any) -> Output:
        read = read_hint(hint)
        if read.lazy:
            raise UnsupportedType("an output cannot be Lazy")
        named = name or ("value" if read.socket == ANY else read.socket)
        tooltip = self._doc.outputs.get(named, "")
        return Output(named, read.socket, read.is_list, tooltip, _variable(hint), classes_of(hint))

    def _check_documented(self, section: str, documented: Mapping[str, str], names: list[str]) -> None:
        for name in documented:
            if name not in names:
                known = ", ".join(names) or "none"
                self._wrong.append(f'its docstring lists {name} under "{section}:", where there is: {known}')

    def _fingerprint_takes(
        self, fingerprint: Callable[..., Any] | None, inputs: tuple[Port, ...]
    ) -> frozenset[str]:
        if fingerprint is None:
            return frozenset()
        possible = {port.name for port in inputs} | _FINGERPRINT_SURROUNDINGS
        takes: set[str] = set()
        for name, parameter in inspect.signature(fingerprint).parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                takes.update(possible - _FINGERPRINT_SURROUNDINGS)
            elif name in possible:
                takes.add(name)
            elif parameter.default is parameter.empty:
                self._wrong.append(
                    f"its fingerprint takes {name}, which is neither an input nor folders nor ctx"
                )
        return frozenset(takes)


def _returned(hint: Any) -> Any:
    """The type of the values themselves, out of `T`, `Shown[T]`, `Expansion[T]` and unions of these."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = list(dict.fromkeys(_unwrapped(member) for member in typing.get_args(hint)))
        return members[0] if len(members) == 1 else hint
    return _unwrapped(hint)


def _unwrapped(hint: Any) -> Any:
    if hint in (Shown, Expansion):
        raise UnsupportedType(f"a bare {hint.__name__} does not say what comes out; write {hint.__name__}[T]")
    if typing.get_origin(hint) in (Shown, Expansion):
        (inner,) = typing.get_args(hint)
        return type(None) if inner is None else inner
    return hint


def _classes(hint: Any, read: Hint) -> tuple[type, ...] | None:
    converted = read.socket == ANY or not WIDGETS.isdisjoint(read.socket.split(","))
    return None if converted or read.lazy else classes_of(hint)


def _variable(hint: Any) -> str | None:
    """The TypeVar that stands in a hint, however deep in Lazy, list or Optional."""
    pending = [hint]
    while pending:
        current = pending.pop()
        if isinstance(current, TypeVar):
            return current.__name__
        pending.extend(typing.get_args(current))
    return None
