"""Numbers of nested messages: which are columns, what they are called, how they are resampled."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ingest.decoders.records import LONGEST_LIST, SeenColumns, flatten


def test_numbers_are_called_by_their_path() -> None:
    """Objects by name, lists by place, lists of named objects by their names; nothing else is a column."""
    message = {
        "pose": {"x": 1.5, "label": "a"},
        "joints": [0.25, 2],
        "links": [{"name": "wrist", "force": -1.0}, {"force": 3}],
        "on": True,
        "nothing": None,
        "stamp": {"sec": 1, "nsec": 2},
    }
    assert flatten(message).numbers == {
        "pose.x": 1.5, "joints[0]": 0.25, "joints[1]": 2, "links[wrist].force": -1.0, "links[1].force": 3,
        "on": True,
    }  # fmt: skip


def test_long_lists_are_named() -> None:
    """A list of 65 values is left out by name."""
    message = {"scan": {"ranges": [0.5] * (LONGEST_LIST + 1)}}
    flat = flatten(message)
    assert flat.numbers == {}
    assert flat.left_out == ("scan.ranges (65 values)",)


NAMES = st.text("abc", min_size=1, max_size=2)
NESTED = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1, max_size=2), inner)
    ),
    max_leaves=20,
)


@given(st.dictionaries(NAMES, NESTED))
def test_every_number_comes_once(message: dict[str, Any]) -> None:
    """As many numbers as there are in the message, whatever it is made of."""

    def count(value: Any) -> int:
        if isinstance(value, (bool, int, float)):
            return 1
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return sum(count(one) for one in inner)

    assert len(flatten(message).numbers) == count(message)


def seen(*messages: dict[str, Any]) -> SeenColumns:
    columns = SeenColumns()
    for message in messages:
        columns.see(flatten(message))
    return columns


def test_kinds_follow_from_the_values() -> None:
    """Only whole numbers: discrete; one fraction makes a column linear."""
    columns = seen({"mode": 1, "x": 1, "on": False}, {"mode": 2, "x": 1.5})
    assert dict(zip(columns.names, columns.kinds([]), strict=True)) == {
        "mode": "last", "x": "linear", "on": "last",
    }  # fmt: skip


def test_four_numbers_of_length_one_are_a_quaternion() -> None:
    """x, y, z, w alone and normalised; not a colour, not a vector of another length, not with more beside."""
    unit = {"x": 0.0, "y": 0.0, "z": math.sqrt(0.5), "w": math.sqrt(0.5)}
    unset = {"x": 0, "y": 0, "z": 0, "w": 0}
    columns = seen({"turn": unit, "v": {**unit, "w": 2.0}, "more": {**unit, "t": 1.0}}, {"turn": unset})
    (places,) = columns.quaternions()
    names = list(columns.names)
    assert [names[place] for place in places] == ["turn.x", "turn.y", "turn.z", "turn.w"]
    assert columns.kinds([places])[: len(unit)] == ["slerp"] * 4


def test_too_many_columns_are_cut_and_said() -> None:
    """Names that change all the time do not fill memory."""
    columns = SeenColumns()
    for k in range(200):
        columns.see(flatten({f"key{k}_{i}": 1.0 for i in range(30)}))
    assert len(columns.names) == 4096
    assert columns.cut
