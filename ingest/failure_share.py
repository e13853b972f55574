"""A rising share of recordings with failures ends a run: something is wrong with more than the recordings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ingest.errors import WrongUse
from ingest.on_disk import temporary_database

LEAST_RECORDINGS = 20
"""Of fewer nothing is concluded."""


class FailureShare:
    """Counts recordings, and those of them with failures, each once.

    Args:
        most: the largest share that is accepted, from 0 to 1; 1: nothing is counted.
    """

    def __init__(self, most: float = 1.0) -> None:
        if not 0 <= most <= 1:
            raise WrongUse(f"--max-failure-share must be from 0 to 1, got {most:g}")
        self.most = most
        self.finished = self.failed = 0
        schema = "CREATE TABLE seen (id TEXT PRIMARY KEY, failed INTEGER) WITHOUT ROWID"
        self._database = temporary_database(self, schema) if most < 1 else None

    def count(self, content: str, failed: bool) -> None:
        """Count a recording; one of many tasks comes again and again, and has failed if it ever did."""
        if self._database is None:
            return
        new = self._database.execute("INSERT OR IGNORE INTO seen VALUES (?, 0)", (content,)).rowcount
        self.finished += new
        if failed:
            query = "UPDATE seen SET failed = 1 WHERE id = ? AND failed = 0"
            self.failed += self._database.execute(query, (content,)).rowcount

    def count_task(self, result: Mapping[str, Any]) -> None:
        """Count the recordings of a task by its result."""
        failed = set(result["failed"])
        for content in result["recordings"]:
            self.count(content, content in failed)

    @property
    def verdict(self) -> str:
        """Why the run must end; empty: it may go on."""
        if self.finished < LEAST_RECORDINGS or self.failed <= self.most * self.finished:
            return ""
        return (
            f"{self.failed} of {self.finished} recordings have failures ({self.failed / self.finished:.1%}), "
            f"more than --max-failure-share {self.most:g}"
        )


class PlanningStopped(Exception):
    """Ends a planning, and nothing of it is kept; the message says why."""


def judged(lines: Iterable[dict[str, Any]], strict: bool, most: float) -> Iterator[dict[str, Any]]:
    """Pass plan lines on, until the first failure where that must end it, or too many recordings fail.

    Raises:
        PlanningStopped: then.
    """
    share, content, failed = FailureShare(most), "", False
    for line in lines:
        if strict and line["kind"] == "failure":
            raise PlanningStopped(
                f"at the first failure (--strict): {line['recording']}: {line['cause']}; nothing was planned"
            )
        if line["kind"] == "recording" and line["status"] != "duplicate":
            content, failed = line["id"], line["status"] == "failed"
            share.count(content, failed)
        elif line["kind"] == "failure" and line["id"] == content:
            share.count(content, failed=True)
        if share.verdict:
            raise PlanningStopped(
                f"{share.verdict}, the last one {line.get('recording', '')}; nothing was planned"
            )
        yield line
