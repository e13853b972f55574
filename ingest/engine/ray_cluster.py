"""Runs jobs on a Ray cluster: the contract of `ingest.engine.local`, on as many machines as there are.

    driver            a Ray task per job, one CPU each; a few more than there are CPUs, no more
      └ Ray worker    holds a local engine of one process, which outlives the job
          └ process   runs the job, as on one machine: replaced when it dies, hangs or grows

So a job that ends its process costs what it costs on one machine, and is told in the same words; Ray carries
text of JSON there and back, and hears nothing else of it. A job whose node is lost is given to another one:
by us, for Ray's own retries do not tell a lost node from a job that ends its process. Nodes may be added at
any time. They need this package in the same version, and recordings and dataset under the same paths.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from ingest.engine.local import Engine, Job, Outcome, Progress, Ticket, take_ended, told
from ingest.engine.watch import Limits
from ingest.errors import WrongUse

MOST_LOST = 5
"""A job whose node was lost so often is not done."""
SPARE_JOBS = 2
"""Jobs that wait at the cluster for the first free CPU."""
REPORT_SECONDS = 1.0
"""Progress is gathered for so long: each message through Ray costs milliseconds of its processes."""
LOOK_SECONDS = 2.0
"""How often the cluster is asked how large it is."""
OBJECT_STORE_BYTES = 128 << 20
"""Of a cluster that we start: nothing but text goes through it."""

OURS = "FIFTH_"
"""Variables of the environment that jobs have as they are here; credentials are each node's own."""


def start(address: str, workers: int | None) -> bool:
    """Join a cluster, or start one on this machine; say whether it is ours to end.

    Args:
        address: `auto`, `HOST:PORT`, `ray://HOST:PORT`; empty: one is started here.
        workers: CPUs of one that is started here; None: as many as there are cores.

    Raises:
        WrongUse: Ray is not installed.
        ConnectionError: there is no cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise WrongUse("--engine ray needs Ray: pip install 'fifth[ray]'") from error
    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    if address:
        ray.init(address=address, **quiet)
    else:
        ray.init(
            address="local",  # not one that happens to run here
            num_cpus=workers or os.cpu_count() or 1,
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            **quiet,
        )
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has one of its own, which ends at once
    _keep_quiet()
    return True


def _keep_quiet() -> None:
    """Keep Ray from printing what its nodes say to standard output, where results go; it has no switch."""
    import ray._private.worker as inside

    if hasattr(inside, "print_to_stdstream"):
        inside.print_to_stdstream = lambda *_, **__: None


def stop() -> None:
    """Leave the cluster; one that was started here ends."""
    import ray

    ray.shutdown()


@dataclass(eq=False)
class _Flight(Ticket):
    """A job that was given to the cluster."""

    messages: Any
    """Ray's generator of the texts that it sends."""
    lost: int = 0


@dataclass
class _Size:
    """How many CPUs the cluster had, and when."""

    cpus: int = 0
    looked: float = field(default=-LOOK_SECONDS)


class RayEngine(Engine):
    """An engine on a cluster that `start` joined.

    Args:
        workers: most jobs at once; None: as many as the cluster has CPUs, now or later.
        on_progress, limits, afresh: as for `Engine`.
        say: told of nodes that were lost.
        prepare: `package.module:function`, which gets a job's argument on the node where it runs and returns
            what the job gets; "" for none.
        gpu_share: of a GPU, per job: it runs on a node that has one.
    """

    def __init__(
        self,
        workers: int | None,
        on_progress: Progress | None = None,
        limits: Limits | None = None,
        afresh: bool = False,
        *,
        say: Callable[[str], None] = lambda _: None,
        prepare: str = "",
        gpu_share: float = 0.0,
    ) -> None:
        if workers is not None and workers < 1:
            raise WrongUse(f"--engine ray takes at least 1 worker, got {workers}")
        super().__init__(0, on_progress, limits, afresh)
        self._most, self._say, self._prepare = workers, say, prepare
        self._gpu_share = gpu_share
        self._flights: list[_Flight] = []
        self._size = _Size()
        self.jobs_lost = 0
        """How often a job was given to another node, because its own was lost."""

    @property
    def jobs_at_once(self) -> int:
        """How many jobs run beside each other, on the nodes that there are now."""
        if time.monotonic() - self._size.looked >= LOOK_SECONDS:
            import ray

            self._size = _Size(int(ray.cluster_resources().get("CPU", 0)), time.monotonic())
        return max(1, min(self._size.cpus, self._most or self._size.cpus))

    def close(self) -> None:
        """End what is under way; it is lost."""
        import ray

        for flight in self._flights:
            ray.cancel(flight.messages, force=True)
        self._flights = []

    def process_ids(self) -> list[int]:
        """Return nothing: the processes are on other machines."""
        return []

    def alone(self) -> RayEngine:
        """Return an engine with these limits that does one job at a time, each in a process of its own."""
        return RayEngine(
            1, self._on_progress, self._limits, afresh=True,
            say=self._say, prepare=self._prepare, gpu_share=self._gpu_share,
        )  # fmt: skip

    def run(self, jobs: Iterable[Job], in_order: bool = False) -> Iterator[Outcome]:
        """See `Engine.run`."""
        jobs = iter(jobs)
        waiting: deque[_Flight] = deque()
        exhausted = False
        while waiting or not exhausted:
            while not exhausted and self._takes_more(waiting):
                job = next(jobs, None)
                if job is None:
                    exhausted = True
                else:
                    waiting.append(self._launch(job))
            ready = take_ended(waiting, in_order)
            if not ready and waiting:
                self._listen_to([flight for flight in waiting if flight.outcome is None])
            yield from ready

    def _takes_more(self, waiting: deque[_Flight]) -> bool:
        at_once = self.jobs_at_once
        under_way = sum(flight.outcome is None for flight in waiting)
        spare = 0 if self._most else SPARE_JOBS
        return under_way < at_once + spare and len(waiting) < 4 * at_once

    def _launch(self, job: Job) -> _Flight:
        flight = _Flight(job, self._submit(job))
        self._flights.append(flight)
        return flight

    def _submit(self, job: Job) -> Any:
        import ray

        order = {
            "function": job.function,
            "argument": job.argument,
            "limits": asdict(self._limits),
            "afresh": self._afresh,
            "prepare": self._prepare,
            "environment": {name: value for name, value in os.environ.items() if name.startswith(OURS)},
            "path": [path for path in sys.path if Path(path).exists()],
        }
        remote: Any = ray.remote(
            num_cpus=1, num_gpus=self._gpu_share, num_returns="streaming", max_retries=0
        )(run_ordered)
        return remote.remote(json.dumps(order))

    def _listen_to(self, flights: list[_Flight]) -> None:
        """Wait until one of some jobs has something to say, and take it in."""
        import ray

        by_messages = {flight.messages: flight for flight in flights}
        ready, _ = ray.wait(list(by_messages), num_returns=1, timeout=1.0)
        for messages in ready:
            self._hear(by_messages[messages])

    def _hear(self, flight: _Flight) -> None:
        import ray
        from ray import exceptions

        try:
            message = json.loads(ray.get(next(flight.messages)))
        except (exceptions.NodeDiedError, exceptions.LocalRayletDiedError, exceptions.ObjectLostError):
            self._lost(flight)
        except exceptions.OutOfMemoryError as error:
            self._land(flight, "grew", {"error": f"Ray ended it: {_first_line(error)}", "type": "grew"})
        except (exceptions.RayError, StopIteration) as error:
            words = f"the Ray worker died: {_first_line(error)}"
            self._land(flight, "died", {"error": words, "type": "died"})
        else:
            if message["kind"] == "progress":
                for report in message["results"]:
                    self._on_progress(report)
            else:
                self._land(flight, **message)

    def _land(self, flight: _Flight, kind: Any, result: dict[str, Any], **figures: Any) -> None:
        flight.outcome = Outcome(flight.job, kind, result, **figures)
        self._flights.remove(flight)

    def _lost(self, flight: _Flight) -> None:
        """Give the job of a lost node to another one."""
        flight.lost += 1
        self.jobs_lost += 1
        if flight.lost > MOST_LOST:
            words = f"the node that ran it was lost {flight.lost} times"
            self._land(flight, "failed", {"error": words, "type": "NodeLost"})
            return
        self._say("a node of the cluster was lost; what it was at is done again by another one")
        flight.messages = self._submit(flight.job)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


# On the nodes


def run_ordered(order: str) -> Iterator[str]:
    """Run one job: what a Ray task does. Yields texts of JSON: `progress` as it comes, then the outcome."""
    asked = json.loads(order)
    os.environ.update(asked["environment"])
    for path in asked["path"]:
        if path not in sys.path and Path(path).exists():
            sys.path.append(path)
    if asked["prepare"]:
        module, _, function = asked["prepare"].partition(":")
        try:
            asked["argument"] = getattr(import_module(module), function)(asked["argument"])
        except Exception as error:  # whatever it is, the job could not begin
            yield json.dumps({"kind": "failed", "result": told(error)})
            return
    messages = _keeper().run(asked)
    reports: list[dict[str, Any]] = []
    sent = -REPORT_SECONDS
    while True:
        message = messages.get()
        is_outcome = message["kind"] != "progress"
        if not is_outcome:
            reports.append(message["result"])
        if reports and (is_outcome or time.monotonic() - sent >= REPORT_SECONDS):
            yield json.dumps({"kind": "progress", "results": reports})
            reports, sent = [], time.monotonic()
        if is_outcome:
            yield json.dumps(message)
            return


class _Keeper:
    """The thread that holds a Ray worker's engines: their processes end with the thread that began them."""

    def __init__(self) -> None:
        self._orders: queue.Queue[tuple[dict[str, Any], queue.Queue[dict[str, Any]]]] = queue.Queue()
        threading.Thread(target=self._work, name="fifth-engine", daemon=True).start()

    def run(self, asked: dict[str, Any]) -> queue.Queue[dict[str, Any]]:
        """Begin a job; return where its messages come."""
        messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._orders.put((asked, messages))
        return messages

    def _work(self) -> None:
        engines: dict[str, Engine] = {}
        hearing: list[queue.Queue[dict[str, Any]]] = []

        def tell(report: dict[str, Any]) -> None:
            hearing[0].put({"kind": "progress", "result": report})

        while True:
            asked, messages = self._orders.get()
            hearing[:] = [messages]
            key = json.dumps([asked["limits"], asked["afresh"]])
            if key not in engines:
                engines[key] = Engine(1, tell, Limits(**asked["limits"]), asked["afresh"])
            (outcome,) = engines[key].run([Job(asked["function"], asked["argument"])])
            messages.put({name: value for name, value in vars(outcome).items() if name != "job"})


_kept: list[_Keeper] = []


def _keeper() -> _Keeper:
    """Return this process's."""
    if not _kept:
        _kept.append(_Keeper())
    return _kept[0]
