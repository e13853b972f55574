"""Which objects below an address are recordings: as in a local folder, by their names alone.

The listing goes into a temporary SQLite file, which the system removes with the process, page by page: it may
be of millions of objects, in any order, with some of them twice. Then folders are walked in the order of
local ones, so that the same recordings give the same plan from either place. Objects are not opened: what has
no ending of a recording is passed over.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath

from ingest.discovery import Candidate, Walk, bag_of_folder
from ingest.errors import WrongUse
from ingest.media_signatures import MEDIA_ENDINGS
from ingest.remote_files import RemoteFile
from ingest.sources.bag_files import METADATA, claims_to_be_bag, group_bag_files
from ingest.sources.sidecar import ENDINGS as SIDECAR_ENDINGS

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE files (folder TEXT, name TEXT, PRIMARY KEY (folder, name)) WITHOUT ROWID;
CREATE TABLE folders (folder TEXT, name TEXT, PRIMARY KEY (folder, name)) WITHOUT ROWID;
"""
_ENTRIES = """
SELECT name, 0 FROM files WHERE folder = :folder UNION ALL
SELECT name, 1 FROM folders WHERE folder = :folder ORDER BY name, 2
"""
_ROWS_AT_ONCE = 1000


def remote_recordings(
    given: RemoteFile, own: PurePosixPath, prefix: PurePosixPath, walk: Walk, skip: Path | None = None
) -> Iterator[Candidate]:
    """Yield what one address holds.

    Args:
        given: an object, or a folder.
        own: what it is called.
        prefix: begins the names of what is in it.
        walk: filled with what was passed over.
        skip: a folder that is not entered: the dataset that is being made.

    Raises:
        WrongUse: a folder of a web server, which can't be listed.
        FileNotFoundError: there is nothing.
        shards.CannotFetch: the listing can't be had.
    """
    is_recording = Path(given.name).suffix.lower() in MEDIA_ENDINGS or claims_to_be_bag(Path(given.name))
    if given.is_web and not is_recording:
        raise WrongUse(f"{given}: a web server's folders can't be listed; give the files (--list FILE)")
    if is_recording and not given.url.endswith("/"):
        if not given.exists():
            raise FileNotFoundError(f"no such object: {given}")
        is_bag = claims_to_be_bag(Path(given.name))
        yield Candidate(str(own), "bag" if is_bag else "media", (given,))
        return
    objects = _Objects(given)
    if not objects.count:
        raise FileNotFoundError(f"no such file or folder: {given}")
    yield from _Folders(given, objects, walk, skip).below("", own, prefix)


class _Objects:
    """The names of all objects below a folder, on disk."""

    def __init__(self, given: RemoteFile) -> None:
        self._db = sqlite3.connect("")
        self._db.executescript(_SCHEMA)
        top = given.key.strip("/")
        cut = len(top) + 1 if top else 0
        self.count = 0
        listed = given.store.listed(top)
        while names := [*islice(listed, _ROWS_AT_ONCE)]:
            self.count += len(names)
            self._keep([name[cut:] for name in names])

    def _keep(self, names: list[str]) -> None:
        files, folders = [], set()
        for name in names:
            parts = name.split("/")
            if any(not part or part.startswith(".") for part in parts):  # hidden, or nameable by no path
                continue
            folder, _, last = name.rpartition("/")
            files.append((folder, last))
            while folder:
                above, _, last = folder.rpartition("/")
                folders.add((above, last))
                folder = above
        self._db.executemany("INSERT OR IGNORE INTO files VALUES (?, ?)", files)
        self._db.executemany("INSERT OR IGNORE INTO folders VALUES (?, ?)", sorted(folders))

    def entries(self, folder: str) -> Iterator[tuple[str, bool]]:
        """Yield the names of what is in a folder, sorted, and whether it is a folder itself."""
        for name, is_folder in self._db.execute(_ENTRIES, {"folder": folder}):
            yield name, bool(is_folder)

    def has(self, path: str) -> bool:
        """Tell whether there is such an object."""
        folder, _, name = path.rpartition("/")
        found = self._db.execute("SELECT 1 FROM files WHERE folder = ? AND name = ?", (folder, name))
        return found.fetchone() is not None

    def with_stem(self, folder: str, stem: str) -> Iterator[str]:
        """Yield the files of a folder whose names are this and one ending, sorted."""
        # "/" comes next after "."
        query = "SELECT name FROM files WHERE folder = ? AND name >= ? AND name < ? ORDER BY name"
        for (name,) in self._db.execute(query, (folder, f"{stem}.", f"{stem}/")):
            if Path(name).stem == stem:
                yield name


class _Folders:
    """Walks what is listed."""

    def __init__(self, given: RemoteFile, objects: _Objects, walk: Walk, skip: Path | None) -> None:
        self._given, self._objects, self._walk = given, objects, walk
        self._skipped = str(skip).rstrip("/")

    def below(self, folder: str, own: PurePosixPath, name: PurePosixPath) -> Iterator[Candidate]:
        """Yield what a folder holds: one recording if it is a bag, and what else is in it."""
        inside = f"{folder}/" if folder else ""
        here = self._given / folder if folder else self._given
        if str(here).rstrip("/") == self._skipped:
            return
        if self._objects.has(f"{inside}fifth.json") or self._objects.has(f"{inside}plan/000000.jsonl"):
            self._walk.note(own, "a dataset made by Fifth, no recordings")
            return
        if self._objects.has(f"{inside}meta/info.json"):
            cause = "a LeRobot dataset is read from a local folder only: copy it there"
            self._walk.failures.append((str(own), cause))
            return
        bags = self._bags(folder, here, own, name)
        yield from bags.pop("", ())
        in_bags = {path.name for groups in bags.values() for group in groups for path in group.paths}
        for entry, is_folder in self._objects.entries(folder):
            if is_folder:
                yield from self.below(f"{inside}{entry}", name / entry, name / entry)
            elif entry in bags:
                yield from bags[entry]
            elif entry not in in_bags and not claims_to_be_bag(Path(entry)):
                yield from self._file(folder, here, entry, name)

    def _bags(
        self, folder: str, here: RemoteFile, own: PurePosixPath, name: PurePosixPath
    ) -> dict[str, list[Candidate]]:
        """Return the bags of a folder by the name of their first file; that which it is itself under ""."""
        entries = self._objects.entries(folder)
        names = [
            entry
            for entry, is_folder in entries
            if not is_folder and (claims_to_be_bag(Path(entry)) or entry == METADATA)
        ]
        whole = bag_of_folder(here, names)
        listed = {path.name for path in whole.paths} if whole else set()
        rest = [entry for entry in names if entry not in listed and entry != METADATA]
        bags = {"": [Candidate(str(own), "bag", whole.paths)]} if whole else {}
        for group in group_bag_files(here, rest):
            bags[group.name] = [Candidate(str(name / group.name), "bag", group.paths)]
        return bags

    def _file(self, folder: str, here: RemoteFile, entry: str, name: PurePosixPath) -> Iterator[Candidate]:
        """Yield a video or sound file with the text beside it."""
        stem, ending = Path(entry).stem, Path(entry).suffix.lower()
        beside = [Path(other) for other in self._objects.with_stem(folder, stem)]
        if ending in MEDIA_ENDINGS:
            texts = tuple(here / other.name for other in beside if other.suffix.lower() in SIDECAR_ENDINGS)
            yield Candidate(str(name / entry), "media", (here / entry,), texts)
        elif entry != METADATA and not (
            ending in SIDECAR_ENDINGS and any(other.suffix.lower() in MEDIA_ENDINGS for other in beside)
        ):
            self._walk.passed_over["no recording"] += 1
