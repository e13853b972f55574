"""Fixtures that every test can use: media made on the spot, and the real recordings where they are."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "made_media"))  # the makers are modules of their own

from made_bags import Ramp, write_ramp_bag
from made_sound import clicks, tone, write_sound
from made_video import Pictures, SoundTrack, write_video

# A slow machine is no defect, and a failing example must fail for everyone.
settings.register_profile("fifth", deadline=None, print_blob=True)
settings.load_profile("fifth")


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of real recordings that FIFTH_MEDIA names."""
    folder = os.environ.get("FIFTH_MEDIA", "")
    if not folder:
        pytest.skip("FIFTH_MEDIA does not name a folder of real recordings")
    path = Path(folder).resolve()
    if not path.is_dir():
        pytest.fail(f"FIFTH_MEDIA names {path}, which is no folder")
    return path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this run's made media. Tests read from it and never write to it."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture(scope="session")
def card_mp4(made: Path) -> Path:
    """2 s of cards at 24 fps, 320 x 192, H.264 with B-frames, a keyframe every 12 frames; no sound."""
    return write_video(made / "card.mp4", Pictures())


@pytest.fixture(scope="session")
def card_mkv(made: Path) -> Path:
    """The same cards in Matroska."""
    return write_video(made / "card.mkv", Pictures())


@pytest.fixture(scope="session")
def card_ntsc_mp4(made: Path) -> Path:
    """2 s of cards at 30000/1001 fps."""
    return write_video(made / "card_ntsc.mp4", Pictures(frames=60, fps=Fraction(30000, 1001)))


@pytest.fixture(scope="session")
def card_vfr_mp4(made: Path) -> Path:
    """40 cards, card k at k * k / 90 seconds: a frame rate that falls all the time."""
    return write_video(made / "card_vfr.mp4", Pictures(times=[Fraction(k * k, 90) for k in range(40)]))


@pytest.fixture(scope="session")
def card_with_sound_mp4(made: Path) -> Path:
    """4 s of cards at 24 fps with AAC; frames 12, 36, 60, 84 flash and click (0.5, 1.5, 2.5, 3.5 s)."""
    flashes = (12, 36, 60, 84)
    sound = SoundTrack(clicks([Fraction(frame, 24) for frame in flashes], 4))
    return write_video(made / "card_with_sound.mp4", Pictures(frames=96, flashes=flashes), sound)


@pytest.fixture(scope="session")
def card_late_sound_mkv(made: Path) -> Path:
    """2 s of cards with a tone of 440 Hz that starts 80 ms after the first picture (raw PCM)."""
    sound = SoundTrack(tone(440, 1.9), codec="pcm_s16le", start=Fraction(80, 1000))
    return write_video(made / "card_late_sound.mkv", Pictures(), sound)


@pytest.fixture(scope="session")
def tone_wav(made: Path) -> Path:
    """2 s of 440 Hz (left) and 880 Hz (right) at 48 kHz, 16 bit."""
    return write_sound(made / "tone.wav", tone(440, 2, channels=2))


@pytest.fixture(scope="session")
def ramp_mcap(made: Path) -> Ramp:
    """The ramp robot (see `made_bags.Ramp`) as a single MCAP file with zstd chunks."""
    return write_ramp_bag(Ramp(made / "ramp.mcap"), compression="zstd")


@pytest.fixture(scope="session")
def ramp_bag(made: Path) -> Ramp:
    """The ramp robot as a ROS 1 bag with lz4 chunks."""
    return write_ramp_bag(Ramp(made / "ramp.bag"), compression="lz4")


@pytest.fixture(scope="session")
def ramp_folder(made: Path) -> Ramp:
    """The ramp robot as a ROS 2 folder with sqlite3 storage and metadata."""
    return write_ramp_bag(Ramp(made / "ramp_folder"), storage="sqlite3")


@pytest.fixture(autouse=True)
def _ordinary_scheduling() -> Iterator[None]:
    """Leave the real-time class: SVT-AV1 puts its caller there where it may, and a busy child starves us."""
    yield
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) != os.SCHED_OTHER:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
