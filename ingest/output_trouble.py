"""What no task can go on without: a folder to write to, with room in it."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Protocol

from ingest.engine.local import Outcome

_NUMBER = re.compile(r"\[Errno (\d+)\]")
_WORDS = {
    errno.ENOSPC: "the disk is full: make room, then run the same command again",
    errno.EDQUOT: "your share of the disk is used up: make room, then run the same command again",
    errno.EROFS: "the disk of the dataset has become read-only: mend that, then run the same command again",
}


class Output(Protocol):
    """A `shards.DatasetFolder`."""

    path: Path

    def plan_parts(self) -> list[int]:
        """Return the numbers of the plan's parts."""
        ...


def stop_without_output(output: Output, outcome: Outcome) -> None:
    """Raise where a task was not done for a reason that would keep all others from being done.

    Raises:
        OSError: the disk is full or read-only, or the dataset's folder is gone.
    """
    number = _NUMBER.search(outcome.result["error"])
    code = int(number[1]) if number else 0
    if code in _WORDS:
        raise OSError(code, _WORDS[code])
    if code and not (output.path / "plan").is_dir():
        words = "the dataset's folder is gone; when it is back, run the same command again"
        raise OSError(errno.ENOENT, words)
