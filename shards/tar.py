"""The part of the tar format that we write and check: ustar, regular files, fixed fields.

A tar is a row of 512-byte blocks: per file a header and its bytes, zero-padded to a whole block; then
two blocks of zeros. (We stop there: the padding to 10,240 bytes that some tools add is for tapes.)

    offset  size  field       ours
         0   100  name        KEY.MEMBER
       100     8  mode        0000644
       108    16  uid, gid    0
       124    12  size        11 octal digits: below 8 GiB
       136    12  mtime       0
       148     8  checksum    6 octal digits, NUL, space: sum of all header bytes, these 8 as spaces
       156     1  type        '0', a regular file
       157   100  link name   empty
       257     8  magic       "ustar", NUL, "00"
       265    64  user, group empty
       329    16  device      0
       345   155  prefix      empty, then 12 zeros

Source: POSIX.1-2017, pax, "ustar Interchange Format".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

BLOCK_BYTES = 512
END_OF_TAR = bytes(2 * BLOCK_BYTES)
NAME_BYTES = 100
MAX_FILE_BYTES = 8**11 - 1

_BEFORE_SIZE = b"0000644\0" + b"0000000\0" * 2
_MTIME = b"00000000000\0"
_AFTER_CHECKSUM = (b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2).ljust(356, b"\0")
_CHECKSUM_AS_SPACES = 8 * ord(" ")


def padding_of(size_bytes: int) -> int:
    """Return how many zeros follow a file of this size."""
    return -size_bytes % BLOCK_BYTES


@dataclass(frozen=True)
class HeaderMould:
    """A header but for its key: what all files of one member name and size have in common."""

    before_checksum: bytes
    checksum: int
    """Sum of the header's bytes without the key's."""
    after_checksum: bytes = _AFTER_CHECKSUM

    def header(self, key: bytes) -> bytes:
        """Return the 512 bytes; `key` has the length that the mould was made for."""
        return key + self.before_checksum + checksum_field(self.checksum + sum(key)) + self.after_checksum


def checksum_field(checksum: int) -> bytes:
    """Return the checksum as it stands in a header."""
    return b"%06o\0 " % checksum


def header_mould(member: str, key_length: int, size_bytes: int) -> HeaderMould:
    """Return the mould for the headers of `KEY.member`.

    Raises:
        ValueError: the name is too long for the header, or the file too large.
    """
    suffix = f".{member}".encode("ascii")
    if key_length + len(suffix) > NAME_BYTES:
        raise ValueError(
            f"{key_length + len(suffix)} bytes of name do not fit; a tar header holds {NAME_BYTES}"
        )
    if size_bytes > MAX_FILE_BYTES:
        raise ValueError(f"{size_bytes} bytes do not fit; at most {MAX_FILE_BYTES} do")
    before = suffix.ljust(NAME_BYTES - key_length, b"\0") + _BEFORE_SIZE + b"%011o\0" % size_bytes + _MTIME
    return HeaderMould(before, sum(before) + _CHECKSUM_AS_SPACES + sum(_AFTER_CHECKSUM))


class BadTar(ValueError):
    """The bytes are not a tar of ours. The message says what, and at which offset."""


@dataclass(frozen=True)
class TarFile:
    """One file in a tar, as met by `walk`."""

    name: str
    header_offset: int
    data_offset: int
    data: bytes

    @property
    def end_offset(self) -> int:
        """Where the next header begins."""
        return self.data_offset + len(self.data) + padding_of(len(self.data))


def walk(file: BinaryIO, size_bytes: int, seen: Callable[[bytes], object]) -> Iterator[TarFile]:
    """Yield the files of a tar from its first byte to its last, reading everything once.

    Args:
        file: at the tar's first byte.
        size_bytes: the tar's size; no read goes beyond, whatever a damaged header says.
        seen: told of all bytes in order, for a hash.

    Raises:
        BadTar: a header, the padding or the end is not as `header_mould` and `END_OF_TAR` make it.
    """
    offset = 0

    def take(count: int, what: str) -> bytes:
        nonlocal offset
        if offset + count > size_bytes:
            raise BadTar(f"{what} at {offset} goes beyond the end at {size_bytes}")
        data = file.read(count)
        seen(data)
        offset += len(data)
        if len(data) < count:
            raise BadTar(f"{what} is cut off at {offset}")
        return data

    while True:
        header_offset = offset
        header = take(BLOCK_BYTES, "a header")
        if not any(header):
            break
        name, length = _read_header(header, header_offset)
        data = take(length, f"{name}")
        if any(take(padding_of(length), "padding")):
            raise BadTar(f"the padding of {name} is not zero")
        yield TarFile(name, header_offset, header_offset + BLOCK_BYTES, data)
    if any(take(BLOCK_BYTES, "the end of the tar")):
        raise BadTar(f"two blocks of zeros must end the tar; there is one, at {header_offset}")
    if offset != size_bytes:
        raise BadTar(f"{size_bytes - offset} bytes follow the end of the tar at {offset}")


def _read_header(header: bytes, offset: int) -> tuple[str, int]:
    """Return name and size; every byte must be as we write it."""
    try:
        name = header[:NAME_BYTES].rstrip(b"\0").decode("ascii")
        size_bytes = int(header[124:135], 8)
        key, _, member = name.partition(".")
        ours = header_mould(member, len(key), size_bytes).header(key.encode())
    except ValueError as error:
        raise BadTar(f"no readable header at {offset}") from error
    if ours != header:
        raise BadTar(f"the header of {name} at {offset} has other fields than plain ustar with fixed values")
    return name, size_bytes
