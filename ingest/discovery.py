"""Walking folders: which files are recordings, and what each is called.

A file is a recording by its content (a signature of a container that can be told apart), or because
its ending claims so; the latter must be answered for when it can't be read. Everything else is passed
over and counted, and only regular files are ever opened. Folders are walked in sorted order, hidden
files left out, links followed once. What can't be read costs itself and no more.
"""

from __future__ import annotations

import contextlib
import heapq
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Literal

from ingest.errors import CannotOpen
from ingest.media_signatures import MEDIA_ENDINGS, has_media_signature
from ingest.on_disk import Names
from ingest.remote_files import RemoteFile
from ingest.sources.bag_files import METADATA, BagGroup, claims_to_be_bag, group_bag_files, is_bag
from ingest.sources.lerobot_meta import lerobot_version, read_lerobot
from ingest.sources.sidecar import ENDINGS as SIDECAR_ENDINGS


@dataclass(frozen=True)
class Candidate:
    """Something that is, or claims to be, one recording."""

    name: str
    r"""Its recording name. Bytes that are no UTF-8 stand in it as `\xff`."""
    kind: Literal["media", "bag", "episode"]
    paths: tuple[Path, ...]
    """Its files in order (of a bag folder: the storage files)."""
    sidecars: tuple[Path, ...] = ()
    """Text files beside it."""
    episode: int | None = None
    """Its index in the LeRobot dataset that the files belong to."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that its content is made of, in order."""
        return (*self.paths, *self.sidecars)


@dataclass
class Walk:
    """What walking the inputs found besides recordings; complete when the walk is over."""

    passed_over: Counter[str] = field(default_factory=Counter)
    """Files that are no recordings, by reason."""
    notes: list[tuple[str, str]] = field(default_factory=list)
    """(name, cause): folders passed over on purpose."""
    failures: list[tuple[str, str]] = field(default_factory=list)
    """(name, cause): what this user may not read, or the disk does not give."""

    def note(self, name: PurePosixPath | str, cause: str) -> None:
        """Keep a note on a file or folder, by its name."""
        self.notes.append((_as_text(str(name)), cause))

    def failure(self, name: PurePosixPath | str, error: OSError) -> None:
        """Keep a file or folder that can't be read, by its name."""
        cause = f"can't be read ({(error.strerror or str(error)).lower()})"
        self.failures.append((_as_text(str(name)), cause))


def find_recordings(
    inputs: Sequence[Path],
    walk: Walk,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    skip: Path | None = None,
) -> Iterator[Candidate]:
    """Yield the recordings below the inputs, in sorted order, each with its own name.

    Args:
        inputs: files, bag folders and folders. With several, names begin with the input's base name. Those
            on object stores (`ingest.remote_files`) are walked in the same order (`ingest.remote_walk`).
        walk: filled with what was passed over.
        include: globs on recording names; with any, only those that match one are taken.
        exclude: globs on recording names; those that match one are left out.
        skip: a folder that is not entered: the dataset that is being made.

    Raises:
        FileNotFoundError: an input does not exist.
    """
    for given in inputs:
        if not isinstance(given, RemoteFile) and not given.exists():
            raise FileNotFoundError(f"no such file or folder: {given}")
    walker = _Walker(walk, skip)
    taken = Names()
    for given in inputs:
        prefix = own_name(given) if len(inputs) > 1 else PurePosixPath()
        for found in walker.below(given, own_name(given), prefix):
            candidate = replace(found, name=_as_text(found.name))
            if include and not any(fnmatch(candidate.name, glob) for glob in include):
                walk.passed_over["not included"] += 1
            elif any(fnmatch(candidate.name, glob) for glob in exclude):
                walk.passed_over["excluded"] += 1
            else:
                yield replace(candidate, name=_free_name(candidate.name, taken))


def own_name(given: Path) -> PurePosixPath:
    """Return what an input is called."""
    if isinstance(given, RemoteFile):
        return PurePosixPath(given.name)
    return PurePosixPath(Path(os.path.abspath(given)).name)  # noqa: PTH100 (`resolve` follows links)


def _as_text(name: str) -> str:
    """Return a path as text that JSON and terminals can hold, whatever bytes it has."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _free_name(name: str, taken: Names) -> str:
    """Return the name, or the first of `name-2`, `name-3` … that is free, and take it."""
    free, count = name, 1
    while not taken.add(free):
        count += 1
        free = f"{name}-{count}"
    return free


class _Walker:
    """Walks inputs; knows which folders it has been in and which links it has followed."""

    def __init__(self, walk: Walk, skip: Path | None) -> None:
        self._walk = walk
        self._seen: set[tuple[int, int]] = set()
        self._skip = skip
        self._skipped = _identity(skip) if skip is not None and skip.is_dir() else None

    def below(self, given: Path, own: PurePosixPath, prefix: PurePosixPath) -> Iterator[Candidate]:
        """Yield what one input holds: `own` is its name, `prefix` begins the names of what is in it."""
        if isinstance(given, RemoteFile):
            from ingest.remote_walk import remote_recordings  # it needs this module

            yield from remote_recordings(given, own, prefix, self._walk, self._skip)
        elif given.is_dir():
            yield from self._folder(given, own, prefix)
        elif given.is_file():
            for _, candidate in _files(given.parent, [given.name], self._walk, lambda _: own):
                beside = _texts_beside(given) if candidate.kind == "media" else ()
                yield replace(candidate, sidecars=beside)
        else:
            self._walk.note(own, "a pipe, socket or device, no file")

    def _folder(self, folder: Path, own: PurePosixPath, name: PurePosixPath) -> Iterator[Candidate]:
        """Yield what a folder holds: one recording if it is a bag, and what else is in it."""
        try:
            if _identity(folder) == self._skipped:
                return
            if self._is_seen(folder):
                self._walk.passed_over["folder seen already"] += 1
                return
            if lerobot_version(folder):
                yield from _episodes(folder, own, name, self._walk)
                return
            reason = _passed_over_whole(folder)
            if reason:
                self._walk.note(own, reason)
                return
            files, folders = self._entries(folder, name)
            group = bag_of_folder(folder, files)
        except OSError as error:
            self._walk.failure(own, error)
            return
        if group:
            yield Candidate(str(own), "bag", group.paths)
            files = [file for file in files if file != METADATA and folder / file not in group.paths]
        inside = _files(folder, files, self._walk, lambda file: name / file)
        below = heapq.merge(inside, ((entry, None) for entry in folders), key=lambda found: found[0])
        for entry, candidate in below:
            if candidate is not None:
                yield candidate
            else:
                yield from self._folder(folder / entry, name / entry, name / entry)

    def _entries(self, folder: Path, name: PurePosixPath) -> tuple[list[str], list[str]]:
        """Return the names of a folder's files and folders, each sorted; mention what is neither."""
        files, folders, others = _listed(folder)
        for entry in (folder / other for other in others):
            try:
                if entry.is_dir():
                    folders.append(entry.name)
                elif not entry.is_file():
                    broken = entry.is_symlink() and not entry.exists()
                    self._walk.passed_over["broken link" if broken else "pipe, socket or device"] += 1
                elif self._is_seen(entry):
                    self._walk.passed_over["link to a file seen already"] += 1
                else:
                    files.append(entry.name)
            except OSError as error:  # a link to where we may not look
                self._walk.failure(name / entry.name, error)
        return sorted(files), sorted(folders)

    def _is_seen(self, path: Path) -> bool:
        """Say whether a folder or a link's target was met before; plain files are never asked."""
        identity = _identity(path)
        known = identity in self._seen
        self._seen.add(identity)
        return known


def _identity(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_dev, stat.st_ino


def _listed(folder: Path) -> tuple[list[str], list[str], list[str]]:
    """Return the names of a folder's plain files, folders, and of what else is in it; the last sorted.

    Names, not paths: a folder may hold a million.
    """
    files: list[str] = []
    folders: list[str] = []
    others: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            kind = others
            with contextlib.suppress(OSError):  # it is asked again, by itself
                if entry.is_dir(follow_symlinks=False):
                    kind = folders
                elif entry.is_file(follow_symlinks=False):
                    kind = files
            kind.append(entry.name)
    return files, folders, sorted(others)


def _passed_over_whole(folder: Path) -> str:
    """Return why nothing in a folder is looked at; empty if it is."""
    if (folder / "fifth.json").is_file() or (folder / "plan" / "000000.jsonl").is_file():
        return "a dataset made by Fifth, no recordings"
    return ""


def _episodes(folder: Path, own: PurePosixPath, name: PurePosixPath, walk: Walk) -> Iterator[Candidate]:
    """Yield the episodes of a LeRobot dataset; those whose rows are not here are one failure."""
    try:
        episodes = read_lerobot(folder).episodes
    except CannotOpen as error:
        walk.failures.append((_as_text(str(own)), str(error)))
        return
    missing = []
    for episode in episodes:
        if not episode.data.is_file():
            missing.append(str(episode.index))
            continue
        paths = tuple(path for path in episode.files if path.is_file())
        yield Candidate(str(name / f"episode_{episode.index:06d}"), "episode", paths, (), episode.index)
    if missing:
        some = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
        cause = f"{len(missing)} of {len(episodes)} episodes have no data file here (episodes {some})"
        walk.failures.append((_as_text(str(own)), cause))


def bag_of_folder(folder: Path, files: Sequence[str]) -> BagGroup | None:
    """Return the files that `metadata.yaml` makes one recording; None for a folder that is no bag."""
    if METADATA not in files:
        return None
    with (folder / METADATA).open("rb") as file:
        if b"rosbag2_bagfile_information" not in file.read(65536):
            return None
    groups = group_bag_files(folder, files)
    if not groups:  # nothing but metadata: a failure, to be told as one
        return BagGroup(folder.name, (folder / METADATA,))
    listed = [group for group in groups if group.name == folder.name]
    if not listed and len(groups) > 1:
        return None
    group = (listed or groups)[0]
    for path in group.paths:
        path.open("rb").close()  # one that can't be read costs the bag, here and not later
    return group


def _texts_beside(file: Path) -> tuple[Path, ...]:
    """Return the text that a single file's folder holds for it."""
    paths = [file.with_suffix(cased) for ending in SIDECAR_ENDINGS for cased in (ending, ending.upper())]
    found = {_identity(path): path for path in paths if path.is_file()}  # case may not matter here
    return tuple(sorted(found.values()))


def _files(
    folder: Path, files: Sequence[str], walk: Walk, name_of: Callable[[str], PurePosixPath]
) -> Iterator[tuple[str, Candidate]]:
    """Sort one folder's files into bags, media with their sidecar text, and the rest.

    Yields:
        The recordings with their (first) file, sorted by it.
    """
    bags, media, rest = [], [], []
    for file in files:
        path = folder / file
        try:
            if is_bag(path) or claims_to_be_bag(path):
                bags.append(file)
            elif has_media_signature(path) or path.suffix.lower() in MEDIA_ENDINGS:
                media.append(file)
            else:
                rest.append(file)
        except OSError as error:
            walk.failure(name_of(file), error)
    groups = {group.name: group.paths for group in group_bag_files(folder, bags)}
    beside: dict[str, list[str]] = {}
    for file in rest:
        if Path(file).suffix.lower() in SIDECAR_ENDINGS:
            beside.setdefault(Path(file).stem, []).append(file)
    for file in sorted([*groups, *media]):
        if file in groups:
            yield file, Candidate(str(name_of(file)), "bag", groups[file])
        else:
            texts = tuple(folder / text for text in sorted(beside.get(Path(file).stem, ())))
            yield file, Candidate(str(name_of(file)), "media", (folder / file,), texts)
    used = set(chain.from_iterable(beside.get(Path(file).stem, ()) for file in media))
    walk.passed_over["no recording"] += len(rest) - len(used)
