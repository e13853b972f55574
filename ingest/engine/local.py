"""Runs jobs in processes of this machine, blind to what they do.

A job is a function's name and a JSON object; a result is a JSON object. Nothing else crosses the
border, so nothing that a recording holds is ever unpickled. Workers are spawned, one job at a time
each; one that dies is replaced, and its job comes back as died.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection, wait
from typing import Any, Literal

Progress = Callable[[dict[str, Any]], None]
"""Called in a job with a small JSON object that the caller's `on_progress` gets."""

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""One worker is one thread: results must not depend on how many cores a machine has."""


@dataclass(frozen=True)
class Job:
    """A function, as `package.module:function`, and its one argument."""

    function: str
    argument: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    kind: Literal["done", "failed", "died"]
    result: dict[str, Any]
    """The function's result; of a failed job `error` (its words) and `traceback`."""
    peak_rss_bytes: int = 0
    """The worker's largest resident memory so far."""


class Engine:
    """Processes that run jobs. Use it as a context manager.

    Args:
        workers: how many processes; 0 runs the jobs right here, one after the other.
        on_progress: called with what running jobs report.
    """

    def __init__(self, workers: int, on_progress: Progress | None = None) -> None:
        self._count = workers
        self._on_progress = on_progress or (lambda _: None)
        self._workers: list[_Worker] = []

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes at once; what they were doing is lost."""
        for worker in self._workers:
            worker.end()
        self._workers = []

    def run(self, jobs: Iterator[Job], in_order: bool = False) -> Iterator[Outcome]:
        """Yield the outcome of every job, as they end or in the order they were given.

        Jobs are taken from the iterator when a worker is free; few more than there are workers are
        under way or waiting to be yielded.
        """
        if self._count == 0:
            yield from (self._here(job) for job in jobs)
            return
        jobs = iter(jobs)
        waiting: deque[_Ticket] = deque()
        exhausted = False
        while True:
            while not exhausted and len(waiting) < 4 * self._count:
                worker = self._free_worker()
                if worker is None:
                    break
                job = next(jobs, None)
                if job is None:
                    exhausted = True
                    break
                ticket = _Ticket(job)
                waiting.append(ticket)
                worker.start(ticket)
            if exhausted and not waiting:
                return
            ready = _ready(waiting, in_order)
            if not ready:
                self._listen()
            yield from ready

    def _free_worker(self) -> _Worker | None:
        for worker in self._workers:
            if worker.ticket is None:
                return worker
        if len(self._workers) < self._count:
            self._workers.append(_Worker())
            return self._workers[-1]
        return None

    def _listen(self) -> None:
        busy = {worker.connection: worker for worker in self._workers if worker.ticket}
        for connection in wait(list(busy)):
            worker = busy[connection]  # type: ignore[index]
            message = worker.hear()
            if message is not None and message["kind"] == "progress":
                self._on_progress(message["result"])
            elif message is None:
                self._workers.remove(worker)

    def _here(self, job: Job) -> Outcome:
        try:
            return Outcome(job, "done", call(job, self._on_progress), peak_rss_bytes())
        except Exception as error:
            return Outcome(job, "failed", _told(error))


class _Ticket:
    """A job under way and, in the end, its outcome."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.outcome: Outcome | None = None


def _ready(waiting: deque[_Ticket], in_order: bool) -> list[Outcome]:
    """Take the ended jobs out of the queue: all, or in order those before the first still under way."""
    ended = []
    for ticket in list(waiting):
        if ticket.outcome is not None:
            waiting.remove(ticket)
            ended.append(ticket.outcome)
        elif in_order:
            break
    return ended


class _Worker:
    """One process and the pipe to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, os.getpid()), daemon=True)
        before = {name: os.environ.get(name) for name in ONE_THREAD}
        os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # read when the libraries are loaded
        try:
            self.process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        theirs.close()
        self.ticket: _Ticket | None = None

    def start(self, ticket: _Ticket) -> None:
        self.ticket = ticket
        job = ticket.job
        try:
            self.connection.send_bytes(_pack({"function": job.function, "argument": job.argument}))
        except OSError:  # it died while idle: hear() will say so
            return

    def hear(self) -> dict[str, Any] | None:
        """Return the next message; None when the process has died."""
        assert self.ticket is not None
        try:
            message: dict[str, Any] = json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.process.join(timeout=5)
            how = _how_it_died(self.process.exitcode)
            self.ticket.outcome = Outcome(self.ticket.job, "died", {"error": how})
            self.ticket = None
            self.end()
            return None
        if message["kind"] != "progress":
            self.ticket.outcome = Outcome(
                self.ticket.job, message["kind"], message["result"], message["peak_rss_bytes"]
            )
            self.ticket = None
        return message

    def end(self) -> None:
        self.process.kill()
        self.process.join(timeout=5)
        self.connection.close()


def _how_it_died(code: int | None) -> str:
    if code is None:
        return "the worker process hung while ending"
    if code < 0:
        names = {signal.SIGKILL: "killed (out of memory?)", signal.SIGSEGV: "segmentation fault"}
        return f"the worker process died: {names.get(signal.Signals(-code), signal.Signals(-code).name)}"
    return f"the worker process ended with exit code {code}"


def _work(connection: Connection, parent: int) -> None:
    """Run jobs until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    _die_with_parent(parent)

    def tell(kind: str, result: dict[str, Any]) -> None:
        connection.send_bytes(_pack({"kind": kind, "result": result, "peak_rss_bytes": peak_rss_bytes()}))

    while True:
        try:
            message = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            job = Job(message["function"], message["argument"])
            tell("done", call(job, lambda report: tell("progress", report)))
        except BrokenPipeError:
            return
        except Exception as error:
            tell("failed", _told(error))


def call(job: Job, progress: Progress) -> dict[str, Any]:
    """Run one job in this process."""
    module, _, function = job.function.partition(":")
    result: dict[str, Any] = getattr(import_module(module), function)(job.argument, progress)
    return result


def _told(error: Exception) -> dict[str, Any]:
    words = str(error) or type(error).__name__
    return {"error": words, "type": type(error).__name__, "traceback": traceback.format_exc()}


def _pack(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def peak_rss_bytes() -> int:
    """Return the largest resident memory that this process has had."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes on Linux


def _die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when its parent dies, so that nothing goes on writing."""
    if sys.platform != "linux":
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)
