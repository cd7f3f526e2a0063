"""Enlarging in tiles: seamless where the work is local, blended where it is not, bounded in size."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from imaging.tiles import enlarge_by_tiles

PICTURE = torch.rand(2, 70, 45, 3, generator=torch.Generator().manual_seed(0))


def doubled(piece: Tensor) -> Tensor:
    return F.interpolate(piece, scale_factor=2, mode="nearest")


@pytest.mark.parametrize(("tile", "overlap"), [(100, 8), (32, 8), (20, 3), (16, 0)])
def test_tiles_leave_no_seam_in_local_work(tile: int, overlap: int) -> None:
    larger = enlarge_by_tiles(PICTURE, doubled, 2, tile=tile, overlap=overlap)
    assert torch.allclose(larger, PICTURE.repeat_interleave(2, 1).repeat_interleave(2, 2), atol=1e-6)


def test_no_tile_is_larger_than_asked_for_and_each_is_told() -> None:
    seen: list[tuple[int, ...]] = []
    told: list[tuple[int, int]] = []

    def spy(piece: Tensor) -> Tensor:
        seen.append(tuple(piece.shape))
        return doubled(piece)

    enlarge_by_tiles(
        PICTURE, spy, 2, tile=32, overlap=8, on_tile=lambda done, total: told.append((done, total))
    )
    assert max(max(shape[2:]) for shape in seen) == 32
    assert all(shape[:2] == (1, 3) for shape in seen)
    assert told == [(done, len(seen)) for done in range(1, len(seen) + 1)]


def test_one_tile_passes_into_the_next_evenly() -> None:
    values = iter([0.0, 1.0])

    def flat(piece: Tensor) -> Tensor:
        return torch.full_like(piece, next(values))

    row = enlarge_by_tiles(PICTURE[:1, :10], flat, 1, tile=30, overlap=10)[0, 5, :, 0]
    assert (row[:20] == 0).all()
    assert (row[30:] == 1).all()
    assert (row[20:30].diff() > 0).all()
    assert torch.allclose(row[20:30] + row[20:30].flip(0), torch.ones(10))
