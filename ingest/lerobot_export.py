"""A dataset's samples as a LeRobot dataset: values as stored, pictures reconstructed from their tokens.

An episode is an unbroken stretch of one recording in which, at every step of the pictures' grid, each picture
track has a frame and each signal a value in every column. Where something is missing the episode ends, and
the steps without it are counted, not invented. Sound has no place in the format and is left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ingest.errors import WrongUse
from ingest.lerobot_writer import Feature, LeRobotWriter
from ingest.reconstruction import grid_steps, leads_back, reconstruct_track
from ingest.timing import NS, ceil_div, grid_times
from shards import Dataset, Sample, open_dataset


@dataclass(frozen=True)
class Exported:
    """What was written."""

    episodes: int
    steps: int
    dropped: int
    """Steps at which a track had nothing."""
    left_out: tuple[str, ...]
    """Tracks that the format has no place for."""


def export_lerobot(
    dataset: Path, out: Path, layout: str = "", tracks: Sequence[str] = (), robot_type: str = "unknown"
) -> Exported:
    """Write a LeRobot dataset of version 3.0; it appears under its name when it is complete.

    Args:
        dataset: a finished dataset.
        out: a folder that does not exist yet.
        layout: which of the dataset's layouts; may be left out where there is one.
        tracks: globs on track names; empty: all.
        robot_type: stands in the description.

    Raises:
        WrongUse: the choice can't be exported; the message says why.
        shards.ShardsError: no dataset.
    """
    opened = open_dataset(dataset)
    if out.exists():
        raise WrongUse(f"{out} exists already: give a folder that does not")
    name = _layout(opened, layout)
    plan = _Plan(opened, name, tracks)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        writer = LeRobotWriter(part, plan.fps, plan.features, robot_type)
        dropped = _write(opened, name, plan, writer)
        writer.close()
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Exported(writer.episode_count, writer.step_count, dropped, tuple(plan.left_out))


def _layout(opened: Dataset, wanted: str) -> str:
    names = list(opened.layouts)
    if wanted or len(names) == 1:
        if wanted and wanted not in names:
            raise WrongUse(f"no layout {wanted!r}: the dataset has {', '.join(names)}")
        return wanted or names[0]
    raise WrongUse(f"a LeRobot dataset has one set of features: choose with --layout: {', '.join(names)}")


class _Plan:
    """Which track becomes which feature, and the grid that all share."""

    def __init__(self, opened: Dataset, layout: str, globs: Sequence[str]) -> None:
        found = opened.layouts[layout]
        tracks = [found.track(name) for name in found.tracks]
        if globs:
            tracks = [track for track in tracks if any(fnmatch(track["name"], glob) for glob in globs)]
        fits = [track for track in tracks if _has_a_place(track)]
        self.pictures = [track["name"] for track in fits if track["medium"] == "pictures"]
        self.signals = [track["name"] for track in fits if track["medium"] == "signal"]
        self.texts = [track["name"] for track in fits if track["medium"] == "text"]
        self.left_out = [track["name"] for track in tracks if track not in fits]
        if not (self.pictures or self.signals):
            raise WrongUse(f"layout {layout} has neither pictures nor signals to export")
        leading = (self.pictures or self.signals)[0]
        rate = Fraction(next(track["rate"] for track in tracks if track["name"] == leading) or 0)
        if not rate or rate.denominator != 1:
            raise WrongUse(
                f"a LeRobot dataset counts whole steps per second; {leading} has {float(rate):g} "
                "(0: its own stamps)"
            )
        self.fps = int(rate)
        first = next(iter(opened.samples(layout)), None)
        topics = first.provenance["tracks"] if first is not None else {}
        self.names = {
            name: feature_name(name, topics.get(name, {}).get("topic", ""), pictures=name in self.pictures)
            for name in (*self.pictures, *self.signals)
        }
        self.by_name = {track["name"]: track for track in tracks}
        sizes = {name: int(self.by_name[name]["spec"]["input"]["size"][0]) for name in self.pictures}
        self.features = [
            Feature(self.names[name], tuple(self.by_name[name]["columns"]), sizes.get(name, 0))
            for name in (*self.signals, *self.pictures)
        ]


def _has_a_place(track: Mapping[str, Any]) -> bool:
    """Tell whether a track has a place in the format: no sound, no depth, nothing of a further encoder."""
    return track["medium"] not in ("depth", "sound") and not track.get("of") and leads_back(track)


def feature_name(track: str, topic: str, *, pictures: bool) -> str:
    """Return what a track is called: as in the LeRobot dataset that it is from, else by its own name.

    >>> feature_name("state", "/joint_states", pictures=False), feature_name("action", "/cmd", pictures=False)
    ('observation.state', 'action')
    >>> feature_name("front", "/front/image_raw", pictures=True)
    'observation.images.front'
    """
    if topic == "action" or topic.startswith(("observation.", "action.", "next.")):
        return topic
    if pictures:
        return f"observation.images.{track}"
    return track if track == "action" else f"observation.{track.removeprefix('observation_')}"


def _write(opened: Dataset, layout: str, plan: _Plan, writer: LeRobotWriter) -> int:
    """Write all samples; return how many steps were dropped."""
    dropped = 0
    before: tuple[str, int] | None = None
    for sample in opened.samples(layout):
        length_ns = sample.stop_ns - sample.start_ns
        recording = sample.provenance["id"]
        if before != (recording, sample.start_ns):
            writer.end_episode()
        steps = _Steps(sample, plan, ceil_div(length_ns * plan.fps, NS))
        dropped += len(steps.whole) - int(steps.whole.sum())
        for begin, end in _runs(steps.whole):
            if begin:
                writer.end_episode()
            values, frames, tasks = steps.taken(begin, end)
            writer.add(values, frames, tasks)
            if end < len(steps.whole):
                writer.end_episode()
        if not steps.whole.any() or length_ns * plan.fps % NS:  # the grid ends between steps
            writer.end_episode()
        before = recording, sample.stop_ns
    return dropped


def _runs(whole: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], whole, [False]]).astype(np.int8)))
    yield from ((int(begin), int(end)) for begin, end in edges.reshape(-1, 2))


class _Steps:
    """One sample on the grid of steps."""

    def __init__(self, sample: Sample, plan: _Plan, count: int) -> None:
        self._plan = plan
        self._frames: dict[str, np.ndarray] = {}
        self._times = grid_times(0, count * NS // plan.fps, Fraction(plan.fps))[:count]
        self.whole = np.ones(count, bool)
        self._frame_at: dict[str, np.ndarray] = {}
        for name in plan.pictures:
            at = np.full(count, -1)
            pictures = reconstruct_track(plan.by_name[name], sample)
            self._frames[name] = np.asarray(pictures.media)
            for frame, step in enumerate(grid_steps(pictures, Fraction(plan.fps))):
                if step < count:
                    at[step] = frame
            self._frame_at[name] = at
            self.whole &= at >= 0
        self._values = {name: self._signal(name, sample) for name in plan.signals}
        for values in self._values.values():
            self.whole &= np.isfinite(values).all(axis=1)
        self._texts = self._texts_at(sample)

    def _signal(self, name: str, sample: Sample) -> np.ndarray:
        """Return the last stored value at or before each step: float32 [steps, D], NaN before the first."""
        values = sample.arrays[f"{name}.values"]
        if rate := Fraction(self._plan.by_name[name]["rate"] or 0):
            stamps = grid_times(0, ceil_div(len(values) * NS * rate.denominator, rate.numerator), rate)
            stamps = stamps[: len(values)]
        else:
            stamps = sample.arrays[f"{name}.times"]
        index = np.searchsorted(stamps, self._times, side="right") - 1
        found = np.full((len(self._times), values.shape[1]), np.nan, np.float32)
        found[index >= 0] = values[index[index >= 0]]
        return found

    def _texts_at(self, sample: Sample) -> list[str]:
        texts = [""] * len(self._times)
        for name in self._plan.texts[:1]:
            lines = sample.text[name].splitlines()
            for (start_ns, stop_ns), line in zip(sample.arrays[f"{name}.times"].tolist(), lines, strict=True):
                inside = (self._times >= start_ns) & (self._times < stop_ns)
                for step in np.flatnonzero(inside).tolist():
                    texts[step] = line
        return texts

    def taken(self, begin: int, end: int) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        """Return values, frames and texts of steps [begin, end)."""
        names = self._plan.names
        values = {names[name]: found[begin:end] for name, found in self._values.items()}
        frames = {names[name]: self._frames[name][at[begin:end]] for name, at in self._frame_at.items()}
        return values, frames, self._texts[begin:end]
