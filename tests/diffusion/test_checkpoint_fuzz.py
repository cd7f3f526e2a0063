"""Damage at any place of a small file: an error that is ours, or tensors within the file; no hang, no huge memory."""

import io
import json
import resource
import struct
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from diffusion.files.mapped_file import CheckpointError
from diffusion.files.weight_files import read_weights

KINDS = {"safetensors": ".safetensors", "zip": ".ckpt", "legacy": ".ckpt"}
HEADROOM = 1 << 30
PATIENT = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@cache
def sample(kind: str) -> bytes:
    """A small whole file."""
    tensors = {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.ones(5, dtype=torch.bfloat16)}
    if kind == "safetensors":
        return save(tensors, {"weft.facts": "{}"})
    stream = io.BytesIO()
    torch.save({"state_dict": tensors, "n": 3}, stream, _use_new_zipfile_serialization=kind == "zip")
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _bounded_memory() -> Iterator[None]:
    """Let no test claim more than a gigabyte beyond what the process has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + HEADROOM, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def read_or_refuse(path: Path, content: bytes) -> None:
    """Read `content`; touch every number that came of it."""
    path.write_bytes(content)
    try:
        tensors = read_weights(path).tensors
    except CheckpointError:
        return
    for tensor in tensors.values():
        if tensor.numel() < len(content):
            tensor.double().sum()


@pytest.mark.parametrize("kind", KINDS)
def test_cut_anywhere(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a{KINDS[kind]}"
    whole = sample(kind)
    for size in {*range(0, len(whole), 3), *range(len(whole) - 64, len(whole))}:
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            read_weights(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_any_byte_changed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a{KINDS[kind]}"
    whole = sample(kind)
    for place in range(len(whole)):
        flip = (0x01, 0x80, 0xFF)[place % 3]
        read_or_refuse(path, whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])


@pytest.mark.parametrize("kind", KINDS)
@PATIENT
@given(data=st.data())
def test_pieces_replaced_inserted_and_removed(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    whole = bytearray(sample(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole)))
        whole[place : place + data.draw(st.integers(0, 12))] = data.draw(st.binary(max_size=12))
    read_or_refuse(tmp_path / f"a{KINDS[kind]}", bytes(whole))


@PATIENT
@given(content=st.binary(max_size=200), suffix=st.sampled_from(sorted(set(KINDS.values()))))
def test_any_bytes(tmp_path: Path, content: bytes, suffix: str) -> None:
    read_or_refuse(tmp_path / f"a{suffix}", content)


@PATIENT
@given(
    pickle=st.binary(max_size=60),
    prefix=st.sampled_from([b"", b"\x80\x02", b"\x80\x02}q\x00(X\x01\x00\x00\x00a"]),
)
def test_any_pickle(tmp_path: Path, pickle: bytes, prefix: bytes) -> None:
    read_or_refuse(tmp_path / "a.ckpt", zipped(prefix + pickle + b"."))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
DTYPE = st.sampled_from(["F32", "BF16", "I64", "F4"]) | JSON
SHAPE = st.lists(st.integers(-2, 1 << 70), max_size=3) | JSON
OFFSETS = st.tuples(st.integers(-9, 1 << 70), st.integers(-9, 1 << 70)).map(list) | JSON
ENTRY = st.fixed_dictionaries({"dtype": DTYPE, "shape": SHAPE, "data_offsets": OFFSETS}) | JSON


@PATIENT
@given(header=st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), ENTRY, max_size=3) | JSON)
def test_any_header(tmp_path: Path, header: object) -> None:
    read_or_refuse(tmp_path / "a.safetensors", with_header(json.dumps(header).encode()))


def with_header(header: bytes, data: bytes = b"\0" * 64) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def zipped(pickle: bytes) -> bytes:
    """A torch zip file of this pickle, with one storage."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/data/0", b"\0" * 64)
    return stream.getvalue()


STORAGE = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"
    b"X\x01\0\0\x000X\x03\0\0\0cpuK\x10tQ"
)


def one_tensor(shape: bytes) -> bytes:
    """A pickle of one tensor; shape: the pickle of its offset, shape and strides."""
    return b"\x80\x02}X\x01\0\0\0a" + STORAGE + shape + b"\x89NtRs."


HUGE = {
    "a header of 2^60 bytes": (struct.pack("<Q", 1 << 60) + b"{}" + b"\xff" * 40, ".safetensors"),
    "a tensor of 2^60 bytes": (
        with_header(b'{"a": {"dtype": "F32", "shape": [%d], "data_offsets": [0, %d]}}' % (1 << 58, 1 << 60)),
        ".safetensors",
    ),
    "a tensor of no bytes and 2^62 rows": (
        with_header(b'{"a": {"dtype": "F32", "shape": [%d, 0], "data_offsets": [0, 0]}}' % (1 << 62), b""),
        ".safetensors",
    ),
    "JSON nested 100,000 deep": (with_header(b'{"a":' + b"[" * 100_000), ".safetensors"),
    "a pickled text of 2^62 bytes": (zipped(b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"a."), ".ckpt"),
    "pickled bytes of 2^31": (zipped(b"\x80\x04B" + struct.pack("<I", (1 << 31) - 1) + b"a."), ".ckpt"),
    "a memo number of 2^31": (zipped(b"\x80\x02}r\xff\xff\xff\x7f."), ".ckpt"),
    "a storage of 2^60 bytes": (zipped(one_tensor(b"K\x00\x8a\x08\0\0\0\0\0\0\0\x10\x85K\x01\x85")), ".ckpt"),
    "a shape larger than its storage": (zipped(one_tensor(b"K\x00K\x11\x85K\x01\x85")), ".ckpt"),
    "an offset beyond its storage": (zipped(one_tensor(b"K\x09K\x08\x85K\x01\x85")), ".ckpt"),
    "a negative stride": (zipped(one_tensor(b"K\x00K\x02\x85J\xff\xff\xff\xff\x85")), ".ckpt"),
    "a negative offset": (zipped(one_tensor(b"J\xff\xff\xff\xffK\x02\x85K\x01\x85")), ".ckpt"),
    "strides of another length": (zipped(one_tensor(b"K\x00K\x02\x85K\x01K\x01\x86")), ".ckpt"),
    "tuples nested 100,000 deep": (zipped(b"\x80\x02)" + b"\x85" * 100_000 + b"."), ".ckpt"),
    "a key that doubles 60 times": (zipped(b"\x80\x02})" + b"2\x86" * 60 + b"Ns."), ".ckpt"),
}


@pytest.mark.parametrize("name", HUGE)
def test_claims_beyond_the_file_are_refused(tmp_path: Path, name: str) -> None:
    content, suffix = HUGE[name]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_weights(path)


def test_a_handmade_tensor_is_read_when_it_fits(tmp_path: Path) -> None:
    """The files above differ from this good one in what their names say."""
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped(one_tensor(b"K\x00K\x10\x85K\x01\x85")))
    assert read_weights(path).tensors["a"].shape == (16,)


def test_a_table_that_contains_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    tensor = STORAGE + b"K\x00K\x10\x85K\x01\x85\x89NtR"
    path.write_bytes(zipped(b"\x80\x02}q\x00(X\x01\0\0\0ah\x00X\x01\0\0\0b" + tensor + b"u."))
    assert list(read_weights(path).tensors) == ["b"]
