"""A window of a file gives what the whole file gives, wherever reading begins."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise, zip_longest
from pathlib import Path

import numpy as np
import pytest
from made_video import Pictures, Subtitles, write_video
from video_made import FPS, KINDS, SECONDS, SMALL, decode_all, read_window, sound

from ingest.recording import Incident, Recording, Track
from ingest.sources.video_file import VideoFile
from ingest.timing import NS

MadeKind = Callable[[str], Path]
STARTS = (Fraction(0), Fraction(1, 3), Fraction(21, 10), Fraction(5), Fraction(25, 3), Fraction(113, 10))
"""Seconds after the origin: on keyframes, beside them, and near both ends."""
NOT_DECODABLE_IN_THE_MIDDLE = {"intra_refresh.ts", "intra_refresh.mp4", "false_keys.avi"}


def probed(path: Path) -> Recording:
    with VideoFile(path) as source:
        return source.probe()


def media_tracks(recording: Recording) -> list[Track]:
    return [track for track in recording.tracks if track.medium in ("pictures", "sound")]


@pytest.mark.parametrize("kind", KINDS)
def test_reading_it_whole_is_decoding_every_packet(kind: str, made_kind: MadeKind) -> None:
    """The slow twin: every frame of the stream, with its pixels, samples and time, and no other."""
    path = made_kind(kind)
    recording = probed(path)
    with VideoFile(path) as source:
        tracks = media_tracks(recording)
        whole = read_window(source, tracks, recording.origin_ns, recording.stop_ns)
    for track in tracks:
        twin = list(decode_all(path, track.details["stream"]))
        if track.medium == "pictures":
            ours = whole[track.name].shown(recording.origin_ns, recording.stop_ns)
            assert [seen for _, seen in ours] == [seen for _, seen in twin]
            if track.details["delay"] is None:  # AVI stores no times: its twin has none that are true
                assert [time for time, _ in ours] == [time for time, _ in twin]
        else:
            sounds = whole[track.name].sounds  # frames that follow each other exactly are gathered
            ours_all = np.concatenate([chunk.samples for chunk in sounds], axis=1)
            assert np.array_equal(ours_all, np.concatenate([samples for _, samples in twin], axis=1))
            starts = np.cumsum([0, *(chunk.samples.shape[1] for chunk in sounds)])
            at = 0
            for time_ns, samples in twin:
                chunk_at = int(np.searchsorted(starts, at, "right")) - 1
                start_ns = sounds[chunk_at].start_ns + (at - int(starts[chunk_at])) * NS // track.sample_rate
                assert time_ns is not None
                assert abs(start_ns - time_ns) <= 1_000_001  # what a container rounds at most
                at += samples.shape[1]


@pytest.mark.parametrize("kind", KINDS)
def test_every_window_is_cut_from_the_whole(kind: str, made_kind: MadeKind) -> None:
    """The same frames at the same times, the same samples to 1e-4, alone and together.

    AAC fills bands with random numbers (perceptual noise substitution), whose row depends on how much was
    decoded before: -60 dB.
    """
    path = made_kind(kind)
    recording = probed(path)
    tracks = media_tracks(recording)
    with VideoFile(path) as source:
        whole = read_window(source, tracks, recording.origin_ns, recording.stop_ns)
    told: list[Incident] = []
    for wanted in [tracks, *([track] for track in tracks if len(tracks) > 1)]:
        for seconds in STARTS:
            start_ns = recording.origin_ns + int(seconds * NS)
            stop_ns = min(start_ns + NS, recording.stop_ns)
            with VideoFile(path) as source:
                window = read_window(source, wanted, start_ns, stop_ns, told)
            for track in wanted:
                ours, all_of_it = window[track.name], whole[track.name]
                if track.medium == "pictures":
                    assert ours.shown(start_ns, stop_ns) == all_of_it.shown(start_ns, stop_ns), seconds
                else:
                    heard = ours.heard(start_ns, stop_ns, track.sample_rate)
                    cut = all_of_it.heard(start_ns, stop_ns, track.sample_rate)
                    tolerance = 1e-3 if track.codec == "aac" else 1e-4
                    assert np.allclose(heard, cut, rtol=0, atol=tolerance, equal_nan=True), seconds
    assert told == []


@pytest.mark.parametrize("kind", sorted(set(KINDS) - NOT_DECODABLE_IN_THE_MIDDLE))
def test_only_one_group_of_pictures_is_decoded_before_a_window(kind: str, made_kind: MadeKind) -> None:
    """Ten seconds into a file with a keyframe every second, reading starts at most a second early."""
    recording = probed(made_kind(kind))
    start_ns = recording.origin_ns + 10 * NS + 1
    track = recording.track("video")
    with VideoFile(made_kind(kind)) as source:
        window = read_window(source, media_tracks(recording), start_ns, start_ns + NS)
    group_ns = 9 * NS if kind == "long_gop.mp4" else NS + 2 * track.period_ns
    assert min(picture.time_ns for picture in window["video"].pictures) >= start_ns - group_ns
    if "audio" in window:
        assert window["audio"].sounds[0].start_ns >= start_ns - NS - NS // 10


@pytest.mark.parametrize("kind", KINDS)
def test_tracks_begin_and_end_where_their_media_do(kind: str, made_kind: MadeKind) -> None:
    """The first frame is at the track's start, the last one less than a period before its stop."""
    recording = probed(made_kind(kind))
    tracks = media_tracks(recording)
    assert recording.origin_ns == min(track.start_ns for track in tracks)
    assert recording.stop_ns == max(track.stop_ns for track in tracks)
    with VideoFile(made_kind(kind)) as source:
        whole = read_window(source, tracks, recording.origin_ns, recording.stop_ns)
    for track in tracks:
        if track.medium == "pictures":
            times = [picture.time_ns for picture in whole[track.name].pictures]
            assert times[0] == track.start_ns
            assert len(times) == track.item_count
            longest = max(np.diff(times))
            assert times[-1] < track.stop_ns <= times[-1] + longest + 2_000_000
        else:
            first, last = whole[track.name].sounds[0], whole[track.name].sounds[-1]
            ends_ns = last.start_ns + last.samples.shape[1] * NS // track.sample_rate
            assert first.start_ns == track.start_ns
            # the container counts whole milliseconds, or leaves out the last packet's padding
            assert track.stop_ns - 1_000_000 <= ends_ns <= track.stop_ns + 30_000_000


@pytest.mark.parametrize("kind", sorted(NOT_DECODABLE_IN_THE_MIDDLE))
def test_keyframes_that_are_none_are_found_out_and_told(kind: str, made_kind: MadeKind) -> None:
    """Intra refresh has no whole picture after the first; an mp4 without a list calls all of them whole."""
    recording = probed(made_kind(kind))
    assert not recording.track("video").details["keyframes_hold"]
    causes = [incident.cause for incident in recording.incidents]
    assert causes == [
        "decoding can't begin at every picture marked as keyframe: it is read from the beginning"
    ]


@pytest.mark.parametrize("kind", ["b_frames.mp4", "opus.mkv", "open_gop.ts", "mpeg4.avi", "aac.flv"])
def test_ordinary_files_are_seeked_in(kind: str, made_kind: MadeKind) -> None:
    """Else the tests above would prove nothing about seeking."""
    for track in probed(made_kind(kind)).tracks:
        assert track.details["seekable"]
        assert track.details["keyframes_hold"]


def test_cues_from_long_before_a_window_are_read_if_they_still_show(tmp_path: Path) -> None:
    """A caption of eight seconds is needed by a window that begins in its last one."""
    cues = [(Fraction(1), Fraction(9), "long"), (Fraction(9), Fraction(10), "next")]
    path = write_video(tmp_path / "captions.mkv", Pictures(**SMALL), Subtitles(cues))
    recording = probed(path)
    with VideoFile(path) as source:
        window = read_window(source, recording.tracks, 8 * NS + NS // 2, 10 * NS)
    assert [cue.text for cue in window["text"].cues] == ["long", "next"]


def test_windows_may_be_read_again_and_in_any_order(made_kind: MadeKind) -> None:
    """One source, read to and fro: nothing of an earlier reading is left in a decoder."""
    path = made_kind("open_gop.mp4")
    recording = probed(path)
    starts = [7 * NS, NS, 11 * NS, 0, 7 * NS]
    with VideoFile(path) as source:
        source.probe()
        again = [read_window(source, recording.tracks, start, start + NS) for start in starts]
    for start, window in zip(starts, again, strict=True):
        with VideoFile(path) as source:
            fresh = read_window(source, recording.tracks, start, start + NS)
        assert window["video"].shown(start, start + NS) == fresh["video"].shown(start, start + NS)
        pairs = zip_longest(window["audio"].sounds, fresh["audio"].sounds)
        assert all(np.array_equal(ours.samples, theirs.samples) for ours, theirs in pairs)


def test_a_reading_ends_when_another_begins(made_kind: MadeKind) -> None:
    """Two readings of one container would steal each other's packets."""
    path = made_kind("b_frames.mp4")
    recording = probed(path)
    with VideoFile(path) as source:
        first = source.read(recording.tracks, 0, NS, lambda _: None)
        next(first)
        next(source.read(recording.tracks, 0, NS, lambda _: None))
        with pytest.raises(RuntimeError, match="another one was begun"):
            list(first)


def test_a_reading_ends_when_the_file_is_closed(made_kind: MadeKind) -> None:
    """Going on with a closed container would crash the process."""
    path = made_kind("b_frames.mp4")
    recording = probed(path)
    with VideoFile(path) as source:
        packets = source.read(recording.tracks, 0, NS, lambda _: None)
        next(packets)
    source.close()
    with pytest.raises(RuntimeError, match="the file was closed"):
        next(packets)


def test_pictures_stand_at_their_places_in_the_time_line(made_kind: MadeKind) -> None:
    """AVI has no times but an order: picture k of h264 with B-frames is shown at k / fps, as in mp4."""
    expected = [k * NS // FPS for k in range(FPS * SECONDS)]
    for kind in ("b_frames.mp4", "mpeg4.avi", "h264.avi"):
        recording = probed(made_kind(kind))
        with VideoFile(made_kind(kind)) as source:
            whole = read_window(source, [recording.track("video")], 0, recording.stop_ns)
        assert [picture.time_ns for picture in whole["video"].pictures] == expected


def test_sound_of_a_millisecond_container_is_placed_to_the_sample(made_kind: MadeKind) -> None:
    """Matroska and FLV round stamps to milliseconds; the frames' own lengths say where they lie."""
    for kind in ("opus.mkv", "mp3.mkv", "aac.flv"):
        recording = probed(made_kind(kind))
        track = recording.track("audio")
        with VideoFile(made_kind(kind)) as source:
            chunks = read_window(source, [track], 7 * NS, 9 * NS)["audio"].sounds
        for before, after in pairwise(chunks):
            ends_ns = before.start_ns + before.samples.shape[1] * NS // track.sample_rate
            assert abs(after.start_ns - ends_ns) <= 1


def test_the_chirp_tells_stretches_apart() -> None:
    """The sound of the made files is no other one when shifted: a wrong place can't go unnoticed."""
    samples = sound().samples[0, :200_000]
    assert np.abs(samples[1000:] - samples[:-1000]).max() > 0.5
