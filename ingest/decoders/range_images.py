"""Points in space -> range images: per pixel the distance from the sensor, in metres.

    organised     the cloud's own rows and columns, or every k-th of them
    spherical     rows of equal elevation from the highest down, columns of equal azimuth from the left (+y)
                  over straight ahead (+x) to the right; in each pixel the nearest point

Distances and angles are those seen from the origin of the cloud's own frame, x ahead, y left, z up
(REP 103). The field of view is found from the recording when it is planned, and frozen then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ingest.errors import CannotDecode
from ingest.recording import DepthCounts

ORGANISED_MOST = (128, 1024)
"""Rows and columns; of an organised cloud that has more, every k-th is taken."""
SPHERICAL_ROWS = 64
FEWEST_COLUMNS, MOST_COLUMNS = 128, 1024
"""Of a spherical image there are as many, a power of two, as give each point of a usual cloud a pixel."""
STRAY_SHARE = 0.001
"""So few of the points above, below, left or right of it do not widen the field of view."""
ELEVATION_STEP, AZIMUTH_STEP = 5, 15
"""Degrees to which its borders are rounded outwards, so that equal sensors have equal ones."""
WIDEST_SECTOR = 180
"""Degrees; what reaches farther around is a full circle."""


@dataclass(frozen=True)
class Projection:
    """How a track's clouds become images."""

    kind: Literal["organised", "spherical"]
    rows: int
    columns: int
    row_step: int = 1
    column_step: int = 1
    """Organised: every k-th row and column is taken."""
    top_deg: int = 90
    bottom_deg: int = -90
    left_deg: int = 180
    right_deg: int = -180
    """Spherical: the field of view; elevation above the xy plane, azimuth from x to the left."""

    def __post_init__(self) -> None:
        if min(self.rows, self.columns, self.row_step, self.column_step) < 1:
            raise ValueError(f"a range image has at least one pixel: {self}")
        if self.top_deg <= self.bottom_deg or self.left_deg <= self.right_deg:
            raise ValueError(f"a field of view has a height and a width: {self}")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object from which `from_json` makes an equal value."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Projection:
        """Make a projection from what `to_json` returned."""
        return cls(**data)

    @property
    def rule(self) -> str:
        """What it does, in a sentence."""
        if self.kind == "organised":
            steps = f"every {self.row_step}. row and {self.column_step}. column"
            return f"distance from the sensor, the cloud's own grid, {steps}"
        return (
            f"distance from the sensor, nearest point per pixel, elevation {self.bottom_deg} to "
            f"{self.top_deg} degrees, azimuth {self.right_deg} to {self.left_deg} degrees"
        )

    @classmethod
    def of_grid(cls, rows: int, columns: int) -> Projection:
        """Return that of organised clouds of this size."""
        row_step, column_step = (
            -(-n // most) for n, most in zip((rows, columns), ORGANISED_MOST, strict=True)
        )
        return cls("organised", -(-rows // row_step), -(-columns // column_step), row_step, column_step)

    def image(self, points: np.ndarray) -> tuple[np.ndarray, DepthCounts]:
        """Return distances, float32 [rows, columns], NaN where there is none, and what became of the points.

        Args:
            points: [..., 3], x, y, z in metres: [H, W, 3] for an organised cloud, else [N, 3].

        Raises:
            CannotDecode: an organised cloud is of another size than when it was planned.
        """
        if self.kind == "organised":
            return self._of_grid(points)
        flat = points.reshape(-1, 3).astype(np.float64)
        distances = np.sqrt((flat * flat).sum(axis=1))
        valid = np.isfinite(distances) & (distances > 0)
        flat, distances = flat[valid], distances[valid]
        up, around = angles_of(flat, distances)
        row = np.floor((self.top_deg - up) / (self.top_deg - self.bottom_deg) * self.rows)
        column = np.floor((self.left_deg - around) / (self.left_deg - self.right_deg) * self.columns)
        if self.left_deg - self.right_deg == 360:  # -180 and 180 degrees are one direction
            column %= self.columns
        inside = (up <= self.top_deg) & (up >= self.bottom_deg)
        inside &= (around <= self.left_deg) & (around >= self.right_deg)
        row, column = np.minimum(row, self.rows - 1), np.minimum(column, self.columns - 1)  # the last borders
        image = np.full(self.rows * self.columns, np.inf)
        pixel = (row[inside] * self.columns + column[inside]).astype(np.int64)
        np.minimum.at(image, pixel, distances[inside])
        seen = np.isfinite(image)
        image[~seen] = np.nan
        hit, taken = int(inside.sum()), int(seen.sum())
        counts = DepthCounts(len(valid), int(len(valid) - valid.sum()), len(distances) - hit, hit - taken)
        return image.reshape(self.rows, self.columns).astype(np.float32), counts

    def _of_grid(self, points: np.ndarray) -> tuple[np.ndarray, DepthCounts]:
        taken = points[:: self.row_step, :: self.column_step] if points.ndim == 3 else points
        if taken.shape[:2] != (self.rows, self.columns) or points.ndim != 3:
            found = " x ".join(str(edge) for edge in points.shape[:-1])
            raise CannotDecode(f"a cloud of {found} points where {self.rows} x {self.columns} were planned")
        flat = taken.astype(np.float64)
        distances = np.sqrt((flat * flat).sum(axis=2))
        distances[~(np.isfinite(distances) & (distances > 0))] = np.nan
        count = points.shape[0] * points.shape[1]
        invalid = int(np.isnan(distances).sum())
        return distances.astype(np.float32), DepthCounts(count, invalid, 0, count - distances.size)


def angles_of(points: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return elevation and azimuth in degrees of points [N, 3] at these distances, all above 0."""
    up = np.degrees(np.arcsin(np.clip(points[:, 2] / distances, -1, 1)))
    return up, np.degrees(np.arctan2(points[:, 1], points[:, 0]))


class FieldOfView:
    """Learns in which directions points lie, degree by degree, in memory of fixed size."""

    def __init__(self) -> None:
        self._clouds = 0
        self._up = np.zeros(180, np.int64)
        self._around = np.zeros(360, np.int64)

    def see(self, points: np.ndarray) -> None:
        """Take in a cloud, [N, 3]."""
        flat = points.reshape(-1, 3).astype(np.float64)
        distances = np.sqrt((flat * flat).sum(axis=1))
        valid = np.isfinite(distances) & (distances > 0)
        up, around = angles_of(flat[valid], distances[valid])
        self._clouds += 1
        self._up += np.bincount(np.clip(np.floor(up + 90), 0, 179).astype(np.int64), minlength=180)
        self._around += np.bincount(np.clip(np.floor(around + 180), 0, 359).astype(np.int64), minlength=360)

    def projection(self) -> Projection:
        """Return the spherical projection that shows what was seen; all directions where that is nothing."""
        if not self._up.any():
            return Projection("spherical", SPHERICAL_ROWS, FEWEST_COLUMNS)
        bottom, top = _span(self._up, -90, ELEVATION_STEP)
        right, left = _span(self._around, -180, AZIMUTH_STEP)
        columns = FEWEST_COLUMNS
        while columns < MOST_COLUMNS and columns * SPHERICAL_ROWS * self._clouds < self._up.sum():
            columns *= 2
        if left - right > WIDEST_SECTOR:
            right, left = -180, 180
        return Projection(
            "spherical",
            SPHERICAL_ROWS,
            columns,
            top_deg=top,
            bottom_deg=bottom,
            left_deg=left,
            right_deg=right,
        )


def _span(counts: np.ndarray, first_deg: int, step: int) -> tuple[int, int]:
    """Return the degrees between which all but a few at either end lie, rounded outwards."""
    total, sums = int(counts.sum()), np.cumsum(counts)
    few = int(total * STRAY_SHARE)
    low = int(np.searchsorted(sums, few, side="right"))
    high = int(np.searchsorted(sums, total - few, side="left")) + 1
    low_deg, high_deg = first_deg + low, first_deg + high
    return low_deg // step * step, -(-high_deg // step) * step
