"""Names in workflows become paths inside of their folders, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph import Folders, UnsafePath
from tests.graph.toys import folders_in


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_lists_recursively_sorted_and_without_what_is_hidden(tmp_path: Path) -> None:
    folders = folders_in(tmp_path)
    for name in ("b.safetensors", "a/z.ckpt", "a/.hidden", ".git/config", "Ünïcode name.pt"):
        touch(tmp_path / "models" / "checkpoints" / name)
    assert folders.list("checkpoints") == ("a/z.ckpt", "b.safetensors", "Ünïcode name.pt")
    assert folders.list("loras") == ()


def test_several_roots_the_first_wins(tmp_path: Path) -> None:
    first, second = (touch(tmp_path / root / "vae" / "same.pt") for root in ("one", "two"))
    other = touch(tmp_path / "two" / "vae" / "other.pt")
    folders = Folders(models=(tmp_path / "one", tmp_path / "two"))
    assert folders.list("vae") == ("other.pt", "same.pt")
    assert folders.find("vae", "same.pt") == first != second
    assert folders.find("vae", "other.pt") == other


def test_links_are_followed_once(tmp_path: Path) -> None:
    outside = touch(tmp_path / "elsewhere" / "big.ckpt")
    root = tmp_path / "models" / "checkpoints"
    root.mkdir(parents=True)
    (root / "linked").symlink_to(outside.parent)
    (root / "file.ckpt").symlink_to(outside)
    (outside.parent / "round").symlink_to(root)
    (root / "dangling.ckpt").symlink_to(root / "nowhere.ckpt")
    (root / "loop.ckpt").symlink_to(root / "loop.ckpt")
    folders = folders_in(tmp_path)
    assert folders.list("checkpoints") == ("file.ckpt", "linked/big.ckpt")
    assert folders.find("checkpoints", "linked/big.ckpt").samefile(outside)


def test_names_may_say_which_folder_they_mean(tmp_path: Path) -> None:
    folders = folders_in(tmp_path)
    saved = touch(tmp_path / "output" / "sub" / "p.png")
    assert folders.find("input", "sub/p.png [output]") == saved
    with pytest.raises(FileNotFoundError):
        folders.find("input", "sub/p.png")
    with pytest.raises(FileNotFoundError):
        folders.find("checkpoints", "sub/p.png [output]")


def test_names_written_on_windows_are_found(tmp_path: Path) -> None:
    path = touch(tmp_path / "models" / "loras" / "sd15" / "a.safetensors")
    assert folders_in(tmp_path).find("loras", "sd15\\a.safetensors") == path


def test_a_folder_of_a_model_is_one_name(tmp_path: Path) -> None:
    touch(tmp_path / "models" / "diffusers" / "tiny" / "model_index.json")
    touch(tmp_path / "models" / "diffusers" / "tiny" / "unet" / "config.json")
    touch(tmp_path / "models" / "diffusers" / "stray" / "config.json")
    folders = folders_in(tmp_path)
    assert folders.list("diffusers") == ("tiny",)
    assert folders.find("diffusers", "tiny").is_dir()
    with pytest.raises(FileNotFoundError):
        folders.find("diffusers", "stray")


@pytest.mark.parametrize(
    "name",
    ["../secret", "a/../../secret", "/etc/passwd", "C:\\secret", "\\\\host\\share", "..\\secret", "", ".", "a\0b",
     "C:secret", "../secret [output]", "a/.."],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["input", "checkpoints"])
def test_ways_out_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    touch(tmp_path / "secret")
    with pytest.raises(UnsafePath, match="name"):
        folders_in(tmp_path).find(kind, name)
    with pytest.raises(UnsafePath):
        folders_in(tmp_path).inside(kind, name)


@pytest.mark.parametrize("kind", ["..", "", "a/b", "/", "a\0"])
def test_a_kind_is_a_plain_name(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UnsafePath):
        folders_in(tmp_path).list(kind)


@given(st.text(max_size=300))
def test_no_name_at_all_leads_outside(name: str) -> None:
    root = Path("/nowhere/models/vae")
    folders = Folders(models=(root.parent,))
    try:
        path = folders.inside("vae", name)
    except UnsafePath:
        return
    assert path.is_relative_to(root)
    assert ".." not in path.parts
    with pytest.raises(FileNotFoundError):
        folders.find("vae", name)


def test_a_place_to_write_need_not_exist(tmp_path: Path) -> None:
    assert folders_in(tmp_path).inside("output", "a/b.png") == tmp_path / "output" / "a" / "b.png"
