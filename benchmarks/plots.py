"""Pictures of the record, drawn by matplotlib, which only this module needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.results import Figure, Record


@dataclass(frozen=True)
class Plot:
    """A picture of one row: the file in docs/images, and what its panels vary."""

    row: str
    file: str
    axes: tuple[tuple[str, str], ...]


SCALING = Plot(
    "scaling",
    "performance-scaling.png",
    (("steps", "steps"), ("size", "width and height, pixels"), ("batch", "pictures at once")),
)


def draw(record: Record, folder: Path) -> list[Path]:
    """Write every plot for which the record has figures; their paths."""
    row = record.row(SCALING.row)
    if row is None or not row.figures:
        return []
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(SCALING.axes), figsize=(12, 3.8), layout="constrained")
    for panel, (axis, label) in zip(panels, SCALING.axes, strict=True):
        _panel(panel, axis, label, row.figures)
    panels[0].set_ylabel("seconds, text to PNG")
    panels[0].legend(frameon=False)
    path = folder / SCALING.file
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return [path]


def lines(axis: str, figures: tuple[Figure, ...]) -> dict[str, list[tuple[float, float]]]:
    """For each subject the points (what varies, the figure), in order, of the figures that have this axis."""
    found: dict[str, list[tuple[float, float]]] = {}
    for figure in figures:
        if axis in figure.at:
            found.setdefault(figure.subject, []).append((figure.at[axis], figure.value))
    return {subject: sorted(points) for subject, points in found.items()}


def _panel(panel: Any, axis: str, label: str, figures: tuple[Figure, ...]) -> None:
    for subject, points in lines(axis, figures).items():
        xs, ys = zip(*points, strict=True)
        ours = subject.startswith("weft")
        panel.plot(xs, ys, marker="o", label=subject, linewidth=2.5 if ours else 1.2, zorder=3 if ours else 2)
    panel.set_xlabel(label)
    panel.set_ylim(bottom=0)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
