"""Writes a checkpoint as diffusers' own folder, from which its scripts load fastest."""

import sys
from pathlib import Path

import torch

from benchmarks.subjects.diffusers import load_pipeline

if __name__ == "__main__":
    checkpoint, config, folder = map(Path, sys.argv[1:])
    load_pipeline(checkpoint, config, torch.float32).save_pretrained(folder)
