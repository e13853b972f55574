"""A dataset written as a LeRobot dataset: read back by our own source, and against the format's rules."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from made_bags import START_NS, open_bag
from made_lerobot import TASKS, Robot, write_lerobot
from pyarrow import parquet

from ingest.cli import main
from ingest.configuration import Settings
from ingest.errors import WrongUse
from ingest.lerobot_export import export_lerobot, feature_name
from ingest.lerobot_writer import Feature, LeRobotWriter
from ingest.opening import open_recording
from ingest.pipeline import shard_recordings
from ingest.sources.lerobot_meta import read_lerobot
from ingest.track_map import TrackMap

SETTINGS = Settings(
    clip_seconds=Fraction(1), fps=Fraction(10), size=64, signal_hz=Fraction(10), fit="stretch",
)  # fmt: skip


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> Robot:
    return write_lerobot(Robot(tmp_path_factory.mktemp("made") / "robot", lengths=(20, 13)))


@pytest.fixture(scope="module")
def dataset(robot: Robot) -> Path:
    out = robot.root.parent / "dataset"
    shard_recordings([robot.root], out, SETTINGS, workers=0)
    return out


@pytest.fixture(scope="module")
def exported(dataset: Path) -> Path:
    out = dataset.parent / "exported"
    assert export_lerobot(dataset, out, robot_type="made").episodes == 2
    return out


def rows_of(root: Path) -> list[dict[str, Any]]:
    """Return all steps, in the order of the files."""
    return [
        row
        for path in sorted((root / "data").rglob("*.parquet"))
        for row in parquet.read_table(path).to_pylist()
    ]


def test_values_and_tasks_come_back_as_they_were(robot: Robot, exported: Path) -> None:
    """At the dataset's own rate, every row of the LeRobot dataset that it was made of, unchanged."""
    expected = [row for episode in (0, 1) for row in robot.rows(episode)]
    found = rows_of(exported)
    tasks = read_lerobot(exported).tasks
    for row, old in zip(found, expected, strict=True):
        assert row["observation.state"] == pytest.approx(old["observation.state"])
        assert row["action"] == pytest.approx(old["action"][0])
        assert row["next.done"] == float(old["next.done"])
        assert tasks[row["task_index"]] == TASKS[old["task_index"]]
        for name in ("frame_index", "episode_index", "index"):
            assert row[name] == old[name]
        assert row["timestamp"] == np.float32(old["frame_index"] / 10)


def test_it_is_a_lerobot_dataset_to_our_own_reader(exported: Path) -> None:
    """Episodes with their lengths, a frame per row, nothing lost."""
    meta = read_lerobot(exported)
    assert (meta.version, int(meta.fps), meta.robot_type) == ("v3.0", 10, "made")
    assert [episode.length for episode in meta.episodes] == [20, 13]
    for episode, length in ((0, 20), (1, 13)):
        with open_recording(exported, episode=episode) as source:
            recording = source.probe()
        assert recording.incidents == ()
        pictures = recording.track("observation_images_top")
        assert (pictures.item_count, pictures.width, pictures.height) == (length, 64, 64)


def test_the_description_follows_the_format(exported: Path) -> None:
    """What LeRobot's reader asks for is there: totals, paths, features, statistics, episodes' places."""
    info = json.loads((exported / "meta/info.json").read_text())
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (2, 33, 2)
    assert info["splits"] == {"train": "0:2"}
    assert info["features"]["observation.state"] == {
        "dtype": "float32", "shape": [2], "names": ["lift", "turn"],
    }  # fmt: skip
    video = info["features"]["observation.images.top"]
    assert (video["dtype"], video["shape"], video["info"]["video.fps"]) == ("video", [64, 64, 3], 10)
    episodes = parquet.read_table(exported / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [(e["dataset_from_index"], e["dataset_to_index"]) for e in episodes] == [(0, 20), (20, 33)]
    for episode in episodes:
        place = {
            "video_key": "observation.images.top",
            "chunk_index": episode["videos/observation.images.top/chunk_index"],
            "file_index": episode["videos/observation.images.top/file_index"],
        }
        assert (exported / info["video_path"].format(**place)).is_file()
    stats = json.loads((exported / "meta/stats.json").read_text())
    lifts = [k / 10 for length in (20, 13) for k in range(length)]
    assert stats["observation.state"]["mean"][0] == pytest.approx(np.mean(lifts))
    assert stats["observation.state"]["std"][0] == pytest.approx(np.std(lifts))
    assert np.shape(stats["observation.images.top"]["mean"]) == (3, 1, 1)
    pandas = pytest.importorskip("pandas")
    tasks = pandas.read_parquet(exported / "meta/tasks.parquet")
    assert tasks.loc[TASKS[1]].task_index == 1
    assert tasks.iloc[0].name == TASKS[0]


def test_a_gap_ends_the_episode(tmp_path: Path) -> None:
    """Where a signal is not valid, steps are dropped and counted; what is on both sides are two episodes."""
    path = tmp_path / "gap.mcap"
    with open_bag(path) as bag:
        for k in [*range(40), *range(60, 100)]:
            stamp_ns = START_NS + k * 50_000_000
            twist = {"x": k / 10, "y": 0, "z": 0}
            values = {"header": bag.header(stamp_ns), "vector": twist}
            bag.write("/force", "geometry_msgs/msg/Vector3Stamped", stamp_ns, **values)
    settings = Settings(signal_hz=Fraction(20), maps=(TrackMap.parse("state=/force"),))
    shard_recordings([path], tmp_path / "dataset", settings, workers=0)
    done = export_lerobot(tmp_path / "dataset", tmp_path / "out")
    assert (done.episodes, done.dropped) == (2, 17)  # 1 s, less the 3 steps for which a value is valid
    lifts = [row["observation.state"][0] for row in rows_of(tmp_path / "out")]
    assert lifts[40 + 3] == pytest.approx(6.0)
    assert [row["frame_index"] for row in rows_of(tmp_path / "out")][44] == 1


def test_what_cannot_be_exported_is_said(dataset: Path, tmp_path: Path) -> None:
    """A folder that is there, a layout that is not, a rate that is no whole number."""
    with pytest.raises(WrongUse, match="exists already"):
        export_lerobot(dataset, tmp_path)
    with pytest.raises(WrongUse, match="no layout 'x'"):
        export_lerobot(dataset, tmp_path / "out", layout="x")
    with pytest.raises(WrongUse, match="neither pictures nor signals"):
        export_lerobot(dataset, tmp_path / "out", tracks=["task"])
    assert list(tmp_path.iterdir()) == []


def test_from_the_command_line(dataset: Path, tmp_path: Path) -> None:
    """One feature of it, with the figures as JSON."""
    said = CliRunner().invoke(
        main, ["export", "lerobot", str(dataset), str(tmp_path / "out"), "--tracks", "action", "--json"]
    )
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout) == {"dropped": 0, "episodes": 2, "left_out": [], "steps": 33}
    assert next(iter(rows_of(tmp_path / "out")[0])) == "action"


def test_names_of_features() -> None:
    """A LeRobot dataset keeps its own names; everything else is an observation, but the action."""
    assert feature_name("observation_state", "observation.state", pictures=False) == "observation.state"
    assert feature_name("next_done", "next.done", pictures=False) == "next.done"
    assert feature_name("imu", "/imu", pictures=False) == "observation.imu"
    assert feature_name("wrist", "/wrist/image_raw", pictures=True) == "observation.images.wrist"


def test_nothing_to_write_is_an_error(tmp_path: Path) -> None:
    """A dataset without a single whole step is refused."""
    writer = LeRobotWriter(tmp_path, 10, [Feature("action", ("grip",))], "made")
    with pytest.raises(WrongUse, match="nothing to export"):
        writer.close()
