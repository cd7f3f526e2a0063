"""Whatever is written on the command line or into a workflow ends in a sentence and a code, never in a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from main import main

ROOT = Path(__file__).parents[2]
WORKFLOW = {
    "1": {"class_type": "MathExpression", "inputs": {"expression": "1 + 1"}},
    "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    "3": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16}},
    "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}},
}
FILES: dict[str, bytes] = {
    "empty": b"",
    "no object": b"[]",
    "no number": b'{"1": {"class_type": "EmptyImage", "inputs": {"width": NaN}}}',
    "many digits": b'{"1": {"class_type": "EmptyImage", "inputs": {"width": %s}}}' % (b"1" * 5000),
    "deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "UTF-16": "{}".encode("utf-16"),
    "bytes": bytes(range(256)),
    "half characters": b'{"\\ud800": {"class_type": "\\ud800", "inputs": {"\\ud800": "\\ud800"}}}',
    "terminal": b'{"\\u001b[31m": {"class_type": "\\u001b]0;x", "inputs": {}}}',
    "another's link": b'{"1": {"class_type": "SaveImage", "inputs": {"images": ["1", 99999999999999999999]}}}',
    "inputs of no names": b'{"1": {"class_type": "SaveImage", "inputs": 5, "_meta": 7}}',
    "editor's": b'{"nodes": [1, {"id": []}], "links": [[1, 2], "x"]}',
    "sub-graph in itself": b'{"nodes": [{"id": 1, "type": "X"}], "links": [], "definitions": {"subgraphs": '
    b'[{"id": "X", "nodes": [{"id": 1, "type": "X"}]}]}}',
}
PLACES = (
    "",
    "nowhere.json",
    "/",
    "/dev/zero",
    "/dev/null",
    "a\0b",
    "x" * 100_000,
    "\udcff",
    "/proc/self/mem",
)
SETTINGS = (
    "", "=", ".=", "1.=5", "1.nope=1", "nope.x=1", "3.width=nan", "3.width=" + "9" * 5000, "3.width=-1", "3.width=\0",
    "1.expression=\udcff", "1.expression=" + "(" * 900, "1.expression=10**10**10", "1.a=[1,", "1.a=" + "[" * 100_000,
    "1.a={}", "1.a=1e999", "2.source=NaN", '2.source=["2",0]', "\x1b[31m.x=1", "a" * 100_000, "4.filename_prefix=../x",
    "4.filename_prefix=/etc/x", "4.filename_prefix=a\0b",
)  # fmt: skip
OPTIONS: dict[str, tuple[str, ...]] = {
    "--seed": ("-1", "9" * 5000, "nan", ""),
    "--memory-limit": ("", "nan", "-1GB", "0GB", "9" * 5000 + "GB", "10ZB"),
    "--device": ("", "meta", "mkldnn", "vulkan", "cuda:999", "cuda:-1", "\0", "x" * 9999),
    "--models": ("/dev/null", "a\0b", "x" * 5000, "/nowhere"),
    "--input-directory": ("/dev/null", "a\0b", "x" * 5000),
    "--custom-nodes": ("/dev/null", "x" * 5000),
    "--output-directory": ("/dev/null", "a\0b", "x" * 5000, "/proc/nowhere"),
    "--power": ("nan", "inf", "-1", "1e999"),
}


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """A run sets what a signal does, for the process that it expects to have for itself."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def code_of(arguments: list[str], folder: Path) -> int:
    """What main.py would exit with."""
    try:
        # The last one that is given counts.
        return main(["--output-directory", str(folder / "out"), *arguments])
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else -1


def file_of(folder: Path, content: bytes) -> str:
    path = folder / "workflow.json"
    path.write_bytes(content)
    return str(path)


def refused(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether a bad input is called one, in words, and nothing steers the terminal."""
    assert code_of(arguments, folder) == 2
    told = capsys.readouterr()
    assert "rror: " in told.err
    assert "\x1b" not in told.err + told.out


@pytest.mark.parametrize("action", ["--run", "--validate"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: ascii(place[:20]))
def test_places(place: str, action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused([action, place], tmp_path, capsys)


@pytest.mark.parametrize("action", [["--run"], ["--validate"], ["--json", "--run"]], ids="-".join)
@pytest.mark.parametrize("name", FILES)
def test_files(name: str, action: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused([*action, file_of(tmp_path, FILES[name])], tmp_path, capsys)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: ascii(setting[:30]))
def test_settings(setting: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(tmp_path, json.dumps(WORKFLOW).encode())
    assert code_of(["--run", path, "--set", setting], tmp_path) in (1, 2)
    told = capsys.readouterr()
    assert "rror: " in told.err or "failed: " in told.err
    assert "\x1b" not in told.err


@pytest.mark.parametrize("option", OPTIONS)
def test_options(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for value in OPTIONS[option]:
        path = file_of(tmp_path, json.dumps(WORKFLOW).encode())
        refused(["--run", path, f"{option}={value}"], tmp_path, capsys)


def test_paths_are_printed_though_their_bytes_are_no_text(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    given = [sys.executable, str(ROOT / "main.py"), "--run", file_of(tmp_path, json.dumps(WORKFLOW).encode())]
    done = subprocess.run([*given, "--output-directory", folder], capture_output=True, check=True)
    assert done.stdout.startswith(folder + b"/")
    assert os.path.isfile(done.stdout.rstrip(b"\n"))
