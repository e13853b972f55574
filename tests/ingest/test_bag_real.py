"""Real bags, good and broken: what is in them comes, and what does not has its cause."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.errors import CannotDecode, CannotOpen
from ingest.recording import Incident, Recording, Rows
from ingest.sources.bag import BagGroup, BagSource, group_bag_files, open_bag

pytestmark = pytest.mark.media


def ignore(incident: Incident) -> None:
    """Take a report that a test does not ask for."""


def groups_below(folder: Path) -> list[BagGroup]:
    """Return every recording below a folder."""
    return [
        group
        for root, _, names in sorted(os.walk(folder))
        for group in group_bag_files(Path(root), sorted(names))
    ]


def read_all(source: BagSource, recording: Recording) -> tuple[Counter[str], Counter[str]]:
    """Decode everything; return by track how many items came, and how many messages were lost."""
    came: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for track in recording.tracks:
        decoder = source.decoder(track)
        items: list[Any] = []
        for packet in source.read([track], recording.origin_ns, recording.stop_ns, ignore):
            try:
                items += decoder.decode(packet)
            except CannotDecode:
                lost[track.name] += 1
        items += decoder.flush()
        for item in items:
            came[track.name] += len(item.times_ns) if isinstance(item, Rows) else 1
            if track.medium == "pictures":
                assert item.rgb(64, 48).shape == (48, 64, 3)
            if track.medium == "depth":
                assert item.metres(item.width, item.height)[0].shape == (track.height, track.width)
    return came, lost


@pytest.mark.parametrize("folder", ["bags", "broken_bags"])
def test_every_bag_is_used_or_has_its_cause(media: Path, folder: str) -> None:
    """Each bag gives all its messages in decoded form, or says why not; its recording survives JSON."""
    refused = {}
    for group in groups_below(media / folder):
        try:
            source = open_bag(group.paths)
        except CannotOpen as error:
            refused[group.name] = str(error)
            continue
        with source:
            recording = source.probe()
            assert Recording.from_json(json.loads(json.dumps(recording.to_json()))) == recording
            came, lost = read_all(source, recording)
        assert not lost
        for track in recording.tracks:
            if track.medium != "sound":
                assert came[track.name] == track.item_count, (group.name, track.name)
        told = sum(
            incident.severity == "failure" or "left out" in incident.cause for incident in recording.incidents
        )
        assert recording.tracks or told or recording.details["messages"] == 0
        assert all(str(media) not in incident.cause for incident in recording.incidents)
    assert refused == {}


def rows_of(path: Path, topic: str) -> tuple[np.ndarray, np.ndarray]:
    with open_bag([path]) as source:
        recording = source.probe()
        (track,) = (track for track in recording.tracks if track.topic == topic)
        decoder = source.decoder(track)
        rows = [
            item
            for packet in source.read([track], recording.origin_ns, recording.stop_ns, ignore)
            for item in decoder.decode(packet)
        ]
        rows += list(decoder.flush())
    stamps = np.concatenate([item.times_ns for item in rows if isinstance(item, Rows)])
    return stamps, np.concatenate([item.values for item in rows if isinstance(item, Rows)])


@pytest.mark.parametrize("topic", ["/turtle1/pose", "/turtle2/cmd_vel"])
def test_compression_changes_nothing(media: Path, topic: str) -> None:
    """The same bag without compression, with bz2 and with lz4 gives equal rows."""
    plain = rows_of(media / "bags/example.bag", topic)
    assert len(plain[0]) > 200
    for packed in ("example-bz2.bag", "example-lz4.bag"):
        found = rows_of(media / "bags" / packed, topic)
        assert np.array_equal(found[0], plain[0])
        assert np.array_equal(found[1], plain[1])


def test_storage_changes_nothing(media: Path) -> None:
    """The same messages in MCAP and in sqlite3, single or split, are the same tracks."""
    for name in ("rosbag2_wbag_split", "rosbag2_talker"):
        counts = []
        for kind in ("db3", "mcap"):
            (group,) = groups_below(media / "bags" / f"{name}_{kind}")
            with open_bag(group.paths) as source:
                counts.append({track.name: track.item_count for track in source.probe().tracks})
        assert counts[0] == counts[1]
        assert counts[0]


def probed(path: Path, **options: Any) -> Recording:
    with open_bag([path], **options) as source:
        return source.probe()


def test_a_real_camera(media: Path) -> None:
    """The PR2's Bayer pictures have their size and are not grey."""
    path = media / "bags/test-button-light.bag"
    with open_bag([path]) as source:
        track = source.probe().track("wide_stereo_left_image_raw")
        assert (track.width, track.height, track.pixel_format) == (640, 480, "bayer_bggr8")
        decoder = source.decoder(track)
        packet = next(source.read([track], track.start_ns, track.stop_ns, ignore))
        (picture,) = decoder.decode(packet)
    rgb = picture.rgb(160, 120).astype(int)  # type: ignore[union-attr]
    assert rgb.std() > 10
    assert np.abs(rgb[..., 0] - rgb[..., 2]).mean() > 3


def test_real_sound(media: Path) -> None:
    """Applause whose format is not recorded is a failure that names the option; with it, it is sound."""
    path = media / "bags/applause.bag"
    (incident,) = probed(path).incidents
    assert "--audio-format /audio=s16le:RATE:CHANNELS" in incident.cause
    with open_bag([path], audio_formats={"/audio": "s16le:44100:2"}) as source:
        recording = source.probe()
        (track,) = recording.tracks
        decoder = source.decoder(track)
        items = [
            item
            for packet in source.read([track], recording.origin_ns, recording.stop_ns, ignore)
            for item in decoder.decode(packet)
        ]
    samples = sum(item.samples.shape[1] for item in items)  # type: ignore[union-attr]
    seconds = (track.stop_ns - track.start_ns) / 1e9
    assert abs(samples / 44_100 - seconds) < 0.1
    assert abs(seconds - 16.02) < 0.1


def test_old_type_names(media: Path) -> None:
    """A Crystal bag, whose types lack /msg/ and definitions, gives picture, IMU, position and text."""
    recording = probed(media / "bags/sample.db3")
    assert sorted(track.medium for track in recording.tracks) == [
        "pictures",
        "pictures",
        "signal",
        "signal",
        "text",
    ]
    assert recording.incidents == ()


@pytest.mark.parametrize(
    ("name", "messages", "failures"),
    [
        ("demo.bag", 360, 0),
        ("test_unindexed.bag", 14, 0),
        ("test_truncated.bag", 3, 1),
        ("test_sample_truncated.mcap", 14, 1),
        ("bag-with-empty-message-definition.bag", 14, 1),
        ("custom-camera-model.mcap", 30, 0),
    ],
)
def test_broken_bags(media: Path, name: str, messages: int, failures: int) -> None:
    """Broken bags give every message they hold, and say what is wrong."""
    recording = probed(media / "broken_bags" / name)
    assert recording.details["messages"] == messages
    assert sum(incident.severity == "failure" for incident in recording.incidents) == failures


def test_a_type_that_nobody_defines(media: Path) -> None:
    """A custom type in a .db3 without definitions is a failure that names topic, type and way out."""
    (incident,) = probed(media / "bags/nebula_ars548/1708578204.db3").incidents
    assert incident.severity == "failure"
    assert "/sensing/radar/front_center/nebula_packets" in incident.cause
    assert "'nebula_msgs/NebulaPackets' is not defined in the recording" in incident.cause
    assert "ros2 bag convert" in incident.cause
