"""Reading clips: one pass over a recording, every track sampled as it comes.

This is where source, decoder and sampler meet. Nothing is held but what the clips in progress need:
a clip's track is given back as soon as nothing can change it any more, so memory depends on the
length of a clip and on how a file is interleaved, not on the length of the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from ingest.errors import CannotDecode, CannotOpen
from ingest.geometry import Fit
from ingest.recording import (
    Decoder,
    Incident,
    MediaItem,
    Moments,
    Packet,
    Recording,
    Report,
    Severity,
    Source,
    Track,
)
from ingest.sampling.clip import ClipMedia, Sampler, Window
from ingest.sampling.grid import Grid, StampGrid, SteadyGrid
from ingest.sampling.joining import Joiner, Place
from ingest.timing import NS, clip_window

AT_THE_END_NS = NS // 10
"""Damage within the last tenth of a second of a track is a note, not a failure."""


SHOWN = ("pictures", "depth")
"""Media of which at each time the last item before it is shown."""
PictureChoice = Literal["grid", "keyframes"]
PICTURE_CHOICES: tuple[PictureChoice, ...] = ("grid", "keyframes")


@dataclass(frozen=True)
class Sampling:
    """How the tracks of each medium are sampled."""

    pictures: PictureChoice = "grid"
    """`grid`: at each grid time the picture shown then; `keyframes`: each picture that is decodable by
    itself, at its own time."""
    fps: Fraction = Fraction(8)
    """Of pictures and depth."""
    size: int = 256
    depth_size: int = 128
    """Edge of squares of distances; range images of point clouds have a size of their own."""
    fit: Fit = "crop"
    sample_rate: int = 16000
    channels: int = 1
    signal_hz: Fraction | None = Fraction(50)
    """None: signals keep their own stamps."""


@dataclass(frozen=True)
class Wish:
    """One track that is wanted, under the name it shall have."""

    name: str
    track: Track
    columns: tuple[int, ...] | None = None
    """Signals: indices of the columns wanted; None: all."""
    rate: Fraction | Literal["", "native"] = ""
    """Pictures, depth and signals: grid times per second, where they differ from the sampling's."""
    joined: tuple[Wish, ...] = ()
    """Signals: further tracks whose columns stand behind this one's, on the same grid."""
    of: str = ""
    """The name of the wish that asks for the same track for another encoder; empty: the first of its kind."""
    encoder: int = 0
    """Which of its medium's encoders it is for."""
    size: int = 0
    """Pictures: edge of the square frames; 0: the sampling's."""
    sample_rate: int = 0
    """Sound: samples per second; 0: the sampling's."""
    channels: int = 0
    """Sound: channels; 0: the sampling's."""

    @property
    def parts(self) -> tuple[Wish, ...]:
        """The tracks that it is made of."""
        return (self, *self.joined)

    def takes_the_same(self, other: Wish) -> bool:
        """Tell whether the media of both are the same, whatever they are called."""
        return replace(self, name="", of="", encoder=0) == replace(other, name="", of="", encoder=0)


def windows_of(recording: Recording, clip_ns: int, first: int, count: int) -> list[Window]:
    """Return the windows of clips `first` to `first + count` of a recording."""
    spans = [
        clip_window(recording.origin_ns, recording.stop_ns, clip_ns, i) for i in range(first, first + count)
    ]
    return [Window(first + i, start, stop) for i, (start, stop) in enumerate(spans)]


def read_clips(
    source: Source,
    wishes: Sequence[Wish],
    windows: Sequence[Window],
    sampling: Sampling,
    report: Report,
    reference: Track | None = None,
) -> Iterator[tuple[Window, str, ClipMedia]]:
    """Read the wanted tracks of neighbouring clips in one pass.

    Args:
        source: an opened recording.
        wishes: the tracks wanted, under names that are all different; each comes once per window, in
            any order among each other. A track may be wished for under several names.
        windows: clips in order, not overlapping.
        sampling: the grids and sizes.
        report: told of everything in these windows that is lost on the way. What decodes is given.
        reference: a track at whose own stamps pictures and signals are sampled, instead of on their
            grids. Signals are interpolated there, not averaged.

    Yields:
        The window, the wish's name and its media, for every window and wish. Wishes for the same media
        get the same objects.
    """
    if not windows:
        return
    twins = _twins(wishes)
    apart = [wish for wish in wishes if wish.name in twins]
    for window, name, media in _read_apart(source, apart, windows, sampling, report, reference):
        for twin in twins[name]:
            yield window, twin, media


def _twins(wishes: Sequence[Wish]) -> dict[str, list[str]]:
    """Return, for the first of the wishes that take the same media, the names of all of them."""
    firsts: dict[str, list[Wish]] = {}
    names: dict[str, list[str]] = {}
    for wish in wishes:
        alike = firsts.setdefault(wish.track.name, [])
        first = next((other for other in alike if wish.takes_the_same(other)), None)
        if first is None:
            alike.append(wish)
        names.setdefault((first or wish).name, []).append(wish.name)
    return names


def _read_apart(
    source: Source,
    wishes: Sequence[Wish],
    windows: Sequence[Window],
    sampling: Sampling,
    report: Report,
    reference: Track | None,
) -> Iterator[tuple[Window, str, ClipMedia]]:
    """Read as `read_clips` does, each wish by itself."""
    stamps = _stamps(source, reference, windows) if reference is not None else None
    lanes: dict[str, _Lane] = {}
    places: dict[str, Place] = {}
    grids: dict[str, list[Grid | None]] = {}
    for wish in wishes:
        for index, part in enumerate(wish.parts):
            label = f"{wish.name} {index}" if wish.joined else wish.name
            if wish.joined:
                places[label] = Place(wish.name, index, len(wish.parts))
            grid = stamps or _grid(wish, sampling)
            lane = lanes.get(part.track.name)
            if lane is None:
                lane = lanes[part.track.name] = _Lane(source, part.track, windows, report)
            lane.track = _widest(lane.track, part.track)
            lane.samplers[label] = _sampler(part, grid, windows, sampling, report)
            if part.track.medium == "pictures":
                grids.setdefault(part.track.name, []).append(grid)
    tracks = [lane.track for lane in lanes.values()]
    wanted = {name: _moments(of, windows, sampling) for name, of in grids.items()}
    moments = {name: times for name, times in wanted.items() if times is not None}
    joiner = Joiner(places)
    for packet in source.read(tracks, windows[0].start_ns, windows[-1].stop_ns, report, moments):
        for done in lanes[packet.track].take(packet):
            yield from joiner.take(*done)
    for lane in lanes.values():
        for done in lane.end():
            yield from joiner.take(*done)


class _Lane:
    """One track on its way from packets to clips: decoded once, sampled for each wish."""

    def __init__(self, source: Source, track: Track, windows: Sequence[Window], report: Report) -> None:
        self.track = track
        self.samplers: dict[str, Sampler] = {}
        """By the wish's name."""
        self._windows = windows
        self._report = report
        self._latest_ns = track.start_ns
        self._decoder: Decoder
        try:
            self._decoder = source.decoder(track)
        except CannotOpen as error:
            report(Incident("failure", str(error), track.name, track.start_ns, track.stop_ns))
            self._decoder = _Deaf()

    def take(self, packet: Packet) -> Iterator[tuple[Window, str, ClipMedia]]:
        """Decode a packet; yield what it completes."""
        self._latest_ns = packet.time_ns
        yield from self._push_all(self._decoder.decode, packet)

    def end(self) -> Iterator[tuple[Window, str, ClipMedia]]:
        """Yield all that is left."""
        yield from self._push_all(self._decoder.flush)
        for name, sampler in self.samplers.items():
            for window, media in sampler.finish():
                yield window, name, media

    def _push_all(
        self, give: Callable[..., Iterable[MediaItem]], *packet: Packet
    ) -> Iterator[tuple[Window, str, ClipMedia]]:
        """Sample what a decoder gives; what comes before an error counts."""
        try:
            for item in give(*packet):
                for name, sampler in self.samplers.items():
                    for window, media in sampler.push(item):
                        yield window, name, media
        except CannotDecode as error:
            self._lose(str(error))

    def _lose(self, cause: str) -> None:
        """Record that the latest packet does not decode; the samplers hear where something is missing.

        What is read before the windows and after them belongs to other clips, and is their loss.
        """
        track, time_ns = self.track, self._latest_ns
        for sampler in self.samplers.values():
            sampler.lost(time_ns)
        stop_ns = time_ns + max(1, track.period_ns)
        if stop_ns > self._windows[0].start_ns and time_ns < self._windows[-1].stop_ns:
            at_the_end = track.stop_ns - time_ns <= AT_THE_END_NS
            severity: Severity = "note" if at_the_end else "failure"
            self._report(Incident(severity, cause, track.name, time_ns, stop_ns))


class _Deaf:
    """Stands in for a decoder that could not be made: everything is lost, and said once."""

    def decode(self, packet: Packet) -> list[MediaItem]:
        return []

    def flush(self) -> list[MediaItem]:
        return []


def _stamps(source: Source, track: Track, windows: Sequence[Window]) -> StampGrid:
    """Return the stamps of a track, read without decoding."""
    start_ns, stop_ns = windows[0].start_ns, windows[-1].stop_ns
    packets = source.read([track], start_ns, stop_ns, lambda _: None)
    return StampGrid(np.unique(np.array([packet.time_ns for packet in packets], np.int64)))


def _grid(wish: Wish, sampling: Sampling) -> Grid | None:
    """Return the grid of a wish; None: its own stamps."""
    if wish.rate == "native":
        return None
    if wish.rate:
        return SteadyGrid(wish.rate)
    if wish.track.medium in SHOWN:
        return SteadyGrid(sampling.fps) if sampling.pictures == "grid" else None
    return SteadyGrid(sampling.signal_hz) if sampling.signal_hz else None


def _widest(track: Track, other: Track) -> Track:
    """Return a track that is read as far around a window as either needs."""
    ages = track.max_age_ns, other.max_age_ns
    return replace(track, max_age_ns=max(ages) if all(ages) else 0)


def _moments(grids: Sequence[Grid | None], windows: Sequence[Window], sampling: Sampling) -> Moments | None:
    """Return when a track's pictures are wanted; None: all of them are.

    Args:
        grids: of all wishes for the track.
        windows: the clips.
        sampling: how pictures are chosen.
    """
    if sampling.pictures == "keyframes" and None in grids:
        return "keyframes"
    times = [grid.times(window) for grid in grids if grid is not None for window in windows]
    return np.unique(np.concatenate(times)) if len(times) == len(grids) * len(windows) else None


def _sampler(
    wish: Wish, grid: Grid | None, windows: Sequence[Window], sampling: Sampling, report: Report
) -> Sampler:
    track = wish.track
    if track.medium in SHOWN:
        from ingest.sampling.frames import Distances, Frames, Squares
        from ingest.sampling.pictures import EachPictureSampler, PictureSampler

        frames: Frames = Squares(track, wish.size or sampling.size, sampling.fit, report)
        if track.medium == "depth":
            frames = Distances(track, sampling.depth_size, sampling.fit, report)
        if grid is None:
            return EachPictureSampler(windows, frames)
        return PictureSampler(track, windows, grid, frames, report)
    if track.medium == "sound":
        from ingest.decoders.av_sound import AvResampler
        from ingest.sampling.sound import SoundSampler

        rate, channels = wish.sample_rate or sampling.sample_rate, wish.channels or sampling.channels
        return SoundSampler(
            track, windows, rate, channels, lambda layout, hz: AvResampler(layout, hz, rate, channels)
        )
    if track.medium == "signal":
        from ingest.sampling.signals import SignalSampler

        return SignalSampler(track, windows, grid, wish.columns)
    from ingest.sampling.text import TextSampler

    return TextSampler(windows)


def merge_incidents(incidents: Sequence[Incident], within_ns: int = NS) -> list[Incident]:
    """Join neighbouring incidents of one track with one cause: 51 lost packets are one line.

    The joined cause says how many there were. Order: by track, then time.
    """
    merged: list[tuple[Incident, int]] = []
    for incident in sorted(incidents, key=lambda i: (i.track, i.severity, i.cause, i.start_ns)):
        if merged:
            last, count = merged[-1]
            same = (last.track, last.severity, last.cause) == (
                incident.track,
                incident.severity,
                incident.cause,
            )
            if same and incident.start_ns <= last.stop_ns + within_ns:
                span = (last.start_ns, max(last.stop_ns, incident.stop_ns))
                merged[-1] = (Incident(last.severity, last.cause, last.track, *span), count + 1)
                continue
        merged.append((incident, 1))
    joined = [
        Incident(
            i.severity, f"{i.cause}, {count} times" if count > 1 else i.cause, i.track, i.start_ns, i.stop_ns
        )
        for i, count in merged
    ]
    return sorted(joined, key=lambda i: (i.track, i.start_ns, i.stop_ns, i.severity, i.cause))
