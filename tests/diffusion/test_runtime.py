"""The runtime: networks made once, shared tensors, the memory budget, and values that never mix."""

import weakref
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor, nn

from diffusion.config import VAEConfig
from diffusion.model import Clip, Model, Vae
from diffusion.networks.unet import UNet
from diffusion.networks.vae import Autoencoder
from diffusion.placement import Placement
from diffusion.runtime import Runtime
from diffusion.text.text_encoder import TextEncoder
from tests.diffusion.lora_samples import clip, model
from tests.diffusion.reference import random_weights, relative_error

CONV_IN = "input_blocks.0.0.weight"
CONV_IN_LAYER = {CONV_IN, "input_blocks.0.0.bias"}
CONV_OUT = "out.2.weight"
CONV_OUT_LAYER = {CONV_OUT, "out.2.bias"}
PLAIN = Placement(pack=False)
VAE = VAEConfig(channels=(32, 32), blocks=1)


@dataclass(frozen=True, eq=False)
class Plus:
    """A patch that adds a number to some weights."""

    keys: frozenset[str]
    number: float = 1.0

    @property
    def identity(self) -> Hashable:
        return id(self)

    def apply(self, key: str, weight: Tensor) -> Tensor:
        assert weight.dtype == torch.float32
        return weight + self.number


def plus(*keys: str, number: float = 1.0) -> Plus:
    return Plus(frozenset(keys), number)


def same(one: nn.Module, other: nn.Module) -> frozenset[str]:
    """The keys under which two networks have the very same tensor."""
    tensors = other.state_dict()
    return frozenset(
        key for key, tensor in one.state_dict().items() if tensor.data_ptr() == tensors[key].data_ptr()
    )


def half(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As most files hold them, so that a network in float32 has tensors of its own."""
    return {key: tensor.half() for key, tensor in weights.items()}


def half_model(budget: int | None = None) -> Model:
    runtime = Runtime(PLAIN) if budget is None else Runtime(PLAIN, budget=budget)
    return replace(model(), weights=half(model().weights), runtime=runtime)


def nbytes(network: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in network.state_dict().values())


def test_each_kind_of_value_becomes_its_network_ready_to_use() -> None:
    m, c = model(), clip()
    vae = Vae(random_weights(lambda: Autoencoder(VAE)), VAE, Runtime())
    networks = (m.runtime.unet(m), c.runtime.text_encoder(c), vae.runtime.autoencoder(vae))
    assert [type(network) for network in networks] == [UNet, TextEncoder, Autoencoder]
    for network in networks:
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())
        assert not any(tensor.is_meta for tensor in network.state_dict().values())


def test_a_network_is_made_once() -> None:
    m = model()
    assert m.runtime.unet(m) is m.runtime.unet(m)
    assert m.runtime.unet(m) is m.runtime.unet(replace(m))
    assert m.runtime.unet(m) is not m.runtime.unet(replace(m, weights=dict(m.weights)))
    assert m.runtime.unet(m) is not m.runtime.unet(replace(m, config=replace(m.config, num_heads=2)))


def test_clip_skip_uses_the_same_encoder() -> None:
    c = clip()
    assert c.runtime.text_encoder(c) is c.runtime.text_encoder(replace(c, layer=-2))


def test_weights_already_as_they_compute_are_not_copied() -> None:
    m = replace(model(), runtime=Runtime(PLAIN))
    network = m.runtime.unet(m).state_dict()
    assert all(network[key].data_ptr() == tensor.data_ptr() for key, tensor in m.weights.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_networks_compute_in_the_placements_dtype(dtype: torch.dtype) -> None:
    m = replace(half_model(), runtime=Runtime(Placement(dtype=dtype, pack=False)))
    patched = m.patched(plus(CONV_IN))
    for value in (m, patched):
        assert {tensor.dtype for tensor in m.runtime.unet(value).state_dict().values()} == {dtype}


def test_the_autoencoder_has_its_own_dtype() -> None:
    placement = Placement(dtype=torch.float16)
    vae = Vae(random_weights(lambda: Autoencoder(VAE)), VAE, Runtime(placement))
    dtypes = {tensor.dtype for tensor in vae.runtime.autoencoder(vae).state_dict().values()}
    assert dtypes == {placement.vae_dtype} == {torch.float32}


@pytest.mark.parametrize("patched_first", [False, True])
def test_patched_and_unpatched_share_what_no_patch_touches(patched_first: bool) -> None:
    plain = half_model()
    patched = plain.patched(plus(CONV_IN))
    first, second = (patched, plain) if patched_first else (plain, patched)
    networks = (plain.runtime.unet(first), plain.runtime.unet(second))
    assert same(*networks) == plain.weights.keys() - CONV_IN_LAYER


def test_stacked_patches_share_what_the_same_ones_touch() -> None:
    plain = half_model()
    one = plain.patched(plus(CONV_IN))
    two = one.patched(plus(CONV_OUT))
    networks = [plain.runtime.unet(value) for value in (plain, one, two)]
    assert same(networks[1], networks[2]) == plain.weights.keys() - CONV_OUT_LAYER
    assert same(networks[0], networks[2]) == plain.weights.keys() - CONV_IN_LAYER - CONV_OUT_LAYER


def test_patched_and_unpatched_never_mix() -> None:
    plain = half_model()
    up, down = plus(CONV_IN, number=1.0), plus(CONV_IN, number=-2.0)
    values = {
        0.0: plain,
        1.0: plain.patched(up),
        -2.0: plain.patched(down),
        -1.0: plain.patched(up).patched(down),
        2.0: plain.patched(up).patched(up),
    }
    weight = plain.weights[CONV_IN].float()
    for _ in range(2):
        for number, value in values.items():
            found = plain.runtime.unet(value).state_dict()[CONV_IN]
            assert torch.allclose(found, weight + number), number
    assert torch.equal(plain.weights[CONV_IN], model().weights[CONV_IN].half())


def test_the_order_of_patches_counts() -> None:
    @dataclass(frozen=True, eq=False)
    class Twice:
        keys: frozenset[str]
        identity = "twice"

        def apply(self, key: str, weight: Tensor) -> Tensor:
            return weight * 2

    plain = half_model()
    more, twice = plus(CONV_IN), Twice(frozenset({CONV_IN}))
    weight = plain.weights[CONV_IN].float()
    for patches, expected in (((more, twice), (weight + 1) * 2), ((twice, more), weight * 2 + 1)):
        network = plain.runtime.unet(replace(plain, patches=patches))
        assert torch.allclose(network.state_dict()[CONV_IN], expected)


@dataclass(frozen=True)
class Named:
    """A patch that is what its name says; any two are equal."""

    keys: frozenset[str]
    identity: str = field(compare=False)

    def apply(self, key: str, weight: Tensor) -> Tensor:
        return torch.full_like(weight, float(len(self.identity)))


def test_patches_are_told_apart_by_their_identity_alone() -> None:
    plain = half_model()
    short, long, again = (Named(frozenset({CONV_IN}), name) for name in ("a", "long", "long"))
    networks = [plain.runtime.unet(plain.patched(patch)) for patch in (short, long, again)]
    assert [float(network.state_dict()[CONV_IN].mean()) for network in networks] == [1, 4, 4]
    assert networks[1] is networks[2] is not networks[0]
    beside = [plain.runtime.unet(plain.patched(patch).patched(plus(CONV_OUT))) for patch in (long, again)]
    assert same(*beside) == plain.weights.keys() - CONV_OUT_LAYER


def test_networks_of_forgotten_values_are_not_taken_for_new_ones() -> None:
    """Identities are reused once nothing holds their object; the runtime must hold what it keys by."""
    runtime = Runtime()
    config = model().config
    for number in range(20):
        weights = {key: torch.full_like(tensor, number) for key, tensor in model().weights.items()}
        network = runtime.unet(Model(weights, config, runtime))
        assert float(network.state_dict()[CONV_IN].mean()) == number
        del weights
    plain = half_model()
    weight = plain.weights[CONV_IN].float()
    for number in range(20):
        network = runtime.unet(plain.patched(plus(CONV_IN, number=number)))
        assert torch.allclose(network.state_dict()[CONV_IN], weight + number)


def test_release_lets_go_of_every_network() -> None:
    m = half_model()
    before = m.runtime.unet(m)
    gone = weakref.ref(before)
    del before
    m.runtime.release()
    assert gone() is None
    assert m.runtime.unet(m).state_dict().keys() == m.weights.keys()


def test_over_budget_the_one_used_longest_ago_goes_first() -> None:
    size = nbytes(Runtime(PLAIN).unet(half_model()))
    runtime = Runtime(PLAIN, budget=2 * size)
    a, b, c = (replace(half_model(), runtime=runtime) for _ in range(3))
    networks = {name: weakref.ref(runtime.unet(value)) for name, value in (("a", a), ("b", b))}
    runtime.unet(a)
    networks["c"] = weakref.ref(runtime.unet(c))
    assert [name for name, network in networks.items() if network() is not None] == ["a", "c"]
    assert runtime.unet(a) is networks["a"]()
    assert runtime.unet(c) is networks["c"]()


def test_the_one_in_use_is_kept_whatever_the_budget() -> None:
    m = half_model(budget=0)
    network = m.runtime.unet(m)
    assert m.runtime.unet(m) is network
    other = m.patched(plus(CONV_IN))
    assert m.runtime.unet(other) is m.runtime.unet(other)
    assert m.runtime.unet(m) is not network


def test_shared_tensors_count_once() -> None:
    size = nbytes(Runtime(PLAIN).unet(half_model()))
    plain = half_model(budget=size + size // 10)
    network = plain.runtime.unet(plain)
    patched = [plain.patched(plus(CONV_IN, number=number)) for number in range(4)]
    made = [plain.runtime.unet(value) for value in patched]
    assert plain.runtime.unet(plain) is network
    assert [plain.runtime.unet(value) for value in patched] == made


def test_what_a_patched_network_keeps_of_an_evicted_one_still_counts() -> None:
    size = nbytes(Runtime(PLAIN).unet(half_model()))
    plain = half_model(budget=2 * size + size // 10)
    patched = plain.patched(plus(CONV_IN))
    others = [replace(half_model(), runtime=plain.runtime) for _ in range(2)]
    gone = [weakref.ref(plain.runtime.unet(value)) for value in (plain, patched, *others)]
    # The first two are worth one network together; making room for the last takes both.
    assert [network() is not None for network in gone] == [False, False, True, True]


def test_weights_of_another_network_are_an_error() -> None:
    m = model()
    with pytest.raises(RuntimeError, match=r"\d+ missing .* extra|\d+ missing"):
        m.runtime.unet(replace(m, weights={CONV_IN: m.weights[CONV_IN]}))
    c = clip()
    with pytest.raises(RuntimeError, match=r"\d+ missing .* extra|\d+ missing"):
        c.runtime.text_encoder(Clip(m.weights, c.config, c.tokenizer, c.runtime))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_networks_give_what_plain_ones_give(dtype: torch.dtype) -> None:
    plain = replace(half_model(), runtime=Runtime(Placement(dtype=dtype, pack=False)))
    packed = replace(plain, runtime=Runtime(Placement(dtype=dtype, pack=True)))
    x, t, context = torch.randn(2, 4, 16, 16), torch.tensor([3.0, 700.0]), torch.randn(2, 77, 48)
    for patches in ((), (plus("middle_block.0.in_layers.2.weight", number=0.01),)):
        networks = [value.runtime.unet(replace(value, patches=patches)) for value in (plain, packed)]
        assert sum(tensor.numel() for tensor in networks[1].state_dict().values()) < 0.5 * sum(
            tensor.numel() for tensor in networks[0].state_dict().values()
        ), "most weights are packed"
        expected, found = (network(x, t, context) for network in networks)
        assert relative_error(found, expected) < (1e-5 if dtype == torch.float32 else 2e-2)


def test_packed_weights_count_as_what_they_take() -> None:
    size = nbytes(Runtime(PLAIN).unet(half_model()))
    runtime = Runtime(Placement(pack=True), budget=int(2.4 * size))
    networks = [weakref.ref(runtime.unet(replace(half_model(), runtime=runtime))) for _ in range(3)]
    assert [network() is not None for network in networks] == [False, True, True]
