"""Which decoder reads a recording's pictures: the one that was asked for, where it proves to be exact.

Each recording is tried by itself, once, when it is planned: what speaks against the decoder is looked
up (see `frame_reader.why_not`), it must find as many frames as there are stamps, and its first pictures
must be the reference's. What it can't do PyAV does, which is told in a note. The outcome stands in
the track's details, and with it in the plan: all workers read the track alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np

from ingest.decoders.backends import BY_PLACE, reader_class
from ingest.decoders.backends.frame_reader import why_not
from ingest.errors import CannotDecode, CannotOpen
from ingest.geometry import arrange, fit
from ingest.recording import Decoder, Incident, MediaItem, Packet, Picture, Recording, Track
from ingest.sources.picture_index import PictureIndex, read_index
from ingest.sources.ranges import at_hand
from ingest.sources.video_file import VideoFile

LEAST_PSNR_DB = 36.0
"""Pictures of one frame by two decoders, as the pipeline makes them, must be as near as this. They differ
by how colours are interpolated between the pixels that store them."""
EQUAL_DB = 100.0
"""What stands for the PSNR of pictures that do not differ at all."""
DAMAGED = "the recording is damaged, and it fills in what is lost without saying so"
TRIAL_PICTURES = 8
"""So many pictures at the beginning are compared."""
TRIAL_SIZE = 256


def with_decoder(recording: Recording, path: Path, name: str) -> Recording:
    """Return the recording with its picture tracks read by a decoder wherever that is exact.

    Args:
        recording: a video file, as probed.
        path: the file.
        name: one of `DECODERS`, installed.

    Returns:
        The same recording; its picture tracks' `details["decoder"]` names the decoder, and a note says
        why it is not the one that was asked for.
    """
    tracks, notes = [], []
    pictures = [track for track in recording.tracks if track.medium == "pictures"]
    for track in recording.tracks:
        chosen = "av"
        if track in pictures and name != "av":
            damaged = name in BY_PLACE and _is_damaged(recording, track)
            reason = DAMAGED if damaged else why_not_exact(path, track, name, len(pictures))
            chosen = "av" if reason else name
            if reason:
                notes.append(Incident("note", f"{name} can't be used: {reason}; decoded by av", track.name))
        tracks.append(decoded_by(track, chosen) if track in pictures else track)
    return replace(recording, tracks=tuple(tracks), incidents=(*recording.incidents, *notes))


def _is_damaged(recording: Recording, track: Track) -> bool:
    lost = (incident.track for incident in recording.incidents if incident.severity == "failure")
    return any(name in ("", track.name) for name in lost)


def decoded_by(track: Track, name: str) -> Track:
    """Return a picture track that this decoder reads."""
    return replace(track, details={**track.details, "decoder": name})


def why_not_exact(path: Path, track: Track, name: str, video_streams: int) -> str:
    """Say why a decoder can't read a track exactly; "" if it can.

    Args:
        path: the file.
        track: a picture track of it.
        name: any of `DECODERS` but the reference.
        video_streams: how many picture tracks the file has.
    """
    if track.details["counted"] or track.details["delay"] is not None:
        return "the container stores no presentation stamps"
    index = read_index(path, track.details["stream"])
    if name == "nvdec":
        from ingest.decoders.backends.nvdec_pictures import why_not_on_gpu

        reason, places = why_not_on_gpu(track), _trial_places(len(index), seeks=True)
        if reason:
            return reason
    else:
        reader = reader_class(name)
        reason = why_not(track, reader.abilities, index.hidden, video_streams) or _why_no_table(track, index)
        if reason:
            return reason
        try:
            count = reader(at_hand(path), track.details["stream"], 0.0).count
        except (MemoryError, OSError):
            raise
        except Exception as error:  # libraries raise what they like
            return f"it can't open the file ({type(error).__name__})"
        if count is not None and count != len(index):
            return f"it finds {count} frames where the container has {len(index)}"
        places = _trial_places(len(index), reader.abilities.seeks)
    times_ns = index.times_ns[places]
    return _why_other_pictures(path, track, name, times_ns[times_ns >= track.start_ns].tolist())


def _why_no_table(track: Track, index: PictureIndex) -> str:
    """Say why place k can't be told to be shown at the k-th stamp; "" if it can."""
    if index.is_damaged:
        return "the container can't be read everywhere"
    if index.without_stamp:
        return f"{index.without_stamp} packets have no time stamp"
    if index.repeated:
        return f"{index.repeated} time stamps are the same as the one before"
    if not len(index) or int(index.times_ns[0]) != track.start_ns:
        return "the first pictures are not shown"
    return ""


def _trial_places(count: int, seeks: bool) -> list[int]:
    places = set(range(min(count, TRIAL_PICTURES)))
    if seeks and count:
        places |= {count * quarter // 4 for quarter in (1, 2, 3)}
    return sorted(places)


def _why_other_pictures(path: Path, track: Track, name: str, times_ns: list[int]) -> str:
    try:
        theirs = pictures_at(path, decoded_by(track, name), times_ns)
    except (CannotDecode, CannotOpen) as error:
        return str(error)
    try:
        reference = pictures_at(path, decoded_by(track, "av"), times_ns)
    except CannotDecode as error:
        return f"it can't be compared, since not even av decodes all that is compared ({error})"
    if not reference:
        return "there is nothing to compare it by"
    for time_ns in times_ns:
        if time_ns not in theirs or time_ns not in reference:
            who = "it" if time_ns not in theirs else "av"
            return f"{who} gives no picture for {time_ns / 1e9:.3f} s"
        nearness = psnr_db(theirs[time_ns], reference[time_ns])
        if nearness < LEAST_PSNR_DB:
            near = f"{nearness:.1f} dB where {LEAST_PSNR_DB:g} dB is the least"
            return f"its picture at {time_ns / 1e9:.3f} s is not the reference's ({near})"
    return ""


def pictures_at(path: Path, track: Track, times_ns: Iterable[int]) -> dict[int, np.ndarray]:
    """Return the pictures that begin at these times, uint8 [TRIAL_SIZE, TRIAL_SIZE, 3] each.

    Raises:
        CannotDecode: one of them can't be had.
    """
    found: dict[int, np.ndarray] = {}
    with VideoFile(path) as source:
        for start_ns, stop_ns in _spans(sorted(times_ns)):
            decoder = source.decoder(track)
            wanted = {time_ns for time_ns in times_ns if start_ns <= time_ns < stop_ns}
            packets = source.read([track], start_ns, stop_ns, lambda _: None)
            for picture in cast("Iterator[Picture]", _decoded(decoder, packets)):
                if picture.time_ns in wanted:
                    found[picture.time_ns] = _square(picture, track)
    return found


def _decoded(decoder: Decoder, packets: Iterable[Packet]) -> Iterator[MediaItem]:
    for packet in packets:
        yield from decoder.decode(packet)
    yield from decoder.flush()


def _spans(times_ns: list[int]) -> list[tuple[int, int]]:
    """Return windows that hold the times: one for those at the beginning, one for each of the rest."""
    first, rest = times_ns[:TRIAL_PICTURES], times_ns[TRIAL_PICTURES:]
    return [(first[0], first[-1] + 1), *((time_ns, time_ns + 1) for time_ns in rest)] if first else []


def _square(picture: Picture, track: Track) -> np.ndarray:
    aspect = Fraction(track.sample_aspect)
    geometry = fit(picture.width, picture.height, TRIAL_SIZE, "crop", aspect=aspect)
    pixels: Any = picture.rgb(TRIAL_SIZE, TRIAL_SIZE, geometry.region)
    return arrange(pixels if isinstance(pixels, np.ndarray) else pixels.cpu().numpy(), geometry)


def psnr_db(one: np.ndarray, other: np.ndarray) -> float:
    """Return how near two uint8 pictures are; `EQUAL_DB` at most."""
    difference = one.astype(np.float64) - other.astype(np.float64)
    error = float(np.mean(difference**2))
    return EQUAL_DB if error == 0 else min(EQUAL_DB, 10 * math.log10(255**2 / error))
