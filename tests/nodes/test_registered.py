"""The list of nodes by module is what the modules declare."""

import importlib
import pkgutil

import nodes
from graph.spec import find_spec


def test_every_node_is_listed_once_under_its_module() -> None:
    declared = set()
    for module in pkgutil.iter_modules(nodes.__path__, "nodes."):
        values = vars(importlib.import_module(module.name)).values()
        specs = [spec for value in values if (spec := find_spec(value)) is not None]
        declared |= {(spec.name, module.name) for spec in specs if spec.module == module.name}
    listed = {(name, spec.module) for name, spec in nodes.REGISTRY.items()}
    assert listed == declared
