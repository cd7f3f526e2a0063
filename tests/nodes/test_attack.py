"""Every node, attacked at every socket and widget: what comes of it is sound, or an error that a person can use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from diffusion.latents import checks as latent_checks
from graph import Port
from imaging import checks as image_checks
from nodes import REGISTRY
from tests.nodes.attack import widgets
from tests.nodes.attack.arena import judged, limited, run
from tests.nodes.attack.camp import Camp, is_written, pitch
from tests.nodes.attack.values import HOSTILE

LOOPS = ("ForLoopStart", "ForLoopEnd", "WhileLoopStart", "WhileLoopEnd")
"""Which mean something together alone; tests/nodes/test_loops.py."""
NODES = sorted(set(REGISTRY) - set(LOOPS))
COSTLY = (
    "KSampler",
    "SamplerCustom",
    "CompVis",
    "Regex",
    "InpaintModel",
    "InstructPix",
    "EvaluationCurve",
    "ModelMergeSD1",
    "CheckpointSave",
    "ModelSave",
    "CLIPTextEncode",
    "ComponentLoader",
)
"""Nodes whose runs take long or that have many widgets alike: every so manyth of the values for these is tried."""
STRIDE = 6
HEAVY = ("CompVisTxt2Img.H", "CompVisTxt2Img.W", "CompVisTxt2Img.f")
"""Widgets whose bounds are much honest work."""
SMALL_LIMIT = 1 << 22
"""Of pixels and numbers, so that what is within the limits is made soon."""


@pytest.fixture(scope="module")
def camp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Camp]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(image_checks, "MAX_PIXELS", SMALL_LIMIT)
        patched.setattr(latent_checks, "MOST_NUMBERS", SMALL_LIMIT)
        yield pitch(tmp_path_factory.mktemp("camp"))


def attacks(camp: Camp, class_type: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """What is attacked, and the constants and linked values that do it."""
    constants, linked = camp.constants(class_type), camp.linked(class_type)
    yield "nothing", constants, linked
    ports = REGISTRY[class_type].inputs
    for name, bound in (("most", widgets.at_most), ("least", widgets.at_least)):
        found = {port.name: value for port in ports if (value := bound(port)) is not None}
        if found:
            yield f"all at {name}", constants | found, linked
    stride = STRIDE if class_type.startswith(COSTLY) else 1
    for number, port in enumerate(ports):
        if not is_written(port):
            for name, value in hostile_values(camp, port).items():
                yield f"{port.name}: {name}", constants, linked | {port.name: value}
        elif f"{class_type}.{port.name}" not in HEAVY:
            for value in list(widgets.hostile(port, camp.folders))[number % stride :: stride]:
                yield f"{port.name} = {value!r:.60}", constants | {port.name: value}, linked


def hostile_values(camp: Camp, port: Port) -> dict[str, Any]:
    if port.socket == "MODEL":
        return dict(camp.models)
    return HOSTILE[port.socket]() if port.socket in HOSTILE else {}


@pytest.mark.parametrize("class_type", NODES)
def test_attacked(camp: Camp, class_type: str) -> None:
    wrong: list[str] = []
    with limited():
        for name, constants, linked in attacks(camp, class_type):
            said = judged(class_type, run(class_type, constants, linked, camp.folders), linked)
            if said:
                wrong.append(f"{name}: {said}")
    assert not wrong, "\n".join(wrong)
