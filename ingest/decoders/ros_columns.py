"""Which numbers of a ROS message become columns of a signal track, and what they are called.

Columns are a message's numbers by their path (`angular_velocity.x`, `covariance[3]`):

    scalar, fixed array of up to 64       a column each
    JointState                            `position[NAME]`, `velocity[NAME]`, `effort[NAME]`, by joint
    Joy, MultiArray                       `axes[0]` … up to the longest message, NaN beyond
    duration                              a column, in seconds
    header, point in time, text           no column: a header is the clock, and seconds since 1970
                                          do not survive float32
    any other array                       no column, but named
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

LONGEST_FIXED_ARRAY = 64
MOST_COLUMNS = 4096

Kind = Literal["linear", "last", "slerp"]
Path = tuple[str | int, ...]

HEADERS = ("std_msgs/msg/Header", "roslib/msg/Header")
TIME, DURATION = "builtin_interfaces/msg/Time", "builtin_interfaces/msg/Duration"
QUATERNION = "geometry_msgs/msg/Quaternion"
NO_FIELDS = "structure_needs_at_least_one_member"
"""What stands in a type without fields."""

JOINT_STATE = "sensor_msgs/msg/JointState"
SEQUENCES: dict[str, tuple[str, ...]] = {
    JOINT_STATE: ("position", "velocity", "effort"),
    "sensor_msgs/msg/Joy": ("axes", "buttons"),
}
MULTI_ARRAY = re.compile(r"std_msgs/msg/(U?Int(8|16|32|64)|Float(32|64)|Byte)MultiArray")


class TypeFields(Protocol):
    """What is asked of a message type: name and descriptor of each field, as rosbags has them.

    Descriptors are (1, (base, 0)), (2, type), (3 fixed or 4 variable, (descriptor, size)).
    """

    @property
    def name(self) -> str:
        """`package/msg/Type`."""
        ...

    def fields(self, name: str = "") -> list[tuple[str, Any]]:
        """Return the fields of this type, or of one that it is made of."""
        ...


@dataclass(frozen=True)
class Leaf:
    """One field of basic type, however deep, in the order in which fields are serialised."""

    name: str
    """Its path as people write it."""
    path: Path
    """Its path from the message: names, and indices of fixed arrays."""
    base: str
    """`float64`, `string` …; a message's type where a variable array holds messages."""
    size: int = 1
    """How many values: more than 1 in fixed arrays."""
    many: bool = False
    """Whether it is a variable array."""
    fixed_array: bool = False
    messages: bool = False
    """Whether a variable array holds messages."""
    kind: Kind | None = None
    """How it is resampled; None: it is no column."""
    known: bool = False
    """Whether it is a variable array whose meaning is known."""
    duration: bool = False
    """Whether it is the seconds of a duration; its nanoseconds follow."""
    remark: str = ""
    """How to name it where it holds numbers but is no column."""


def leaves_of(message_type: TypeFields) -> Iterator[Leaf]:
    """Yield all leaves of a type, in the order in which they are serialised."""
    known = frozenset(sequence_fields(message_type.name))
    yield from _leaves(message_type, message_type.name, "", (), known, shown=True)


def sequence_fields(type_name: str) -> tuple[str, ...]:
    """Return the variable arrays of a type whose meaning is known."""
    if MULTI_ARRAY.fullmatch(type_name):
        return ("data",)
    return SEQUENCES.get(type_name, ())


def _leaves(
    types: TypeFields, name: str, prefix: str, path: Path, known: frozenset[str], *, shown: bool
) -> Iterator[Leaf]:
    quaternion = name == QUATERNION
    for field_name, (node, inner) in types.fields(name):
        here, at = prefix + field_name, (*path, field_name)
        if node == 1:
            kind = kind_of(inner[0]) if shown and field_name != NO_FIELDS else None
            yield Leaf(here, at, inner[0], kind="slerp" if quaternion and kind else kind)
        elif node == 2:
            yield from _nested(types, inner, here, at, shown=shown)
        else:
            yield from _array(types, node, inner, here, at, known=field_name in known, shown=shown)


def _nested(types: TypeFields, name: str, here: str, at: Path, *, shown: bool) -> Iterator[Leaf]:
    """Yield the leaves of a message inside a message."""
    if name == DURATION and shown:
        yield Leaf(here, at, "int32", kind="linear", duration=True)
        yield Leaf(f"{here}.nanosec", (*at, "nanosec"), "uint32")
        return
    for index, leaf in enumerate(
        _leaves(types, name, f"{here}.", at, frozenset(), shown=shown and name not in (TIME, *HEADERS))
    ):
        remark = f"{here} (time)" if name == TIME and shown and index == 0 else leaf.remark
        yield Leaf(**{**leaf.__dict__, "remark": remark})


def _array(
    types: TypeFields, node: int, inner: Any, here: str, at: Path, *, known: bool, shown: bool
) -> Iterator[Leaf]:
    """Yield the leaves of an array."""
    (inner_node, element), size = inner
    base = element[0] if inner_node == 1 else element
    many = node == 4
    if inner_node == 2 and not many:
        short = size <= LONGEST_FIXED_ARRAY
        if shown and not short:
            yield Leaf(here, at, "int8", size=0, remark=f"{here} ({plain_name(base)}[{size}])")
        for index in range(size):
            yield from _nested(types, element, f"{here}[{index}]", (*at, index), shown=shown and short)
        return
    kind = kind_of(base) if inner_node == 1 and shown else None
    column = kind if not many and size <= LONGEST_FIXED_ARRAY else None
    known = known and many and kind is not None  # a type of that name may hold anything
    left_out = shown and not known and column is None and (inner_node == 2 or kind)
    yield Leaf(
        here,
        at,
        base,
        size=0 if many else size,
        many=many,
        fixed_array=not many,
        messages=inner_node == 2,
        kind=column,
        known=known,
        remark=f"{here} ({plain_name(base)}[{'' if many else size}])" if left_out else "",
    )


def kind_of(base: str) -> Kind | None:
    """Return how a basic type is resampled; None: it is no number."""
    if base in ("string", "wstring", "wchar"):
        return None
    return "linear" if base.startswith("float") else "last"


def plain_name(type_name: str) -> str:
    """Return a type as people write it: `package/Type`."""
    return type_name.replace("/msg/", "/")


@dataclass
class Columns:
    """Columns that every message of a type has."""

    names: list[str] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    quaternions: list[tuple[int, int, int, int]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Fields that hold numbers but are no columns: `data (uint8[])`."""


def fixed_columns(message_type: TypeFields) -> Columns:
    """Return the columns that follow from the type alone; none where there are too many."""
    columns = Columns()
    for leaf in leaves_of(message_type):
        if leaf.remark:
            columns.left_out.append(leaf.remark)
        if leaf.kind is None:
            continue
        first = len(columns.names)
        if leaf.kind == "slerp" and leaf.path[-1] == "x":
            columns.quaternions.append((first, first + 1, first + 2, first + 3))
        if leaf.fixed_array:
            columns.names += [f"{leaf.name}[{index}]" for index in range(leaf.size)]
        else:
            columns.names.append(leaf.name)
        columns.kinds += [leaf.kind] * leaf.size
    if len(columns.names) > MOST_COLUMNS:
        cut = f"all {len(columns.names)} numbers: more than {MOST_COLUMNS}"
        return Columns(left_out=[*columns.left_out, cut])
    return columns


@dataclass
class Lengths:
    """The columns that depend on the messages: joints by name, arrays by the longest."""

    type_name: str
    names: dict[str, dict[str, None]] = field(default_factory=dict)
    """JointState: per field, the joints that ever had a value, in order of first appearance."""
    longest: dict[str, int] = field(default_factory=dict)
    cut: bool = False
    """Whether columns had to be left out because there are too many."""
    _last: dict[str, tuple[tuple[str, ...], int]] = field(default_factory=dict)
    """What was seen last, which mostly comes again."""

    def see(self, sizes: Mapping[str, int], names: tuple[str, ...]) -> None:
        """Take in one message.

        Args:
            sizes: how many values each of its known arrays has.
            names: of a JointState's joints.
        """
        for name in sequence_fields(self.type_name):
            length = sizes.get(name, 0)
            if self.type_name == JOINT_STATE:
                if length and self._last.get(name) != (names, length):
                    self._last[name] = names, length
                    known = self.names.setdefault(name, {})
                    for joint in joints_of(names, length):
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
        fields = [name for name in sequence_fields(self.type_name) if name in self.names]
        joints = [f"{name}[{joint}]" for name in fields for joint in self.names[name]]
        arrays = [name for name in sequence_fields(self.type_name) if name in self.longest]
        items = [f"{name}[{index}]" for name in arrays for index in range(self.longest[name])]
        return joints + items


def joints_of(names: Sequence[str], length: int) -> list[str]:
    """Return the joints that the first `length` values of a JointState belong to; those without a
    name are called by their number.
    """
    return list(names[:length]) + [str(index) for index in range(len(names), length)]


def sequence_kind(column: str) -> Kind:
    """Return how a column of a known variable array is resampled."""
    return "last" if column.startswith("buttons[") else "linear"
