"""Damaged, cut, foreign and hostile files: a cause in words, and everything that can still be had."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from made_damage import cut_short, text_named_mp4
from made_sound import tone, write_sound
from made_video import Pictures, SoundTrack, write_video
from video_made import SMALL, decode_all, read_window, remux, sound

from ingest.errors import CannotDecode, CannotOpen
from ingest.opening import open_recording
from ingest.recording import Incident, Recording
from ingest.sources.av_container import allowed_formats
from ingest.sources.declared_length import counts_frames, lacks_end_mark, wave_length_ns
from ingest.sources.open_failure import top_level_boxes
from ingest.sources.video_file import VideoFile
from ingest.timing import NS

TINY: dict[str, Any] = {"frames": 36, "fps": Fraction(12), "width": 64, "height": 64, "keyframe_every": 6}
SECOND = tone(440, 3, channels=2)
CONTAINERS: dict[str, Callable[[Path], Path]] = {
    "a.mp4": lambda folder: write_video(folder / "a.mp4", Pictures(**TINY), SoundTrack(SECOND)),
    "front.mp4": lambda folder: remux(
        CONTAINERS["a.mp4"](folder), folder / "front.mp4", {"movflags": "faststart"}
    ),
    "fragments.mp4": lambda folder: remux(
        CONTAINERS["a.mp4"](folder), folder / "fragments.mp4", {"movflags": "frag_keyframe+empty_moov"}
    ),
    "a.mkv": lambda folder: write_video(folder / "a.mkv", Pictures(**TINY), SoundTrack(SECOND)),
    "a.webm": lambda folder: write_video(
        folder / "a.webm", Pictures(**TINY, codec="libvpx"), SoundTrack(SECOND, codec="libopus")
    ),
    "a.ts": lambda folder: write_video(folder / "a.ts", Pictures(**TINY), SoundTrack(SECOND)),
    "a.flv": lambda folder: write_video(
        folder / "a.flv", Pictures(**TINY), SoundTrack(SECOND, codec="libmp3lame", sample_rate=44_100)
    ),
    "a.avi": lambda folder: write_video(
        folder / "a.avi", Pictures(**TINY, codec="mpeg4"), SoundTrack(SECOND, codec="libmp3lame")
    ),
    "a.ogg": lambda folder: write_sound(folder / "a.ogg", SECOND),
    "a.opus": lambda folder: write_sound(folder / "a.opus", SECOND),
    "a.mp3": lambda folder: write_sound(folder / "a.mp3", SECOND),
    "a.flac": lambda folder: write_sound(folder / "a.flac", SECOND),
    "a.wav": lambda folder: write_sound(folder / "a.wav", SECOND),
    "a.m4a": lambda folder: write_sound(folder / "a.m4a", SECOND),
}
TELLS_ITS_LENGTH = {
    "front.mp4",
    "a.mkv",
    "a.webm",
    "a.flv",
    "a.avi",
    "a.mp3",
    "a.flac",
    "a.wav",
    "a.ogg",
    "a.opus",
}
"""What notices that it was cut off. A transport stream and a fragmented mp4 may end anywhere."""


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give a small whole file of each container, made once."""
    folder = tmp_path_factory.mktemp("containers")
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = CONTAINERS[name](folder)
        return made[name]

    return make


def outcome(path: Path) -> tuple[Recording, dict[str, int], list[Incident]]:
    """Probe and read everything; return the recording, pictures, samples or cues per track, and incidents."""
    with VideoFile(path) as source:
        recording = source.probe()
    told = list(recording.incidents)
    with VideoFile(path) as source:
        whole = read_window(source, recording.tracks, recording.origin_ns, recording.stop_ns, told)
    items = {
        name: len(one.pictures) + sum(sound.samples.shape[1] for sound in one.sounds) + len(one.cues)
        for name, one in whole.items()
    }
    return recording, items, told


def cause_of(path: Path) -> str:
    with pytest.raises(CannotOpen) as caught:
        VideoFile(path)
    assert str(path.parent) not in str(caught.value)
    return str(caught.value)


# what is no recording


def picture_bytes(ending: str) -> bytes:
    picture = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    return bytes(cv2.imencode(ending, picture)[1].tobytes())


FOREIGN = {
    "": "the file is empty (0 bytes)",
    "\0" * 5000: "the file holds only zeros where its header should be",
    "This is no video.\n": "the file holds plain text, no audio or video",
    "1\n00:00:01,000 --> 00:00:02,000\nhi\n": "the file holds plain text, no audio or video",
    "%PDF-1.7\n": "a PDF document, no audio or video",
    "PK\x03\x04\x14\0\0\0": "a ZIP archive, no audio or video",
    "\0\0\0\x18ftypheic\0\0\0\0mif1heic": "a still picture (HEIC), no recording",
    "\0\0\0\x14ftypisom\0\0\0\0isom":
        "an mp4 of which only the beginning is there: neither index nor media",
    "FLV\x01\x05\0\0\0\x09\0\0\0\0":
        "a damaged FLV file of 13 bytes: no picture and no sound can be found in it",
    "OggS\0\0\0\0": "the file was cut off: its 8 bytes end within the Ogg header",
}  # fmt: skip


@pytest.mark.parametrize("content", FOREIGN)
def test_what_is_no_recording_is_named(tmp_path: Path, content: str) -> None:
    """Whatever its ending promises."""
    path = tmp_path / "claims.mp4"
    path.write_bytes(content.encode("latin-1"))
    assert cause_of(path) == FOREIGN[content]


@pytest.mark.parametrize(
    ("ending", "name"), [(".jpg", "JPEG"), (".png", "PNG"), (".webp", "WebP"), (".tiff", "TIFF")]
)
def test_a_still_picture_is_no_recording(tmp_path: Path, ending: str, name: str) -> None:
    """FFmpeg would open it as a video of one frame."""
    path = tmp_path / "photo.mp4"
    path.write_bytes(picture_bytes(ending))
    assert cause_of(path) == f"a still picture ({name}), no recording"


PLAYLISTS = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "ffconcat": "ffconcat version 1.0\nfile '{other}'\n",
    "DASH": '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>',
    "ffmetadata": ";FFMETADATA1\ntitle=x\n",
    "session description": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video 1234 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("ending", [".mp4", ".m3u8", ".txt"])
def test_a_playlist_never_leads_to_another_file(tmp_path: Path, kind: str, ending: str) -> None:
    """A hostile file in a folder must not make us read others, local or remote."""
    other = write_video(tmp_path / "other.mp4", Pictures(frames=2, width=64, height=64))
    path = tmp_path / f"list{ending}"
    path.write_text(PLAYLISTS[kind].replace("{other}", str(other)))
    assert cause_of(path).startswith(f"a playlist ({kind})")


def test_only_formats_of_recordings_are_opened() -> None:
    """Playlists, devices, scripts, text, pictures and headerless samples are not among them."""
    allowed = allowed_formats()
    assert {
        "mov",
        "mp4",
        "matroska",
        "webm",
        "mpegts",
        "flv",
        "avi",
        "ogg",
        "wav",
        "flac",
        "mp3",
        "mxf",
    } <= allowed
    refused = {
        *("hls", "dash", "concat", "ffmetadata", "sdp", "rtsp", "rtp", "lavfi", "image2", "jpeg_pipe", "gif"),
        *("tty", "srt", "webvtt", "ass", "rawvideo", "s16le", "data", "x11grab", "v4l2", "vobsub"),
    }
    assert not refused & allowed


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorders name files by the time of day; nor may a name be a command to FFmpeg."""
    made = write_video(tmp_path / "made.mkv", Pictures(frames=3, width=64, height=64))
    monkeypatch.chdir(tmp_path)
    for name in ("2024-05-01T10:22:01.mkv", "concat:made.mkv", "a%03d.mkv", "file:made.mkv", "ü \udcff.mkv"):
        shutil.copy(made, name)
        with open_recording(Path(name)) as source:
            assert source.probe().track("video").item_count == 3
    with pytest.raises(FileNotFoundError):
        VideoFile(Path("concat:made.mkv|made.mkv"))


def test_what_the_machine_refuses_is_not_the_recordings_fault(tmp_path: Path) -> None:
    """A missing file and a folder are told in Python's own words."""
    with pytest.raises(FileNotFoundError):
        VideoFile(tmp_path / "missing.mp4")
    with pytest.raises(IsADirectoryError):
        VideoFile(tmp_path)


def test_several_files_are_no_video(tmp_path: Path) -> None:
    """Only bags are split; the second file must not be dropped without a word."""
    paths = [write_video(tmp_path / f"{k}.mkv", Pictures(frames=2, width=64, height=64)) for k in range(2)]
    with pytest.raises(ValueError, match=r"only a bag has several files, got 0\.mkv, 1\.mkv"):
        open_recording(paths)
    with pytest.raises(ValueError, match="at least one path"):
        open_recording([])


# what is cut off


def test_an_mp4_that_was_never_finished(container: Callable[[str], Path], tmp_path: Path) -> None:
    """Its index comes last; boxes are walked, also those with 64-bit lengths."""
    path = cut_short(container("a.mp4"), tmp_path / "cut.mp4", 0.7)
    assert cause_of(path).startswith("the index is missing (an mp4 without 'moov')")
    path.write_bytes(b"\0\0\0\1mdat" + (1 << 40).to_bytes(8, "big") + bytes(100))
    assert list(top_level_boxes(path)) == [(b"mdat", 0, 1 << 40)]


@pytest.mark.parametrize("name", sorted(TELLS_ITS_LENGTH))
def test_a_file_that_was_cut_off_says_so(name: str, container: Callable[[str], Path], tmp_path: Path) -> None:
    """What is before the cut decodes as in the whole file; the rest is told with its span."""
    whole, _, untroubled = outcome(container(name))
    assert [incident for incident in untroubled if incident.severity == "failure"] == []
    path = cut_short(container(name), tmp_path / name, 0.55)
    recording, items, told = outcome(path)
    told = [incident for incident in told if "cut off" in incident.cause]
    assert len(told) == 1
    if name in ("a.ogg", "a.opus"):
        assert told[0].severity == "note"  # nobody knows how much
    else:
        assert told[0].severity == "failure"
        assert recording.stop_ns - 50_000_000 <= told[0].start_ns < told[0].stop_ns
        assert abs(told[0].stop_ns - whole.stop_ns) < 100_000_000
    for track in recording.tracks:
        assert 9 * NS // 10 < track.stop_ns - track.start_ns < 5 * NS // 2
        twin = list(decode_all(container(name), track.details["stream"]))
        kept = list(decode_all(path, track.details["stream"]))
        units = [data.shape[1] if track.medium == "sound" else 1 for _, data in kept]
        assert items[track.name] >= sum(units) - max(units) > 0
        same = sum(np.array_equal(ours[1], theirs[1]) for ours, theirs in zip(kept, twin, strict=False))
        assert same >= len(kept) - 2


def test_a_whole_file_tells_of_no_damage(made_kind: Callable[[str], Path]) -> None:
    """The tests above would mean nothing if whole files were called cut off."""
    for name in (
        "b_frames.mp4",
        "opus.mkv",
        "aac.flv",
        "mpeg4.avi",
        "fragmented.mp4",
        "from_three_seconds.mkv",
    ):
        with VideoFile(made_kind(name)) as source:
            assert source.probe().incidents == ()


@pytest.mark.parametrize("name", CONTAINERS)
def test_no_cut_and_no_flipped_bit_does_harm(
    name: str, container: Callable[[str], Path], tmp_path: Path
) -> None:
    """Never another error than ours, never a hang; what is said is short, and survives JSON."""
    data = container(name).read_bytes()
    rng = random.Random(name)  # the same damage in every run
    for trial in range(16):
        damaged = bytearray(data)
        if trial % 2:
            del damaged[rng.randrange(len(data)) :]
        else:
            for _ in range(rng.choice((1, 4, 20))):
                damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            hole = rng.randrange(len(data))
            damaged[hole : hole + 100] = bytes(len(damaged[hole : hole + 100]))
        path = tmp_path / name
        path.write_bytes(damaged)
        try:
            recording, _, told = outcome(path)
        except CannotOpen:
            assert 10 < len(cause_of(path)) < 200
            continue
        assert Recording.from_json(recording.to_json()) == recording
        for incident in told:
            assert 10 < len(incident.cause) < 200
            assert str(tmp_path) not in incident.cause
            assert incident.start_ns <= incident.stop_ns
            assert not any(word in incident.cause for word in ("Errno", "error number", "avcodec"))


# what is damaged inside


def test_a_picture_with_missing_parts_is_lost_and_told(tmp_path: Path) -> None:
    """The decoder fills holes by guessing; a guess is no picture. All others are kept."""
    path = write_video(
        tmp_path / "holes.mkv", Pictures(frames=24, fps=Fraction(12), b_frames=0, keyframe_every=6)
    )
    with av.open(str(path)) as reader:
        places = [(packet.pos or 0, packet.size) for packet in reader.demux() if packet.size]
    data = bytearray(path.read_bytes())
    at, size = places[6]  # a keyframe: no macroblock of its second half
    start = data.index(bytes(data[at + size // 2 : at + size]), at)
    data[start : start + size // 4] = bytes(size // 4)
    path.write_bytes(data)
    with VideoFile(path) as source:
        recording = source.probe()
        window = read_window(source, recording.tracks, 0, recording.stop_ns)
    damaged = [picture for picture in window["video"].pictures if picture.frame.is_corrupt]  # type: ignore[attr-defined]
    assert [picture.time_ns for picture in damaged] == [NS // 2]
    with pytest.raises(CannotDecode, match="parts of this picture are damaged or missing"):
        damaged[0].rgb(32, 32)


def test_reading_goes_on_behind_a_place_that_cannot_be_read(
    container: Callable[[str], Path], tmp_path: Path
) -> None:
    """A hole in an FLV costs what is in it."""
    data = bytearray(container("a.flv").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = bytes(600)
    path = tmp_path / "hole.flv"
    path.write_bytes(data)
    recording, items, _ = outcome(path)
    _, whole, _ = outcome(container("a.flv"))
    assert recording.stop_ns > 5 * NS // 2
    assert items["video"] > whole["video"] * 2 // 3


def test_a_leaping_stamp_does_not_make_a_recording_of_weeks(
    container: Callable[[str], Path], tmp_path: Path
) -> None:
    """One flipped bit in an FLV tag's time is 24 days; the packet is left out and told."""
    data = bytearray(container("a.flv").read_bytes())
    with av.open(str(container("a.flv"))) as reader:
        video = [packet.pos or 0 for packet in reader.demux(video=0) if packet.size]
    extended = video[15] + 7  # tag: type, size (3), time (3), extended time (1), stream (3)
    assert data[extended - 7] == 9
    assert data[extended] == 0
    data[extended] = 0x40
    path = tmp_path / "leap.flv"
    path.write_bytes(data)
    with VideoFile(path) as source:
        recording = source.probe()
    assert recording.stop_ns < 4 * NS
    assert [incident.cause for incident in recording.incidents if incident.track == "video"] == [
        "1 of 36 time stamps are far from all others: left out"
    ]
    _, items, _ = outcome(path)
    assert items["video"] == 35


def test_a_stream_that_never_decodes_is_told_with_its_reason(
    container: Callable[[str], Path], tmp_path: Path
) -> None:
    """Each of its packets overwritten; the other track is not touched by it."""
    with av.open(str(container("a.mkv"))) as reader:
        places = [(packet.pos or 0, packet.size) for packet in reader.demux(video=0) if packet.size]
    data = bytearray(container("a.mkv").read_bytes())
    for at, size in places:
        data[at + 4 : at + size] = b"\xff" * (size - 4)
    path = tmp_path / "noise.mkv"
    path.write_bytes(data)
    recording, items, _ = outcome(path)
    assert [track.name for track in recording.tracks] == ["audio"]
    assert items["audio"] > 100 * 960
    lost = [incident for incident in recording.incidents if incident.track == "video"]
    assert [incident.severity for incident in lost] == ["failure"]
    assert lost[0].cause == "stream #0 (h264): none of its 36 packets decodes (the data is damaged)"
    assert lost[0].stop_ns - lost[0].start_ns > 2 * NS


def test_an_mp3_counts_its_frames_behind_any_tag(container: Callable[[str], Path], tmp_path: Path) -> None:
    """An ID3 tag's length has seven bits in each byte."""
    bare = container("a.mp3").read_bytes()
    tagged = tmp_path / "tagged.mp3"
    tagged.write_bytes(b"ID3\x03\0\0\0\0\x02\x10" + bytes(2 * 128 + 16) + bare[bare.index(b"\xff\xfb") :])
    assert counts_frames(container("a.mp3"))
    assert counts_frames(tagged)
    assert not counts_frames(container("a.flac"))


def test_a_wave_file_says_how_long_it_is(container: Callable[[str], Path], tmp_path: Path) -> None:
    """By its data chunk's length, unless a recorder could not fill it in."""
    assert wave_length_ns(container("a.wav")) == 3 * NS
    data = container("a.wav").read_bytes()
    place = data.index(b"data") + 4
    path = tmp_path / "stream.wav"
    for unknown in (b"\xff\xff\xff\xff", b"\0\0\0\0"):
        path.write_bytes(data[:place] + unknown + data[place + 4 :])
        assert wave_length_ns(path) is None
    assert wave_length_ns(container("a.flac")) is None
    assert wave_length_ns(cut_short(container("a.wav"), tmp_path / "head.wav", 0.00005)) is None


def test_most_of_a_file_lies_beside_its_packets(container: Callable[[str], Path], tmp_path: Path) -> None:
    """As where a damaged length says that the sound is over: what is passed over is told."""
    data = container("a.wav").read_bytes()
    place = data.index(b"data") + 4
    path = tmp_path / "short.wav"
    path.write_bytes(data[:place] + (1000).to_bytes(4, "little") + data[place + 4 :])
    with VideoFile(path) as source:
        (incident,) = source.probe().incidents
    cause = f"only 1000 of the file's {len(data)} bytes belong to a packet, the rest to none"
    assert (incident.severity, incident.cause) == ("note", cause)


def test_the_last_page_of_an_ogg_is_marked(container: Callable[[str], Path], tmp_path: Path) -> None:
    """A cut within the last page, or before it, leaves no mark."""
    assert not lacks_end_mark(container("a.ogg"))
    assert lacks_end_mark(cut_short(container("a.ogg"), tmp_path / "cut.ogg", 0.9))
    assert lacks_end_mark(text_named_mp4(tmp_path / "text.ogg"))


def test_an_open_gop_at_the_end_of_a_cut_file_is_no_trouble(tmp_path: Path) -> None:
    """Pictures that wait for one that never came are given when the stream is over."""
    path = write_video(tmp_path / "open.ts", Pictures(**SMALL), sound("mp2"))
    cut = cut_short(path, tmp_path / "cut.ts", 0.5)
    recording, items, told = outcome(cut)
    assert items["video"] >= recording.track("video").item_count - 1
    assert all(incident.stop_ns > recording.stop_ns - NS for incident in told)
