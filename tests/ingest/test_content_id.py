"""Content ids: what a recording is, whatever it is called."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ingest.content_id import BLOCK_BYTES, BLOCKS, WHOLE_BYTES, block_offsets, content_id, full_hash

LARGE_BYTES = WHOLE_BYTES + 100_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of more than 16 MiB in which every block differs."""
    path = tmp_path_factory.mktemp("content") / "large"
    path.write_bytes(np.arange(LARGE_BYTES // 4, dtype="<u4").tobytes())
    return path


def test_a_small_file_is_its_sha256(tmp_path: Path) -> None:
    """Anyone can check it with `sha256sum`; an empty file has one too."""
    (tmp_path / "a").write_bytes(b"hello")
    (tmp_path / "empty").touch()
    assert content_id([tmp_path / "a"]) == hashlib.sha256(b"hello").hexdigest()
    assert content_id([tmp_path / "empty"]) == hashlib.sha256(b"").hexdigest()


def test_sixteen_mebibytes_are_hashed_whole(tmp_path: Path) -> None:
    """The border belongs to the small files."""
    (tmp_path / "a").write_bytes(bytes(WHOLE_BYTES))
    assert content_id([tmp_path / "a"]) == hashlib.sha256(bytes(WHOLE_BYTES)).hexdigest()


def test_a_large_file_is_its_size_and_64_blocks(large: Path) -> None:
    """As the format says: 8 bytes of size, then 64 blocks of 64 KiB, evenly spread."""
    data = large.read_bytes()
    last = len(data) - 65536
    blocks = [data[last * i // 63 : last * i // 63 + 65536] for i in range(64)]
    expected = hashlib.sha256(len(data).to_bytes(8, "little") + b"".join(blocks)).hexdigest()
    assert content_id([large]) == expected


def test_blocks_include_both_ends() -> None:
    """The first begins at 0, the last ends with the file, none goes beyond."""
    for size_bytes in (WHOLE_BYTES + 1, 10**12 + 7):
        offsets = block_offsets(size_bytes)
        assert len(offsets) == BLOCKS
        assert offsets[0] == 0
        assert offsets[-1] + BLOCK_BYTES == size_bytes
        assert offsets == sorted(offsets)


@pytest.mark.parametrize("changed", ["first", "last", "size"])
def test_a_change_at_either_end_is_another_content(large: Path, tmp_path: Path, changed: str) -> None:
    """Also a file that only became longer."""
    data = bytearray(large.read_bytes())
    if changed == "size":
        data += b"\0"
    else:
        data[0 if changed == "first" else -1] ^= 1
    (tmp_path / "other").write_bytes(data)
    assert content_id([tmp_path / "other"]) != content_id([large])


def test_a_change_between_the_blocks_shows_in_the_full_hash(large: Path, tmp_path: Path) -> None:
    """This is why equal ids are not yet equal content."""
    data = bytearray(large.read_bytes())
    offsets = block_offsets(len(data))
    between = next(a + BLOCK_BYTES for a, b in pairwise(offsets) if b > a + BLOCK_BYTES)
    data[between] ^= 1
    other = tmp_path / "other"
    other.write_bytes(data)
    assert content_id([other]) == content_id([large])
    assert full_hash([other]) != full_hash([large])


def test_several_files_are_hashed_in_their_order(tmp_path: Path) -> None:
    """The names don't matter, the order does, and so does where one file ends."""
    for name, data in (("a", b"12"), ("b", b"3"), ("c", b"1"), ("d", b"23"), ("e", b"12")):
        (tmp_path / name).write_bytes(data)
    a, b, c, d, e = (tmp_path / name for name in "abcde")
    assert content_id([a, b]) == content_id([e, b])
    assert len({content_id([a, b]), content_id([b, a]), content_id([c, d])}) == 3
    assert full_hash([a, b]) == full_hash([e, b])
    assert len({full_hash([a, b]), full_hash([b, a]), full_hash([c, d])}) == 3


def test_a_missing_file_is_said_as_it_is(tmp_path: Path) -> None:
    """It is the machine's matter, not the recording's."""
    with pytest.raises(FileNotFoundError):
        content_id([tmp_path / "missing"])
