"""The main job, run again and again: resume, append, change, retry, replace, stop, full disk."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from made_bags import open_bag
from made_damage import cut_short, text_named_mp4
from made_runs import hashes
from made_sound import tone, write_sound
from made_video import Pictures, write_video

from ingest.configuration import Settings
from ingest.content_id import content_id
from ingest.errors import ConfigurationChanged, WrongUse
from ingest.pipeline import Choice, Listener, Run, dry_run, shard_recordings
from shards import DatasetFolder, DatasetLocked, dataset_info, open_dataset, verify_dataset

SETTINGS = Settings(clip_seconds=Fraction(1), fps=Fraction(4), size=64, device="cpu")


def shard(folder: Path, out: Path, settings: Settings = SETTINGS, **choice: Any) -> Run:
    """Run the pipeline in this process."""
    return shard_recordings([folder], out, settings, choice=Choice(**choice), workers=0)


def statuses(out: Path) -> dict[str, str]:
    return {entry["recording"]: entry["status"] for entry in dataset_info(out)["per_recording"]}


@pytest.fixture
def videos(tmp_path: Path, card_mp4: Path, card_vfr_mp4: Path, tone_wav: Path) -> Path:
    """Three good recordings of two layouts."""
    folder = tmp_path / "videos"
    folder.mkdir()
    shutil.copy(card_mp4, folder / "a.mp4")
    shutil.copy(card_vfr_mp4, folder / "b.mp4")
    shutil.copy(tone_wav, folder / "c.wav")
    return folder


class Heard(Listener):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def test_a_second_run_does_nothing(videos: Path, tmp_path: Path) -> None:
    """What is finished is skipped, and not a byte changes."""
    assert shard(videos, tmp_path / "out").tasks_run == 2
    before = hashes(tmp_path / "out")
    again = shard(videos, tmp_path / "out")
    assert (again.tasks_run, again.tasks_before, again.recordings_new) == (0, 2, 0)
    assert hashes(tmp_path / "out") == before
    assert verify_dataset(tmp_path / "out") == []


def test_new_recordings_append_and_leave_the_rest_alone(videos: Path, tmp_path: Path) -> None:
    """A new file gets new tasks in a new plan part; finished shards are not touched."""
    out = tmp_path / "out"
    shard(videos, out)
    before = hashes(out)
    write_video(videos / "d.mp4", Pictures(frames=30))
    run = shard(videos, out)
    assert (run.tasks_run, run.recordings_new) == (1, 1)
    after = hashes(out)
    assert {name: after[name] for name in before if name.startswith(("shards/", "records/", "plan/"))} == {
        name: before[name] for name in before if name.startswith(("shards/", "records/", "plan/"))
    }
    assert statuses(out) == {"a.mp4": "ok", "b.mp4": "ok", "c.wav": "ok", "d.mp4": "ok"}
    assert verify_dataset(out) == []


def test_other_settings_are_refused_with_the_difference(videos: Path, tmp_path: Path) -> None:
    """A dataset never holds two configurations; the message shows what differs."""
    shard(videos, tmp_path / "out")
    before = hashes(tmp_path / "out")
    other = Settings(clip_seconds=Fraction(1), fps=Fraction(5), size=64, device="cpu")
    with pytest.raises(ConfigurationChanged, match=r"fps: 4/1 there, 5/1 now"):
        shard(videos, tmp_path / "out", other)
    assert hashes(tmp_path / "out") == before


def test_equal_content_is_a_listed_duplicate(videos: Path, tmp_path: Path) -> None:
    """The later path of two equal files is listed, not sharded."""
    shutil.copy(videos / "a.mp4", videos / "z.mp4")
    shard(videos, tmp_path / "out")
    info = dataset_info(tmp_path / "out")
    assert statuses(tmp_path / "out")["z.mp4"] == "duplicate"
    assert any(n["recording"] == "z.mp4" and "a.mp4" in n["cause"] for n in info["notes"])
    assert shard(videos, tmp_path / "out").recordings_new == 0


def test_a_renamed_recording_is_done_already(videos: Path, tmp_path: Path) -> None:
    """The same content under another path is not sharded twice."""
    shard(videos, tmp_path / "out")
    (videos / "a.mp4").rename(videos / "renamed.mp4")
    run = shard(videos, tmp_path / "out")
    assert run.tasks_run == 0
    assert statuses(tmp_path / "out")["renamed.mp4"] == "duplicate"


def test_other_content_at_a_known_name_is_a_new_recording(videos: Path, tmp_path: Path) -> None:
    """Without --replace the old samples stay, and the run says so."""
    out = tmp_path / "out"
    shard(videos, out)
    old = dataset_info(out)["samples"]
    write_video(videos / "a.mp4", Pictures(frames=48, width=160, height=96))
    heard = Heard()
    shard_recordings([videos], out, SETTINGS, workers=0, listener=heard)
    assert dataset_info(out)["samples"] == old + 2
    assert any("a.mp4" in line and "--replace" in line for line in heard.lines)


def test_replace_drops_the_old_samples(videos: Path, tmp_path: Path) -> None:
    """With --replace the old content's samples are gone, those of its neighbours stay."""
    out = tmp_path / "out"
    shard(videos, out)
    before = {sample.key for sample in open_dataset(out).samples()}
    write_video(videos / "a.mp4", Pictures(frames=48, width=160, height=96))
    shard(videos, out, replace=True)
    after = {sample.key for sample in open_dataset(out).samples()}
    by_name = {s.key: s.provenance["recording"] for s in open_dataset(out).samples()}
    assert len(after & before) == len(before) - 2
    assert sorted(by_name.values()).count("a.mp4") == 2
    assert verify_dataset(out) == []


def test_failures_are_listed_and_cost_only_their_file(videos: Path, tmp_path: Path) -> None:
    """Broken files are failures with a cause; everything else is finished."""
    text_named_mp4(videos / "lie.mp4")
    (videos / "empty.mkv").touch()
    cut_short(videos / "b.mp4", videos / "cut.mp4", 0.5)
    (videos / "README.md").write_text("no recording")
    shard(videos, tmp_path / "out")
    info = dataset_info(tmp_path / "out")
    causes = {failure["recording"]: failure["cause"] for failure in info["failures"]}
    assert set(causes) == {"lie.mp4", "empty.mkv", "cut.mp4"}
    assert "plain text" in causes["lie.mp4"]
    assert "empty" in causes["empty.mkv"]
    assert "moov" in causes["cut.mp4"]
    assert statuses(tmp_path / "out")["a.mp4"] == "ok"
    assert info["passed_over"] == {"no recording": 1}


def test_failed_recordings_are_tried_again_only_when_asked(videos: Path, tmp_path: Path) -> None:
    """A failed recording with unchanged content is left alone, unless --retry-failed."""
    out = tmp_path / "out"
    text_named_mp4(videos / "lie.mp4")
    shard(videos, out)
    before = hashes(out)
    shard(videos, out)
    assert hashes(out) == before
    run = shard(videos, out, retry_failed=True)
    assert run.recordings_new == 1
    assert len(dataset_info(out)["failures"]) == 1


def test_strict_stops_at_the_first_failure(videos: Path, tmp_path: Path) -> None:
    """With --strict nothing is planned beside a failure."""
    text_named_mp4(videos / "lie.mp4")
    run = shard(videos, tmp_path / "out", strict=True)
    assert "lie.mp4" in run.stopped_by
    assert not DatasetFolder(tmp_path / "out").is_dataset()


def test_a_dry_run_writes_nothing_and_says_what_would_be(videos: Path, tmp_path: Path) -> None:
    """The plan's lines are there, the folder is not; the real run makes as many clips."""
    lines = dry_run([videos], SETTINGS, workers=0)
    planned = sum(line["clips"] for line in lines if line["kind"] == "recording")
    assert list(tmp_path.iterdir()) == [videos]
    shard(videos, tmp_path / "out")
    assert dataset_info(tmp_path / "out")["samples"] == planned


def test_any_number_of_workers_gives_the_same_bytes(videos: Path, tmp_path: Path) -> None:
    """In this process, with one worker and with two: the same files."""
    results = []
    for workers in (0, 1, 2):
        out = tmp_path / f"out{workers}"
        settings = Settings(clip_seconds=Fraction(1), fps=Fraction(4), size=64, device="cpu", shard_seconds=2)
        shard_recordings([videos], out, settings, workers=workers)
        results.append(hashes(out))
    assert results[0] == results[1] == results[2]
    assert sum(name.endswith(".tar") for name in results[0]) >= 4


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path, card_mp4: Path) -> None:
    """Killed at moments spread over it, once politely, a run comes to the bytes of an undisturbed one."""
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(5):
        write_sound(folder / f"{index}.wav", tone(200 + 100 * index, 3))
    shutil.copy(card_mp4, folder)
    words = ["--clip-seconds", "1", "--fps", "4", "--size", "64", "--shard-seconds", "2", "--device", "cpu"]
    fifth = Path(sys.executable).with_name("fifth")

    def command(out: Path) -> list[str]:
        return [str(fifth), "shard", str(folder), str(out), *words, "--workers", "2", "--quiet"]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True, timeout=120)
    total = len(list((tmp_path / "whole" / "records").iterdir()))
    kills = 0
    for part in range(1, 3):
        process = subprocess.Popen(
            command(tmp_path / "killed"),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        records = tmp_path / "killed" / "records"
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if records.exists() and len(list(records.iterdir())) >= total * part // 3:
                polite = part == 2
                os.kill(process.pid, signal.SIGTERM) if polite else os.killpg(process.pid, signal.SIGKILL)
                kills += 1
                if polite and process.wait(timeout=60) == 130:
                    assert "pending" in statuses(tmp_path / "killed").values()
                break
            time.sleep(0.02)
        process.wait(timeout=60)
    subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True, timeout=120)
    assert kills >= 1
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")


def test_a_full_disk_leaves_nothing_that_looks_finished(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is the machine's; after making room the same command finishes the dataset."""
    import shards.writer

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(shards.writer, "sync_folder", full)
        with pytest.raises(OSError, match="disk is full"):
            shard(videos, out)
    assert not list((out / "records").iterdir())
    shard(videos, out)
    assert verify_dataset(out) == []
    assert statuses(out) == {"a.mp4": "ok", "b.mp4": "ok", "c.wav": "ok"}


def test_two_runs_on_one_dataset_do_not_meet(videos: Path, tmp_path: Path) -> None:
    """The second is refused while the first holds the folder."""
    out = tmp_path / "out"
    shard(videos, out)
    with DatasetFolder(out).lock(), pytest.raises(DatasetLocked, match=str(os.getpid())):
        shard(videos, out)


def test_a_recording_that_changes_between_plan_and_task_is_said(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is set apart; the next run plans the new content."""
    import ingest.pipeline

    plan = ingest.pipeline._plan

    def plan_then_change(*args: Any) -> Any:
        found = plan(*args)
        write_sound(videos / "c.wav", tone(100, 1))
        return found

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(ingest.pipeline, "_plan", plan_then_change)
        assert shard(videos, out).unfinished == []
    (failure,) = dataset_info(out)["failures"]
    assert failure["recording"] == "c.wav"
    assert "it has changed since it was planned" in failure["cause"]
    assert statuses(out) == {"a.mp4": "ok", "b.mp4": "ok", "c.wav": "failed"}
    assert shard(videos, out).recordings_new == 1


def test_a_bag_that_was_idle_for_hours_is_only_its_busy_clips(tmp_path: Path) -> None:
    """Two stretches of one bag in one task: counted once, verified, and nothing of the hours between."""
    (tmp_path / "in").mkdir()
    starts_ns = (10**18, 10**18 + 3 * 3600 * 10**9)
    with open_bag(tmp_path / "in" / "idle.mcap") as bag:
        for start_ns in starts_ns:
            for k in range(100):
                bag.write("/force", "std_msgs/msg/Float64", start_ns + k * 20_000_000, data=k / 10)
    out = tmp_path / "out"
    run = shard(tmp_path / "in", out)
    info = dataset_info(out)
    assert (run.tasks_run, run.unfinished, info["samples"]) == (1, [], 5)
    assert [entry["samples"] for entry in info["per_recording"]] == [5]
    assert [sample.start_ns - starts_ns[0] for sample in open_dataset(out).samples()] == [
        0,
        10**9,
        2 * 10**9,  # the last value is valid for three periods more
        3 * 3600 * 10**9,
        3 * 3600 * 10**9 + 10**9,
    ]
    assert verify_dataset(out) == []


def test_what_is_no_recording_is_said_once(videos: Path, tmp_path: Path) -> None:
    """Another dataset is a note of the first run; the second run plans nothing."""
    (videos / "robot").mkdir()
    (videos / "robot" / "fifth.json").write_text("{}")
    out = tmp_path / "out"
    shard(videos, out)
    before = hashes(out)
    assert [n["recording"] for n in dataset_info(out)["notes"]] == ["robot"]
    shard(videos, out)
    assert hashes(out) == before


def test_a_recording_that_ends_its_reader_costs_only_itself(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be looked at because of the machine is named as not done; the rest is made."""

    def failing(paths: Any, episode: int | None) -> str:
        if paths[0].name == "b.mp4":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return content_id(paths, episode)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("ingest.examining.content_id", failing)
        run = shard(videos, out)
    assert len(run.unfinished) == 1
    assert run.unfinished[0].startswith("b.mp4: ")
    assert statuses(out) == {"a.mp4": "ok", "c.wav": "ok"}
    assert shard(videos, out).unfinished == []
    assert statuses(out) == {"a.mp4": "ok", "b.mp4": "ok", "c.wav": "ok"}


def test_a_dataset_inside_the_input_is_passed_over(videos: Path) -> None:
    """`fifth shard . out` does not read its own output."""
    shard(videos, videos / "out")
    shard(videos, videos / "out")
    assert set(statuses(videos / "out")) == {"a.mp4", "b.mp4", "c.wav"}


def test_maps_give_recordings_of_different_topics_one_layout(
    tmp_path: Path, ramp_mcap: Any, ramp_bag: Any
) -> None:
    """--map takes only the tracks it names, under these names, with the columns asked for."""
    folder = tmp_path / "bags"
    folder.mkdir()
    shutil.copy(ramp_mcap.path, folder)
    shutil.copy(ramp_bag.path, folder)
    from ingest.track_map import TrackMap

    settings = Settings(
        clip_seconds=Fraction(1),
        size=64,
        device="cpu",
        maps=(TrackMap.parse("state=/joint_states:position"), TrackMap.parse("gone=/no_such_topic")),
    )
    shard(folder, tmp_path / "out", settings)
    dataset = open_dataset(tmp_path / "out")
    assert list(dataset.layouts) == ["state"]
    columns = dataset.layouts["state"].track("state")["columns"]
    assert columns
    assert all(column.startswith("position[") for column in columns)
    assert any("no_such_topic" in note["cause"] for note in dataset_info(tmp_path / "out")["notes"])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"fps": Fraction(0)}, "--fps must be more than 0"),
        ({"clip_seconds": Fraction(-1)}, "--clip-seconds must be more than 0"),
        ({"size": 100}, "--size must be a multiple of 16"),
        ({"fit": "bend"}, "--fit must be"),
        ({"shard_mb": 0}, "at least 1"),
        ({"signal_hz": Fraction(0)}, "--signal-hz"),
    ],
)
def test_impossible_settings_are_wrong_use(change: dict[str, Any], match: str) -> None:
    """Every value that can't work is refused when it is given."""
    with pytest.raises(WrongUse, match=match):
        Settings(**change)


def test_a_mistyped_encoder_is_wrong_use_with_the_nearest_name(videos: Path, tmp_path: Path) -> None:
    """The message suggests what was meant."""
    with pytest.raises(WrongUse, match="did you mean 'frames-dct'"):
        shard(videos, tmp_path / "out", Settings(video="frame-dct", device="cpu"))
    assert not (tmp_path / "out").exists()


def test_no_recordings_make_no_dataset(tmp_path: Path) -> None:
    """An empty folder leaves no dataset behind."""
    (tmp_path / "in").mkdir()
    shard(tmp_path / "in", tmp_path / "out")
    assert not DatasetFolder(tmp_path / "out").is_dataset()
