"""Tokens of any number per step, from recordings to shards and back: FAST, Opus packets, H.264 groups."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from made_bags import Ramp
from made_cards import read_card
from made_sound import heard_pitch

from ingest.configuration import Settings
from ingest.pipeline import shard_recordings
from ingest.reconstruction import reconstruct_sample
from shards import TokenStream
from shards.reader import Sample, open_dataset
from shards.verify import verify_dataset


@pytest.fixture(scope="module")
def dataset(
    tmp_path_factory: pytest.TempPathFactory, card_with_sound_mp4: Path, tone_wav: Path, ramp_mcap: Ramp
) -> Path:
    """A dataset of a video with sound, a sound file and a bag, in tokens of these encoders alone."""
    folder, out = tmp_path_factory.mktemp("recordings"), tmp_path_factory.mktemp("dataset") / "out"
    for path in (card_with_sound_mp4, tone_wav, ramp_mcap.path):
        shutil.copy(path, folder)
    settings = Settings(
        clip_seconds=Fraction(2),
        fps=Fraction(12),
        size=128,
        video="h264",
        audio="opus",
        signals="fast-1024",
        device="cpu",
    )
    shard_recordings([folder], out, settings, workers=0)
    return out


def samples_of(dataset: Path, recording: str) -> list[Sample]:
    found = [s for s in open_dataset(dataset).samples() if s.provenance["recording"] == recording]
    return sorted(found, key=lambda sample: sample.start_ns)


def test_it_verifies_and_lists(dataset: Path) -> None:
    """Codes, offsets and lengths are what the layouts say."""
    assert verify_dataset(dataset) == []


def test_pictures_come_back(dataset: Path) -> None:
    """24 frames are three groups of 8, and each frame still shows its number."""
    for sample in samples_of(dataset, "card_with_sound.mp4"):
        assert len(sample.arrays["video.offsets"]) == 4
        assert sample.arrays["video.tokens"].dtype == np.uint8
        frames = np.asarray(reconstruct_sample(dataset, sample.key)["video"].media).transpose(0, 2, 3, 1)
        times_ns = sample.start_ns + sample.arrays["video.times"]
        assert [read_card(f) for f in frames] == [round(int(time) * 24 / 1e9) for time in times_ns]


def test_sound_comes_back(dataset: Path) -> None:
    """Two seconds are two chunks of 51 packets; the tone is heard."""
    for recording in ("tone.wav", "ramp.mcap"):
        sample = samples_of(dataset, recording)[0]
        assert (len(sample.arrays["audio.offsets"]) - 1) % 51 == 0
        audio = reconstruct_sample(dataset, sample.key)["audio"]
        assert audio.rate == 48_000
        assert heard_pitch(np.asarray(audio.media)[:, 12_000:48_000], 48_000) == pytest.approx(440, abs=1)


def test_signals_come_back(dataset: Path) -> None:
    """100 rows are two chunks, 16-bit tokens, a tenth of the values' number; the ramp is there again."""
    for clip, sample in enumerate(samples_of(dataset, "ramp.mcap")[:2]):
        tokens, offsets = sample.arrays["joint_states.tokens"], sample.arrays["joint_states.offsets"]
        assert tokens.dtype == np.uint16
        assert len(offsets) == 3
        assert tokens.size < sample.arrays["joint_states.values"].size / 5
        s = 2 * clip + np.arange(100) / 50
        ramp = np.stack([s, 10 - s, np.ones(100), -np.ones(100)], axis=1)
        back = np.asarray(reconstruct_sample(dataset, sample.key)["joint_states"].media)
        assert np.abs(back - ramp).max() < 0.1


def test_packed_rows_hold_every_token(dataset: Path) -> None:
    """A stream of packed rows gives every clip's ragged codes back, in order and in their own dtype."""
    stream = TokenStream(dataset, tracks=["joint_states"], epochs=1, shuffle_window=0).packed(64)
    ids = np.concatenate([batch["tokens"].reshape(-1) for batch in stream])
    found = [clip["joint_states"] for clip in stream.vocabulary.clips_in(ids)]
    wanted = [sample.arrays["joint_states.tokens"] for sample in samples_of(dataset, "ramp.mcap")]
    assert sorted(codes.tobytes() for codes in found) == sorted(
        codes.tobytes() for codes in wanted if codes.size
    )
    assert {codes.dtype for codes in found} == {np.dtype(np.uint16)}
