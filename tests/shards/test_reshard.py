"""Datasets written anew: shuffled, merged, filtered, split; no sample lost, changed or made up."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from made_dataset import (
    EVERYTHING,
    ORIGIN_NS,
    TASKS,
    VIDEO,
    Task,
    content_id,
    files_of,
    run_task,
    write_dataset,
    write_part,
)
from test_kills import die_at

from shards import (
    CannotReshard,
    DamagedDataset,
    DatasetFolder,
    DatasetLocked,
    Reshaping,
    Sample,
    WrongCondition,
    dataset_info,
    open_dataset,
    parse_shares,
    reshard,
    split_of,
    verify_dataset,
)

Json = dict[str, Any]


def bytes_of(sample: Sample) -> dict[str, bytes]:
    """Every member of a sample as it stands in the tar."""
    layout = open_layouts[sample.layout]
    return {member: sample.raw(member) for member in layout}


open_layouts = {
    layout["name"]: [member["name"] for member in layout["members"]] for layout in (EVERYTHING, VIDEO)
}


def samples_of(path: Path) -> dict[str, dict[str, bytes]]:
    return {sample.key: bytes_of(sample) for sample in open_dataset(path).samples()}


def write_tasks(path: Path, tasks: dict[int, Task]) -> Path:
    """Write a finished dataset of these tasks."""
    folder = DatasetFolder(path)
    folder.create()
    write_part(folder, tasks)
    for number, task in tasks.items():
        run_task(folder, number, task)
    folder.finish()
    return path


@pytest.mark.parametrize("shuffle", [False, True])
def test_every_sample_is_there_once_as_it_was(finished: Path, tmp_path: Path, shuffle: bool) -> None:
    """Byte for byte; the result verifies; what was lost, and why, is still told."""
    reshard([finished], tmp_path / "out", Reshaping(shuffle=shuffle))
    assert verify_dataset(tmp_path / "out") == []
    want, got = samples_of(finished), samples_of(tmp_path / "out")
    assert got == want
    assert (list(got) == list(want)) is not shuffle
    before, after = dataset_info(finished), dataset_info(tmp_path / "out")
    for fact in ("samples", "tokens", "seconds_ns", "failures", "notes"):
        assert after[fact] == before[fact], fact
    same = (
        "recording",
        "id",
        "status",
        "duplicate_of",
        "samples",
        "seconds_ns",
        "origin_ns",
        "stop_ns",
        "about",
    )
    told = [
        [{key: line[key] for key in same} for line in found["per_recording"]] for found in (before, after)
    ]
    assert told[0] == told[1]


def test_small_shards_are_merged_by_layout(finished: Path, tmp_path: Path) -> None:
    """Two shards of one layout become one; samples of two layouts never share a shard."""
    reshard([finished], tmp_path / "out")
    assert [shard["name"] for shard in dataset_info(finished)["shards"]] == [
        "video-audio-000000", "video-audio-000001", "video-000002",
    ]  # fmt: skip
    assert [shard["name"] for shard in dataset_info(tmp_path / "out")["shards"]] == [
        "video-audio-000000", "video-000001",
    ]  # fmt: skip


def test_shards_are_cut_evenly(tmp_path: Path) -> None:
    """As few as the size allows, and about equal: no small rest at the end."""
    source = write_tasks(tmp_path / "in", {0: Task(EVERYTHING, {f"{n}.bag": range(60) for n in range(9)})})
    reshard([source], tmp_path / "out", Reshaping(shard_mb=1, shuffle=True))
    sizes = [shard["bytes"] for shard in dataset_info(tmp_path / "out")["shards"]]
    total = dataset_info(source)["bytes"]
    assert len(sizes) == -(-total // 2**20) > 2
    assert max(sizes) < 2**20 + 20_000
    assert max(sizes) - min(sizes) < 20_000


def test_the_order_depends_on_seed_and_samples_alone(tmp_path: Path) -> None:
    """Not on how the samples lie in shards; another seed gives another order."""
    clips = {f"{n}.mkv": range(6) for n in range(4)}
    one = write_tasks(tmp_path / "one", {0: Task(VIDEO, clips)})
    many = write_tasks(
        tmp_path / "many", {n: Task(VIDEO, {name: clips[name]}) for n, name in enumerate(reversed(clips))}
    )
    tars = []
    for name, source, seed in (("a", one, 5), ("b", many, 5), ("c", one, 6)):
        reshard([source], tmp_path / name, Reshaping(shuffle=True, seed=seed))
        tars.append((tmp_path / name / "shards" / "video-000000.tar").read_bytes())
    assert tars[0] == tars[1] != tars[2]


def test_shuffled_means_mixed(tmp_path: Path) -> None:
    """Neighbours are of one recording no oftener than chance has it."""
    source = write_tasks(tmp_path / "in", {0: Task(VIDEO, {f"{n}.mkv": range(50) for n in range(20)})})
    reshard([source], tmp_path / "out", Reshaping(shuffle=True))
    names = [sample.recording for sample in open_dataset(tmp_path / "out").samples()]
    neighbours = sum(a == b for a, b in itertools.pairwise(names))
    assert neighbours < 999 * 49 / 999 * 1.6  # 49 are expected; 978 before shuffling


def test_same_input_same_bytes(finished: Path, tmp_path: Path) -> None:
    """Every file but the protocol of the run."""
    options = Reshaping(shuffle=True, seed=1, tracks=("video",), where="tokens > 0")
    for name in ("a", "b"):
        reshard([finished], tmp_path / name, options)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


def test_tracks_are_left_out_and_equal_layouts_become_one(finished: Path, tmp_path: Path) -> None:
    """What is left of a large layout joins the small one that it now equals; its clips without content go."""
    said: list[str] = []
    reshard([finished], tmp_path / "out", Reshaping(tracks=("vid*",)), said.append)
    assert verify_dataset(tmp_path / "out") == []
    dataset = open_dataset(tmp_path / "out")
    assert list(dataset.layouts) == ["video"]
    want = {
        key: members
        for key, members in samples_of(finished).items()
        if any_pictures(key) or len(members) == 3
    }
    got = samples_of(tmp_path / "out")
    assert got.keys() == want.keys()
    assert len(want) < 18
    for key, members in got.items():
        assert members["video.tokens.npy"] == want[key]["video.tokens.npy"]
        assert list(dataset.sample(key).provenance["tracks"]) == ["video"]
    assert said == [f"{18 - len(want)} samples are left out"]


def any_pictures(key: str) -> bool:
    return int(key[17:]) // 1_000_000_000 % 3 > 0  # as `make_sample` makes them


def test_a_condition_chooses_samples(finished: Path, tmp_path: Path) -> None:
    """By recording, time, tokens and provenance; recordings of which nothing is left are listed so."""
    where = "recording ~ '*.bag' and start >= 2 and start < 8.5 and json.tracks.video.valid != 0"
    reshard([finished], tmp_path / "out", Reshaping(where=where))
    assert verify_dataset(tmp_path / "out") == []
    number = int(content_id("b.bag")[:16], 16)
    kept = {key for key in samples_of(finished) if int(key[:16], 16) == number and any_pictures(key)}
    kept = {key for key in kept if 2 <= int(key[17:]) / 1e9 < 8.5}
    assert samples_of(tmp_path / "out").keys() == kept
    assert len(kept) == 5
    lines = dataset_info(tmp_path / "out")["per_recording"]
    statuses = {line["recording"]: line["status"] for line in lines}
    assert statuses["a/drive.mp4"] == statuses["c.mkv"] == "left_out"
    assert statuses["broken.mp4"] == "failed"
    assert statuses["b.bag"] == "partial"


def test_a_split_never_parts_a_recording(tmp_path: Path) -> None:
    """Each split is a dataset; together they hold all; a recording's place depends on its content alone."""
    names = [f"{n}.mkv" for n in range(60)]
    source = write_tasks(tmp_path / "in", {0: Task(VIDEO, {name: range(3) for name in names})})
    shares = parse_shares("train=0.7, validation=0.2,test=0.1")
    folders = reshard([source], tmp_path / "out", Reshaping(split=shares, shuffle=True))
    assert [folder.path.name for folder in folders] == ["train", "validation", "test"]
    found: Counter[str] = Counter()
    for folder in folders:
        assert verify_dataset(folder.path) == []
        keys = samples_of(folder.path)
        assert {split_of(int(key[:16], 16), shares) for key in keys} == {folder.path.name}
        found.update(list(keys))
    assert found == Counter(list(samples_of(source)))
    sizes = [dataset_info(folder.path)["samples"] / 180 for folder in folders]
    assert sizes == pytest.approx([0.7, 0.2, 0.1], abs=0.15)


def test_datasets_are_merged(finished: Path, tmp_path: Path) -> None:
    """Samples of all; what two of them hold is taken once, from the first, and said."""
    tasks = {0: Task(VIDEO, {"c.mkv": range(2, 7), "d.mkv": range(3)})}
    other = write_tasks(tmp_path / "other", tasks)
    said: list[str] = []
    reshard([finished, other], tmp_path / "out", Reshaping(shuffle=True), said.append)
    assert verify_dataset(tmp_path / "out") == []
    assert samples_of(tmp_path / "out") == samples_of(other) | samples_of(finished)
    assert said == ["2 samples are in two of the datasets; those of the first one are taken"]
    recordings = [line["recording"] for line in dataset_info(tmp_path / "out")["per_recording"]]
    assert sorted(set(recordings)) == sorted(recordings)


def test_the_same_recording_under_two_names_is_told(finished: Path, tmp_path: Path) -> None:
    """Its samples count for the first name; the second is listed as a duplicate."""
    folder = DatasetFolder(tmp_path / "other")
    folder.create()
    task = Task(VIDEO, {"c.mkv": range(4, 6)})
    write_part(folder, {0: task})
    run_task(folder, 0, task)
    plan = folder.plan_path(0)
    plan.write_bytes(plan.read_bytes().replace(b'"c.mkv"', b'"moved/c.mkv"'))
    folder.finish()
    reshard([finished, folder.path], tmp_path / "out")
    assert verify_dataset(tmp_path / "out") == []
    lines = {line["recording"]: line for line in dataset_info(tmp_path / "out")["per_recording"]}
    assert lines["c.mkv"]["samples"] == 6
    assert (lines["moved/c.mkv"]["status"], lines["moved/c.mkv"]["duplicate_of"]) == ("duplicate", "c.mkv")


def test_layouts_of_one_name_must_be_equal(finished: Path, tmp_path: Path) -> None:
    """The message says where they differ, and what to do."""
    track = VIDEO["tracks"][0]
    spec = track["spec"] | {"codebook_sizes": [512]}
    other = write_tasks(
        tmp_path / "other", {0: Task(VIDEO | {"tracks": [track | {"spec": spec}]}, {"d.mkv": range(2)})}
    )
    with pytest.raises(CannotReshard, match=r"'video'.*tracks\[0\].spec.codebook_sizes\[0\] is 512"):
        reshard([finished, other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_recording_in_two_layouts_is_refused(tmp_path: Path) -> None:
    """A dataset says of each recording which layout it has."""
    a = write_tasks(tmp_path / "a", {0: Task(VIDEO, {"x.mkv": range(2)})})
    b = write_tasks(tmp_path / "b", {0: Task(EVERYTHING, {"x.mkv": range(5, 7)})})
    with pytest.raises(CannotReshard, match=r"recording x\.mkv has samples in layout 'video' and in 'video-"):
        reshard([a, b], tmp_path / "out")


@pytest.mark.parametrize("step", [1, 5, 9, 14, 20, 33])
def test_a_killed_run_is_gone_on_with(
    finished: Path, tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it was killed: no half shard is read, and the second run ends in the same bytes."""
    options = Reshaping(shuffle=True, split={"train": 0.5, "test": 0.5})
    want = tmp_path / "want"
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    reshard([finished], want, options)
    child = os.fork()
    if child == 0:
        die_at(step, after=step % 2 == 0)
        reshard([finished], tmp_path / "out", options)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    reshard([finished], tmp_path / "out", options)
    assert files_of(tmp_path / "out") == files_of(want)


def test_a_finished_one_is_left_alone(finished: Path, tmp_path: Path) -> None:
    """Running it again says so; other options for the same folder are refused."""
    reshard([finished], tmp_path / "out")
    before = files_of(tmp_path / "out")
    said: list[str] = []
    reshard([finished], tmp_path / "out", report=said.append)
    assert said == ["nothing to do: it is finished already"]
    with pytest.raises(CannotReshard, match="made with other options or of other datasets"):
        reshard([finished], tmp_path / "out", Reshaping(shuffle=True))
    assert files_of(tmp_path / "out") == before


def test_two_runs_do_not_write_one_folder(finished: Path, tmp_path: Path) -> None:
    """The second is told who is writing."""
    folder = DatasetFolder(tmp_path / "out")
    folder.create()
    with folder.lock(), pytest.raises(DatasetLocked):
        reshard([finished], folder.path)


@pytest.mark.parametrize("ending", [".tar", ".samples.npy"])
def test_a_damaged_source_is_not_copied(dataset: Path, tmp_path: Path, ending: str) -> None:
    """One flipped bit, and nothing is written."""
    path = dataset / "shards" / f"video-000002{ending}"
    data = bytearray(path.read_bytes())
    data[-700 if ending == ".tar" else -3] ^= 4
    path.write_bytes(data)
    with pytest.raises(DamagedDataset, match=rf"video-000002{ending}: not the file that was written"):
        reshard([dataset], tmp_path / "out")
    assert not list((tmp_path / "out" / "shards").iterdir())


def test_places_that_cannot_be_meant_are_refused(finished: Path, tmp_path: Path) -> None:
    """In a source, or around it; and wishes that can't be fulfilled."""
    inner = write_dataset(tmp_path / "data" / "inner").path
    for out in (inner, inner / "new", tmp_path / "data"):
        with pytest.raises(CannotReshard, match="lies in"):
            reshard([inner], out)
    with pytest.raises(CannotReshard, match="no track is like sonar; there are audio, joints, jpegs,"):
        reshard([finished], tmp_path / "out", Reshaping(tracks=("sonar",)))
    with pytest.raises(WrongCondition):
        Reshaping(where="tokens >")
    with pytest.raises(CannotReshard, match="at least 1 MiB, got 0"):
        Reshaping(shard_mb=0)
    with pytest.raises(CannotReshard, match="at least one dataset"):
        reshard([], tmp_path / "out")


def test_keys_and_origins_are_kept(finished: Path, tmp_path: Path) -> None:
    """A sample is found by its key, at its own time."""
    reshard([finished], tmp_path / "out", Reshaping(shuffle=True))
    dataset = open_dataset(tmp_path / "out")
    key = f"{content_id('b.bag')[:16]}_{7 * 10**9:019d}"
    assert dataset.sample(key).start_ns == ORIGIN_NS + 7 * 10**9
    assert len(TASKS) == 4
