"""What the files of one member of a layout have in common, made once per shape or length.

Between two samples with arrays of equal shape, only the key in the tar header and its checksum differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from shards.errors import WrongSample
from shards.keys import KEY_LENGTH
from shards.layout import Member
from shards.npy import npy_header
from shards.tar import header_mould, padding_of

_KEPT = 4096  # ragged members have many lengths; start over rather than hold them all


@dataclass(frozen=True, slots=True)
class Mould:
    """A file in the tar, but for its key, checksum and data.

    In the tar: key, `before_checksum`, checksum, `before_data`, the data, `padding`.
    """

    before_checksum: bytes
    checksum: int
    """Without the key's bytes."""
    before_data: bytes
    """The rest of the tar header, and of an array its npy header."""
    size_bytes: int
    """Of the file: npy header and data."""
    padding: bytes


class MemberMoulds:
    """The moulds of one member."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self._of_array: dict[tuple[int, ...], Mould] = {}
        self._of_bytes: dict[int, Mould] = {}

    def of_array(self, value: npt.NDArray[Any]) -> Mould:
        """Return the mould of an array.

        Raises:
            WrongSample: it does not fit the member.
        """
        if value.dtype != self.member.dtype or self.member.dtype is None:
            raise self._wrong(f"must be {self.member.describe()}, got an array of {value.dtype}")
        made = self._of_array.get(value.shape)
        if made is None:
            if not self.member.fits(value.shape):
                raise self._wrong(f"must be {self.member.describe()}, got shape {list(value.shape)}")
            if len(self._of_array) >= _KEPT:
                self._of_array.clear()
            head = npy_header(value.dtype, value.shape)
            made = self._of_array[value.shape] = self._make(head, value.nbytes)
        return made

    def of_bytes(self, length: int) -> Mould:
        """Return the mould of this many bytes.

        Raises:
            WrongSample: they are too many.
        """
        made = self._of_bytes.get(length)
        if made is None:
            if len(self._of_bytes) >= _KEPT:
                self._of_bytes.clear()
            made = self._of_bytes[length] = self._make(b"", length)
        return made

    def _make(self, head: bytes, data_bytes: int) -> Mould:
        size_bytes = len(head) + data_bytes
        try:
            header = header_mould(self.member.name, KEY_LENGTH, size_bytes)
        except ValueError as error:
            raise self._wrong(str(error)) from error
        padding = bytes(padding_of(size_bytes))
        return Mould(
            header.before_checksum, header.checksum, header.after_checksum + head, size_bytes, padding
        )

    def _wrong(self, what: str) -> WrongSample:
        return WrongSample(f"member {self.member.name} {what}")
