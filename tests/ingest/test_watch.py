"""A process that does nothing any more is told from one that was given no time."""

from __future__ import annotations

import os
import sys

import pytest

from ingest.engine import watch
from ingest.engine.watch import Limits, Watch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of other processes")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watch, "time", clock)
    return clock


def verdicts(clock: Clock, steps: list[float]) -> list[bool]:
    """Look at a process that never moves (there is none) after each of these seconds."""
    looked = Watch(1 << 30, Limits(stall_seconds=3))
    looked.verdict()
    found = []
    for step in steps:
        clock.now += step
        found.append(looked.verdict() is not None)
    return found


def test_silence_is_a_hang_once_it_was_watched_for_long_enough(clock: Clock) -> None:
    """Looks that are close together add up to the limit, and not before."""
    assert verdicts(clock, [0.5] * 8) == [False] * 6 + [True] * 2


def test_a_machine_that_slept_blames_nobody(clock: Clock) -> None:
    """An hour between two looks counts as one second."""
    assert verdicts(clock, [3600, 0.5, 3600, 0.5, 0.5]) == [False] * 4 + [True]


def test_who_waited_for_a_processor_was_not_still(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time in which a process was ready and others had the processor does not count."""
    waited = iter([0.0, 0.9, 1.8, 2.7, 3.6, 3.6, 3.6, 3.6, 3.6])
    monkeypatch.setattr(watch, "_starved_seconds", lambda _: next(waited))
    assert verdicts(clock, [0.9] * 8) == [False] * 7 + [True]


def test_a_sign_of_life_begins_the_silence_anew(clock: Clock) -> None:
    """Bytes read are one: this process reads them when it looks at itself."""
    looked = Watch(os.getpid(), Limits(stall_seconds=3))
    for _ in range(10):
        clock.now += 0.9
        assert looked.verdict() is None
