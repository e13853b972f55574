"""Recordings that claim what can't be: refused or reported, in little time and memory."""

from __future__ import annotations

import json
import sqlite3
import struct
import wave
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_bags import START_NS, Ramp, open_bag, write_ramp_bag
from made_lerobot import Robot, write_lerobot
from made_mcap import McapMaker, as_json

from ingest import CannotOpen, open_recording
from ingest.decoders.picture_sizes import declared_size
from ingest.decoders.ros_pictures import size_of
from ingest.errors import CannotDecode
from ingest.occupancy import MOST_CLIPS, left_out_clips, occupied_clips
from ingest.recording import Clock, Recording, Track
from ingest.sources.bag_types import plain_cdr
from ingest.sources.chunk_unpacking import unpack
from ingest.sources.rosbag2 import read_metadata
from ingest.timing import FARTHEST_NS, LONGEST_STILL_NS, NS, pts_to_ns

DEEP: Any = {}
for _ in range(900):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    ("schema", "messages"),
    [
        ("robot.State", [as_json(DEEP), b'{"a": ' + b"9" * 4000 + b', "b": NaN, "c": 1e999}', b"[" * 9999]),
        ("robot.State", [as_json({"timestamp": {"sec": 10**30, "nsec": 0}, "x": 1})] * 2),
        ("foxglove.CompressedImage", [as_json({"format": 5, "data": "////"})]),
        ("foxglove.RawImage", [as_json({"encoding": "rgb8", "width": "x", "data": 3})]),
        ("foxglove.FrameTransform", [as_json({"rotation": 1, "translation": [], "parent_frame_id": 2})]),
        ("foxglove.Log", [as_json({"level": 1})]),
        ("foxglove.CompressedVideo", [as_json({"format": "h264", "data": 12})]),
        ("foxglove.RawAudio", [as_json({"format": "pcm-s16", "data": "AAAA"})]),
        ("foxglove.CameraCalibration", [as_json({"width": "wide"})]),
        ("foxglove.PointCloud", [as_json({"fields": [{}], "point_stride": 0, "data": 1})]),
        ("foxglove.LaserScan", [as_json({"ranges": {}, "start_angle": None})]),
    ],
)
def test_json_may_hold_anything(tmp_path: Path, schema: str, messages: list[bytes]) -> None:
    """Messages that lack what their type promises are counted as such, whatever stands in their fields."""
    maker = McapMaker()
    channel = maker.add_channel("/j", "json", schema, "jsonschema", b"{}")
    for k, message in enumerate(messages):
        maker.add(channel, START_NS + k * NS, message)
    with open_recording(maker.write(tmp_path / "a.mcap")) as source:
        recording = source.probe()
        for packet in source.read(recording.tracks, 0, 2**62, lambda _: None):
            assert packet.time_ns <= START_NS + 3 * NS
    assert recording.tracks or recording.incidents


def test_a_chunk_unpacks_to_what_is_believable() -> None:
    """A small chunk that claims to be hundreds of times as large is refused before it is unpacked."""
    from backports import zstd

    packed = zstd.compress(bytes(2**27))
    assert unpack(packed, "zstd", 2**27).damage == f"a chunk claims to be {2**27} bytes large"
    assert len(unpack(zstd.compress(bytes(2**20)), "zstd", 2**20).data) == 2**20


def test_a_message_unpacks_to_what_is_believable() -> None:
    """A compressed message is unpacked as far as is believable, and cut ones are told."""
    from backports import zstd

    assert plain_cdr(zstd.compress(bytes(1000))) == bytes(1000)
    with pytest.raises(CannotDecode, match="more than"):
        plain_cdr(zstd.compress(bytes(2**28 + 1)))
    with pytest.raises(CannotDecode, match="damaged"):
        plain_cdr(zstd.compress(np.random.default_rng(1).bytes(1000))[:500])


def track(times_ns: list[int], *, clock: bool) -> Track:
    """Return a track with items at these times, and all gaps between them that are an hour or longer."""
    gaps = [(a, b) for a, b in pairwise(times_ns) if b - a > LONGEST_STILL_NS]
    return Track(
        "t", "pictures", "t", "x", times_ns[0], times_ns[-1] + NS, len(times_ns), gaps=tuple(gaps),
        clock=Clock("log", "") if clock else None,
    )  # fmt: skip


@pytest.mark.parametrize("clock", [False, True])
def test_centuries_without_anything_make_no_clips(clock: bool) -> None:
    """Where nothing comes for more than an hour, no clips are made behind that hour."""
    century_ns = 100 * 365 * 24 * 3600 * NS
    recording = Recording("x", (track([0, NS, century_ns], clock=clock),))
    clips = sum(count for _, count in occupied_clips(recording, 4 * NS))
    assert clips <= 2 * (LONGEST_STILL_NS // (4 * NS) + 1)
    told = left_out_clips(recording, 4 * NS, occupied_clips(recording, 4 * NS))
    assert (told is None) == clock, "a bag's idle stretches are no news"


def test_a_recording_has_so_many_clips_and_no_more() -> None:
    """A recording that claims years of content is cut, and says so as a failure."""
    year_ns = 365 * 24 * 3600 * NS
    recording = Recording("x", (Track("t", "sound", "t", "x", 0, 10 * year_ns, 9),))
    occupied = occupied_clips(recording, 4 * NS)
    assert occupied == [(0, MOST_CLIPS)]
    told = left_out_clips(recording, 4 * NS, occupied)
    assert told is not None
    assert told.severity == "failure"
    assert "3650 days" in told.cause


def test_stamps_of_other_ages_stay_in_int64() -> None:
    """A stamp in a file that no clock can show is taken for the last one that fits."""
    from fractions import Fraction

    assert pts_to_ns(2**63, Fraction(1)) == FARTHEST_NS
    assert pts_to_ns(-(2**63), Fraction(1, 2)) == -FARTHEST_NS
    assert pts_to_ns(90_000, Fraction(1, 90_000)) == NS


@pytest.mark.parametrize("rate", [1, 50, 4_000_000_000])
def test_sound_of_no_rate_is_damaged(tmp_path: Path, rate: int) -> None:
    """A header that makes hours of a few bytes of sound is told as damage."""
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(bytes(range(256)) * 40)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[24:32] = struct.pack("<II", rate, rate)
    (tmp_path / "a.wav").write_bytes(data)
    try:
        with open_recording(tmp_path / "a.wav") as source:
            recording = source.probe()
    except CannotOpen:
        return
    assert not recording.tracks
    assert recording.incidents[0].severity == "failure"


@pytest.mark.parametrize(
    "info",
    [
        {"data_path": "{episode_index:99999999}"},
        {"data_path": "{episode_index.__class__}"},
        {"data_path": "{episode_index!r:>9}"},
        {"video_path": "{video_key:>99}"},
        {"data_path": "../{episode_index}"},
        {"chunks_size": 0},
        {"fps": "1/0"},
        {"features": []},
    ],
)
def test_lerobot_templates_ask_for_numbers_alone(tmp_path: Path, info: dict[str, Any]) -> None:
    """A path of a LeRobot dataset that asks for more than an index, or leads elsewhere, is refused."""
    robot = write_lerobot(Robot(tmp_path / "r", lengths=(2,)))
    path = robot.root / "meta" / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | info))
    with pytest.raises(CannotOpen):
        open_recording(robot.root, episode=0)


def test_a_feature_has_as_many_values_as_can_be_columns(tmp_path: Path) -> None:
    """A feature that claims a million million values is refused before they are named."""
    robot = write_lerobot(Robot(tmp_path / "r", lengths=(2,)))
    path = robot.root / "meta" / "info.json"
    info = json.loads(path.read_text())
    info["features"]["action"]["shape"] = [10**6, 10**6]
    path.write_text(json.dumps(info))
    with open_recording(robot.root, episode=0) as source:
        (incident,) = source.probe().incidents
    assert (incident.severity, incident.track) == ("failure", "action")
    assert "1000000000000 values, and 1 to 4096 can be columns" in incident.cause


@pytest.mark.parametrize(
    "files",
    [
        "[" * 3000,
        "\n  " + "- " * 3000,
        "[*h]",
        "5",
        "[[a]]",
        "[a.db3]\n  message_count: .inf",
        f"[a.db3]\n  message_count: {'9' * 5000}",
    ],
)
def test_descriptions_of_bags_stay_small(tmp_path: Path, files: str) -> None:
    """A `metadata.yaml` of nested lists, of aliases of aliases, or of odd values is refused."""
    levels = zip("abcdefg", "bcdefgh", strict=True)
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{to}: &{to} [{', '.join([f'*{of}'] * 9)}]\n" for of, to in levels
    )
    path = tmp_path / "metadata.yaml"
    path.write_text(f"{laughs}rosbag2_bagfile_information:\n  relative_file_paths: {files}\n")
    with pytest.raises(CannotOpen, match=r"metadata\.yaml"):
        read_metadata(path)


@pytest.mark.parametrize(
    "table",
    [
        "CREATE VIEW messages AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "SELECT i AS id, 1 AS topic_id, i AS timestamp, x'00' AS data FROM n",
        "CREATE TABLE messages (id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, "
        "data BLOB GENERATED ALWAYS AS (zeroblob(900000000)) VIRTUAL)",
    ],
)
def test_a_bag_in_sqlite_computes_nothing(tmp_path: Path, table: str) -> None:
    """Messages that a statement in the file would make up are no messages."""
    ramp = write_ramp_bag(Ramp(tmp_path / "a.db3", seconds=0.1, tracks=frozenset({"imu"})))
    with sqlite3.connect(ramp.path) as database:
        database.executescript(f"DROP TABLE messages; {table}; PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_master SET type = 'table' WHERE name = 'messages'")
    database.close()
    with pytest.raises(CannotOpen, match=r"no ROS 2 bag|malformed"):
        open_recording(ramp.path)


def test_stamps_of_no_time_are_lost_messages(tmp_path: Path) -> None:
    """Messages stamped at the ends of int64 are counted as lost; the others are read."""
    ramp = write_ramp_bag(Ramp(tmp_path / "a.db3", seconds=0.2, tracks=frozenset({"imu"})))
    with sqlite3.connect(ramp.path) as database:
        database.execute(f"UPDATE messages SET timestamp = {2**63 - 1} WHERE id = 2")
        database.execute(f"UPDATE messages SET timestamp = {-(2**63)} WHERE id = 3")
    database.close()
    with open_recording(ramp.path) as source:
        recording = source.probe()
    assert [track.item_count for track in recording.tracks] == [18]
    assert "2 messages have stamps that are no time" in [i.cause for i in recording.incidents]


def test_messages_outside_their_chunk_are_told(tmp_path: Path) -> None:
    """A message that lies outside the time that the summary says of its chunk is a loss, not a surprise."""
    maker = McapMaker(per_chunk=8)
    channel = maker.add_channel("/j", "json", "robot.State", "jsonschema", b"{}")
    for k in range(8):
        maker.add(channel, START_NS + k * NS, as_json({"x": k}))
    data = bytearray(maker.write(tmp_path / "a.mcap").read_bytes())
    stamp = struct.pack("<QQ", START_NS + 3 * NS, START_NS + 3 * NS)
    at = data.index(stamp)
    data[at : at + 8] = struct.pack("<Q", 5)
    (tmp_path / "a.mcap").write_bytes(data)
    with open_recording(tmp_path / "a.mcap") as source:
        recording = source.probe()
    assert recording.tracks[0].item_count == 7
    assert recording.origin_ns == START_NS
    assert any("outside the time" in incident.cause for incident in recording.incidents)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_sizes_of_pictures_are_those_that_opencv_unpacks(ending: str) -> None:
    """The size that a header declares is the one of the picture."""
    import cv2

    pixels = np.random.default_rng(3).integers(0, 255, (37, 21, 3)).astype(np.uint8)
    data = np.frombuffer(cv2.imencode(ending, pixels)[1].tobytes(), np.uint8)
    found = declared_size(data.data)
    assert found is not None
    assert (found.width, found.height, found.bits) == (21, 37, 8)


@pytest.mark.parametrize(
    "head",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(8) + struct.pack(">IIB", 30_000, 30_000, 8),
        b"BM" + bytes(16) + struct.pack("<ii", 30_000, -30_000),
        b"P6\n30000 30000\n255\n",
        b"II*\0\xff\xff\xff\xff",
        b"\xff\xd8\xff\xe0",
        b"",
    ],
)
def test_huge_pictures_are_refused_unseen(head: bytes) -> None:
    """A picture that claims to be huge, or does not say how large it is, is never unpacked."""
    with pytest.raises(CannotDecode):
        size_of(np.frombuffer(head, np.uint8))


def test_topics_of_other_ages_end_the_work_soon(tmp_path: Path) -> None:
    """Three messages in three centuries make clips around them, and none between."""
    with open_bag(tmp_path / "a.mcap") as bag:
        for k, stamp_ns in enumerate((0, START_NS, 2**62)):
            bag.write("/n", "std_msgs/msg/Float64", stamp_ns, data=k)
            bag.write("/t", "std_msgs/msg/String", stamp_ns, data=f"{k}")
    with open_recording(tmp_path / "a.mcap") as source:
        recording = source.probe()
    clips = sum(count for _, count in occupied_clips(recording, 4 * NS))
    assert 3 <= clips <= 3 * (LONGEST_STILL_NS // (4 * NS) + 2)
