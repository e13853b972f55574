"""What every engine must do with jobs: processes of this machine, and a Ray cluster of several on it.

Ray is no part of the test extra, for its size: `pip install 'fifth[ray]'` brings it, and these tests run.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_jobs import doubles, job, numbers

from ingest.engine.local import Engine, Job
from ingest.engine.watch import Limits

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("engine_jobs_can_be_imported")]

Make = Callable[..., Engine]
RAY = pytest.param("ray", marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two CPUs, on a node that stays; tests may add nodes, and kill them."""
    pytest.importorskip("ray", reason="pip install 'fifth[ray]' to run these")
    from ray_nodes import running_cluster

    with running_cluster(cpus=2) as nodes:
        yield nodes


@pytest.fixture(params=["local", RAY])
def engine(request: pytest.FixtureRequest) -> Make:
    """Makes an engine of two workers; other arguments as for `Engine`."""
    if request.param == "local":
        return lambda *given, **named: Engine(2, *given, **named)
    request.getfixturevalue("cluster")
    from ingest.engine.ray_cluster import RayEngine

    return lambda *given, **named: RayEngine(2, *given, **named)


def test_every_job_has_its_outcome(engine: Make) -> None:
    """More jobs than workers; each runs in another process, which is used again."""
    with engine() as running:
        assert running.jobs_at_once == 2
        outcomes = list(running.run(doubles(20)))
        assert list(running.run([])) == []
    assert sorted(outcome.result["number"] for outcome in outcomes) == list(range(0, 40, 2))
    assert {outcome.kind for outcome in outcomes} == {"done"}
    assert all(outcome.job.argument["number"] * 2 == outcome.result["number"] for outcome in outcomes)
    processes = {outcome.result["process"] for outcome in outcomes}
    assert 1 <= len(processes) < 20
    assert os.getpid() not in processes
    assert all(outcome.peak_rss_bytes > 1_000_000 for outcome in outcomes)


def test_outcomes_come_as_jobs_end(engine: Make, tmp_path: Path) -> None:
    """The first job waits for what is made when the second one's outcome has come."""
    made = tmp_path / "made"
    jobs = [job("slow_first", number=0, until=str(made)), job("slow_first", number=1)]
    seen: list[int] = []
    with engine() as running:
        for outcome in running.run(jobs, in_order=False):
            seen += numbers(iter([outcome]))
            made.touch()
    assert seen == [1, 0]


def test_outcomes_come_in_the_order_of_the_jobs(engine: Make, tmp_path: Path) -> None:
    """The first job can't end before the second one has done its work, and comes first all the same."""
    made = str(tmp_path / "made")
    jobs = [job("slow_first", number=0, until=made), job("slow_first", number=1, makes=made)]
    with engine() as running:
        assert numbers(running.run(jobs, in_order=True)) == [0, 1]


def test_jobs_are_taken_when_there_is_room_for_them(engine: Make) -> None:
    """At most four per worker are taken before the first of their outcomes is handed over."""
    taken: list[int] = []

    def jobs() -> Iterator[Job]:
        for number, made in enumerate(doubles(20)):
            taken.append(number)
            yield made

    with engine() as running:
        for yielded, _ in enumerate(running.run(jobs(), in_order=True)):
            assert len(taken) - yielded <= 4 * 2
    assert len(taken) == 20


@pytest.mark.parametrize(
    ("how", "words"),
    [("exits", "ended with exit code 3"), ("SIGKILL", r"killed \(out of memory\?\)")],
)
def test_a_worker_that_dies_costs_its_job(engine: Make, how: str, words: str) -> None:
    """The job comes back as died with how it was, at once; the others are done by a new process."""
    with engine() as running:
        outcomes = list(running.run([*doubles(2), job("die", how=how), *doubles(2)], in_order=True))
    assert [outcome.kind for outcome in outcomes] == ["done", "done", "died", "done", "done"]
    assert re.search(words, outcomes[2].result["error"])


def test_a_job_that_hangs_or_grows_is_ended(engine: Make) -> None:
    """By the limits of the engine, and the next one is done."""
    with engine(limits=Limits(stall_seconds=2, memory_bytes=400 << 20)) as running:
        grown = job("grow", size_bytes=600 << 20, seconds=60)
        outcomes = list(running.run([job("hang", how="asleep"), grown, *doubles(2)], in_order=True))
    assert [outcome.kind for outcome in outcomes] == ["hung", "grew", "done", "done"]
    assert all(outcome.ended_its_worker for outcome in outcomes[:2])


def test_a_job_that_fails_says_why(engine: Make) -> None:
    """With its words, type and traceback, as text that JSON can hold."""
    jobs = [job("fail", how=how) for how in ("raises", "silently", "no JSON")]
    with engine() as running:
        outcomes = list(running.run([*jobs, *doubles(1), Job("engine_jobs:missing", {})], in_order=True))
    assert [outcome.kind for outcome in outcomes] == ["failed"] * 3 + ["done", "failed"]
    raised, silent, not_json, _, missing = (outcome.result for outcome in outcomes)
    assert (raised["error"], raised["type"]) == ("caf\\udce9 is no text", "ValueError")
    assert "engine_jobs.py" in raised["traceback"]
    assert silent["error"] == "KeyError"
    assert "JSON serializable" in not_json["error"]
    assert missing["type"] == "AttributeError"


def test_results_may_be_large_and_odd(engine: Make) -> None:
    """5 MB cross the border both ways, and so does text with lone surrogates; nothing but JSON does."""
    made = job("tuple_inside", numbers=[3])
    with engine() as running:
        back, odd, pair = running.run(
            [job("much", text="y" * 5_000_000, times=1), job("much", text="caf\udce9\n", times=2), made],
            in_order=True,
        )
    assert len(back.result["text"]) == 5_000_000
    assert odd.result["text"] == "caf\udce9\ncaf\udce9\n"
    assert pair.result == {"pair": [1, [3, 4]]}
    assert made.argument == {"numbers": [3]}


def test_progress_is_heard_before_the_outcome(engine: Make) -> None:
    """In the order it was told."""
    heard: list[Any] = []
    with engine(lambda report: heard.append(report["step"])) as running:
        heard += [outcome.kind for outcome in running.run([job("report", steps=5)])]
    assert heard == [0, 1, 2, 3, 4, "done"]


def test_a_job_has_one_thread_the_same_modules_and_no_terminal(engine: Make) -> None:
    """Results can't depend on the number of cores, and a job can't wait for somebody to type."""
    with engine() as running:
        (outcome,) = running.run([job("surroundings")])
    assert outcome.result["threads"] == "1"
    assert str(Path(__file__).parent) in outcome.result["path"]
    assert outcome.result["input"] == ""


def test_alone_every_job_has_a_process_of_its_own(engine: Make) -> None:
    """One at a time."""
    with engine() as running, running.alone() as alone:
        assert alone.jobs_at_once == 1
        processes = [outcome.result["process"] for outcome in alone.run(doubles(3))]
    assert len(set(processes)) == 3


def test_closing_ends_what_is_under_way(engine: Make) -> None:
    """Nothing is waited for, and no process is left."""
    processes: list[int] = []

    def jobs() -> Iterator[Job]:
        yield from [job("wait_forever"), job("wait_forever"), *doubles(1)]

    class Enough(Exception):
        pass

    def heard(report: dict[str, Any]) -> None:
        processes.append(report["process"])
        if len(processes) == 2:  # both are in the middle of their job
            raise Enough

    running = engine(heard)
    with pytest.raises(Enough):
        list(running.run(jobs()))
    running.close()
    running.close()
    while any(_is_alive(process) for process in processes):  # bounded by the test's timeout
        time.sleep(0.02)


def test_a_run_may_begin_within_another(engine: Make) -> None:
    """Both have all their outcomes."""
    with engine() as running:
        outer = []
        for outcome in running.run(doubles(4), in_order=True):
            outer.append(outcome.result["number"])
            assert sorted(numbers(running.run(doubles(2)))) == [0, 2]
    assert outer == [0, 2, 4, 6]


def _is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
