"""What a dataset holds, joined from plan and records.

Plan and records only ever grow, and later lines override earlier ones:

- a task line may name tasks that it supersedes: those, their records and their shards don't exist;
- a quarantine line is a failure until a later task line takes the same clips again;
- a recording line takes the place of earlier ones of the same name whose id is the same, unknown, or
  listed in its `replaces`, together with what was said of them in earlier parts (a retry).

The join lives in a temporary SQLite file, which the system removes with the process: memory does not
grow with the dataset.
"""

from __future__ import annotations

import errno
import hashlib
import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from shards.errors import DamagedDataset
from shards.folder import FORMAT, DatasetFolder, shard_name
from shards.keys import recording_number
from shards.layout import Layout
from shards.provenance import are_types
from shards.shapes import SHARD_LINE, misfit

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE recordings (place INTEGER PRIMARY KEY, name TEXT, id TEXT, part INTEGER, status TEXT,
    duplicate_of TEXT, layout TEXT, origin_ns INTEGER, stop_ns INTEGER, clips INTEGER, about TEXT,
    UNIQUE (name, id));
CREATE TABLE told_anew (name TEXT, id TEXT, part INTEGER);
CREATE TABLE incidents (place INTEGER PRIMARY KEY, kind TEXT, name TEXT, id TEXT, part INTEGER, line TEXT);
CREATE TABLE passed_over (part INTEGER, reason TEXT, count INTEGER);
CREATE TABLE quarantined (id TEXT, first INTEGER, count INTEGER, name TEXT, part INTEGER, line TEXT);
CREATE TABLE tasks (task INTEGER PRIMARY KEY, layout TEXT, part INTEGER);
CREATE TABLE superseded (task INTEGER PRIMARY KEY);
CREATE TABLE records (task INTEGER PRIMARY KEY);
CREATE TABLE shards (task INTEGER PRIMARY KEY, line TEXT);
CREATE TABLE results (id TEXT, task INTEGER, clips INTEGER, samples INTEGER, seconds_ns INTEGER);
CREATE INDEX told_anew_names ON told_anew (name);
CREATE INDEX incident_names ON incidents (name);
CREATE INDEX result_ids ON results (id);
"""
_STALE = """
DELETE FROM incidents WHERE EXISTS (SELECT 1 FROM told_anew AS t
    WHERE t.name = incidents.name AND t.id = incidents.id AND t.part > incidents.part)
"""
_STILL_QUARANTINED = """
INSERT INTO incidents (kind, name, id, part, line)
    SELECT 'failure', name, id, part, line FROM quarantined ORDER BY rowid
"""
_INCIDENT_FIELDS = {"recording": "", "id": "", "track": "", "start_ns": 0, "stop_ns": 0, "cause": ""}
_COMMON_CAUSES = 100
_WRONG_VALUES = (sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.DataError)
_MISFITS = (KeyError, TypeError, ValueError, AttributeError, OverflowError, *_WRONG_VALUES)
"""What comes of a line that is JSON, but not what it must be."""

Json = dict[str, Any]


class Ledger:
    """Plan and records of a dataset, read when it is made. Close it, or use it as a context manager."""

    def __init__(self, folder: DatasetFolder, without: Collection[int] = ()) -> None:
        """Read plan and records.

        Args:
            folder: of the dataset.
            without: tasks whose records are not read, as if they were not done.

        Raises:
            DamagedDataset: they can't be read, or don't fit each other.
            OSError: the disk of temporary files is full.
        """
        self.head: Json = {}
        """From part 0: configuration and its digest."""
        self.fifth = ""
        """The version that planned last."""
        self.layouts: dict[str, Json] = {}
        """Per layout: itself (`layout`), samples, shards, bytes, seconds_ns, tokens, provenance."""
        self.counts: Json = {}
        """The sum of what the records counted."""
        self.records_sha256 = ""
        """sha256 over a line `NUMBER.json SHA256` per record, in order: no record can change unseen."""
        self._folder, self._without = folder, frozenset(without)
        self._db = sqlite3.connect("")
        try:
            self._db.executescript(_SCHEMA)
            self._read_plan()
            self._read_records()
            self._db.execute(_STALE)
        except sqlite3.OperationalError as error:  # of the machine, not of the dataset
            words = (
                f"a temporary file can't be written ({error}): make room, or name another folder in TMPDIR"
            )
            raise OSError(errno.ENOSPC, words) from error

    def close(self) -> None:
        """Drop the temporary file."""
        self._db.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # What is in it

    @property
    def tasks(self) -> dict[str, int]:
        """Return how many tasks are planned, done and superseded."""
        planned = self._one("SELECT count(*) FROM tasks")
        superseded = self._one("SELECT count(*) FROM superseded")
        return {"planned": planned - superseded, "done": self._done, "superseded": superseded}

    @property
    def finished(self) -> bool:
        """Whether every planned task is done."""
        return self.tasks["planned"] == self._done

    def shards(self) -> Iterator[Json]:
        """Yield the lines of `tables/shards.jsonl`, in the order of the tasks."""
        for (line,) in self._db.execute("SELECT line FROM shards ORDER BY task"):
            yield json.loads(line)

    def recordings(self) -> Iterator[Json]:
        """Yield the lines of `tables/recordings.jsonl`, in the order of the plan."""
        finished = self.finished
        columns = "name, id, status, duplicate_of, layout, origin_ns, stop_ns, clips, about"
        for row in self._db.execute(f"SELECT {columns} FROM recordings ORDER BY place"):  # noqa: S608 # no input
            name, content_id, planned, duplicate_of, layout, origin_ns, stop_ns, clips, facts = row
            samples, seconds_ns, clips_done, tasks = self._results(content_id if planned == "planned" else "")
            status = self._status(planned, name, content_id, samples)
            if not finished and planned == "planned" and clips_done < clips:
                status = "pending"
            yield {
                "recording": name,
                "id": content_id,
                "status": status,
                "duplicate_of": duplicate_of,
                "layout": layout,
                "origin_ns": origin_ns,
                "stop_ns": stop_ns,
                "samples": samples,
                "seconds": seconds_ns / 1e9,
                "seconds_ns": seconds_ns,
                "shards": [shard_name(layout, task) for task in tasks],
                "about": json.loads(facts),
            }

    def incidents(self) -> Iterator[Json]:
        """Yield the lines of `tables/failures.jsonl`: failures and notes, the plan's, then the records'."""
        for (line,) in self._db.execute("SELECT line FROM incidents ORDER BY place"):
            yield json.loads(line)

    def causes(self, kind: str) -> dict[str, int]:
        """Return how often each cause was given: the 100 most frequent, the rest as "other causes".

        Args:
            kind: `failure` or `note`.
        """
        found = self._db.execute(
            "SELECT json_extract(line, '$.cause') AS cause, count(*) AS n FROM incidents WHERE kind = ?"
            " GROUP BY cause ORDER BY n DESC, cause",
            (kind,),
        )
        counts = dict(found.fetchmany(_COMMON_CAUSES))
        rest = sum(count for _, count in found)
        return counts | ({"other causes": rest} if rest else {})

    def passed_over(self) -> dict[str, int]:
        """Return how many files were passed over and why, in the last planning that says so."""
        rows = self._db.execute(
            "SELECT reason, sum(count) FROM passed_over WHERE part = (SELECT max(part) FROM passed_over)"
            " GROUP BY reason ORDER BY reason"
        )
        return dict(rows.fetchall())

    # How it gets there

    def _read_plan(self) -> None:
        part = -1
        for line in self._folder.read_plan():
            kind = line["kind"]
            try:
                if kind == "part":
                    part = self._read_head(line, part)
                elif kind == "layout":
                    self._read_layout(line["layout"])
                elif kind == "recording":
                    self._read_recording(line, part)
                elif kind in ("failure", "note"):
                    self._read_incident(kind, line, part)
                elif kind == "passed_over":
                    row = (part, line["reason"], line["count"])
                    self._db.execute("INSERT INTO passed_over VALUES (?, ?, ?)", row)
                elif kind == "task":
                    self._read_task(line, part)
                else:  # `read_plan` gives no other
                    self._read_quarantine(line, part)
            except _MISFITS as error:
                raise self._damaged(
                    f"plan part {part}: a line of kind {kind!r} lacks or mistypes {error}"
                ) from error
        self._db.execute(_STILL_QUARANTINED)
        if not self.head:
            raise self._damaged("it has no plan")

    def _read_head(self, line: Json, part: int) -> int:
        if line["part"] != part + 1:
            raise self._damaged(f"plan part {line['part']} follows part {part}")
        if line["format"] != FORMAT:
            raise self._damaged(
                f"its format is {line['format']}; this version of Fifth reads format {FORMAT}"
            )
        self.head = self.head or {key: line[key] for key in ("configuration", "configuration_digest")}
        self.fifth = line["fifth"]
        number: int = line["part"]
        return number

    def _read_layout(self, layout: Json) -> None:
        known = self.layouts.get(layout["name"])
        if known is not None and known["layout"] != layout:
            raise self._damaged(f"layout {layout['name']!r} is planned twice, and differently")
        checked = Layout.from_json(layout)
        self.layouts[checked.name] = {
            "layout": layout,
            "samples": 0,
            "shards": 0,
            "bytes": 0,
            "seconds_ns": 0,
            "tokens": dict.fromkeys(checked.tracks, 0),
            "provenance": {},
        }

    def _read_recording(self, line: Json, part: int) -> None:
        name, content_id = line["recording"], line["id"]
        if line["status"] == "planned":
            recording_number(content_id)  # its samples' keys begin with it
        for old in {content_id, "", *line.get("replaces", ())}:
            self._db.execute("DELETE FROM recordings WHERE name = ? AND id = ?", (name, old))
            self._db.execute("INSERT INTO told_anew VALUES (?, ?, ?)", (name, old, part))
        row = (name, content_id, part, line["status"], line.get("duplicate_of", ""), line.get("layout", ""))
        times = (line.get("origin_ns", 0), line.get("stop_ns", 0), line.get("clips", 0))
        query = "INSERT INTO recordings VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        self._db.execute(query, (*row, *times, json.dumps(line.get("about", {}))))

    def _read_incident(self, kind: str, line: Mapping[str, Any], part: int) -> None:
        row = (kind, line.get("recording", ""), line.get("id", ""), part, _incident_text(kind, line))
        self._db.execute("INSERT INTO incidents (kind, name, id, part, line) VALUES (?, ?, ?, ?, ?)", row)

    def _read_quarantine(self, line: Json, part: int) -> None:
        clips = (line["id"], line["first"], line["count"])
        row = (*clips, line["recording"], part, _incident_text("failure", line))
        self._db.execute("INSERT INTO quarantined VALUES (?, ?, ?, ?, ?, ?)", row)

    def _read_task(self, line: Json, part: int) -> None:
        self._db.execute("INSERT INTO tasks VALUES (?, ?, ?)", (line["task"], line["layout"], part))
        for old in line.get("supersedes", ()):
            self._db.execute("INSERT OR IGNORE INTO superseded VALUES (?)", (old,))
        for clips in line.get("clips", ()):
            freed = (clips["id"], clips["first"], clips["count"])
            self._db.execute("DELETE FROM quarantined WHERE (id, first, count) = (?, ?, ?)", freed)

    def _read_records(self) -> None:
        digest = hashlib.sha256()
        self._done = 0
        planned = "SELECT layout, task IN (SELECT task FROM superseded) FROM tasks WHERE task = ?"
        numbers = ((task,) for task in self._folder.iter_tasks_done() if task not in self._without)
        self._db.executemany("INSERT INTO records VALUES (?)", numbers)  # sorted there, not in memory
        for (task,) in self._db.execute("SELECT task FROM records ORDER BY task"):
            row = self._db.execute(planned, (task,)).fetchone()
            if row is None:
                raise self._damaged(f"records/{task:06d}.json is of a task that is not in the plan")
            layout, superseded = row
            if superseded:
                continue
            record, sha256 = self._folder.read_record_and_hash(task)
            digest.update(f"{task:06d}.json {sha256}\n".encode())
            self._done += 1
            try:
                self._read_record(task, layout, record, sha256)
            except _MISFITS as error:
                raise self._damaged(f"records/{task:06d}.json lacks or mistypes {error}") from error
        self.records_sha256 = digest.hexdigest()

    def _read_record(self, task: int, layout: str, record: Json, sha256: str) -> None:
        if record["task"] != task or record["layout"] != layout:
            raise self._damaged(
                f"records/{task:06d}.json is of task {record['task']}, layout {record['layout']!r}"
            )
        shard = record["shard"]
        if shard is not None:
            self._add_shard(task, layout, shard, sha256)
        samples = sum(result["samples"] for result in record["recordings"])
        if samples != (shard["samples"] if shard else 0):
            raise self._damaged(f"records/{task:06d}.json counts {samples} samples, and others in its shard")
        for result in record["recordings"]:
            row = (result["id"], task, result["clips"], result["samples"], result["seconds_ns"])
            self._db.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?)", row)
        for kind in ("failure", "note"):
            for line in record[f"{kind}s"]:
                self._read_incident(kind, line, record["part"])
        self.counts = _summed(self.counts, record["counts"])

    def _add_shard(self, task: int, layout: str, shard: Json, record_sha256: str) -> None:
        if shard["name"] != shard_name(layout, task):
            raise self._damaged(f"records/{task:06d}.json names shard {shard['name']!r}")
        figures = self.layouts[layout]
        provenance = shard["provenance"]
        if not (provenance == {} or are_types(provenance)):
            raise self._damaged(f"shard {shard['name']} has {provenance!r:.200} as the types of its json")
        if figures["provenance"] not in ({}, provenance):
            raise self._damaged(
                f"the samples of shard {shard['name']} have other keys or types in their json than those of "
                f"the shards of layout {layout!r} before it: {provenance}, {figures['provenance']}"
            )
        figures["provenance"] = provenance
        figures["shards"] += 1
        for name in ("samples", "bytes", "seconds_ns"):
            figures[name] += shard[name]
        for track, count in shard["tokens"].items():
            figures["tokens"][track] += count
        facts = {key: value for key, value in shard.items() if key != "provenance"}
        line = facts | {"task": task, "layout": layout, "record_sha256": record_sha256}
        if what := misfit(line, SHARD_LINE):
            raise self._damaged(f"records/{task:06d}.json: shard: {what}")
        self._db.execute("INSERT INTO shards VALUES (?, ?)", (task, json.dumps(line)))

    def _results(self, content_id: str) -> tuple[int, int, int, list[int]]:
        """Return samples, seconds_ns, clips and the tasks with samples of a recording."""
        samples = seconds_ns = clips = 0
        tasks: list[int] = []
        query = "SELECT task, samples, seconds_ns, clips FROM results WHERE id = ? ORDER BY task"
        for task, task_samples, task_ns, task_clips in self._db.execute(query, (content_id,)):
            samples += task_samples
            seconds_ns += task_ns
            clips += task_clips
            if task_samples:
                tasks.append(task)
        return samples, seconds_ns, clips, tasks

    def _status(self, planned: str, name: str, content_id: str, samples: int) -> str:
        if planned != "planned":
            return planned
        query = "SELECT 1 FROM incidents WHERE kind = 'failure' AND name = ? AND id IN (?, '') LIMIT 1"
        failed = self._db.execute(query, (name, content_id)).fetchone() is not None
        if samples:
            return "partial" if failed else "ok"
        return "failed" if failed else "empty"

    def _one(self, query: str) -> int:
        value: int = self._db.execute(query).fetchone()[0]
        return value

    def _damaged(self, what: str) -> DamagedDataset:
        return DamagedDataset(f"{self._folder.path}: {what}")


def _incident_text(kind: str, line: Mapping[str, Any]) -> str:
    """Return the line of `tables/failures.jsonl` for a failure or a note."""
    return json.dumps({"kind": kind} | {key: line.get(key, empty) for key, empty in _INCIDENT_FIELDS.items()})


def _summed(a: Json, b: Json) -> Json:
    """Return two trees of counts added up."""
    total = dict(a)
    for key, value in b.items():
        total[key] = (
            _summed(total.get(key, {}), value) if isinstance(value, dict) else total.get(key, 0) + value
        )
    return total
