"""Which files are bags, and which of them are one recording."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_bags import START_NS
from made_bags import open_bag as make_bag

from ingest.recording import Incident
from ingest.sources.bag import BagGroup, claims_to_be_bag, group_bag_files, is_bag, open_bag


def write(path: Path, first: int = 0, topics: tuple[str, ...] = ("/a",)) -> Path:
    """Write three messages per topic from `first` nanoseconds on."""
    with make_bag(path) as bag:
        for k in range(first, first + 3):
            for topic in topics:
                bag.write(topic, "std_msgs/msg/Int32", START_NS + k, data=k)
    return path


def groups(folder: Path) -> list[list[str]]:
    names = [entry.name for entry in folder.iterdir()]
    return [[path.name for path in group.paths] for group in group_bag_files(folder, names)]


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        ("a.bag", True),
        ("a.MCAP", True),
        ("a.db3", True),
        ("a.bag.active", True),
        ("a.mcap.zstd", True),
        ("a.db3.zst", True),
        ("a.bag.gz", True),
        ("metadata.yaml", False),
        ("bag.txt", False),
        ("a.zst", False),
        ("a.db", False),
    ],
)
def test_claims_by_ending(name: str, claims: bool) -> None:
    """An ending of a bag, packed or unfinished, is a claim to be one."""
    assert claims_to_be_bag(Path(name)) == claims


@pytest.mark.parametrize("ending", ["bag", "mcap", "db3"])
def test_bags_are_known_by_content(tmp_path: Path, ending: str) -> None:
    """A bag is known whatever it is called, also when it is cut short."""
    path = write(tmp_path / f"a.{ending}")
    other = tmp_path / "b.dat"
    other.write_bytes(path.read_bytes())
    assert is_bag(other)
    other.write_bytes(path.read_bytes()[:9000])
    assert is_bag(other)
    other.write_bytes(b"SQLite format 3\0 of something else")
    assert not is_bag(other)
    other.write_bytes(b"")
    assert not is_bag(other)
    with open_bag([path]) as source:
        assert (
            source.probe().container
            == {"bag": "rosbag1", "mcap": "rosbag2-mcap", "db3": "rosbag2-sqlite3"}[ending]
        )


def test_numbered_files_are_one_recording(tmp_path: Path) -> None:
    """Parts that follow each other with the same topics are one, in the order of their numbers."""
    for part in range(11):
        write(tmp_path / f"run_{part}.mcap", 10 * part)
    (group,) = group_bag_files(tmp_path, [entry.name for entry in tmp_path.iterdir()])
    assert group.name == "run_0.mcap"
    assert [path.name for path in group.paths] == [f"run_{part}.mcap" for part in range(11)]
    with open_bag(group.paths) as source:
        recording = source.probe()
    (track,) = recording.tracks
    assert track.item_count == 33
    assert recording.details["files"] == [f"run_{part}.mcap" for part in range(11)]


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    """Other topics, overlapping times, another kind, a missing number or no number keep files apart."""
    write(tmp_path / "topics_0.mcap")
    write(tmp_path / "topics_1.mcap", 10, ("/b",))
    write(tmp_path / "times_0.bag", 0)
    write(tmp_path / "times_1.bag", 2)
    write(tmp_path / "kinds_0.bag")
    write(tmp_path / "kinds_1.mcap", 10)
    write(tmp_path / "gap_1.mcap")
    write(tmp_path / "gap_3.mcap", 10)
    write(tmp_path / "gap_4.mcap", 20)
    write(tmp_path / "plain.mcap", 30)
    (tmp_path / "broken_0.bag").write_bytes(b"")
    write(tmp_path / "broken_1.bag")
    (tmp_path / "notes.txt").write_text("no bag")
    assert groups(tmp_path) == [
        ["broken_0.bag"], ["broken_1.bag"], ["gap_1.mcap"], ["gap_3.mcap", "gap_4.mcap"],
        ["kinds_0.bag"], ["kinds_1.mcap"], ["plain.mcap"], ["times_0.bag"], ["times_1.bag"],
        ["topics_0.mcap"], ["topics_1.mcap"],
    ]  # fmt: skip


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_folder_with_metadata_is_one_recording(tmp_path: Path, storage: str) -> None:
    """The files that metadata.yaml lists are one recording named by the folder; others stay apart."""
    folder = tmp_path / "my_run"
    with make_bag(folder, storage=storage, compression="zstd") as bag:  # type: ignore[arg-type]
        for k in range(3):
            bag.write("/a", "std_msgs/msg/String", START_NS + k, data=f"word {k}")
    ending = {"mcap": "mcap", "sqlite3": "db3"}[storage]
    write(folder / f"another.{ending}")
    found = group_bag_files(folder, [entry.name for entry in folder.iterdir()])
    assert [group.name for group in found] == [f"another.{ending}", "my_run"]
    with open_bag(found[1].paths) as source:
        recording = source.probe()
        (track,) = recording.tracks
        decoder = source.decoder(track)
        cues = [
            cue
            for packet in source.read([track], 0, 2**62, lambda incident: None)
            for cue in decoder.decode(packet)
        ]
    assert [cue.text for cue in cues] == ["word 0", "word 1"]  # type: ignore[union-attr]
    assert recording.incidents == ()


def test_metadata_that_is_wrong(tmp_path: Path) -> None:
    """Metadata that can't be read, or lies, costs nothing but a word; missing files are failures."""
    folder = tmp_path / "my_run"
    with make_bag(folder) as bag:
        bag.write("/a", "std_msgs/msg/Int32", START_NS, data=1)
    (file,) = folder.glob("*.mcap")
    metadata = folder / "metadata.yaml"
    text = metadata.read_text()

    def incidents(content: str) -> list[Incident]:
        metadata.write_text(content)
        assert groups(folder) == [[file.name]]
        with open_bag([file]) as source:
            recording = source.probe()
        assert len(recording.tracks) == 1
        return list(recording.incidents)

    assert incidents(text) == []
    assert incidents("{[ not yaml") == [Incident("note", "metadata.yaml can't be read as YAML: passed over")]
    assert incidents("a: 1") == [Incident("note", "metadata.yaml is not that of a ROS 2 bag: passed over")]
    (wrong,) = incidents(text.replace("serialization_format: cdr", "serialization_format: strange"))
    assert (wrong.severity, "'strange'" in wrong.cause) == ("note", True)
    (missing,) = incidents(text.replace(f"- {file.name}", f"- {file.name}\n  - gone_1.mcap"))
    assert missing == Incident("failure", "metadata.yaml lists files that are missing: gone_1.mcap")


def test_a_group_is_named_by_its_folder(tmp_path: Path) -> None:
    """A bag folder that was renamed is named as it is now, whatever its files are called."""
    folder = tmp_path / "before"
    with make_bag(folder) as bag:
        bag.write("/a", "std_msgs/msg/Int32", START_NS, data=1)
    shutil.move(folder, tmp_path / "after")
    names = [entry.name for entry in (tmp_path / "after").iterdir()]
    (group,) = group_bag_files(tmp_path / "after", names)
    assert isinstance(group, BagGroup)
    assert (group.name, group.paths[0].name) == ("after", "before.mcap")
