"""Messages of nested names and values (protobuf, JSON) -> numbers by their path.

    {"pose": {"x": 1.5}, "joints": [0.1, 0.2], "grip": true}
    ->  pose.x = 1.5, joints[0] = 0.1, joints[1] = 0.2, grip = 1

A list of objects that have a `name` is indexed by it: `joints[wrist].position`. Points in time, texts and
bytes are no columns; lists of more than `LONGEST_LIST` values are none, but named. A number that is not
there is not a column of that message: it becomes NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ingest.decoders.ros_columns import MOST_COLUMNS, Kind

LONGEST_LIST = 64
DEEPEST = 16
"""Values nested more deeply are left out: some schemas contain themselves."""
LARGEST_WHOLE = 1 << 1023
"""What is larger is no float, and so no number."""
UNIT = 0.01
"""A quaternion's length may differ so much from 1."""
TIME_FIELDS = (("sec", "nsec"), ("sec", "nanosec"), ("secs", "nsecs"), ("seconds", "nanos"))
"""Objects with just these two fields are times. Without a schema a duration looks the same."""

Number = bool | int | float
_TIMES = {tuple(sorted(names, reverse=True)) for names in TIME_FIELDS}


class Flat(NamedTuple):
    """The numbers of one message, in the message's own order."""

    numbers: dict[str, Number]
    left_out: tuple[str, ...]
    """Lists that are too long: `data (1000 values)`."""


def flatten(message: Mapping[str, Any]) -> Flat:
    """Return a message's numbers by their path.

    Args:
        message: mappings, lists, numbers, and whatever else is passed over.
    """
    left_out: list[str] = []
    numbers = dict(_leaves(message, "", left_out, 0))
    return Flat(numbers, tuple(left_out))


def _leaves(value: Any, path: str, left_out: list[str], depth: int) -> Iterator[tuple[str, Number]]:
    if isinstance(value, (bool, int, float)):
        # JSON's whole numbers have no end
        yield path, value if isinstance(value, float) or abs(value) < LARGEST_WHOLE else math.nan
    elif depth > DEEPEST:
        left_out.append(f"{path} (too deep)")
    elif isinstance(value, Mapping):
        if len(value) == 2 and tuple(sorted(value, reverse=True)) in _TIMES:
            return
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name, left_out, depth + 1)
    elif isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray)):
        if len(value) > LONGEST_LIST:
            left_out.append(f"{path} ({len(value)} values)")
            return
        for index, inner in enumerate(value):
            name = inner.get("name") if isinstance(inner, Mapping) else None
            mark = name if isinstance(name, str) and name else index
            yield from _leaves(inner, f"{path}[{mark}]", left_out, depth + 1)


@dataclass
class SeenColumns:
    """The columns that messages have together, learned message by message.

    A column in which only whole numbers and truth values came is discrete (`last`), every other one is
    `linear`; `x`, `y`, `z` and `w` with nothing beside them, of length 1 (or 0: not set) in every message,
    are a quaternion.
    """

    names: dict[str, bool] = field(default_factory=dict)
    """Column to whether it is whole so far, by first appearance."""
    left_out: dict[str, None] = field(default_factory=dict)
    cut: bool = False
    """Whether columns had to be left out because there are too many."""
    _not_unit: set[str] = field(default_factory=set)

    def see(self, flat: Flat) -> None:
        """Take in one message."""
        for name, value in flat.numbers.items():
            whole = self.names.get(name)
            if whole is None:
                if len(self.names) >= MOST_COLUMNS:
                    self.cut = True
                    continue
                self.names[name] = isinstance(value, int)
            elif whole and isinstance(value, float):
                self.names[name] = False
            if name.endswith(".w"):
                self._see_length(name[:-1], flat.numbers)
        self.left_out.update(dict.fromkeys(flat.left_out))

    def _see_length(self, prefix: str, numbers: Mapping[str, Number]) -> None:
        parts = [float(numbers.get(prefix + axis, math.nan)) for axis in "xyzw"]
        length = math.hypot(*parts)
        if not (abs(length - 1) <= UNIT or length == 0):  # NaN is neither
            self._not_unit.add(prefix)

    def quaternions(self) -> list[tuple[int, int, int, int]]:
        """Return the places of each quaternion's x, y, z, w."""
        place = {name: index for index, name in enumerate(self.names)}
        beside: dict[str, set[str]] = {}
        for name in self.names:
            prefix, _, last = name.rpartition(".")
            beside.setdefault(f"{prefix}.", set()).add(last)
        return [
            (place[f"{p}x"], place[f"{p}y"], place[f"{p}z"], place[f"{p}w"])
            for p, lasts in beside.items()
            if lasts == set("xyzw") and p not in self._not_unit
        ]

    def kinds(self, quaternions: Iterable[Sequence[int]]) -> list[Kind]:
        """Return how each column is resampled."""
        turned = {index for places in quaternions for index in places}
        return [
            "slerp" if index in turned else "last" if whole else "linear"
            for index, whole in enumerate(self.names.values())
        ]
