"""Recordings whose answer is known go in by the command line; pictures, sound and values come back."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from made_bags import Ramp
from made_cards import is_flash, read_card
from made_damage import text_named_mp4
from made_sound import heard_clicks, heard_pitch

from ingest.configuration import Settings
from ingest.pipeline import shard_recordings
from ingest.reconstruction import Reconstructed, reconstruct_sample
from shards.reader import Sample, open_dataset

FIFTH = Path(sys.executable).with_name("fifth")
OPTIONS = ("--video", "frames-dct", "--clip-seconds", "2", "--fps", "12", "--size", "128", "--device", "cpu")


def fifth(*words: str | Path, expect: int = 0) -> str:
    """Run the command and return its standard output."""
    done = subprocess.run(
        [str(FIFTH), *map(str, words)],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == expect, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def recordings(
    tmp_path_factory: pytest.TempPathFactory, card_with_sound_mp4: Path, tone_wav: Path, ramp_mcap: Ramp
) -> Path:
    """A folder with a video with sound, a sound file, a bag, and a text that claims to be a video."""
    folder = tmp_path_factory.mktemp("recordings")
    for path in (card_with_sound_mp4, tone_wav, ramp_mcap.path):
        shutil.copy(path, folder)
    text_named_mp4(folder / "lie.mp4")
    return folder


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory, recordings: Path) -> Path:
    """The dataset that `fifth shard` makes of them with two workers."""
    folder = tmp_path_factory.mktemp("dataset") / "out"
    fifth("shard", recordings, folder, *OPTIONS, "--workers", "2", expect=3)
    return folder


def samples_of(dataset: Path, recording: str) -> list[Sample]:
    """Return a recording's samples in time order."""
    samples = open_dataset(dataset).samples()
    found = [sample for sample in samples if sample.provenance["recording"] == recording]
    return sorted(found, key=lambda sample: sample.start_ns)


def reconstructed(dataset: Path, recording: str) -> list[tuple[Sample, dict[str, Reconstructed]]]:
    """Return each sample of a recording and what its tokens turn back into."""
    return [(sample, reconstruct_sample(dataset, sample.key)) for sample in samples_of(dataset, recording)]


def pictures(track: Reconstructed) -> list[np.ndarray]:
    """Return the frames of a track as [H, W, 3]."""
    return list(np.asarray(track.media).transpose(0, 2, 3, 1))


def hashes(dataset: Path) -> dict[str, str]:
    """Return the sha256 of every file that must not depend on how the dataset was made."""
    kept = [path for path in dataset.rglob("*") if path.is_file() and path.name not in ("run.jsonl", ".lock")]
    return {str(path.relative_to(dataset)): hashlib.sha256(path.read_bytes()).hexdigest() for path in kept}


def test_every_recording_is_used_or_listed(dataset: Path) -> None:
    """Good recordings give a clip per two seconds, the last one short; the lie is listed with its cause."""
    found = json.loads(fifth("info", dataset, "--json"))
    statuses = {entry["recording"]: (entry["status"], entry["samples"]) for entry in found["per_recording"]}
    assert statuses["card_with_sound.mp4"] == ("ok", 2)
    assert statuses["tone.wav"] == ("ok", 1)
    assert statuses["ramp.mcap"] == ("ok", 3)  # the sound's last frames end 54 ms after four seconds
    assert statuses["lie.mp4"] == ("failed", 0)
    assert [failure["recording"] for failure in found["failures"]] == ["lie.mp4"]


def test_the_dataset_verifies(dataset: Path) -> None:
    """What was written is what is read."""
    fifth("verify", dataset)


def test_video_comes_back_frame_by_frame(dataset: Path) -> None:
    """Each reconstructed frame shows the card that was on screen at its grid time."""
    for sample, tracks in reconstructed(dataset, "card_with_sound.mp4"):
        start_ns = sample.start_ns
        times_ns = start_ns + sample.arrays["video.times"]
        assert [int(time) for time in times_ns] == [
            start_ns + int(Fraction(k, 12) * 1_000_000_000) for k in range(24)
        ]
        frames = pictures(tracks["video"])[: len(times_ns)]
        assert [read_card(frame) for frame in frames] == [round(int(time) * 24 / 1e9) for time in times_ns]


def test_picture_and_sound_belong_together(dataset: Path) -> None:
    """The clicks are heard in the frames that flash, after encoding and back."""
    for _, tracks in reconstructed(dataset, "card_with_sound.mp4"):
        frames = pictures(tracks["video"])
        flashes = [k / 12 for k, frame in enumerate(frames) if is_flash(frame)]
        heard = np.asarray(tracks["audio"].media)
        onsets = heard_clicks(heard, int(tracks["audio"].rate or 0), loudness=np.abs(heard).max() / 2)
        assert flashes == [0.5, 1.5]
        assert onsets == pytest.approx(flashes, abs=0.02)  # the encoder's step is 20 ms


def test_sound_keeps_its_pitch(dataset: Path) -> None:
    """A tone in a file and a tone in a bag sound the same after encoding and back."""
    for recording in ("tone.wav", "ramp.mcap"):
        audio = reconstructed(dataset, recording)[0][1]["audio"]
        rate = int(audio.rate or 0)
        middle = np.asarray(audio.media)[:, rate // 4 : rate]
        assert heard_pitch(middle, rate) == pytest.approx(440, abs=1)


def test_joint_values_lie_on_the_ramp(dataset: Path) -> None:
    """Values on the grid are the ramp's own, and tokens turn back into them within a bin's width."""
    for clip, (sample, tracks) in enumerate(reconstructed(dataset, "ramp.mcap")[:2]):
        s = 2 * clip + np.arange(100) / 50
        ramp = np.stack([s, 10 - s, np.ones(100), -np.ones(100)], axis=1)
        values = sample.arrays["joint_states.values"]
        assert tracks["joint_states"].columns == (
            "position[shoulder]", "position[elbow]", "velocity[shoulder]", "velocity[elbow]",
        )  # fmt: skip
        assert np.abs(values - ramp).max() < 1e-6
        assert (sample.arrays["joint_states.tokens"] > 0).all()
        assert np.abs(np.asarray(tracks["joint_states"].media) - ramp).max() < 2 * 4 / 254


def test_cameras_of_a_bag_come_back_frame_by_frame(dataset: Path) -> None:
    """Both cameras, jpeg and raw, show the card of the last message at each grid time."""
    for clip, (sample, tracks) in enumerate(reconstructed(dataset, "ramp.mcap")[:2]):
        for name, first_number in (("camera_front_compressed", 0), ("camera_wrist_image_raw", 500)):
            frames = pictures(tracks[name])
            shown = [first_number + (2 * clip * 12 + k) * 10 // 12 for k in range(24)]
            assert [read_card(frame) for frame in frames] == shown
            times_ns = sample.arrays[f"{name}.times"]
            assert [int(time) for time in times_ns] == [
                (number - first_number) * 100_000_000 - clip * 2_000_000_000 for number in shown
            ]


def test_text_keeps_its_time(dataset: Path) -> None:
    """Words stand in the clip in which they were said, at their time of logging."""
    for clip, (sample, _) in enumerate(reconstructed(dataset, "ramp.mcap")[:2]):
        words = sample.text["words"].splitlines()
        starts = [int(start) for start, _ in sample.arrays["words.times"]]
        said = {f"word {k}": k * 500_000_000 + 5_000_000 - clip * 2_000_000_000 for k in range(8)}
        new = {word: start for word, start in zip(words, starts, strict=True) if start >= 0}
        assert new == {word: start for word, start in said.items() if 0 <= start < 2_000_000_000}


def test_running_again_changes_nothing(dataset: Path, recordings: Path) -> None:
    """A second run finds everything done, says so with the same exit code, and touches no byte."""
    before = hashes(dataset)
    fifth("shard", recordings, dataset, *OPTIONS, expect=3)
    assert hashes(dataset) == before


def test_one_process_writes_the_same_bytes_as_two_workers(
    dataset: Path, recordings: Path, tmp_path: Path
) -> None:
    """From Python and in this process: every file is the same as the command's."""
    settings = Settings(
        video="frames-dct", clip_seconds=Fraction(2), fps=Fraction(12), size=128, device="cpu"
    )
    shard_recordings([recordings], tmp_path / "out", settings, workers=0)
    assert hashes(tmp_path / "out") == hashes(dataset)


def test_other_settings_are_refused(dataset: Path, recordings: Path) -> None:
    """A dataset keeps the settings that it was made with."""
    before = hashes(dataset)
    fifth("shard", recordings, dataset, *OPTIONS, "--fps", "6", expect=2)
    assert hashes(dataset) == before


def test_verify_finds_one_wrong_byte(dataset: Path, tmp_path: Path) -> None:
    """A single changed bit in a shard is a problem, named and counted."""
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    tar = max((copy / "shards").glob("*.tar"), key=lambda path: path.stat().st_size)
    data = bytearray(tar.read_bytes())
    data[len(data) // 2] ^= 1
    tar.write_bytes(data)
    fifth("verify", copy, expect=1)


def test_reconstruct_writes_a_film(dataset: Path, tmp_path: Path) -> None:
    """`fifth reconstruct` gives an mp4 whose frames still carry their numbers."""
    import av

    key = samples_of(dataset, "card_with_sound.mp4")[1].key
    fifth("reconstruct", dataset, key, "-o", tmp_path / "clip.mp4")
    with av.open(str(tmp_path / "clip.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
        assert len(film.streams.audio) == 1
    assert [read_card(frame) for frame in frames] == [48 + 2 * k for k in range(24)]
