"""What a plan says, kept in dictionaries: the slow, obvious twin of `ingest.plan_state`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ingest.plan_state import KEPT, clips_of

Line = dict[str, Any]


class PlanInMemory:
    """Reads all lines of a plan, and keeps all of them."""

    def __init__(self, lines: Iterable[Line], clip_ns: int) -> None:
        self.layouts: list[str] = []
        self.ids: dict[str, str] = {}
        self.recordings: dict[str, Line] = {}
        self.infos: dict[str, Line] = {}
        self.told: set[tuple[str, str]] = set()
        self.all_tasks: dict[int, Line] = {}
        self.superseded: set[int] = set()
        self.parts: dict[int, int] = {}
        self.quarantined: dict[tuple[str, int, int], Line] = {}
        self.clip_ns = clip_ns
        part = 0
        for line in lines:
            if line["kind"] == "part":
                part = line["part"]
            elif line["kind"] == "recording":
                self.ids[line["recording"]] = line["id"]
                if line["status"] != "duplicate":
                    self.recordings[line["id"]] = {key: line[key] for key in KEPT}
                    self.infos[line["id"]] = line["info"] or self.infos.get(line["id"], {})
            elif line["kind"] in ("failure", "note") and not line["id"]:
                self.told.add((line["recording"], line["cause"]))
            elif line["kind"] == "task":
                self.superseded |= set(line.get("supersedes", ()))
                self.all_tasks[line["task"]] = line
                self.parts[line["task"]] = part
                for entry in line["clips"]:
                    self.quarantined.pop(clips_of(entry), None)
            elif line["kind"] == "quarantine":
                self.quarantined[clips_of(line)] = line

    @property
    def tasks(self) -> dict[int, Line]:
        return {n: line for n, line in self.all_tasks.items() if n not in self.superseded}

    def root(self, number: int) -> int:
        """Return the first task in the chain that ends in this one."""
        old = self.all_tasks[number].get("supersedes", ())
        return min((self.root(task) for task in old), default=number)

    def share(self, i: int, n: int) -> list[int]:
        return sorted(task for task in self.tasks if self.root(task) % n == i)

    def length_ns(self, numbers: Iterable[int]) -> int:
        return sum(self._clip_lengths(entry) for n in numbers for entry in self.tasks[n]["clips"])

    def _clip_lengths(self, entry: Line) -> int:
        recording = self.recordings[entry["id"]]
        return sum(self._lengths(recording, entry["first"], entry["count"]))

    def _lengths(self, recording: Line, first: int, count: int) -> Iterator[int]:
        for clip in range(first, first + count):
            start_ns = recording["origin_ns"] + clip * self.clip_ns
            yield min(recording["stop_ns"], start_ns + self.clip_ns) - start_ns
