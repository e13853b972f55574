"""Real files: what is said about them is what decodes, from any start; and why the bad ones are bad."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from video_made import decode_all, read_window

from ingest.errors import CannotOpen
from ingest.recording import Recording, Track
from ingest.sources.video_file import VideoFile
from ingest.timing import NS

pytestmark = pytest.mark.media
LONGEST_NS, LONGEST_LARGE_NS = NS // 2, NS // 4
"""So much of a file is decoded; of pictures of more than a megapixel less."""
TOO_LARGE = {"8k24fps_300ms.mp4"}
NOISE = {
    "internal_emulator_transformer_output_180_rotated.mp4": 5e-4,
    "sample_with_chapters.mkv": 5e-4,
}
"""AAC with noise substitution: its random numbers depend on what was decoded before. Largest difference."""
NO_FRAME_PER_PACKET = {
    "fixture-raw.mts": "field pictures: two packets a frame",
    "roadtrip-vp92-10bit.webm": "hidden frames",
    "sample_edit_list.mp4": "dropped by its edit list",
    "dolbyVision-hdr.MOV": "dropped by its edit list",
    "test.avi": "the last packet is a placeholder",
}
ENDS_EARLIER = {
    "bear-id3.mp3": "its last packet is its ID3 tag",
    "fixture.3gp": "it declares less than its last packet holds",
    "internal_emulator_transformer_output_180_rotated.mp4": "a last packet that is declared shorter",
    "trim_optimization_failure.mp4": "a last packet that is declared shorter",
    "sample_rotate_and_reflect.mp4": "a last packet that is declared shorter",
    "sample_edit_list_only_preroll_sync_sample.mp4": "a last packet that is declared shorter",
    "video-h265.mp4": "a last packet that is declared shorter",
    "edts.mp4": "an edit list that ends within a packet",
}


def media_files(media: Path, *folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted(path for path in (media / folder).iterdir() if path.is_file())


def probed(path: Path) -> Recording:
    with VideoFile(path) as source:
        return source.probe()


def decodable(recording: Recording) -> list[Track]:
    return [track for track in recording.tracks if track.medium in ("pictures", "sound")]


def large(tracks: list[Track]) -> bool:
    """Whether pictures have more than a megapixel."""
    return any(track.width * track.height > 1_000_000 for track in tracks)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_window_of_a_real_file_is_cut_from_the_whole(media: Path) -> None:
    """The same frames, times and samples from two starts; and all of it is what plain decoding gives."""
    troubles = []
    for path in media_files(media, "video", "audio", "driving"):
        if path.name in TOO_LARGE:
            continue
        recording = probed(path)
        tracks = decodable(recording)
        longest_ns = LONGEST_LARGE_NS if large(tracks) else LONGEST_NS
        end_ns = min(recording.stop_ns, recording.origin_ns + longest_ns)
        with VideoFile(path) as source:
            whole = read_window(source, tracks, recording.origin_ns, end_ns)
        for track in tracks:
            if track.medium == "pictures":
                frames = [seen for _, seen in whole[track.name].shown(recording.origin_ns - 1, end_ns)]
                twin = [seen for _, seen in decode_all(path, track.details["stream"], until_ns=end_ns)]
                if track.details["counted"]:  # the twin can't tell where to stop
                    twin = twin[: len(frames)]
                if frames[: len(twin)] != twin[: len(frames)] or abs(len(frames) - len(twin)) > 3:
                    troubles.append(f"{path.name} {track.name}: not what plain decoding gives")
        length_ns = end_ns - recording.origin_ns
        for share in (2, 5):  # of seven
            start_ns = recording.origin_ns + length_ns * share // 7 + 1
            stop_ns = min(end_ns, start_ns + NS // 2)
            with VideoFile(path) as source:
                window = read_window(source, tracks, start_ns, stop_ns)
            for track in tracks:
                ours, all_of_it = window[track.name], whole[track.name]
                if track.medium == "pictures":
                    same = ours.shown(start_ns, stop_ns) == all_of_it.shown(start_ns, stop_ns)
                else:
                    heard = ours.heard(start_ns, stop_ns, track.sample_rate)
                    cut = all_of_it.heard(start_ns, stop_ns, track.sample_rate)
                    tolerance = NOISE.get(path.name, 1e-4)
                    same = np.allclose(heard, cut, rtol=0, atol=tolerance, equal_nan=True)
                if not same:
                    troubles.append(f"{path.name} {track.name}: another window from {share}/7 on")
    assert troubles == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_real_file_begins_and_ends_as_it_says(media: Path) -> None:
    """First frame at the track's start; last one within a frame of its stop; as many frames as packets."""
    troubles = []
    for path in media_files(media, "video", "audio", "driving"):
        recording = probed(path)
        assert recording.incidents == () or all(one.severity == "note" for one in recording.incidents), path
        tracks = decodable(recording)
        longest_ns = 2 * NS if large(tracks) else 10 * NS
        if recording.stop_ns - recording.origin_ns > longest_ns:
            continue
        with VideoFile(path) as source:
            whole = read_window(source, tracks, recording.origin_ns, recording.stop_ns)
        for track in tracks:
            name = f"{path.name} {track.name}"
            if track.medium == "pictures":
                times = [picture.time_ns for picture in whole[track.name].pictures]
                if times != sorted(set(times)) or times[0] != track.start_ns:
                    troubles.append(f"{name}: begins at {times[0]}, not {track.start_ns}, or goes back")
                if not times[-1] < track.stop_ns or track.details["counted"]:
                    troubles.append(f"{name}: ends at {times[-1]}, not before {track.stop_ns}")
                if len(times) != track.item_count and path.name not in NO_FRAME_PER_PACKET:
                    troubles.append(f"{name}: {len(times)} frames of {track.item_count} packets")
            else:
                first, last = whole[track.name].sounds[0], whole[track.name].sounds[-1]
                ends_ns = last.start_ns + last.samples.shape[1] * NS // track.sample_rate
                if first.start_ns != track.start_ns:
                    troubles.append(f"{name}: begins at {first.start_ns}, not {track.start_ns}")
                if abs(ends_ns - track.stop_ns) > 1_100_000 and path.name not in ENDS_EARLIER:
                    troubles.append(f"{name}: ends at {ends_ns}, not {track.stop_ns}")
    counted = "count.h264 video: ends at 9760000000, not before 9800000000"
    assert troubles == [
        counted
    ]  # a raw stream, whose times are counted: it is listed to be sure it is looked at


def test_known_oddities_are_found_out(media: Path) -> None:
    """A 3GP that marks keyframes where there are none, an MXF that FFmpeg mislabels after a seek."""
    oddity = probed(media / "video/MOV00006.3gp").track("video")
    assert (oddity.details["keyframes"], oddity.details["keyframes_hold"]) == (5, False)
    mxf, ordinary = probed(media / "video/fixture.mxf"), probed(media / "video/demo.mp4")
    assert not mxf.track("video").details["seekable"]
    assert ordinary.track("video").details["seekable"]
    assert probed(media / "audio/test.wav").track("audio").details["seekable"]


def test_turned_footage_is_known_as_such(media: Path) -> None:
    """Phones and cameras, as their makers' players show them."""
    turns = {
        "video_0.mov": (0, False), "video_90.mov": (90, False), "video_180.mov": (180, False),
        "video_270.mov": (270, False), "portrait_4k60.mp4": (90, False), "dolbyVision-hdr.MOV": (90, False),
        "sample_rotate_and_reflect.mp4": (270, True),
        "internal_emulator_transformer_output_180_rotated.mp4": (180, False),
    }  # fmt: skip
    found = {name: probed(media / "video" / name).track("video") for name in turns}
    assert {name: (track.rotation, track.mirrored) for name, track in found.items()} == turns
    assert probed(media / "video/sar_2x1.mp4").track("video").sample_aspect == "2"


def test_covers_and_bitmaps_are_no_tracks(media: Path) -> None:
    """Pictures beside music; subtitles that are pictures."""
    for name in ("bear_with_picture.flac", "bear-id3.mp3"):
        recording = probed(media / "audio" / name)
        assert [track.name for track in recording.tracks] == ["audio"]
        assert recording.details["attached_pictures"] == 1
        assert recording.incidents == ()
    recording = probed(media / "video/sample_with_vobsub.mp4")
    assert [incident.severity for incident in recording.incidents] == ["note"]


BROKEN = {
    "bipbop0.flv": [],
    "bug1200148.webm": "the file was cut off: its 4419 bytes end within the Matroska header",
    "bug1592193.webm": ["the header declares 17.8 s, but the data ends at 5.0 s: the file was cut off"],
    "bug603918.webm": ["stream #1 (vorbis): none of its 271 packets decodes (the data is damaged)"],
    "chunk_out_of_range.mp4": "the index of this mp4 is damaged (the data is damaged)",
    "corrupted.mp4": [],
    "creative_common.mp4": [],
    "fixture-corrupt.mkv":
        "a damaged Matroska file of 38047 bytes: no picture and no sound can be found in it",
    "invalid-bitstream.webm": ["stream #0 (vp9): none of its 51 packets decodes (the data is damaged)"],
    "no_timescale.mp4": ["display matrix ignored: it cannot be inverted (a=0, b=0, c=0, d=0)"],
    "sample_mdat_too_long.mp4": [],
    "sample_missing_stsd.mp4": ["stream #1 (audio) has a codec that FFmpeg does not know"],
    "sample_qt.mp4": [
        "stream #0 (h264): its only packet does not decode (the data is damaged)",
        "stream #1 (aac): its only packet does not decode (the data is damaged)",
        "the header declares 596.5 s, but the data ends at 0.0 s: the file was cut off",
        "only 117 of the file's 340481 bytes belong to a packet, the rest to none",
    ],
    "sample_with_invalid_nalu.mp4": [],
    "sample_with_sdt.ts": ["stream #0 (mpeg2video) has no packets"],
    "short-cenc.mp4": [
        "stream #0 (h264) is encrypted: it can't be decoded without its key",
        "stream #1 (aac) is encrypted: it can't be decoded without its key",
    ],
    "subsample_encrypted.webm": ["stream #0 (vp9): none of its 48 packets decodes (it is encrypted)"],
    "test-no-audio-segment.ts": ["stream #1 (aac) has no packets"],
    "test_case_1185230.mp4": [
        "stream #0 (h264): none of its 3 packets decodes (the data is damaged)",
        "stream #1 (aac): its only packet does not decode (the data is damaged)",
    ],
    "video_dovi_3840x2160_30fps_dav1_10.mp4": ["stream #0 (video) has a codec that FFmpeg does not know"],
    "video_rotation_90.mp4": [],
}  # fmt: skip


def test_what_is_wrong_with_each_broken_file_is_said(media: Path) -> None:
    """A cause for those that don't open, incidents for those that do."""
    found: dict[str, str | list[str]] = {}
    for path in media_files(media, "broken"):
        try:
            found[path.name] = [incident.cause for incident in probed(path).incidents]
        except CannotOpen as error:
            found[path.name] = str(error)
    assert found == BROKEN


def test_one_packet_in_fifty_costs_its_picture(media: Path) -> None:
    """All others of this file are given; the loss is told when it is read, with its time."""
    for name, frames in (("corrupted.mp4", 49), ("sample_with_invalid_nalu.mp4", 29)):
        recording = probed(media / "broken" / name)
        with VideoFile(media / "broken" / name) as source:
            told: list[object] = []
            window = read_window(source, recording.tracks, 0, recording.stop_ns, told)  # type: ignore[arg-type]
        assert len(window["video"].pictures) == frames
        assert len(told) == 1
        assert "a h264 packet does not decode (the data is damaged)" in str(told[0])
