"""Verification: nothing is found in a whole dataset, and everything in a damaged one."""

from __future__ import annotations

import hashlib
import random
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_dataset import (
    TASKS,
    VIDEO,
    Made,
    Task,
    make_sample,
    run_task,
    write_dataset,
    write_part,
)

from shards import DatasetFolder, Problem, ShardWriter, sample_key, shard_name, verify_dataset
from shards.verify_sample import wrong_codes, wrong_invalids, wrong_length, wrong_offsets, wrong_times

Json = dict[str, Any]


def told(problems: list[Problem]) -> str:
    return "\n".join(map(str, problems))


def test_a_whole_dataset_has_no_problem(finished: Path) -> None:
    """And progress goes from shard to shard up to all bytes."""
    steps: list[tuple[int, int]] = []
    assert verify_dataset(finished, lambda done, total: steps.append((done, total))) == []
    sizes = [path.stat().st_size for path in sorted((finished / "shards").glob("*.tar"))]
    assert len(steps) == 3
    assert steps[-1] == (sum(sizes), sum(sizes))


def checked_files(path: Path) -> list[Path]:
    """The files of which no byte may change unseen."""
    folders = [path / name for name in ("shards", "records", "plan", "tables", ".nv-meta")]
    files = [file for folder in folders for file in sorted(folder.iterdir())]
    return [*files, *(path / name for name in ("fifth.json", "fifth.json.sha256", "README.md"))]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset whose files are damaged and mended again."""
    return write_dataset(tmp_path_factory.mktemp("damaged") / "dataset").path


def flip(file: Path, place: int, bit: int) -> None:
    """Change one bit of a file in place."""
    with file.open("r+b") as opened:
        opened.seek(place)
        byte = opened.read(1)[0]
        opened.seek(place)
        opened.write(bytes([byte ^ (1 << bit)]))


def problems_with_flipped(path: Path, file: Path, place: int, bit: int) -> list[Problem]:
    flip(file, place, bit)
    try:
        return verify_dataset(path)
    finally:
        flip(file, place, bit)


def test_a_flipped_bit_is_noticed_in_every_file(damaged: Path) -> None:
    """First, last, and some bytes between, of each file: never silence, never a crash."""
    randomly = random.Random(5)
    for file in checked_files(damaged):
        size_bytes = file.stat().st_size
        if not size_bytes:
            continue
        for place in {0, size_bytes - 1, *(randomly.randrange(size_bytes) for _ in range(3))}:
            problems = problems_with_flipped(damaged, file, place, randomly.randrange(8))
            assert problems, f"byte {place} of {file.name}"
    assert verify_dataset(damaged) == []


@settings(max_examples=40)
@given(st.data())
def test_any_flipped_bit_is_noticed(damaged: Path, data: st.DataObject) -> None:
    """Wherever it is."""
    file = data.draw(st.sampled_from([file for file in checked_files(damaged) if file.stat().st_size]))
    place = data.draw(st.integers(0, file.stat().st_size - 1))
    assert problems_with_flipped(damaged, file, place, data.draw(st.integers(0, 7)))


@pytest.mark.parametrize(
    "name", ["shards/video-000002.tar", "shards/video-000002.tar.idx", "records/000002.json"]
)
def test_the_problem_names_the_file(damaged: Path, name: str) -> None:
    """A change that only a hash can notice is told with the file it is in."""
    place = {"tar": 520, "idx": 0, "json": 20}[name.rpartition(".")[2]]
    problems = problems_with_flipped(damaged, damaged / name, place, 0)
    assert name in told(problems)


def test_a_changed_record_is_named_by_its_number(dataset: Path) -> None:
    """Even one that is valid in itself."""
    folder = DatasetFolder(dataset)
    record = folder.read_record(1)
    record["counts"]["clips_without_content"] = 7
    folder.write_record(1, record)
    assert "records/000001.json: is not the record" in told(verify_dataset(dataset))


LOSSES: dict[str, tuple[str, str]] = {
    "shards/video-000002.tar": ("shards/video-000002.tar", "is missing"),
    "shards/video-000002.tar.idx": ("shards/video-000002.tar.idx", "is missing"),
    "shards/video-000002.samples.npy": ("shards/video-000002.samples.npy", "is missing"),
    "records/000002.json": ("records/000002.json", "is missing"),
    "records/000003.json": ("records", "'count': 3"),
    "tables/failures.jsonl": ("tables/failures.jsonl", "is missing"),
    "plan/000000.jsonl": ("plan/000000.jsonl", "is missing"),
    "fifth.json": ("fifth.json", "is missing"),
    "fifth.json.sha256": ("fifth.json.sha256", "is missing"),
    "README.md": ("README.md", "is missing"),
    ".nv-meta/split.yaml": (".nv-meta/split.yaml", "is missing"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_lost_file_is_noticed(dataset: Path, name: str) -> None:
    """By its name."""
    (dataset / name).unlink()
    file, what = LOSSES[name]
    assert [problem for problem in verify_dataset(dataset) if problem.file == file and what in problem.what]


def test_strangers_are_named(dataset: Path) -> None:
    """Whoever reads `shards/*.tar` would take a tar that no record names."""
    shutil.copy(dataset / "shards" / "video-000002.tar", dataset / "shards" / "video-000007.tar")
    (dataset / "tables" / "shards.jsonl.0123abcd.partial").write_bytes(b"{")
    assert told(verify_dataset(dataset)) == (
        "shards/video-000007.tar: is of no shard that a record names\n"
        "tables/shards.jsonl.0123abcd.partial: was left by a stopped run; the next run removes it"
    )


def test_a_part_that_is_not_finished_is_named(dataset: Path) -> None:
    """A later plan, whose run was stopped before it finished."""
    write_part(DatasetFolder(dataset), {4: Task(VIDEO, {"new.mp4": range(2)})})
    assert "plan/000001.jsonl: is not in fifth.json: a later run was not finished" in told(
        verify_dataset(dataset)
    )


def rewrite(folder: DatasetFolder, task: int, change: Callable[[Made], None], sign: bool = True) -> None:
    """Write a task's shard again with changed samples, as a faulty program would: all hashes fit."""
    layout, clips = TASKS[task].layout, TASKS[task].clips
    name = shard_name(layout["name"], task)
    with ShardWriter(folder.shards_folder, name, layout) as writer:
        for recording, numbers in clips.items():
            for clip in numbers:
                made = make_sample(layout, recording, clip)
                change(made)
                made.add_to(writer)
        figures = writer.close()
    assert figures is not None
    record = folder.read_record(task)
    folder.write_record(task, record | {"shard": figures.to_json()})
    folder.finish()


def set_array(member: str, index: Any, value: Any) -> Callable[[Made], None]:
    def change(made: Made) -> None:
        if made.members[member].size:
            made.members[member] = made.members[member].copy()
            made.members[member][index] = value

    return change


def set_json(key: str, value: Any) -> Callable[[Made], None]:
    return lambda made: made.members["json"].__setitem__(key, value)


def set_valid(track: str, valid: int) -> Callable[[Made], None]:
    return lambda made: made.valid.update({track: valid})


def set_text(made: Made) -> None:
    made.members["subs.txt"] = "a\nb\nc"


def start_earlier(made: Made) -> None:
    made.span["start_ns"] -= 1


def rename_recording(made: Made) -> None:
    made.span["recording_id"] += 1
    made.key = sample_key(made.span["recording_id"], int(made.key[17:]))


FAULTS: dict[str, tuple[Callable[[Made], None], str]] = {
    "code": (set_array("video.tokens.npy", (0, 1, 1), 1000), "video.tokens.npy has code 1000; codebook 0"),
    "codebook": (set_array("audio.tokens.npy", (0, 1), 100), "has code 100; codebook 1 has 100 codes"),
    "times": (set_array("video.times.npy", 1, -1), "video.times.npy runs back at index 0"),
    "cue": (set_array("subs.times.npy", (0, 0), 9), "subs.times.npy runs back at index 0"),
    "offsets": (set_array("jpegs.offsets.npy", -1, 3), "jpegs.offsets.npy must rise from 0 to the"),
    "invalid": (set_array("joints.tokens.npy", (1, 1), 0), "joints.values.npy has 1 NaN without code 0"),
    "id": (set_json("id", "f" * 64), "json.id is 'ffff.*which is not the id in the key"),
    "start": (set_json("start_ns", 5), r"json.start_ns is 5, \d+ in its row"),
    "lines": (set_text, "subs.txt has 3 lines, subs.times.npy 0 cues"),
    "valid": (set_valid("video", 9), "too few for a valid length of 9"),
    "valid in json": (set_valid("subs", 9), "json.tracks.subs.valid is 0, 9 in its row"),
    "span": (start_earlier, r"starts at \d+; the key says \d+"),
    "recording": (rename_recording, "is of a recording that is not in tables/recordings.jsonl"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_inside_a_sample_is_named(dataset: Path, fault: str) -> None:
    """Files whose hashes all fit may still hold what must not be: it is told with the sample's key."""
    change, message = FAULTS[fault]
    rewrite(DatasetFolder(dataset), 0, change)
    problems = [problem for problem in verify_dataset(dataset) if problem.sample]
    assert re.search(message, told(problems))
    assert {problem.file.rpartition("/")[0] for problem in problems} == {"shards"}


def test_a_sample_in_two_shards_is_noticed(dataset: Path) -> None:
    """One clip of one recording is one sample, in the whole dataset."""
    folder = DatasetFolder(dataset)
    task = Task(VIDEO, {"c.mkv": range(3, 5)})
    write_part(folder, {4: task})
    run_task(folder, 4, task, 1)
    folder.finish()
    (problem,) = verify_dataset(dataset)
    assert re.fullmatch(
        r"shards: 2 samples are of recording [0-9a-f]{16} at 1600000003000000000 ns", str(problem)
    )


def test_double_samples_are_found_in_several_passes(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset with more samples than are held at once is dealt to passes, and the answer is the same."""
    test_a_sample_in_two_shards_is_noticed(dataset)
    before = verify_dataset(dataset)
    monkeypatch.setattr("shards.verify._KEYS_AT_ONCE", 3)
    assert verify_dataset(dataset) == before


def test_rows_that_lead_elsewhere_are_noticed(dataset: Path) -> None:
    """Rows and index whose hashes fit their record, but that do not lead to the data."""
    folder = DatasetFolder(dataset)
    rows_path, idx_path = (
        folder.shards_folder / f"video-000002{end}" for end in (".samples.npy", ".tar.idx")
    )
    rows = np.load(rows_path)
    rows["video.tokens.npy:offset"][1] += 64
    idx = np.fromfile(idx_path, "<u8")
    idx[-1] += 512
    np.save(rows_path, rows)
    idx.tofile(idx_path)
    record = folder.read_record(2)
    record["shard"]["samples_sha256"] = hashlib.sha256(rows_path.read_bytes()).hexdigest()
    record["shard"]["idx_sha256"] = hashlib.sha256(idx_path.read_bytes()).hexdigest()
    folder.write_record(2, record)
    folder.finish()
    text = told(verify_dataset(dataset))
    assert re.search(r"samples.npy: d08d.*: video.tokens.npy is at \d+ with \d+ bytes; the row says", text)
    assert "video-000002.tar.idx: its last entry is 12800; the last sample ends at 12288" in text


def test_a_shard_with_many_problems_does_not_flood(dataset: Path) -> None:
    """Twenty are told, and how many more there are."""
    rewrite(DatasetFolder(dataset), 0, all_wrong)
    problems = verify_dataset(dataset)
    assert len(problems) == 21
    assert problems[-1].what == "… and 15 more"


def all_wrong(made: Made) -> None:
    """Five problems in each of the seven samples."""
    start_earlier(made)
    set_json("id", "f" * 64)(made)
    set_valid("subs", 9)(made)
    set_text(made)


def test_a_damaged_record_does_not_keep_the_shards_from_being_read(dataset: Path) -> None:
    """They are then verified by the tables, so that one damaged file hides no other."""
    flip(dataset / "records" / "000000.json", 0, 3)
    flip(dataset / "shards" / "video-000002.tar", 600, 1)
    text = told(verify_dataset(dataset))
    assert "records/000000.json: is not the record that the tables were made from" in text
    assert "shards/video-000002.tar: sha256 is" in text


codes = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6)


@given(codes, st.integers(1, 10), st.integers(1, 10), st.integers(0, 4))
def test_codes_are_checked_as_one_by_one(
    values: list[tuple[int, int]], first: int, second: int, lowest: int
) -> None:
    """The slow, obvious way: every code below the size of its codebook, and none between 0 and the lowest."""
    tokens = np.array(values, np.uint8)
    spec = {"codebook_sizes": [first, second], "lowest_code": lowest}
    wrong = any(a >= first or b >= second or 0 < a < lowest or 0 < b < lowest for a, b in values)
    assert bool(list(wrong_codes(tokens, spec))) == wrong
    wrong_in_one = any(code >= first or 0 < code < lowest for pair in values for code in pair)
    assert bool(list(wrong_codes(tokens, spec | {"codebook_sizes": [first]}))) == wrong_in_one


def text_of(problems: Iterator[str]) -> str:
    return "; ".join(problems)


def test_codes_without_a_range_or_without_codes_are_taken() -> None:
    """There is nothing to compare them with, or nothing to compare."""
    assert not text_of(wrong_codes(np.empty((0, 3), np.uint8), {"codebook_sizes": [1, 1]}))
    assert not text_of(wrong_codes(np.full((2, 3), 9, np.uint8), {}))
    three = np.zeros((2, 3), np.uint8)
    assert text_of(wrong_codes(three, {"codebook_sizes": [1, 1]})) == "has [2, 3] codes, but 2 codebooks"


def test_a_valid_length_fits_its_steps() -> None:
    """At most as long as all steps together; a ragged encoder's steps are between its offsets."""
    four = np.zeros(4, np.uint8)
    assert not text_of(wrong_length(four, None, 8, {"strides": [2]}))
    assert text_of(wrong_length(four, None, 9, {"strides": [2]})).startswith("has 4 steps of 2, too few")
    assert text_of(wrong_length(np.zeros(99), np.zeros(5), 5, {"strides": [1]})).startswith(
        "has 4 steps of 1"
    )
    assert not text_of(wrong_length(four, None, 9, {"strides": [0]}))


@pytest.mark.parametrize(
    ("offsets", "count", "good"),
    [
        ([0, 2, 2, 5], 5, True),
        ([0], 0, True),
        ([], 0, False),
        ([0, 3, 2, 5], 5, False),
        ([1, 5], 5, False),
        ([0, 4], 5, False),
    ],
)
def test_offsets_cut_all_codes_into_steps(offsets: list[int], count: int, good: bool) -> None:
    """From 0, never falling, to the number of codes."""
    assert (text_of(wrong_offsets(np.array(offsets, np.int64), count)) == "") == good


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([-5, -5, 0, 7], ""),
        ([0, 5, 4], "runs back at index 1"),
        ([[3, 3], [1, 2]], ""),
        ([[3, 3], [4, 2]], "runs back at index 1"),
        (np.empty((0, 2)), ""),
        ([], ""),
    ],
)
def test_times_do_not_run_back(times: Any, expected: str) -> None:
    """From picture to picture, and from the start of a cue to its stop; cues may overlap."""
    assert text_of(wrong_times(np.asarray(times, np.int64))) == expected


def test_invalid_values_are_nan_and_code_0() -> None:
    """Both together or neither; arrays of different shapes are not compared."""
    nan = np.nan
    assert not text_of(wrong_invalids(np.array([nan, 1.0]), np.array([0, 4])))
    assert text_of(wrong_invalids(np.array([1.0, nan]), np.array([0, 4]))).startswith("has 2 NaN")
    assert not text_of(wrong_invalids(np.array([[1.0, 1.0]]), np.array([0, 4])))
