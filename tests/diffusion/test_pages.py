"""Pages of mapped files are let go of, and nothing else is."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from diffusion.files.pages import FilePages
from diffusion.files.weight_files import read_weights

MEGABYTES = 64


def resident_kb(kind: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(kind))


def test_pages_are_let_go_of_and_come_back(tmp_path: Path) -> None:
    save_file({"a": torch.arange(MEGABYTES << 18, dtype=torch.float32)}, tmp_path / "a.safetensors")
    tensor = read_weights(tmp_path / "a.safetensors").tensors["a"]
    total = tensor.double().sum()
    touched = resident_kb("RssFile")
    FilePages.now().drop(tensor)
    assert touched - resident_kb("RssFile") > 0.9 * MEGABYTES * 1024
    assert tensor.double().sum() == total


def test_memory_that_is_no_file_keeps_its_content() -> None:
    tensor = torch.arange(1 << 20)
    FilePages.now().drop(tensor)
    assert torch.equal(tensor, torch.arange(1 << 20))


def test_where_the_kernel_does_not_say_nothing_happens() -> None:
    FilePages((), ()).drop(torch.ones(1 << 16))
