"""Tiny autoencoders by name: two files in models/vae_approx that stand beside the whole files in models/vae."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from graph import File, Folders
from graph.errors import Problem

KIND = "vae_approx"
_HALVES = ("_decoder", "_encoder")
_OTHER_FAMILIES = frozenset({"taesdxl", "taesd3", "taef1", "taef2", "taehv"})
"""The published tiny autoencoders of other models' latents."""


@dataclass(frozen=True)
class VaeFile(File):
    """The name of a file in the folder, or of a tiny autoencoder."""

    def choices(self, folders: Folders) -> tuple[str, ...]:
        return (*super().choices(folders), *tiny_vae_names(folders))

    def problem(self, value: str, folders: Folders) -> Problem | None:
        return None if tiny_vae_files(folders, value) else super().problem(value, folders)


def tiny_vae_names(folders: Folders) -> tuple[str, ...]:
    """The tiny autoencoders there are for Stable Diffusion 1.x, sorted."""
    return tuple(sorted(_halves(folders).keys() - _OTHER_FAMILIES))


def tiny_vae_files(folders: Folders, name: str) -> list[Path]:
    """The files of the tiny autoencoder `name`, decoder first; empty when there is none of that name."""
    return [folders.find(KIND, file) for file in _halves(folders).get(name, [])]


def _halves(folders: Folders) -> dict[str, list[str]]:
    """Which files belong to each name. Without a decoder there is no autoencoder."""
    files = {str(PurePosixPath(file).with_suffix("")): file for file in folders.list(KIND)}
    names = [stem.removesuffix("_decoder") for stem in files if stem.endswith("_decoder")]
    return {name: [files[name + half] for half in _HALVES if name + half in files] for name in names}
