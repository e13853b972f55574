"""The `json` member: its types, and the fast writer beside the plain one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.canonical_json import json_bytes
from shards.provenance import ProvenanceEncoder, differences, types_of

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
leaves = (
    texts
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
)
lists = st.one_of(
    st.lists(texts, min_size=1, max_size=3),
    st.lists(st.integers(-5, 5), min_size=1, max_size=3),
    st.lists(st.fixed_dictionaries({"x": st.integers(0, 3)}), min_size=1, max_size=2),
)
objects = st.recursive(
    st.dictionaries(texts, leaves | lists, min_size=1, max_size=4),
    lambda inner: st.dictionaries(texts, leaves | inner, min_size=1, max_size=3),
    max_leaves=6,
)


@given(objects)
def test_the_fast_writer_gives_what_the_plain_one_gives(value: dict[str, Any]) -> None:
    """Same bytes as compact JSON with sorted keys, whatever keys and texts hold."""
    assert ProvenanceEncoder(types_of(value)).encode(value) == json_bytes(value)


@given(objects, objects)
def test_the_fast_writer_takes_its_types_and_no_others(first: dict[str, Any], second: dict[str, Any]) -> None:
    """It gives bytes exactly where `types_of` says that the types are equal."""
    encoder = ProvenanceEncoder(types_of(first))
    expected = json_bytes(second) if types_of(first) == types_of(second) else None
    assert encoder.encode(second) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": None}, "json.a is None .*never null"),
        ({"a": {"b": []}}, "json.a.b is .*at least one value, all of one type"),
        ({"a": [1, "x"]}, "json.a is .*all of one type"),
        ({"a": {}}, "json.a is an empty object"),
        ({"a": np.int64(3)}, "json.a is .*int64"),
        ({"a": 2**63}, "json.a is 9223372036854775808, which does not fit int64"),
        ({"a": [{"b": None}]}, r"json.a\[0\].b is None"),
    ],
)
def test_values_that_readers_cannot_type_are_refused(value: dict[str, Any], message: str) -> None:
    """Nulls, empty or mixed lists, empty objects and foreign numbers have no one type."""
    with pytest.raises(ValueError, match=message):
        types_of(value)


@pytest.mark.parametrize(
    "value", [{"a": 1.0}, {"a": True}, {"a": 2**63}, {"b": 1}, {"a": 1, "b": 2}, [], None]
)
def test_the_fast_writer_is_not_fooled(value: Any) -> None:
    """A float, a bool, an int that is too large, another key or no object is not an int64 under `a`."""
    assert ProvenanceEncoder({"a": "int64"}).encode(value) is None


def test_differences_say_where() -> None:
    """Missing, foreign and mistyped keys are named by their path."""
    expected = {"a": "int64", "t": {"video": {"valid": "int64"}}}
    got = {"b": "int64", "t": {"video": {"valid": "string"}}}
    assert differences(expected, got) == [
        "json.a is missing",
        "json.b is not in the first sample",
        "json.t.video.valid is string, and int64 in the first sample",
    ]
