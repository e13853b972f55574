"""Who hears how a run goes on: the progress display, the stream of events, the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Listener:
    """Hears how a run goes on; the command line's progress display is one. Does nothing by itself."""

    def run_began(self, facts: Mapping[str, Any]) -> None:
        """Hear where and how the run goes: `host`, `workers`, `versions`, `configuration_digest` …"""

    def working(self, processes: Callable[[], Sequence[int]]) -> None:
        """Hear how to ask, at any time and from any thread, for the ids of the workers' processes."""

    def say(self, line: str) -> None:
        """Hear something that a person should know."""

    def examined(self, name: str) -> None:
        """Hear that a recording was looked at."""

    def planned(self, tasks: int, media_ns: int, done_ns: int) -> None:
        """Hear how much there is to do and how much was done before."""

    def task_began(self, task: int) -> None:
        """Hear that a worker has been given a task."""

    def progressed(self, media_ns: int, clips: int) -> None:
        """Hear that so much more media is encoded."""

    def task_ended(self, result: Mapping[str, Any]) -> None:
        """Hear that a task is done: its result (`ingest.task.run_task`), with `task` and `seconds`."""

    def task_failed(self, task: int, kind: str, why: str, again: bool) -> None:
        """Hear that a task was not done.

        Args:
            task: its number.
            kind: `failed`, or how its worker ended: `died`, `hung`, `grew`.
            why: what is wrong, in words.
            again: whether it is tried again.
        """

    def quarantined(self, line: Mapping[str, Any]) -> None:
        """Hear that clips of a recording were set apart: the plan's line."""

    def run_ended(self, facts: Mapping[str, Any]) -> None:
        """Hear how the run ended: `how`, `seconds`, `tasks_run`, `unfinished` …"""


class Listeners(Listener):
    """Several listeners as one; each hears everything, in their order."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def run_began(self, facts: Mapping[str, Any]) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.run_began(facts)

    def working(self, processes: Callable[[], Sequence[int]]) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.working(processes)

    def say(self, line: str) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.say(line)

    def examined(self, name: str) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.examined(name)

    def planned(self, tasks: int, media_ns: int, done_ns: int) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.planned(tasks, media_ns, done_ns)

    def task_began(self, task: int) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.task_began(task)

    def progressed(self, media_ns: int, clips: int) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.progressed(media_ns, clips)

    def task_ended(self, result: Mapping[str, Any]) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.task_ended(result)

    def task_failed(self, task: int, kind: str, why: str, again: bool) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.task_failed(task, kind, why, again)

    def quarantined(self, line: Mapping[str, Any]) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.quarantined(line)

    def run_ended(self, facts: Mapping[str, Any]) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.run_ended(facts)
