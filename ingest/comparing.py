"""`fifth probe --decoders`: how fast every decoder is on a file, and whether its frames are the reference's.

Each one does the pipeline's own job: frames on the grid of `--fps`, squares of `--size`, one thread. The
file is opened anew each time. A decoder that is not exact for a track is shown with its reason and measured
on nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ingest.clips import Sampling, Wish, read_clips
from ingest.decoder_trial import EQUAL_DB, LEAST_PSNR_DB, decoded_by, psnr_db, why_not_exact
from ingest.decoders.backends import DECODERS, version_of, why_missing
from ingest.errors import CannotOpen
from ingest.recording import Recording, Track
from ingest.sampling.clip import PictureClip, Window
from ingest.sources.video_file import VideoFile
from ingest.text_table import text_table
from ingest.timing import NS

SECONDS = 10
"""So much of a file is compared, from its beginning."""
ROUNDS = 3


def compare_decoders(path: Path, sampling: Sampling | None = None, rounds: int = ROUNDS) -> dict[str, Any]:
    """Run every decoder over the beginning of a video file.

    Args:
        path: the file.
        sampling: the grid and size of the frames.
        rounds: how often each one runs; the fastest round counts.

    Returns:
        JSON: `recording`, `least_psnr_db`, and per picture track `track`, what it is (`codec`, `width`,
        `height`, `pixel_format`), `seconds`, and `decoders`: per decoder `name`, `version`, `why_not` ("" if
        it is used), `frames`, `frames_per_second` (of CPU time; frames that are passed over count),
        `equal_share` and `worst_psnr_db` against the reference.

    Raises:
        CannotOpen: it is no video file that can be read, or it has no pictures.
    """
    with VideoFile(path) as source:
        recording = source.probe()
    pictures = [track for track in recording.tracks if track.medium == "pictures"]
    if not pictures:
        raise CannotOpen("it has no picture tracks, so there is nothing to compare")
    missing = {name: why_missing(name) for name in DECODERS}
    asked = sampling or Sampling()
    tracks = [_track(path, recording, track, asked, missing, len(pictures), rounds) for track in pictures]
    return {"recording": path.name, "least_psnr_db": LEAST_PSNR_DB, "tracks": tracks}


def _track(
    path: Path,
    recording: Recording,
    track: Track,
    sampling: Sampling,
    missing: Mapping[str, str],
    video_streams: int,
    rounds: int,
) -> dict[str, Any]:
    stop_ns = min(recording.stop_ns, track.start_ns + SECONDS * NS)
    window = Window(0, track.start_ns, max(stop_ns, track.start_ns + 1))
    shown = round(track.item_count * window.length_ns / max(1, track.stop_ns - track.start_ns))
    rows, reference = [], None
    for name in DECODERS:
        why = missing[name]
        if not why and name != "av":
            why = why_not_exact(path, track, name, video_streams)
        row: dict[str, Any] = {"name": name, "version": version_of(name), "why_not": why}
        if not why:
            clip, seconds = _timed(path, decoded_by(track, name), window, sampling, rounds)
            reference = reference or clip
            row |= {
                "frames": clip.valid,
                "frames_per_second": round(min(shown, track.item_count) / seconds, 1),
                **agreement(clip, reference),
            }
        rows.append(row)
    what = {key: getattr(track, key) for key in ("codec", "width", "height", "pixel_format")}
    return {"track": track.name, **what, "seconds": round(window.length_ns / NS, 3), "decoders": rows}


def _timed(
    path: Path, track: Track, window: Window, sampling: Sampling, rounds: int
) -> tuple[PictureClip, float]:
    """Return the clip, and the least CPU time that a round took."""
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        with VideoFile(path) as source:
            wishes = [Wish(track.name, track)]
            (media,) = (m for _, _, m in read_clips(source, wishes, [window], sampling, lambda _: None))
        best = min(best, time.process_time() - began)
    assert isinstance(media, PictureClip)
    frames = media.frames if isinstance(media.frames, np.ndarray) else media.frames.cpu().numpy()
    return PictureClip(frames, media.times_ns), max(best, 1e-9)


def agreement(clip: PictureClip, reference: PictureClip) -> dict[str, float]:
    """Say how far a clip is the reference's.

    Returns:
        `equal_share`: of the reference's frames, how many have the same time here and are at least
        `LEAST_PSNR_DB` near; `worst_psnr_db` of those with the same time (0 where there are none).
    """
    ours = {int(time_ns): frame for time_ns, frame in zip(clip.times_ns, clip.frames, strict=True)}
    near = [
        psnr_db(ours[int(time_ns)], frame) if int(time_ns) in ours else 0.0
        for time_ns, frame in zip(reference.times_ns, reference.frames, strict=True)
    ]
    equal = sum(db >= LEAST_PSNR_DB for db in near)
    share = equal / len(near) if near else 1.0
    return {"equal_share": round(share, 4), "worst_psnr_db": round(min(near, default=EQUAL_DB), 1)}


def comparison_table(found: Mapping[str, Any]) -> str:
    """Return what `compare_decoders` found, for people."""
    lines = []
    for track in found["tracks"]:
        what = f"{track['codec']} {track['width']}x{track['height']} {track['pixel_format']}"
        lines.append(f"{found['recording']}: {track['track']}: {what}, {track['seconds']:g} s")
        rows = [_row(row) for row in track["decoders"]]
        lines.append(text_table(("decoder", "version", "frames/s", "equal", "worst dB", "why not"), rows))
    lines.append(f"equal: same time, at least {found['least_psnr_db']:g} dB PSNR; frames/s: of CPU time")
    return "\n".join(lines)


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    if row["why_not"]:
        return row["name"], row["version"], "", "", "", row["why_not"]
    worst = "same" if row["worst_psnr_db"] == EQUAL_DB else f"{row['worst_psnr_db']:.1f}"
    return (
        row["name"],
        row["version"],
        f"{row['frames_per_second']:g}",
        f"{row['equal_share']:.0%}",
        worst,
        "",
    )
