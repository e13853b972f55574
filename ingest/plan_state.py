"""What a dataset's plan says so far: by name, by content, by task. On disk, for there may be millions.

The lines themselves stay in the plan; here is where each of them is. What is asked for again and again
(layouts, quarantine, what was said of files that are no recordings) is small and in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol

from ingest.configuration import Configuration
from ingest.decoders.promised import MISFITS
from ingest.errors import IngestError
from ingest.layouts import identity
from ingest.on_disk import temporary_database

Line = dict[str, Any]
Place = tuple[int, int]

Clips = tuple[str, int, int]
"""Content id, number of the first clip, how many."""

KEPT = ("recording", "id", "status", "origin_ns", "stop_ns")
"""What is known of a recording without looking into the plan."""

_SCHEMA = """
CREATE TABLE names (name TEXT PRIMARY KEY, id TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX name_ids ON names (id);
CREATE TABLE recordings (id TEXT PRIMARY KEY, recording TEXT, status TEXT, origin_ns INTEGER, stop_ns INTEGER,
    part INTEGER, offset INTEGER) WITHOUT ROWID;
CREATE TABLE tasks (task INTEGER PRIMARY KEY, part INTEGER, offset INTEGER, root INTEGER, length_ns INTEGER,
    done INTEGER DEFAULT 0);
"""
_LEARN = """
INSERT INTO recordings VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    recording = excluded.recording, status = excluded.status,
    origin_ns = excluded.origin_ns, stop_ns = excluded.stop_ns,
    part = coalesce(excluded.part, part), offset = coalesce(excluded.offset, offset)
"""
_BATCH = 1000


class PlanFiles(Protocol):
    """The plan's parts: a `shards.DatasetFolder`."""

    def placed_plan_lines(self, first_part: int = 0) -> Iterator[tuple[Place, Line]]:
        """Yield the lines of the parts from one on, each with its place."""
        ...

    def plan_line(self, place: Place) -> Line:
        """Return the line at a place."""
        ...


def clips_of(line: Line) -> Clips:
    """Return which clips an entry of a task, or a quarantine line, speaks of."""
    return line["id"], line["first"], line["count"]


class PlanState:
    """What the plan parts so far say; empty for a new dataset.

    Args:
        files: the plan; None: there is none, and will be none.
    """

    def __init__(self, files: PlanFiles | None = None) -> None:
        self.configuration: Configuration | None = None
        self.layouts: dict[str, Line] = {}
        """Identity to layout."""
        self.told: set[tuple[str, str]] = set()
        """(name, cause) of what was said of files and folders that are no recordings."""
        self.quarantined: dict[Clips, Line] = {}
        """Which clips of which recording no task tries any more, and why."""
        self.next_task = 0
        self._files, self._next_part = files, 0
        self._database = temporary_database(self, _SCHEMA)
        self.catch_up()

    def catch_up(self) -> None:
        """Read the plan parts that have been written since."""
        if self._files is None:
            return
        for place, line in self._files.placed_plan_lines(self._next_part):
            self._next_part = place[0] + 1
            try:
                self._read(line, place)
            except MISFITS as error:
                words = f"a line lacks or mistypes something ({type(error).__name__}: {error})"
                raise IngestError(f"plan part {place[0]}: {words}; `fifth verify` says more") from error

    def _read(self, line: Line, place: Place) -> None:
        kind = line["kind"]
        if kind == "part":
            self.configuration = self.configuration or Configuration(line["configuration"])
        elif kind == "layout":
            self.layouts[identity(line["layout"])] = line["layout"]
        elif kind == "recording":
            self.learn(line, place)
        elif kind in ("failure", "note") and not line["id"]:
            self.told.add((line["recording"], line["cause"]))
        elif kind == "task":
            self._read_task(line, place)
        elif kind == "quarantine":
            self.quarantined[clips_of(line)] = line

    # Recordings

    def learn(self, line: Line, place: Place | None = None) -> None:
        """Take note of a recording's line.

        Args:
            line: as in the plan.
            place: where it is; None: it has yet to be written.
        """
        self._database.execute("INSERT OR REPLACE INTO names VALUES (?, ?)", (line["recording"], line["id"]))
        if line["status"] != "duplicate":
            row = (line["id"], line["recording"], line["status"], line["origin_ns"], line["stop_ns"])
            where = place if place and line["info"] else (None, None)
            self._database.execute(_LEARN, (*row, *where))

    def id_of(self, name: str) -> str:
        """Return the content id that a recording name has; empty where there is none."""
        row = self._database.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def names_of(self, content: str) -> list[str]:
        """Return the names that a content has, sorted."""
        rows = self._database.execute("SELECT name FROM names WHERE id = ? ORDER BY name", (content,))
        return [name for (name,) in rows]

    def recording(self, content: str) -> Line | None:
        """Return what is kept of a recording's line; None where the plan has none."""
        query = f"SELECT {', '.join(KEPT)} FROM recordings WHERE id = ?"  # noqa: S608 # no input
        row = self._database.execute(query, (content,)).fetchone()
        return dict(zip(KEPT, row, strict=True)) if row else None

    def planned(self, content: str) -> Line:
        """Return what is kept of a recording's line.

        Raises:
            IngestError: the plan has no such recording.
        """
        found = self.recording(content)
        if found is None:
            raise IngestError(f"the plan has a task for a recording that it does not list ({content[:16]})")
        return found

    def info(self, content: str) -> Line:
        """Return what was learned of a recording when it was examined, from its line in the plan."""
        query = "SELECT part, offset FROM recordings WHERE id = ?"
        row = self._database.execute(query, (content,)).fetchone()
        if row is None or row[0] is None or self._files is None:
            raise IngestError(f"the plan does not say what was found in a recording ({content[:16]})")
        info: Line = self._files.plan_line((row[0], row[1]))["info"]
        return info

    # Tasks

    def _read_task(self, line: Line, place: Place) -> None:
        number, old = line["task"], line.get("supersedes", ())
        roots = [self._root(task) for task in old]
        self._database.executemany("DELETE FROM tasks WHERE task = ?", ((task,) for task in old))
        for entry in line["clips"]:
            self.quarantined.pop(clips_of(entry), None)
        row = (number, *place, min(roots, default=number), self._length_ns(line))
        self._database.execute("INSERT INTO tasks VALUES (?, ?, ?, ?, ?, 0)", row)
        self.next_task = max(self.next_task, number + 1)

    def _root(self, task: int) -> int:
        row = self._database.execute("SELECT root FROM tasks WHERE task = ?", (task,)).fetchone()
        return int(row[0]) if row else task

    def _length_ns(self, task: Line) -> int:
        assert self.configuration is not None, "a part begins with it"
        clip_ns, total = self.configuration.clip_ns, 0
        for entry in task["clips"]:
            line = self.planned(entry["id"])
            first_ns = line["origin_ns"] + entry["first"] * clip_ns
            total += min(line["stop_ns"], first_ns + entry["count"] * clip_ns) - first_ns
        return total

    def task(self, number: int) -> Line:
        """Return a task's line; superseded ones are gone."""
        assert self._files is not None, "tasks are read from files"
        return self._files.plan_line(self._place_of(number))

    def part_of(self, number: int) -> int:
        """Return the plan part that holds a task."""
        return self._place_of(number)[0]

    def _place_of(self, number: int) -> Place:
        query = "SELECT part, offset FROM tasks WHERE task = ?"
        row = self._database.execute(query, (number,)).fetchone()
        if row is None:
            raise KeyError(number)
        return row[0], row[1]

    def has_task(self, number: int) -> bool:
        """Tell whether there is a task of this number that no other one supersedes."""
        return self._database.execute("SELECT 1 FROM tasks WHERE task = ?", (number,)).fetchone() is not None

    def tasks(self) -> Iterator[Line]:
        """Yield the lines of all tasks, in the order of their numbers."""
        for number in self._numbers("1"):
            yield self.task(number)

    def mark_done(self, numbers: Iterable[int]) -> None:
        """Take note of tasks that have a record; others' numbers do no harm."""
        rows = iter((number,) for number in numbers)
        while batch := list(islice(rows, _BATCH)):
            self._database.executemany("UPDATE tasks SET done = 1 WHERE task = ?", batch)

    def pending(self, share: tuple[int, int] = (0, 1), first: int = 0) -> Iterator[int]:
        """Yield the numbers of the tasks that are not done, ascending.

        Args:
            share: (i, n): those whose first form in the plan (a task may supersede others) is i modulo n.
            first: none before this one.
        """
        return self._numbers("done = 0", share, first)

    def figures(self, share: tuple[int, int] = (0, 1)) -> Mapping[str, int]:
        """Return how many tasks of a share there are, and their media: `tasks`, `done`, `length_ns`,
        `done_ns`.
        """
        query = (
            "SELECT count(*), sum(done), sum(length_ns), sum(length_ns * done) FROM tasks WHERE root % ? = ?"
        )
        row = self._database.execute(query, (share[1], share[0])).fetchone()
        names = ("tasks", "done", "length_ns", "done_ns")
        return {name: value or 0 for name, value in zip(names, row, strict=True)}

    def _numbers(self, which: str, share: tuple[int, int] = (0, 1), first: int = 0) -> Iterator[int]:
        # batch by batch: the plan may grow meanwhile
        query = f"SELECT task FROM tasks WHERE {which} AND task >= ? AND root % ? = ? ORDER BY task LIMIT ?"  # noqa: S608
        while rows := self._database.execute(query, (first, share[1], share[0], _BATCH)).fetchall():
            for (number,) in rows:
                yield number
            first = rows[-1][0] + 1
