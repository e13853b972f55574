"""Events of a run as JSON lines, and its numbers for Prometheus."""

from __future__ import annotations

import errno
import json
import os
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from made_runs import SOUND_ONLY
from made_sound import tone, write_sound

from ingest.events import Events
from ingest.listening import Listener, Listeners
from ingest.metrics import WORDS, Metrics, serving
from ingest.pipeline import shard_recordings

RESULT = {
    "task": 3, "seconds": 2.5, "media_ns": 4 * 10**9, "samples": 4, "tokens": 400, "bytes": 1000,
    "failures": 1, "recordings": ["a", "b"], "failed": ["b"],
}  # fmt: skip
APART = {
    "recording": "a.mp4",
    "id": "a",
    "start_ns": 0,
    "stop_ns": 9,
    "cause": "it ends us",
    "layout": "video",
}


class Kept:
    """A file of events in memory."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def append_event(self, event: Mapping[str, Any]) -> None:
        self.events.append(dict(event))


def happen(listener: Listener) -> None:
    """Let everything happen once."""
    listener.run_began({"workers": 2})
    listener.working(lambda: [os.getpid(), 2**22 + 1])
    listener.examined("a.mp4")
    listener.planned(5, 20 * 10**9, 8 * 10**9)
    for task in (3, 4, 5):
        listener.task_began(task)
    listener.progressed(4 * 10**9, 4)
    listener.task_ended(RESULT)
    listener.task_failed(4, "died", "killed", again=True)
    listener.task_failed(5, "failed", "no disk", again=False)
    listener.quarantined(APART)
    listener.say("something else")
    listener.run_ended({"how": "finished", "seconds": 3.0})


def test_every_event_is_written() -> None:
    """In order, each with its time, the run that it is of, and its figures."""
    file = Kept()
    happen(Listeners(Listener(), Events(file)))
    names = [event["event"] for event in file.events]
    assert names == [
        "run_began", "planned", "task_done", "worker_ended", "task_retried", "task_failed", "quarantined",
        "said", "run_ended",
    ]  # fmt: skip
    assert len({event["run"] for event in file.events}) == 1
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", e["time"]) for e in file.events)
    found = dict(zip(names, file.events, strict=True))
    assert found["run_began"]["process"] == os.getpid()
    assert (found["planned"]["tasks"], found["planned"]["media_seconds"]) == (5, 12.0)
    assert (found["task_done"]["media_seconds"], found["task_done"]["seconds"]) == (4.0, 2.5)
    assert found["worker_ended"] | {"how": "died", "why": "killed", "task": 4} == found["worker_ended"]
    assert found["task_failed"]["task"] == 5
    assert found["quarantined"]["cause"] == "it ends us"


def test_a_run_tells_of_itself(tmp_path: Path) -> None:
    """A real run's events: where, how, what was done; the next run is another one in the same file."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    write_sound(folder / "a.wav", tone(300, 2))
    for _ in range(2):
        shard_recordings([folder], out, SOUND_ONLY, workers=0)
    events = [json.loads(line) for line in (out / "run.jsonl").read_text().splitlines()]
    first = [event for event in events if event["run"] == events[0]["run"]]
    assert [e["event"] for e in first] == ["run_began", "planned", "task_done", "task_done", "run_ended"]
    assert first[0]["configuration_digest"]
    assert first[0]["versions"]["numpy"]
    assert sum(e["media_seconds"] for e in first if e["event"] == "task_done") == 2.0
    assert (first[-1]["how"], first[-1]["tasks_run"]) == ("finished", 2)
    assert [e["event"] for e in events[len(first) :]] == ["run_began", "planned", "run_ended"]


def test_events_that_can_t_be_written_do_not_end_a_run() -> None:
    """It is said once, and the next event is tried again."""

    class Full(Kept):
        def append_event(self, event: Mapping[str, Any]) -> None:
            if event["event"] != "run_ended":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().append_event(event)

    said: list[str] = []
    file = Full()
    happen(Events(file, said.append))
    assert said == ["events can't be written to run.jsonl: No space left on device"]
    assert [event["event"] for event in file.events] == ["run_ended"]


def numbers(text: str) -> dict[str, float]:
    """Read Prometheus' text format: every line is a comment or a name with a number."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("# "):
            match = re.fullmatch(r'(fifth_[a-z_]+(?:\{kind="[a-z]+"\})?) (\S+)', line)
            assert match, line
            found[match[1]] = float(match[2])
    return found


def test_metrics_count_what_happens() -> None:
    """Each figure is what happened; a stall shows as time since the last progress."""
    now = [100.0]
    metrics = Metrics(lambda: now[0])
    happen(metrics)
    now[0] = 130.0
    found = numbers(metrics.text())
    wanted = {
        "fifth_media_seconds_total": 4, "fifth_clips_total": 4, "fifth_recordings_examined_total": 1,
        "fifth_samples_total": 4, "fifth_tokens_total": 400, "fifth_written_bytes_total": 1000,
        "fifth_recordings_total": 2, "fifth_recordings_failed_total": 1,
        'fifth_failures_total{kind="recording"}': 1, 'fifth_failures_total{kind="task"}': 1,
        'fifth_failures_total{kind="worker"}': 1, "fifth_recordings_quarantined_total": 1,
        "fifth_tasks_done_total": 1, "fifth_tasks_retried_total": 1, "fifth_tasks_planned": 5,
        "fifth_tasks_running": 0, "fifth_planned_media_seconds": 12, "fifth_workers": 1,
        "fifth_seconds_since_progress": 30, "fifth_run_seconds": 30,
    }  # fmt: skip
    assert {name: found.get(name) for name in wanted} == wanted
    assert found["fifth_worker_resident_bytes_max"] == found["fifth_workers_resident_bytes"] > 1 << 20
    assert all(f"# TYPE fifth_{name} " in metrics.text() for name in WORDS)


def test_metrics_are_served_on_this_machine() -> None:
    """At /metrics, as text that Prometheus reads; nothing is served afterwards; a taken port is said."""
    metrics = Metrics()
    with serving(metrics, "127.0.0.1", 0) as address:
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert numbers(answer.read().decode())["fifth_tasks_running"] == 0
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            urllib.request.urlopen(f"{address}/else", timeout=10)
        caught.value.close()
        port = int(address.rpartition(":")[2].partition("/")[0])
        with (
            pytest.raises(OSError, match=rf"metrics at 127.0.0.1:{port}: "),
            serving(metrics, "127.0.0.1", port),
        ):
            pytest.fail("two servers on one port")
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(address, timeout=10)
