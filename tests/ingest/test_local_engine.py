"""Processes that run jobs: every job has its outcome, whatever the job does to its process.

What holds of every engine is in `test_engine_contract`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest
from engine_jobs import doubles, job, numbers

from ingest.engine import local
from ingest.engine.local import Engine, Job, peak_rss_bytes
from ingest.engine.watch import Limits, default_memory_bytes

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("engine_jobs_can_be_imported")]


def test_a_worker_is_a_process_that_is_used_again() -> None:
    """There are never more than were asked for."""
    with Engine(2) as engine:
        outcomes = list(engine.run(doubles(20)))
    assert 1 <= len({outcome.result["process"] for outcome in outcomes}) <= 2


def test_fewer_jobs_than_workers_start_no_more_processes() -> None:
    """A process is made when there is a job for it."""
    with Engine(8) as engine:
        assert list(engine.run([])) == []
        assert engine._workers == []
        assert len(list(engine.run(doubles(1)))) == 1
        assert len(engine._workers) == 1


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("exits", "ended with exit code 3"),
        ("calls exit", "ended with exit code 4"),
        ("SIGKILL", r"killed \(out of memory\?\)"),
        ("SIGTERM", "died: Terminated"),
    ],
)
def test_a_worker_that_dies_costs_its_job(how: str, words: str) -> None:
    """The job comes back as died with how it was; the others are done by a new process."""
    with Engine(1) as engine:
        outcomes = list(engine.run([*doubles(2), job("die", how=how), *doubles(2)], in_order=True))
    assert [outcome.kind for outcome in outcomes] == ["done", "done", "died", "done", "done"]
    assert re.search(words, outcomes[2].result["error"])
    assert outcomes[1].result["process"] != outcomes[3].result["process"]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_job_that_fails_says_why(workers: int) -> None:
    """With its words, type and traceback, as text that JSON can hold; its process goes on."""
    jobs = [job("fail", how=how) for how in ("raises", "silently", "broken pipe", "no JSON")]
    with Engine(workers) as engine:
        outcomes = list(engine.run([*jobs, *doubles(1), Job("engine_jobs:missing", {})], in_order=True))
    assert [outcome.kind for outcome in outcomes] == ["failed"] * 4 + ["done", "failed"]
    raised, silent, broken, not_json, _, missing = (outcome.result for outcome in outcomes)
    assert raised["error"] == "caf\\udce9 is no text"
    assert raised["type"] == "ValueError"
    assert "engine_jobs.py" in raised["traceback"]
    assert silent["error"] == "KeyError"
    assert broken["error"] == "of the job's own"
    assert "JSON serializable" in not_json["error"]
    assert missing["type"] == "AttributeError"


def test_results_may_be_large_and_odd() -> None:
    """20 MB go through the pipe, both ways, and so does text with lone surrogates."""
    with Engine(1) as engine:
        large, back, odd = engine.run(
            [
                job("much", text="x" * 1000, times=20_000),
                job("much", text="y" * 20_000_000, times=1),
                job("much", text="caf\udce9\n", times=2),
            ]
        )
    assert len(large.result["text"]) == len(back.result["text"]) == 20_000_000
    assert odd.result["text"] == "caf\udce9\ncaf\udce9\n"


@pytest.mark.parametrize("workers", [0, 1])
def test_progress_is_heard_before_the_outcome(workers: int) -> None:
    """In the order it was told."""
    heard: list[Any] = []
    with Engine(workers, lambda report: heard.append(report["step"])) as engine:
        heard += [outcome.kind for outcome in engine.run([job("report", steps=5)])]
    assert heard == [0, 1, 2, 3, 4, "done"]


@pytest.mark.parametrize("workers", [0, 1])
def test_nothing_but_json_crosses_the_border(workers: int) -> None:
    """In this process as in another: arguments stay as they were, results are what JSON makes of them."""
    made = job("tuple_inside", numbers=[3])
    with Engine(workers) as engine:
        (outcome,) = engine.run([made])
    assert outcome.result == {"pair": [1, [3, 4]]}
    assert made.argument == {"numbers": [3]}


def test_a_worker_has_one_thread_the_same_modules_and_no_terminal() -> None:
    """Results can't depend on the number of cores, and a job can't wait for somebody to type."""
    with Engine(1) as engine:
        (outcome,) = engine.run([job("surroundings")])
    assert outcome.result["threads"] == "1"
    ours = [path for path in dict.fromkeys(sys.path) if Path(path).exists()]
    assert outcome.result["path"][: len(ours)] == ours
    assert outcome.result["input"] == ""


def test_closing_ends_what_is_under_way() -> None:
    """At once; nothing is waited for, and no process is left."""
    processes: list[int] = []
    engine = Engine(2, lambda report: processes.append(report["process"]))
    running = engine.run([job("double", number=1), job("wait_forever"), job("wait_forever")])
    assert next(running).result["number"] == 2
    while len(processes) < 2:  # both are in the middle of their job
        engine._listen()
    engine.close()
    assert not any(_is_alive(process) for process in processes)
    engine.close()


def test_a_run_that_is_given_up_leaves_the_engine_usable(tmp_path: Path) -> None:
    """A second run waits for a worker, and gets its own outcomes only."""
    made = str(tmp_path / "made")
    with Engine(1) as engine:
        given_up = engine.run([job("slow_first", number=n, until=made if n else "") for n in range(3)])
        assert next(given_up).result["number"] == 0
        next_up = engine.run(doubles(3))
        Path(made).touch()
        assert sorted(numbers(next_up)) == [0, 2, 4]


def test_a_worker_that_died_with_nothing_to_do_is_replaced() -> None:
    """The next job does not suffer for it."""
    with Engine(1) as engine:
        (first,) = engine.run(doubles(1))
        os.kill(first.result["process"], signal.SIGKILL)
        engine._workers[0].process.wait()
        (second,) = engine.run(doubles(1))
    assert second.kind == "done"
    assert second.result["process"] != first.result["process"]


def test_waiting_for_a_job_is_not_asking_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine sleeps until a worker has something to say: once for each message."""
    waits: list[int] = []

    def counted(busy: dict[int, Any], timeout: float | None) -> list[Any]:
        waits.append(len(busy))
        assert timeout is None
        return wait(busy)

    monkeypatch.setattr(local, "wait", counted)
    with Engine(2) as engine:
        assert len(list(engine.run([*doubles(3), job("report", steps=4)], in_order=True))) == 4
    assert len(waits) <= 4 + 4
    assert 0 not in waits


def test_no_number_of_processes_below_zero() -> None:
    """It would wait forever."""
    with pytest.raises(ValueError, match="at least 0, got -1"):
        Engine(-1)


def test_memory_is_this_processes_own() -> None:
    """What a large parent holds is not counted as its worker's."""
    ballast = bytearray(300_000_000)
    ballast[::4096] = b"x" * len(ballast[::4096])
    with Engine(1) as engine:
        (outcome,) = engine.run(doubles(1))
    assert peak_rss_bytes() > 300_000_000
    assert outcome.peak_rss_bytes < 150_000_000


SCRIPT = """
import signal
import sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored
from ingest.engine.local import Engine, Job
print("begun", flush=True)
jobs = [Job("engine_jobs:wait_forever", {})] * 2
with Engine(2, lambda report: print(report["process"], flush=True)) as engine:
    list(engine.run(jobs))
"""


def _script(tmp_path: Path) -> subprocess.Popen[str]:
    """Start a script, which has no `if __name__ == "__main__"`, in a group of processes of its own."""
    (tmp_path / "script.py").write_text(SCRIPT)
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(local.__file__).parents[2])])
    return subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")], env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0,
    )  # fmt: skip


def _is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def _wait_until_gone(processes: list[int]) -> None:
    while any(_is_alive(process) for process in processes):  # bounded by the test's timeout
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("how", ["ctrl-c", "kill -9"])
def test_no_worker_outlives_its_parent(tmp_path: Path, how: str) -> None:
    """Ctrl-C reaches the whole group, and only the parent speaks of it; after kill -9 nobody does."""
    with _script(tmp_path) as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "begun\n"
        workers = [int(script.stdout.readline()) for _ in range(2)]
        if how == "ctrl-c":
            os.killpg(script.pid, signal.SIGINT)
        else:
            script.kill()
        rest, errors = script.communicate(timeout=30)
    _wait_until_gone(workers)
    assert rest == ""  # a worker that ran the script again would have begun again
    assert errors.count("Traceback") == (1 if how == "ctrl-c" else 0)
    assert script.returncode == (-signal.SIGINT if how == "ctrl-c" else -signal.SIGKILL)


ONLY_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of other processes")


@pytest.mark.parametrize("how", ["asleep", "busy"])
def test_a_job_that_hangs_is_ended(how: str) -> None:
    """A process that shows no sign of life is ended and replaced; the other jobs are done."""
    with Engine(1, limits=Limits(stall_seconds=1)) as engine:
        outcomes = list(engine.run([job("hang", how=how), *doubles(2)]))
    assert [outcome.kind for outcome in outcomes] == ["hung", "done", "done"]
    assert outcomes[0].ended_its_worker
    assert "told of no progress for 1 s" in outcomes[0].result["error"]


@ONLY_LINUX
@pytest.mark.parametrize("how", ["tells", "reads"])
def test_a_slow_job_is_left_alone(how: str) -> None:
    """Messages and bytes read are signs of life, however long it takes."""
    with Engine(1, limits=Limits(stall_seconds=1)) as engine:
        (outcome,) = engine.run([job("tell_slowly", how=how)])
    assert outcome.kind == "done"


@ONLY_LINUX
def test_a_job_that_grows_too_big_is_ended() -> None:
    """More memory than a worker may have ends it, before the machine runs out; less does not."""
    with Engine(1, limits=Limits(memory_bytes=400 << 20)) as engine:
        outcomes = list(
            engine.run(
                [
                    job("grow", size_bytes=100 << 20, seconds=1),
                    job("grow", size_bytes=600 << 20, seconds=60),
                    *doubles(1),
                ]
            )
        )
    assert [outcome.kind for outcome in outcomes] == ["done", "grew", "done"]
    assert "more than the 0.39 GiB of memory" in outcomes[1].result["error"]


def test_every_job_gets_its_own_process() -> None:
    """Where jobs are not trusted with each other, none meets what another one left."""
    with Engine(2, afresh=True) as engine:
        outcomes = list(engine.run(doubles(4)))
    assert len({outcome.result["process"] for outcome in outcomes}) == 4


def test_a_workers_share_of_memory() -> None:
    """Workers share four fifths of what there is; each may have a GiB at least."""
    one, two = default_memory_bytes(1), default_memory_bytes(2)
    assert two in (0, 1 << 30, one // 2)
    assert default_memory_bytes(10**6) in (0, 1 << 30)
