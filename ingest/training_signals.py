"""`fifth train signals`: recordings below a folder to fitted tokenizers, one per signal track."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ingest.clips import Sampling, Wish, read_clips, windows_of
from ingest.discovery import Walk, find_recordings
from ingest.errors import CannotDecode, CannotOpen, WrongUse
from ingest.opening import open_recording
from ingest.sampling.clip import SignalClip
from ingest.timing import NS, clip_count

CLIP_NS = 4 * NS
MOST_CLIPS = 128
"""Of one recording: of a longer one, evenly spaced ones."""
HELD_OUT_EVERY = 10
SIGNAL_HZ = Fraction(50)

Says = Callable[[str], None]
TrackKey = tuple[str, tuple[str, ...]]
"""A track's name and its columns: only equal ones are fitted together."""


def read_signals(folder: Path, says: Says) -> dict[TrackKey, list[np.ndarray]]:
    """Return the signals below a folder, by track: float32 [T, D] clips of up to 4 s at 50 rows a second."""
    found: dict[TrackKey, list[np.ndarray]] = {}
    for candidate in find_recordings([folder], Walk()):
        try:
            for key, values in _clips_of(candidate.paths, candidate.episode):
                found.setdefault(key, []).append(values)
        except (CannotOpen, CannotDecode) as error:
            says(f"{candidate.name}: left out: {error}")
    return found


def _clips_of(paths: tuple[Path, ...], episode: int | None) -> Iterator[tuple[TrackKey, np.ndarray]]:
    with open_recording(paths, episode=episode) as source:
        recording = source.probe()
        wishes = [Wish(track.name, track) for track in recording.tracks if track.medium == "signal"]
        count = clip_count(recording.origin_ns, recording.stop_ns, CLIP_NS) if wishes else 0
        step = max(1, -(-count // MOST_CLIPS))
        columns = {wish.name: tuple(wish.track.columns) for wish in wishes}
        windows = windows_of(recording, CLIP_NS, 0, count)[::step]
        sampling = Sampling(signal_hz=SIGNAL_HZ)
        for _, name, media in read_clips(source, wishes, windows, sampling, lambda _: None):
            if isinstance(media, SignalClip) and media.valid:
                yield (name, columns[name]), media.values


def train_signals(
    data: Path, out: Path, rows: int = 50, scale: int = 50, says: Says = lambda line: None
) -> dict[str, Any]:
    """Fit `fast-1024` to every signal track below `data`, write `out`, and return what was written.

    Every tenth clip of a track is held out and scored, where there are at least ten. The same recordings
    give the same bytes.

    Raises:
        WrongUse: there are no signals.
    """
    found = read_signals(data, says)
    if not found:
        raise WrongUse(f"{data}: no signals to fit to")
    tracks = [_fitted(name, columns, clips, rows, scale) for (name, columns), clips in sorted(found.items())]
    for track in tracks:
        figures = track["score"]
        says(
            f"{track['track']}: {len(track['columns'])} columns, "
            f"{figures['bits_per_value']:.2f} bits a value, "
            f"normalised RMSE {figures.get('normalised_rmse', 0.0):.5f} "
            f"({'held out' if figures['held_out'] else 'on what it was fitted to'})"
        )
    written = {"encoder": "fast-1024", "tracks": tracks}
    out.write_text(json.dumps(written, sort_keys=True) + "\n", encoding="utf-8")
    says(f"wrote {out}")
    return written


def _fitted(
    name: str, columns: tuple[str, ...], clips: list[np.ndarray], rows: int, scale: int
) -> dict[str, Any]:
    import torch

    from encoders import load_encoder, measure

    scored = clips[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY]
    seen = [clip for index, clip in enumerate(clips) if index % HELD_OUT_EVERY != HELD_OUT_EVERY - 1]
    encoder = load_encoder("fast-1024", rows=rows, scale=scale).fit(seen)
    quality = measure(encoder, [torch.from_numpy(clip) for clip in scored or seen], SIGNAL_HZ)
    values = sum(clip.size for clip in scored or seen)
    score = {"bits_per_value": quality.bits / max(1, values), "held_out": bool(scored), "values": values}
    return {
        "track": name,
        "columns": list(columns),
        "spec": encoder.spec.to_json(),
        "score": {**score, "normalised_rmse": quality.figures.get("normalised_rmse", 0.0)},
    }
