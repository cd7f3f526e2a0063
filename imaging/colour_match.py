"""The colours of one picture given to another."""

import torch
from torch import Tensor

METHODS = ("reinhard", "histogram")
_D65 = (0.95047, 1.0, 1.08883)
_TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
"""Linear sRGB to CIE XYZ (IEC 61966-2-1)."""
_DELTA = 6 / 29
_FLAT = 1e-5


def match_colours(image: Tensor, reference: Tensor, method: str, strength: float) -> Tensor:
    """RGB pictures [B, H, W, 3] with the colours of `reference`, cut to 0..1.

    reference: as many pictures as `image` has, or one for all, of any size.
    method: "reinhard" gives each CIELAB channel the reference's mean and deviation (after Reinhard et al. 2001, who
        took another space of opponent colours); "histogram" gives each RGB channel the reference's distribution.
    strength: 0..1, from the picture as it is to the full change.

    Raises ValueError when the two batches do not fit.
    """
    if len(reference) not in (1, len(image)):
        raise ValueError(
            f"There are {len(image)} pictures and {len(reference)} references; give one reference, or one for each."
        )
    match = _reinhard if method == "reinhard" else _histogram
    references = reference.expand(len(image), -1, -1, -1)
    matched = torch.stack([match(one, other) for one, other in zip(image, references, strict=True)])
    return torch.lerp(image, matched, strength).clamp(0, 1)


def _reinhard(picture: Tensor, reference: Tensor) -> Tensor:
    source, target = to_lab(picture.double()), to_lab(reference.double())
    mean, wanted_mean = source.mean(dim=(0, 1)), target.mean(dim=(0, 1))
    deviation, wanted = source.std(dim=(0, 1), correction=0), target.std(dim=(0, 1), correction=0)
    # A channel that is flat has nothing to stretch.
    gain = torch.where(deviation > _FLAT, wanted / deviation.clamp(min=_FLAT), torch.ones_like(wanted))
    return from_lab((source - mean) * gain + wanted_mean).clamp(0, 1).to(picture)


def _histogram(picture: Tensor, reference: Tensor) -> Tensor:
    channels = [
        _matched_values(picture[..., channel].reshape(-1), reference[..., channel].reshape(-1))
        for channel in range(picture.shape[-1])
    ]
    return torch.stack(channels, dim=-1).reshape(picture.shape)


def _matched_values(source: Tensor, target: Tensor) -> Tensor:
    """Each value replaced by the one that as large a share of `target` does not exceed, interpolated."""
    _, places, counts = source.unique(return_inverse=True, return_counts=True)
    wanted, wanted_counts = target.unique(return_counts=True)
    share = counts.cumsum(0).double() / len(source)
    wanted_share = wanted_counts.cumsum(0).double() / len(target)
    return _interpolated(share, wanted_share, wanted.double())[places].to(source)


def _interpolated(x: Tensor, known_x: Tensor, known_y: Tensor) -> Tensor:
    """Straight lines through the known points (known_x grows), level beyond them."""
    after = torch.searchsorted(known_x, x).clamp(max=len(known_x) - 1)
    before = (after - 1).clamp(min=0)
    distance = (known_x[after] - known_x[before]).clamp(min=1e-12)
    part = ((x - known_x[before]) / distance).clamp(0, 1)
    return torch.where(before == after, known_y[after], torch.lerp(known_y[before], known_y[after], part))


def to_lab(rgb: Tensor) -> Tensor:
    """sRGB [..., 3], 0..1, as CIELAB under D65."""
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = linear @ linear.new_tensor(_TO_XYZ).T / linear.new_tensor(_D65)
    root = xyz.clamp(min=0) ** (1 / 3)
    f = torch.where(xyz > _DELTA**3, root, xyz / (3 * _DELTA**2) + 4 / 29)
    x, y, z = f.unbind(dim=-1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), dim=-1)


def from_lab(lab: Tensor) -> Tensor:
    """CIELAB under D65 [..., 3] as sRGB, which may lie outside 0..1."""
    lightness, a, b = lab.unbind(dim=-1)
    y = (lightness + 16) / 116
    f = torch.stack((y + a / 500, y, y - b / 200), dim=-1)
    xyz = torch.where(f > _DELTA, f**3, 3 * _DELTA**2 * (f - 4 / 29)) * lab.new_tensor(_D65)
    linear = xyz @ torch.linalg.inv(lab.new_tensor(_TO_XYZ)).T
    return torch.where(
        linear > 0.0031308, 1.055 * linear.clamp(min=1e-9) ** (1 / 2.4) - 0.055, 12.92 * linear
    )
