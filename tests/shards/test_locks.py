"""Who may write a dataset: one run alone, or parts beside each other; the dead hold nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shards import CannotCreate, DatasetFolder, DatasetLocked
from shards.locks import parts_at_work

HOLD = """
import sys, time
from shards import DatasetFolder
folder = DatasetFolder(sys.argv[1])
with folder.lock_part(int(sys.argv[2]), int(sys.argv[3]), 0, print):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> DatasetFolder:
    made = DatasetFolder(tmp_path / "dataset")
    made.create()
    return made


def refuse(line: str) -> None:
    pytest.fail(f"nobody should be waited for: {line}")


def test_parts_work_beside_each_other(folder: DatasetFolder) -> None:
    """Different parts of one division hold the dataset together; nothing of it stays."""
    with folder.lock_part(1, 3, 0, refuse), folder.lock_part(3, 3, 0, refuse):
        assert list(parts_at_work(folder.path)) == ["1-of-3", "3-of-3"]
        assert str(os.getpid()) in parts_at_work(folder.path)["3-of-3"]
    assert parts_at_work(folder.path) == {}
    with folder.lock():
        assert not (folder.path / ".locks").exists()


def test_the_same_part_twice_is_refused(folder: DatasetFolder) -> None:
    """The second is told who is at it, and the first goes on holding it."""
    with folder.lock_part(2, 3, 0, refuse):
        with (
            pytest.raises(DatasetLocked, match=rf"part 2-of-3 is at work already \(process {os.getpid()} on"),
            folder.lock_part(2, 3, 0, refuse),
        ):
            pytest.fail("one part was held twice")
        assert list(parts_at_work(folder.path)) == ["2-of-3"]


def test_parts_of_two_divisions_are_refused(folder: DatasetFolder) -> None:
    """1 of 2 and 3 of 4 would do the same tasks."""
    with (
        folder.lock_part(1, 2, 0, refuse),
        pytest.raises(DatasetLocked, match=r"part 1-of-2 .* 3-of-4 would do some of its tasks"),
        folder.lock_part(3, 4, 0, refuse),
    ):
        pytest.fail("two divisions at once")
    with folder.lock_part(3, 4, 0, refuse):
        pass


def test_nobody_has_it_alone_while_parts_work(folder: DatasetFolder) -> None:
    """A whole run, planning and finishing name the parts; afterwards they may."""
    with folder.lock_part(1, 3, 0, refuse), folder.lock_part(2, 3, 0, refuse):
        with (
            pytest.raises(DatasetLocked, match=r"part 1-of-3 .*, part 2-of-3 .* are writing"),
            folder.lock(),
        ):
            pytest.fail("alone, with parts")
        assert list(parts_at_work(folder.path)) == ["1-of-3", "2-of-3"]
    with folder.lock():
        pass


def test_parts_wait_for_who_has_it_alone(folder: DatasetFolder) -> None:
    """As long as they may, saying once for whom; then they are refused."""
    said: list[str] = []
    with (
        folder.lock(),
        pytest.raises(DatasetLocked, match=r"waited 0\.5 s for it"),
        folder.lock_part(1, 3, 0.5, said.append),
    ):
        pytest.fail("a part beside a run")
    assert len(said) == 1
    assert f"process {os.getpid()}" in said[0]


def test_a_dead_part_holds_nothing(folder: DatasetFolder) -> None:
    """A killed part is gone at once, also from the list of who is at work."""
    command = [sys.executable, "-c", HOLD, str(folder.path), "2", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert parts_at_work(folder.path) == {"2-of-2": f"process {holder.pid} on {os.uname().nodename}"}
        holder.kill()
    with folder.lock_part(2, 2, 0, refuse), folder.plan_turn():
        pass
    with folder.lock():
        pass


def test_a_file_system_without_locks_is_said(folder: DatasetFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system can't lock, the message says so, and what to do."""
    import errno
    import fcntl

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", no_locks)
        with pytest.raises(CannotCreate, match=r"has no locks .*mount it with them"), folder.lock():
            pytest.fail("held without a lock")
        folder.append_event({"event": "written without one"})
    assert (folder.path / "run.jsonl").read_text() == '{"event":"written without one"}\n'


APPEND = """
import sys
from shards import DatasetFolder
for number in range(200):
    DatasetFolder(sys.argv[1]).append_event({"who": sys.argv[2], "number": number, "text": "x" * 5000})
"""


def test_events_of_several_processes_do_not_mix(folder: DatasetFolder) -> None:
    """Every line is whole, and each writer's are in its order."""
    import json

    writers = [subprocess.Popen([sys.executable, "-c", APPEND, str(folder.path), who]) for who in "ab"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    lines = [json.loads(line) for line in (folder.path / "run.jsonl").read_text().splitlines()]
    for who in "ab":
        assert [line["number"] for line in lines if line["who"] == who] == list(range(200))
