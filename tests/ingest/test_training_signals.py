"""`fifth train signals`: every track of a folder fitted and scored, the same each time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from made_bags import START_NS, open_bag

from encoders import encoder_for
from ingest.cli import main
from ingest.errors import WrongUse
from ingest.training_signals import read_signals, train_signals


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of an IMU that swings, at 25 Hz."""
    made = tmp_path_factory.mktemp("bags")
    with open_bag(made / "run.mcap") as bag:
        for index in range(1500):
            stamp_ns = START_NS + index * 40_000_000
            swing = {"x": float(np.sin(index / 20)), "y": float(np.cos(index / 33)), "z": 9.81}
            header = bag.header(stamp_ns)
            bag.write("/imu", "sensor_msgs/msg/Imu", stamp_ns, header=header, linear_acceleration=swing)
    return made


def test_every_track_is_fitted_and_scored(folder: Path, tmp_path: Path) -> None:
    """What is written rebuilds an encoder; on clips left out it is far below the bins' 8 bits a value."""
    lines: list[str] = []
    written = train_signals(folder, tmp_path / "fast.json", says=lines.append)
    assert written == json.loads((tmp_path / "fast.json").read_text(encoding="utf-8"))
    (track,) = written["tracks"]
    assert track["track"] == "imu"
    assert track["score"]["held_out"]
    assert track["score"]["bits_per_value"] < 1
    assert track["score"]["normalised_rmse"] < 0.05
    encoder = encoder_for(track["spec"])
    assert encoder.spec.input.channels == len(track["columns"])
    assert lines[0].startswith("imu: ")
    train_signals(folder, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "fast.json").read_bytes()


def test_tracks_come_in_clips(folder: Path) -> None:
    """Clips of 4 s at 50 rows a second."""
    ((name, columns), clips), *others = read_signals(folder, lambda _: None).items()
    assert (name, others) == ("imu", [])
    assert {clip.shape[1] for clip in clips} == {len(columns)}
    assert [len(clip) for clip in clips[:-1]] == [200] * (len(clips) - 1)


def test_the_command_says_what_it_did(folder: Path, tmp_path: Path) -> None:
    """A line per track on standard error, none with --quiet; nothing to fit to is one line and exit 2."""
    out = tmp_path / "fast.json"
    told = CliRunner().invoke(main, ["train", "signals", "--data", str(folder), "--out", str(out)])
    assert told.exit_code == 0, told.output
    assert "imu: " in told.output
    assert "bits a value" in told.output
    quiet = CliRunner().invoke(
        main, ["train", "signals", "--data", str(folder), "--out", str(out), "--quiet", "--scale", "10"]
    )
    assert quiet.output == ""
    (tmp_path / "nothing").mkdir()
    with pytest.raises(WrongUse, match="no signals to fit to"):
        train_signals(tmp_path / "nothing", out)
