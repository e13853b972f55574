"""ROS messages with numbers -> rows of a signal track.

Columns are a message's numbers by their path (`angular_velocity.x`, `covariance[3]`):

    scalar, fixed array of up to 64       a column each
    JointState                            `position[NAME]`, `velocity[NAME]`, `effort[NAME]`, by joint
    LaserScan, Joy, MultiArray            `ranges[0]` … up to the longest message, NaN beyond
    duration                              a column, in seconds
    header, point in time, text           no column: a header is the clock, and seconds since 1970
                                          do not survive float32
    any other array                       no column, but named

Infinite values (a laser that got no echo) are NaN: there is no number to learn from.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal, Protocol

import numpy as np

from ingest.recording import Packet, Rows

LONGEST_FIXED_ARRAY = 64
MOST_COLUMNS = 4096

Kind = Literal["linear", "last", "slerp"]

HEADERS = ("std_msgs/msg/Header", "roslib/msg/Header")
TIME, DURATION = "builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration"
QUATERNION = "geometry_msgs/msg/Quaternion"
NO_FIELDS = "structure_needs_at_least_one_member"
"""What stands in a type without fields."""

JOINT_STATE = "sensor_msgs/msg/JointState"
SEQUENCES: dict[str, tuple[str, ...]] = {
    "sensor_msgs/msg/LaserScan": ("ranges", "intensities"),
    "sensor_msgs/msg/Joy": ("axes", "buttons"),
}
MULTI_ARRAY = re.compile(r"std_msgs/msg/(U?Int(8|16|32|64)|Float(32|64)|Byte)MultiArray")

Getter = Callable[[Any], Any]


class TypeFields(Protocol):
    """What is asked of a message type: name and descriptor of each field, as rosbags has them."""

    name: str

    def fields(self, name: str = "") -> list[tuple[str, Any]]:
        """Return the fields of this type, or of one that it is made of."""
        ...


@dataclass
class Columns:
    """Columns that every message of a type has."""

    names: list[str] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    quaternions: list[tuple[int, int, int, int]] = field(default_factory=list)
    getters: list[tuple[int, int, Getter]] = field(default_factory=list)
    """First column, count, and what gets the value (one number, or an array) from a message."""
    left_out: list[str] = field(default_factory=list)
    """Fields that hold numbers but are no columns: `data (uint8[])`."""

    def add(self, names: Iterable[str], kind: Kind, getter: Getter) -> None:
        """Add columns that one getter fills."""
        names = list(names)
        self.getters.append((len(self.names), len(names), getter))
        self.names += names
        self.kinds += [kind] * len(names)


def fixed_columns(message_type: TypeFields) -> Columns:
    """Return the columns that follow from the type alone."""
    columns = Columns()
    sequences = sequence_fields(message_type.name)
    _walk(message_type, message_type.name, "", (), columns, frozenset(sequences))
    if len(columns.names) > MOST_COLUMNS:
        cut = len(columns.names)
        columns = Columns(left_out=[*columns.left_out, f"everything ({cut} columns)"])
    return columns


def sequence_fields(type_name: str) -> tuple[str, ...]:
    """Return the variable arrays of a type whose meaning is known."""
    if type_name == JOINT_STATE:
        return ("position", "velocity", "effort")
    if MULTI_ARRAY.fullmatch(type_name):
        return ("data",)
    return SEQUENCES.get(type_name, ())


def _walk(
    types: TypeFields,
    name: str,
    prefix: str,
    path: tuple[str | int, ...],
    columns: Columns,
    known: frozenset[str],
) -> None:
    """Add the columns of one type, and of the types it is made of.

    Descriptors are those of rosbags: (1, (base, 0)), (2, type), (3 fixed or 4 variable, (inner, size)).
    """
    if name == QUATERNION:
        first = len(columns.names)
        for axis in "xyzw":
            columns.add([prefix + axis], "slerp", _getter((*path, axis)))
        columns.quaternions.append((first, first + 1, first + 2, first + 3))
        return
    for field_name, (node, inner) in types.fields(name):
        here, at = prefix + field_name, (*path, field_name)
        if field_name == NO_FIELDS:
            continue
        if node == 1:
            _add_scalar(columns, here, at, inner[0])
        elif node == 2:
            _add_message(types, columns, here, at, inner)
        elif node == 3 and inner[1] <= LONGEST_FIXED_ARRAY:
            (inner_node, inner_type), size = inner
            if inner_node == 1 and _kind(inner_type[0]):
                names = [f"{here}[{index}]" for index in range(size)]
                columns.add(names, _kind(inner_type[0]) or "last", _getter(at))
            elif inner_node == 2:
                for index in range(size):
                    _add_message(types, columns, f"{here}[{index}]", (*at, index), inner_type)
        elif field_name not in known:
            (inner_node, inner_type), size = inner
            base = inner_type[0] if inner_node == 1 else inner_type.replace("/msg/", "/")
            if inner_node == 2 or _kind(base):
                columns.left_out.append(f"{here} ({base}[{size if node == 3 else ''}])")


def _add_scalar(columns: Columns, name: str, path: tuple[str | int, ...], base: str) -> None:
    kind = _kind(base)
    if kind:
        columns.add([name], kind, _getter(path))


def _add_message(
    types: TypeFields, columns: Columns, name: str, path: tuple[str | int, ...], type_name: str
) -> None:
    if type_name in HEADERS:
        return
    if type_name == TIME:
        columns.left_out.append(f"{name} (time)")
    elif type_name == DURATION:
        duration = _getter(path)
        columns.add([name], "linear", lambda message: _seconds(duration(message)))
    else:
        _walk(types, type_name, f"{name}.", path, columns, frozenset())


def _kind(base: str) -> Kind | None:
    """Return how a basic type is resampled; None: it is no number."""
    if base in ("string", "wstring", "wchar"):
        return None
    return "linear" if base.startswith("float") else "last"


def _getter(path: tuple[str | int, ...]) -> Getter:
    """Return what gets a field, however deep, from a message."""
    # rosbags lets `from` be `from_` in its messages
    path = tuple(f"{step}_" if isinstance(step, str) and keyword.iskeyword(step) else step for step in path)
    if all(isinstance(step, str) for step in path):
        return attrgetter(".".join(str(step) for step in path))

    def get(value: Any) -> Any:
        for step in path:
            value = getattr(value, step) if isinstance(step, str) else value[step]
        return value

    return get


def _seconds(duration: Any) -> float:
    return float(duration.sec) + float(duration.nanosec) * 1e-9


@dataclass
class Lengths:
    """The columns that depend on the messages: joints by name, arrays by the longest."""

    type_name: str
    names: dict[str, dict[str, None]] = field(default_factory=dict)
    """JointState: per field, the joints that ever had a value, in order of first appearance."""
    longest: dict[str, int] = field(default_factory=dict)
    cut: bool = False
    """Whether columns had to be left out because there are too many."""

    def see(self, message: Any) -> None:
        """Take in one message."""
        for name in sequence_fields(self.type_name):
            length = len(getattr(message, name))
            if self.type_name == JOINT_STATE:
                known = self.names.setdefault(name, {})
                for joint in joints_of(message, length):
                    if joint not in known:
                        self._take(known, joint)
            elif length > self.longest.get(name, 0):
                self.longest[name] = min(length, MOST_COLUMNS)
                self.cut |= length > MOST_COLUMNS

    def _take(self, known: dict[str, None], joint: str) -> None:
        if len(known) < MOST_COLUMNS:
            known[joint] = None
        else:
            self.cut = True

    def columns(self) -> list[str]:
        """Return the columns, field by field."""
        joints = [f"{name}[{joint}]" for name, known in self.names.items() for joint in known]
        items = [f"{name}[{index}]" for name, count in self.longest.items() for index in range(count)]
        return joints + items


def joints_of(message: Any, length: int) -> list[str]:
    """Return the joints that the first `length` values of a JointState belong to."""
    names = list(message.name)[:length]
    return names + [str(index) for index in range(len(names), length)]


def sequence_kind(name: str) -> Kind:
    """Return how the items of a known variable array are resampled."""
    return "last" if name == "buttons" else "linear"


class RosSignals:
    """Decoder of one signal track.

    Args:
        columns: the track's columns, in order; those that the type alone gives come first.
        message_type: the type, with what turns bytes into messages.
        deserialize: turns bytes into messages; raises `CannotDecode`.
    """

    def __init__(
        self, columns: Sequence[str], message_type: TypeFields, deserialize: Callable[[Any], Any]
    ) -> None:
        self._deserialize = deserialize
        self._width = len(columns)
        fixed = fixed_columns(message_type)
        scalars = [(at, getter) for at, count, getter in fixed.getters if not fixed.names[at].endswith("]")]
        self._scalars = [at for at, _ in scalars]
        self._get_scalars = [getter for _, getter in scalars]
        self._arrays = [item for item in fixed.getters if fixed.names[item[0]].endswith("]")]
        self._joints = message_type.name == JOINT_STATE
        self._sequences = sequence_fields(message_type.name)
        self._at = {name: index for index, name in enumerate(columns)}
        # where each known array begins, and how many columns it has
        self._places = {
            name: [index for index, column in enumerate(columns) if column.startswith(f"{name}[")]
            for name in self._sequences
        }

    def decode(self, packet: Packet) -> list[Rows]:
        """See `Decoder`."""
        message = self._deserialize(packet.data)
        row = np.full(self._width, np.nan)
        if self._scalars:
            row[self._scalars] = [get(message) for get in self._get_scalars]
        for at, count, get in self._arrays:
            row[at : at + count] = get(message)
        for name in self._sequences:
            values = np.asarray(getattr(message, name), np.float64)
            if self._joints:
                for joint, value in zip(joints_of(message, len(values)), values, strict=True):
                    column = self._at.get(f"{name}[{joint}]")
                    if column is not None and np.isnan(row[column]):
                        row[column] = value
            elif places := self._places[name]:
                count = min(len(values), len(places))
                row[places[0] : places[0] + count] = values[:count]
        row[np.isinf(row)] = np.nan
        return [Rows(np.array([packet.time_ns], np.int64), row[None])]

    def flush(self) -> list[Rows]:
        """See `Decoder`."""
        return []
