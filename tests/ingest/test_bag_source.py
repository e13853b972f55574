"""Bags as sources: tracks, what is held, what a window holds, and what is left out with a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_bags import LOG_DELAY_NS, START_NS, Ramp, write_ramp_bag
from made_bags import open_bag as make_bag

from ingest.decoders.bulk import Bulk
from ingest.errors import CannotOpen
from ingest.recording import Cue, Incident, Packet, Recording, Rows, Track
from ingest.sources.bag import BagSource, open_bag

S = 1_000_000_000
MS = 1_000_000


def fail(incident: Incident) -> None:
    raise AssertionError(incident)


def probed(path: Path) -> Recording:
    with open_bag([path]) as source:
        return source.probe()


def packets(source: BagSource, track: Track, start_ns: int, stop_ns: int) -> list[Packet]:
    return list(source.read([track], start_ns, stop_ns, fail))


def times(source: BagSource, track: Track, start_ns: int, stop_ns: int) -> list[int]:
    return stamps_of(packets(source, track, start_ns, stop_ns))


def stamps_of(found: list[Packet]) -> list[int]:
    """Return the time of every message; those of a signal may come many at once."""
    every = [p.data.times_ns.tolist() if isinstance(p.data, Bulk) else [p.time_ns] for p in found]
    return [time for several in every for time in several]


@pytest.fixture(scope="module", params=["bag", "mcap", "folder"])
def ramp(request: pytest.FixtureRequest) -> Ramp:
    """The small robot in every kind of bag."""
    name = {"bag": "ramp_bag", "mcap": "ramp_mcap", "folder": "ramp_folder"}[request.param]
    made: Ramp = request.getfixturevalue(name)
    return made


def files_of(ramp: Ramp) -> list[Path]:
    return sorted(ramp.path.glob("*.db3")) if ramp.path.is_dir() else [ramp.path]


def test_ramp_tracks(ramp: Ramp) -> None:
    """Every topic is the track it should be, with its clock, rate and size, and survives JSON."""
    with open_bag(files_of(ramp)) as source:
        recording = source.probe()
    assert Recording.from_json(json.loads(json.dumps(recording.to_json()))) == recording
    assert [incident.severity for incident in recording.incidents] == ["note"]  # on /audio_info
    found = {track.name: track for track in recording.tracks}
    assert {name: track.medium for name, track in found.items()} == {
        "audio": "sound",
        "camera_front_compressed": "pictures",
        "camera_wrist_image_raw": "pictures",
        "imu": "signal",
        "joint_states": "signal",
        "mode": "signal",
        "words": "text",
    }
    imu = found["imu"]
    assert (imu.start_ns, imu.stop_ns, imu.item_count) == (START_NS, START_NS + 4 * S, 400)
    assert (imu.period_ns, imu.max_age_ns, imu.gaps) == (10 * MS, 30 * MS, ())
    assert imu.clock is not None
    assert imu.clock.choice == "header"
    assert imu.clock.offset_min_ns == imu.clock.offset_max_ns == imu.clock.offset_ns == LOG_DELAY_NS
    assert imu.quaternions == ((0, 1, 2, 3),)
    mode = found["mode"]
    assert mode.clock is not None
    assert (mode.clock.choice, mode.start_ns) == ("log", START_NS + LOG_DELAY_NS)
    front, wrist = found["camera_front_compressed"], found["camera_wrist_image_raw"]
    assert (front.width, front.height, front.pixel_format) == (160, 96, "jpeg")
    assert (wrist.width, wrist.height, wrist.pixel_format) == (96, 80, "rgb8")
    assert found["joint_states"].columns == (
        "position[shoulder]", "position[elbow]", "velocity[shoulder]", "velocity[elbow]",
    )  # fmt: skip


def test_ramp_values(ramp: Ramp) -> None:
    """At every moment the signals have the value that the ramp has by its header."""
    with open_bag(files_of(ramp)) as source:
        recording = source.probe()
        track = recording.track("joint_states")
        decoder = source.decoder(track)
        rows = [
            item
            for packet in source.read([track], recording.origin_ns, recording.stop_ns, fail)
            for item in decoder.decode(packet)
        ]
        rows += list(decoder.flush())
    assert all(isinstance(item, Rows) for item in rows)
    stamps = np.concatenate([item.times_ns for item in rows if isinstance(item, Rows)])
    values = np.concatenate([item.values for item in rows if isinstance(item, Rows)])
    seconds = (stamps - START_NS) / 1e9
    expected = np.stack([seconds, 10 - seconds, np.ones_like(seconds), -np.ones_like(seconds)], axis=1)
    assert np.array_equal(values, expected)
    assert stamps.tolist() == [START_NS + 20 * MS * k for k in range(200)]


@settings(max_examples=40)
@given(begin=st.integers(-500, 4500), length=st.integers(1, 2000))
def test_a_window_holds_what_it_needs(ramp: Ramp, begin: int, length: int) -> None:
    """Pictures from the one before, signals from one maximum age before to one after, text from the cue
    before to the one that ends it; and not much more.
    """
    start_ns, stop_ns = START_NS + begin * MS, START_NS + (begin + length) * MS
    with open_bag(files_of(ramp)) as source:
        recording = source.probe()
        for track in recording.tracks:
            if track.medium == "sound":
                continue
            every = times(source, track, -(2**62), 2**62)
            found = times(source, track, start_ns, stop_ns)
            assert found == sorted(found)
            before, after = track.max_age_ns, track.max_age_ns
            if track.medium == "pictures":
                after = 0
            if track.medium == "text" or not track.max_age_ns:
                before = start_ns - max((time for time in every if time <= start_ns), default=start_ns)
                after = 0
            needed = [time for time in every if start_ns - before <= time <= stop_ns + after - (after == 0)]
            if track.medium == "text":
                needed += [time for time in every if time >= stop_ns][:1]
            assert set(needed) <= set(found)
            assert len(found) <= len(needed) + 3


def test_tracks_are_read_together(ramp: Ramp) -> None:
    """Several tracks come in one pass, each as it comes alone; all but signals by log stamp."""
    with open_bag(files_of(ramp)) as source:
        recording = source.probe()
        start_ns, stop_ns = START_NS + S, START_NS + 2 * S
        together = list(source.read(recording.tracks, start_ns, stop_ns, fail))
        for track in recording.tracks:
            alone = times(source, track, start_ns, stop_ns)
            assert stamps_of([packet for packet in together if packet.track == track.name]) == alone
    signals = [track.name for track in recording.tracks if track.medium == "signal"]
    cameras = [track.name for track in recording.tracks if track.medium == "pictures"]
    single = [packet for packet in together if packet.track not in signals]
    log = [packet.time_ns + (packet.track in cameras) * LOG_DELAY_NS for packet in single]
    inside = [stamp for stamp in log if start_ns + S // 2 < stamp < stop_ns]
    assert np.abs(np.diff(inside)).max() < 110 * MS


def test_tracks_travel_as_json(ramp: Ramp) -> None:
    """A track that went through JSON is read by another source as by the first."""
    paths = files_of(ramp)
    with open_bag(paths) as source:
        recording = source.probe()
    again = Recording.from_json(json.loads(json.dumps(recording.to_json())))
    with open_bag(paths) as source:
        for track in again.tracks:
            decoder = source.decoder(track)
            items = [item for packet in packets(source, track, 0, 2**62) for item in decoder.decode(packet)]
            assert items or list(decoder.flush())


def write_topic(
    path: Path, topic: str, type_name: str, count: int, *, latched: bool = False, **values: Any
) -> Track:
    """Write one message a second, and return the track."""
    with make_bag(path) as bag:
        bag.add_topic(topic, type_name, latched=latched)
        for k in range(count):
            bag.write(topic, type_name, START_NS + k * S, **values)
    (track,) = probed(path).tracks
    return track


@pytest.mark.parametrize(
    ("topic", "type_name", "count", "latched", "held"),
    [
        ("/level", "std_msgs/msg/Float32", 3, False, False),
        ("/level", "std_msgs/msg/Float32", 2, False, True),
        ("/level", "std_msgs/msg/Float32", 1, False, True),
        ("/level", "std_msgs/msg/Float32", 3, True, True),
        ("/robot/cmd_vel", "std_msgs/msg/Float32", 3, False, True),
        ("/arm/command", "std_msgs/msg/Float32", 3, False, True),
        ("/joint_commands", "std_msgs/msg/Float32", 3, False, True),
        ("/goal", "std_msgs/msg/Float32", 3, False, True),
        ("/grip_setpoint", "std_msgs/msg/Float32", 3, False, True),
        ("/commander/state", "std_msgs/msg/Float32", 3, False, False),
        ("/recommended", "std_msgs/msg/Float32", 3, False, False),
        ("/x", "geometry_msgs/msg/Twist", 3, False, True),
        ("/x", "sensor_msgs/msg/Joy", 3, False, True),
    ],
)
def test_what_is_held(
    tmp_path: Path, topic: str, type_name: str, count: int, latched: bool, held: bool
) -> None:
    """Topics with fewer than 3 messages, latched ones and commands hold; others last three periods."""
    values = {"axes": [1]} if type_name.endswith("Joy") else {}
    track = write_topic(tmp_path / "a.bag", topic, type_name, count, latched=latched, **values)
    assert track.max_age_ns == (0 if held else 3 * S)


@pytest.mark.parametrize("ending", ["bag", "mcap", "db3"])
def test_held_values_come_however_old(tmp_path: Path, ending: str) -> None:
    """The last value before a window comes, though it is an hour old and other topics fill the time."""
    path = tmp_path / f"a.{ending}"
    with make_bag(path) as bag:
        for k in range(3):
            bag.write("/cmd", "std_msgs/msg/Int32", START_NS + k, data=k)
        for k in range(1, 3600):
            bag.write("/noise", "std_msgs/msg/UInt8MultiArray", START_NS + k * S, data=np.zeros(900))
    with open_bag([path]) as source:
        track = source.probe().track("cmd")
        assert times(source, track, START_NS + 3500 * S, START_NS + 3501 * S) == [START_NS + 2]
        assert times(source, track, START_NS, START_NS + 1) == [START_NS, START_NS + 1]


def test_text_lasts_until_the_next(tmp_path: Path) -> None:
    """A text is shown until the next one; the last until the recording ends."""
    path = tmp_path / "a.mcap"
    with make_bag(path) as bag:
        for k, text in enumerate(["go", "turn", "turn", "stop"]):
            bag.write("/say", "std_msgs/msg/String", START_NS + 2 * k * S, data=text)
        for k in range(10):
            bag.write("/n", "std_msgs/msg/Int32", START_NS + k * S, data=k)

    def cues(start_ns: int, stop_ns: int) -> list[Cue]:
        with open_bag([path]) as source:
            recording = source.probe()
            track = recording.track("say")
            assert track.stop_ns == recording.stop_ns == START_NS + 10 * S
            decoder = source.decoder(track)
            found = [
                item
                for packet in packets(source, track, start_ns, stop_ns)
                for item in decoder.decode(packet)
            ]
            return [item for item in [*found, *decoder.flush()] if isinstance(item, Cue)]

    whole = [(0, 2, "go"), (2, 4, "turn"), (4, 6, "turn"), (6, 10, "stop")]
    expected = [Cue(START_NS + start * S, START_NS + stop * S, text) for start, stop, text in whole]
    assert cues(START_NS, START_NS + 10 * S) == expected
    part = cues(START_NS + 3 * S, START_NS + 3 * S + 1)
    assert expected[1] in part
    assert set(part) <= {*expected, Cue(START_NS + 4 * S, START_NS + 10 * S, "turn")}


def test_log_messages_are_text(tmp_path: Path) -> None:
    """What nodes write to /rosout is text."""
    path = tmp_path / "a.mcap"
    with make_bag(path) as bag:
        bag.write("/rosout", "rcl_interfaces/msg/Log", START_NS, msg="hello", level=20)
    with open_bag([path]) as source:
        (track,) = source.probe().tracks
        decoder = source.decoder(track)
        for packet in packets(source, track, 0, 2**62):
            assert list(decoder.decode(packet)) == []
        assert [cue.text for cue in decoder.flush()] == ["hello"]  # type: ignore[union-attr]


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    """Types without numbers and silent topics each have a note with their span."""
    path = tmp_path / "a.mcap"
    with make_bag(path) as bag:
        bag.write("/tf", "tf2_msgs/msg/TFMessage", START_NS, transforms=[])
        bag.write("/ping", "std_msgs/msg/Empty", START_NS)
        bag.write("/path", "nav_msgs/msg/Path", START_NS)
        bag.add_topic("/silent", "std_msgs/msg/Int32")
    recording = probed(path)
    assert recording.tracks == ()
    causes = {incident.track: incident for incident in recording.incidents}
    assert {incident.severity for incident in recording.incidents} == {"note"}
    assert "hold no transforms" in causes["tf"].cause
    assert "/ping" in causes["ping"].cause
    assert "poses (geometry_msgs/PoseStamped[])" in causes["path"].cause
    assert causes[""].cause == "topics without messages: /silent"
    assert (causes["tf"].start_ns, causes["tf"].stop_ns) == (START_NS, START_NS + 1)


def test_an_empty_bag(tmp_path: Path) -> None:
    """A bag without messages is a recording without tracks, and a note."""
    for ending in ("bag", "mcap", "db3"):
        path = tmp_path / f"a.{ending}"
        with make_bag(path):
            pass
        recording = probed(path)
        assert (recording.tracks, recording.origin_ns, recording.stop_ns) == ((), 0, 0)
        assert recording.incidents == (Incident("note", "the bag has no messages"),)


def test_some_bad_messages_cost_themselves(tmp_path: Path) -> None:
    """Pictures that do not decode are counted as a failure; the others are a track."""
    path = tmp_path / "a.mcap"
    good: dict[str, Any] = {"width": 2, "height": 1, "encoding": "mono8", "step": 2, "data": [1, 2]}
    with make_bag(path) as bag:
        bag.write("/cam", "sensor_msgs/msg/Image", START_NS, **good | {"encoding": "what"})
        bag.write("/cam", "sensor_msgs/msg/Image", START_NS + 1, **good)
        bag.write("/bad", "sensor_msgs/msg/Image", START_NS, **good | {"encoding": "rgb10"})
    recording = probed(path)
    (track,) = recording.tracks
    assert (track.topic, track.item_count, track.width) == ("/cam", 2, 2)
    causes = sorted(incident.cause for incident in recording.incidents)
    assert causes == [
        "topic /bad: none of its 1 messages can be decoded: pixel encoding 'rgb10' is not supported",
        "topic /cam: 1 of 2 messages can't be decoded: pixel encoding 'what' is not supported",
    ]
    assert {incident.severity for incident in recording.incidents} == {"failure"}


def test_picture_rules_are_recorded(tmp_path: Path) -> None:
    """How more than 8 bits became 8, or that they are distances, stands with the track."""
    values: dict[str, Any] = {"width": 1, "height": 1, "step": 2, "data": [1, 2]}
    track = write_topic(tmp_path / "a.bag", "/d", "sensor_msgs/msg/Image", 1, encoding="16UC1", **values)
    assert track.medium == "depth"
    assert track.details["depth_rule"] == "metres by pixel, nearest-sampled; no reading is NaN"
    track = write_topic(tmp_path / "b.bag", "/d", "sensor_msgs/msg/Image", 1, encoding="mono16", **values)
    assert track.details["picture_rule"] == "value / 257"


def test_topics_of_two_types_are_two_tracks(tmp_path: Path) -> None:
    """Where two types share a topic, each is a track of its own name."""
    path = tmp_path / "a.bag"
    with make_bag(path) as bag:
        bag.write("/x", "std_msgs/msg/Int32", START_NS, data=1)
        del bag.connections["/x"]
        bag.write("/x", "std_msgs/msg/String", START_NS + 1, data="one")
    recording = probed(path)
    assert sorted((track.medium, track.item_count) for track in recording.tracks) == [
        ("signal", 1),
        ("text", 1),
    ]
    assert len({track.name for track in recording.tracks}) == 2
    assert {track.topic for track in recording.tracks} == {"/x"}


def test_two_publishers_are_one_track(tmp_path: Path) -> None:
    """Connections of one topic and type are one track."""
    path = tmp_path / "a.bag"
    with make_bag(path) as bag:
        writer: Any = bag.writer
        for k in range(6):
            callerid = f"node{k % 2}"
            known = bag.connections.get(callerid)
            if known is None:
                known = writer.add_connection(
                    "/x", "std_msgs/msg/Int32", typestore=bag.store, callerid=callerid
                )
                bag.connections[callerid] = known
            writer.write(known, START_NS + k, bag.serialize("std_msgs/msg/Int32", data=k))
    with open_bag([path]) as source:
        (track,) = source.probe().tracks
        assert track.item_count == 6
        assert times(source, track, 0, 2**62) == [START_NS + k for k in range(6)]


def test_a_track_of_another_bag_is_refused(tmp_path: Path) -> None:
    """A track that the bag does not have is refused by name."""
    track = write_topic(tmp_path / "a.bag", "/x", "std_msgs/msg/Int32", 1)
    write_topic(tmp_path / "b.bag", "/y", "std_msgs/msg/Int32", 1)
    with open_bag([tmp_path / "b.bag"]) as source, pytest.raises(CannotOpen, match="no topic /x"):
        source.decoder(track)


def test_memory_does_not_grow_with_the_bag(tmp_path: Path) -> None:
    """Reading holds a few chunks, however long the bag is."""
    import tracemalloc

    def peak(count: int) -> int:
        path = tmp_path / f"{count}.bag"
        with make_bag(path) as bag:
            data = bag.serialize("std_msgs/msg/UInt8MultiArray", data=np.zeros(100_000))
            for k in range(count):
                bag.write_raw("/x", "std_msgs/msg/UInt8MultiArray", START_NS + k * S, data)
        with open_bag([path]) as source:
            recording = source.probe()
            tracemalloc.start()
            for packet in source.read(recording.tracks, 0, 2**62, fail):
                assert len(packet.data) > 100_000
            largest = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return largest

    assert peak(400) < peak(100) + 1_000_000


def test_ramps_are_as_made(tmp_path: Path) -> None:
    """A log that is a minute late is further from the header than is sane: then the log is the time."""
    late = write_ramp_bag(Ramp(tmp_path / "late.mcap", 1, log_delay_ns=60 * S, tracks=frozenset({"imu"})))
    (track,) = probed(late.path).tracks
    assert track.clock is not None
    assert (track.clock.choice, track.start_ns) == ("log", START_NS + 60 * S)
    assert track.clock.reason == "100 of 100 header stamps are more than 10 s from the log stamp"
    assert track.clock.offset_ns == 60 * S
