"""Hypernetworks: against diffusers' UNet with the same networks before its keys and values, and files that are none."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from diffusion.files.mapped_file import CheckpointError
from diffusion.hypernetwork import Hypernetwork, load_hypernetwork
from diffusion.model import Model
from diffusion.networks.attachments import Call, Hooks, Spot
from tests.diffusion.control_reference import UNET, model
from tests.diffusion.reference import diffusers_unet, relative_error

WIDTHS = (24, 32, 64)
X, T = torch.randn(2, 4, 6, 10, generator=torch.Generator().manual_seed(0)), torch.tensor([400.0])
CONTEXT = torch.randn(4, 11, 24, generator=torch.Generator().manual_seed(1))


class Peer(nn.Module):
    """As stable-diffusion-webui builds them: layers in a row, named `linear`."""

    def __init__(self, width: int, activation: str, *, norm: bool, last_too: bool) -> None:
        super().__init__()
        kinds: dict[str, Any] = {"relu": nn.ReLU, "swish": nn.Hardswish, "mish": nn.Mish}
        layers: list[nn.Module] = []
        for number, (start, end) in enumerate(((width, 2 * width), (2 * width, width))):
            layers.append(nn.Linear(start, end))
            if activation in kinds and (number == 0 or last_too):
                layers.append(kinds[activation]())
            if norm:
                layers.append(nn.LayerNorm(end))
        self.linear = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def peers(
    activation: str = "linear", *, norm: bool = False, last_too: bool = False
) -> dict[int, tuple[Peer, Peer]]:
    torch.manual_seed(0)
    return {
        width: (
            Peer(width, activation, norm=norm, last_too=last_too),
            Peer(width, activation, norm=norm, last_too=last_too),
        )
        for width in WIDTHS
    }


def write(path: Path, pairs: dict[int, tuple[Peer, Peer]], **settings: object) -> Path:
    """As stable-diffusion-webui saves them."""
    states = {width: tuple(network.state_dict() for network in pair) for width, pair in pairs.items()}
    torch.save({**states, "step": 10, "name": "test", "layer_structure": [1.0, 2.0, 1.0], **settings}, path)
    return path


def hooks_of(with_hypernetwork: Model) -> Hooks:
    (attachment,) = with_hypernetwork.attachments
    return attachment.begin()(Call(X, 1.0, (0, 1)))


@cache
def theirs() -> Any:
    return diffusers_unet(UNET, model().weights)


@torch.no_grad()
def expected(pairs: dict[int, tuple[Peer, Peer]], strength: float) -> Tensor:
    """diffusers' UNet, what its key and value layers are given changed beforehand."""
    handles = []
    for name, layer in theirs().named_modules():
        which = 0 if name.endswith(".to_k") else 1 if name.endswith(".to_v") else None
        if which is not None:
            network = pairs[layer.in_features][which]
            handles.append(
                layer.register_forward_pre_hook(
                    lambda _, given, network=network: (given[0] + strength * network(given[0]),)
                )
            )
    try:
        return theirs()(X.repeat(2, 1, 1, 1), T, encoder_hidden_states=CONTEXT).sample
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def found(hypernetwork: Hypernetwork, strength: float) -> Tensor:
    unet = model().runtime.unet(model())
    return unet(X, T, unet.read(CONTEXT), hooks_of(hypernetwork.applied(model(), strength)))


@pytest.mark.parametrize(
    ("activation", "norm", "last_too", "strength"),
    [
        ("linear", False, False, 1.0),
        ("relu", True, False, 0.6),
        ("swish", False, True, -0.5),
        ("mish", True, True, 1.0),
    ],
)
def test_agrees_with_a_unet_changed_by_hand(
    tmp_path: Path, activation: str, norm: bool, last_too: bool, strength: float
) -> None:
    pairs = peers(activation, norm=norm, last_too=last_too)
    path = write(
        tmp_path / "h.pt", pairs, activation_func=activation, is_layer_norm=norm, activate_output=last_too
    )
    result = found(load_hypernetwork(path), strength)
    assert relative_error(result, expected(pairs, strength)) < 1e-4
    assert relative_error(result, found(load_hypernetwork(path), 0.5 * strength)) > 1e-3


def test_the_form_of_files_before_zip_is_read(tmp_path: Path) -> None:
    states = {width: tuple(network.state_dict() for network in pair) for width, pair in peers().items()}
    torch.save(states, tmp_path / "h.pt", _use_new_zipfile_serialization=False)
    assert relative_error(found(load_hypernetwork(tmp_path / "h.pt"), 1.0), expected(peers(), 1.0)) < 1e-4


def test_what_it_makes_of_the_prompt_is_made_once(tmp_path: Path) -> None:
    hypernetwork = load_hypernetwork(write(tmp_path / "h.pt", peers()))
    (source,) = hooks_of(hypernetwork.applied(model(), 1.0)).sources
    unet = model().runtime.unet(model())
    layers = [layer for name, layer in unet.named_modules() if name.endswith(".attn2")]
    made = [source(CONTEXT, CONTEXT, Spot(None, (6, 10), layer)) for layer in layers]  # type: ignore[arg-type]
    assert all(one[0] is made[0][0] and one[1] is made[0][1] for one in made)


def test_several_follow_one_another_and_none_changes_nothing(tmp_path: Path) -> None:
    hypernetwork = load_hypernetwork(write(tmp_path / "h.pt", peers()))
    assert hypernetwork.applied(model(), 0.0) is model()
    twice = hypernetwork.applied(hypernetwork.applied(model(), 1.0), 1.0)
    assert len(twice.attachments) == 2


def test_it_must_be_of_the_models_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    other = {320: (Peer(320, "linear", norm=False, last_too=False),) * 2}
    hypernetwork = load_hypernetwork(write(tmp_path / "h.pt", other))
    with pytest.raises(ValueError, match="320 wide, and this model attends to 24, 32, 64"):
        hypernetwork.applied(model(), 1.0)
    with pytest.raises(ValueError, match="finite number; got inf"):
        load_hypernetwork(write(tmp_path / "h.pt", peers())).applied(model(), float("inf"))


def layers(*shapes: tuple[int, ...], bias: int | None = None) -> dict[str, Tensor]:
    state = {}
    for number, shape in enumerate(shapes):
        state |= {
            f"linear.{number}.weight": torch.ones(shape),
            f"linear.{number}.bias": torch.ones(bias or shape[0]),
        }
    return state


GOOD = layers((24, 24))
REFUSED = {
    "weights alone": ({"a": torch.ones(3)}, "not a hypernetwork"),
    "a list": ([1, 2], "not a hypernetwork"),
    "one of a pair": ({24: [GOOD]}, "not a hypernetwork"),
    "activation": (
        {24: [GOOD, GOOD], "activation_func": "cosh"},
        "activation is 'cosh', and Weft knows linear, relu",
    ),
    "no text": ({24: [GOOD, GOOD], "activation_func": [1]}, r"activation is \[1\]"),
    "another width": ({24: [GOOD, layers((24, 32))]}, r"a layer of \[24, 32\] and \[24\] does not follow 24"),
    "another end": ({24: [GOOD, layers((32, 24))]}, "gives 32"),
    "no layers": ({24: [GOOD, {}]}, "gives 0"),
    "no bias": ({24: [GOOD, {"linear.0.weight": torch.ones(24, 24)}]}, "lacks linear.0.bias"),
    "a short bias": ({24: [GOOD, layers((24, 24), bias=3)]}, r"and \[3\] does not follow"),
    "NaN": ({24: [GOOD, {**GOOD, "linear.0.bias": torch.full((24,), torch.nan)}]}, "holds NaN"),
    "integers": ({24: [GOOD, {**GOOD, "linear.0.bias": torch.ones(24, dtype=torch.int64)}]}, "integers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_none_is_refused(tmp_path: Path, name: str) -> None:
    content, message = REFUSED[name]
    torch.save(content, tmp_path / "h.pt")
    with pytest.raises(CheckpointError, match=message):
        load_hypernetwork(tmp_path / "h.pt")


class Harmful:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("this must not be run",)


def test_code_in_a_file_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({24: [GOOD, GOOD], "name": Harmful()}, tmp_path / "h.pt")
    with pytest.raises(CheckpointError, match="refused, and nothing of it was run"):
        load_hypernetwork(tmp_path / "h.pt")
    assert capsys.readouterr().out == ""


def test_values_that_nest_for_ever_end(tmp_path: Path) -> None:
    endless: list[object] = []
    endless.append(endless)
    torch.save({24: [GOOD, GOOD], "optional": endless}, tmp_path / "h.pt")
    assert load_hypernetwork(tmp_path / "h.pt").networks.keys() == {24}
