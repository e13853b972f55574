"""One contract, every decoder: the right frame at the right time, or a refusal with its reason."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from made_cards import read_card
from made_video import Pictures, stored_times_ns, write_video
from video_made import X264_OPEN, X265_OPEN

from ingest import decoder_trial
from ingest.clips import Sampling, Wish, read_clips
from ingest.decoder_trial import LEAST_PSNR_DB, decoded_by, psnr_db, why_not_exact, with_decoder
from ingest.decoders.backends import BY_PLACE, DECODERS, why_missing
from ingest.decoders.backends.frame_reader import Abilities, PlacedFrame
from ingest.errors import CannotDecode
from ingest.recording import Incident, Recording, Track
from ingest.sampling.clip import PictureClip, Window
from ingest.sources import placed_pictures
from ingest.sources.video_file import VideoFile
from ingest.timing import grid_times, index_at_or_before

FAST_VP9 = {"cpu-used": "8", "deadline": "realtime"}


@dataclass(frozen=True)
class Case:
    """A made file, and which decoders must refuse it: all others must read it."""

    ending: str
    pictures: Pictures
    refused_by: dict[str, str] = field(default_factory=dict)
    """Decoder to what its reason says."""
    more: Sequence[Pictures] = ()
    """Further streams."""


def all_placed(reason: str) -> dict[str, str]:
    return dict.fromkeys(BY_PLACE, reason)


TURNED = {"decord": "it turns pictures by itself", "torchcodec": "it turns pictures by itself"}
UNEVEN = sorted({Fraction(k * k + 7 * (k % 3), 90) for k in range(18)})


def small(**more: Any) -> Pictures:
    """Return a short stream of small cards."""
    return Pictures(**{"frames": 30, "width": 160, "height": 96, **more})


CASES = {
    "steady": Case("mp4", small(b_frames=0)),
    "b_frames": Case("mp4", small(b_frames=3)),
    "ntsc": Case("mp4", small(fps=Fraction(30000, 1001))),
    "falling_rate": Case("mp4", small(times=[Fraction(k * k, 90) for k in range(18)])),
    "uneven_rate": Case("mkv", small(times=UNEVEN)),
    "gap": Case("mp4", small(times=[Fraction(k, 10) + (2 if k > 9 else 0) for k in range(20)])),
    "late_start": Case("mkv", small(start=Fraction(3))),
    "late_start_mp4": Case("mp4", small(start=Fraction(3))),
    "starts_before_zero": Case("mp4", small(frames=60, start=Fraction(-1))),
    "hidden_by_edit_list": Case(
        "mp4", small(frames=60, start=Fraction(-7, 6), keyframe_every=60),
        {"decord": "an edit list hides"},
    ),
    "open_gop": Case("mp4", small(options=X264_OPEN)),
    "open_gop_hevc": Case("mkv", small(codec="libx265", options=X265_OPEN)),
    "vp9": Case("webm", small(codec="libvpx-vp9", options=FAST_VP9)),
    "odd_size": Case("webm", small(width=161, height=121, codec="libvpx-vp9", options=FAST_VP9)),
    "turned_90": Case("mp4", small(rotation=90), TURNED),
    "turned_180": Case("mp4", small(rotation=180), TURNED),
    "turned_270_mirrored": Case("mp4", small(rotation=270, mirrored=True), TURNED),
    "narrow_pixels": Case("mp4", small(width=80, sample_aspect=Fraction(2))),
    "ten_bits": Case(
        "mp4", small(pixel_format="yuv420p10le"), all_placed("8-bit RGB of yuv420p10le")
    ),
    "full_range": Case("mp4", small(pixel_format="yuvj420p")),
    "full_chroma": Case("mp4", small(pixel_format="yuv444p")),
    "grey": Case("mkv", small(codec="ffv1", pixel_format="gray"), all_placed("8-bit RGB of gray")),
    "alpha": Case("mkv", small(codec="ffv1", pixel_format="yuva420p"), all_placed("8-bit RGB of yuva")),
    "undeclared_hd": Case(
        "mp4", small(frames=8, width=1280, height=720), all_placed("does not declare its colours")
    ),
    "no_stamps": Case("avi", small(codec="mpeg4"), all_placed("no presentation stamps")),
    "second_video": Case(
        "mp4", small(),
        dict.fromkeys(("decord", "opencv"), "chooses one of the 2 video streams"),
        [small(first_number=100)],
    ),
}  # fmt: skip
RATE = Fraction(17)
"""Of the grid: it falls between frames, on frames, and on frames again."""


@pytest.fixture(scope="module")
def made_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the made file of this name; it is made when first asked for."""
    folder = tmp_path_factory.mktemp("cases")
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            case = CASES[name]
            made[name] = write_video(folder / f"{name}.{case.ending}", case.pictures, *case.more)
        return made[name]

    return make


@pytest.fixture(params=[pytest.param(n, marks=[pytest.mark.gpu] if n == "nvdec" else []) for n in DECODERS])
def decoder(request: pytest.FixtureRequest) -> str:
    """One decoder after the other; those that this machine lacks are passed over."""
    name: str = request.param
    missing = why_missing(name)
    if missing:
        must_be_there = name == "nvdec" and os.environ.get("FIFTH_GPU")
        (pytest.fail if must_be_there else pytest.skip)(f"{name}: {missing}")
    return name


def probed(path: Path) -> Recording:
    with VideoFile(path) as source:
        return source.probe()


def sampled(path: Path, track: Track, told: list[Incident]) -> PictureClip:
    """Sample everything of a track at `RATE`."""
    window = Window(0, track.start_ns, track.stop_ns)
    sampling = Sampling(fps=RATE, size=128, fit="crop")
    with VideoFile(path) as source:
        ((_, _, media),) = read_clips(source, [Wish("video", track)], [window], sampling, told.append)
    assert isinstance(media, PictureClip)
    frames = media.frames if isinstance(media.frames, np.ndarray) else media.frames.cpu().numpy()
    return PictureClip(frames, media.times_ns)


@pytest.mark.parametrize("name", CASES)
def test_every_sampled_frame_is_the_right_one_or_is_refused(
    name: str, decoder: str, made_case: Callable[[str], Path]
) -> None:
    """The card's number is that of the time; the time is the container's; the pixels are the reference's."""
    case, path = CASES[name], made_case(name)
    recording = with_decoder(probed(path), path, decoder)
    track = recording.track("video")
    notes = [incident.cause for incident in recording.incidents if "can't be used" in incident.cause]
    if decoder in case.refused_by:
        assert track.details["decoder"] == "av"
        assert case.refused_by[decoder] in notes[0]
        assert notes[0].startswith(f"{decoder} can't be used: ")
        assert notes[0].endswith("; decoded by av")
    else:
        assert track.details["decoder"] == decoder, notes
        assert not notes
    told: list[Incident] = []
    clip = sampled(path, track, told)
    assert not told
    shown = {time_ns: k for k, time_ns in enumerate(stored_times_ns(path, case.pictures)) if time_ns >= 0}
    times_ns = np.array(sorted(shown))
    assert track.start_ns == times_ns[0]
    grid = grid_times(track.start_ns, track.stop_ns - track.start_ns, RATE)
    expected = times_ns[index_at_or_before(times_ns, grid)]
    assert (clip.times_ns + track.start_ns).tolist() == expected.tolist()
    assert [read_card(frame) for frame in clip.frames] == [shown[time_ns] for time_ns in expected.tolist()]
    if track.details["decoder"] == "av":
        return
    reference = sampled(path, decoded_by(track, "av"), told)
    nearest = min(psnr_db(a, b) for a, b in zip(clip.frames, reference.frames, strict=True))
    assert nearest >= LEAST_PSNR_DB


def test_a_second_stream_is_read_as_such(made_case: Callable[[str], Path]) -> None:
    """Torchcodec can be told which; its frames are those of the second stream, which is upright."""
    if why_missing("torchcodec"):
        pytest.skip(f"torchcodec: {why_missing('torchcodec')}")
    path = made_case("second_video")
    track = probed(path).track("video_2")
    assert why_not_exact(path, track, "torchcodec", 2) == ""
    clip = sampled(path, decoded_by(track, "torchcodec"), [])
    assert read_card(clip.frames[0]) == 100


def test_windows_can_be_read_in_any_order(decoder: str, made_case: Callable[[str], Path]) -> None:
    """Each second by itself, the last one first: the frames of reading everything."""
    path = made_case("b_frames")
    track = with_decoder(probed(path), path, decoder).track("video")
    whole = sampled(path, track, [])
    sampling = Sampling(fps=RATE, size=128, fit="crop")
    with VideoFile(path) as source:
        for start_ns in (1_000_000_000, 0, 1_000_000_000):
            window = Window(0, start_ns, min(track.stop_ns, start_ns + 1_000_000_000))
            ((_, _, media),) = read_clips(source, [Wish("video", track)], [window], sampling, lambda _: None)
            assert isinstance(media, PictureClip)
            first = start_ns * RATE.numerator // 1_000_000_000
            assert np.array_equal(np.asarray(media.frames), whole.frames[first : first + media.valid])
            assert media.valid


class Fake:
    """A library that can be told to do wrong; it shows numbers as grey levels."""

    abilities: ClassVar[Abilities] = Abilities(True, True, True, False)
    wrong: ClassVar[str] = ""
    count: int | None = 48

    def __init__(self, path: Path, stream: int, first_seconds: float) -> None:
        self.first_seconds = first_seconds
        if self.wrong == "does not open":
            raise RuntimeError("no")
        if self.wrong == "finds fewer":
            self.count = 47

    def read(self, places: Sequence[int]) -> Iterator[PlacedFrame]:
        for place in places:
            if self.wrong == "raises" and place == 3:
                raise RuntimeError("at 0x7f00")
            if self.wrong == "ends" and place == 3:
                return
            late = 1 if self.wrong == "gives the next" and place == 3 else 0
            seconds = np.float32((place + late) / 24)
            yield PlacedFrame(float(seconds), np.full((192, 320, 3), 5 * place, np.uint8))


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put the fake in the place of every library, doing this wrong."""

    def fake(wrong: str) -> None:
        monkeypatch.setattr(Fake, "wrong", wrong)
        monkeypatch.setattr(placed_pictures, "reader_class", lambda _: Fake)
        monkeypatch.setattr(decoder_trial, "reader_class", lambda _: Fake)

    return fake


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        ("raises", "opencv can't decode this picture (RuntimeError)"),
        ("ends", "opencv can't decode this picture (it gave fewer frames than it was asked for)"),
        ("gives the next", "opencv gives another frame than the one it was asked for"),
    ],
)
def test_what_a_library_does_wrong_later_costs_its_frames(
    wrong: str, cause: str, card_mp4: Path, faked: Callable[[str], None]
) -> None:
    """A frame that is not the one asked for is lost and told with its time; nothing stands in for it."""
    track = decoded_by(probed(card_mp4).track("video"), "opencv")
    faked(wrong)
    window, told = Window(0, 0, 250_000_000), list[Incident]()
    with VideoFile(card_mp4) as source:
        wishes, sampling = [Wish("video", track)], Sampling(fps=Fraction(24), size=64)
        ((_, _, media),) = read_clips(source, wishes, [window], sampling, told.append)
    assert isinstance(media, PictureClip)
    levels = [int(np.median(frame)) // 5 for frame in media.frames]
    assert levels == ([0, 1, 2, 4, 5] if wrong == "gives the next" else [0, 1, 2])
    assert {incident.cause for incident in told} == {cause}
    assert told[0].start_ns == 125_000_000
    assert told[0].severity == "failure"


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("does not open", r"it can't open the file \(RuntimeError\)"),
        ("finds fewer", "it finds 47 frames where the container has 48"),
        ("raises", r"opencv can't decode this picture \(RuntimeError\)"),
        ("gives the next", "opencv gives another frame than the one it was asked for"),
        ("", r"its picture at 0\.000 s is not the reference's \(\d+\.\d dB where 36 dB is the least\)"),
    ],
)
def test_what_a_library_does_wrong_at_once_is_a_refusal(
    wrong: str, reason: str, card_mp4: Path, faked: Callable[[str], None]
) -> None:
    """Also where frames and times are right and only the pictures are others."""
    track = probed(card_mp4).track("video")
    faked(wrong)
    assert re.fullmatch(reason, why_not_exact(card_mp4, track, "opencv", 1))


def test_what_the_reference_cannot_decode_is_not_compared(
    card_mp4: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose beginning is damaged is left to the reference, which tells of it; nothing is raised."""
    recording = probed(card_mp4)
    real = decoder_trial.pictures_at

    def damaged(path: Path, track: Track, times_ns: Any) -> Any:
        if track.details["decoder"] == "av":
            raise CannotDecode("a packet does not decode")
        return real(path, track, times_ns)

    monkeypatch.setattr(decoder_trial, "pictures_at", damaged)
    said = why_not_exact(card_mp4, recording.track("video"), "opencv", 1)
    assert said.startswith("it can't be compared, since not even av decodes all that is compared")
    monkeypatch.setattr(decoder_trial, "pictures_at", lambda *_: {})
    assert (
        why_not_exact(card_mp4, recording.track("video"), "opencv", 1) == "there is nothing to compare it by"
    )


@pytest.mark.parametrize(
    ("severity", "track", "chosen"),
    [
        ("failure", "", "av"),
        ("failure", "video", "av"),
        ("failure", "audio", "opencv"),
        ("note", "video", "opencv"),
    ],
)
def test_damaged_recordings_are_left_to_the_reference(
    card_mp4: Path, severity: Any, track: str, chosen: str
) -> None:
    """Other libraries fill in what is lost and do not tell: they are not asked where damage is known."""
    recording = probed(card_mp4)
    recording = replace(recording, incidents=(Incident(severity, "a hole", track),))
    found = with_decoder(recording, card_mp4, "opencv")
    assert found.track("video").details["decoder"] == chosen
    assert len(found.incidents) == (2 if chosen == "av" else 1)


def test_the_reference_is_never_tried_against_itself(card_mp4: Path, faked: Callable[[str], None]) -> None:
    """Asking for av changes nothing but that the track says so."""
    recording = probed(card_mp4)
    faked("does not open")
    chosen: Any = with_decoder(recording, card_mp4, "av")
    assert chosen.track("video").details["decoder"] == "av"
    assert chosen.incidents == recording.incidents
