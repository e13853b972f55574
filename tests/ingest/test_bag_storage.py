"""Bag files as channels and messages: order, windows, neighbours, and rosbags' own readers as twins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_bags import START_NS
from made_bags import open_bag as make_bag
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2 import Reader as Reader2

from ingest.errors import CannotOpen
from ingest.recording import Incident
from ingest.sources.bag_chunks import Chunk
from ingest.sources.bag_files import open_storage
from ingest.sources.bag_storage import MAX_NS, MIN_NS, Message, Series, Storage, merge_by_log_time
from ingest.sources.chunk_unpacking import Unpacked

KINDS = [("bag", ""), ("bag", "bz2"), ("bag", "lz4"), ("mcap", ""), ("mcap", "zstd"), ("db3", "")]


def fail(incident: Incident) -> None:
    raise AssertionError(incident)


def everything(storage: Storage) -> list[Message]:
    return list(storage.messages(range(len(storage.channels)), MIN_NS, MAX_NS, fail))


def plain(messages: Sequence[Message], storage: Storage) -> list[tuple[str, int, bytes]]:
    return [(storage.channels[number].topic, log_ns, bytes(data)) for number, log_ns, data in messages]


def write_numbers(path: Path, stamps: Sequence[tuple[str, int]], compression: str = "") -> Path:
    """Write one Int32 per (topic, offset in ns); its value is its place in the file."""
    with make_bag(path, compression=compression) as bag:
        for k, (topic, offset_ns) in enumerate(stamps):
            bag.write(topic, "std_msgs/msg/Int32", START_NS + offset_ns, data=k)
    return path


@given(st.lists(st.lists(st.integers(0, 50), max_size=8), max_size=6))
def test_merging_equals_sorting(streams: list[list[int]]) -> None:
    """Merged streams are all their messages, sorted by stamp, equal ones by stream and place."""
    opened: list[int] = []

    def stream(number: int) -> Iterator[Message]:
        opened.append(number)
        for place, stamp in enumerate(sorted(streams[number])):
            yield Message(number, stamp, bytes([place]))

    parts = [(min(stamps, default=0), partial(stream, number)) for number, stamps in enumerate(streams)]
    merged = list(merge_by_log_time(parts))
    order = sorted(range(len(streams)), key=lambda number: (min(streams[number], default=0), number))
    expected = [
        Message(number, stamp, bytes([place]))
        for number in order
        for place, stamp in enumerate(sorted(streams[number]))
    ]
    assert sorted(merged) == sorted(expected)
    assert [message.log_ns for message in merged] == sorted(message.log_ns for message in expected)


def test_merging_opens_late() -> None:
    """A stream is opened when its time has come, not before."""
    opened: list[int] = []

    def stream(number: int) -> Iterator[Message]:
        opened.append(number)
        yield Message(number, 10 * number, b"")

    merged = merge_by_log_time((10 * number, partial(stream, number)) for number in range(5))
    assert next(merged).channel == 0
    assert opened == [0]
    assert next(merged).channel == 1
    assert opened == [0, 1]


@pytest.mark.parametrize(("ending", "compression"), KINDS)
@settings(max_examples=10)
@given(
    stamps=st.lists(st.tuples(st.sampled_from(["/a", "/b", "/c"]), st.integers(0, 40)), max_size=40),
    window=st.tuples(st.integers(-2, 42), st.integers(-2, 42)),
    topics=st.sets(st.sampled_from(["/a", "/b", "/c"])),
)
def test_windows_and_neighbours(
    tmp_path_factory: pytest.TempPathFactory,
    ending: str,
    compression: str,
    stamps: list[tuple[str, int]],
    window: tuple[int, int],
    topics: set[str],
) -> None:
    """A window holds exactly its messages in order, and its neighbours are those just outside, in any
    order of recording.
    """
    path = write_numbers(tmp_path_factory.mktemp("bag") / f"a.{ending}", stamps, compression)
    start_ns, stop_ns = START_NS + min(window), START_NS + max(window)
    storage = open_storage(path)
    try:
        wanted = [number for number, channel in enumerate(storage.channels) if channel.topic in topics]
        every = everything(storage)
        assert [message.log_ns for message in every] == sorted(START_NS + at for _, at in stamps)
        expected = [
            message for message in every if message.channel in wanted and start_ns <= message.log_ns < stop_ns
        ]
        found = list(storage.messages(wanted, start_ns, stop_ns, fail))
        assert plain(found, storage) == plain(expected, storage)
        before = [m for m in every if m.channel in wanted and m.log_ns < start_ns]
        after = [m for m in every if m.channel in wanted and m.log_ns >= stop_ns]
        last = storage.last_before(wanted, start_ns, fail)
        assert (last and last.log_ns) == (before[-1].log_ns if before else None)
        first = storage.first_from(wanted, stop_ns, fail)
        assert (first and first.log_ns) == (after[0].log_ns if after else None)
        if stamps:
            assert (storage.start_ns, storage.stop_ns) == (every[0].log_ns, every[-1].log_ns + 1)
    finally:
        storage.close()


@pytest.mark.parametrize(("ending", "compression"), KINDS)
def test_equal_stamps_keep_the_order_of_the_file(tmp_path: Path, ending: str, compression: str) -> None:
    """Messages of one stamp come as they were written, across topics."""
    stamps = [("/ab"[:1] + "ab"[k % 2], 0) for k in range(30)]
    with closing(open_storage(write_numbers(tmp_path / f"a.{ending}", stamps, compression))) as storage:
        values = [bytes(message.data)[-4] for message in everything(storage)]
    assert values == list(range(30))


def test_many_chunks_are_read_one_at_a_time(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A window needs the chunks it lies in, not the whole file; held chunks stay few."""
    path = tmp_path / "a.bag"
    with make_bag(path) as bag:
        bag.writer.chunk_threshold = 10_000  # type: ignore[union-attr]
        for k in range(500):
            bag.write("/blob", "std_msgs/msg/UInt8MultiArray", START_NS + k, data=[7] * 1000)
        bag.write("/rare", "std_msgs/msg/Int32", START_NS + 600, data=1)
    storage: Any = open_storage(path)
    request.addfinalizer(storage.close)
    assert len(storage.chunks) > 40
    reads: list[int] = []
    read = storage._read

    def counted(chunk: Chunk) -> Unpacked:
        reads.append(chunk.offset)
        return read(chunk)  # type: ignore[no-any-return]

    storage._read = counted
    rare = [channel.topic for channel in storage.channels].index("/rare")
    assert len(list(storage.messages([1 - rare], START_NS + 100, START_NS + 120, fail))) == 20
    assert len(reads) <= 4
    reads.clear()
    assert len(list(storage.messages([rare], MIN_NS, MAX_NS, fail))) == 1
    assert storage.last_before([rare], MAX_NS, fail).log_ns == START_NS + 600
    assert len(reads) == 1
    assert len(storage._unpacked) <= 2


def assert_as_rosbags(path: Path) -> None:
    """Assert that the file gives the messages that rosbags' own reader gives."""
    storage = open_storage(path)
    try:
        found = plain(everything(storage), storage)
    finally:
        storage.close()
    reader: Any = Reader1(path) if path.suffix == ".bag" else Reader2(path)
    with reader:
        expected = [(connection.topic, log_ns, bytes(data)) for connection, log_ns, data in reader.messages()]
    assert [log_ns for _, log_ns, _ in found] == [log_ns for _, log_ns, _ in expected]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(("ending", "compression"), KINDS)
def test_same_messages_as_rosbags(tmp_path: Path, ending: str, compression: str) -> None:
    """Our readers and those of rosbags give the same messages of a made bag."""
    stamps = [(f"/{'abc'[k % 3]}", (k * 37) % 100) for k in range(100)]
    assert_as_rosbags(write_numbers(tmp_path / f"a.{ending}", stamps, compression))


@pytest.mark.media
@pytest.mark.parametrize("ending", ["bag", "mcap", "db3"])
def test_same_messages_as_rosbags_of_real_bags(media: Path, ending: str) -> None:
    """Our readers and those of rosbags give the same messages of every real bag."""
    paths = sorted((media / "bags").rglob(f"*.{ending}"))
    assert paths
    for path in paths:
        assert_as_rosbags(path)


def test_a_series_is_one_recording(tmp_path: Path) -> None:
    """Files of a split bag give their messages in order, each topic once."""
    parts = [
        write_numbers(tmp_path / f"run_{part}.mcap", [("/a", 10 * part + k) for k in range(5)] + extra)
        for part, extra in enumerate([[], [("/b", 12)], [("/a", 3)]])
    ]
    series = Series([open_storage(path) for path in parts])
    assert [channel.topic for channel in series.channels] == ["/a", "/b"]
    offsets = [(number, log_ns - START_NS) for number, log_ns, _ in everything(series)]
    assert offsets == [
        (0, 0), (0, 1), (0, 2), (0, 3), (0, 3), (0, 4), (0, 10), (0, 11), (0, 12), (1, 12), (0, 13), (0, 14),
        (0, 20), (0, 21), (0, 22), (0, 23), (0, 24),
    ]  # fmt: skip
    assert (series.start_ns, series.stop_ns) == (START_NS, START_NS + 25)
    last = series.last_before([0], START_NS + 10, fail)
    assert last is not None
    assert last.log_ns == START_NS + 4
    first = series.first_from([1], START_NS, fail)
    assert first is not None
    assert (first.channel, first.log_ns) == (1, START_NS + 12)
    assert series.first_from([1], START_NS + 13, fail) is None
    series.close()
    series.close()


def qos(durability: QosDurability) -> Qos:
    return Qos(
        QosHistory.KEEP_LAST, 1, QosReliability.RELIABLE, durability,
        QosTime(0, 0), QosTime(0, 0), QosLiveliness.AUTOMATIC, QosTime(0, 0), False,
    )  # fmt: skip


@pytest.mark.parametrize("ending", ["bag", "mcap", "db3"])
def test_latched_topics_are_known(tmp_path: Path, ending: str) -> None:
    """ROS 1 latching and ROS 2 transient_local are the same to us."""
    path = tmp_path / f"a.{ending}"
    with make_bag(path) as bag:
        bag.add_topic(
            "/map",
            "std_msgs/msg/Int32",
            latched=True,
            qos=[qos(QosDurability.TRANSIENT_LOCAL)] if bag.ros == 2 else [],
        )
        bag.add_topic(
            "/odom", "std_msgs/msg/Int32", qos=[qos(QosDurability.VOLATILE)] if bag.ros == 2 else []
        )
        bag.write("/map", "std_msgs/msg/Int32", START_NS, data=1)
        bag.write("/odom", "std_msgs/msg/Int32", START_NS, data=1)
    with closing(open_storage(path)) as storage:
        latched = {channel.topic: channel.latched for channel in storage.channels}
    assert latched == {"/map": True, "/odom": False}


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("a.bag", b"", "the file is empty"),
        ("a.mcap", b"hello, this is text\n", "not a bag"),
        ("a.bag", bytes(100), "nothing but zeros"),
        ("a.mcap.zst", b"\x28\xb5\x2f\xfd", "zstd file is damaged or cut short"),
        ("a.bag", b"#ROSBAG V1.2\n", "rosbag fix"),
        ("a.db3", b"SQLite format 3\0", "not an SQLite file"),
        ("a.db3", b"SQLite format 3\0" + bytes(5000), "SQLite"),
    ],
)
def test_what_is_no_bag(tmp_path: Path, name: str, content: bytes, cause: str) -> None:
    """What is no bag is refused with its cause, and without the path."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CannotOpen, match=cause) as caught:
        open_storage(path)
    assert str(tmp_path) not in str(caught.value)
