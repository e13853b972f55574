"""Stamps that are missing, repeat or go back, and pictures of two fields: whole files, exact answers."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from made_cards import draw_card, read_card
from made_video import Pictures, mux_in_order, write_video

from ingest.clips import Sampling, Wish, read_clips
from ingest.decoder_trial import why_not_exact
from ingest.decoders.backends import BY_PLACE, why_missing
from ingest.recording import Incident, Track
from ingest.sampling.clip import PictureClip, Window
from ingest.sources.video_file import VideoFile
from ingest.timing import NS

PLAIN = Pictures(frames=10, fps=Fraction(10), b_frames=0)


def with_stamps(folder: Path, stamps: list[int]) -> Path:
    """Write ten cards, a tenth of a second apart in decoding order, shown at these tenths."""
    source = write_video(folder / "before.mp4", PLAIN)
    target = folder / "cards.mp4"
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        copy = writer.add_stream_from_template(reader.streams.video[0])
        packets = [packet for packet in reader.demux() if packet.size]
        tick = Fraction(1, 10) / (packets[0].time_base or 1)
        for number, packet in enumerate(packets):
            packet.dts, packet.pts = int(number * tick), int(stamps[number] * tick)
            packet.stream = copy
        mux_in_order(writer, packets)
    return target


def clip_of(path: Path, rate: int, told: list[Incident]) -> tuple[Track, PictureClip]:
    """Sample all of a file's pictures."""
    with VideoFile(path) as source:
        track = source.probe().track("video")
        window = Window(0, track.start_ns, track.stop_ns)
        sampling = Sampling(fps=Fraction(rate), size=192)
        ((_, _, clip),) = read_clips(source, [Wish("video", track)], [window], sampling, told.append)
    assert isinstance(clip, PictureClip)
    return track, clip


def numbers(clip: PictureClip) -> list[int | None]:
    return [read_card(frame) for frame in clip.frames]


def test_of_pictures_with_one_stamp_the_last_one_is_shown(tmp_path: Path) -> None:
    """Cards 2 and 3 are both shown at 0.3 s."""
    told: list[Incident] = []
    _, clip = clip_of(with_stamps(tmp_path, [0, 1, 3, 3, 4, 5, 6, 7, 8, 9]), 10, told)
    assert numbers(clip) == [0, 1, 1, 3, 4, 5, 6, 7, 8, 9]
    assert clip.times_ns.tolist() == [t * NS // 10 for t in (0, 1, 1, 3, 4, 5, 6, 7, 8, 9)]
    assert not told


@pytest.mark.parametrize("rate", [10, 20])
def test_a_picture_before_the_one_shown_is_passed_over(tmp_path: Path, rate: int) -> None:
    """Card 3 says 0.3 s, after card 2 said 0.4 s: what was shown already stays, and that is told."""
    told: list[Incident] = []
    _, clip = clip_of(with_stamps(tmp_path, [0, 1, 4, 3, 5, 6, 7, 8, 9, 10]), rate, told)
    shown = [0, 1, 1, 1, 2, 4, 5, 6, 7, 8, 9]
    assert numbers(clip) == [number for number in shown for _ in range(rate // 10)]
    assert [(incident.severity, incident.start_ns) for incident in told] == [("note", 3 * NS // 10)]


@pytest.mark.parametrize("name", BY_PLACE)
def test_other_decoders_refuse_stamps_that_repeat(tmp_path: Path, name: str) -> None:
    """Place k is then not at the k-th stamp."""
    if why_missing(name):
        pytest.skip(why_missing(name))
    path = with_stamps(tmp_path, [0, 1, 3, 3, 4, 5, 6, 7, 8, 9])
    with VideoFile(path) as source:
        track = source.probe().track("video")
    assert why_not_exact(path, track, name, 1) == "1 time stamps are the same as the one before"


@pytest.mark.parametrize("b_frames", [0, 2])
def test_a_stream_without_stamps_is_counted_by_its_declared_rate(tmp_path: Path, b_frames: int) -> None:
    """A raw H.264 stream, in the order in which its pictures are shown, at FFmpeg's 25 where none is said."""
    path = write_video(tmp_path / "cards.h264", Pictures(frames=24, fps=Fraction(25), b_frames=b_frames))
    told: list[Incident] = []
    track, clip = clip_of(path, 25, told)
    assert numbers(clip) == list(range(24))
    assert clip.times_ns.tolist() == [k * NS // 25 for k in range(24)]
    assert track.stop_ns - track.start_ns == 24 * NS // 25


def combed(number: int, width: int, height: int) -> np.ndarray:
    """A card of which every other line is from the moment after: two fields, half a frame apart."""
    card = draw_card(2 * number, width, height)
    card[1::2] = draw_card(2 * number + 1, width, height)[1::2]
    return card


def test_interlaced_pictures_come_as_stored_and_are_recorded_as_such(tmp_path: Path) -> None:
    """Two fields are weaved into one picture, line by line; nothing is interpolated."""
    options = {"x264-params": "tff=1:mbtree=0", "qp": "4"}
    pictures = Pictures(frames=6, fps=Fraction(25), draw=combed, options=options)
    path = write_video(tmp_path / "fields.mp4", pictures)
    with VideoFile(path) as source:
        track = source.probe().track("video")
        decoder = source.decoder(track)
        packets = list(source.read([track], track.start_ns, track.stop_ns, lambda _: None))
        shown: list[Any] = [p for packet in packets for p in decoder.decode(packet)] + list(decoder.flush())
    assert track.details["interlaced"] is True
    assert len(shown) == 6
    for number, picture in enumerate(shown):
        stored = pictures.stored(number).astype(float)
        assert np.abs(picture.rgb(320, 192) - stored).mean() < 3
        for first in (0, 1):  # each field by itself is the card of its own moment
            field = picture.rgb(320, 192)[first::2].repeat(2, axis=0)
            assert read_card(field) == 2 * number + first


def test_progressive_pictures_are_recorded_as_such(card_mp4: Path) -> None:
    """The test above would mean nothing otherwise."""
    with VideoFile(card_mp4) as source:
        assert source.probe().track("video").details["interlaced"] is False


def test_pictures_stored_as_two_fields_are_sampled_like_decoding_everything(media: Path) -> None:
    """A camera's recording with a packet and a stamp for each field: 62 packets, 31 pictures."""
    path = media / "video" / "fixture-raw.mts"
    with VideoFile(path) as source:
        track = source.probe().track("video")
        decoder = source.decoder(track)
        packets = source.read([track], track.start_ns, track.stop_ns, lambda _: None)
        times = [p.time_ns for packet in packets for p in decoder.decode(packet)]  # type: ignore[union-attr]
        times += [p.time_ns for p in decoder.flush()]  # type: ignore[union-attr]
    assert track.item_count == 62
    assert track.details["interlaced"] is True
    assert len(times) == 31
    told: list[Incident] = []
    _, clip = clip_of(path, 8, told)
    grid = [track.start_ns - (-k * NS // 8) for k in range(clip.valid)]
    expected = [max(time_ns for time_ns in times if time_ns <= moment) for moment in grid]
    assert (clip.times_ns + track.start_ns).tolist() == expected
    assert clip.valid == 9
    assert not told
    for name in BY_PLACE:
        if not why_missing(name):
            assert "two fields" in why_not_exact(path, track, name, 1)
