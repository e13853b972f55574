"""`fifth probe --plot`: a recording's clocks as a picture, one band per track.

    name, clock, rate                      all on one time axis
    messages    | || ||||| ||||            a tick each; gaps are shaded
    offset      . .. ..... ....            log stamp minus header stamp; its range at the right

Drawn with OpenCV, which is there anyway: no plotting library is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ingest.discovery import Walk, find_recordings
from ingest.errors import WrongUse
from ingest.opening import open_recording
from ingest.recording import Recording, Source, Track
from ingest.timing import NS

WIDTH, LEFT, RIGHT = 1600, 20, 190
BAND, TITLE, TICKS, OFFSETS = 132, 26, 26, 64
TOP, BOTTOM = 46, 40
INK, PALE, SHADE, DOTS = (40, 40, 40), (225, 225, 225), (205, 205, 245), (190, 110, 20)
FAINT = (150, 150, 150)
"""Colours as blue, green, red."""
MOST_BANDS = 60
SCALE = 0.45


@dataclass
class Stamps:
    """The stamps of one track, in the order in which they were logged."""

    times_ns: np.ndarray
    """int64 [N]: by the track's clock."""
    offsets_ns: np.ndarray
    """int64 [N]: log stamp minus header stamp; empty where there is no header."""


def stamps_of(source: Source, recording: Recording) -> dict[str, Stamps]:
    """Read every track's stamps."""
    times: dict[str, list[int]] = {track.name: [] for track in recording.tracks}
    offsets: dict[str, list[int]] = {track.name: [] for track in recording.tracks}
    both = getattr(source, "stamps", None)  # only bags have two clocks
    if both is not None:
        for name, time_ns, offset_ns in both(recording.tracks):
            times[name].append(time_ns)
            if offset_ns is not None:
                offsets[name].append(offset_ns)
    else:
        start_ns, stop_ns = recording.origin_ns, recording.stop_ns
        for packet in source.read(recording.tracks, start_ns, stop_ns, lambda _: None):
            times[packet.track].append(packet.time_ns)
    return {
        name: Stamps(np.array(found, np.int64), np.array(offsets[name], np.int64))
        for name, found in times.items()
    }


def plot_clocks(recording: Recording, stamps: Mapping[str, Stamps], title: str) -> np.ndarray:
    """Return the picture: uint8 [H, W, 3], blue, green, red."""
    tracks = recording.tracks[:MOST_BANDS]
    canvas = np.full((TOP + BAND * max(1, len(tracks)) + BOTTOM, WIDTH, 3), 255, np.uint8)
    left_out = len(recording.tracks) - len(tracks)
    more = f" ({left_out} more tracks are not drawn)" if left_out else ""
    seconds = (recording.stop_ns - recording.origin_ns) / NS
    _text(canvas, LEFT, 28, f"{title}: {recording.container}, {seconds:.3f} s{more}", scale=0.6)
    axis = _Axis(recording.origin_ns, max(recording.stop_ns, recording.origin_ns + 1))
    for row, track in enumerate(tracks):
        _band(canvas, TOP + row * BAND, track, stamps[track.name], axis)
    _seconds(canvas, TOP + BAND * len(tracks), axis)
    return canvas


@dataclass(frozen=True)
class _Axis:
    start_ns: int
    stop_ns: int

    def x(self, times_ns: np.ndarray) -> np.ndarray:
        """Return columns of the picture: int [N]."""
        share = (times_ns - self.start_ns) / (self.stop_ns - self.start_ns)
        return np.asarray(np.clip(np.rint(LEFT + share * (WIDTH - LEFT - RIGHT)), LEFT, WIDTH - RIGHT), int)


def _band(canvas: np.ndarray, top: int, track: Track, stamps: Stamps, axis: _Axis) -> None:
    _text(canvas, LEFT, top + 18, _title(track))
    ticks = slice(top + TITLE, top + TITLE + TICKS)
    for start_ns, stop_ns in track.gaps:
        begin, end = axis.x(np.array([start_ns, stop_ns])).tolist()
        canvas[ticks, begin : end + 1] = SHADE
    canvas[ticks, axis.x(stamps.times_ns)] = INK
    field = top + TITLE + TICKS + 4
    canvas[field, LEFT : WIDTH - RIGHT] = PALE
    canvas[field + OFFSETS, LEFT : WIDTH - RIGHT] = PALE
    if len(stamps.offsets_ns):
        _offsets(canvas, field, stamps, axis)
    else:
        _text(
            canvas, LEFT + 4, field + OFFSETS // 2 + 4, "no header stamp: one clock", colour=(150, 150, 150)
        )


def _offsets(canvas: np.ndarray, field: int, stamps: Stamps, axis: _Axis) -> None:
    """Draw offsets from the 1st to the 99th percentile; what is beyond lies on the border."""
    low, high = np.percentile(stamps.offsets_ns, [1, 99])
    span = max(high - low, 1.0)
    place = np.clip((stamps.offsets_ns - low) / span, 0, 1)
    rows = np.rint(field + OFFSETS - 3 - place * (OFFSETS - 6)).astype(int)
    columns = axis.x(stamps.times_ns)
    for across in (-1, 0, 1):
        for down in (-1, 0, 1):
            canvas[rows + down, columns + across] = DOTS
    x = WIDTH - RIGHT + 8
    _text(canvas, x, field + 10, f"{high / 1e6:.4g} ms")
    _text(canvas, x, field + OFFSETS // 2 + 4, "log - header")
    _text(canvas, x, field + OFFSETS, f"{low / 1e6:.4g} ms")


def _title(track: Track) -> str:
    title = f"{track.topic} ({track.name}): {track.item_count} items"
    clock = track.clock
    if clock is None:
        return title
    title += f", clock: {clock.choice}"
    if clock.report is not None:
        jitter_ms = (clock.report.period_p95_ns - clock.report.period_p5_ns) / 1e6
        title += f", {clock.report.rate_hz:g}/s, jitter {jitter_ms:.3g} ms"
        if clock.report.missing > 0:
            title += f", {clock.report.missing} missing"
        if back := clock.report.log_back + clock.report.header_back:
            title += f", goes back {back} times"
    return title


def _seconds(canvas: np.ndarray, top: int, axis: _Axis) -> None:
    length_ns = axis.stop_ns - axis.start_ns
    for share in range(11):
        time_ns = axis.start_ns + length_ns * share // 10
        column = int(axis.x(np.array([time_ns]))[0])
        canvas[top : top + 6, column] = INK
        _text(canvas, column - 12, top + 22, f"{(time_ns - axis.start_ns) / NS:.4g}")
    _text(canvas, WIDTH - RIGHT + 40, top + 22, "s")


def _text(canvas: np.ndarray, x: int, y: int, text: str, *, scale: float = SCALE, colour: Any = INK) -> None:
    import cv2

    plain = text.encode("ascii", "replace").decode()  # the font knows no other letters
    cv2.putText(canvas, plain, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)


def write_plot(picture: np.ndarray, out: Path) -> None:
    """Write a PNG file.

    Raises:
        WrongUse: its name does not end in `.png`.
        OSError: it can't be written.
    """
    import cv2

    if out.suffix.lower() != ".png":
        raise WrongUse(f"--plot writes a PNG picture: {out.name} must end in .png")
    _, data = cv2.imencode(".png", picture)
    out.write_bytes(data.tobytes())


def plot_recordings(paths: Sequence[Path], audio_formats: Mapping[str, str], out: Path) -> None:
    """Draw the clocks of the one recording below the paths.

    Raises:
        WrongUse: there is not exactly one, or the picture's name does not end in `.png`.
        CannotOpen: it can't be read.
    """
    candidates = list(find_recordings(paths, Walk()))
    if len(candidates) != 1:
        raise WrongUse(f"--plot draws one recording; there are {len(candidates)}")
    found = candidates[0]
    with open_recording(
        found.paths, sidecars=found.sidecars, audio_formats=audio_formats, episode=found.episode
    ) as source:
        recording = source.probe()
        picture = plot_clocks(recording, stamps_of(source, recording), found.name)
    write_plot(picture, out)
