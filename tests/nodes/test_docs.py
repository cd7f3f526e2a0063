"""docs/nodes.md says what the nodes say of themselves."""

from pathlib import Path

from graph.docs import document_all
from nodes import REGISTRY

PAGE = Path(__file__).parents[2] / "docs" / "nodes.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == document_all(REGISTRY), "run: python main.py --nodes all > docs/nodes.md"


def test_every_node_explains_all_its_inputs_and_outputs() -> None:
    for spec in REGISTRY.values():
        assert spec.description, spec.name
        silent = [port.name for port in (*spec.inputs, *spec.outputs) if not port.tooltip]
        assert silent == [], spec.name
