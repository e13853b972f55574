"""Repair: exactly what is damaged is made again, with the bytes that were there, or nothing is replaced."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_dataset import TASKS, files_of, run_task, write_dataset

from shards import DatasetFolder, DatasetLocked, Repair, repair_dataset, verify_dataset
from shards.flips import unflipped
from shards.folder import MANIFEST

PLAN = "plan/000000.jsonl"
CARD_KEPT = "README.before-repair.md"


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset that is damaged and mended again and again."""
    return write_dataset(tmp_path_factory.mktemp("repair") / "dataset").path


@pytest.fixture(scope="module")
def whole(place: Path) -> dict[str, bytes]:
    """Its files as they were written."""
    return files_of(place)


class Recordings:
    """Runs the tasks of the made dataset again; a short `shards.repair.Again`."""

    other = False
    """Whether they give other bytes than they gave."""

    def __init__(self, folder: DatasetFolder) -> None:
        self.folder = folder

    def lacking(self, tasks: Sequence[int]) -> dict[int, str]:
        return {}

    def run(self, scratch: DatasetFolder, tasks: Sequence[int]) -> dict[int, str]:
        for task in tasks:
            run_task(scratch, task, TASKS[(task + 2) % 4 if self.other and task == 0 else task])
        return {}

    def plan_part(self, part: int) -> Iterable[bytes] | None:
        return None

    def differs(self) -> str:
        return "av 1 there, 2 here"


class Lacking(Recordings):
    def lacking(self, tasks: Sequence[int]) -> dict[int, str]:
        return dict.fromkeys(tasks, "give the folder that holds it")


def states(path: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of every file but the lock."""
    files = [file for file in path.rglob("*") if file.is_file() and file.name != ".lock"]
    found = {file.relative_to(path).as_posix(): file.stat() for file in files}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def flipped(data: bytes, seed: int) -> bytes:
    place = random.Random(seed).randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << seed % 8)]) + data[place + 1 :]


def put_back(place: Path, whole: dict[str, bytes]) -> None:
    (place / CARD_KEPT).unlink(missing_ok=True)
    for name, data in whole.items():
        if not (place / name).is_file() or (place / name).read_bytes() != data:
            (place / name).write_bytes(data)


def check_mended(place: Path, whole: dict[str, bytes], damage: dict[str, bytes | None]) -> Repair:
    """Damage files (None: remove them), repair, and see that these came back and no other was touched."""
    for name, data in damage.items():
        (place / name).unlink()
        if data is not None:
            (place / name).write_bytes(data)
    before = states(place)
    try:
        done = repair_dataset(place, Recordings)
        (place / CARD_KEPT).unlink(missing_ok=True)
        assert done.left == []
        assert {entry.file for entry in done.mended} == set(damage)
        assert files_of(place) == whole
        after = states(place)
        assert {name for name in after if after[name] != before.get(name)} == set(damage)
        assert verify_dataset(place) == []
        return done
    finally:
        put_back(place, whole)


def test_every_file_comes_back_as_it_was(place: Path, whole: dict[str, bytes]) -> None:
    """Lost, or with a flipped bit: each file but the plan is made again, and no other is touched."""
    for seed, name in enumerate(sorted(whole)):
        check_mended(place, whole, {name: flipped(whole[name], seed)})
        if name != PLAN:
            check_mended(place, whole, {name: None})


@settings(max_examples=12)
@given(data=st.data())
def test_any_files_come_back(place: Path, whole: dict[str, bytes], data: st.DataObject) -> None:
    """Several at once, whichever: lost, cut short, or changed in one byte (the plan: that alone).

    Two sources of one truth may be lost together; the three hashes that all begin from are not.
    """
    names = sorted(set(whole) - {"fifth.json", "fifth.json.sha256", "tables/shards.jsonl"})
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=2, max_size=5, unique=True))
    damage: dict[str, bytes | None] = {}
    for name in chosen:
        kinds = ["flip"] if name == PLAN else ["flip", "cut", "lost"]
        kind = data.draw(st.sampled_from(kinds))
        changed = flipped(whole[name], data.draw(st.integers(0, 10**6)))
        cut = whole[name][: data.draw(st.integers(0, len(whole[name]) - 1))]
        damage[name] = {"flip": changed, "cut": cut, "lost": None}[kind]
    check_mended(place, whole, damage)


HOW = {
    "records/000001.json": "made again from plan, tables and rows",
    "records/000003.json": "made again from plan, tables and rows",
    "shards/video-000002.tar": "made again by running task 2",
    "shards/video-000002.tar.idx": "made again from its tar",
    "shards/video-000002.samples.npy": "made again from its tar",
    "tables/failures.jsonl": "made again from plan and records",
    "fifth.json": "made again from plan and records",
}


@pytest.mark.parametrize("name", HOW)
def test_what_is_lost_is_made_from_what_is_there(place: Path, whole: dict[str, bytes], name: str) -> None:
    """Recordings are needed for a shard's data alone."""
    (mended,) = check_mended(place, whole, {name: None}).mended
    assert mended.how == HOW[name]


def test_a_tar_is_made_again_around_its_data(place: Path, whole: dict[str, bytes]) -> None:
    """A flipped bit in a header, in padding or in the end of the tar needs no recording."""
    name = "shards/video-000002.tar"
    tar = whole[name]
    end_of_json = 512 + len(tar[512:1024].rstrip(b"\0"))
    for spot in (0, 150, end_of_json, len(tar) - 1):
        changed = tar[:spot] + bytes([tar[spot] ^ 4]) + tar[spot + 1 :]
        (mended,) = check_mended(place, whole, {name: changed}).mended
        assert mended.how == "made again around its data, by its rows"


def test_a_dry_run_says_the_same_and_touches_nothing(place: Path, whole: dict[str, bytes]) -> None:
    """The files that it names are those that the repair mends."""
    names = ["shards/video-000002.tar", "records/000001.json", "tables/shards.jsonl", "README.md"]
    for seed, name in enumerate(names):
        (place / name).write_bytes(flipped(whole[name], seed))
    before = states(place)
    planned = repair_dataset(place, Recordings, dry_run=True)
    assert states(place) == before
    done = repair_dataset(place, Recordings)
    put_back(place, whole)
    assert {entry.file for entry in planned.mended} == {entry.file for entry in done.mended} == set(names)
    assert all(entry.how.startswith("would be") for entry in planned.mended)
    assert (planned.left, done.left) == ([], [])


def test_other_bytes_replace_nothing(
    place: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a task gives other bytes now, the damaged file stays, and what differs here is told."""
    monkeypatch.setattr(Recordings, "other", True)
    name = "shards/video-audio-000000.tar"
    damaged = whole[name][:-2000]
    (place / name).write_bytes(damaged)
    done = repair_dataset(place, Recordings)
    there = (place / name).read_bytes()
    leftovers = set(files_of(place)) - set(whole)
    put_back(place, whole)
    assert [(left.file, "av 1 there, 2 here" in left.why) for left in done.left] == [(name, True)]
    assert (there, leftovers) == (damaged, set())


def test_what_needs_recordings_says_so(place: Path, whole: dict[str, bytes]) -> None:
    """Without them the rest is mended, and the shard's data are left, with what to give."""
    for name in ("shards/video-000002.tar", "tables/shards.jsonl"):
        (place / name).unlink()
    done, bare = repair_dataset(place, Lacking), repair_dataset(place)
    put_back(place, whole)
    assert [str(left) for left in done.left] == ["shards/video-000002.tar: give the folder that holds it"]
    assert [entry.file for entry in done.mended] == ["tables/shards.jsonl"]
    assert "must be made again from its recordings" in bare.left[0].why


def test_a_plan_that_is_lost_is_told_plainly(place: Path, whole: dict[str, bytes]) -> None:
    """Nothing gives it again; what does not need it is mended all the same, and nothing is made worse."""
    (place / PLAN).write_bytes(whole[PLAN][:-40])
    (place / "shards/video-000002.tar.idx").unlink()
    done = repair_dataset(place, Recordings)
    mended = (place / "shards/video-000002.tar.idx").read_bytes() == whole["shards/video-000002.tar.idx"]
    put_back(place, whole)
    assert mended
    assert [left.file for left in done.left] == [PLAN]
    assert "put it back from a backup" in done.left[0].why
    assert verify_dataset(place) == []


def test_a_card_that_was_edited_is_kept(place: Path, whole: dict[str, bytes]) -> None:
    """The card is made anew; what somebody wrote there stands beside it."""
    (place / "README.md").write_text("ours")
    repair_dataset(place)
    kept = (place / CARD_KEPT).read_text()
    put_back(place, whole)
    assert kept == "ours"


@pytest.mark.parametrize("text", ["{", '{"format": 1, "plan": 5}'])
def test_a_manifest_that_says_nothing_proves_nothing(place: Path, whole: dict[str, bytes], text: str) -> None:
    """Though its hash fits: it is made again, and what of the tables is not what plan and records give."""
    (place / MANIFEST).write_text(text)
    (place / f"{MANIFEST}.sha256").write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  {MANIFEST}\n")
    table = "tables/recordings.jsonl"
    (place / table).write_bytes(whole[table][:-5])
    found = repair_dataset(place)
    assert found.left == []
    assert {MANIFEST, table} <= {mended.file for mended in found.mended}
    assert files_of(place) == whole


def test_a_dataset_in_use_is_not_repaired(place: Path) -> None:
    """Nor is one that a run is writing."""
    with DatasetFolder(place).lock(), pytest.raises(DatasetLocked):
        repair_dataset(place)


def test_killed_while_it_repairs(tmp_path: Path) -> None:
    """At any renaming, a killed repair leaves nothing worse, and the next one ends in the same bytes."""
    folder = write_dataset(tmp_path / "dataset")
    whole = files_of(folder.path)
    names = ["shards/video-000002.tar", "records/000000.json", "tables/failures.jsonl", "fifth.json"]
    step, code = 0, 9
    while code == 9:
        step += 1
        for name in names:
            (folder.path / name).unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            die_at_rename(step)
            repair_dataset(folder.path, Recordings)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert repair_dataset(folder.path, Recordings).left == []
        assert files_of(folder.path) == whole, f"killed at renaming {step}"
    assert (code, step > 6) == (0, True)


def die_at_rename(step: int) -> None:
    real, taken = Path.replace, 0

    def dying(self: Path, target: Path) -> Path:
        nonlocal taken
        taken += 1
        if taken == step:
            os._exit(9)
        return real(self, target)

    Path.replace = dying  # type: ignore[assignment, method-assign]


@settings(max_examples=30)
@given(st.binary(min_size=1, max_size=40), st.data())
def test_one_changed_byte_is_found_by_its_hash(data: bytes, draw: st.DataObject) -> None:
    """Wherever it is and whatever stands there now; two changed bytes are not."""
    spot, change = draw.draw(st.integers(0, len(data) - 1)), draw.draw(st.integers(1, 255))
    changed = data[:spot] + bytes([data[spot] ^ change]) + data[spot + 1 :]
    sha256 = hashlib.sha256(data).hexdigest()
    assert unflipped(changed, sha256) == data
    assert unflipped(changed, sha256, budget_bytes=0) is None
    assert unflipped(changed + b"!", sha256) is None
