"""Sampling decodes only what it needs, and gives the very frames that decoding everything gives.

The twin decodes every packet from the first and picks, for each moment, the last frame at or before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from made_cards import read_card
from made_video import Pictures, write_video
from video_made import KINDS, SMALL, decode_all, digest

from ingest.clips import Sampling, Wish, read_clips, windows_of
from ingest.recording import Incident, Packet, Track
from ingest.sampling.clip import PictureClip
from ingest.sources.sampled_packets import can_choose
from ingest.sources.video_file import VideoFile
from ingest.timing import NS, grid_times

RATES = (Fraction(8), Fraction(1), Fraction(30000, 7001))
DAMAGED = {"count.h264"}
"""Packets that do not decode: what stands in for the lost depends on where decoding begins."""


def sampled(
    source: VideoFile, track: Track, moments: np.ndarray, start_ns: int, stop_ns: int
) -> tuple[list[tuple[int, str]], list[Packet]]:
    """Return time and digest of the picture at each moment, and the packets that were decoded for them."""
    decoder, told = source.decoder(track), list[Incident]()
    pictures: dict[int, str] = {}
    packets = []
    for packet in source.read([track], start_ns, stop_ns, told.append, {track.name: moments}):
        packets.append(packet)
        for picture in decoder.decode(packet):
            pictures[picture.time_ns] = digest(picture.frame)  # type: ignore[union-attr]
    for picture in decoder.flush():
        pictures[picture.time_ns] = digest(picture.frame)  # type: ignore[union-attr]
    return picked(sorted(pictures.items()), moments), packets


def picked(frames: Sequence[tuple[int, str]], moments: np.ndarray) -> list[tuple[int, str]]:
    times = np.array([time_ns for time_ns, _ in frames], np.int64)
    places = np.searchsorted(times, moments, "right") - 1
    return [frames[place] for place in places.tolist() if place >= 0]


def check(path: Path, until_ns: int, rates: Sequence[Fraction] = RATES, most_pixels: int = 2**40) -> int:
    """Compare every video track of a file, sampled as a whole and clip by clip; return the packets saved."""
    saved = 0
    with VideoFile(path) as source:
        recording = source.probe()
        for track in recording.tracks:
            if track.medium != "pictures" or not can_choose(track):
                continue
            if track.width * track.height > most_pixels:
                continue
            stop_ns = min(track.stop_ns, recording.origin_ns + until_ns)
            frames = decode_all(path, track.details["stream"], until_ns=stop_ns + NS)
            twin = sorted((time_ns, name) for time_ns, name in frames if time_ns is not None)
            for rate in rates:
                moments = grid_times(recording.origin_ns, stop_ns - recording.origin_ns, rate)
                ours, packets = sampled(source, track, moments, recording.origin_ns, stop_ns)
                assert ours == picked(twin, moments), f"{path.name} at {rate} a second"
                saved += sum(not packet.shown for packet in packets)
            length_ns = (stop_ns - recording.origin_ns) // 3 + 1
            for start_ns in range(recording.origin_ns, stop_ns, length_ns):
                moments = grid_times(start_ns, min(length_ns, stop_ns - start_ns), RATES[0])
                ours, _ = sampled(source, track, moments, start_ns, min(stop_ns, start_ns + length_ns))
                assert ours == picked(twin, moments), f"{path.name} from {start_ns} ns"
    return saved


@pytest.mark.parametrize("kind", KINDS)
def test_made_files_give_the_frames_of_decoding_everything(kind: str, tmp_path: Path) -> None:
    """Every container and trap, at three rates, as a whole and in three clips."""
    check(KINDS[kind](tmp_path), 12 * NS)


@pytest.mark.media
@pytest.mark.slow
def test_real_files_give_the_frames_of_decoding_everything(media: Path) -> None:
    """The first second of every real video, up to 720p, whose packets all decode."""
    saved = 0
    for path in sorted((media / "video").iterdir()):
        if path.name not in DAMAGED:
            saved += check(path, NS, RATES[:1], 1280 * 720)
    assert saved > 100


def test_pictures_that_nothing_refers_to_are_passed_over(tmp_path: Path) -> None:
    """Of three B pictures between references, those that nobody wants never come out of the decoder."""
    options = {"x264-params": "bframes=3:b-pyramid=none:b-adapt=0:mbtree=0:keyint=48:scenecut=0"}
    path = write_video(tmp_path / "b.mp4", Pictures(**{**SMALL, "frames": 48, "options": options}))
    with VideoFile(path) as source:
        track = source.probe().track("video")
        decoder = source.decoder(track)
        count = 0
        for packet in source.read([track], 0, 4 * NS, print, {"video": grid_times(0, 4 * NS, Fraction(1))}):
            count += len(list(decoder.decode(packet)))
        count += len(list(decoder.flush()))
    assert count <= 14  # 12 references and at most a few wanted ones of 48


def test_a_moment_in_each_group_decodes_one_picture_of_each(tmp_path: Path) -> None:
    """Keyframes at the moments: four packets, each begun anew, and a damaged group that nobody wants."""
    options = {"x264-params": "keyint=12:min-keyint=12:scenecut=0:bframes=0:mbtree=0"}
    path = write_video(tmp_path / "card.mp4", Pictures(**{**SMALL, "frames": 48, "options": options}))
    with VideoFile(path) as source:
        track = source.probe().track("video")
        between = [p.data for p in source.read([track], 0, 4 * NS, print) if p.time_ns % NS > 0]
        places = [(packet.pos, packet.size) for packet in between]
    data = bytearray(path.read_bytes())
    for place, size in places:  # all but the keyframes are noise
        data[place : place + size] = bytes(size)
    path.write_bytes(data)
    with VideoFile(path) as source:
        decoder = source.decoder(track)
        moments = np.arange(4, dtype=np.int64) * NS
        packets = list(source.read([track], 0, 4 * NS, print, {"video": moments}))
        assert [(packet.time_ns, packet.begins) for packet in packets] == [
            (0, False), (NS, True), (2 * NS, True), (3 * NS, True),
        ]  # fmt: skip
        seen = [picture for packet in packets for picture in decoder.decode(packet)] + list(decoder.flush())
    assert [read_card(picture.rgb(96, 64)) for picture in seen] == [0, 12, 24, 36]  # type: ignore[union-attr]


def test_keyframes_alone_come_at_their_own_times(tmp_path: Path) -> None:
    """Three groups of 12 frames and one of 4: frames 0, 12, 24 and 36, each in its clip."""
    options = {"x264-params": "keyint=12:min-keyint=12:scenecut=0:bframes=3:mbtree=0"}
    path = write_video(tmp_path / "card.mp4", Pictures(**{**SMALL, "frames": 40, "options": options}))
    with VideoFile(path) as source:
        recording = source.probe()
        wish = Wish("video", recording.track("video"))
        windows = windows_of(recording, 2 * NS, 0, 2)
        sampling = Sampling(pictures="keyframes", size=64)
        clips = [clip for _, _, clip in read_clips(source, [wish], windows, sampling, print)]
    assert all(isinstance(clip, PictureClip) for clip in clips)
    assert [[read_card(frame) for frame in clip.frames] for clip in clips] == [[0, 12], [24, 36]]  # type: ignore[union-attr]
    assert [clip.times_ns.tolist() for clip in clips] == [[0, NS]] * 2  # type: ignore[union-attr]
