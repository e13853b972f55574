"""Point clouds become range images: every pixel is a distance that was measured, every loss is counted."""

from __future__ import annotations

import math
import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ingest.decoders.point_clouds import RosClouds, points_of
from ingest.decoders.range_images import FieldOfView, Projection
from ingest.decoders.velodyne import points_in_scan
from ingest.errors import CannotDecode
from ingest.recording import DepthCounts, Packet

AROUND = Projection("spherical", 4, 8, top_deg=20, bottom_deg=-20)
CLOUD = "sensor_msgs/msg/PointCloud2"


def at(distance: float, up_deg: float, around_deg: float) -> list[float]:
    """Return the point at a distance in a direction."""
    up, around = math.radians(up_deg), math.radians(around_deg)
    flat = distance * math.cos(up)
    return [flat * math.cos(around), flat * math.sin(around), distance * math.sin(up)]


def slowly(projection: Projection, points: np.ndarray) -> tuple[np.ndarray, DepthCounts]:
    """The obvious twin: one point after the other."""
    image = np.full((projection.rows, projection.columns), np.nan)
    invalid = outside = hidden = 0
    for x, y, z in points.astype(np.float64).tolist():
        distance = math.sqrt(x * x + y * y + z * z)
        if not (math.isfinite(distance) and distance > 0):
            invalid += 1
            continue
        up, around = math.degrees(math.asin(z / distance)), math.degrees(math.atan2(y, x))
        height, width = projection.top_deg - projection.bottom_deg, projection.left_deg - projection.right_deg
        row = math.floor((projection.top_deg - up) / height * projection.rows)
        column = math.floor((projection.left_deg - around) / width * projection.columns)
        if width == 360:
            column %= projection.columns
        in_height = projection.bottom_deg <= up <= projection.top_deg
        if not (in_height and projection.right_deg <= around <= projection.left_deg):
            outside += 1
            continue
        row, column = min(row, projection.rows - 1), min(column, projection.columns - 1)
        hidden += not math.isnan(image[row, column])
        if not image[row, column] < distance:
            image[row, column] = distance
    return image.astype(np.float32), DepthCounts(len(points), invalid, outside, hidden)


def test_points_lie_where_they_are_seen() -> None:
    """High is the first row; left comes before straight ahead before right; behind is at both ends."""
    points = [at(5, 15, 170), at(6, 15, -170), at(7, -1, 1), at(8, -19, -89)]
    image, counts = AROUND.image(np.array(points))
    assert {(int(r), int(c)): float(image[r, c]) for r, c in np.argwhere(~np.isnan(image))} == {
        (0, 0): 5, (0, 7): 6, (2, 3): 7, (3, 5): 8,
    }  # fmt: skip
    assert counts == DepthCounts(4)


def test_the_nearest_return_wins_and_losses_are_counted() -> None:
    """Of several points in a pixel the nearest counts; NaN, zero and what is out of view are told apart."""
    points = [at(5, 1, 1), at(3, 1, 1), at(9, 1, 1), at(4, 30, 0), [0, 0, 0], [math.nan, 1, 1]]
    image, counts = AROUND.image(np.array(points))
    assert np.nanmin(image) == np.nanmax(image) == np.float32(3)
    assert counts == DepthCounts(points=6, invalid=2, outside=1, hidden=2)


@given(arrays(np.float32, st.tuples(st.integers(0, 40), st.just(3)), elements=st.floats(-50, 50, width=16)))
def test_the_fast_projection_is_the_slow_one(points: np.ndarray) -> None:
    """Image and counts are those of the twin, around and in a sector."""
    for projection in (AROUND, Projection("spherical", 3, 5, 1, 1, 30, -10, 45, -60)):
        image, counts = projection.image(points)
        expected, expected_counts = slowly(projection, points)
        # a point on a border may fall to either side in another order of operations
        if counts == expected_counts:
            assert np.array_equal(np.isnan(image), np.isnan(expected))
            assert np.allclose(image, expected, rtol=1e-6, equal_nan=True)
        assert sum(counts[1:]) + int((~np.isnan(image)).sum()) == counts.points == len(points)


def test_the_field_of_view_is_found_and_rounded() -> None:
    """Of a scanner of 16 rings all around: its rings rounded outwards to 5 degrees, a full circle."""
    view = FieldOfView()
    rings = [at(10, up, around) for up in np.linspace(-14.9, 14.9, 16) for around in range(-180, 180, 3)]
    view.see(np.array(rings))
    found = view.projection()
    assert (found.rows, found.columns) == (64, 128)
    assert (found.bottom_deg, found.top_deg, found.right_deg, found.left_deg) == (-15, 15, -180, 180)
    assert "elevation -15 to 15 degrees" in found.rule
    assert Projection.from_json(found.to_json()) == found


def test_a_sensor_that_looks_ahead_has_a_sector() -> None:
    """70 by 77 degrees ahead are a sector; one stray point in thousands widens nothing."""
    view = FieldOfView()
    ahead = [at(10, up, around) for up in range(-38, 39) for around in range(-35, 36)]
    view.see(np.array([*ahead, at(3, 88, 179)]))
    found = view.projection()
    assert (found.right_deg, found.left_deg) == (-45, 45)
    assert (found.bottom_deg, found.top_deg) == (-40, 40)
    assert FieldOfView().projection().top_deg == 90


@pytest.mark.parametrize(
    ("points", "columns"), [(100, 128), (8192, 128), (8193, 256), (28_000, 512), (200_000, 1024)]
)
def test_a_usual_cloud_has_a_pixel_per_point(points: int, columns: int) -> None:
    """64 rows have as many columns, a power of two from 128 to 1,024, as the points of a cloud need."""
    view = FieldOfView()
    for _ in range(3):
        view.see(np.tile([[1.0, 2.0, 0.1]], (points, 1)))
    assert view.projection().columns == columns


def organised(points: np.ndarray, **others: Any) -> SimpleNamespace:
    """Return a PointCloud2 of [H, W, 3] float32 points with an intensity between y and z."""
    height, width = points.shape[:2]
    data = np.zeros((height, width, 5), "<f4")
    data[..., [0, 1, 3]] = points
    names = (("x", 0), ("y", 4), ("intensity", 8), ("z", 12))
    fields = [SimpleNamespace(name=name, offset=offset, datatype=7, count=1) for name, offset in names]
    values = {
        "height": height, "width": width, "fields": fields, "is_bigendian": False, "point_step": 20,
        "row_step": 20 * width, "data": np.frombuffer(data.tobytes(), np.uint8),
    }  # fmt: skip
    return SimpleNamespace(**values | others)


def test_an_organised_cloud_keeps_its_grid() -> None:
    """Rows and columns are the cloud's own; a point without a distance is NaN."""
    points = np.arange(2 * 3 * 3, dtype=np.float32).reshape(2, 3, 3)
    points[1, 2] = np.nan
    found = points_of(organised(points), CLOUD)
    assert np.array_equal(found, points, equal_nan=True)
    image, counts = Projection.of_grid(2, 3).image(found)
    assert np.allclose(image, np.sqrt((points**2).sum(axis=2)), equal_nan=True)
    assert counts == DepthCounts(6, invalid=1)


def test_a_large_grid_is_thinned() -> None:
    """Of 480 x 640 points every 4th row is taken; what lies between is counted, and other sizes refused."""
    projection = Projection.of_grid(480, 640)
    assert (projection.rows, projection.columns, projection.row_step, projection.column_step) == (
        120,
        640,
        4,
        1,
    )
    image, counts = projection.image(np.ones((480, 640, 3), np.float32))
    assert image.shape == (120, 640)
    assert counts == DepthCounts(480 * 640, hidden=360 * 640)
    with pytest.raises(CannotDecode, match="a cloud of 10 x 640 points where 120 x 640 were planned"):
        projection.image(np.ones((10, 640, 3)))


def test_byte_orders_types_and_foxglove_numbers() -> None:
    """Big-endian doubles of ROS, and Foxglove's numbering of types, give the same points."""
    points = np.array([[1.5, -2, 3], [4, 5, -6]])
    fields = [SimpleNamespace(name=n, offset=8 * k, datatype=8, type=8, count=1) for k, n in enumerate("xyz")]
    big = SimpleNamespace(
        height=1, width=2, fields=fields, is_bigendian=True, point_step=24, row_step=0,
        data=np.frombuffer(points.astype(">f8").tobytes(), np.uint8),
    )  # fmt: skip
    assert points_of(big, CLOUD).tolist() == points.tolist()
    foxglove = SimpleNamespace(point_stride=24, fields=fields, data=points.astype("<f8").tobytes())
    for name in ("foxglove.PointCloud", "foxglove_msgs/msg/PointCloud"):
        assert points_of(foxglove, name).tolist() == points.tolist()


def test_a_cloud_that_is_none_is_refused() -> None:
    """What lacks the fields of its type, or names a type that there is not, says so."""
    with pytest.raises(CannotDecode, match="lacks what its type promises"):
        points_of(SimpleNamespace(data=b""), "foxglove.PointCloud")
    fields = [SimpleNamespace(name=name, offset=0, type="FLOAT99") for name in "xyz"]
    with pytest.raises(CannotDecode, match="lacks what its type promises"):
        points_of(SimpleNamespace(point_stride=4, data=b"0000", fields=fields), "foxglove.PointCloud")


def test_arrays_of_points() -> None:
    """PointCloud and Livox's CustomMsg hold points as messages; none is a cloud of no points."""
    livox = "livox_ros_driver2/msg/CustomMsg"
    message = SimpleNamespace(points=[SimpleNamespace(x=1, y=2, z=3), SimpleNamespace(x=4, y=5, z=6)])
    for name in ("sensor_msgs/msg/PointCloud", livox):
        assert points_of(message, name).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert points_of(SimpleNamespace(points=[]), livox).shape == (0, 3)


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"width": 99}, "sizes do not fit its 60 bytes"),
        ({"row_step": 7}, "sizes do not fit"),
        ({"point_step": 13}, "sizes do not fit"),
        ({"fields": []}, r"no field 'x' of a known type \(it has none\)"),
        ({"height": 2**31, "width": 2**31}, "sizes do not fit"),
    ],
)
def test_clouds_that_do_not_fit_are_refused(others: dict[str, Any], words: str) -> None:
    """Sizes are checked against the bytes before anything is made of them."""
    with pytest.raises(CannotDecode, match=words):
        points_of(organised(np.zeros((1, 3, 3), np.float32), **others), CLOUD)


def velodyne(model: int, distances: dict[tuple[int, int], float], step: int = 40) -> bytes:
    """Return a packet whose block k has azimuth k * step, of distances by (block, laser) in metres."""
    packet = b""
    for block in range(12):
        packet += struct.pack("<HH", 0xEEFF, block * step)
        for laser in range(32):
            packet += struct.pack("<HB", round(distances.get((block, laser), 0) / 0.002), 9)
    return packet + struct.pack("<IBB", 0, 0x37, model)


def test_velodyne_packets() -> None:
    """Lasers have the data sheet's angles; a VLP-16 fires again half a step on; y is to the left."""
    points = points_in_scan([velodyne(0x22, {(0, 0): 10, (10, 17): 20})])
    assert points == pytest.approx(np.array([at(10, -15, 0), at(20, 1, -4.2)]), abs=1e-9)
    points = points_in_scan([velodyne(0x21, {(0, 0): 10, (0, 1): 10, (0, 31): 5})])
    assert points == pytest.approx(np.array([at(10, -30.67, 0), at(10, -9.33, 0), at(5, 10.67, 0)]), abs=2e-3)
    assert points_in_scan([]).shape == (0, 3)
    with pytest.raises(CannotDecode, match="model 0x28 are not supported"):
        points_in_scan([velodyne(0x28, {})])
    with pytest.raises(CannotDecode, match="has 1200 bytes, not 1206"):
        points_in_scan([bytes(1200)])
    with pytest.raises(CannotDecode, match="without its mark"):
        points_in_scan([bytes(1205) + b"\x22"])


def test_clouds_are_worked_out_when_wanted() -> None:
    """A message is not even deserialised before its distances are asked for, and is asked for whole."""
    read: list[bytes] = []

    def deserialize(data: bytes) -> SimpleNamespace:
        read.append(data)
        return organised(np.ones((1, 2, 3), np.float32))

    (cloud,) = RosClouds(CLOUD, deserialize, AROUND).decode(Packet("x", 7, b"m"))
    assert (cloud.time_ns, cloud.width, cloud.height, read) == (7, 8, 4, [])
    with pytest.raises(ValueError, match="is 8 x 4, asked for 5 x 5"):
        cloud.metres(5, 5)
    metres, counts = cloud.metres(8, 4)
    assert read == [b"m"]
    assert (metres.shape, counts.points) == ((4, 8), 2)
