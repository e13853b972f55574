"""Conditions on samples: the grammar, what they mean, and what is said of those that can't be read."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards import Condition, ShardsError, WrongCondition, parse_shares, split_of

SAMPLE: dict[str, Any] = {
    "recording": "arms/run 7.mcap", "layout": "camera-state", "id": "3f9a", "seconds": 4.0, "start": 12,
    "tokens": 900, "tokens.camera": 800, "valid.camera": 32, "json.tracks.camera.fit": "pad", "json.n": None,
}  # fmt: skip


def holds(text: str) -> bool:
    return Condition(text).holds(SAMPLE.get)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("tokens > 800", True),
        ("tokens >= 900 and tokens <= 900", True),
        ("tokens != 900 or seconds == 4", True),
        ("not tokens > 800", False),
        ("not not seconds < 4.5e0", True),
        ("recording ~ 'arms/*.mcap'", True),
        ('recording ~ "Arms/*"', False),
        ("start < -1 or (seconds > 1 and start > 10)", True),
        ("false_friend", None),
        ("tokens.camera == 800 and valid.camera == 32", True),
        ("json.tracks.camera.fit == 'pad'", True),
        ("json.tracks.camera.fit > 3", False),
        ("json.n == 0 or json.n != 0 or json.nothing ~ '*'", False),
        ("'a' < 'b'", True),
        ("1<2", True),
        ("and", None),
    ],
)
def test_what_a_condition_means(text: str, want: bool | None) -> None:
    """As one would say it; a value that is not there fits nothing."""
    if want is None:
        with pytest.raises(WrongCondition):
            Condition(text)
    else:
        assert holds(text) is want


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a field, a number or a text in quotes, at the end"),
        ("tokens >", "expected a field, a number or a text in quotes, at the end"),
        ("tokens = 3", r"can't read '= 3'"),
        ("tokens 3", r"expected one of == != < <= > >= ~, at '3' \(character 7\)"),
        ("(tokens > 3", "expected \\), at the end"),
        ("tokens > 3 tokens", "expected 'and', 'or' or the end, at 'tokens'"),
        ("tokens > 'many'", "tokens > 'many' compares a number with a text"),
        ("seconds ~ '4*'", "~ compares texts, not numbers"),
        ("__import__ == 1", "expected recording, layout, id"),
        ("recording.name == 'x'", "expected recording, layout, id"),
        ("tokens. > 1", "expected recording, layout, id"),
        ("tokens > 3; 1", "can't read '; 1'"),
        ("f(1) > 2", "expected recording"),
        ("1 < 2 < 3", "expected 'and', 'or' or the end, at '<'"),
    ],
)
def test_what_cannot_be_read_is_shown(text: str, said: str) -> None:
    """Where it stands, and what may stand there."""
    with pytest.raises(WrongCondition, match=said):
        Condition(text)


def test_only_what_is_asked_for_is_looked_up() -> None:
    """The names are known beforehand, and a decided `and` looks no further."""
    condition = Condition("tokens > 1000 and json.a.b == 2 and not id ~ '3*'")
    assert condition.fields == {"tokens", "json.a.b", "id"}
    asked: list[str] = []

    def look_up(name: str) -> Any:
        asked.append(name)
        return SAMPLE.get(name)

    assert not condition.holds(look_up)
    assert asked == ["tokens"]


comparisons = st.builds(
    lambda field, sign, number: (f"{field} {sign} {number}", _plain(SAMPLE[field], sign, number)),
    st.sampled_from(["tokens", "seconds", "start", "valid.camera"]),
    st.sampled_from(["==", "!=", "<", "<=", ">", ">="]),
    st.sampled_from([4, 12, 32, 800, 900, 4.0, -3]),
) | st.builds(
    lambda glob: (f"recording ~ '{glob}'", fnmatchcase(SAMPLE["recording"], glob)),
    st.sampled_from(["*", "arms*", "*.bag", "arms/run ?.mcap"]),
)


def _plain(left: float, sign: str, right: float) -> bool:
    return {
        "==": left == right, "!=": left != right, "<": left < right,
        "<=": left <= right, ">": left > right, ">=": left >= right,
    }[sign]  # fmt: skip


def _joined(terms: Any) -> Any:
    both = st.tuples(terms, terms)
    return (
        both.map(lambda t: (f"({t[0][0]}) and ({t[1][0]})", t[0][1] and t[1][1]))
        | both.map(lambda t: (f"({t[0][0]}) or ({t[1][0]})", t[0][1] or t[1][1]))
        | terms.map(lambda t: (f"not ({t[0]})", not t[1]))
    )


@given(st.recursive(comparisons, _joined, max_leaves=12))
def test_nested_conditions_mean_what_their_parts_mean(made: tuple[str, bool]) -> None:
    """Whatever is nested in whatever."""
    text, want = made
    assert holds(text) is want


@given(st.lists(comparisons, min_size=2, max_size=5), st.data())
def test_and_binds_closer_than_or(parts: list[tuple[str, bool]], data: st.DataObject) -> None:
    """As in Python, which is the twin here."""
    words = data.draw(st.lists(st.sampled_from(["and", "or"]), min_size=4, max_size=4))
    text, twin = parts[0][0], str(parts[0][1])
    for word, (part, value) in zip(words, parts[1:], strict=False):
        text, twin = f"{text} {word} {part}", f"{twin} {word} {value}"
    assert holds(text) is eval(twin)


@given(st.integers(0, 2**64 - 1))
def test_a_recording_has_one_place(number: int) -> None:
    """Whatever the other shares are, a last share of equal size holds the same recordings."""
    last = split_of(number, {"train": 0.9, "validation": 0.1}) == "validation"
    assert last == (split_of(number, {"a": 0.5, "b": 0.4, "c": 0.1}) == "c")


@pytest.mark.parametrize("text", ["train", "train=2", "train=0.5", "a=0.5,a=0.5", "A b=1", "a=0.5,b=nan", ""])
def test_shares_that_cannot_be_meant_are_refused(text: str) -> None:
    """With the values."""
    with pytest.raises(ShardsError, match="split"):
        parse_shares(text)
