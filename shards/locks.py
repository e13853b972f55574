"""Who may write a dataset: one run alone, or parts of one plan beside each other.

    .lock           exclusive: a run that plans, writes or finishes; shared: every part
    .locks/2-of-8   exclusive: one part
    .locks/plan     exclusive, for moments: a part that adds to the plan

They are flock's: the system lets go of them when the process ends, however it ends; on a shared file system
its server does, for a machine that is gone after some time (NFS: about 90 seconds).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from shards.canonical_json import json_line
from shards.errors import CannotCreate, DatasetLocked
from shards.regular_file import open_regular

LOCK = ".lock"
FOLDER = ".locks"
PLAN = "plan"
PLAN_SECONDS = 600.0
"""How long a part may wait for the others' turns to add to the plan; each takes milliseconds."""
APPEND_SECONDS = 2.0
_POLL_SECONDS = 0.2
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL}
_PART = re.compile(r"(\d+)-of-(\d+)")


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold a dataset alone.

    Raises:
        DatasetLocked: another run, or a part, holds it; the message says which process.
        CannotCreate: the file system has no locks.
    """
    import fcntl  # where there is none (Windows), reading still works

    with (path / LOCK).open("a+b") as file:
        if not _take(file, fcntl.LOCK_EX):
            parts = ", ".join(f"part {name} ({who})" for name, who in parts_at_work(path).items())
            who = parts or f"another run ({_holder(file)})"
            verb = "are writing" if ", part " in parts else "is writing"
            raise DatasetLocked(f"{path}: {who} {verb} this dataset; wait until it ends, or stop it")
        _sign(file)
        remove_part_locks(path)  # no part is there, so none has them open
        try:
            yield
        finally:
            remove_part_locks(path)
            file.truncate(0)


@contextmanager
def as_part(path: Path, name: str, wait_seconds: float, waiting: Callable[[str], None]) -> Iterator[None]:
    """Hold one part of a dataset's work beside others.

    Args:
        path: the dataset's folder.
        name: of the part, such as `2-of-8`.
        wait_seconds: how long to wait for a run that holds the dataset alone.
        waiting: told once who is waited for.

    Raises:
        DatasetLocked: it is held alone for longer than that; somebody else is at this part; or a part of
            another division is at work, which would do the same tasks.
        CannotCreate: the file system has no locks.
    """
    import fcntl

    until, told = time.monotonic() + wait_seconds, False
    with (path / LOCK).open("a+b") as shared:
        while not _take(shared, fcntl.LOCK_SH):
            who = f"{path}: another run ({_holder(shared)}) is planning or writing this dataset"
            if time.monotonic() >= until:
                raise DatasetLocked(f"{who}; waited {wait_seconds:g} s for it; try again when it has ended")
            if not told:
                waiting(f"{who}; waiting for it, {wait_seconds:g} s at most")
                told = True
            time.sleep(_POLL_SECONDS)
        (path / FOLDER).mkdir(exist_ok=True)
        with (path / FOLDER / name).open("a+b") as file:
            looks = 10  # another part may be looking, for a moment, whether this one is at work
            while not _take(file, fcntl.LOCK_EX):
                looks -= 1
                if not looks:
                    raise DatasetLocked(f"{path}: part {name} is at work already ({_holder(file)})")
                time.sleep(_POLL_SECONDS / 4)
            _sign(file)
            try:
                _refuse_other_divisions(path, name)
                yield
            finally:
                file.truncate(0)


@contextmanager
def plan_turn(path: Path) -> Iterator[None]:
    """Hold the right to add to the plan beside other parts; wait for it. Hold the dataset, or a part of it.

    Raises:
        DatasetLocked: somebody has held it for ten minutes.
    """
    import fcntl

    until = time.monotonic() + PLAN_SECONDS
    (path / FOLDER).mkdir(exist_ok=True)
    with (path / FOLDER / PLAN).open("a+b") as file:
        while not _take(file, fcntl.LOCK_EX):
            if time.monotonic() >= until:
                raise DatasetLocked(f"{path}: the plan is being written by {_holder(file)} for too long")
            time.sleep(_POLL_SECONDS / 4)
        _sign(file)
        try:
            yield
        finally:
            file.truncate(0)


@contextmanager
def turn_to_append(file: BinaryIO) -> Iterator[None]:
    """Hold a file for appending a line, so that those of several machines do not mix.

    Where that is not to be had (no locks, or somebody stopped in the middle), the line is appended anyway.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    until = time.monotonic() + APPEND_SECONDS
    with contextlib.suppress(CannotCreate):
        while not _take(file, fcntl.LOCK_EX) and time.monotonic() < until:
            time.sleep(_POLL_SECONDS / 20)
    yield


def parts_at_work(path: Path) -> dict[str, str]:
    """Return the parts that are held now, with who holds them."""
    import fcntl

    held = {}
    for entry in sorted((path / FOLDER).glob("*-of-*"), key=lambda entry: _numbers(entry.name)):
        with contextlib.suppress(FileNotFoundError), open_regular(entry) as file:
            if not _take(file, fcntl.LOCK_SH):
                held[entry.name] = _holder(file)
    return held


def remove_part_locks(path: Path) -> None:
    """Remove the parts' lock files. Hold the dataset alone."""
    for entry in (path / FOLDER).glob("*"):
        entry.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        (path / FOLDER).rmdir()


def _refuse_other_divisions(path: Path, name: str) -> None:
    # both of two that begin at once have their own lock before they look: at least one sees the other
    others = {
        part: who for part, who in parts_at_work(path).items() if _numbers(part)[1] != _numbers(name)[1]
    }
    for part, who in others.items():
        raise DatasetLocked(
            f"{path}: part {part} ({who}) is at work, and {name} would do some of its tasks; wait until it "
            "ends, or take a part of the same division"
        )


def _numbers(name: str) -> tuple[int, int]:
    match = _PART.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _take(file: BinaryIO, kind: int) -> bool:
    import fcntl

    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno == errno.EACCES:  # how some file systems say that it is held
            return False
        if error.errno in _NO_LOCKS:
            raise CannotCreate(
                f"{file.name}: this file system has no locks ({error.strerror}); mount it with them, or "
                "make the dataset elsewhere"
            ) from error
        raise
    return True


def _sign(file: BinaryIO) -> None:
    file.truncate(0)
    file.write(json_line({"pid": os.getpid(), "host": os.uname().nodename}))
    file.flush()


def _holder(file: BinaryIO) -> str:
    file.seek(0)
    try:
        who = json.loads(file.read())
        return f"process {who['pid']} on {who['host']}"
    except (ValueError, KeyError, TypeError):
        return "just started"
