"""The examples run, and the recordings that they make are what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from made_sound import heard_pitch
from rosbags.highlevel import AnyReader

EXAMPLES = Path(__file__).parent.parent / "examples"


def run_example(*words: str | Path, expect: int = 0, launcher: tuple[str, ...] = ()) -> str:
    """Run an example script and return what it prints, both streams together."""
    done = subprocess.run(
        [sys.executable, *launcher, str(EXAMPLES / words[0]), *map(str, words[1:])],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        text=True, timeout=850, check=False,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example recordings, made once."""
    folder = tmp_path_factory.mktemp("examples") / "recordings"
    run_example("make_recordings.py", folder)
    return folder


def test_the_example_folder_is_small_and_complete(recordings: Path) -> None:
    """Every recording that the script's first lines name is there, and all are a few megabytes."""
    files = {str(path.relative_to(recordings)): path.stat().st_size for path in recordings.rglob("*.*")}
    assert sorted(files) == [
        "robots/arm_1.mcap", "robots/arm_2.bag",
        "videos/balls.mp4", "videos/interrupted.mp4", "videos/sea.mkv", "videos/sea.srt",
    ]  # fmt: skip
    assert 1_000_000 < sum(files.values()) < 15_000_000


@pytest.mark.slow
def test_the_example_recordings_are_the_same_every_time(recordings: Path, tmp_path: Path) -> None:
    """A second run writes the same bytes."""
    run_example("make_recordings.py", tmp_path / "again")
    for path in (path for path in recordings.rglob("*.*") if path.is_file()):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(recordings)).read_bytes(), path


def test_recordings_are_never_written_over_something(tmp_path: Path) -> None:
    """A folder that holds something is left alone."""
    (tmp_path / "mine.mp4").touch()
    assert "is not empty" in run_example("make_recordings.py", tmp_path, expect=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.mp4"]


def test_the_interrupted_video_is_broken(recordings: Path) -> None:
    """The broken example cannot be opened, and the one it was cut from can."""
    with av.open(str(recordings / "videos" / "balls.mp4")) as whole:
        assert [stream.type for stream in whole.streams] == ["video", "audio"]
    with pytest.raises(av.error.InvalidDataError):
        av.open(str(recordings / "videos" / "interrupted.mp4"))


@pytest.mark.parametrize("name", ["arm_1.mcap", "arm_2.bag"])
def test_picture_joints_and_sound_of_the_arm_belong_together(recordings: Path, name: str) -> None:
    """The hand is where the joint angles put it, and the microphone hears the motors' speed."""
    with AnyReader([recordings / "robots" / name]) as reader:
        messages = [(c.topic, reader.deserialize(raw, c.msgtype)) for c, _, raw in reader.messages()]
    joints = {
        _stamp_ns(message): message for topic, message in messages if topic == "/joint_states"
    }  # fmt: skip
    pictures = [message for topic, message in messages if topic == "/camera/image/compressed"]
    assert len(pictures) == 90
    for message in pictures[:: len(pictures) // 8]:
        stamp_ns = _stamp_ns(message)
        nearest = joints[min(joints, key=lambda at_ns: abs(at_ns - stamp_ns))]
        shoulder, elbow = nearest.position  # type: ignore[attr-defined]
        x = 160 + 79.2 * np.sin(shoulder) + 64.8 * np.sin(shoulder + elbow)
        y = 192 - 79.2 * np.cos(shoulder) - 64.8 * np.cos(shoulder + elbow)
        found = _dark_spot(_decoded(bytes(message.data)), x, y)  # type: ignore[attr-defined]
        assert np.hypot(found[0] - x, found[1] - y) < 4  # joints and camera are up to 10 ms apart
    assert abs(_loudest_pitch(messages) - _expected_pitch(joints)) < 15


def _stamp_ns(message: object) -> int:
    stamp = message.header.stamp  # type: ignore[attr-defined]
    return int(stamp.sec * 1_000_000_000 + stamp.nanosec)


def _decoded(jpeg: bytes) -> np.ndarray:
    context = av.CodecContext.create("mjpeg", "r")
    assert isinstance(context, av.VideoCodecContext)
    return context.decode(av.Packet(jpeg))[0].to_ndarray(format="rgb24")


def _dark_spot(rgb: np.ndarray, x: float, y: float) -> tuple[float, float]:
    """Return the middle of the dark pixels around a point: the hand's joint."""
    left, top = int(x) - 14, int(y) - 14
    rows, columns = np.nonzero(rgb[top : top + 28, left : left + 28].max(axis=2) < 90)
    return float(left + columns.mean()), float(top + rows.mean())


MIDDLE = slice(44_000, 48_000)
"""A quarter of a second of the microphone, at 2.75 s."""


def _loudest_pitch(messages: list[tuple[str, object]]) -> float:
    parts = [message.data for topic, message in messages if topic == "/audio"]  # type: ignore[attr-defined]
    return heard_pitch(np.concatenate(parts).view("<i2")[MIDDLE] / 32768, 16_000)


def _expected_pitch(joints: dict[int, object]) -> float:
    """Return the pitch of the faster, so louder, motor in the middle of that stretch."""
    times = sorted(joints)
    middle = joints[times[round((MIDDLE.start + MIDDLE.stop) / 2 / 16_000 * 50)]]
    speeds = np.abs(middle.velocity)  # type: ignore[attr-defined]
    motor = int(np.argmax(speeds))
    return float((90, 140)[motor] + 60 * speeds[motor])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_runs_from_end_to_end(tmp_path: Path) -> None:
    """All steps end as expected, the film is there, and the demo can be run again."""
    said = run_example("demo.py", tmp_path / "demo")
    assert "videos/interrupted.mp4" in said
    assert "What to do next" in said
    with av.open(str(tmp_path / "demo" / "balls.mp4")) as film:
        assert [stream.type for stream in film.streams] == ["video", "audio"]


def test_the_demo_empties_no_folder_that_it_did_not_make(tmp_path: Path) -> None:
    """A folder with something of the user's in it is refused and left alone."""
    (tmp_path / "thesis.tex").touch()
    assert "no demo made" in run_example("demo.py", tmp_path, expect=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_script_of_ones_own_writes_a_shard(recordings: Path, tmp_path: Path) -> None:
    """The script writes a tar that `webdataset` reads, and names what it could not use."""
    said = run_example(
        "ingest_script.py",
        recordings / "videos" / "balls.mp4",
        recordings / "robots" / "arm_2.bag",
        tmp_path / "moving",
    )
    assert "6 clips" in said
    described = run_example("read_shards.py", tmp_path / "moving")
    assert "layout moving: 6 samples" in described
    assert "video.times.npy" in described


def test_reading_without_shards_says_what_to_do(tmp_path: Path) -> None:
    """A folder without shards is named, with the way out."""
    assert "make a dataset first" in run_example("read_shards.py", tmp_path, expect=1)


@pytest.fixture(scope="session")
def world(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of the world model, from one robot and with small pictures."""
    out = tmp_path_factory.mktemp("world") / "dataset"
    maps = ("camera=/camera/image/compressed", "microphone=/audio", "action=/joint_states:position,velocity")
    robot = recordings / "robots" / "arm_1.mcap"
    command = [str(Path(sys.executable).with_name("fifth")), "shard", str(robot), str(out)]
    command += [
        "--video",
        "frames-dct",
        "--size",
        "32",
        "--fps",
        "4",
        "--signal-hz",
        "10",
        "--clip-seconds",
        "1",
        "--quiet",
    ]
    command += [word for name in maps for word in ("--map", name)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return out


SMALL = (
    "--steps",
    "6",
    "--rows",
    "4",
    "--length",
    "96",
    "--width",
    "16",
    "--depth",
    "1",
    "--save-every",
    "2",
)


@pytest.fixture(scope="session")
def uninterrupted(world: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[float], Path]:
    """The loss curve of a world model that was trained in one go, and its run."""
    run = tmp_path_factory.mktemp("world") / "run"
    assert "is made up" in run_example("train_world_model.py", world, run, *SMALL)
    return json.loads((run / "curve.json").read_text()), run


@pytest.mark.slow
def test_a_world_model_that_was_interrupted_is_the_same(
    world: Path, uninterrupted: tuple[list[float], Path], tmp_path: Path
) -> None:
    """The loss curve is equal in every bit; what it makes up is a film with sound."""
    curve, run = uninterrupted
    said = run_example("train_world_model.py", world, tmp_path / "run", *SMALL, "--stop-after", "3")
    assert "stopped after step 3" in said
    said = run_example("train_world_model.py", world, tmp_path / "run", *SMALL)
    assert "going on after step 3" in said
    assert json.loads((tmp_path / "run" / "curve.json").read_text()) == curve
    assert len(curve) == 6
    with av.open(str(run / "continuation.mp4")) as film:
        assert [stream.type for stream in film.streams] == ["video", "audio"]
        assert sum(1 for _ in film.decode(video=0)) == 4


@pytest.mark.slow
def test_a_world_model_of_two_processes_goes_on_in_one(
    world: Path, uninterrupted: tuple[list[float], Path], tmp_path: Path
) -> None:
    """The same global batches: only rounding differs."""
    two = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    words = ("train_world_model.py", world, tmp_path / "run", *SMALL)
    run_example(*words, "--stop-after", "3", launcher=two)
    assert "going on after step 3" in run_example(*words, "--stop-after", "5")
    curve = json.loads((tmp_path / "run" / "curve.json").read_text())
    assert curve == pytest.approx(uninterrupted[0][:5], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train_plain_pytorch.py", "train_accelerate.py"])
def test_short_training_loops_run(world: Path, name: str) -> None:
    """Their loss falls."""
    if name == "train_accelerate.py":
        pytest.importorskip("accelerate")
    said = run_example(name, world, "11")
    losses = [float(line.rpartition(" ")[2]) for line in said.splitlines() if line.startswith("step")]
    assert len(losses) == 2
    assert losses[1] < losses[0] - 0.5
