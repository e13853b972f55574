"""Which sample of which dataset goes to which place of which shard: a temporary SQLite file.

Samples are ordered by split, layout and, with `shuffle`, by a hash of seed and key: a permutation of all
samples that depends on nothing else, neither on how they lie in shards nor on which others there are.
Sorting is SQLite's, on disk where it is large: memory does not grow with the samples.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.chosen_tracks import Chosen
from shards.condition import Condition
from shards.errors import CannotReshard
from shards.keys import recording_number
from shards.reader import Dataset, Sample, Shard
from shards.splits import split_of
from shards.tar import BLOCK_BYTES

Json = dict[str, Any]
Array = npt.NDArray[Any]

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE recordings (place INTEGER PRIMARY KEY, name TEXT, id TEXT, number INTEGER, status TEXT,
    duplicate_of TEXT, origin_ns INTEGER, stop_ns INTEGER, about TEXT, UNIQUE (name, id));
CREATE INDEX recording_numbers ON recordings (number);
CREATE TABLE samples (split TEXT, layout TEXT, turn INTEGER, rank BLOB, source INTEGER, shard INTEGER,
    row INTEGER, bytes INTEGER, recording INTEGER, start_ns INTEGER, UNIQUE (recording, start_ns));
CREATE TABLE placed (place INTEGER PRIMARY KEY, source INTEGER, shard INTEGER, row INTEGER);
CREATE TABLE tasks (task INTEGER, split TEXT, layout TEXT, first INTEGER, stop INTEGER);
"""


@dataclass(frozen=True)
class Task:
    """One shard to be written."""

    number: int
    layout: str
    first: int
    """Place of its first sample among all."""
    stop: int


@dataclass(frozen=True)
class Wanted:
    """Which samples are wanted, and in which order."""

    shares: Mapping[str, float]
    """Of the splits; one of the name "" where there are none."""
    condition: Condition | None
    seed: int | None
    """Of the permutation; None: in the order of the sources."""
    shard_bytes: int


class Order:
    """The order of all samples of several datasets. Close it, or use it as a context manager."""

    def __init__(self, wanted: Wanted) -> None:
        self.left_out = 0
        """Samples that the condition does not take, or of whose tracks nothing is kept."""
        self.double = 0
        """Samples that a dataset given earlier holds already."""
        self._wanted = wanted
        self._turns: dict[str, int] = {}
        self._db = sqlite3.connect("")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Drop the temporary file."""
        self._db.close()

    def __enter__(self) -> Order:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Filling it

    def add_recording(self, line: Json) -> None:
        """Take up a line of a dataset's table of recordings."""
        number = _signed(recording_number(line["id"])) if line["id"] else 0
        first = self._db.execute(
            "SELECT name FROM recordings WHERE id = ? AND id != ''", (line["id"],)
        ).fetchone()
        status, duplicate_of = line["status"], line["duplicate_of"]
        if line["samples"]:
            status = "planned"
        if first is not None and first[0] != line["recording"] and status == "planned":
            status, duplicate_of = "duplicate", first[0]
        row = (
            line["recording"],
            line["id"],
            number,
            status,
            duplicate_of,
            line["origin_ns"],
            line["stop_ns"],
            json.dumps(line.get("about", {})),
        )
        self._db.execute("INSERT OR IGNORE INTO recordings VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def add_shard(self, source: int, number: int, shard: Shard, chosen: Chosen) -> None:
        """Take up the samples of a shard. The recordings of its dataset are known."""
        layout = chosen.layout.name
        turn = self._turns.setdefault(layout, len(self._turns))
        rows = shard.rows
        sizes = _sizes(rows, chosen)
        keep = np.ones(len(rows), bool)
        if not chosen.whole:  # a clip in which none of the tracks that are kept says anything
            keep = np.any([rows[f"{track}:valid"] > 0 for track in chosen.layout.tracks], axis=0)
        found = []
        columns = zip(keep, rows["recording"], rows["start_ns"], sizes, strict=True)
        for place, (kept, recording, start_ns, size_bytes) in enumerate(columns):
            recording, start_ns = int(recording), int(start_ns)
            if not kept or not self._fits(shard, place, chosen):
                self.left_out += 1
                continue
            split = split_of(recording, self._wanted.shares)
            rank = self._rank(recording, start_ns)
            ids = (_signed(recording), start_ns)
            found.append((split, layout, turn, rank, source, number, place, int(size_bytes), *ids))
        before = self._db.total_changes
        query = "INSERT OR IGNORE INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        self._db.executemany(query, found)
        self.double += len(found) - (self._db.total_changes - before)

    def arrange(self) -> None:
        """Put all samples in order and cut them into tasks.

        Raises:
            CannotReshard: a recording has samples in two layouts.
        """
        twice = self._db.execute(
            "SELECT recording, min(layout), max(layout) FROM samples GROUP BY recording"
            " HAVING min(layout) != max(layout) LIMIT 1"
        ).fetchone()
        if twice is not None:
            name = self._recording(twice[0])[0]
            raise CannotReshard(
                f"recording {name} has samples in layout {twice[1]!r} and in {twice[2]!r}; "
                "a recording has one layout in a dataset: leave one of the datasets out"
            )
        self._db.execute(
            "INSERT INTO placed SELECT NULL, source, shard, row FROM samples"
            " ORDER BY split, turn, rank, source, shard, row"
        )
        for split in self._wanted.shares:
            self._cut(split)

    def _cut(self, split: str) -> None:
        """Cut the samples of a split into tasks: as few shards as may be, of about equal size."""
        sums = "SELECT layout, turn, sum(bytes), count(*) FROM samples WHERE split = ? GROUP BY layout, turn"
        number = 0
        before = "SELECT count(*) FROM samples WHERE split < ? OR (split = ? AND turn < ?)"
        for layout, turn, total, count in sorted(self._db.execute(sums, (split,)), key=lambda row: row[1]):
            first = place = 1 + int(self._db.execute(before, (split, split, turn)).fetchone()[0])
            shards = -(-total // self._wanted.shard_bytes)
            sizes = "SELECT bytes FROM samples WHERE split = ? AND turn = ? ORDER BY rank, source, shard, row"
            done = cut = 0
            for (size_bytes,) in self._db.execute(sizes, (split, turn)):
                done += size_bytes
                place += 1
                if done * shards >= total * (cut + 1):
                    self._add_task(number, split, layout, first, place)
                    number, cut, first = number + 1, done * shards // total, place
            assert first == place, f"{count} samples end with a shard: the sums are integers"

    def _add_task(self, *values: Any) -> None:
        self._db.execute("INSERT INTO tasks VALUES (?, ?, ?, ?, ?)", values)

    # Reading it

    def tasks(self, split: str) -> Iterator[Task]:
        """Yield the tasks of a split."""
        query = "SELECT task, layout, first, stop FROM tasks WHERE split = ? ORDER BY task"
        for row in self._db.execute(query, (split,)):
            yield Task(*row)

    def places(self, task: Task) -> Iterator[tuple[int, int, int]]:
        """Yield source, number of the shard and row of a task's samples, in order."""
        query = "SELECT source, shard, row FROM placed WHERE place >= ? AND place < ? ORDER BY place"
        yield from self._db.execute(query, (task.first, task.stop))

    def recordings(self, split: str) -> Iterator[Json]:
        """Yield the plan's lines of the recordings of a split."""
        counts = "SELECT count(*), max(layout) FROM samples WHERE recording = ?"
        query = (
            "SELECT name, id, number, status, duplicate_of, origin_ns, stop_ns, about FROM recordings "
            "ORDER BY place"
        )
        for name, content, number, status, duplicate_of, origin_ns, stop_ns, facts in self._db.execute(query):
            if self.split_of_id(content) != split:
                continue
            samples, layout = (
                self._db.execute(counts, (number,)).fetchone() if status == "planned" else (0, "")
            )
            yield {
                "kind": "recording",
                "recording": name,
                "id": content,
                "status": "left_out" if status == "planned" and not samples else status,
                "duplicate_of": duplicate_of,
                "layout": layout or "",
                "origin_ns": origin_ns,
                "stop_ns": stop_ns,
                "clips": samples,
                "about": json.loads(facts),
            }

    def split_of_id(self, content_id: str) -> str:
        """Return the split of a recording; the first one for those of which nothing could be read."""
        if not content_id:
            return next(iter(self._wanted.shares))
        return split_of(recording_number(content_id), self._wanted.shares)

    # How it gets there

    def _rank(self, recording: int, start_ns: int) -> bytes | None:
        if self._wanted.seed is None:
            return None
        text = b"%d %016x %d" % (self._wanted.seed, recording, start_ns)
        return hashlib.blake2b(text, digest_size=16).digest()

    def _fits(self, shard: Shard, place: int, chosen: Chosen) -> bool:
        condition = self._wanted.condition
        return condition is None or condition.holds(self._look_up(shard.sample(place), chosen))

    def _look_up(self, sample: Sample, chosen: Chosen) -> Callable[[str], Any]:
        def value(field: str) -> Any:
            name, _, rest = field.partition(".")
            if name == "tokens":
                kept = {track: sample.tokens[track] for track in chosen.layout.tracks}
                return kept.get(rest, 0) if rest else sum(kept.values())
            if name == "valid":
                return sample.valid.get(rest, 0)
            if name == "json":
                return _at(sample.provenance, rest)
            if name == "layout":
                return sample.layout
            if name == "seconds":
                return (sample.stop_ns - sample.start_ns) / 1e9
            recording, content, origin_ns = self._recording(_signed(sample.recording))
            if name == "start":
                return (sample.start_ns - origin_ns) / 1e9
            return recording if name == "recording" else content

        return value

    def _recording(self, number: int) -> tuple[str, str, int]:
        """Return name, content id and origin of a recording."""
        query = "SELECT name, id, origin_ns FROM recordings WHERE number = ? AND status = 'planned'"
        row: tuple[str, str, int] | None = self._db.execute(query, (number,)).fetchone()
        if row is None:
            raise CannotReshard(f"recording {number % 2**64:016x} is not in tables/recordings.jsonl")
        return row


def sources_of(datasets: Sequence[Dataset]) -> Iterator[tuple[int, int, Json]]:
    """Yield the number of the dataset, of the shard in it, and the shard's facts, for every shard."""
    for source, dataset in enumerate(datasets):
        for number, facts in enumerate(dataset.shard_lines()):
            yield source, number, facts


def _sizes(rows: Array, chosen: Chosen) -> Array:
    """Return the bytes of each sample in the tar; where tracks are left out, a little too many."""
    sizes = np.zeros(len(rows), np.int64)
    for member in chosen.layout.members:
        data = rows[f"{member.name}:size"].astype(np.int64)
        sizes += BLOCK_BYTES + data + -data % BLOCK_BYTES
    return sizes


def _at(value: Any, path: str) -> Any:
    """Return the value at a path of keys and list indexes; None where there is none."""
    for key in path.split("."):
        if isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, dict) and key in value:
            value = value[key]
        else:
            return None
    return value


def _signed(number: int) -> int:
    """Return a uint64 as the int64 of the same bits: SQLite has no other."""
    return number - 2**64 if number >= 2**63 else number
