"""Turn one sample into the bytes of its tar members and of its row. No files here.

What makes it fast: everything of a member but its key and data is made once per shape
(`shards.moulds`), and a sample is one `join`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.errors import WrongSample
from shards.keys import is_key
from shards.layout import Layout, Member
from shards.moulds import MemberMoulds
from shards.provenance import ProvenanceEncoder, Types, differences, types_of
from shards.sample_rows import row_struct
from shards.tar import BLOCK_BYTES, checksum_field

Value = npt.NDArray[Any] | bytes | str | dict[str, Any]
"""What a member may be given as: an array, bytes, text, or the provenance."""

Piece = bytes | memoryview


class SampleEncoder:
    """Encodes the samples of one shard, and holds them to their layout."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.provenance: Types = {}
        """The types of the `json` member; empty until the first sample."""
        self._provenance: ProvenanceEncoder | None = None
        self._names = [member.name for member in layout.members]
        self._name_set = frozenset(self._names)
        self._moulds = [MemberMoulds(member) for member in layout.members]
        self._token_members = [(track, layout.index_of(f"{track}.tokens.npy")) for track in layout.tracks]
        self._row = row_struct(layout)

    def encode(
        self,
        key: str,
        members: Sequence[Value] | Mapping[str, Value],
        span: tuple[int, int, int],
        tokens: Mapping[str, int],
        valid: Mapping[str, int],
        offset: int,
    ) -> tuple[bytes, bytes]:
        """Return the sample's bytes in the tar, and its row.

        Args:
            key: of the sample.
            members: values in the layout's order, or by name.
            span: recording id, start and stop in ns.
            tokens: per track the number of codes.
            valid: per track the valid length.
            offset: where in the tar the bytes will stand.

        Raises:
            WrongSample: it does not fit the layout, or the samples before it.
        """
        try:
            _check_span(key, *span)
            values = members if isinstance(members, (list, tuple)) else self._in_order(members)
            if len(values) != len(self._moulds):
                raise WrongSample(f"{len(values)} members; its layout has {self._names}")
            pieces: list[Piece] = []
            row: list[int] = [*span]
            self._place(key.encode(), values, offset, pieces, row)
            for track, place in self._token_members:
                row += _counts(track, None if place is None else values[place], tokens, valid)
            if self._provenance is None:  # only now that all of the first sample fits
                self.provenance = types_of(values[0])
                self._provenance = ProvenanceEncoder(self.provenance)
            return b"".join(pieces), self._row.pack(*row)
        except WrongSample as error:
            raise WrongSample(f"sample {key}: {error}") from error.__cause__

    def _place(
        self,
        key: bytes,
        values: Sequence[Value],
        offset: int,
        pieces: list[Piece],
        row: list[int],
    ) -> None:
        """Append the bytes of all members to `pieces`, and where their data will stand to `row`."""
        key_sum = sum(key)
        data: Piece
        for moulds, value in zip(self._moulds, values, strict=True):
            if type(value) is np.ndarray:
                mould = moulds.of_array(value)
                data = value.data if value.flags.c_contiguous else value.tobytes()
            else:
                data = self._member_bytes(moulds.member, value)
                mould = moulds.of_bytes(len(data))
            checksum = checksum_field(mould.checksum + key_sum)
            pieces += (key, mould.before_checksum, checksum, mould.before_data, data, mould.padding)
            offset += BLOCK_BYTES
            row += (offset, mould.size_bytes)
            offset += mould.size_bytes + len(mould.padding)

    def _member_bytes(self, member: Member, value: Value) -> bytes:
        """Return the bytes of a member that is no array."""
        try:
            if type(value) is dict and member.kind == "json":
                return self._provenance_bytes(value)
            if type(value) is str and member.kind == "text":
                return value.encode()
        except (TypeError, ValueError) as error:
            raise WrongSample(f"member {member.name}: {error}") from error
        if type(value) is bytes and member.kind == "bytes":
            return value
        raise WrongSample(f"member {member.name} must be {member.describe()}, got {type(value).__name__}")

    def _provenance_bytes(self, value: dict[str, Any]) -> bytes:
        if self._provenance is None:
            return ProvenanceEncoder(types_of(value)).encode(value) or b""
        data = self._provenance.encode(value)
        if data is None:
            raise ValueError("; ".join(differences(self.provenance, types_of(value))))
        return data

    def _in_order(self, members: Sequence[Value] | Mapping[str, Value]) -> Sequence[Value]:
        if not isinstance(members, Mapping):
            return members
        if members.keys() != self._name_set:
            missing = sorted(self._name_set - members.keys())
            foreign = sorted(members.keys() - self._name_set)
            raise WrongSample(f"members {missing} are missing, {foreign} not in its layout")
        return [members[name] for name in self._names]


def _check_span(key: str, recording_id: int, start_ns: int, stop_ns: int) -> None:
    if not is_key(key) or key[:16] != f"{recording_id:016x}":
        raise WrongSample(f"its key is not sample_key(recording_id={recording_id}, start - origin)")
    if not -(2**63) <= start_ns < stop_ns < 2**63:
        raise WrongSample(f"[{start_ns}, {stop_ns}) must end after it starts, and fit int64")


def _counts(track: str, codes: Any, tokens: Mapping[str, int], valid: Mapping[str, int]) -> tuple[int, int]:
    """Return a track's tokens and valid length, checked."""
    try:
        count, length = index(tokens[track]), index(valid[track])
    except (KeyError, TypeError) as error:
        raise WrongSample(f"tokens and valid must each hold an int for track {track!r}") from error
    held = 0 if codes is None else codes.size
    if count != held:
        raise WrongSample(f"tokens[{track!r}] is {count}, but {track}.tokens.npy holds {held} codes")
    if not (count < 2**32 and 0 <= length < 2**32):
        raise WrongSample(f"tokens {count} and valid {length} of track {track!r} must fit uint32")
    return count, length
