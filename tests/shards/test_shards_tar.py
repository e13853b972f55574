"""Tar headers, beside Python's `tarfile`, and the walk that checks them."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.tar import END_OF_TAR, MAX_FILE_BYTES, BadTar, header_mould, padding_of, walk

KEY = b"00000000000000aa_0000000000000000005"


def file_bytes(member: str, data: bytes, key: bytes = KEY) -> bytes:
    return header_mould(member, len(key), len(data)).header(key) + data + bytes(padding_of(len(data)))


def walked(data: bytes) -> list[tuple[str, bytes]]:
    seen = hashlib.sha256()
    files = [(file.name, file.data) for file in walk(io.BytesIO(data), len(data), seen.update)]
    assert seen.digest() == hashlib.sha256(data).digest()
    return files


members = st.from_regex(r"[a-z0-9_]{1,20}(\.[a-z0-9_]{1,15}){0,2}", fullmatch=True)


@given(st.lists(st.tuples(members, st.binary(max_size=1500)), max_size=4))
def test_tarfile_reads_what_we_write(files: list[tuple[str, bytes]]) -> None:
    """Names and bytes come back; all fields are fixed; nothing but regular ustar files is in it."""
    data = b"".join(file_bytes(*file) for file in files) + END_OF_TAR
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        infos = tar.getmembers()
        assert [info.name for info in infos] == [f"{KEY.decode()}.{name}" for name, _ in files]
        for info, (_, content) in zip(infos, files, strict=True):
            opened = tar.extractfile(info)
            assert opened is not None
            assert opened.read() == content
            assert (info.mode, info.uid, info.gid, info.mtime, info.uname, info.gname) == (
                0o644,
                0,
                0,
                0,
                "",
                "",
            )
            assert info.isreg()
            assert info.pax_headers == {}
    assert walked(data) == [(f"{KEY.decode()}.{name}", content) for name, content in files]


def test_sizes_up_to_eight_gibibytes_fit() -> None:
    """The largest size is read back as it is; one byte more is refused, not written in another form."""
    header = header_mould("x", len(KEY), MAX_FILE_BYTES).header(KEY)
    assert tarfile.TarInfo.frombuf(header, "ascii", "strict").size == MAX_FILE_BYTES
    with pytest.raises(ValueError, match="8589934592 bytes do not fit"):
        header_mould("x", len(KEY), MAX_FILE_BYTES + 1)


def test_names_of_a_hundred_bytes_fit() -> None:
    """100 bytes are a full name field; 101 would need another kind of header."""
    room = 100 - len(KEY) - 1
    header = header_mould("x" * room, len(KEY), 0).header(KEY)
    assert tarfile.TarInfo.frombuf(header, "ascii", "strict").name == f"{KEY.decode()}.{'x' * room}"
    with pytest.raises(ValueError, match="101 bytes"):
        header_mould("x" * (room + 1), len(KEY), 0)


GOOD = file_bytes("json", b"{}") + file_bytes("a.npy", bytes(600)) + END_OF_TAR


def test_every_changed_byte_outside_the_data_is_noticed() -> None:
    """Headers, padding and end are as we write them, byte for byte, or the walk stops."""
    data_bytes = [*range(512, 514), *range(1536, 2136)]
    for place in range(len(GOOD)):
        broken = bytearray(GOOD)
        broken[place] ^= 0x01
        if place in data_bytes:
            assert len(walked(bytes(broken))) == 2
        else:
            with pytest.raises(BadTar):
                walked(bytes(broken))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a header at 0 goes beyond the end at 0"),
        (GOOD[:700], "padding at 514 goes beyond the end"),
        (GOOD[: -len(END_OF_TAR)], "a header at 2560 goes beyond the end"),
        (GOOD[:-512], "the end of the tar at 3072 goes beyond the end"),
        (GOOD + bytes(512), "512 bytes follow the end of the tar"),
        (b"\x1f\x8b" + GOOD[2:], "no readable header at 0"),
    ],
)
def test_a_walk_says_where_it_ends(data: bytes, message: str) -> None:
    """Cut off, too long, or no tar at all: the message gives the place."""
    with pytest.raises(BadTar, match=message):
        walked(data)


def test_a_lying_size_reads_nothing_beyond_the_file() -> None:
    """A header that claims 8 GiB is refused before anything is read for it."""
    header = header_mould("json", len(KEY), MAX_FILE_BYTES).header(KEY)
    with pytest.raises(BadTar, match="goes beyond the end at 1536"):
        walked(header + bytes(1024))
