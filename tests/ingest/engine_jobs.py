"""Jobs that the engine's tests run in workers: what goes well there, and what goes wrong."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ingest.engine.local import Job, Outcome

Argument = dict[str, Any]
Progress = Callable[[Argument], None]


def job(function: str, **argument: Any) -> Job:
    return Job(f"engine_jobs:{function}", argument)


def doubles(count: int) -> list[Job]:
    return [job("double", number=number) for number in range(count)]


def numbers(outcomes: Iterable[Outcome]) -> list[int]:
    return [outcome.result["number"] for outcome in outcomes]


def double(argument: Argument, progress: Progress) -> Argument:
    return {"number": 2 * argument["number"], "process": os.getpid()}


def slow_first(argument: Argument, progress: Progress) -> Argument:
    """Wait until the file `until` is there, if one is named."""
    if argument.get("until"):
        _await(Path(argument["until"]))
    if argument.get("makes"):
        Path(argument["makes"]).touch()
    return {"number": argument["number"]}


def begin_and_wait(argument: Argument, progress: Progress) -> Argument:
    """Make the file `makes`, and wait until the file `until` is there."""
    Path(argument["makes"]).touch()
    _await(Path(argument["until"]))
    return {"number": argument["number"]}


def wait_forever(argument: Argument, progress: Progress) -> Argument:
    progress({"process": os.getpid()})
    time.sleep(60)
    return {}


def die(argument: Argument, progress: Progress) -> Argument:
    how = argument["how"]
    if how == "exits":
        os._exit(3)
    if how == "calls exit":
        sys.exit(4)
    os.kill(os.getpid(), getattr(signal, how))
    time.sleep(60)
    return {}


def fail(argument: Argument, progress: Progress) -> Argument:
    if argument["how"] == "raises":
        raise ValueError("caf\udce9 is no text")
    if argument["how"] == "silently":
        raise KeyError
    if argument["how"] == "broken pipe":
        raise BrokenPipeError("of the job's own")
    return {"no": {"JSON"}}


def report(argument: Argument, progress: Progress) -> Argument:
    for step in range(argument["steps"]):
        progress({"step": step})
    return {}


def much(argument: Argument, progress: Progress) -> Argument:
    return {"text": argument["text"] * argument["times"]}


def surroundings(argument: Argument, progress: Progress) -> Argument:
    return {"path": sys.path, "threads": os.environ["OMP_NUM_THREADS"], "input": sys.stdin.read()}


def tuple_inside(argument: Argument, progress: Progress) -> Argument:
    argument["numbers"].append(4)
    return {"pair": (1, argument["numbers"])}


def _await(path: Path) -> None:
    for _ in range(3000):
        if path.exists():
            return
        time.sleep(0.01)
    raise TimeoutError(f"{path.name} was never made")


def hang(argument: Argument, progress: Progress) -> Argument:
    """Do nothing, or be busy with nothing."""
    while argument["how"] == "busy":
        pass
    time.sleep(600)
    return {}


def tell_slowly(argument: Argument, progress: Progress) -> Argument:
    """Take longer than a hang may, but say so; or read, which is a sign of life too."""
    for _ in range(8):
        time.sleep(0.25)
        if argument["how"] == "reads":
            Path(__file__).read_bytes()
        else:
            progress({})
    return {}


def grow(argument: Argument, progress: Progress) -> Argument:
    """Take this much memory, and wait."""
    taken = bytearray(argument["size_bytes"])
    taken[::4096] = b"1" * len(taken[::4096])
    time.sleep(argument["seconds"])
    return {"taken": len(taken)}
