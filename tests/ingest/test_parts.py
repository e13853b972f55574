"""Parts of one plan: in any order, any number of times, killed or not, they make the bytes of one run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_runs import SOUND_ONLY, Ear, hashes
from made_sound import tone, write_sound

from ingest.engine.local import Engine, Job, Outcome
from ingest.errors import WrongUse
from ingest.listening import Listener
from ingest.parts import Part, Scope, await_plan, finish_dataset
from ingest.pipeline import Choice, Run, shard_recordings
from shards import DatasetFolder, DatasetLocked, dataset_info, verify_dataset

SETTINGS = replace(SOUND_ONLY, shard_seconds=2)


def shard(folder: Path, out: Path, scope: Scope, ear: Listener | None = None, **choice: Any) -> Run:
    """Run in this process."""
    return shard_recordings(
        [folder], out, SETTINGS, choice=Choice(**choice), workers=0, listener=ear, scope=scope
    )


def part(number: int, of: int) -> Scope:
    return Scope(Part(number, of))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory, tone_wav: Path) -> Path:
    """Six recordings, nine tasks, two layouts."""
    folder = tmp_path_factory.mktemp("sounds")
    for number, seconds in enumerate([3, 1, 2, 4, 3.5]):
        write_sound(folder / f"{number}.wav", tone(200 + 50 * number, seconds))
    shutil.copy(tone_wav, folder / "words.wav")
    (folder / "words.srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nbeep\n")
    return folder


@pytest.fixture(scope="module")
def whole(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one run makes of them."""
    out = tmp_path_factory.mktemp("whole") / "out"
    shard(sounds, out, Scope())
    return hashes(out)


@pytest.mark.parametrize("order", [[1], [2, 1], [3, 1, 2, 1], [5, 4, 3, 2, 1]], ids=str)
def test_parts_make_the_bytes_of_one_run(
    order: list[int], sounds: Path, whole: dict[str, str], tmp_path: Path
) -> None:
    """For several numbers of parts and orders every shard, record, table and the manifest are the same."""
    out, of = tmp_path / "out", max(order)
    runs = [shard(sounds, out, part(number, of)) for number in order]
    assert (out / "fifth.json").exists() is False
    done = finish_dataset(out)
    assert hashes(out) == whole
    assert (done.missing, done.info["finished"]) == (0, True)
    counts = [run.tasks_run for run in runs[: len(set(order))]]
    assert sum(run.tasks_run for run in runs) == done.info["tasks"]["planned"]
    assert max(counts) - min(counts) <= 1  # balanced
    assert [run.tasks_run for run in runs[len(set(order)) :]] == [0] * (len(order) - len(set(order)))


def test_a_plan_may_be_made_by_itself(sounds: Path, whole: dict[str, str], tmp_path: Path) -> None:
    """--plan-only does nothing but plan; the parts, and a run of the rest, end in the same bytes."""
    out = tmp_path / "out"
    assert shard(sounds, out, Scope(plan_only=True)).tasks_run == 0
    assert list((out / "records").iterdir()) == []
    shard(sounds, out, part(2, 2))
    unfinished = finish_dataset(out)
    assert 0 < unfinished.missing < unfinished.info["tasks"]["planned"]
    assert unfinished.some_missing == list(range(0, 100, 2))[: unfinished.missing]
    shard(sounds, out, Scope())  # one run takes the rest
    assert hashes(out) == whole


def test_a_killed_part_is_done_again(sounds: Path, whole: dict[str, str], tmp_path: Path) -> None:
    """Killed at its first record, a part leaves nothing that stays: run again, the bytes are the same."""
    out = tmp_path / "out"
    words = ["--clip-seconds", "1", "--shard-seconds", "2", "--device", "cpu", "--audio", "mulaw-256"]
    words += [word for medium in ("video", "depth", "signals") for word in (f"--{medium}", "none")]
    fifth = [str(Path(sys.executable).with_name("fifth")), "shard", str(sounds), str(out), *words]
    process = subprocess.Popen(
        [*fifth, "--part", "1/2", "--workers", "0", "--quiet"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        if list(out.glob("records/*.json")):
            break
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    (out / "shards" / "audio-000001.tar.0123abcd.partial").write_bytes(b"half a shard")
    for number in (2, 1):
        shard(sounds, out, part(number, 2))
    assert finish_dataset(out).missing == 0
    assert hashes(out) == whole


def test_a_part_is_run_once_at_a_time(sounds: Path, tmp_path: Path) -> None:
    """While one is at work, the same part, a whole run and finishing are refused, with who holds it."""
    out = tmp_path / "out"
    shard(sounds, out, Scope(plan_only=True))
    with DatasetFolder(out).lock_part(1, 2, 0, print):
        with pytest.raises(DatasetLocked, match=rf"part 1-of-2 is at work already .*{os.getpid()}"):
            shard(sounds, out, part(1, 2))
        assert shard(sounds, out, part(2, 2)).tasks_run > 0
        with pytest.raises(DatasetLocked, match="part 1-of-2"):
            shard(sounds, out, Scope())
        with pytest.raises(DatasetLocked, match="part 1-of-2"):
            finish_dataset(out)


def test_parts_wait_for_the_plan(tmp_path: Path) -> None:
    """Who comes while another one plans waits for it, and says so; after its time, it is refused."""
    folder, said = DatasetFolder(tmp_path), list[str]()
    folder.create()
    planned = threading.Event()

    def others() -> None:
        with DatasetFolder(tmp_path).lock():
            holds.set()
            planned.wait(20)
            folder.write_plan_part([{"kind": "part", "part": 0, "format": 1}])

    def hear(line: str) -> None:
        said.append(line)
        planned.set()

    holds = threading.Event()
    thread = threading.Thread(target=others)
    thread.start()
    assert holds.wait(20)
    with pytest.raises(DatasetLocked, match=r"waited 0 s for the plan"):
        await_plan(folder, lambda: pytest.fail("it planned beside another"), 0, said.append)
    await_plan(folder, lambda: pytest.fail("it planned beside another"), 60, hear)
    thread.join()
    assert len(said) == 1
    assert f"process {os.getpid()}" in said[0]


def test_a_part_leaves_new_recordings_to_the_next_planning(sounds: Path, tmp_path: Path) -> None:
    """It says what is not planned, and takes none of it; --plan-only adds it."""
    folder, out, ear = tmp_path / "in", tmp_path / "out", Ear()
    shutil.copytree(sounds, folder)
    shard(folder, out, part(1, 2))
    write_sound(folder / "late.wav", tone(700, 1))
    shard(folder, out, part(2, 2), ear)
    assert any("1 recordings are not in the plan (such as late.wav)" in line for line in ear.lines)
    assert len(DatasetFolder(out).plan_parts()) == 1
    assert finish_dataset(out).missing == 0
    assert shard(folder, out, Scope(plan_only=True)).recordings_new == 1
    assert shard(folder, out, part(1, 2)).tasks_run + shard(folder, out, part(2, 2)).tasks_run == 1
    assert {entry["recording"] for entry in finish_dataset(out).info["per_recording"]} >= {"late.wav"}


def test_where_nothing_is_to_be_planned_parts_end(tmp_path: Path) -> None:
    """An empty folder makes no dataset, and no part waits for one."""
    (tmp_path / "in").mkdir()
    assert shard(tmp_path / "in", tmp_path / "out", part(1, 2)).tasks_run == 0
    assert not DatasetFolder(tmp_path / "out").is_dataset()


class Deadly(Engine):
    """Workers that `3.wav` ends."""

    def run(self, jobs: Iterable[Job], in_order: bool = False) -> Iterator[Outcome]:
        for job in jobs:
            entries = job.argument.get("entries", [])
            if any(entry["name"] == "3.wav" for entry in entries):
                yield Outcome(job, "died", {"error": "the worker process died: Aborted", "type": "died"})
            else:
                yield from super().run([job])

    def alone(self) -> Engine:
        return self


def test_quarantine_in_a_part_is_that_part_s(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ends the workers of several parts is set apart once; numbers do not collide, none is done twice.

    The task in the place of another belongs to the same part, whatever its number.
    """
    monkeypatch.setattr("ingest.engine_choice.Engine", Deadly)
    out, single = tmp_path / "out", tmp_path / "single"
    shard(sounds, single, Scope())
    ran = [shard(sounds, out, part(number, 3)) for number in (3, 1, 2)]
    done = finish_dataset(out)
    assert done.missing == 0
    assert [run.unfinished for run in ran] == [[], [], []]
    assert all(shard(sounds, out, part(number, 3)).tasks_run == 0 for number in (1, 2, 3))
    assert verify_dataset(out) == []
    mine, theirs = dataset_info(out), dataset_info(single)
    assert {f["recording"] for f in mine["failures"]} == {"3.wav"}
    facts = ("tokens", "samples", "recordings", "tasks")
    assert {name: mine[name] for name in facts} == {name: theirs[name] for name in facts}
    spans = sorted((f["start_ns"], f["stop_ns"]) for f in mine["failures"])
    assert spans == sorted((f["start_ns"], f["stop_ns"]) for f in theirs["failures"])


def test_quarantine_counts_as_failures_of_its_recording(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where that is too many, the run ends before it does what is left of the tasks; the next one does it."""
    monkeypatch.setattr("ingest.engine_choice.Engine", Deadly)
    monkeypatch.setattr("ingest.failure_share.LEAST_RECORDINGS", 2)
    run = shard(sounds, tmp_path / "out", Scope(), max_failure_share=0.0)
    assert run.stopped_by.startswith("1 of ")
    done = run.tasks_run
    assert dataset_info(tmp_path / "out")["tasks"]["done"] == done
    again = shard(sounds, tmp_path / "out", Scope())
    assert (again.stopped_by, again.unfinished, again.tasks_run > 0) == ("", [], True)
    assert finish_dataset(tmp_path / "out").missing == 0


def test_parts_are_named_and_checked() -> None:
    """`I/N` from 1 to N; what changes the plan is no matter of a part."""
    assert (Part.parse("3/8"), Part.parse("3/8").share, str(Part(3, 8))) == (Part(3, 8), (2, 8), "3/8")
    for text in ("0/3", "4/3", "1", "a/b", "1/0", "-1/3"):
        with pytest.raises(WrongUse, match="--part"):
            Part.parse(text)
    with pytest.raises(WrongUse, match="give one of them"):
        Scope(Part(1, 2), plan_only=True)


def test_a_part_does_not_change_the_plan(sounds: Path, tmp_path: Path) -> None:
    """--retry-failed and --replace belong to planning."""
    with pytest.raises(WrongUse, match="--plan-only"):
        shard(sounds, tmp_path / "out", part(1, 2), retry_failed=True)
