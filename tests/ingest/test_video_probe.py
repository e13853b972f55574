"""What probing a video or audio file says: tracks, times, rates, and what is passed over by name."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from made_long import long_card
from made_sound import clicks, tone, write_sound
from made_video import Pictures, SoundTrack, Subtitles, write_video
from video_made import SMALL, read_window, sound

from ingest.recording import Incident, Recording
from ingest.sources.stream_probe import NO_LOSS_NS
from ingest.sources.video_file import VideoFile
from ingest.timing import NS

CLICKS = (Fraction(1, 2), Fraction(7, 4))
EXACT_SOUND = {
    "a.m4a": "aac", "a.mp4": "aac", "a.mp3": "", "a.opus": "", "vorbis.ogg": "vorbis", "flac.ogg": "flac",
    "a.flac": "", "a.wav": "", "a.mov": "pcm_s16le", "alac.m4a": "alac", "opus.mkv": "libopus",
    "mp3.mkv": "libmp3lame", "a.webm": "libopus", "a.aiff": "pcm_s16be", "a.wv": "wavpack",
}  # fmt: skip
"""Containers that say how many priming samples there are. Raw AAC, AC-3 and MP2 streams, TS, FLV and AVI
do not: their sound is late by the encoder's delay, in every player."""


def probed(path: Path, *sidecars: Path) -> Recording:
    with VideoFile(path, sidecars) as source:
        return Recording.from_json(json.loads(json.dumps(source.probe().to_json())))


def test_everything_about_a_file_with_pictures_sound_and_text(tmp_path: Path) -> None:
    """Names, codecs, spans, counts, rates and sizes, as the file was made."""
    path = write_video(
        tmp_path / "all.mkv",
        Pictures(frames=48, fps=Fraction(24), width=96, height=64, sample_aspect=Fraction(4, 3)),
        SoundTrack(tone(440, 1.5, channels=2), codec="pcm_s16le", start=Fraction(1, 4)),
        Subtitles([(Fraction(1), Fraction(3, 2), "words")]),
        SoundTrack(tone(660, 1), codec="flac"),
    )
    recording = probed(path)
    assert recording.container == "matroska"
    assert (recording.origin_ns, recording.incidents) == (0, ())
    assert [track.name for track in recording.tracks] == ["video", "audio", "text", "audio_2"]
    video, audio, text, second = recording.tracks
    assert [track.medium for track in recording.tracks] == ["pictures", "sound", "text", "sound"]
    assert [track.codec for track in recording.tracks] == ["h264", "pcm_s16le", "subrip", "flac"]
    assert [track.topic for track in recording.tracks] == ["#0", "#1", "#2", "#3"]
    assert (video.width, video.height, video.sample_aspect) == (96, 64, "4/3")
    assert (video.pixel_format, video.item_count, video.declared_rate) == ("yuv420p", 48, "24")
    # Matroska counts milliseconds: a picture of 41.67 ms lasts 41, and two begin 42 or 41 apart
    assert (video.start_ns, video.stop_ns, video.period_ns) == (0, 1_999_000_000, 42_000_000)
    assert (audio.start_ns, audio.stop_ns) == (NS // 4, 7 * NS // 4)
    assert (audio.sample_rate, audio.channels, second.channels) == (48_000, 2, 1)
    assert (text.start_ns, text.stop_ns, text.item_count) == (NS, 3 * NS // 2, 1)


def test_stamps_become_nanoseconds_rounded_down(card_ntsc_mp4: Path) -> None:
    """At 30000/1001 frames per second the period is no whole number; most distances are 33 366 667 ns."""
    track = probed(card_ntsc_mp4).track("video")
    assert (track.declared_rate, track.period_ns) == ("30000/1001", 33_366_667)
    assert track.stop_ns == 60 * 1001 * NS // 30_000


def test_a_variable_rate_has_its_median_period_and_its_gaps(card_vfr_mp4: Path) -> None:
    """Card k is shown at k * k / 90 s: distances grow by 2/90 s, none is three times the median."""
    track = probed(card_vfr_mp4).track("video")
    distances = np.diff([k * k * NS // 90 for k in range(40)])
    assert track.period_ns == int(np.sort(distances)[19])
    assert track.gaps == ()
    assert track.start_ns == 0


def test_a_gap_in_the_pictures_is_told(tmp_path: Path) -> None:
    """Ten pictures, four seconds of nothing, ten pictures."""
    times = [Fraction(k, 10) for k in [*range(10), *range(50, 60)]]
    path = write_video(tmp_path / "gap.mp4", Pictures(frames=0, times=times, width=96, height=64))
    assert probed(path).track("video").gaps == ((9 * NS // 10, 5 * NS),)


@pytest.mark.parametrize("name", EXACT_SOUND)
def test_priming_is_dropped_and_a_click_is_where_it_was_made(tmp_path: Path, name: str) -> None:
    """Within one sample, counted from the recording's origin; and the recording is as long as the sound."""
    made = clicks(CLICKS, 2.5)
    if name == "vorbis.ogg":
        made = np.concatenate([made, made])  # FFmpeg's own encoder takes nothing but stereo
    path = write_sound(tmp_path / name, made, codec=EXACT_SOUND[name])
    recording = probed(path)
    track = recording.tracks[0]
    with VideoFile(path) as source:
        heard = read_window(source, [track], recording.origin_ns, recording.stop_ns)["audio"].heard(
            recording.origin_ns, recording.stop_ns, 48_000
        )
    assert abs(track.stop_ns - track.start_ns - 5 * NS // 2) < 1_000_000
    for moment in CLICKS:
        first = int(moment * 48_000)
        clip = made[0, first - 200 : first + 600]
        fits = np.correlate(heard[first - 400 : first + 800], clip, "valid")
        assert abs(int(fits.argmax()) - 200) <= 1


def test_a_flash_and_its_click_are_at_one_time(tmp_path: Path) -> None:
    """Pictures and sound of one file share its timeline, also where it does not begin at 0."""
    flashes = (12, 30)
    for name, start in (("a.mp4", Fraction(0)), ("b.mp4", Fraction(2)), ("c.mkv", Fraction(2))):
        path = write_video(
            tmp_path / name,
            Pictures(frames=48, width=96, height=64, flashes=flashes, start=start),
            SoundTrack(clicks([Fraction(flash, 24) for flash in flashes], 2), start=start),
        )
        recording = probed(path)
        with VideoFile(path) as source:
            whole = read_window(source, recording.tracks, recording.origin_ns, recording.stop_ns)
        begins_ns = recording.track("video").start_ns
        assert begins_ns == start * NS
        heard = whole["audio"].heard(begins_ns, begins_ns + 2 * NS, 48_000)
        times = [picture.time_ns for picture in whole["video"].pictures]
        for flash in flashes:
            first = np.flatnonzero(np.abs(heard) > 0.3)
            onset_ns = int(first[np.abs(first - flash * 2000).argmin()]) * NS // 48_000
            assert abs(begins_ns + onset_ns - times[flash]) < 1_000_000


def test_sound_that_starts_late_stays_late(card_late_sound_mkv: Path) -> None:
    """80 ms."""
    recording = probed(card_late_sound_mkv)
    assert recording.track("audio").start_ns - recording.track("video").start_ns == 80_000_000


def test_a_negative_start_is_the_origin(tmp_path: Path) -> None:
    """An mp4 whose edit list is gone begins before 0 where its first pictures are priming."""
    path = write_video(tmp_path / "late.mp4", Pictures(**SMALL), sound())
    path.write_bytes(path.read_bytes().replace(b"elst", b"free"))
    recording = probed(path)
    audio = recording.track("audio")
    with VideoFile(path) as source:
        whole = read_window(source, [audio], recording.origin_ns, recording.stop_ns)
    assert recording.origin_ns == min(track.start_ns for track in recording.tracks)
    assert whole["audio"].sounds[0].start_ns == audio.start_ns


def test_a_cover_is_metadata(tmp_path: Path) -> None:
    """A picture attached to music is no video track, and no failure."""
    source = write_sound(tmp_path / "bare.mp3", tone(440, 1))
    path = tmp_path / "cover.mp4"
    with av.open(str(source)) as reader, av.open(str(path), "w") as writer:
        music = writer.add_stream_from_template(reader.streams.audio[0])
        cover = writer.add_stream("mjpeg", rate=1)
        assert isinstance(cover, av.VideoStream)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        writer.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        for packet in reader.demux():
            if packet.size:
                packet.stream = music
                writer.mux(packet)
    recording = probed(path)
    assert [track.name for track in recording.tracks] == ["audio"]
    assert recording.details["attached_pictures"] == 1
    assert recording.incidents == ()


def test_a_stream_without_packets_is_a_note(tmp_path: Path) -> None:
    """Declared, but nothing ever came."""
    path = tmp_path / "empty_track.mkv"
    with av.open(str(path), "w") as writer:
        full = writer.add_stream("pcm_s16le", rate=48_000, layout="mono")
        writer.add_stream("pcm_s16le", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 48_000
        writer.mux(full.encode(frame))
    recording = probed(path)
    assert [track.name for track in recording.tracks] == ["audio"]
    assert recording.incidents == (Incident("note", "stream #1 (pcm_s16le) has no packets", "audio_2"),)


def test_a_raw_stream_is_timed_by_counting(tmp_path: Path) -> None:
    """h264 without a container has no stamps: pictures follow each other at 25 a second."""
    path = tmp_path / "raw.h264"
    with (
        av.open(str(write_video(tmp_path / "card.mp4", Pictures(frames=30, b_frames=2)))) as reader,
        av.open(str(path), "w") as writer,
    ):
        copy = writer.add_stream_from_template(reader.streams.video[0])
        for packet in reader.demux():
            if packet.size:
                packet.stream = copy
                writer.mux(packet)
    recording = probed(path)
    track = recording.track("video")
    assert [incident.severity for incident in recording.incidents] == ["note"]
    assert "timed by the declared rate" in recording.incidents[0].cause
    assert (track.item_count, track.start_ns, track.stop_ns) == (30, 0, 30 * NS // 25)
    with VideoFile(path) as source:
        times = [picture.time_ns for picture in read_window(source, [track], 0, NS)["video"].pictures]
    assert times[:26] == [k * NS // 25 for k in range(26)]


def test_pictures_before_the_first_whole_one_are_told(tmp_path: Path) -> None:
    """A broadcast that was cut in the middle of a group begins with pictures that cannot be decoded."""
    whole = write_video(tmp_path / "whole.ts", Pictures(**SMALL), sound("mp2"))
    data = whole.read_bytes()
    path = tmp_path / "cut.ts"
    packets = len(data) // 188
    path.write_bytes(data[:376] + data[packets // 8 * 188 :])  # its tables, then from an eighth on
    recording = probed(path)
    track = recording.track("video")
    told = [incident for incident in recording.incidents if incident.track == "video"]
    with VideoFile(path) as source:
        window = read_window(source, [track], recording.origin_ns, recording.stop_ns)
    assert window["video"].pictures[0].time_ns == track.start_ns
    assert any(incident.stop_ns == track.start_ns and incident.start_ns < track.start_ns for incident in told)


def test_sidecars_become_text_tracks(tmp_path: Path) -> None:
    """Each under its own name; cues count from the recording's origin and end with it."""
    path = write_video(tmp_path / "talk.mp4", Pictures(frames=48, start=Fraction(3)))
    srt, txt, vtt = tmp_path / "talk.srt", tmp_path / "talk.txt", tmp_path / "talk.vtt"
    srt.write_text("1\n00:00:01,000 --> 00:00:09,000\nlong\n\n2\n00:00:05,000 --> 00:00:06,000\nlate\n")
    txt.write_text("all of it\n")
    vtt.write_text("WEBVTT\n\n")
    recording = probed(path, srt, txt, vtt)
    tracks = [track for track in recording.tracks if track.medium == "text"]
    assert [(track.name, track.codec) for track in tracks] == [("text", "srt"), ("text_txt", "txt")]
    assert [(track.start_ns, track.stop_ns) for track in tracks] == [(4 * NS, 5 * NS), (3 * NS, 5 * NS)]
    assert recording.stop_ns == 5 * NS
    assert [(incident.severity, incident.cause) for incident in recording.incidents] == [
        ("note", "srt file: 1 of 2 cues begin after the recording's end: left out"),
        ("note", "vtt file: it holds no cues"),
    ]
    with VideoFile(path, [srt, txt, vtt]) as source:
        window = read_window(source, tracks, 3 * NS, 4 * NS)
    assert [(cue.start_ns, cue.stop_ns, cue.text) for cue in window["text"].cues] == [
        (4 * NS, 5 * NS, "long")
    ]
    assert [cue.text for cue in window["text_txt"].cues] == ["all of it"]


def test_a_sidecar_next_to_embedded_text_gets_another_name(tmp_path: Path) -> None:
    """`text` is the stream's."""
    cues = [(Fraction(0), Fraction(1), "inside")]
    path = write_video(tmp_path / "both.mkv", Pictures(frames=24), Subtitles(cues))
    sidecar = tmp_path / "both.srt"
    sidecar.write_text("00:00:00,000 --> 00:00:01,000\nbeside\n")
    assert [track.name for track in probed(path, sidecar).tracks] == ["video", "text", "text_srt"]


def test_one_thread_decodes(tmp_path: Path, made_av1: Path) -> None:
    """Codec contexts start no threads of their own: workers are processes."""
    code = (
        "import sys, os, cv2; from pathlib import Path; from ingest.sources.video_file import VideoFile\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "with VideoFile(Path(sys.argv[1])) as source:\n"
        "    recording = source.probe()\n"
        "    decoder = source.decoder(recording.tracks[0])\n"
        "    for packet in source.read(recording.tracks[:1], 0, recording.stop_ns, print):\n"
        "        for picture in decoder.decode(packet): picture.rgb(32, 32)\n"
        "        assert len(os.listdir('/proc/self/task')) == before\n"
    )
    if not Path("/proc/self/task").is_dir():
        pytest.skip("threads are counted in /proc")
    for path in (made_av1, write_video(tmp_path / "h264.mp4", Pictures(frames=24, width=640, height=480))):
        subprocess.run([sys.executable, "-c", code, str(path)], check=True, timeout=60)


@pytest.fixture
def made_av1(tmp_path: Path) -> Path:
    """Ten AV1 pictures, which dav1d would gladly decode with many threads."""
    options = {"preset": "12", "svtav1-params": "lp=1"}
    return write_video(
        tmp_path / "av1.mkv", Pictures(frames=10, width=256, height=192, codec="libsvtav1", options=options)
    )


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_ten_hours_need_little_memory(tmp_path: Path, ending: str) -> None:
    """Probing a million packets and reading a window near the end stay below 600 MB, Python included."""
    made = long_card(tmp_path / f"long.{ending}", 10)
    code = (
        "import json, sys; from pathlib import Path\n"
        "from ingest.engine.local import peak_rss_bytes\n"
        "from ingest.sources.video_file import VideoFile\n"
        "with VideoFile(Path(sys.argv[1])) as source:\n"
        "    recording = source.probe()\n"
        "    start = 9 * 3600 * 10**9\n"
        "    packets = sum(1 for _ in source.read(recording.tracks, start, start + 4 * 10**9, print))\n"
        "print(json.dumps([recording.stop_ns, packets, peak_rss_bytes()]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(made.path)], check=True, capture_output=True, text=True, timeout=250
    )
    stop_ns, packets, peak_bytes = json.loads(done.stdout)
    assert abs(stop_ns - made.seconds * NS) < NS
    assert packets < 20 * made.fps  # one group of ten seconds, the window, and its sound
    assert peak_bytes < 600_000_000


def test_damage_at_the_very_end_is_a_tenth_of_a_second() -> None:
    """The border between a note and a failure is the design's."""
    assert NO_LOSS_NS == NS // 10
