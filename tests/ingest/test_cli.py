"""The command line: what is printed where, and with which exit code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from made_damage import text_named_mp4

from ingest.cli import main
from shards import open_dataset

SMALL = ["--clip-seconds", "1", "--fps", "4", "--size", "64", "--device", "cpu", "--workers", "0"]


def fifth(*words: str | Path) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def folder(tmp_path: Path, card_mp4: Path, tone_wav: Path) -> Path:
    """A video, a sound file, and a text that claims to be a video."""
    recordings = tmp_path / "in"
    recordings.mkdir()
    shutil.copy(card_mp4, recordings / "card.mp4")
    shutil.copy(tone_wav, recordings / "tone.wav")
    text_named_mp4(recordings / "lie.mp4")
    return recordings


def test_the_main_job_by_command(folder: Path, tmp_path: Path) -> None:
    """Shard, info, verify and reconstruct: results on standard output, exit code 3 for the broken file."""
    out = tmp_path / "out"
    done = fifth("shard", folder, out, *SMALL)
    assert done.exit_code == 3, done.output
    assert "lie.mp4" in done.stdout
    assert "1 failures" in done.stdout
    assert "1 failures" in done.stderr
    info = json.loads(fifth("info", out, "--json").stdout)
    assert {"recordings", "samples", "seconds", "bytes", "tokens", "layouts", "shards"} <= set(info)
    assert {"per_recording", "failures", "notes"} <= set(info)
    assert fifth("verify", out).exit_code == 0
    key = next(sample.key for sample in open_dataset(out).samples("video"))
    clip = tmp_path / "clip.mp4"
    assert fifth("reconstruct", out, key, "-o", clip).exit_code == 0
    assert clip.stat().st_size > 1000


def test_again_with_strict_is_exit_code_1(folder: Path, tmp_path: Path) -> None:
    """--strict stops at the first failure and names it."""
    done = fifth("shard", folder, tmp_path / "out", *SMALL, "--strict")
    assert done.exit_code == 1
    assert "lie.mp4" in done.stderr


def test_a_dry_run_says_clips_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    """Nothing but the inputs is there afterwards."""
    done = fifth("shard", folder, "--dry-run", *SMALL)
    assert done.exit_code == 0
    assert "4 clips" in done.stdout
    assert "nothing was written" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_probe_shows_a_recording_and_a_folder(folder: Path) -> None:
    """A file gives its tracks, a folder a line each and totals; damage makes the exit code 3."""
    one = fifth("probe", folder / "card.mp4", "--workers", "1")
    assert one.exit_code == 0
    assert "320x192" in one.stdout
    assert "24/s" in one.stdout
    many = fifth("probe", folder, "--workers", "1")
    assert many.exit_code == 3
    assert "3 recordings" in many.stdout
    found = json.loads(fifth("probe", folder, "--json", "--workers", "1").stdout)
    assert [entry["recording"] for entry in found["recordings"]] == ["card.mp4", "lie.mp4", "tone.wav"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["shard", "no-such-folder", "out"], 1, "no such file or folder: no-such-folder"),
        (["shard", "IN"], 2, "at least one INPUT and the DATASET"),
        (["shard", "IN", "out", "--fps", "0"], 2, "--fps must be more than 0"),
        (["shard", "IN", "out", "--fps", "many"], 2, "no number"),
        (["shard", "IN", "out", "--clip-seconds", "-1"], 2, "--clip-seconds"),
        (["shard", "IN", "out", "--video", "frame-dct"], 2, "did you mean 'frames-dct'"),
        (["shard", "IN", "out", "--video", "sound-mdct"], 2, "takes sound"),
        (["shard", "IN", "out", "--map", "nonsense"], 2, "NAME=TOPIC"),
        (["shard", "IN", "out", "--audio-format", "x"], 2, "TOPIC=FORMAT"),
        (["info", "IN"], 1, "no dataset"),
        (["verify", "no-such-dataset"], 1, "no such folder"),
        (["reconstruct", "IN", "key", "-o", "x.mp4"], 1, "no dataset"),
        (["frobnicate"], 2, "No such command"),
        (["probe", "no-such-file"], 1, "no such file"),
    ],
)
def test_wrong_use_is_one_clear_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: Sequence[str], code: int, said: str
) -> None:
    """The right exit code, the way out, no traceback, and nothing made."""
    monkeypatch.chdir(tmp_path)
    done = fifth(*[str(folder) if word == "IN" else word for word in words])
    assert done.exit_code == code, done.output
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_list_file_gives_inputs(folder: Path, tmp_path: Path) -> None:
    """One input a line; empty lines and comments are passed over."""
    listed = tmp_path / "list.txt"
    listed.write_text(f"# sound only\n\n{folder / 'tone.wav'}\n")
    done = fifth("shard", "--list", listed, tmp_path / "out", *SMALL)
    assert done.exit_code == 0, done.output
    assert json.loads(fifth("info", tmp_path / "out", "--json").stdout)["recordings"] == 1


def test_an_empty_folder_is_nothing_to_shard(tmp_path: Path) -> None:
    """The line says that no recordings were found."""
    (tmp_path / "in").mkdir()
    done = fifth("shard", tmp_path / "in", tmp_path / "out", *SMALL)
    assert done.exit_code == 1
    assert "no recordings found" in done.stderr


def test_encoders_are_listed(folder: Path) -> None:
    """Every encoder with its rate; measured quality for the media given."""
    assert "fifth-video (default)" in fifth("encoders").stdout
    measured = json.loads(fifth("encoders", "--measure", folder / "tone.wav", "--json").stdout)["measured"]
    assert {entry["encoder"] for entry in measured} == {"sound-mdct", "fifth-audio", "opus", "mulaw-256"}
    ratios = {entry["encoder"]: entry["figures"]["snr_db"] for entry in measured}
    assert ratios.pop("fifth-audio") > -5  # its phases are made up
    assert min(ratios.values()) > 5


def test_help_names_every_command() -> None:
    """The first page is enough to find one's way."""
    text = fifth("--help").stdout
    for command in ("probe", "shard", "info", "verify", "reconstruct", "encoders"):
        assert command in text
        assert "fifth " in fifth(command, "--help").stdout


def test_parts_and_their_end_by_command(folder: Path, tmp_path: Path) -> None:
    """A part says what comes next; finishing says what is missing, with exit code 3, until nothing is."""
    out = tmp_path / "out"
    (folder / "lie.mp4").unlink()
    first = fifth("shard", folder, out, *SMALL, "--part", "1/2", "--metrics-port", "0")
    assert first.exit_code == 0, first.output
    assert f"part 1/2 is done; when all are: fifth finish {out}" in first.stdout
    assert "metrics at http://127.0.0.1:" in first.stderr
    missing = fifth("finish", out)
    assert missing.exit_code == 3
    assert "1 of 2 tasks are not done (numbers 1)" in missing.stderr
    assert fifth("shard", folder, out, *SMALL, "--part", "2/2").exit_code == 0
    assert fifth("finish", out).exit_code == 0
    wrong = fifth("shard", folder, out, *SMALL, "--part", "3/2")
    assert (wrong.exit_code, "I from 1 to N" in wrong.stderr) == (2, True)
