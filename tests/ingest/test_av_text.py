"""Subtitle streams as timed text: the words, their times, and nothing of how they shall look."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_video import Pictures, Subtitles, write_video
from video_made import read_window

from ingest.decoders.av_text import UNSAID_NS
from ingest.decoders.caption_text import without_tags, words_of_ass
from ingest.recording import Cue
from ingest.sources.video_file import VideoFile
from ingest.timing import NS

CUES = [
    (Fraction(1, 2), Fraction(1), "<i>Hello</i> & <b>you</b>\nsecond line"),
    (Fraction(1), Fraction(3, 2), "a, b, c, d, e, f, g, h, i, j"),
    (Fraction(3), Fraction(7, 2), "ünïcode 日本"),
]
WORDS = ["Hello & you\nsecond line", "a, b, c, d, e, f, g, h, i, j", "ünïcode 日本"]


@pytest.mark.parametrize(
    ("name", "codec", "video"),
    [
        ("a.mkv", "subrip", "libx264"), ("a.mp4", "mov_text", "libx264"), ("a.mov", "mov_text", "libx264"),
        ("a.webm", "webvtt", "libvpx"), ("b.mkv", "webvtt", "libx264"),
    ],
)  # fmt: skip
def test_words_and_times_come_back(tmp_path: Path, name: str, codec: str, video: str) -> None:
    """From every container: as they were written, without tags, at their times."""
    options = {"cpu-used": "8", "deadline": "realtime"} if video == "libvpx" else None
    pictures = Pictures(frames=48, fps=Fraction(12), width=64, height=64, codec=video, options=options)
    path = write_video(tmp_path / name, pictures, Subtitles(CUES, codec))
    with VideoFile(path) as source:
        recording = source.probe()
        track = recording.track("text")
        cues = read_window(source, [track], 0, recording.stop_ns)["text"].cues
    expected = [
        Cue(int(start * NS), int(stop * NS), words)
        for (start, stop, _), words in zip(CUES, WORDS, strict=True)
    ]
    assert cues == expected
    assert (track.start_ns, track.stop_ns) == (NS // 2, 7 * NS // 2)
    assert track.item_count == len(CUES)


def test_an_advanced_substation_event_is_its_last_field() -> None:
    """Eight commas, then the text: override codes vanish, line breaks and hard spaces stay."""
    event = b"0,0,Default,Anna,0,0,0,,{\\an8\\b1}Top{\\b0},\\Nnext\\hone {a note}"
    assert words_of_ass(event) == "Top,\nnext one"
    assert words_of_ass(b"no event at all") == ""
    assert words_of_ass("0,0,Default,,0,0,0,,ünï \udcff".encode("utf-8", "surrogateescape")) == "ünï �"


def test_braces_and_backslashes_that_were_in_the_text_come_back() -> None:
    """FFmpeg hides them from renderers of its events."""
    assert words_of_ass(b"0,0,Default,,0,0,0,,\\{{}x} \\\xe2\x81\xa0n") == "{x} \\n"


@given(st.text(alphabet="abc <>&;.1:/\n"))
def test_removing_tags_leaves_no_tag(text: str) -> None:
    """And no blank line, and removing them again changes nothing."""
    plain = without_tags(text)
    assert "" not in plain.split("\n") or not plain
    assert all(line == line.strip() for line in plain.split("\n"))


def test_tags_are_told_from_signs() -> None:
    """`<` before a letter begins a tag; entities mean something in WebVTT only."""
    assert without_tags("<v Anna>one</v> <00:01.000>two") == "one two"
    assert without_tags("1 <2 a< b") == "1 <2 a< b"
    assert without_tags("a &lt; b") == "a &lt; b"
    assert without_tags("a &lt; b &amp; c", entities=True) == "a < b & c"


def test_a_cue_without_a_duration_is_shown_for_five_seconds(tmp_path: Path) -> None:
    """The packet does not say."""
    path = write_video(tmp_path / "x.mkv", Pictures(frames=24), Subtitles([(Fraction(0), Fraction(1), "x")]))
    with VideoFile(path) as source:
        recording = source.probe()
        track = recording.track("text")
        decoder = source.decoder(track)
        packet = next(source.read([track], 0, NS, print))
        packet.data.duration = 0
        assert list(decoder.decode(packet)) == [Cue(0, UNSAID_NS, "x")]
        assert list(decoder.flush()) == []


def test_bitmap_subtitles_are_passed_over_by_name(tmp_path: Path) -> None:
    """They hold pictures: no track, no failure."""
    path = tmp_path / "dvd.mkv"
    made = write_video(tmp_path / "made.mkv", Pictures(frames=12))
    with av.open(str(made)) as reader, av.open(str(path), "w") as writer:
        copy = writer.add_stream_from_template(reader.streams.video[0])
        bitmaps = writer.add_mux_stream("dvd_subtitle", time_base=Fraction(1, 1000))
        for packet in reader.demux():
            if packet.size:
                packet.stream = copy
                writer.mux(packet)
        picture = av.Packet(bytes(20))
        picture.stream, picture.time_base, picture.pts, picture.dts = bitmaps, Fraction(1, 1000), 0, 0
        picture.duration = 400
        writer.mux(picture)
    with VideoFile(path) as source:
        recording = source.probe()
    assert [track.name for track in recording.tracks] == ["video"]
    assert [(incident.severity, incident.cause) for incident in recording.incidents] == [
        ("note", "subtitle stream #1 holds pictures (dvd_subtitle), no text: passed over")
    ]
