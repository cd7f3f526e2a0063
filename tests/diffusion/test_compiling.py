"""UNets whose blocks run through PyTorch's compiler: the same numbers, and errors that say what to do."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion.networks.attachments import Hooks
from diffusion.networks.compiling import CompilationError
from diffusion.networks.unet import UNet
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from tests.diffusion.hook_samples import embedding, model
from tests.diffusion.reference import relative_error
from tests.nodes.toys import call


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What was compiled is let go of."""
    yield
    torch.compiler.reset()


def predicted(network: UNet, hooks: Hooks | None = None) -> Tensor:
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    both = torch.cat([embedding("positive"), embedding("negative")])
    with torch.no_grad():
        return network(x, torch.tensor([300]), network.read(both), hooks or Hooks())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_a_compiled_model_predicts_the_same() -> None:
    plain = replace(model(), runtime=Runtime(Placement()))
    compiled = replace(plain, compiled="inductor")
    assert (
        relative_error(predicted(plain.runtime.unet(compiled)), predicted(plain.runtime.unet(plain))) < 1e-5
    )


@pytest.mark.slow
def test_the_compiler_is_given_the_blocks_once() -> None:
    graphs: list[torch.fx.GraphModule] = []

    def noting(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.register_backend(noting, name="weft_noting")
    plain = replace(model(), runtime=Runtime(Placement()))
    compiled = replace(plain, compiled="weft_noting")
    network, ours = plain.runtime.unet(compiled), plain.runtime.unet(plain)
    assert network is not ours
    assert network is plain.runtime.unet(compiled)
    assert graphs == []
    assert relative_error(predicted(network), predicted(ours)) < 1e-5
    first = len(graphs)
    predicted(network)
    assert 0 < len(graphs) == first
    doubled = Hooks(self_attention=(lambda attend, tokens, spot: 2 * attend(tokens),))
    assert relative_error(predicted(network, doubled), predicted(ours, doubled)) < 1e-5


def test_a_failure_of_the_compiler_says_what_to_do() -> None:
    def broken(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        raise RuntimeError("no such thing as a compiler")

    torch._dynamo.register_backend(broken, name="weft_broken")
    value = replace(model(), compiled="weft_broken")
    with pytest.raises(
        CompilationError, match=r"weft_broken.*no such thing as a compiler\. .*TorchCompileModel"
    ):
        predicted(value.runtime.unet(value))


def test_a_failure_of_the_model_stays_what_it_is() -> None:
    value = replace(model(), compiled="eager")

    def failing(*given: Any) -> Tensor:
        raise ZeroDivisionError("by a feature")

    with pytest.raises(ZeroDivisionError, match="by a feature"):
        predicted(value.runtime.unet(value), Hooks(after=(failing,)))


def test_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/bin/" + name)
    assert call("TorchCompileModel", model=model()).compiled == "inductor"
    with pytest.raises(CompilationError, match="cudagraphs' needs a CUDA device"):
        call("TorchCompileModel", model=model(), backend="cudagraphs")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(CompilationError, match=r"Install g\+\+"):
        call("TorchCompileModel", model=model(), backend="inductor")
    limited = replace(model(), runtime=Runtime(Placement(memory_limit=4 << 30)))
    with pytest.raises(CompilationError, match="--memory-limit"):
        call("TorchCompileModel", model=limited)


def test_a_graphics_card_needs_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffusion.networks.compiling.find_spec", lambda name: None)
    card = replace(model(), runtime=Runtime(replace(Placement(), device=torch.device("cpu"))))
    object.__setattr__(card.runtime, "placement", replace(Placement(), device=torch.device("cuda")))
    with pytest.raises(CompilationError, match="triton"):
        call("TorchCompileModel", model=card)
    assert call("TorchCompileModel", model=card, backend="cudagraphs").compiled == "cudagraphs"
