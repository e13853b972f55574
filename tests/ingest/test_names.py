"""Track names: what may stand in them, how long they are, how collisions end."""

from __future__ import annotations

import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from ingest.names import track_names


def mark(topic: str) -> str:
    """Return what a colliding or long name of this topic ends in."""
    return hashlib.sha256(topic.encode()).hexdigest()[:6]


def test_a_topic_becomes_lower_case_words() -> None:
    """Everything else is an underscore, and there is none at the ends."""
    assert track_names(["/Camera/Front image-raw/", "/imu"]) == ["camera_front_image_raw", "imu"]


def test_colliding_names_are_all_marked() -> None:
    """Both, whatever their order: neither name depends on which topic comes first."""
    topics = ["/a/b", "/a_b", "/c"]
    expected = {topic: f"a_b_{mark(topic)}" for topic in topics[:2]} | {"/c": "c"}
    assert dict(zip(topics, track_names(topics), strict=True)) == expected
    assert dict(zip(topics[::-1], track_names(topics[::-1]), strict=True)) == expected


def test_long_names_are_cut_and_marked() -> None:
    """Forty characters are kept as they are; of more, 33 and the mark."""
    topics = ["x" * 40, "y" * 41]
    assert track_names(topics) == ["x" * 40, "y" * 33 + "_" + mark("y" * 41)]


def test_topics_without_a_letter_have_names_too() -> None:
    """A single one is `track`; several are told apart."""
    assert track_names(["/"]) == ["track"]
    assert track_names(["/", "//"]) == [f"track_{mark('/')}", f"track_{mark('//')}"]


@given(st.lists(st.text(st.characters(), max_size=60), unique=True, max_size=20))
def test_names_are_valid_and_unique(topics: list[str]) -> None:
    """For any topics, also such that are no valid Unicode."""
    names = track_names(topics)
    assert all(re.fullmatch(r"[a-z0-9_]{1,40}", name) for name in names)
    assert len(set(names)) == len(topics)
