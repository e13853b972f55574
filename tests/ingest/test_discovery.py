"""Walking folders: every file is used or mentioned, and has one name that stays."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from made_bags import START_NS
from made_bags import open_bag as make_bag

from ingest.discovery import Candidate, Walk, find_recordings
from ingest.media_signatures import has_media_signature

pytestmark = pytest.mark.timeout(180)


def touch(*paths: Path) -> None:
    """Make empty files, and their folders."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def walked(*inputs: Path, **how: Sequence[str]) -> tuple[dict[str, Candidate], Walk]:
    """Return the recordings by name, in the order they came, and what was passed over."""
    walk = Walk()
    found = list(find_recordings(inputs, walk, **how))  # type: ignore[arg-type]
    assert len({candidate.name for candidate in found}) == len(found)
    return {candidate.name: candidate for candidate in found}, walk


def names(*inputs: Path, **how: Sequence[str]) -> list[str]:
    return list(walked(*inputs, **how)[0])


def counts(walk: Walk) -> dict[str, int]:
    return {reason: count for reason, count in walk.passed_over.items() if count}


def make_bag_folder(path: Path, *, messages: int = 3, first: int = 0) -> Path:
    """Write a ROS 2 folder with one topic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with make_bag(path, storage="mcap") as bag:
        for k in range(first, first + messages):
            bag.write("/mode", "std_msgs/msg/Int32", START_NS + k * 1_000_000, data=k)
    return path


# names and order


def test_recordings_come_sorted_with_their_path_as_name(tmp_path: Path) -> None:
    """Files and folders together, by name; folders within folders; hidden ones are left out."""
    touch(
        *(tmp_path / name for name in ("b.mp4", "a/z.wav", "a/b/c.mkv", "a.mp4", "B.mp4", "10.mp4", "9.mp4"))
    )
    touch(tmp_path / ".hidden.mp4", tmp_path / ".git/x.mp4")
    assert names(tmp_path) == ["10.mp4", "9.mp4", "B.mp4", "a/b/c.mkv", "a/z.wav", "a.mp4", "b.mp4"]


def test_several_inputs_are_told_apart_by_their_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders, files and bags alike; however the path is written."""
    touch(tmp_path / "x/a.mp4", tmp_path / "y/a.mp4", tmp_path / "y/sub/b.mp4")
    make_bag_folder(tmp_path / "run")
    monkeypatch.chdir(tmp_path / "y")
    found = names(tmp_path / "x", Path(), tmp_path / "y/sub/../a.mp4", Path("../run"))
    assert found == ["x/a.mp4", "y/a.mp4", "y/sub/b.mp4", "a.mp4", "run"]


def test_a_single_input_has_no_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's name is its own; a bag folder's too, also as `.`."""
    touch(tmp_path / "a.mp4")
    make_bag_folder(tmp_path / "run")
    assert names(tmp_path / "a.mp4") == ["a.mp4"]
    assert names(tmp_path / "run") == ["run"]
    monkeypatch.chdir(tmp_path / "run")
    assert names(Path()) == ["run"]


def test_equal_names_are_numbered(tmp_path: Path) -> None:
    """`-2`, `-3`; a name that is taken already, because a file is called so, is not given twice."""
    for folder in ("1", "2", "3"):
        touch(tmp_path / folder / "v/a.mp4")
    touch(tmp_path / "1/v/a.mp4-2")
    (tmp_path / "1/v/a.mp4-2").write_bytes(b"fLaC")
    inputs = [tmp_path / folder / "v" for folder in "123"]
    assert names(*inputs) == ["v/a.mp4", "v/a.mp4-2", "v/a.mp4-3", "v/a.mp4-4"]


def test_a_link_given_as_input_keeps_its_name(tmp_path: Path) -> None:
    """What it leads to may be called anything."""
    touch(tmp_path / "real.mp4", tmp_path / "other.mp4")
    (tmp_path / "link.mp4").symlink_to("real.mp4")
    assert names(tmp_path / "link.mp4") == ["link.mp4"]
    assert names(tmp_path / "link.mp4", tmp_path / "other.mp4") == ["link.mp4", "other.mp4"]


def test_names_can_be_written_as_json(tmp_path: Path) -> None:
    """Line breaks stay; bytes that are no UTF-8 are written out, and two names stay two."""
    raw = os.fsencode(tmp_path)
    for name in (b"caf\xe9.mp4", b"caf\\xe9.mp4", b"two\nlines.mp4", "ж.mp4".encode()):
        Path(os.fsdecode(raw + b"/" + name)).touch()
    found, _ = walked(tmp_path)
    assert sorted(found) == ["caf\\xe9.mp4", "caf\\xe9.mp4-2", "two\nlines.mp4", "ж.mp4"]
    json.dumps(list(found), ensure_ascii=False).encode()
    assert all(path.exists() for candidate in found.values() for path in candidate.paths)


def test_globs_choose_among_names(tmp_path: Path) -> None:
    """Those left out are counted, and do not take a number."""
    touch(*(tmp_path / name for name in ("a.mp4", "b.mkv", "sub/a.mp4", "sub/c.mp4")))
    found, walk = walked(tmp_path, include=["*.mp4"], exclude=["sub/a*"])
    assert list(found) == ["a.mp4", "sub/c.mp4"]
    assert counts(walk) == {"not included": 1, "excluded": 1}


# what is a recording


def test_a_file_is_known_by_content_or_by_name(tmp_path: Path) -> None:
    """Media without an ending, and a text that claims to be a video; anything else is counted."""
    (tmp_path / "movie").write_bytes(b"\x00\x00\x00\x18ftypisom" + bytes(16))
    (tmp_path / "lie.MP4").write_text("no video")
    touch(tmp_path / "empty.mkv", tmp_path / "README.md", tmp_path / "table.csv", tmp_path / "empty")
    found, walk = walked(tmp_path)
    assert list(found) == ["empty.mkv", "lie.MP4", "movie"]
    assert {candidate.kind for candidate in found.values()} == {"media"}
    assert counts(walk) == {"no recording": 3}


@pytest.mark.parametrize(
    ("head", "is_media"),
    [
        (b"\x00\x00\x00\x18ftypisom", True),
        (b"\x00\x00\x00\x18ftypheic", False),
        (b"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat", True),
        (b"Use free software", False),
        (b"RIFF\x10\x00\x00\x00WAVE", True),
        (b"RIFF\x10\x00\x00\x00WEBP", False),
        (b"FORM\x00\x00\x00\x10AIFC", True),
        (b"ID3\x04", True),
        ((b"\x47" + bytes(187)) * 5, True),
        ((bytes(4) + b"\x47" + bytes(187)) * 5, True),
        ((b"\x47" + bytes(187)) * 3, False),
        (b"G" + b" " * 1000, False),
        (b"\x89PNG\r\n\x1a\n", False),
        (b"", False),
    ],
)
def test_signatures_tell_media_from_everything_else(tmp_path: Path, head: bytes, is_media: bool) -> None:
    """By the first bytes alone, whatever the name."""
    path = tmp_path / "file"
    path.write_bytes(head if len(head) > 100 else head.ljust(100, b"\0"))
    assert has_media_signature(path) == is_media


def test_text_beside_a_file_belongs_to_it(tmp_path: Path) -> None:
    """By its stem: in a folder and for a file given by itself; other text is counted."""
    touch(
        *(tmp_path / name for name in ("a.mp4", "a.srt", "a.VTT", "a.txt", "b.wav", "b.txt", "c.txt", "a.md"))
    )
    found, walk = walked(tmp_path)
    assert [path.name for path in found["a.mp4"].sidecars] == ["a.VTT", "a.srt", "a.txt"]
    assert [path.name for path in found["b.wav"].sidecars] == ["b.txt"]
    assert counts(walk) == {"no recording": 2}
    found, walk = walked(tmp_path / "a.mp4")
    assert [path.name for path in found["a.mp4"].sidecars] == ["a.VTT", "a.srt", "a.txt"]
    assert counts(walk) == {}


def test_a_given_file_that_is_no_recording_is_counted(tmp_path: Path) -> None:
    """Also a subtitle whose film was not given."""
    touch(tmp_path / "notes.txt", tmp_path / "notes.srt")
    for name in ("notes.txt", "notes.srt"):
        found, walk = walked(tmp_path / name)
        assert found == {}
        assert counts(walk) == {"no recording": 1}


def test_a_bag_folder_is_one_recording(tmp_path: Path) -> None:
    """With its storage in order; what else lies in it is found as anywhere."""
    make_bag_folder(tmp_path / "bags/run")
    touch(tmp_path / "bags/run/film.mp4", tmp_path / "bags/run/notes.md", tmp_path / "bags/run/sub/b.mp4")
    (tmp_path / "bags/run/stray.bag").write_text("no bag")
    found, walk = walked(tmp_path)
    assert {name: candidate.kind for name, candidate in found.items()} == {
        "bags/run": "bag",
        "bags/run/film.mp4": "media",
        "bags/run/stray.bag": "bag",
        "bags/run/sub/b.mp4": "media",
    }
    assert [path.suffix for path in found["bags/run"].paths] == [".mcap"]
    assert counts(walk) == {"no recording": 1}


def test_a_bag_folder_within_a_bag_folder_is_another_recording(tmp_path: Path) -> None:
    """Each has its own metadata."""
    make_bag_folder(tmp_path / "outer")
    make_bag_folder(tmp_path / "outer/inner")
    assert names(tmp_path) == ["outer", "outer/inner"]


def test_renamed_storage_is_still_the_folder(tmp_path: Path) -> None:
    """The metadata names a file that is called otherwise now: there is only one it can mean."""
    folder = make_bag_folder(tmp_path / "run")
    next(folder.glob("*.mcap")).rename(folder / "renamed.mcap")
    found, walk = walked(tmp_path)
    assert {name: [path.name for path in candidate.paths] for name, candidate in found.items()} == {
        "run": ["renamed.mcap"]
    }
    assert counts(walk) == {}


def test_a_bag_folder_without_storage_is_still_answered_for(tmp_path: Path) -> None:
    """It claims to be a recording; opening it will fail and say so."""
    folder = make_bag_folder(tmp_path / "run")
    next(folder.glob("*.mcap")).unlink()
    found, _ = walked(tmp_path)
    assert [path.name for path in found["run"].paths] == ["metadata.yaml"]


def test_numbered_files_of_one_bag_are_one_recording(tmp_path: Path) -> None:
    """Without metadata: same topics, times that follow each other."""
    for index in range(2):
        folder = make_bag_folder(tmp_path / f"made{index}", first=10 * index)
        next(folder.glob("*.mcap")).rename(tmp_path / f"part_{index}.mcap")
        shutil.rmtree(folder)
    found, _ = walked(tmp_path)
    assert {name: len(candidate.paths) for name, candidate in found.items()} == {"part_0.mcap": 2}


# folders that are passed over


def test_datasets_are_passed_over_with_a_note(tmp_path: Path) -> None:
    """One of Fifth's, also half made; a LeRobot dataset without its files is a failure, and not entered."""
    touch(
        tmp_path / "old/fifth.json",
        tmp_path / "old/a.mp4",
        tmp_path / "new/plan/000000.jsonl",
        tmp_path / "a.mp4",
    )
    touch(tmp_path / "robot/videos/b.mp4")
    (tmp_path / "robot/meta").mkdir()
    (tmp_path / "robot/meta/info.json").write_text('{"codebase_version": "v2.1"}')
    found, walk = walked(tmp_path)
    assert list(found) == ["a.mp4"]
    assert walk.notes == [
        ("new", "a dataset made by Fifth, no recordings"),
        ("old", "a dataset made by Fifth, no recordings"),
    ]
    found, walk = walked(tmp_path / "robot")
    assert (found, walk.notes, [name for name, _ in walk.failures]) == ({}, [], ["robot"])


@pytest.mark.parametrize("content", ["5", "[]", "{}", "no json", '"codebase_version"', "\xff"])
def test_a_meta_folder_of_somebody_else_is_no_dataset(tmp_path: Path, content: str) -> None:
    """Whatever stands in its `info.json`."""
    touch(tmp_path / "a.mp4", tmp_path / "meta/info.json")
    (tmp_path / "meta/info.json").write_bytes(content.encode("latin-1"))
    found, walk = walked(tmp_path)
    assert list(found) == ["a.mp4"]
    assert walk.notes == []


def test_the_dataset_that_is_being_made_is_not_entered(tmp_path: Path) -> None:
    """Neither its own files nor a note, however far it is; also through a link."""
    touch(tmp_path / "a.mp4", tmp_path / "out/shards/b.mp4")
    (tmp_path / "again").symlink_to("out", target_is_directory=True)
    for made in ("out/x", "out/fifth.json"):
        touch(tmp_path / made)
        walk = Walk()
        found = list(find_recordings([tmp_path], walk, skip=tmp_path / "out"))
        assert [candidate.name for candidate in found] == ["a.mp4"]
        assert (walk.notes, counts(walk)) == ([], {})


# links, pipes, and what can't be read


def test_links_are_followed_once(tmp_path: Path) -> None:
    """Loops end; a folder met again and a second link to a file are counted, as are broken links."""
    touch(tmp_path / "in/a/x.mp4", tmp_path / "store/y.mp4")
    (tmp_path / "in/a/up").symlink_to("..", target_is_directory=True)
    (tmp_path / "in/b").symlink_to("a", target_is_directory=True)
    (tmp_path / "in/c.mp4").symlink_to(tmp_path / "store/y.mp4")
    (tmp_path / "in/d.mp4").symlink_to(tmp_path / "store/y.mp4")
    (tmp_path / "in/e.mp4").symlink_to("nowhere")
    (tmp_path / "in/loop1").symlink_to("loop2")
    (tmp_path / "in/loop2").symlink_to("loop1")
    found, walk = walked(tmp_path / "in")
    assert list(found) == ["a/x.mp4", "c.mp4"]
    assert counts(walk) == {"folder seen already": 2, "link to a file seen already": 1, "broken link": 3}


def test_an_input_given_twice_is_walked_once(tmp_path: Path) -> None:
    """Also one that lies within another."""
    touch(tmp_path / "a/b/x.mp4")
    assert names(tmp_path / "a", tmp_path / "a", tmp_path / "a/b") == ["a/b/x.mp4"]


def test_only_regular_files_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe would wait forever for somebody to write; found it is counted, given it is named."""
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "device.mp4").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket.mp4")
    touch(tmp_path / "a.mp4")
    found, walk = walked(tmp_path)
    assert list(found) == ["a.mp4"]
    assert counts(walk) == {"pipe, socket or device": 3}
    for name in ("pipe.mp4", "device.mp4"):
        found, walk = walked(tmp_path / name)
        assert (found, walk.notes) == ({}, [(name, "a pipe, socket or device, no file")])


def test_a_missing_input_is_said_before_anything_is_walked(tmp_path: Path) -> None:
    """Also if it is the last."""
    touch(tmp_path / "a.mp4")
    with pytest.raises(FileNotFoundError, match=r"no such file or folder: .*missing"):
        next(find_recordings([tmp_path, tmp_path / "missing"], Walk()))


@contextmanager
def nobody() -> Iterator[None]:
    """Do as a user who has no rights: root may read everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that any user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_what_cannot_be_read_costs_itself(public: Path) -> None:
    """A file, a folder, a link into one, a bag folder's storage: each is noted, the rest is found."""
    storage = next(make_bag_folder(public / "bag").glob("*.mcap"))
    touch(
        *(
            public / name
            for name in ("a.mp4", "closed.mp4", "closed.bag", "closed/b.mp4", "listed/c.mp4", "z.mp4")
        )
    )
    (public / "link.mp4").symlink_to("closed/b.mp4")
    closed = [storage, *(public / name for name in ("closed.mp4", "closed.bag", "closed"))]
    for path in closed:
        path.chmod(0)
    (public / "listed").chmod(0o444)  # its names can be listed, and no more
    try:
        with nobody():
            found, walk = walked(public)
    finally:
        for path in [*closed, public / "listed"]:
            path.chmod(0o755)
    assert list(found) == ["a.mp4", "z.mp4"]
    noted = ["bag", "closed", "closed.bag", "closed.mp4", "link.mp4", "listed"]
    assert sorted(walk.failures) == [(name, "can't be read (permission denied)") for name in noted]
