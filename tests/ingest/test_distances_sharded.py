"""Depth, points and scans all the way: from a bag to shards, verified, and back to metres."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_bags import START_NS, BagMaker, open_bag

from ingest.configuration import Settings
from ingest.pipeline import shard_recordings
from ingest.reconstruction import reconstruct_sample, write_reconstruction
from shards import Sample, dataset_info, open_dataset, verify_dataset

MS = 1_000_000
SETTINGS = Settings(
    clip_seconds=Fraction(1), fps=Fraction(4), depth_size=12, signal_hz=Fraction(8), device="cpu"
)
WORST = 0.0041
"""Largest relative error of `depth-log`."""


def write_robot(path: Path) -> Path:
    """Write two seconds of a wall that comes nearer, 10 times a second.

    At s seconds: /depth is (4 - s) m, 16 x 12 pixels, its left half without a reading; /points are a point
    of 10 - s m straight ahead, one behind it, one that is NaN, and rings that fix the field of view; /scan
    has beams of 6 - s m from 0 to 9 degrees.
    """
    with open_bag(path) as bag:
        for k in range(20):
            stamp_ns, s = START_NS + k * 100 * MS, k / 10
            depth = np.zeros((12, 16), "<u2")
            depth[:, 8:] = round(4000 - 1000 * s)
            _image(bag, stamp_ns, depth)
            _cloud(bag, stamp_ns, 10 - s)
            beams = {"angle_increment": np.radians(1), "range_max": 8.0, "ranges": [6 - s] * 10}
            bag.write("/scan", "sensor_msgs/msg/LaserScan", stamp_ns, header=bag.header(stamp_ns), **beams)
    return path


def _image(bag: BagMaker, stamp_ns: int, depth: np.ndarray) -> None:
    height, width = depth.shape
    fields: dict[str, Any] = {"height": height, "width": width, "encoding": "16UC1", "step": 2 * width}
    data = np.frombuffer(depth.tobytes(), np.uint8)
    bag.write("/depth", "sensor_msgs/msg/Image", stamp_ns, header=bag.header(stamp_ns), data=data, **fields)


def _cloud(bag: BagMaker, stamp_ns: int, ahead: float) -> None:
    around = np.radians(np.arange(0.5, 360, 0.75))
    rings = [
        np.stack([20 * np.cos(around), 20 * np.sin(around), 0 * around + z], axis=1) for z in (-4.9, 0.1, 4.9)
    ]
    points = np.concatenate([[[ahead, 0, 0], [ahead + 1, 0, 0], [np.nan, 0, 0]], *rings]).astype("<f4")
    fields = [{"name": n, "offset": 4 * i, "datatype": 7, "count": 1} for i, n in enumerate("xyz")]
    bag.write(
        "/points", "sensor_msgs/msg/PointCloud2", stamp_ns, header=bag.header(stamp_ns, "lidar"), height=1,
        width=len(points), fields=fields, point_step=12, row_step=12 * len(points),
        data=np.frombuffer(points.tobytes(), np.uint8),
    )  # fmt: skip


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distances")
    shard_recordings([write_robot(folder / "robot.mcap")], folder / "out", SETTINGS, workers=0)
    return folder / "out"


def second(dataset: Path) -> Sample:
    return list(open_dataset(dataset).samples())[1]


def test_the_dataset_is_whole(dataset: Path) -> None:
    """Every hash, count and range of tokens is right, and nothing was lost."""
    assert verify_dataset(dataset) == []
    assert dataset_info(dataset)["failures"] == []
    assert len(list(open_dataset(dataset).samples())) == 2


def test_the_table_of_recordings_has_the_clocks(dataset: Path) -> None:
    """Each track's clock: which stamp, why, and what was measured of both."""
    line = json.loads((dataset / "tables/recordings.jsonl").read_text())
    assert line["about"]["container"] == "rosbag2-mcap"
    clocks = line["about"]["clocks"]
    assert set(clocks) == {"depth", "points", "scan"}
    assert (clocks["scan"]["choice"], clocks["scan"]["offset_ns"]) == ("header", 0)
    assert clocks["scan"]["rate_hz"] == pytest.approx(10)
    assert (clocks["scan"]["missing"], clocks["scan"]["header_back"]) == (0, 0)


def test_depth_comes_back_in_metres(dataset: Path) -> None:
    """The shape is the size asked for, padded rows and pixels without a reading are NaN, the rest is exact to
    half a step.
    """
    sample = second(dataset)
    assert sample.arrays["depth.tokens"].shape == (4, 12, 12)
    assert sample.arrays["depth.tokens"].dtype == np.uint16
    assert sample.arrays["depth.times"].tolist() == [0, 200 * MS, 500 * MS, 700 * MS]
    metres = reconstruct_sample(dataset, sample.key)["depth"].media
    seen = metres[:, 1:10, 6:]  # 16 x 12 become 12 x 9: padded by a row above and two below
    for frame, at_s in zip(seen, (1.0, 1.2, 1.5, 1.7), strict=True):
        assert np.abs(frame / (4 - at_s) - 1).max() < WORST
    assert np.isnan(metres[:, :, :6]).all()
    assert np.isnan(metres[:, [0, 10, 11]]).all()
    provenance = sample.provenance["tracks"]["depth"]
    assert provenance["rule"] == "metres by pixel, nearest-sampled; no reading is NaN"
    assert (provenance["points"], provenance["invalid"], provenance["fit"]) == (4 * 108, 4 * 54, "pad")


def test_points_come_back_as_a_range_image(dataset: Path) -> None:
    """Straight ahead is the middle; of two points in a pixel the nearer one; losses are counted."""
    sample = second(dataset)
    assert sample.arrays["points.tokens"].shape == (4, 64, 128)
    metres = reconstruct_sample(dataset, sample.key)["points"].media
    for frame, at_s in zip(metres, (1.0, 1.2, 1.5, 1.7), strict=True):
        assert abs(frame[32, 64] / (10 - at_s) - 1) < WORST
    provenance = sample.provenance["tracks"]["points"]
    assert (provenance["points"], provenance["invalid"]) == (4 * 1443, 4)
    assert provenance["outside"] == 0
    assert provenance["hidden"] >= 4
    assert "elevation -15 to 15 degrees, azimuth -180 to 180" in provenance["rule"]
    assert (provenance["frame"], provenance["fit"]) == ("lidar", "")


def test_a_scan_is_a_signal_of_degrees(dataset: Path) -> None:
    """Degrees 0 to 9 hold the range of the last scan; all others are invalid, NaN and code 0."""
    sample = second(dataset)
    values = sample.arrays["scan.values"]
    at_s = np.floor(np.arange(8) / 8 * 10 + 1e-9) / 10 + 1
    assert np.allclose(values[:, 180:190], (6 - at_s)[:, None], atol=1e-6)
    assert np.isnan(values[:, :180]).all()
    assert np.isnan(values[:, 190:]).all()
    assert not sample.arrays["scan.tokens"][:, :180].any()


def test_depth_is_written_as_an_array(dataset: Path, tmp_path: Path) -> None:
    """`reconstruct` to .npy gives the metres of the track that is asked for."""
    sample = second(dataset)
    tracks = reconstruct_sample(dataset, sample.key)
    (path,) = write_reconstruction(tracks, tmp_path / "points.npy", "points")
    assert np.array_equal(np.load(path, allow_pickle=False), tracks["points"].media, equal_nan=True)


def test_depth_can_be_left_out(tmp_path: Path) -> None:
    """With no encoder for depth, neither depth nor points are taken."""
    settings = Settings(clip_seconds=Fraction(1), depth="none", device="cpu")
    shard_recordings([write_robot(tmp_path / "robot.mcap")], tmp_path / "out", settings, workers=0)
    (layout,) = open_dataset(tmp_path / "out").layouts.values()
    assert list(layout.tracks) == ["scan"]
