"""`--map`: what an entry says, from text and TOML, and what a policy does to a track."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import WrongUse
from ingest.recording import Track
from ingest.track_map import POLICIES, MapPart, TrackMap, read_map, sampled_by

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
TOPICS = st.from_regex(r"/[a-z][a-z0-9_/]{0,12}", fullmatch=True)
PARTS = st.builds(MapPart, TOPICS, st.lists(NAMES, max_size=2).map(tuple))


@given(
    NAMES,
    st.lists(PARTS, min_size=1, max_size=3),
    st.sampled_from(POLICIES),
    st.fractions(Fraction(1, 9), 99),
)
def test_an_entry_survives_its_text(name: str, parts: list[MapPart], policy: str, rate: Fraction) -> None:
    """What is stored with a dataset is what was asked for."""
    entry = TrackMap(name, tuple(parts), str(rate), policy)  # type: ignore[arg-type]
    assert TrackMap.parse(str(entry)) == entry


def test_everything_an_entry_can_say() -> None:
    """Topics, columns, a rate, a policy, a maximum age; numbers in one form."""
    entry = TrackMap.parse("state=/joints:position,velocity+/gripper@rate=20.0,policy=nearest,max_age=0.50")
    assert entry.parts == (MapPart("/joints", ("position", "velocity")), MapPart("/gripper"))
    assert (entry.grid_rate, entry.policy, entry.max_age_ns) == (Fraction(20), "nearest", 500_000_000)
    assert str(entry) == "state=/joints:position,velocity+/gripper@rate=20,policy=nearest,max_age=1/2"
    plain = TrackMap.parse("front=/front/image_raw")
    assert (plain.grid_rate, plain.policy, plain.max_age_ns) == ("", "auto", None)
    assert TrackMap.parse("x=/user@host/topic").parts == (MapPart("/user@host/topic"),)


def test_a_toml_file_says_the_same(tmp_path: Path) -> None:
    """A table per track, in the order of the file."""
    path = tmp_path / "map.toml"
    path.write_text(
        '[action]\ntopics = "/cmd_vel"\npolicy = "hold"\n'
        '[state]\ntopics = ["/joints:position", "/gripper"]\nrate = 20\nmax_age = 0.5\n'
    )
    assert [str(entry) for entry in read_map(str(path))] == [
        "action=/cmd_vel@policy=hold",
        "state=/joints:position+/gripper@rate=20,max_age=1/2",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "NAME=TOPIC"),
        ("state=", "NAME=TOPIC"),
        ("State=/x", "lower-case"),
        ("state=/x+", "NAME=TOPIC"),
        ("state=/x@policy=guess", "policy 'guess' is none of auto, linear, nearest, asof, hold"),
        ("state=/x@rate=fast", "rate is no number: 'fast'"),
        ("state=/x@rate=0", "rate must be more than 0"),
        ("state=/x@max_age=-1", "max_age must be more than 0"),
        ("state=/x@speed=3", "speed: known are rate, policy, max_age"),
        ("state=/x@policy=hold,max_age=1", "hold has no max_age"),
        ("state=/x+/y@rate=native", "several topics share a grid"),
    ],
)
def test_wrong_entries_are_refused(text: str, words: str) -> None:
    """With what is wrong, and what would do."""
    with pytest.raises(WrongUse, match=words):
        TrackMap.parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [("x = ", "map.toml"), ("x = 1", "needs `topics`"), ("[x]\nrate = 1", "needs `topics`")],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    """With the file's name."""
    (tmp_path / "map.toml").write_text(text)
    with pytest.raises(WrongUse, match=words):
        read_map(str(tmp_path / "map.toml"))


TRACK = Track(
    "imu", "signal", "/imu", "t", 0, 100, 10, period_ns=10, max_age_ns=30,
    columns=("x", "qx", "qy", "qz", "qw", "n"), kinds=("linear", "slerp", "slerp", "slerp", "slerp", "last"),
    quaternions=((1, 2, 3, 4),),
)  # fmt: skip


def test_policies() -> None:
    """Each policy's kinds, quaternions and maximum age; a held topic gets an age where it is interpolated."""
    assert sampled_by(TRACK, "auto") == TRACK
    linear = sampled_by(TRACK, "linear", 50)
    assert linear.kinds == ("linear", "slerp", "slerp", "slerp", "slerp", "linear")
    assert (linear.quaternions, linear.max_age_ns) == (TRACK.quaternions, 50)
    nearest = sampled_by(TRACK, "nearest")
    assert (set(nearest.kinds), nearest.quaternions, nearest.max_age_ns) == ({"nearest"}, (), 30)
    asof, hold = sampled_by(TRACK, "asof"), sampled_by(TRACK, "hold")
    assert (set(asof.kinds), asof.max_age_ns) == ({"last"}, 30)
    assert (set(hold.kinds), hold.max_age_ns) == ({"last"}, 0)
    held = sampled_by(TRACK, "hold")
    assert sampled_by(held, "linear").max_age_ns == 30
