"""Registries: what they hold, what they refuse, and nodes of third parties."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from graph import DeclarationError, Executor, Node, Registry, node, spec_of
from graph import discover as discovering
from tests.graph import toys
from tests.graph.toys import REGISTRY, add, number, run, workflow


def test_a_module_gives_its_nodes() -> None:
    registry = Registry.of(toys, add)
    assert set(registry) == set(REGISTRY)
    assert registry["Add"] is spec_of(add)
    assert "Nope" not in registry
    assert registry.nearest("Nubmer") == "Number"


def test_one_name_twice_names_both_places() -> None:
    @node("Add", category="toys")
    def other(*, a: int) -> int:
        """Another."""
        return a

    with pytest.raises(DeclarationError) as refused:
        Registry.of(add, other)
    assert "toys.py" in str(refused.value)
    assert "test_registry.py" in str(refused.value)


def test_what_is_no_node_is_refused() -> None:
    with pytest.raises(TypeError, match="neither a module nor a node"):
        Registry.of(len)


GOOD = '''
from graph import node

@node("{name}", category="custom")
def good(*, value: int = 1) -> int:
    """Good."""
    return value + {more}
'''


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_custom_nodes_are_brought_in(tmp_path: Path) -> None:
    write(tmp_path / "single.py", GOOD.format(name="Single", more=1))
    write(tmp_path / "my-pack.v2" / "__init__.py", "from .inner import good\nfrom . import inner")
    write(tmp_path / "my-pack.v2" / "inner.py", GOOD.format(name="Packed", more=2))
    write(tmp_path / "off.py.disabled", "1/0")
    write(tmp_path / "_hidden.py", "1/0")
    write(tmp_path / "data" / "readme.txt", "no package")
    registry = REGISTRY.discover(tmp_path, tmp_path / "nowhere", group=None)
    assert registry.problems == ()
    assert set(registry) - set(REGISTRY) == {"Single", "Packed"}
    result, _ = run(workflow(out=Node("Packed", {"value": 5})), Executor(registry), targets=["out"])
    assert result.values == {"out": (7,)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1/0", "ZeroDivisionError"),
        ("def (", "SyntaxError"),
        ("import nothing_of_this_name", "nothing_of_this_name"),
        ("raise SystemExit", "SystemExit"),
    ],
)
def test_one_that_fails_is_reported_and_the_rest_works(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path / "a_bad.py", text)
    write(tmp_path / "b_good.py", GOOD.format(name="Good", more=1))
    registry = REGISTRY.discover(tmp_path, group=None)
    (problem,) = registry.problems
    assert problem.source.endswith("a_bad.py")
    assert "Traceback" in problem.reason
    assert said in problem.reason
    assert "Good" in registry
    assert not any(name.endswith("a_bad") for name in sys.modules)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("from graph import node\n@node('X')\ndef x(): pass", "no docstring"),
        ("from graph import node\n@node\ndef x(): pass", 'write @node("Name")'),
    ],
)
def test_a_wrong_declaration_is_reported_without_a_traceback(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path / "bad.py", text)
    (problem,) = REGISTRY.discover(tmp_path, group=None).problems
    assert said in problem.reason
    assert "Traceback" not in problem.reason


def test_a_taken_name_stays_what_it_is(tmp_path: Path) -> None:
    write(tmp_path / "mine.py", GOOD.format(name="Add", more=1))
    registry = REGISTRY.discover(tmp_path, group=None)
    assert registry["Add"] is spec_of(add)
    (problem,) = registry.problems
    assert "taken already" in problem.reason


def test_two_files_of_one_name_in_two_folders(tmp_path: Path) -> None:
    write(tmp_path / "a" / "same.py", GOOD.format(name="One", more=1))
    write(tmp_path / "b" / "same.py", GOOD.format(name="Two", more=2))
    registry = REGISTRY.discover(tmp_path / "a", tmp_path / "b", group=None)
    assert registry.problems == ()
    assert {"One", "Two"} <= set(registry)


def test_installed_packages_add_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("some_pack")
    module.number = number  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "some_pack", module)
    points = [
        EntryPoint("pack", "some_pack", "weft.nodes"),
        EntryPoint("one", "tests.graph.toys:add", "weft.nodes"),
        EntryPoint("gone", "no_such_pack", "weft.nodes"),
    ]

    def entry_points(*, group: str) -> list[EntryPoint]:
        assert group == "weft.nodes"
        return points

    monkeypatch.setattr(discovering, "entry_points", entry_points)
    registry = Registry().discover()
    assert set(registry) == {"Number", "Add"}
    (problem,) = registry.problems
    assert "no_such_pack" in problem.source


def lazily(folder: Path, monkeypatch: pytest.MonkeyPatch, **listed: tuple[str, ...]) -> Registry:
    """A registry of modules that declare a node each, "One" in deferred_one and "Two" in deferred_two."""
    for module, name in (("deferred_one", "One"), ("deferred_two", "Two")):
        write(folder / f"{module}.py", GOOD.format(name=name, more=1))
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(folder)
    return Registry.deferred(listed)


def test_a_module_is_imported_when_a_node_of_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = lazily(tmp_path, monkeypatch, deferred_one=("One",), deferred_two=("Two",))
    assert list(registry) == ["One", "Two"]
    assert len(registry) == 2
    assert "Two" in registry
    assert "Three" not in registry
    assert registry.get("Three") is None
    assert registry.nearest("Tow") == "Two"
    result, _ = run(workflow(out=Node("One", {"value": 4})), Executor(registry), targets=["out"])
    assert result.values == {"out": (5,)}
    assert "deferred_one" in sys.modules
    assert "deferred_two" not in sys.modules
    assert registry["Two"].function(value=1) == 2


def test_third_parties_add_to_a_deferred_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = lazily(tmp_path / "own", monkeypatch, deferred_one=("One",), deferred_two=("Two",))
    write(tmp_path / "more" / "other.py", GOOD.format(name="Other", more=3))
    write(tmp_path / "more" / "taken.py", GOOD.format(name="One", more=3))
    merged = registry.discover(tmp_path / "more", group=None)
    assert list(merged) == ["One", "Two", "Other"]
    assert merged["One"] is registry["One"]
    (problem,) = merged.problems
    assert "'One' is taken already" in problem.reason
    assert "deferred_two" not in sys.modules


def test_a_wrong_list_of_modules_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = lazily(tmp_path, monkeypatch, deferred_one=("One", "Missing"))
    with pytest.raises(DeclarationError, match="deferred_one declares no node of the class id 'Missing'"):
        registry["Missing"]
    with pytest.raises(DeclarationError, match="'One' is listed in deferred_one and in deferred_two"):
        Registry.deferred({"deferred_one": ("One",), "deferred_two": ("One",)})
