"""The house's own limits on the source, checked so that nobody has to argue about them."""

import ast
import statistics
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path
    for top in (
        "main.py",
        "benchmarks",
        "cli",
        "diffusion",
        "graph",
        "imaging",
        "nodes",
        "server",
        "training",
    )
    for path in ([ROOT / top] if top.endswith(".py") else (ROOT / top).rglob("*.py"))
)
FILE_LINES = 400
FUNCTION_LINES = 60
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(path: Path) -> Iterator[FunctionNode]:
    for item in ast.walk(ast.parse(path.read_text())):
        if isinstance(item, FunctionNode):
            yield item


def _length(function: FunctionNode) -> int:
    """Lines of code: the docstring is not counted, nor are the parameters, which in a node say what it is."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body and body[-1].end_lineno else 0


def _names(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=_names)
def test_file_keeps_to_the_limits(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= FILE_LINES
    assert not text.strip() or ast.get_docstring(ast.parse(text)), "a module says in a docstring what it owns"
    long = {function.name: _length(function) for function in _functions(path)}
    assert {name: lines for name, lines in long.items() if lines > FUNCTION_LINES} == {}


@pytest.mark.parametrize("path", SOURCES, ids=_names)
def test_every_function_is_typed(path: Path) -> None:
    untyped = []
    for function in _functions(path):
        arguments = function.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        bare = [a.arg for a in named if a.annotation is None and a.arg not in ("self", "cls")]
        if bare or function.returns is None:
            untyped.append(function.name)
    assert untyped == []


def test_functions_are_short_on_the_whole() -> None:
    lengths = sorted(_length(function) for path in SOURCES for function in _functions(path))
    assert statistics.median(lengths) <= 10
    assert lengths[len(lengths) * 9 // 10] <= 30


def test_every_dependency_is_listed_with_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for group in project["optional-dependencies"].values() for name in group]
    page = (ROOT / "docs" / "dependencies.md").read_text()
    for requirement in [*project["dependencies"], *extras]:
        name = requirement.split("[")[0].split("=")[0].split(">")[0].split("<")[0].strip()
        assert name in page, f"docs/dependencies.md does not say why {name} is there"
