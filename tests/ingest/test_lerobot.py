"""LeRobot datasets: episodes are recordings, whichever layout their files have."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from made_cards import read_card
from made_lerobot import CAMERA, TASKS, Robot, decoded_cards, write_lerobot
from pyarrow import parquet

from ingest.clips import Sampling, Wish, read_clips, windows_of
from ingest.content_id import content_id
from ingest.discovery import Walk, find_recordings
from ingest.errors import CannotOpen
from ingest.opening import open_recording
from ingest.recording import Incident, Recording
from ingest.sampling.clip import ClipMedia, PictureClip, SignalClip, TextClip
from ingest.sources.lerobot_meta import flat_names, read_lerobot

NS = 1_000_000_000
VERSIONS = ("v2.1", "v3.0")


@pytest.fixture(scope="module")
def robots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Robot]:
    """The same dataset in both layouts."""
    folder = tmp_path_factory.mktemp("lerobot")
    return {version: write_lerobot(Robot(folder / version, version)) for version in VERSIONS}


def probed(root: Path, episode: int) -> Recording:
    with open_recording(root, episode=episode) as source:
        found = source.probe()
    return Recording.from_json(json.loads(json.dumps(found.to_json())))


def clips(
    root: Path, episode: int, clip_ns: int, first: int = 0, count: int = 1, fps: int = 10
) -> tuple[dict[tuple[int, str], ClipMedia], list[Incident]]:
    """Read clips of all tracks at the dataset's own rate, by a source of their own."""
    recording = probed(root, episode)
    windows = windows_of(recording, clip_ns, first, count)
    wishes = [Wish(track.name, track) for track in recording.tracks]
    sampling = Sampling(fps=Fraction(fps), size=96, fit="stretch", signal_hz=Fraction(fps))
    told: list[Incident] = []
    with open_recording(root, episode=episode) as source:
        found = {(w.index, n): m for w, n, m in read_clips(source, wishes, windows, sampling, told.append)}
    return found, told


@pytest.mark.parametrize("version", VERSIONS)
def test_tracks_of_an_episode(robots: dict[str, Robot], version: str) -> None:
    """Every feature is a track with its own columns; what only counts rows is none; the task is text."""
    recording = probed(robots[version].root, 1)
    assert recording.container == f"lerobot-{version}"
    assert recording.incidents == ()
    assert (recording.origin_ns, recording.stop_ns) == (0, 13 * NS // 10)
    assert [(t.name, t.medium, t.item_count, t.columns) for t in recording.tracks] == [
        ("observation_state", "signal", 13, ("lift", "turn")),
        ("action", "signal", 13, ("grip",)),
        ("observation_images_top", "pictures", 13, ()),
        ("next_done", "signal", 13, ("next.done",)),
        ("task", "text", 2, ()),
    ]
    assert recording.track("action").max_age_ns == 0
    assert recording.track("next_done").kinds == ("last",)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("episode", [0, 1, 2])
def test_an_episode_holds_its_own_rows_and_pictures(
    robots: dict[str, Robot], version: str, episode: int
) -> None:
    """At the dataset's rate each row and each card comes once, exactly, from first to last."""
    robot = robots[version]
    count = robot.lengths[episode]
    found, told = clips(robot.root, episode, count * NS // 10)
    assert told == []
    pictures, state, action, done, task = (
        found[0, name]
        for name in ("observation_images_top", "observation_state", "action", "next_done", "task")
    )
    assert isinstance(pictures, PictureClip)
    assert [read_card(frame) for frame in pictures.frames] == [100 * episode + k for k in range(count)]
    assert pictures.times_ns.tolist() == [k * NS // 10 for k in range(count)]
    rows = robot.rows(episode)
    assert isinstance(state, SignalClip)
    assert isinstance(action, SignalClip)
    assert isinstance(done, SignalClip)
    assert isinstance(task, TextClip)
    assert np.allclose(state.values, [row["observation.state"] for row in rows], atol=1e-6)
    assert action.values.tolist() == [row["action"] for row in rows]
    assert done.values.ravel().tolist() == [float(row["next.done"]) for row in rows]
    assert [(cue.start_ns, cue.stop_ns, cue.text) for cue in task.cues] == [
        (0, count // 2 * NS // 10, TASKS[0]),
        (count // 2 * NS // 10, count * NS // 10, TASKS[1]),
    ]


def test_any_clip_is_the_same_in_both_layouts(robots: dict[str, Robot]) -> None:
    """Each clip by itself shows what the whole episode shows there, whichever files it is from."""
    whole, _ = clips(robots["v2.1"].root, 2, 24 * NS // 10)
    pictures, state = whole[0, "observation_images_top"], whole[0, "observation_state"]
    assert isinstance(pictures, PictureClip)
    assert isinstance(state, SignalClip)
    for version in VERSIONS:
        for index in range(4):
            part, told = clips(robots[version].root, 2, 7 * NS // 10, index)
            assert told == []
            rows = slice(7 * index, min(24, 7 * index + 7))
            frames, values = part[index, "observation_images_top"], part[index, "observation_state"]
            assert isinstance(frames, PictureClip)
            assert isinstance(values, SignalClip)
            assert [read_card(frame) for frame in frames.frames] == list(
                range(200 + rows.start, 200 + rows.stop)
            )
            assert np.array_equal(values.values, state.values[rows])


@pytest.mark.parametrize("version", VERSIONS)
def test_walking_finds_episodes_with_ids_of_their_own(robots: dict[str, Robot], version: str) -> None:
    """One candidate per episode, also where they share their files; nothing else in the folder is taken."""
    walk = Walk()
    found = list(find_recordings([robots[version].root], walk))
    assert [candidate.name for candidate in found] == [f"episode_{k:06d}" for k in range(3)]
    assert [candidate.kind for candidate in found] == ["episode"] * 3
    assert len({content_id(candidate.paths, candidate.episode) for candidate in found}) == 3
    assert walk.failures == []


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """Episodes without rows are one failure of the dataset; a camera without its file one of the episode."""
    robot = write_lerobot(Robot(tmp_path / "robot"))
    (robot.root / "data/chunk-000/episode_000000.parquet").unlink()
    (robot.root / f"videos/chunk-000/{CAMERA}/episode_000001.mp4").unlink()
    walk = Walk()
    assert [candidate.episode for candidate in find_recordings([robot.root], walk)] == [1, 2]
    assert walk.failures == [("robot", "1 of 3 episodes have no data file here (episodes 0)")]
    (incident,) = probed(robot.root, 1).incidents
    assert incident.severity == "failure"
    assert incident.cause == f"feature {CAMERA}: its video file is missing"


def test_a_video_that_ends_early_is_a_failure_with_its_span(tmp_path: Path) -> None:
    """The frames that are missing are named by their time."""
    robot = write_lerobot(Robot(tmp_path / "robot", lengths=(20, 5)))
    videos = robot.root / f"videos/chunk-000/{CAMERA}"
    (videos / "episode_000001.mp4").rename(videos / "episode_000000.mp4")
    (incident,) = probed(robot.root, 0).incidents
    assert "its video ends before the episode does" in incident.cause
    assert (incident.start_ns, incident.stop_ns) == (NS // 2, 2 * NS)


def test_stamps_of_their_own_are_kept(tmp_path: Path) -> None:
    """Rows whose stamps are not k / fps are where their stamps say."""
    robot = write_lerobot(Robot(tmp_path / "robot", lengths=(10,), late_seconds=0.01))
    recording = probed(robot.root, 0)
    assert abs(recording.track("observation_state").period_ns - 110_000_000) < 1000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"codebase_version": "v9.0"}, "version v9.0: read are v2.0, v2.1, v3.0"),
        ({"data_path": "../{episode_index}.parquet"}, "a path that leaves the dataset"),
        ({"fps": 0}, "says 0 frames per second"),
        ({"chunks_size": None}, "meta folder can't be read"),
    ],
)
def test_descriptions_that_cannot_be_used_are_refused(
    tmp_path: Path, change: dict[str, object], words: str
) -> None:
    """With the cause; walking goes on with whatever else there is."""
    robot = write_lerobot(Robot(tmp_path / "robot", lengths=(3,)))
    info = robot.root / "meta" / "info.json"
    info.write_text(json.dumps({**json.loads(info.read_text()), **change}))
    with pytest.raises(CannotOpen, match=words):
        read_lerobot(robot.root)
    walk = Walk()
    assert list(find_recordings([tmp_path], walk)) == []
    ((name, cause),) = walk.failures
    assert name == "robot"
    assert words in cause


@pytest.mark.parametrize("count", [0, 5000])
def test_a_feature_without_columns_costs_itself_alone(tmp_path: Path, count: int) -> None:
    """One that has no values, or more than can be columns, is told; the others are there."""
    robot = write_lerobot(Robot(tmp_path / "robot", lengths=(3,)))
    path = robot.root / "meta" / "info.json"
    info = json.loads(path.read_text())
    info["features"]["action"]["shape"] = [count]
    path.write_text(json.dumps(info))
    recording = probed(robot.root, 0)
    assert "action" not in [track.name for track in recording.tracks]
    assert "observation_state" in [track.name for track in recording.tracks]
    (incident,) = recording.incidents
    assert (incident.severity, incident.track) == ("failure", "action")
    assert f"{count} values, and 1 to 4096 can be columns" in incident.cause


def test_opening_without_an_episode_says_what_to_give(robots: dict[str, Robot]) -> None:
    """A dataset is not one recording; an index that is not there is refused."""
    with pytest.raises(CannotOpen, match="say which, with `episode=`"):
        open_recording(robots["v2.1"].root)
    with pytest.raises(CannotOpen, match="no episode 7"):
        open_recording(robots["v2.1"].root, episode=7)


@pytest.mark.parametrize(
    ("names", "shape", "expected"),
    [
        (["a", "b"], [2], ["a", "b"]),
        ([["a", "b"]], [2], ["a", "b"]),
        ({"motors": ["a", "b"]}, [2], ["a", "b"]),
        (None, [2], ["[0]", "[1]"]),
        (["a"], [2], ["[0]", "[1]"]),
        (["a", "a"], [2], ["[0]", "[1]"]),
        (None, [1], ["x"]),
        (None, [2, 2], ["[0]", "[1]", "[2]", "[3]"]),
    ],
)
def test_names_of_columns(names: object, shape: list[int], expected: list[str]) -> None:
    """Its own names where there is one per value, else their number."""
    assert flat_names({"names": names, "shape": shape}, "x") == expected


@pytest.mark.media
def test_a_real_dataset(media: Path) -> None:
    """A humanoid's episode: rows as its parquet has them, as many frames as its video has."""
    root = media / "lerobot/g1_policy_train"
    (name,) = (n for n in (f"episode_{k:06d}" for k in (24,)))
    recording = probed(root, 24)
    assert recording.incidents == ()
    assert recording.details["robot_type"] == "Unitree_G1_Inspire"
    assert recording.track("observation_state").columns[0] == "kLeftShoulderPitch"
    found, told = clips(root, 24, 2 * NS, 1, 1, fps=30)
    assert told == []
    rows = parquet.read_table(root / f"data/chunk-000/{name}.parquet")
    state, pictures, task = (
        found[1, key] for key in ("observation_state", "observation_images_cam_high", "task")
    )
    assert isinstance(state, SignalClip)
    assert isinstance(pictures, PictureClip)
    assert isinstance(task, TextClip)
    assert np.allclose(state.values, np.array(rows["observation.state"].to_pylist())[60:120], atol=1e-5)
    assert pictures.valid == 60
    assert [cue.text for cue in task.cues] == ["Pick up the yellow bottle on the table."]
    video = root / f"videos/chunk-000/observation.images.cam_high/{name}.mp4"
    assert recording.track("observation_images_cam_high").item_count == decoded_cards(video) == len(rows)
