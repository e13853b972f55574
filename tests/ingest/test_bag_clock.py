"""A topic's two clocks and the choice between them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_bags import START_NS
from made_bags import open_bag as make_bag
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from ingest.recording import Clock, Track
from ingest.sources.bag import open_bag
from ingest.sources.bag_clock import MOST_DISTANCES, Sampled, Stamps, TopicClock, header_reader
from ingest.sources.bag_types import MessageType

S = 1_000_000_000
MS = 1_000_000


def measured(pairs: list[tuple[int, int]]) -> tuple[Clock, Stamps]:
    """Return the choice for messages of these (log, header) stamps."""
    clock = TopicClock(lambda data: int.from_bytes(bytes(data), "little", signed=True))
    for log_ns, header_ns in pairs:
        clock.see(log_ns, header_ns.to_bytes(8, "little", signed=True))
    return clock.result()


def test_header_is_chosen_when_good() -> None:
    """Headers that are set, near the log and never go back are the clock; the log's delay is measured."""
    delays = [3, 9, 5, 4, 30]
    pairs = [(START_NS + (k * 100 + late) * MS, START_NS + k * 100 * MS) for k, late in enumerate(delays)]
    clock, stamps = measured(pairs)
    assert clock.choice == "header"
    assert (clock.offset_ns, clock.offset_min_ns, clock.offset_max_ns) == (5 * MS, 3 * MS, 30 * MS)
    assert (stamps.first_ns, stamps.last_ns, stamps.period_ns) == (START_NS, START_NS + 400 * MS, 100 * MS)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({3: 0}, "1 of 10 header stamps are zero"),
        ({3: START_NS}, "1 of 10 header stamps go back"),
        ({9: START_NS + 21 * S}, "1 of 10 header stamps are more than 10 s from the log stamp"),
        (dict.fromkeys(range(10), START_NS), "all 10 header stamps are the same"),
        (dict.fromkeys(range(10), 0), "10 of 10 header stamps are zero"),
    ],
)
def test_log_is_chosen_when_headers_are_bad(change: dict[int, int], reason: str) -> None:
    """One bad header stamp is enough for the log, and the reason counts them."""
    pairs = [(START_NS + k * 10 * MS, change.get(k, START_NS + k * 10 * MS - MS)) for k in range(10)]
    clock, stamps = measured(pairs)
    assert (clock.choice, clock.reason) == ("log", reason)
    assert (clock.offset_min_ns, clock.offset_max_ns) == (0, 0)
    assert stamps.last_ns == START_NS + 90 * MS


def test_equal_stamps_are_fine() -> None:
    """Header stamps that repeat are no step back."""
    clock, _ = measured([(START_NS + k, START_NS + k // 2) for k in range(10)])
    assert clock.choice == "header"


def test_a_topic_without_header() -> None:
    """Messages without a header are timed by the log."""
    clock = TopicClock(None)
    clock.see(5, b"")
    chosen, stamps = clock.result()
    assert chosen == Clock("log", "its messages have no header")
    assert (stamps.count, stamps.period_ns) == (1, 0)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300), st.integers(1, 50))
def test_stamps_by_batches_equal_stamps_at_once(gaps: list[int], batch: int) -> None:
    """Taking stamps in batches of any size gives what the obvious computation on all of them gives."""
    times = START_NS + np.cumsum([0, *gaps])
    stamps = Stamps()
    for begin in range(0, len(times), batch):
        stamps.add(times[begin : begin + batch])
    assert (stamps.first_ns, stamps.last_ns, stamps.count) == (times[0], times[-1], len(times))
    middle = sorted(gaps)[(len(gaps) - 1) // 2]
    assert stamps.period_ns == max(1, middle)
    limit = 3 * stamps.period_ns
    wide = [(int(a), int(b)) for a, b in pairwise(times) if b - a > limit]
    found = stamps.gaps(limit)
    assert set(found) <= set(wide)
    assert len(found) == min(100, len(wide))


def test_medians_are_sampled_evenly() -> None:
    """Of more numbers than are kept the median is still right to a fraction, in bounded memory."""
    sampled = Sampled()
    values = np.random.default_rng(0).integers(0, 10**6, 700_001)
    for begin in range(0, len(values), 4096):
        sampled.add(values[begin : begin + 4096])
        assert sampled._size <= MOST_DISTANCES
    assert abs(sampled.median() - 500_000) < 10_000
    kept = np.concatenate(sampled._kept)
    assert np.array_equal(kept, values[:: sampled._stride])


# --- where the header is in a message


def type_of(text: str, *, ros1: bool = False) -> MessageType:
    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg(text, "made/msg/It"))
    return MessageType("made/msg/It", store, "test", ros1=ros1)


@pytest.mark.parametrize("wire", ["ros1", "little", "big"])
@pytest.mark.parametrize("text", ["std_msgs/Header header\nint8 x", "string before\nstd_msgs/Header other"])
def test_header_is_read_wherever_it_is(text: str, wire: str) -> None:
    """A header that comes first is read from the bytes, another one from the message."""
    kind = type_of(text, ros1=wire == "ros1")
    store = kind._store
    stamp = store.types["builtin_interfaces/msg/Time"](sec=1_700_000_000, nanosec=999_999_999)
    extra = {"seq": 7} if wire == "ros1" else {}
    header = store.types["std_msgs/msg/Header"](stamp=stamp, frame_id="base", **extra)
    fields: dict[str, Any] = (
        {"header": header, "x": 1} if "int8" in text else {"before": "some text", "other": header}
    )
    message = store.types[kind.name](**fields)
    if wire == "ros1":
        data = bytes(store.serialize_ros1(message, kind.name))
    else:
        data = bytes(store.serialize_cdr(message, kind.name, little_endian=wire == "little"))
    read = header_reader(kind)
    assert read is not None
    assert read(data) == read(memoryview(data)) == 1_700_000_000_999_999_999
    for cut in range(len(data)):
        assert read(data[:cut]) in (0, 1_700_000_000_999_999_999)


def test_a_stamp_alone_is_no_header() -> None:
    """Only a header is the clock: other times in a message may mean anything."""
    assert header_reader(type_of("builtin_interfaces/Time stamp\nint8 x")) is None


# --- through a bag


def track_of(path: Path) -> Track:
    with open_bag([path]) as source:
        (track,) = source.probe().tracks
    return track


@pytest.mark.parametrize("ending", ["bag", "mcap", "db3"])
def test_a_clock_that_jumps_back(tmp_path: Path, ending: str) -> None:
    """Where the sensor's clock jumps back, the log is the time, and every message is still there."""
    path = tmp_path / f"a.{ending}"
    with make_bag(path) as bag:
        for k in range(20):
            stamp_ns = START_NS + (k - 5 * (k >= 10)) * 100 * MS
            values = {"header": bag.header(stamp_ns), "point": {"x": k}}
            bag.write("/p", "geometry_msgs/msg/PointStamped", START_NS + k * 100 * MS, **values)
    track = track_of(path)
    assert track.clock is not None
    assert (track.clock.choice, track.clock.reason) == ("log", "1 of 20 header stamps go back")
    assert (track.item_count, track.start_ns) == (20, START_NS)
    assert track.stop_ns == START_NS + 2 * S


def test_a_log_that_jumps_back(tmp_path: Path) -> None:
    """Where the recorder's clock jumps back, messages come by log stamp, whatever the file's order."""
    path = tmp_path / "a.bag"
    with make_bag(path) as bag:
        for k in (5, 6, 7, 0, 1, 2):
            bag.write("/n", "std_msgs/msg/Int32", START_NS + k * S, data=k)
    track = track_of(path)
    assert (track.start_ns, track.stop_ns, track.item_count) == (START_NS, START_NS + 8 * S, 6)
    with open_bag([path]) as source:
        times = [packet.time_ns for packet in source.read([track], 0, 2**62, lambda incident: None)]
    assert times == sorted(times)


def test_equal_log_stamps_are_normal(tmp_path: Path) -> None:
    """Messages that share one log stamp all come, in the file's order; the track lasts at least 1 ns."""
    path = tmp_path / "a.mcap"
    with make_bag(path) as bag:
        for k in range(5):
            bag.write("/n", "std_msgs/msg/Int32", START_NS, data=k)
    track = track_of(path)
    assert (track.start_ns, track.stop_ns, track.period_ns) == (START_NS, START_NS + 1, 1)
    with open_bag([path]) as source:
        data = [bytes(packet.data)[4] for packet in source.read([track], 0, 2**62, lambda incident: None)]
    assert data == [0, 1, 2, 3, 4]


def test_gaps_are_told(tmp_path: Path) -> None:
    """A gap of more than three periods is told, as half-open spans between the items around it."""
    path = tmp_path / "a.mcap"
    with make_bag(path) as bag:
        for k in (*range(10), *range(15, 25)):
            bag.write("/n", "std_msgs/msg/Int32", START_NS + k * S, data=k)
    track = track_of(path)
    assert track.gaps == ((START_NS + 9 * S, START_NS + 15 * S),)
    assert (track.period_ns, track.max_age_ns) == (S, 3 * S)
