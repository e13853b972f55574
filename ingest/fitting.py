"""Fitting what an encoder must know of values beforehand (bin edges), on a bounded sample; and probing it.

The sample: up to 16 recordings of a layout, spread evenly over those planned together; of each up to 8
clips, spread evenly over its length, and those where its tracks begin and end (a rare topic may lie in
no other). It depends on the recordings alone, so it repeats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from encoders import TokenSpec, encoder_for, kept_probe
from ingest.clips import Wish, read_clips, windows_of
from ingest.configuration import Configuration
from ingest.discovery import Candidate
from ingest.engine.local import Job, Progress
from ingest.layouts import select
from ingest.occupancy import occupied_clips
from ingest.opening import open_recording
from ingest.recording import Recording
from ingest.remote_files import place_of, unharmed
from ingest.sampling.clip import SignalClip

MOST_RECORDINGS = 16
MOST_CLIPS = 8
MOST_ENDS = 56


@dataclass
class FitSample:
    """Keeps evenly spaced recordings of however many are offered, in bounded memory."""

    kept: list[dict[str, Any]] = field(default_factory=list)
    _offered: int = 0
    _stride: int = 1

    def offer(self, candidate: Candidate, recording: Recording) -> None:
        """Take every stride-th recording; when full, drop every other one and double the stride."""
        if self._offered % self._stride == 0:
            if len(self.kept) == MOST_RECORDINGS:
                self.kept = self.kept[::2]
                self._stride *= 2
            if self._offered % self._stride == 0:
                self.kept.append(
                    {
                        "kind": candidate.kind,
                        "paths": [str(path) for path in candidate.paths],
                        "sidecars": [str(path) for path in candidate.sidecars],
                        "episode": candidate.episode,
                        "info": recording.to_json(),
                    }
                )
        self._offered += 1


def fit_job(layout: Mapping[str, Any], sample: FitSample, configuration: Configuration) -> Job:
    """Return the job that fits the encoders of a layout."""
    argument = {"tracks": layout["tracks"], "sample": sample.kept, "configuration": dict(configuration.data)}
    return Job("ingest.fitting:fit_layout", argument)


def fit_layout(argument: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Fit every track of a layout that needs it, and probe all encoders (`encoders.determinism`).

    Returns:
        `specs`: track name to its fitted token spec. `probes`: track name to the hash that every worker's
        encoder must have.
    """
    torch.set_num_threads(1)
    device = argument["configuration"]["device"]
    specs = _fitted(argument)
    probes = {
        track["name"]: kept_probe(
            specs.get(track["name"], track["spec"]), "cpu" if device == "any" else device
        )
        for track in argument["tracks"]
        if track["spec"]
    }
    return {"specs": specs, "probes": probes}


def _fitted(argument: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the fitted specs of the tracks that need it."""
    needing = {
        track["name"]: TokenSpec.from_json(track["spec"])
        for track in argument["tracks"]
        if track["spec"] and track["spec"]["needs_fit"]
    }
    if not needing:
        return {}
    configuration = Configuration(argument["configuration"])
    values: dict[str, list[np.ndarray]] = {name: [] for name in needing}
    columns = {track["name"]: len(track["columns"]) for track in argument["tracks"]}
    for kept in argument["sample"]:
        for name, clip in _sampled_values(kept, set(needing), configuration):
            values[name].append(clip)
    specs = {}
    for name, spec in needing.items():
        # a track without a single value still needs edges, so that its tokens can be `invalid`
        arrays = values[name] or [np.full((1, columns[name]), np.nan, np.float32)]
        specs[name] = encoder_for(spec).fit(arrays).spec.to_json()
    return specs


def _sampled_values(
    kept: Mapping[str, Any], names: set[str], configuration: Configuration
) -> Iterator[tuple[str, np.ndarray]]:
    recording = Recording.from_json(kept["info"])
    selection = select(recording, configuration)
    wishes = [wish for wish in selection.wishes if wish.name in names]
    formats = dict(configuration.data["audio_formats"])
    chosen = _chosen_clips(recording, wishes, configuration.clip_ns)
    paths, sidecars = [place_of(p) for p in kept["paths"]], [place_of(p) for p in kept["sidecars"]]
    episode = kept["episode"]
    with (
        unharmed([*paths, *sidecars]),
        open_recording(paths, sidecars=sidecars, audio_formats=formats, episode=episode) as source,
    ):
        for index in chosen:
            windows = windows_of(recording, configuration.clip_ns, index, 1)
            sampling = configuration.sampling(kept["kind"])
            reading = read_clips(source, wishes, windows, sampling, lambda _: None, selection.reference)
            for _, name, media in reading:
                assert isinstance(media, SignalClip)
                if media.valid:
                    yield name, media.values


def _chosen_clips(recording: Recording, wishes: Sequence[Wish], clip_ns: int) -> list[int]:
    occupied = occupied_clips(recording, clip_ns)
    count = sum(length for _, length in occupied)
    evenly = {_nth_clip(occupied, i * count // MOST_CLIPS) for i in range(MOST_CLIPS)}
    ends = [edge for wish in wishes for edge in (wish.track.start_ns, wish.track.stop_ns - 1)]
    at_ends = sorted({(edge - recording.origin_ns) // clip_ns for edge in ends})
    return sorted(evenly | set(at_ends[:MOST_ENDS]))


def _nth_clip(ranges: Sequence[tuple[int, int]], n: int) -> int:
    """Return the clip that is the n-th one of these ranges (first, count)."""
    for first, count in ranges:
        if n < count:
            return first + n
        n -= count
    raise IndexError(n)
