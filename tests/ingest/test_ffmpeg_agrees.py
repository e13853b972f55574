"""Decoded planes of real files against the `ffmpeg` command of the machine: bit for bit, at the same stamps.

The command's frames are named by hash (its `framemd5`), and so are ours, before any scaling. Where a
codec's standard leaves rounding to the decoder, frames must be as near as 50 dB instead.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.decoder_trial import psnr_db
from ingest.recording import Decoder, Track
from ingest.sources.video_file import VideoFile
from ingest.timing import pts_to_ns

EXACT = {"h264", "hevc", "vp8", "vp9", "av1", "theora"}
"""Codecs whose standard fixes every level of every frame."""
NEAR_DB = 50.0
"""Of all others, whose inverse transform may be rounded in several ways: MPEG-1, 2 and 4, H.263, Motion JPEG.
Seen with FFmpeg 5.1 against 8: they are the same too, but for 41 of 96 frames of one MPEG-4 file."""
OTHER_STAMPS = {
    "count.h264": "it has no stamps: both sides count, the command in ticks of its own",
    "test.avi": "AVI stores no presentation stamps: ours follow the order in which frames are shown",
}

pytestmark = [
    pytest.mark.media,
    pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the `ffmpeg` command is not installed"),
]


def ours(path: Path, track: Track, count: int) -> Iterator[tuple[int, Any]]:
    """Yield time and frame of the first pictures of a track, as the pipeline reads it."""
    with VideoFile(path) as source:
        decoder = source.decoder(track)
        packets = source.read([track], track.start_ns, track.stop_ns, lambda _: None)
        decoded = chain.from_iterable(decoder.decode(packet) for packet in packets)
        for picture in islice(chain(decoded, _late(decoder)), count):
            yield picture.time_ns, picture.frame


def _late(decoder: Decoder) -> Iterator[Any]:
    yield from decoder.flush()  # only when it is asked for


def theirs(path: Path, stream: int, count: int, *form: str) -> bytes:
    """Return what the command writes of a stream's first frames, untouched, with their own stamps."""
    command = [
        *("ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-noautorotate", "-i", f"file:{path}"),
        *("-map", f"0:{stream}", "-fps_mode", "passthrough", "-copyts", "-enc_time_base", "-1"),
        *("-frames:v", str(count), *form, "-"),
    ]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    return done.stdout


def hashed(path: Path, stream: int, count: int) -> list[tuple[int, str]]:
    """Return time and MD5 of a stream's first frames by the command."""
    time_base, rows = Fraction(0), []
    for line in theirs(path, stream, count, "-f", "framemd5").decode().splitlines():
        if line.startswith("#tb"):
            time_base = Fraction(line.split(":")[1].strip())
        elif not line.startswith("#"):
            _, _, pts, _, _, digest = (cell.strip() for cell in line.split(","))
            rows.append((pts_to_ns(int(pts), time_base), digest))
    return rows


def plain_bytes(frame: Any) -> bytes:
    """Return a frame's planes one after the other, without padding: FFmpeg's `rawvideo`."""
    parts = []
    for number, plane in enumerate(frame.planes):
        inside = [c for c in frame.format.components if c.plane == number]
        width = plane.width * len(inside) * -(-max(c.bits for c in inside) // 8)
        lines = np.frombuffer(plane, np.uint8)[: plane.line_size * plane.height]
        parts.append(lines.reshape(plane.height, plane.line_size)[:, :width].tobytes())
    return b"".join(parts)


@cache
def decoders_of_the_command() -> str:
    return subprocess.run(
        ["ffmpeg", "-v", "error", "-decoders"], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def compared(path: Path, track: Track, count: int) -> str:
    """Say what differs over so many frames; "" if nothing does."""
    mine = list(ours(path, track, count))
    hashes = hashed(path, track.details["stream"], count)
    if len(hashes) != len(mine):
        return f"{len(mine)} frames here, {len(hashes)} there"
    times = [time_ns for time_ns, _ in mine]
    if path.name not in OTHER_STAMPS and times != [time_ns for time_ns, _ in hashes]:
        return f"times are {times[:3]} here, {[t for t, _ in hashes][:3]} there"
    differing = [
        k
        for k, ((_, frame), (_, digest)) in enumerate(zip(mine, hashes, strict=True))
        if hashlib.md5(plain_bytes(frame)).hexdigest() != digest
    ]
    if not differing:
        return ""
    if track.codec in EXACT:
        return f"{len(differing)} of {len(mine)} frames differ, the first is frame {differing[0]}"
    raw = theirs(path, track.details["stream"], count, "-f", "rawvideo")
    nearest = 100.0
    for k in differing:
        mine_k = np.frombuffer(plain_bytes(mine[k][1]), np.uint8)
        their_k = np.frombuffer(raw, np.uint8, len(mine_k), k * len(mine_k))
        nearest = min(nearest, psnr_db(mine_k, their_k))
    return "" if nearest >= NEAR_DB else f"{len(differing)} frames differ, by up to {nearest:.1f} dB"


def compare_all(media: Path, frames: int, large_frames: int) -> tuple[dict[str, str], int]:
    """Compare every video file; return what differs by file and track, and how many were the same.

    Args:
        media: the folder of real recordings.
        frames: so many of each track.
        large_frames: so many where pictures have more than 3 megapixels.
    """
    differing: dict[str, str] = {}
    same = 0
    for path in sorted((media / "video").iterdir()):
        with VideoFile(path) as source:
            tracks = [track for track in source.probe().tracks if track.medium == "pictures"]
        for track in tracks:
            large = track.width * track.height > 3_000_000
            if f" {track.codec} " not in decoders_of_the_command() or (large and not large_frames):
                continue  # an older FFmpeg than ours may lack a codec (VVC)
            said = compared(path, track, large_frames if large else frames)
            same += not said
            differing |= {f"{path.name} {track.name}": said} if said else {}
    return differing, same


def test_the_first_frames_of_real_files_are_ffmpegs(media: Path) -> None:
    """The same planes at the same time, whatever codec, container, depth, edit list or start; the largest
    are left to the test below.
    """
    differing, same = compare_all(media, frames=4, large_frames=0)
    assert differing == {}
    assert same >= 80


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_frames_of_every_real_file_are_ffmpegs(media: Path) -> None:
    """Two seconds of most files."""
    differing, same = compare_all(media, frames=50, large_frames=4)
    assert differing == {}
    assert same >= 85


def test_the_comparison_sees_a_difference(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One level in one pixel, or one tick: else the tests above would mean nothing."""
    path = media / "video" / "bikes.mp4"
    with VideoFile(path) as source:
        track = source.probe().track("video")
    assert compared(path, track, 3) == ""
    whole = plain_bytes
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "plain_bytes", lambda frame: bytes([whole(frame)[0] ^ 1]) + whole(frame)[1:])
        assert compared(path, track, 3) == "3 of 3 frames differ, the first is frame 0"
    later = [(time_ns + 1, frame) for time_ns, frame in ours(path, track, 3)]
    monkeypatch.setitem(globals(), "ours", lambda *_: iter(later))
    assert compared(path, track, 3).startswith("times are [1, 40000001, 80000001] here, [0, ")
