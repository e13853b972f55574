"""Signals read many messages at once are what they are one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_bags import START_NS, BagMaker, open_bag, typestore
from rosbags.typesys import get_types_from_msg

from ingest.decoders.bulk import Bulk, rows_at
from ingest.decoders.ros_layout import Layout, layout_of
from ingest.decoders.ros_signals import RosSignals
from ingest.errors import CannotDecode
from ingest.opening import open_recording
from ingest.recording import Packet, Rows
from ingest.sources import bag_chunks
from ingest.sources.bag import BagSource
from ingest.sources.bag_clock import header_reader, headers_of
from ingest.sources.bag_files import group_bag_files
from ingest.sources.bag_storage import Series
from ingest.sources.bag_types import MessageType
from ingest.sources.rosbag2 import Rosbag2Sqlite

MS = 1_000_000
BEAMS = {"angle_increment": 0.1, "range_max": 9.0}


def imu_type(ros: Any = 2) -> MessageType:
    return MessageType("sensor_msgs/msg/Imu", typestore(ros), "recording", ros1=ros == 1)


@given(st.binary(min_size=20, max_size=200), st.lists(st.integers(0, 10), min_size=1), st.integers(1, 9))
def test_rows_are_cut_where_they_begin(data: bytes, begins: list[int], length: int) -> None:
    """Each row is the bytes from its begin on, whether rows overlap or repeat."""
    found = rows_at(data, np.array(begins), length)
    assert [row.tobytes() for row in found] == [data[begin : begin + length] for begin in begins]


@pytest.mark.parametrize("ros", [1, 2])
@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 999_999_999)), min_size=1, max_size=20))
def test_stamps_of_headers(ros: Any, stamps: list[tuple[int, int]]) -> None:
    """All at once as one by one, in either serialisation."""
    store, message_type = typestore(ros), imu_type(ros)
    header_of = header_reader(message_type)
    assert header_of is not None
    serialize = store.serialize_ros1 if ros == 1 else store.serialize_cdr
    rows = [bytes(serialize(_imu(ros, *stamp), message_type.name)) for stamp in stamps]
    found = headers_of(header_of, np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1))
    assert found is not None
    assert found.tolist() == [sec * 1_000_000_000 + nanosec for sec, nanosec in stamps]


def _imu(ros: Any, sec: int, nanosec: int) -> Any:
    maker = BagMaker(None, ros)  # type: ignore[arg-type]
    return maker.make("sensor_msgs/msg/Imu", header={"stamp": {"sec": sec, "nanosec": nanosec}})


MIXED = "bool on\nstring who\nuint16 few\nfloat64[3] where\nint8 small\nfloat32 last\nfloat64[] more\n"


@pytest.fixture(scope="module")
def mixed() -> MessageType:
    """A type in which alignment, a string and an array lie between numbers."""
    store = typestore(2)
    if "made/msg/Mixed" not in store.fielddefs:
        store.register(get_types_from_msg(MIXED, "made/msg/Mixed"))
    return MessageType("made/msg/Mixed", store, "recording", ros1=False)


MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "on": st.booleans(), "few": st.integers(0, 2**16 - 1),
            "who": st.sampled_from(["a", "b", "abcdefgh"]),
            "where": st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), "small": st.integers(-128, 127),
            "last": st.floats(-1e6, 1e6, width=32) | st.just(float("inf")),
            "more": st.lists(st.just(1.0), max_size=1),
        }
    ),
    min_size=1,
    max_size=12,
)  # fmt: skip


@given(MESSAGES)
def test_many_are_what_each_is(mixed: MessageType, messages: list[dict[str, Any]]) -> None:
    """Of any messages those of one length give, at once, the rows that they give one by one."""
    maker = BagMaker(None, 2)  # type: ignore[arg-type]
    data = [bytes(maker.serialize("made/msg/Mixed", **values)) for values in messages]
    data = [one for one in data if len(one) == len(data[0])]
    times = np.arange(len(data)) * MS
    columns = ["on", "few", "where[0]", "where[1]", "where[2]", "small", "last"]
    alone, together = RosSignals(columns, mixed), RosSignals(columns, mixed)
    one = [
        row for k, each in enumerate(data) for row in alone.decode(Packet("x", k * MS, each))
    ] + alone.flush()
    matrix = np.frombuffer(b"".join(data), np.uint8).reshape(len(data), -1)
    (many,) = together.decode(Packet("x", 0, Bulk(times, matrix)))
    assert np.array_equal(np.concatenate([rows.values for rows in one]), many.values, equal_nan=True)
    assert np.concatenate([rows.times_ns for rows in one]).tolist() == many.times_ns.tolist()


def test_a_damaged_message_among_many_costs_itself(mixed: MessageType) -> None:
    """The error counts it; the others come with the next call."""
    maker = BagMaker(None, 2)  # type: ignore[arg-type]
    data = [bytearray(maker.serialize("made/msg/Mixed", few=k, who="abc")) for k in range(10)]
    data[4][8] = 200  # the string's length
    matrix = np.frombuffer(b"".join(data), np.uint8).reshape(10, -1)
    decoder = RosSignals(["on", "few", "where[0]", "where[1]", "where[2]", "small", "last"], mixed)
    with pytest.raises(CannotDecode, match="does not fit its type"):
        decoder.decode(Packet("x", 0, Bulk(np.arange(10), matrix)))
    (rows,) = decoder.flush()
    assert rows.values[:, 1].tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert rows.times_ns.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_the_first_of_many_may_be_the_damaged_one(mixed: MessageType) -> None:
    """Then none is lost with it."""
    maker = BagMaker(None, 2)  # type: ignore[arg-type]
    data = [bytearray(maker.serialize("made/msg/Mixed", few=k, who="abc")) for k in range(10)]
    data[0][8] = 200
    matrix = np.frombuffer(b"".join(data), np.uint8).reshape(10, -1)
    decoder = RosSignals(["on", "few", "where[0]", "where[1]", "where[2]", "small", "last"], mixed)
    with pytest.raises(CannotDecode):
        decoder.decode(Packet("x", 0, Bulk(np.arange(10), matrix)))
    (rows,) = decoder.flush()
    assert rows.values[:, 1].tolist() == list(range(1, 10))


def rows_of(source: BagSource) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read all signals of a bag: per track, stamps and values in the order in which they come."""
    recording = source.probe()
    found = {}
    for track in (track for track in recording.tracks if track.medium == "signal"):
        decoder = source.decoder(track)
        rows: list[Any] = []
        for packet in source.read([track], recording.origin_ns, recording.stop_ns, lambda _: None):
            rows += decoder.decode(packet)
        rows += decoder.flush()
        assert all(isinstance(one, Rows) for one in rows)
        found[track.name] = (
            np.concatenate([one.times_ns for one in rows]),
            np.concatenate([one.values for one in rows]),
        )
    return found


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What makes every storage give its messages one by one."""

    def turn_off() -> None:
        for storage in (bag_chunks.ChunkedFile, Rosbag2Sqlite, Series):
            alone = lambda self, wanted, together, *rest: self.messages(wanted, *rest)  # noqa: E731
            monkeypatch.setattr(storage, "mixed", alone)

    return turn_off


def assert_same_rows(paths: list[Path], turn_off: Any) -> None:
    with open_recording(paths) as source:
        assert isinstance(source, BagSource)
        many = rows_of(source)
    turn_off()
    with open_recording(paths) as source:
        assert isinstance(source, BagSource)
        alone = rows_of(source)
    assert many.keys() == alone.keys()
    for name, (times, values) in alone.items():
        assert np.array_equal(many[name][0], times), name
        assert np.array_equal(many[name][1], values, equal_nan=True), name


@pytest.mark.parametrize("kind", ["mcap", "db3", "bag"])
def test_every_storage_gives_the_same_rows(tmp_path: Path, kind: str, one_by_one: Any) -> None:
    """A steady topic, one whose strings change, joints, a scan: in all three kinds of bag."""
    path = tmp_path / f"robot.{kind}"
    with open_bag(path) as bag:
        for k in range(200):
            stamp_ns = START_NS + k * 20 * MS
            header = bag.header(stamp_ns - 3 * MS, "abc" if k % 50 else "longer")
            bag.write("/imu", "sensor_msgs/msg/Imu", stamp_ns, header=header, angular_velocity={"x": k})
            names = ["a", "b"] if k % 20 else ["b", "a"]
            joints = {"name": names, "position": [k, -k], "velocity": [1, 2] if k > 100 else []}
            bag.write("/joints", "sensor_msgs/msg/JointState", stamp_ns, header=header, **joints)
            ranges = [float("inf"), *np.arange(k % 3)]
            bag.write("/scan", "sensor_msgs/msg/LaserScan", stamp_ns, header=header, ranges=ranges, **BEAMS)
            bag.write("/mode", "std_msgs/msg/Int32", stamp_ns, data=k)
    assert_same_rows([path], one_by_one)


@pytest.mark.media
def test_real_bags_give_the_same_rows(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every signal of every real bag, in every kind of storage, split and with chunks that overlap."""
    names = ("turtlebot3.bag", "example-unsorted-chunks.bag", "example-lz4.bag", "test_sample.mcap")
    folders = (
        "rosbag2_test",
        "rosbag2_cdr_test_mcap",
        "selfdriving_full_bag_nav",
        "all_msgs_db3",
        "all_msgs_mcap",
    )
    bags = [[media / "bags" / name] for name in names]
    for name in folders:
        folder = media / "bags" / name
        bags += [list(g.paths) for g in group_bag_files(folder, sorted(p.name for p in folder.iterdir()))]
    for paths in bags:
        with monkeypatch.context() as patch:

            def turn_off(patch: pytest.MonkeyPatch = patch) -> None:
                for storage in (bag_chunks.ChunkedFile, Rosbag2Sqlite, Series):
                    alone = lambda self, wanted, together, *rest: self.messages(wanted, *rest)  # noqa: E731
                    patch.setattr(storage, "mixed", alone)

            assert_same_rows(paths, turn_off)


def test_messages_do_come_together(tmp_path: Path) -> None:
    """The tests above compare two ways: a steady topic comes in few packets."""
    path = tmp_path / "imu.mcap"
    with open_bag(path) as bag:
        for k in range(100):
            bag.write("/mode", "std_msgs/msg/Int32", START_NS + k * MS, data=k)
    with open_recording(path) as source:
        recording = source.probe()
        packets = list(source.read(recording.tracks, recording.origin_ns, recording.stop_ns, lambda _: None))
    assert len(packets) < 10
    assert isinstance(layout_of(imu_type(), ros1=False), Layout)
