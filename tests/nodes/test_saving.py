"""Where results are saved, under which names, and what is refused."""

import errno
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph import Context
from nodes.saving import expand_prefix, save_numbered, split_prefix

NOON = time.struct_time((2026, 3, 4, 12, 5, 6, 2, 63, 0))


def save(root: Path, prefix: str) -> str:
    return save_numbered(root, prefix, ".png", b"content", kind="output")["filename"]


def test_numbers_go_up_and_nothing_is_written_over(tmp_path: Path) -> None:
    assert [save(tmp_path, "a"), save(tmp_path, "a"), save(tmp_path, "ab"), save(tmp_path, "a")] == [
        "a_00001_.png",
        "a_00002_.png",
        "ab_00001_.png",
        "a_00003_.png",
    ]
    (tmp_path / "a_00002_.png").unlink()
    assert save(tmp_path, "a") == "a_00004_.png"


def test_folders_in_the_prefix_are_made(tmp_path: Path) -> None:
    saved = save_numbered(tmp_path, "people/anna", ".png", b"content", kind="output")
    assert saved == {"filename": "anna_00001_.png", "subfolder": "people", "type": "output"}
    assert (tmp_path / "people" / "anna_00001_.png").read_bytes() == b"content"


@pytest.mark.parametrize(
    "prefix",
    [
        "../out",
        "/etc/x",
        "a/../../b",
        "C:\\x",
        "..\\x",
        "a\0b",
        "a\nb",
        "x" * 300,
        "\U0001f600" * 80,
        "\ud800",
        'quote"',
    ],
)
def test_names_that_lead_elsewhere_or_can_be_no_name_are_refused(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(ValueError, match="filename_prefix"):
        save(tmp_path / "root", prefix)
    assert list(tmp_path.rglob("*.png")) == []


@given(st.text(max_size=80))
def test_a_prefix_never_leaves_the_folder(prefix: str) -> None:
    try:
        subfolder, name = split_prefix(prefix)
    except ValueError:
        return
    assert os.path.commonpath(["/root", os.path.normpath(f"/root/{subfolder}/{name}_1_.png")]) == "/root"


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "link").symlink_to(outside)
    with pytest.raises(ValueError, match="link"):
        save(root, "link/x")
    with pytest.raises(ValueError, match="link"):
        save(root, "link/new/x")
    assert list(outside.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device.*--output-directory"):
        save(tmp_path, "a")
    assert list(tmp_path.iterdir()) == []


def test_a_path_too_long_is_not_called_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(
        OSError, match=r"^Could not save into .*: File name too long\. Use a shorter filename_prefix"
    ):
        save(tmp_path, "a/" * 3000 + "b")


def test_without_hard_links_numbers_still_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    assert [save(tmp_path, "a"), save(tmp_path, "a")] == ["a_00001_.png", "a_00002_.png"]
    assert (tmp_path / "a_00002_.png").read_bytes() == b"content"


def test_prefix_is_filled_in() -> None:
    workflow = {
        "5": {
            "class_type": "KSampler",
            "_meta": {"title": "My sampler", "Node name for S&R": "Second pass"},
            "inputs": {"seed": 7, "model": ["1", 0]},
        },
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": 'a/b\\c: "why?" <1|2*3>'}},
    }
    ctx = Context(workflow=workflow)

    def filled(prefix: str) -> str:
        return expand_prefix(prefix, ctx=ctx, width=64, height=32, now=NOON)

    assert filled("%width%x%height%") == "64x32"
    assert filled("%year%-%month%-%day%_%hour%%minute%%second%") == "2026-03-04_120506"
    assert filled("%date:yyyy-MM-dd_hhmmss%") == "2026-03-04_120506"
    assert filled("%date:d.M.yy h:m:s%") == "4.3.26 12:5:6"
    assert filled("s%KSampler.seed%_%My sampler.seed%_%Second pass.seed%") == "s7_7_7"
    assert filled("%CLIPTextEncode.text%") == "a_b_c_ _why__ _1_2_3_"
    assert filled("%KSampler.model%_%Nobody.seed%_100%") == "%KSampler.model%_%Nobody.seed%_100%"
