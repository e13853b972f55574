"""Which files are bags, and which of them are one recording."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.errors import CannotOpen
from ingest.sources import mcap, rosbag1, rosbag2
from ingest.sources.bag_storage import Storage
from ingest.sources.packed_bag import is_packed, open_packed
from ingest.sources.ranges import at_hand

METADATA = "metadata.yaml"
ENDINGS = (".bag", ".mcap", ".db3")
PACKED_ENDINGS = (".zstd", ".zst", ".gz", ".bz2", ".xz", ".lz4")
UNFINISHED = ".active"
"""What `rosbag record` appends until it closes a bag."""

_NUMBERED = re.compile(r"(.+)_(\d{1,9})(\.\w+)")


@dataclass(frozen=True)
class BagGroup:
    """Files that are one recording."""

    name: str
    """The bag folder's name; else the name of the first file."""
    paths: tuple[Path, ...]


def claims_to_be_bag(path: Path) -> bool:
    """Return whether a file's name says that it is a bag, packed or not."""
    name = path.name.lower().removesuffix(UNFINISHED)
    for ending in PACKED_ENDINGS:
        name = name.removesuffix(ending)
    return name.endswith(ENDINGS)


def is_bag(path: Path) -> bool:
    """Return whether a file's content says that it is a bag, whole or not."""
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if head.startswith((rosbag1.MAGIC, mcap.MAGIC)):
        return True
    # a SQLite file's first page holds the statements that made its tables
    tables = (b"CREATE TABLE topics", b"CREATE TABLE messages")
    return head.startswith(rosbag2.MAGIC) and all(table in head for table in tables)


def open_storage(path: Path) -> Storage:
    """Open one bag file by its content.

    Raises:
        CannotOpen: it is no bag, or can't be read; the message is the cause.
    """
    with path.open("rb") as file:
        head = file.read(len(rosbag2.MAGIC))
    if head.startswith(rosbag1.MAGIC):
        return rosbag1.Rosbag1(path)
    if head.startswith(mcap.MAGIC):
        return mcap.Mcap(path)
    if head.startswith(rosbag2.MAGIC):
        return rosbag2.Rosbag2Sqlite(at_hand(path))
    if is_packed(head):
        return open_packed(at_hand(path), _open_plain)
    raise CannotOpen(_refusal(head))


def _open_plain(path: Path) -> Storage:
    with path.open("rb") as file:
        if is_packed(file.read(16)):
            raise CannotOpen("the bag is packed twice; unpack it once")
    return open_storage(path)


def _refusal(head: bytes) -> str:
    """Return why a file is no bag that we read, and what to do."""
    if not head:
        return "the file is empty"
    if head.startswith(b"#ROSBAG V1"):
        return "a ROS bag of format 1, of before 2010; `rosbag fix` makes one of format 2.0 of it"
    if not any(head):
        return "the file holds nothing but zeros where a bag begins"
    return "not a bag: it begins like none of ROS 1 bag, MCAP and SQLite"


def group_bag_files(folder: Path, names: Sequence[str]) -> list[BagGroup]:
    """Return which bag files of one folder are one recording.

    With a `metadata.yaml` the files that it lists are one, named by the folder. Of the others,
    `NAME_0, NAME_1 …` with the same ending, the same topics and times that do not overlap are one;
    everything else is one each.

    Args:
        folder: where they lie.
        names: names of the folder's files; those that are no bags are passed over.
    """
    bags = sorted(name for name in names if claims_to_be_bag(Path(name)) or is_bag(folder / name))
    groups = []
    if METADATA in names:
        listed = _listed(folder, bags)
        if listed:
            groups.append(BagGroup(folder.name, tuple(folder / name for name in listed)))
            bags = [name for name in bags if name not in listed]
    series: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for name in bags:
        match = _NUMBERED.fullmatch(name)
        stem, number, ending = match.groups() if match else (name, "0", "")
        series.setdefault((stem, ending), []).append((int(number), name))
    for members in series.values():
        for run in _runs(sorted(members)):
            groups += [
                BagGroup(part[0].name, tuple(part)) for part in _joined([folder / name for name in run])
            ]
    return sorted(groups, key=lambda group: group.name)


def _listed(folder: Path, bags: Sequence[str]) -> list[str]:
    """Return the bags that the folder's metadata lists, in its order; none if it can't be read."""
    try:
        files = rosbag2.read_metadata(folder / METADATA).files
    except CannotOpen:
        return []
    return [name for name in dict.fromkeys(files) if name in bags]


def _runs(members: Iterable[tuple[int, str]]) -> list[list[str]]:
    """Split numbered names where a number is missing."""
    runs: list[list[str]] = []
    previous: int | None = None
    for number, name in members:
        if previous is None or number != previous + 1:
            runs.append([])
        runs[-1].append(name)
        previous = number
    return runs


def _joined(paths: Sequence[Path]) -> list[list[Path]]:
    """Split a run of files where the kind or topics differ, or the times overlap."""
    if len(paths) == 1:
        return [list(paths)]
    parts: list[list[Path]] = []
    previous: tuple[object, int] | None = None
    for path in paths:
        found = _summary(path)
        if found is None:
            parts.append([path])
            previous = None
            continue
        kind, start_ns, stop_ns = found
        if previous is not None and previous[0] == kind and start_ns >= previous[1]:
            parts[-1].append(path)
        else:
            parts.append([path])
        previous = kind, stop_ns
    return parts


def _summary(path: Path) -> tuple[object, int, int] | None:
    """Return kind and topics, and the time span; None for a file that can't be opened."""
    try:
        storage = open_storage(path)
    except CannotOpen:
        return None
    try:
        topics = {(channel.topic, channel.type_name) for channel in storage.channels}
        return (storage.container, frozenset(topics)), storage.start_ns, storage.stop_ns
    finally:
        storage.close()
