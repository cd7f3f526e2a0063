"""Reads the pickles that torch.save writes without running them: a small interpreter that calls nothing.

Globals are names, never imported. The few that rebuild tensors and containers are understood; those that
training programs leave beside the weights become inert placeholders; any other is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, cast

from diffusion.files.pickle_names import (
    PARAMETER_TABLE,
    Name,
    Refusal,
    check_allowed,
    is_container,
)

MAX_READ = 64 << 20
"""The longest single string or number that is read, in bytes."""
MAX_AXES = 32


@dataclass(frozen=True, eq=False)
class Inert:
    """Stands for an object of a training program: it holds nothing and does nothing."""

    name: Name


@dataclass(frozen=True)
class Storage:
    """A block of numbers kept outside the pickle. size: elements of `kind`, or bytes when it is untyped."""

    kind: Name
    key: str
    size: int


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """Where a tensor's numbers are: element `offset` of a storage, with shape and strides in elements.

    dtype: given only when the storage is untyped.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: Name | None = None


class _ParameterTable(dict[object, object]):
    """A ParameterDict: what it holds comes with its state."""


class Malformed(ValueError):
    """Not a pickle of the kind torch.save writes."""


class Reader:
    """What pickletools reads from: a piece of a larger buffer, in bounded bites."""

    def __init__(self, data: Any, start: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = start
        self.end = len(data) if end is None else end

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise Malformed(f"a string of {size} bytes")
        last = min(self.position + size, self.end)
        piece = bytes(self.data[self.position : last])
        self.position = last
        return piece

    def readline(self) -> bytes:
        newline = self.data.find(b"\n", self.position, min(self.end, self.position + MAX_READ))
        return self.read((newline + 1 if newline >= 0 else self.end) - self.position)

    def tell(self) -> int:
        return self.position


def read_pickle(reader: Reader) -> tuple[object, dict[str, Storage]]:
    """The value that the next pickle of `reader` describes, and the storages it names.

    Dictionaries, lists, tuples, texts, numbers, StoredTensor, Storage, Name and Inert. Raises Refusal for a
    global that no checkpoint needs, Malformed for anything that is not such a pickle. Nothing is run.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(cast(IO[bytes], reader)):
            if opcode.name == "STOP":
                return machine.pop(), machine.storages
            machine.step(opcode.name, argument)
    except Refusal:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise Malformed(str(error)) from error
    raise Malformed("it has no end")


_PUSHES_ITS_ARGUMENT = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    )
)
_IGNORED = frozenset({"PROTO", "FRAME"})
_KEY_TYPES = (str, int, float, bytes, bool, type(None))


@dataclass
class _Machine:
    """The pickle machine's state: a stack, what was set aside at each mark, and the numbered memo."""

    stack: list[Any] = field(default_factory=list)
    marks: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    storages: dict[str, Storage] = field(default_factory=dict)

    def step(self, opcode: str, argument: Any) -> None:
        if opcode in _PUSHES_ITS_ARGUMENT:
            self.stack.append(argument)
        elif opcode in _MAKES:
            self.stack.append(_MAKES[opcode]())
        elif opcode in _STEPS:
            _STEPS[opcode](self, argument)
        elif opcode not in _IGNORED:
            raise Malformed(f"it uses {opcode}, which torch.save does not")

    def pop(self) -> Any:
        return self.stack.pop()

    def mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def discard(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def discard_to_mark(self, _: Any) -> None:
        self.since_mark()

    def duplicate(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    def make_tuple(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    def make_marked_tuple(self, _: Any) -> None:
        items = self.since_mark()
        self.stack.append(tuple(items))

    def make_marked_list(self, _: Any) -> None:
        items = self.since_mark()
        self.stack.append(items)

    def make_marked_dict(self, _: Any) -> None:
        items = self.since_mark()
        self.stack.append({})
        self._store(items)

    def append(self, _: Any) -> None:
        self._extend([self.pop()])

    def appends(self, _: Any) -> None:
        self._extend(self.since_mark())

    def set_item(self, _: Any) -> None:
        value = self.pop()
        self._store([self.pop(), value])

    def set_items(self, _: Any) -> None:
        self._store(self.since_mark())

    def build(self, _: Any) -> None:
        """An object's state. Of what is kept, a ParameterDict alone has any that is of use: its tensors."""
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, _ParameterTable) and isinstance(state, dict):
            tensors = state.get("_parameters")
            target.update(tensors if isinstance(tensors, dict) else {})

    def global_name(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self.stack.append(check_allowed(Name(module, name)))

    def stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(module, str) and isinstance(name, str)):
            raise Malformed("the name of a global is not a text")
        self.stack.append(check_allowed(Name(module, name)))

    def reduce(self, _: Any) -> None:
        arguments, function = self.pop(), self.pop()
        self.stack.append(_made(function, arguments))

    def new_object_with_keywords(self, _: Any) -> None:
        self.pop()
        self.reduce(None)

    def old_object(self, _: Any) -> None:
        kind, *arguments = self.since_mark()
        self.stack.append(_made(kind, tuple(arguments)))

    def old_instance(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        arguments = tuple(self.since_mark())
        self.stack.append(_made(check_allowed(Name(module, name)), arguments))

    def persistent(self, _: Any) -> None:
        match self.pop():
            case ("storage", Name() as kind, str(key), _, int(size), *view) if view in ([], [None]):
                storage = Storage(kind, key, size)
            case _:
                raise Malformed("it refers to something outside that is not a storage")
        self.storages[key] = storage
        self.stack.append(storage)

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif not isinstance(target, Inert):
            raise Malformed("it appends to something that is not a list")

    def _store(self, items: list[Any]) -> None:
        """Put key, value, key, value, ... into the dictionary on top. Keys that are objects name no weight."""
        target = self.stack[-1]
        if isinstance(target, dict):
            pairs = zip(items[::2], items[1::2], strict=True)
            target.update((key, value) for key, value in pairs if isinstance(key, _KEY_TYPES))
        elif not isinstance(target, Inert):
            raise Malformed("it sets items of something that is not a dictionary")


_MAKES: Mapping[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_SET": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}

_STEPS: Mapping[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.discard,
    "POP_MARK": _Machine.discard_to_mark,
    "DUP": _Machine.duplicate,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "TUPLE1": lambda machine, _: machine.make_tuple(1),
    "TUPLE2": lambda machine, _: machine.make_tuple(2),
    "TUPLE3": lambda machine, _: machine.make_tuple(3),
    "TUPLE": _Machine.make_marked_tuple,
    "LIST": _Machine.make_marked_list,
    "FROZENSET": _Machine.make_marked_list,
    "DICT": _Machine.make_marked_dict,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "ADDITEMS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "BUILD": _Machine.build,
    "GLOBAL": _Machine.global_name,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.new_object_with_keywords,
    "OBJ": _Machine.old_object,
    "INST": _Machine.old_instance,
    "BINPERSID": _Machine.persistent,
}


def _made(function: object, arguments: object) -> object:
    """What calling `function` would have made, as far as weights go."""
    if not isinstance(function, Name):
        raise Malformed("it calls something that is not a global")
    if not isinstance(arguments, tuple):
        raise Malformed("it calls a global without arguments")
    match str(function), arguments:
        case "torch._tensor._rebuild_from_type_v2", (Name() as rebuild, _, tuple(inner), _) if (
            rebuild != function
        ):
            return _made(rebuild, inner)
        case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state", (tensor, *_):
            return tensor
        case (
            "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2",
            (Storage() as storage, int(offset), tuple(shape), tuple(stride), *_),
        ):
            return StoredTensor(storage, offset, _extents(shape), _extents(stride))
        case (
            "torch._utils._rebuild_tensor_v3",
            (Storage() as storage, int(offset), tuple(shape), tuple(stride), _, _, Name() as dtype, *_),
        ):
            return StoredTensor(storage, offset, _extents(shape), _extents(stride), dtype)
        case "torch.Size", (tuple(shape),):
            return shape
        case _ if str(function) == PARAMETER_TABLE:
            return _ParameterTable()
        case _ if is_container(function):
            return {}
    return Inert(function)


def _extents(values: tuple[object, ...]) -> tuple[int, ...]:
    extents = tuple(value for value in values[: MAX_AXES + 1] if isinstance(value, int))
    if len(extents) != len(values):
        raise Malformed(f"a shape is not made of at most {MAX_AXES} integers")
    return extents
