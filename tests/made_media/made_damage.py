"""Damage done to files on purpose: cut short, emptied, overwritten, stripped of their index."""

from __future__ import annotations

from pathlib import Path


def cut_short(source: Path, target: Path, keep: float) -> Path:
    """Copy the first `keep` (0 to 1) of a file's bytes, and return the copy's path."""
    data = source.read_bytes()
    target.write_bytes(data[: int(len(data) * keep)])
    return target


def overwrite(source: Path, target: Path, start: float, length: int, *, value: int = 0) -> Path:
    """Copy a file with `length` bytes overwritten, from the share `start` (0 to 1) of its size on."""
    data = bytearray(source.read_bytes())
    first = int(len(data) * start)
    data[first : first + length] = bytes([value]) * len(data[first : first + length])
    target.write_bytes(data)
    return target


def without_index(source: Path, target: Path) -> Path:
    """Copy a ROS 1 bag as a recorder leaves it that was killed: no index, and the header says so."""
    data = source.read_bytes()
    first = data.index(b"index_pos=") + len(b"index_pos=")
    index = int.from_bytes(data[first : first + 8], "little")
    target.write_bytes(data[:first] + bytes(8) + data[first + 8 : index])
    return target


def text_named_mp4(target: Path) -> Path:
    """Write a sentence into a file whose name promises a video."""
    target.write_text("This is no video.\n")
    return target
