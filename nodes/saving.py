"""Writes results under numbered names: whole or not at all, never over another file, never outside the folder."""

import errno
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from graph import QUIET, Context, Folders
from graph.errors import Problem

_MAX_NAME = 200
_FORBIDDEN = re.compile(r'[\x00-\x1f<>:"|?*\ud800-\udfff]')
_FORBIDDEN_INSIDE = re.compile(r'[/\\\x00-\x1f\x7f<>:"|?*]')
_SEARCH_NAME = "Node name for S&R"
_FULL = "Free some space, or choose another folder with --output-directory."
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.ENAMETOOLONG: "Use a shorter filename_prefix, with fewer folders in it.",
}
_DATE = re.compile(r"%date:([^%]*)%")
_DATE_PART = re.compile("yyyy|yy|MM?|dd?|hh?|HH?|mm?|ss?")
_DATE_PARTS = {"y": "%Y", "M": "%m", "d": "%d", "h": "%H", "H": "%H", "m": "%M", "s": "%S"}
_NODE_INPUT = re.compile(r"%([^%.]+)\.([^%.]+)%")

Content = bytes | Callable[[BinaryIO], object]
"""What a file is to hold, or what writes it, for files too large to be held in memory."""


def expand_prefix(
    prefix: str, *, ctx: Context, width: int = 0, height: int = 0, now: time.struct_time | None = None
) -> str:
    """Fill in `%width%`, `%height%`, `%year%` ... `%second%`, `%date:yyyy-MM-dd%` and `%Node title.input%`."""
    now = now or time.localtime()
    plain = {
        "width": str(width),
        "height": str(height),
        "year": time.strftime("%Y", now),
        "month": time.strftime("%m", now),
        "day": time.strftime("%d", now),
        "hour": time.strftime("%H", now),
        "minute": time.strftime("%M", now),
        "second": time.strftime("%S", now),
    }
    for name, value in plain.items():
        prefix = prefix.replace(f"%{name}%", value)
    prefix = _DATE.sub(lambda match: _date(match[1], now), prefix)
    return _NODE_INPUT.sub(lambda match: _node_input(match, ctx), prefix)


def _date(pattern: str, now: time.struct_time) -> str:
    """A part of one letter has no zeros before it."""

    def part(match: re.Match[str]) -> str:
        value = time.strftime(_DATE_PARTS[match[0][0]], now)
        return value[-2:] if match[0] == "yy" else value if len(match[0]) > 1 else str(int(value))

    return _DATE_PART.sub(part, pattern)


def _node_input(match: re.Match[str], ctx: Context) -> str:
    """The value of an input of the node with that name for searching, class or title; else the text itself."""
    for node in ctx.workflow.values():
        about = node.get("_meta", {})
        names = (about.get(_SEARCH_NAME), about.get("title"), node.get("class_type"))
        value = node.get("inputs", {}).get(match[2])
        if match[1] in names and isinstance(value, (str, int, float)):
            return _FORBIDDEN_INSIDE.sub("_", str(value))
    return match[0]


def split_prefix(prefix: str) -> tuple[str, str]:
    """(subfolder, start of the name) of a prefix such as `portraits/anna`.

    Raises ValueError when it would leave the folder or can't be a file's name.
    """
    path = PurePosixPath(prefix.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", prefix):
        raise ValueError(
            f"filename_prefix {prefix!r} points outside the folder for results. "
            "Use a name, or folders and a name below it, such as 'portraits/anna'."
        )
    if _FORBIDDEN.search(prefix) or any(len(part.encode()) > _MAX_NAME for part in path.parts):
        raise ValueError(
            f"filename_prefix {prefix[:80]!r} can't be a file's name: leave out control characters and "
            f'< > : " | ? *, and keep each part under {_MAX_NAME} bytes.'
        )
    return ("" if len(path.parts) < 2 else str(path.parent)), path.name


@dataclass(frozen=True)
class FilePrefix:
    """The rule of a filename_prefix input, so that a bad one is found before anything runs."""

    def problem(self, value: str, folders: Folders) -> Problem | None:
        try:
            split_prefix(expand_prefix(value, ctx=QUIET))
        except ValueError as error:
            return Problem("invalid_prefix", f"a name inside the folder for results ({error})")
        return None

    def describe(self, folders: Folders) -> dict[str, object]:
        return {}

    def unsuitable(self, socket: str) -> str | None:
        return None if socket == "STRING" else "FilePrefix stands on str only"


def save_numbered(root: Path, prefix: str, suffix: str, content: Content, *, kind: str) -> dict[str, str]:
    """Write `content` to `root/prefix_00001_suffix`, with the next free number.

    Returns where it went as an editor wants it: filename, subfolder, type. Raises OSError with a message that names
    the folder when it can't be written; nothing is left behind then.
    """
    subfolder, name = split_prefix(prefix)
    return save_first_free(
        root, subfolder, lambda folder: _numbered_names(folder, name, suffix), content, kind=kind
    )


def save_first_free(
    root: Path, subfolder: str, names: Callable[[Path], Iterator[str]], content: Content, *, kind: str
) -> dict[str, str]:
    """Write `content` into `root/subfolder`, under the first of `names(folder)` that no file has.

    Returns and raises as `save_numbered`.
    """
    folder = root / subfolder
    try:
        if not folder.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"The folder {subfolder!r} leads outside {root} through a link; use another.")
        folder.mkdir(parents=True, exist_ok=True)
        path = _publish(folder, names, content)
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "Choose another folder with --output-directory.")
        raise OSError(
            f"Could not save into {str(folder)[:200]}: {error.strerror or error}. {remedy}"
        ) from error
    return {"filename": path.name, "subfolder": subfolder, "type": kind}


def _publish(folder: Path, names: Callable[[Path], Iterator[str]], content: Content) -> Path:
    """Write beside the final place first, so that no reader ever meets half a file."""
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        return next(filter(None, (_placed(Path(temporary), folder / name) for name in names(folder))))
    finally:
        Path(temporary).unlink(missing_ok=True)


def _placed(temporary: Path, path: Path) -> Path | None:
    """`path`, where the temporary file is now; None when another file is there."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
            raise
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            return None
        os.replace(temporary, path)
    return path


def _numbered_names(folder: Path, name: str, suffix: str) -> Iterator[str]:
    pattern = re.compile(re.escape(name) + r"_(\d+)_", re.IGNORECASE)
    matches = (pattern.match(entry.name) for entry in os.scandir(folder))
    highest = max((int(match[1]) for match in matches if match), default=0)
    return (f"{name}_{number:05}_{suffix}" for number in count(highest + 1))
