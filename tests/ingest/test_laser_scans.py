"""Laser scans of any kind become one range per degree."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decoders.laser_scans import COLUMNS, LaserScans, Scan, by_degree, is_scan, scan_of
from ingest.errors import CannotDecode
from ingest.recording import Packet


def ros(ranges: list[Any], first_deg: float, step_deg: float, **others: float) -> SimpleNamespace:
    """Return a LaserScan."""
    fields = {
        "ranges": ranges, "angle_min": math.radians(first_deg), "angle_increment": math.radians(step_deg),
        "range_min": 0.1, "range_max": 30.0,
    }  # fmt: skip
    return SimpleNamespace(**fields | others)


def found(message: SimpleNamespace) -> dict[int, float]:
    """Return the ranges by their degree."""
    ranges = by_degree(scan_of(message))
    return {int(k) - 180: float(ranges[k]) for k in np.flatnonzero(~np.isnan(ranges))}


def test_beams_lie_at_their_degree() -> None:
    """Column k is the degree k - 180, from straight ahead to the left."""
    assert (COLUMNS[0], COLUMNS[180], COLUMNS[-1]) == ("range[-180]", "range[0]", "range[179]")
    assert found(ros([1.0, 2.0, 3.0, 4.0], -1, 1)) == {-1: 1, 0: 2, 1: 3, 2: 4}
    assert found(ros([1.0, 2.0, 3.0], 179.5, 1)) == {179: 1, -180: 2, -179: 3}
    assert found(ros([1.0, 2.0], 10.5, -1)) == {10: 1, 9: 2}


def test_of_several_beams_in_a_degree_the_nearest_return_counts() -> None:
    """Four beams a degree: the nearest that is a return."""
    ranges = [5.0, 3.0, math.inf, 4.0, math.nan, 0.0, 0.05, 31.0]
    assert found(ros(ranges, 20, 0.25)) == {20: 3}


def test_a_coarse_scan_fills_the_degrees_around_its_beams() -> None:
    """With a beam every 3 degrees, a degree takes the one within half of that; beyond the ends is nothing."""
    assert found(ros([1.0, 2.0, 3.0], 0.5, 3)) == {-1: 1, 0: 1, 1: 1, 2: 2, 3: 2, 4: 2, 5: 3, 6: 3, 7: 3}
    assert found(ros([1.0, math.inf, 3.0], 0.5, 3)) == {-1: 1, 0: 1, 1: 1, 5: 3, 6: 3, 7: 3}


def test_foxglove_and_several_echoes() -> None:
    """Foxglove names the first and the last angle; of several echoes the nearest counts."""
    foxglove = SimpleNamespace(
        start_angle=math.radians(-1), end_angle=math.radians(1), ranges=[1.0, 2.0, 3.0]
    )
    assert found(foxglove) == {-1: 1, 0: 2, 1: 3}
    echoes = [SimpleNamespace(echoes=[4.0, 2.0]), SimpleNamespace(echoes=[]), SimpleNamespace(echoes=[7.0])]
    assert found(ros(echoes, 0, 1)) == {0: 2, 2: 7}


@given(st.integers(1, 1500), st.floats(-3.1, 0), st.floats(0.001, 0.05), st.integers(0, 2**32 - 1))
def test_every_range_is_one_that_was_measured(count: int, first: float, step: float, seed: int) -> None:
    """No range is made up, and the nearest of all is there."""
    ranges = np.random.default_rng(seed).uniform(0.2, 29, count)
    seen = by_degree(Scan(first, step, ranges))
    values = seen[~np.isnan(seen)]
    assert np.isin(values, ranges).all()
    assert values.min() == ranges.min()


def test_no_beams_and_no_angles() -> None:
    """A scan without beams has no ranges; one without angles is refused."""
    assert found(ros([], 0, 0)) == {}
    with pytest.raises(CannotDecode, match="a laser scan of 2 beams has no angles"):
        scan_of(ros([1.0, 2.0], 0, 0))
    with pytest.raises(CannotDecode, match="lacks what its type promises"):
        scan_of(SimpleNamespace(ranges=[1.0]))
    with pytest.raises(CannotDecode, match="no angles"):
        scan_of(ros([1.0, 2.0], math.nan, 1))
    with pytest.raises(CannotDecode, match="no angles"):
        scan_of(ros([1.0, 2.0], 0, 1e300))


def test_the_decoder_gives_rows() -> None:
    """One row per message, at its time; the types are known by any of their names."""
    decoder = LaserScans(lambda data: data)
    assert decoder.decode(Packet("scan", 5, ros([2.0], 0, 1))) == []
    (rows,) = decoder.flush()
    assert rows.times_ns.tolist() == [5]
    assert rows.values.shape == (1, 360)
    assert rows.values[0, 180] == 2
    assert is_scan("foxglove.LaserScan")
    assert is_scan("sensor_msgs/msg/MultiEchoLaserScan")
    assert not is_scan("sensor_msgs/msg/PointCloud2")
