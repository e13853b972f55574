"""Parts of one plan, for many machines that share a file system: a Slurm array, a Kubernetes indexed job.

    fifth shard INPUT... DATASET --part 3/8      a share of the tasks, beside the other parts, in any order
    fifth finish DATASET                         tables and manifest of what all parts have done

The plan is made once, by whoever holds the dataset alone first (`--plan-only`, or the first part; the others
wait for it). Which tasks are whose follows from their numbers. A part adds to the plan only what replaces a
task of its own (quarantine), in turns with the others; what replaces a task belongs to the same part.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ingest.errors import WrongUse
from ingest.plan_state import PlanState
from shards import DatasetFolder, DatasetLocked, dataset_info
from shards.dataset_files import folder_of

POLL_SECONDS = 0.5
MOST_LISTED = 10


@dataclass(frozen=True)
class Part:
    """One of so many parts of a plan, from 1."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise WrongUse(f"--part I/N takes I from 1 to N, got {self}")

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read `3/8`."""
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
        if match is None:
            raise WrongUse(f"--part takes I/N, such as 3/8, got {text!r}")
        return cls(int(match[1]), int(match[2]))

    @property
    def share(self) -> tuple[int, int]:
        """Which tasks are its own: those whose number is i modulo n."""
        return self.number - 1, self.of

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True)
class Scope:
    """How much of the work a run takes: everything; the planning alone; a part of what is planned."""

    part: Part | None = None
    plan_only: bool = False
    wait_seconds: float = 3600.0
    """How long a part waits for a run that holds the dataset alone, such as the one that plans it."""

    def __post_init__(self) -> None:
        if self.part and self.plan_only:
            raise WrongUse("--part takes a share of a plan, --plan-only makes it: give one of them")


def await_plan(
    folder: DatasetFolder, plan: Callable[[], None], wait_seconds: float, say: Callable[[str], None]
) -> None:
    """See that there is a plan: make it, or wait for who makes it.

    Args:
        folder: the dataset's.
        plan: makes it, holding the dataset alone; it may find nothing to plan.
        wait_seconds: how long to wait.
        say: told once who is waited for.

    Raises:
        DatasetLocked: there is none after that time.
    """
    until, told = time.monotonic() + wait_seconds, False
    while not folder.plan_parts():
        try:
            with folder.lock():
                if not folder.plan_parts():
                    plan()
                return
        except DatasetLocked as error:
            if time.monotonic() >= until:
                raise DatasetLocked(f"waited {wait_seconds:g} s for the plan: {error}") from error
            if not told:
                say(f"waiting for the plan, {wait_seconds:g} s at most: {error}")
                told = True
        time.sleep(POLL_SECONDS)
        folder.refresh()


@dataclass(frozen=True)
class Finished:
    """What a dataset holds after `finish_dataset`, and what it lacks."""

    info: dict[str, Any]
    """As `shards.dataset_info` gives it."""
    missing: int = 0
    """Tasks that are not done."""
    some_missing: list[int] = field(default_factory=list)
    """The first of them."""


def finish_dataset(dataset: Path | str, most: int | None = None) -> Finished:
    """Merge what all parts have done into tables and manifest. May be done at any time, again and again.

    Args:
        dataset: its folder.
        most: at most so many entries in the info's lists; None: all.

    Raises:
        DatasetLocked: parts, or another run, are at work; the message says which.
        shards.ShardsError: no dataset is there, or it is damaged.
    """
    folder = folder_of(dataset)
    folder.refresh()
    folder.check()
    with folder.lock():
        folder.remove_leftovers()
        folder.finish()
        state = PlanState(folder)
        state.mark_done(folder.iter_tasks_done())
        figures = state.figures()
        some = list(islice(state.pending(), MOST_LISTED))
    return Finished(dataset_info(dataset, most), figures["tasks"] - figures["done"], some)
