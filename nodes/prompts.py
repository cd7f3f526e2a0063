"""Nodes that make lists of prompts: out of a file, and out of one prompt with parts to try."""

from pathlib import Path
from typing import Annotated, NamedTuple

from graph import QUIET, Context, File, Range, Text, node
from nodes.fingerprints import content_stamp
from nodes.limits import MOST_ITEMS, check_items

LARGEST_FILE = 10_000_000
MOST_OPTIONS = 10


def _file_stamp(*, file: str, ctx: Context = QUIET) -> str:
    return content_stamp(ctx.folders.find("input", file))


@node("PromptsFromFile", title="Prompts from File", category="conditioning/prompts", fingerprint=_file_stamp)
def prompts_from_file(
    *,
    file: Annotated[str, File("input", suffixes=(".txt",))],
    start: Annotated[int, Range(0, MOST_ITEMS)] = 0,
    count: Annotated[int, Range(0, MOST_ITEMS)] = 0,
    ctx: Context = QUIET,
) -> list[str]:
    """Prompts out of a text file, one per line (`--from-file` of the original script). What follows runs for each.

    Inputs:
        file: A text file in the input folder, UTF-8, of 10 MB and 10000 prompts at most. Empty lines are left out.
        start: The first prompt to take, counted from 0.
        count: How many to take; 0 for all.

    Outputs:
        STRING: The prompts, one by one.
    """
    path = ctx.folders.find("input", file)
    prompts = [line for line in read_lines(path) if line.strip()][start:]
    prompts = prompts[:count] if count else prompts
    if not prompts:
        raise ValueError(f"{path.name} has no prompt from line {start} on: write one per line.")
    check_items(len(prompts))
    return prompts


def read_lines(path: Path) -> list[str]:
    """The lines of a text file. Raises ValueError when it is larger than LARGEST_FILE or no UTF-8."""
    if path.stat().st_size > LARGEST_FILE:
        raise ValueError(f"{path.name} is larger than {LARGEST_FILE} bytes: split it.")
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name} is no text in UTF-8 ({error}): save it anew as such.") from error


class Matrix(NamedTuple):
    """The prompts of a matrix, and what to write beside its columns and rows."""

    prompts: list[str]
    column_labels: list[str]
    row_labels: list[str]


@node("PromptMatrix", title="Prompt Matrix", category="conditioning/prompts")
def prompt_matrix(*, prompt: Annotated[str, Text(multiline=True)], separator: str = "|") -> Matrix:
    """Every combination of a prompt's parts: `a house|at night|in the snow` makes four prompts.

    Inputs:
        prompt: What is in all of them, then the parts that are in half of them each, 10 at most.
        separator: What stands between.

    Outputs:
        prompts: The prompts, one by one: first all for the first row, from left to right.
        column_labels: What stands above each column of the grid: the first half of the parts.
        row_labels: What stands beside each row: the other half.
    """
    if not separator:
        raise ValueError("The separator is empty; write what stands between the parts, | say.")
    always, *options = [part.strip().strip(",").strip() for part in prompt.split(separator)]
    if len(options) > MOST_OPTIONS:
        raise ValueError(
            f"The prompt has {len(options)} parts to combine, {MOST_OPTIONS} are the most: {2**MOST_OPTIONS} pictures."
        )
    half = (len(options) + 1) // 2
    columns, rows = _combinations(options[:half]), _combinations(options[half:])
    prompts = [
        ", ".join(part for part in (always, *column, *row) if part) for row in rows for column in columns
    ]
    return Matrix(prompts, [", ".join(parts) for parts in columns], [", ".join(parts) for parts in rows])


def _combinations(options: list[str]) -> list[list[str]]:
    """All subsets, none first; the first option is in every second of them."""
    return [
        [option for bit, option in enumerate(options) if number >> bit & 1]
        for number in range(2 ** len(options))
    ]
