"""The optimiser, against torch's AdamW and against what Muon's steps must be."""

import pytest
import torch
from torch import nn

from training.optimiser import Optimiser, Rates, orthogonal


def test_orthogonal_keeps_directions_and_evens_out_their_sizes() -> None:
    random = torch.Generator().manual_seed(0)
    for shape in ((8, 20), (20, 8), (6, 6)):
        matrix = torch.randn(shape, generator=random)
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        found = orthogonal(matrix)
        assert torch.linalg.svdvals(found).min() > 0.5
        assert torch.linalg.svdvals(found).max() < 1.4
        assert torch.cosine_similarity(found.flatten(), (u @ v).flatten(), dim=0) > 0.95


def test_vectors_move_as_adamw_moves_them() -> None:
    ours, theirs = nn.LayerNorm(5), nn.LayerNorm(5)
    optimiser = Optimiser(ours, Rates(other=1e-2))
    reference = torch.optim.AdamW(theirs.parameters(), lr=1e-2, betas=(0.9, 0.98), weight_decay=0)
    random = torch.Generator().manual_seed(1)
    for _ in range(10):
        gradients = [torch.randn(5, generator=random) for _ in range(2)]
        optimiser.step(gradients, scale=0.5)
        for parameter, gradient in zip(theirs.parameters(), gradients, strict=True):
            parameter.grad = gradient
        reference.param_groups[0]["lr"] = 0.5e-2
        reference.step()
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, its)


def test_matrices_take_steps_of_adams_size() -> None:
    layer = nn.Linear(40, 30, bias=False)
    before = layer.weight.detach().clone()
    gradient = torch.randn(30, 40, generator=torch.Generator().manual_seed(2))
    Optimiser(layer, Rates(matrix=1e-2, decay=0)).step([gradient], scale=1)
    step = (layer.weight.detach() - before).square().mean().sqrt().item()
    assert step == pytest.approx(0.2e-2, rel=0.25)


def test_slowed_and_missing_gradients() -> None:
    network = nn.ModuleDict({"text": nn.Linear(4, 4, bias=False), "unet": nn.Linear(4, 4, bias=False)})
    start = {name: value.detach().clone() for name, value in network.named_parameters()}
    optimiser = Optimiser(network, Rates(decay=0, slowed={"text.": 0.2}))
    gradient = torch.eye(4)
    optimiser.step([gradient, gradient], scale=1)
    moved = {name: (value - start[name]).norm().item() for name, value in network.named_parameters()}
    assert moved["text.weight"] == pytest.approx(0.2 * moved["unet.weight"], rel=1e-3)
    now = network.state_dict()["text.weight"].clone()
    optimiser.step([None, gradient], scale=1)
    assert torch.equal(network.state_dict()["text.weight"], now)


def test_what_is_frozen_is_left_alone() -> None:
    layer = nn.Linear(3, 3)
    layer.bias.requires_grad_(False)
    assert Optimiser(layer, Rates()).names == ("weight",)


def test_state_of_another_network_is_refused() -> None:
    state = Optimiser(nn.Linear(3, 3), Rates()).state()
    with pytest.raises(ValueError, match="another network"):
        Optimiser(nn.LayerNorm(3), Rates()).restore(state)
