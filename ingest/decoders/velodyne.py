"""Velodyne's packets -> points: VLP-16 and HDL-32E, whose angles are those of the data sheet.

A packet is 1206 bytes, little-endian: 12 blocks of (uint16 flag 0xEEFF, uint16 azimuth in 1/100 degree,
32 returns of (uint16 distance in 2 mm, uint8 strength)), uint32 time, uint8 mode, uint8 model. A distance of
0 is no return. A VLP-16 fires its 16 lasers twice per block: the second time half way to the next block's
azimuth. Azimuth runs clockwise from +y in the sensor's own axes; here x is ahead and y left, as in the
points that ROS drivers publish.

Source: Velodyne, VLP-16 User Manual 63-9243, section 9; HDL-32E User Manual 63-9113, appendix.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ingest.errors import CannotDecode

VELODYNE_SCAN = "velodyne_msgs/msg/VelodyneScan"
BLOCK = [("flag", "<u2"), ("azimuth", "<u2"), ("returns", [("distance", "<u2"), ("strength", "u1")], 32)]
PACKET = np.dtype([("blocks", BLOCK, 12), ("time", "<u4"), ("mode", "u1"), ("model", "u1")])
FLAG = 0xEEFF
UNIT_M = 0.002
VLP_16, HDL_32E = 0x22, 0x21
DUAL_RETURN = 0x39
ELEVATIONS = {
    VLP_16: np.array([-15, 1, -13, 3, -11, 5, -9, 7, -7, 9, -5, 11, -3, 13, -1, 15] * 2, np.float64),
    HDL_32E: np.array([value for k in range(16) for value in (-92 / 3 + 4 / 3 * k, -28 / 3 + 4 / 3 * k)]),
}
"""Degrees above the horizon of each of a block's 32 returns, by model."""


def points_in_scan(packets: Sequence[bytes]) -> np.ndarray:
    """Return the points of a turn, [N, 3] in metres, without those that had no return.

    Raises:
        CannotDecode: a packet is damaged, or of a model whose angles are not known here.
    """
    short = next((len(packet) for packet in packets if len(packet) < PACKET.itemsize), None)
    if short is not None:
        raise CannotDecode(f"a Velodyne packet has {short} bytes, not {PACKET.itemsize}")
    if not packets:
        return np.empty((0, 3))
    data = np.frombuffer(b"".join(packet[: PACKET.itemsize] for packet in packets), PACKET)
    models = np.unique(data["model"])
    if len(models) != 1 or int(models[0]) not in ELEVATIONS:
        names = ", ".join(f"0x{int(model):02x}" for model in models)
        raise CannotDecode(f"Velodyne packets of model {names} are not supported, only VLP-16 and HDL-32E")
    blocks = data["blocks"].reshape(-1)
    if not (blocks["flag"] == FLAG).all():
        raise CannotDecode("a Velodyne packet has a block without its mark")
    elevation = np.radians(ELEVATIONS[int(models[0])])
    azimuth = np.repeat(blocks["azimuth"].astype(np.float64)[:, None], 32, axis=1)
    if int(models[0]) == VLP_16:
        azimuth[:, 16:] += _half_step(blocks["azimuth"], dual=bool((data["mode"] == DUAL_RETURN).any()))
    around = np.radians(azimuth / 100)
    distance = blocks["returns"]["distance"] * UNIT_M
    flat = distance * np.cos(elevation)
    points = np.stack([flat * np.cos(around), -flat * np.sin(around), distance * np.sin(elevation)], axis=-1)
    return points[distance > 0]


def _half_step(azimuth: np.ndarray, *, dual: bool) -> float:
    """Return half of what the sensor turns from one firing to the next, in 1/100 degree."""
    every = azimuth[:: 2 if dual else 1].astype(np.int64)
    steps = np.diff(every) % 36_000
    return float(np.median(steps)) / 2 if len(steps) else 0.0
