"""Runs jobs in processes of this machine, blind to what they do.

A job is a function's name and a JSON object; a result is a JSON object. Nothing else crosses the
border, so nothing that a recording holds is ever unpickled. Workers are fresh interpreters that run
one job at a time each; one that dies is replaced, and its job comes back as died. They import what
their jobs name, never the caller's script: it needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from ingest.engine.watch import Limits, Watch

Progress = Callable[[dict[str, Any]], None]
"""Called in a job with a small JSON object that the caller's `on_progress` gets."""

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
"""One worker is one thread: results must not depend on how many cores a machine has."""

UNFORESEEN = (
    *(ArithmeticError, AssertionError, AttributeError, BufferError, LookupError, MemoryError, NameError),
    *(RuntimeError, StopIteration, TypeError, ValueError),
)
"""What a function raises that met what it was not written for; errors of ours are none of these."""
WATCH_SECONDS = 0.5
"""How often the workers are looked at when none of them says anything."""

WORKER = "from ingest.engine.local import work; work()"
"""What a worker's interpreter runs, with its end of the pipe and its parent's id as arguments."""


@dataclass(frozen=True)
class Job:
    """A function, as `package.module:function`, and its one argument."""

    function: str
    argument: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    kind: Literal["done", "failed", "died", "hung", "grew"]
    """`failed`: the function raised. `died`, `hung`, `grew`: its process ended, or was ended by `Limits`."""
    result: dict[str, Any]
    """The function's result; else `error` (what is wrong, in words), and `traceback` if it raised."""
    peak_rss_bytes: int = 0
    """The worker's largest resident memory so far."""
    seconds: float = 0.0
    """How long the job took, by the clock."""

    @property
    def ended_its_worker(self) -> bool:
        """Whether the job took its process with it."""
        return self.kind in ("died", "hung", "grew")

    @property
    def is_unforeseen(self) -> bool:
        """Whether the job raised what no function raises on purpose, such as a `TypeError`."""
        return self.kind == "failed" and bool(self.result.get("unforeseen"))


class Engine:
    """Processes that run jobs. Use it as a context manager.

    Args:
        workers: how many processes; 0 runs the jobs right here, one after the other.
        on_progress: called with what running jobs report.
        limits: when a worker is ended that does nothing any more, or has grown too big.
        afresh: whether every job gets a new process.
    """

    def __init__(
        self,
        workers: int,
        on_progress: Progress | None = None,
        limits: Limits | None = None,
        afresh: bool = False,
    ) -> None:
        if workers < 0:
            raise ValueError(f"the number of workers must be at least 0, got {workers}")
        self._count, self._limits, self._afresh = workers, limits or Limits(), afresh
        self._on_progress = on_progress or (lambda _: None)
        self._workers: list[_Worker] = []

    @property
    def jobs_at_once(self) -> int:
        """How many jobs run beside each other."""
        return max(1, self._count)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes at once; what they were doing is lost."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()
        self._workers = []

    def process_ids(self) -> list[int]:
        """Return the ids of the processes that there are now; may be asked from any thread."""
        return [worker.process.pid for worker in list(self._workers) if worker.process.returncode is None]

    def alone(self) -> Engine:
        """Return an engine with these limits that does one job at a time, each in a process of its own."""
        return Engine(min(1, self._count), self._on_progress, self._limits, afresh=True)

    def run(self, jobs: Iterable[Job], in_order: bool = False) -> Iterator[Outcome]:
        """Yield the outcome of every job, as they end or in the order they were given.

        A job is taken from the iterator as soon as a worker is free for it, before outcomes are handed
        over; few more than there are workers are under way or waiting to be yielded.
        """
        jobs = iter(jobs)
        if self._count == 0:
            yield from (self._here(job) for job in jobs)
            return
        waiting: deque[Ticket] = deque()
        exhausted = False
        while waiting or not exhausted:
            while not exhausted and len(waiting) < 4 * self._count and self._has_room():
                job = next(jobs, None)
                if job is None:
                    exhausted = True
                else:
                    waiting.append(Ticket(job))
                    self._free_worker().start(waiting[-1])
            ready = take_ended(waiting, in_order)
            if not ready and (waiting or not exhausted):
                self._listen()
            yield from ready

    def _has_room(self) -> bool:
        return len(self._workers) < self._count or any(worker.ticket is None for worker in self._workers)

    def _free_worker(self) -> _Worker:
        for worker in [worker for worker in self._workers if worker.ticket is None]:
            if worker.process.poll() is None:
                return worker
            self._workers.remove(worker)  # it died with nothing to do
            worker.end()
        self._workers.append(_Worker(self._limits))
        return self._workers[-1]

    def _listen(self) -> None:
        """Wait until a worker has something to say, and take it in."""
        busy = {worker.connection.fileno(): worker for worker in self._workers if worker.ticket}
        assert busy, "a job that is waited for is with a worker"
        watched = self._limits != Limits()
        for said in wait(busy, WATCH_SECONDS if watched else None):
            worker = busy[said]  # type: ignore[index]
            message = worker.hear()
            if message is not None and message["kind"] == "progress":
                self._on_progress(message["result"])
        for worker in busy.values() if watched else ():
            worker.judge()
        for worker in busy.values():
            if worker.has_ended or (self._afresh and worker.ticket is None):
                self._workers.remove(worker)
                worker.end()

    def _here(self, job: Job) -> Outcome:
        """Run a job in this process; what goes in and comes out is copied, as if it crossed the border."""
        argument, begun = json.loads(_pack(job.argument)), time.monotonic()
        kind, result = _tried(Job(job.function, argument), self._on_progress)
        return Outcome(job, kind, result, peak_rss_bytes(), time.monotonic() - begun)


@dataclass(eq=False)
class Ticket:
    """A job under way and, in the end, its outcome."""

    job: Job
    begun: float = field(default_factory=time.monotonic, kw_only=True)
    outcome: Outcome | None = field(default=None, kw_only=True)


AnyTicket = TypeVar("AnyTicket", bound=Ticket)


def take_ended(waiting: deque[AnyTicket], in_order: bool) -> list[Outcome]:
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

    def __init__(self, limits: Limits) -> None:
        ours, theirs = socket.socketpair()
        environment = {
            **os.environ,
            **dict.fromkeys(ONE_THREAD, "1"),
            "PYTHONPATH": module_path(),
        }
        command = [sys.executable, "-P", "-c", WORKER, str(theirs.fileno()), str(os.getpid())]
        # Ctrl-C is for the parent, which ends us: a process begins with its parent's blocked signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process = subprocess.Popen(  # noqa: S603
                command, env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
        self.connection = Connection(ours.detach())
        self.ticket: Ticket | None = None
        self.has_ended = False
        self._limits = limits
        self._watch = Watch(self.process.pid, limits)

    def start(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self._watch = Watch(self.process.pid, self._limits)
        job = ticket.job
        try:
            self.connection.send_bytes(_pack({"function": job.function, "argument": job.argument}))
        except OSError:  # it has just died: hear() will say so
            return

    def hear(self) -> dict[str, Any] | None:
        """Return the next message; None when the process has died."""
        assert self.ticket is not None
        try:
            message: dict[str, Any] = json.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self._ended("died", self._how_it_died())
            return None
        self._watch.heard()
        if message["kind"] != "progress":
            seconds = time.monotonic() - self.ticket.begun
            self.ticket.outcome = Outcome(
                self.ticket.job, message["kind"], message["result"], message["peak_rss_bytes"], seconds
            )
            self.ticket = None
        return message

    def judge(self) -> None:
        """End the process if it does nothing any more, or has grown too big."""
        verdict = self._watch.verdict() if self.ticket else None
        if verdict is not None:
            self.process.kill()
            self._ended(verdict[0], f"the worker process was ended: {verdict[1]}")

    def end(self) -> None:
        """End the process, whatever it does; once is enough."""
        self.process.kill()
        self.process.wait()
        self.connection.close()

    def _ended(self, kind: Literal["died", "hung", "grew"], words: str) -> None:
        assert self.ticket is not None
        seconds = time.monotonic() - self.ticket.begun
        result = {"error": words, "type": kind}
        self.ticket.outcome = Outcome(self.ticket.job, kind, result, seconds=seconds)
        self.ticket, self.has_ended = None, True

    def _how_it_died(self) -> str:
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "the worker process closed its pipe and went on"
        if code >= 0:
            return f"the worker process ended with exit code {code}"
        name = "killed (out of memory?)" if -code == signal.SIGKILL else signal.strsignal(-code)
        return f"the worker process died: {name or f'signal {-code}'}"


def work() -> None:
    """Run jobs until the other end closes: the whole life of a worker."""
    connection = Connection(int(sys.argv[1]))
    die_with_parent(int(sys.argv[2]))

    def tell(kind: str, result: dict[str, Any]) -> None:
        connection.send_bytes(_pack({"kind": kind, "result": result, "peak_rss_bytes": peak_rss_bytes()}))

    while True:
        try:
            message = json.loads(connection.recv_bytes())
        except (EOFError, OSError):
            return
        job = Job(message["function"], message["argument"])
        outcome = _tried(job, lambda report: tell("progress", report))
        try:
            tell(*outcome)
        except BrokenPipeError:
            return


def _tried(job: Job, progress: Progress) -> tuple[Literal["done", "failed"], dict[str, Any]]:
    """Run a job in this process; return what became of it, as values that JSON can hold."""
    try:
        result: dict[str, Any] = json.loads(_pack(call(job, progress)))
    except Exception as error:
        return "failed", told(error)
    return "done", result


def call(job: Job, progress: Progress) -> dict[str, Any]:
    """Run one job in this process."""
    module, _, function = job.function.partition(":")
    result: dict[str, Any] = getattr(import_module(module), function)(job.argument, progress)
    return result


def told(error: Exception) -> dict[str, Any]:
    """Return an error as a result: its words, its type, and where it was raised."""
    facts = {
        "error": str(error) or type(error).__name__,
        "type": type(error).__name__,
        "traceback": traceback.format_exc(),
    }
    # a path can hold bytes that are no text
    plain: dict[str, Any] = {
        k: text.encode("utf-8", "backslashreplace").decode() for k, text in facts.items()
    }
    return plain | {"unforeseen": isinstance(error, UNFORESEEN)}


def _pack(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def module_path() -> str:
    """Return where a new process must look for modules to find the same ones as this process."""
    # an installation for development adds names that are no paths; the new process adds its own
    return os.pathsep.join(path for path in sys.path if Path(path).exists())


def peak_rss_bytes() -> int:
    """Return the largest resident memory that this process has had."""
    if sys.platform == "linux":  # there, getrusage counts what the parent had when we began
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes elsewhere


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when its parent dies, so that nothing goes on writing."""
    if sys.platform != "linux":
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)
