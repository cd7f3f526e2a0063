"""Nodes for X/Y/Z plots: every combination of some values, and the grid of pictures that shows them."""

from typing import Annotated, Any, NamedTuple

from diffusion.types import Image
from graph import Range, node
from imaging.checks import picture
from imaging.labels import labelled_grid
from nodes.limits import check_items


class PlotValues(NamedTuple):
    """The values at each place of a plot, row by row, and what to write beside its columns and rows."""

    x: list[Any]
    y: list[Any]
    z: list[Any]
    column_labels: list[str]
    row_labels: list[str]


@node("PlotValues", title="X/Y/Z Plot: Values", category="utils/plot")
def plot_values(
    *,
    x: list[Any],
    y: list[Any] | None = None,
    z: list[Any] | None = None,
    x_name: list[str] | None = None,
    y_name: list[str] | None = None,
    z_name: list[str] | None = None,
) -> PlotValues:
    """Every combination of the values of up to three lists. What is linked to x, y and z runs once for each.

    Inputs:
        x: The values from left to right (make them with List from Text).
        y: The values from top to bottom.
        z: More values: each makes a block of rows of its own.
        x_name: What the values of x are, for the labels: `seed`, say.
        y_name: What the values of y are.
        z_name: What the values of z are.

    Outputs:
        x: The value of x at each place, row by row, one by one.
        y: The value of y at each place; None where there is no y.
        z: The value of z at each place; None where there is no z.
        column_labels: A label for each column.
        row_labels: A label for each row; empty where there is neither y nor z.
    """
    for name, values in (("x", x), ("y", y), ("z", z)):
        if values is not None and not values:
            raise ValueError(
                f"The list of {name} has no items. Give it one at least, or leave y and z unconnected."
            )
    ys, zs = [None] if y is None else y, [None] if z is None else z
    check_items(len(x) * len(ys) * len(zs))
    rows = [(b, c) for c in zs for b in ys]
    places = [(a, b, c) for b, c in rows for a in x]
    names = [name[0] if name else "" for name in (x_name, y_name, z_name)]
    row_labels = [
        "\n".join(_label(name, value) for name, value in ((names[2], c), (names[1], b)) if value is not None)
        for b, c in rows
    ]
    return PlotValues(
        [place[0] for place in places],
        [place[1] for place in places],
        [place[2] for place in places],
        [_label(names[0], value) for value in x],
        [] if y is None and z is None else row_labels,
    )


def _label(name: str, value: object) -> str:
    return f"{name}: {value}" if name else str(value)


@node("LabelledGrid", title="Labelled Grid", category="image/transform")
def labelled_image_grid(
    *,
    images: list[Image],
    column_labels: list[str] | None = None,
    row_labels: list[str] | None = None,
    columns: list[Annotated[int, Range(0, 4096)]] | None = None,
    font_size: list[Annotated[int, Range(0, 256)]] | None = None,
) -> Image:
    """Lay pictures out row by row on white, with a label above each column and beside each row.

    Inputs:
        images: The pictures, a list or batches, all of one size.
        column_labels: What to write above the columns, from left to right.
        row_labels: What to write beside the rows, from top to bottom.
        columns: How many pictures in a row; 0 or nothing for as many as there are column labels, or to make it square.
        font_size: Height of the letters in pixels; 0 or nothing for a tenth of a picture, and 10 at least.

    Outputs:
        IMAGE: The grid, [1, H', W', 3] float32, 0..1.
    """
    if not images:
        raise ValueError("There are no pictures for the grid. Look at the node they come from.")
    return Image(
        labelled_grid(
            [picture(batch, "images") for batch in images],
            column_labels or [],
            row_labels or [],
            columns=columns[0] if columns else 0,
            font_size=font_size[0] if font_size else 0,
        )
    )
