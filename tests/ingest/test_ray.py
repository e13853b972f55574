"""A dataset made on a Ray cluster, while nodes come and go: the bytes of one machine, and nothing lost.

Skipped without Ray; see `test_engine_contract`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from engine_jobs import doubles, job
from made_video import Pictures, write_video

from ingest.configuration import Settings
from ingest.engine.local import Outcome
from ingest.engine_choice import EngineChoice
from ingest.errors import WrongUse
from ingest.pipeline import Listener, shard_recordings
from shards import dataset_info, verify_dataset

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.slow,
    pytest.mark.usefixtures("engine_jobs_can_be_imported"),
]

SETTINGS = Settings(clip_seconds=Fraction(1), fps=Fraction(4), size=64, device="cpu", shard_seconds=1)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A node of one CPU; every test adds and kills its own beside it."""
    pytest.importorskip("ray", reason="pip install 'fifth[ray]' to run these")
    from ray_nodes import running_cluster

    with running_cluster(cpus=1) as nodes:
        yield nodes


def test_a_lost_node_costs_only_what_it_was_at(cluster: Any, tmp_path: Path) -> None:
    """Its jobs are done again by a node that is left, or was added; each has one outcome."""
    from ingest.engine.ray_cluster import RayEngine

    node = cluster.add(1)
    said: list[str] = []
    outcomes: list[Outcome] = []
    until, begun = tmp_path / "until", [tmp_path / str(number) for number in range(2)]
    waits = [job("begin_and_wait", number=n, makes=str(begun[n]), until=str(until)) for n in range(2)]
    with RayEngine(None, say=said.append) as engine:
        assert engine.jobs_at_once == 2
        running = engine.run([*doubles(1), *waits, *doubles(2)])
        outcomes.append(next(running))
        while not all(path.exists() for path in begun):  # each on a node of its own
            time.sleep(0.02)
        cluster.kill(node)
        cluster.add(1)
        until.touch()
        outcomes += running
        assert engine.jobs_lost >= 1
    assert {outcome.kind for outcome in outcomes} == {"done"}
    assert sorted(outcome.result["number"] for outcome in outcomes) == [0, 0, 0, 1, 2]
    assert any("was lost" in line for line in said)


class Killer(Listener):
    """Kills a node when some tasks are done, and adds another one later."""

    def __init__(self, cluster: Any, node: Any) -> None:
        self._cluster, self._node, self._done = cluster, node, 0
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def task_ended(self, result: Any) -> None:
        self._done += 1
        if self._done == 2:
            threading.Thread(target=self._cluster.kill, args=(self._node,)).start()
        if self._done == 6:
            self._cluster.add(1)


def test_a_run_with_a_node_killed_has_the_bytes_of_one_machine(cluster: Any, tmp_path: Path) -> None:
    """Every file of the dataset; what the node was at is made again, nothing is in quarantine."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(5):
        write_video(folder / f"{number}.mp4", Pictures(frames=40 + number))
    listener = Killer(cluster, cluster.add(2))
    run = shard_recordings(
        [folder], tmp_path / "ray", SETTINGS, listener=listener, engine=EngineChoice("ray", cluster.address)
    )
    assert (run.tasks_run, run.unfinished) == (10, [])
    assert not any("quarantine" in line for line in listener.lines)
    shard_recordings([folder], tmp_path / "local", SETTINGS, workers=0)
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")
    assert verify_dataset(tmp_path / "ray") == []
    assert dataset_info(tmp_path / "ray")["failures"] == []


def test_an_actor_per_node_may_encode(cluster: Any, tmp_path: Path) -> None:
    """As one per GPU would: the same bytes, and what each did is told."""
    write_video(tmp_path / "card.mp4", Pictures(frames=40))
    choice = EngineChoice("ray", cluster.address)
    run = shard_recordings(
        [tmp_path / "card.mp4"], tmp_path / "ray", SETTINGS, engine=choice, encode_in="process"
    )
    assert run.unfinished == []
    assert sum(figures["rows"] for figures in run.encoder_processes) > 0
    shard_recordings([tmp_path / "card.mp4"], tmp_path / "local", SETTINGS, workers=0)
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")


def files_of(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("run.jsonl", ".lock"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_an_address_is_of_a_cluster() -> None:
    """It goes with the engine; and a cluster has at least one worker."""
    with pytest.raises(WrongUse, match="goes with --engine ray"):
        EngineChoice("local", "auto")
    pytest.importorskip("ray")
    from ingest.engine.ray_cluster import RayEngine

    with pytest.raises(WrongUse, match="at least 1 worker, got 0"):
        RayEngine(0)
