"""Reading the numbers of serialised ROS messages without making objects of them.

ROS 1 and CDR write a message's fields one after the other: numbers as they are, strings and variable
arrays with a uint32 length before them (CDR strings: with a zero byte at the end). CDR aligns each
number to its own size, counted from behind the 4 bytes of encapsulation; ROS 1 aligns nothing.

So a run of numbers is one `struct` whose padding depends only on where it begins (modulo 8), and a
message is a few runs with strings and arrays between them. Types with arrays of messages are left to
the ordinary deserialiser, which is the slow twin of this file in the tests.

Source: ROS wiki, "msg" serialisation; OMG CDR as in DDS-XTypes 1.3, section 7.4.1 (XCDR version 1).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ingest.decoders.ros_columns import JOINT_STATE, NO_FIELDS, TypeFields, leaves_of
from ingest.errors import CannotDecode

CODES = {
    "bool": "?",
    "byte": "B",
    "char": "B",
    "octet": "B",
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float32": "f",
    "float64": "d",
}
UINT32 = {"<": struct.Struct("<I"), ">": struct.Struct(">I")}


class Values(NamedTuple):
    """What one message holds."""

    numbers: tuple[float, ...]
    """Of the columns that follow from the type, in their order."""
    arrays: dict[str, np.ndarray]
    """Known variable arrays by name."""
    names: tuple[str, ...]
    """JointState: the joints."""


class ManyValues(NamedTuple):
    """What messages of one length hold that are laid out alike."""

    alike: np.ndarray
    """bool [N]: whether a message is laid out as the first; what is below is right for those only."""
    numbers: np.ndarray
    """float64 [N, D]: see `Values`."""
    arrays: dict[str, np.ndarray]
    """Per known variable array [N, its length]."""
    names: tuple[str, ...]


@dataclass
class _Form:
    """Where everything lies in messages that are laid out as one of them."""

    fixed: list[tuple[int, int]] = field(default_factory=list)
    """Bytes [begin, end) by which messages laid out alike agree: lengths of strings and arrays."""
    numbers: list[tuple[str, int, int]] = field(default_factory=list)
    """Dtype, begin and count of numbers that follow each other."""
    arrays: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def add(self, dtype: str, begin: int, count: int) -> None:
        """Add numbers; those that continue the last ones are joined to them."""
        if self.numbers:
            last, at, known = self.numbers[-1]
            if last == dtype and at + known * np.dtype(dtype).itemsize == begin:
                self.numbers[-1] = last, at, known + count
                return
        self.numbers.append((dtype, begin, count))


@dataclass
class _Run:
    """Numbers that follow each other. A count before a code repeats it; skipped ones are padding."""

    parts: list[tuple[str, int, bool]] = field(default_factory=list)
    """Code, count, and whether it is wanted."""
    structs: dict[tuple[str, int], struct.Struct] = field(default_factory=dict)
    """By byte order, and the place modulo 8 where the run begins."""

    def place(self, form: _Form, order: str, at: int, base: int, *, aligned: bool) -> int:
        """Add a run that begins at `at` to a form; return where it ends."""
        for code, count, wanted in self.parts:
            size = struct.calcsize(f"={code}")
            at += -(at - base) % size if aligned and count else 0
            if wanted:
                form.add(order + code, at, count)
            at += count * size
        return at

    def at(self, order: str, place: int, *, aligned: bool) -> struct.Struct:
        """Return the struct for a run that begins at this place modulo 8."""
        found = self.structs.get((order, place))
        if found is None:
            layout, end = order, place
            for code, count, wanted in self.parts:
                size = struct.calcsize(f"={code}")
                padding = -end % size if aligned and count else 0
                layout += f"{padding}x" * bool(padding) + (f"{count}{code}" if wanted else f"{count * size}x")
                end += padding + count * size
            found = self.structs[order, place] = struct.Struct(layout)
        return found


@dataclass(frozen=True)
class _Array:
    """A variable array; strings have no code."""

    code: str
    name: str
    """Empty where it is not wanted."""


class Layout:
    """How one type lies in its messages. Made by `layout_of`."""

    def __init__(self, steps: Sequence[_Run | _Array | None], *, ros1: bool) -> None:
        self._steps = steps
        """None is a string."""
        self._ros1 = ros1
        self._names: tuple[bytes, tuple[str, ...]] = (b"", ())

    def read(self, data: bytes | memoryview) -> Values:
        """Read one message.

        Raises:
            CannotDecode: it does not fit the type to the byte.
        """
        try:
            return self._read(data)
        except (struct.error, ValueError, IndexError) as error:
            raise CannotDecode(f"a message does not fit its type ({error})") from error

    def _read(self, data: bytes | memoryview) -> Values:
        base, order = 0, "<"
        if not self._ros1:
            if data[0] != 0 or data[1] > 1:
                raise CannotDecode("a message's encapsulation is not that of plain CDR")
            base, order = 4, "<" if data[1] else ">"
        at = base
        numbers: tuple[float, ...] = ()
        arrays: dict[str, np.ndarray] = {}
        names: tuple[str, ...] = ()
        aligned = not self._ros1
        for step in self._steps:
            if isinstance(step, _Run):
                run = step.at(order, (at - base) % 8, aligned=aligned)
                numbers += run.unpack_from(data, at)
                at += run.size
                continue
            if aligned:
                at += -(at - base) % 4
            (length,) = UINT32[order].unpack_from(data, at)
            at += 4
            if step is None:
                at += length
            elif not step.code:
                begin = at
                at, names = self._strings(data, begin, length, base, order)
            elif length:
                dtype = np.dtype(order + step.code)
                at += -(at - base) % dtype.itemsize if aligned else 0
                if step.name:
                    arrays[step.name] = np.frombuffer(data, dtype, length, at)
                at += length * dtype.itemsize
        rest = len(data) - at
        if rest < 0 or rest > (3 if aligned else 0):
            raise CannotDecode(f"a message does not fit its type (ends {rest} bytes off)")
        return Values(numbers, arrays, names)

    def read_many(self, data: np.ndarray) -> ManyValues:
        """Read messages of one length at once.

        Args:
            data: uint8 [N, L], N > 0, C-contiguous.

        Raises:
            CannotDecode: the first message does not fit the type to the byte.
        """
        first = data[0].tobytes()
        try:
            form = self._form(first)
        except (struct.error, ValueError, IndexError) as error:
            raise CannotDecode(f"a message does not fit its type ({error})") from error
        alike = np.ones(len(data), bool)
        for begin, end in form.fixed:
            alike &= (data[:, begin:end] == data[0, begin:end]).all(axis=1)
        numbers = np.empty((len(data), sum(count for _, _, count in form.numbers)))
        column = 0
        for dtype, begin, count in form.numbers:
            numbers[:, column : column + count] = _columns(data, dtype, begin, count)
            column += count
        arrays = {name: _columns(data, *place) for name, place in form.arrays.items()}
        return ManyValues(alike, numbers, arrays, form.names)

    def _form(self, first: bytes) -> _Form:
        """Return where everything lies in a message, as `read` finds it."""
        self.read(first)
        base, order, aligned, form = 0, "<", not self._ros1, _Form()
        if aligned:
            base, order = 4, "<" if first[1] else ">"
            form.fixed.append((0, 2))
        at = base
        for step in self._steps:
            if isinstance(step, _Run):
                at = step.place(form, order, at, base, aligned=aligned)
                continue
            at += -(at - base) % 4 if aligned else 0
            (length,) = UINT32[order].unpack_from(first, at)
            form.fixed.append((at, at + 4))
            at += 4
            if step is None:
                at += length
            elif not step.code:
                begin = at
                at, form.names = self._strings(first, begin, length, base, order)
                form.fixed.append((begin, at))
            elif length:
                itemsize = np.dtype(step.code).itemsize
                at += -(at - base) % itemsize if aligned else 0
                if step.name:
                    form.arrays[step.name] = order + step.code, at, length
                at += length * itemsize
        return form

    def _strings(
        self, data: bytes | memoryview, begin: int, count: int, base: int, order: str
    ) -> tuple[int, tuple[str, ...]]:
        """Return where an array of strings ends, and the strings; mostly they are those of before."""
        raw, known = self._names
        if len(known) == count and raw and data[begin : begin + len(raw)] == raw:
            return begin + len(raw), known
        if count > len(data):
            raise CannotDecode("a message does not fit its type (too many strings)")
        at, found = begin, []
        for _ in range(count):
            if not self._ros1:
                at += -(at - base) % 4
            (length,) = UINT32[order].unpack_from(data, at)
            text = bytes(data[at + 4 : at + 4 + length])
            if len(text) < length:
                raise CannotDecode("a message does not fit its type (a string goes over its end)")
            found.append((text if self._ros1 else text[:-1]).decode("utf-8", "replace"))
            at += 4 + length
        self._names = bytes(data[begin:at]), tuple(found)
        return at, tuple(found)


def _columns(data: np.ndarray, dtype: str, begin: int, count: int) -> np.ndarray:
    """Return numbers that lie at the same place in every row: [N, count]."""
    end = begin + count * np.dtype(dtype).itemsize
    return np.asarray(data[:, begin:end].view(dtype))


def layout_of(message_type: TypeFields, *, ros1: bool) -> Layout | None:
    """Return the layout of a type; None where only the ordinary deserialiser can read it."""
    steps: list[_Run | _Array | None] = []
    for leaf in leaves_of(message_type):
        if leaf.messages or leaf.duration or leaf.path[-1] == NO_FIELDS:
            return None
        if leaf.base == "string" and not leaf.many:
            steps += [None] * leaf.size
        elif leaf.base == "string":
            wanted = message_type.name == JOINT_STATE and leaf.name == "name"
            if not wanted:
                return None
            steps.append(_Array("", leaf.name))
        elif leaf.base not in CODES:
            return None
        elif leaf.many:
            steps.append(_Array(CODES[leaf.base].replace("?", "b"), leaf.name if leaf.known else ""))
        else:
            if not steps or not isinstance(steps[-1], _Run):
                steps.append(_Run())
            run = steps[-1]
            assert isinstance(run, _Run)
            run.parts.append((CODES[leaf.base], leaf.size, leaf.kind is not None))
    return Layout(steps, ros1=ros1)
