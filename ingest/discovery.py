"""Walking folders: which files are recordings, and what each is called.

A file is a recording by its content (a signature of a container that can be told apart), or because
its ending claims so; the latter must be answered for when it can't be read. Everything else is passed
over and counted. Folders are walked in sorted order, hidden files left out, links followed once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Literal

from ingest.sources.bag_files import claims_to_be_bag, group_bag_files, is_bag
from ingest.sources.sidecar import ENDINGS as SIDECAR_ENDINGS

MEDIA_ENDINGS = frozenset(
    {
        *(".mp4", ".m4v", ".m4a", ".mov", ".qt", ".mkv", ".mka", ".webm", ".avi", ".divx", ".flv", ".f4v"),
        *(".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".mpe", ".m2v", ".vob", ".3gp", ".3g2", ".mxf", ".asf"),
        *(".wmv", ".wma", ".rm", ".rmvb", ".nut", ".dv", ".ivf", ".y4m", ".mjpeg", ".h264", ".264", ".h265"),
        *(".265", ".hevc", ".wav", ".flac", ".mp3", ".mp2", ".ogg", ".oga", ".ogv", ".opus", ".aac", ".ac3"),
        *(".eac3", ".amr", ".aif", ".aiff", ".aifc", ".caf", ".au"),
    }
)
"""Endings that claim to be a video or audio file."""


@dataclass(frozen=True)
class Candidate:
    """Something that is, or claims to be, one recording."""

    name: str
    """Its recording name."""
    kind: Literal["media", "bag"]
    paths: tuple[Path, ...]
    """Its files in order (of a bag folder: the storage files)."""
    sidecars: tuple[Path, ...] = ()
    """Text files beside it."""


@dataclass
class Walk:
    """What walking the inputs found besides recordings; complete when the walk is over."""

    passed_over: Counter[str] = field(default_factory=Counter)
    """Files that are no recordings, by reason."""
    notes: list[tuple[str, str]] = field(default_factory=list)
    """(name, cause): folders passed over on purpose."""


def find_recordings(
    inputs: Sequence[Path],
    walk: Walk,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    skip: Path | None = None,
) -> Iterator[Candidate]:
    """Yield the recordings below the inputs, in sorted order, each with its own name.

    Args:
        inputs: files, bag folders and folders. With several, names begin with the input's base name.
        walk: filled with what was passed over.
        include: globs on recording names; with any, only those that match one are taken.
        exclude: globs on recording names; those that match one are left out.
        skip: a folder that is not entered: the dataset that is being made.

    Raises:
        FileNotFoundError: an input does not exist.
    """
    taken: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    if skip is not None and skip.is_dir():
        seen.add((skip.stat().st_dev, skip.stat().st_ino))
    for given in inputs:
        if not given.exists():
            raise FileNotFoundError(f"no such file or folder: {given}")
        prefix = PurePosixPath(given.resolve().name) if len(inputs) > 1 else PurePosixPath()
        for candidate in _below(given, prefix, walk, seen):
            if include and not any(fnmatch(candidate.name, glob) for glob in include):
                walk.passed_over["not included"] += 1
                continue
            if any(fnmatch(candidate.name, glob) for glob in exclude):
                walk.passed_over["excluded"] += 1
                continue
            taken[candidate.name] += 1
            count = taken[candidate.name]
            name = candidate.name if count == 1 else f"{candidate.name}-{count}"
            yield Candidate(name, candidate.kind, candidate.paths, candidate.sidecars)


def _below(given: Path, prefix: PurePosixPath, walk: Walk, seen: set[tuple[int, int]]) -> Iterator[Candidate]:
    if given.is_dir():
        own = prefix if prefix.parts else PurePosixPath(given.resolve().name)
        if _is_bag_folder(given):
            yield from _bag_folder(given, own)
        else:
            yield from _folder(given, prefix, walk, seen)
        return
    name = prefix if prefix.parts else PurePosixPath(given.name)
    yield from _files(given.parent, [given.name], walk, lambda _: str(name))


def _folder(folder: Path, name: PurePosixPath, walk: Walk, seen: set[tuple[int, int]]) -> Iterator[Candidate]:
    reason = _passed_over_whole(folder)
    if reason:
        walk.notes.append((str(name), reason))
        return
    stat = folder.stat()
    if (stat.st_dev, stat.st_ino) in seen:
        return
    seen.add((stat.st_dev, stat.st_ino))
    entries = sorted((e for e in folder.iterdir() if not e.name.startswith(".")), key=lambda e: e.name)
    files = [e.name for e in entries if e.is_file() and not _seen_before(e, seen)]
    walk.passed_over["broken link"] += sum(e.is_symlink() and not e.exists() for e in entries)
    below = {c.name: c for c in _files(folder, files, walk, lambda file: str(name / file))}
    folders = {str(name / e.name): e for e in entries if e.is_dir()}
    for entry in sorted([*below, *folders]):
        if entry in below:
            yield below[entry]
        if entry in folders:
            child = folders[entry]
            if _is_bag_folder(child):
                yield from _bag_folder(child, PurePosixPath(entry))
            else:
                yield from _folder(child, PurePosixPath(entry), walk, seen)


def _seen_before(path: Path, seen: set[tuple[int, int]]) -> bool:
    """Say whether a link leads to a file met before; plain files are never asked."""
    if not path.is_symlink():
        return False
    stat = path.stat()
    known = (stat.st_dev, stat.st_ino) in seen
    seen.add((stat.st_dev, stat.st_ino))
    return known


def _passed_over_whole(folder: Path) -> str:
    if (folder / "fifth.json").is_file() or (folder / "plan" / "000000.jsonl").is_file():
        return "a dataset made by Fifth, no recordings"
    info = folder / "meta" / "info.json"
    if info.is_file():
        try:
            if "codebase_version" in json.loads(info.read_text("utf-8")):
                return "a LeRobot dataset: not read yet"
        except (ValueError, OSError):
            return ""
    return ""


def _is_bag_folder(folder: Path) -> bool:
    metadata = folder / "metadata.yaml"
    if not metadata.is_file():
        return False
    with metadata.open("rb") as file:
        return b"rosbag2_bagfile_information" in file.read(65536)


def _bag_folder(folder: Path, name: PurePosixPath) -> Iterator[Candidate]:
    files = sorted(e.name for e in folder.iterdir() if e.is_file() and not e.name.startswith("."))
    groups = group_bag_files(folder, files)
    paths = [path for group in groups for path in group.paths]
    yield Candidate(str(name), "bag", tuple(paths) or (folder / "metadata.yaml",))


def _files(folder: Path, files: list[str], walk: Walk, name_of: Callable[[str], str]) -> Iterator[Candidate]:
    """Sort one folder's files into bags, media with their sidecar text, and the rest."""
    bags, media, rest = [], [], []
    for file in files:
        path = folder / file
        if is_bag(path) or claims_to_be_bag(path):
            bags.append(file)
        elif path.suffix.lower() in MEDIA_ENDINGS or has_media_signature(path):
            media.append(file)
        else:
            rest.append(file)
    for group in group_bag_files(folder, bags):
        yield Candidate(name_of(group.name), "bag", tuple(group.paths))
    beside = {file: Path(file) for file in rest if Path(file).suffix.lower() in SIDECAR_ENDINGS}
    for file in media:
        sidecars = sorted(text for text, path in beside.items() if path.stem == Path(file).stem)
        yield Candidate(name_of(file), "media", (folder / file,), tuple(folder / text for text in sidecars))
    stems = {Path(file).stem for file in media}
    walk.passed_over["no recording"] += sum(
        not (file in beside and beside[file].stem in stems) for file in rest
    )


def has_media_signature(path: Path) -> bool:
    """Say whether a file begins like a container that can be told apart from anything else."""
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError:
        return False
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"moof") and len(head) >= 16:
        return True
    if head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"WAVE"):
        return True
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return True
    if len(head) > 3 * 188 and {head[0], head[188], head[376]} == {0x47}:
        return True  # MPEG transport stream: a sync byte every 188 bytes
    return head.startswith(_SIGNATURES)


_SIGNATURES = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM (EBML)
    b"OggS",
    b"fLaC",
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01",  # MXF
    b"caff",
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"DKIF",  # IVF
    b"YUV4MPEG2",
)
