"""One episode of a LeRobot dataset as a recording.

Rows become signal tracks (`observation.state`, `action` …), video files and stored images picture tracks,
the task the text track `task`. Time begins at 0 with the episode; row k is at k / fps, as the dataset's own
reader has it, unless its stamps say otherwise by more than `TOLERANCE_NS`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ingest.decoders.promised import MISFITS, as_promised
from ingest.decoders.row_batches import RowBatches
from ingest.errors import CannotDecode, CannotOpen
from ingest.names import track_names
from ingest.recording import (
    NO_CHOICE,
    Cue,
    Decoder,
    Incident,
    Moments,
    Packet,
    Recording,
    Report,
    Rows,
    Source,
    Track,
)
from ingest.sources.lerobot_meta import (
    OWN_COLUMNS,
    Camera,
    flat_names,
    lerobot_root,
    parquet,
    read_lerobot,
)
from ingest.timing import FARTHEST_NS, LONGEST_STILL_NS, NS, gaps_longer_than, seconds_to_ns

TOLERANCE_NS = 100_000
"""LeRobot's own tolerance between a stamp and k / fps: 1e-4 s."""
MOST_FRAMES = 2**31
"""Rows of an episode."""
FLOATS = ("float16", "float32", "float64")
NUMBERS = (*FLOATS, "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool")


class LeRobotEpisode:
    """One opened episode. See `Source`.

    Args:
        path: a file of the dataset, or its folder.
        index: the episode's index.

    Raises:
        CannotOpen: there is no such episode, or its rows can't be read.
    """

    def __init__(self, path: Path, index: int) -> None:
        root = lerobot_root(path)
        if root is None:
            raise CannotOpen("no LeRobot dataset: there is no meta/info.json above the file")
        self._meta = read_lerobot(root)
        self._episode = self._meta.episode(index)
        try:
            self._rows = _rows_of(self._episode.data, index)
            self._times_ns = _times_of(self._rows, self._meta.fps)
            """When each row is: int64 [N]."""
            names = [name for name in self._meta.features if name not in OWN_COLUMNS]
            self._names = dict(zip(names, track_names(names), strict=True))
        except (*MISFITS, NotImplementedError) as error:
            raise CannotOpen(f"its rows can't be read ({_words(error, self._episode.data)})") from error
        self._cameras: dict[str, Source] = {}

    def probe(self) -> Recording:
        """See `Source`."""
        incidents: list[Incident] = []
        tracks = [track for name in self._names for track in self._whatever(name, incidents)]
        tracks += self._task_track()
        count = len(self._times_ns)
        if count != self._episode.length:
            cause = f"the dataset says {self._episode.length} rows, its file has {count}"
            incidents.append(Incident("failure", cause, "", self._stop_ns, self._stop_ns + 1))
        details = {
            "episode": self._episode.index,
            "robot_type": self._meta.robot_type,
            "fps": str(self._meta.fps),
            "tasks": list(self._episode.tasks),
        }
        return Recording(f"lerobot-{self._meta.version}", tuple(tracks), tuple(incidents), details)

    @property
    def _stop_ns(self) -> int:
        times = self._times_ns
        return int(times[-1]) + self._period_ns if len(times) else 0

    @property
    def _period_ns(self) -> int:
        return seconds_to_ns(1 / self._meta.fps)

    def _whatever(self, name: str, incidents: list[Incident]) -> list[Track]:
        """Return a feature's tracks; none, and why, where it is not what it must be."""
        try:
            return list(self._probed(name, incidents))
        except MISFITS as error:
            cause = f"feature {name} lacks or mistypes something ({_words(error, self._episode.data)})"
            incidents.append(Incident("failure", cause, self._names[name]))
            return []

    def _probed(self, name: str, incidents: list[Incident]) -> Iterator[Track]:
        feature = self._meta.features[name]
        kind = feature["dtype"]
        if kind == "video":
            yield from self._camera_track(name, incidents)
        elif name not in self._rows:
            incidents.append(Incident("failure", f"feature {name} is not in the episode's file"))
        elif kind == "image":
            yield from self._image_track(name, incidents)
        elif kind in NUMBERS:
            yield self._signal_track(name, feature)
        elif kind == "string":
            yield from self._text_track(self._names[name], name, self._rows[name])
        else:
            incidents.append(Incident("note", f"feature {name} ({kind}) is left out"))

    def _common(self, name: str, medium: Any, codec: str) -> dict[str, Any]:
        times = self._times_ns
        return {
            "name": self._names[name],
            "medium": medium,
            "topic": name,
            "codec": codec,
            "start_ns": int(times[0]),
            "stop_ns": self._stop_ns,
            "item_count": len(times),
            "period_ns": int(np.median(np.diff(times))) if len(times) > 1 else 0,
            "declared_rate": str(self._meta.fps),
            "gaps": tuple(gaps_longer_than(times, LONGEST_STILL_NS)),
        }

    def _signal_track(self, name: str, feature: Any) -> Track:
        columns = flat_names(feature, name)
        kind = "linear" if feature["dtype"] in FLOATS else "last"
        fields = self._common(name, "signal", feature["dtype"])
        # an action is a command: it holds until the next one
        held = name == "action" or name.startswith("action.") or fields["item_count"] < 3
        max_age_ns = 0 if held else 3 * fields["period_ns"]
        kinds = (kind,) * len(columns)
        return Track(**fields, max_age_ns=max_age_ns, columns=tuple(columns), kinds=kinds)

    def _image_track(self, name: str, incidents: list[Incident]) -> Iterator[Track]:
        from ingest.decoders.ros_pictures import facts_of

        try:
            facts = facts_of(_image(self._rows[name][0]))
        except (CannotDecode, IndexError) as error:
            incidents.append(Incident("failure", f"feature {name}: {error}", self._names[name]))
            return
        fields = self._common(name, "pictures", "image")
        fields["max_age_ns"] = 3 * fields["period_ns"]
        yield Track(**fields, width=facts.width, height=facts.height, pixel_format="image")

    def _text_track(self, track_name: str, topic: str, values: Sequence[Any]) -> Iterator[Track]:
        runs = list(_runs(self._times_ns.tolist(), [str(value) for value in values], self._stop_ns))
        if runs:
            yield Track(
                track_name, "text", topic, "string", runs[0][0], self._stop_ns, len(runs),
                details={"cues": [list(run) for run in runs]},
            )  # fmt: skip

    def _task_track(self) -> list[Track]:
        tasks = self._meta.tasks
        texts = [tasks.get(int(index), "") for index in self._rows.get("task_index", ())]
        name = "task" if "task" not in self._names.values() else "task_text"
        return list(self._text_track(name, "task", texts)) if any(texts) else []

    def _camera_track(self, name: str, incidents: list[Incident]) -> Iterator[Track]:
        camera = self._episode.cameras[name]

        def lost(cause: str) -> None:
            cause = f"feature {name}: {cause}"
            incidents.append(Incident("failure", cause, self._names[name], 0, self._stop_ns))

        try:
            found = _probed_video(camera.path, camera.path.stat().st_mtime_ns)
        except FileNotFoundError:
            lost("its video file is missing")
            return
        except CannotOpen as error:
            lost(str(error))
            return
        inner = next((track for track in found.tracks if track.medium == "pictures"), None)
        if inner is None:
            lost("its file has no video")
            return
        offset_ns = self._offset_ns(camera)
        shared = inner.stop_ns - offset_ns > self._stop_ns + self._period_ns
        incidents += [replace(one, track=self._names[name]) for one in found.incidents]
        stop_ns = min(inner.stop_ns - offset_ns, self._stop_ns)
        if stop_ns + self._period_ns < self._stop_ns:
            cause = f"feature {name}: its video ends before the episode does"
            incidents.append(Incident("failure", cause, self._names[name], max(0, stop_ns), self._stop_ns))
        start_ns = max(inner.start_ns - offset_ns, 0)
        yield replace(
            inner,
            name=self._names[name],
            topic=name,
            start_ns=start_ns,
            stop_ns=max(stop_ns, start_ns + 1),
            item_count=len(self._times_ns) if offset_ns or shared else inner.item_count,
            gaps=(),
            details={**inner.details, "file_start_ns": inner.start_ns, "file_stop_ns": inner.stop_ns},
        )

    def _offset_ns(self, camera: Camera) -> int:
        """Return when the episode begins in a camera's file: the stamp of its first frame, since seconds
        as floating-point numbers may lie just before it.
        """
        fps = self._meta.fps
        frame = round(Fraction(camera.from_seconds) * fps)
        return frame * NS * fps.denominator // fps.numerator

    def read(
        self,
        tracks: Sequence[Track],
        start_ns: int,
        stop_ns: int,
        report: Report,
        moments: Mapping[str, Moments] = NO_CHOICE,
    ) -> Iterator[Packet]:
        """See `Source`. Rows and pictures come together, by time."""
        cameras = [track for track in tracks if "file_start_ns" in track.details]
        others = [track for track in tracks if "file_start_ns" not in track.details]
        streams: list[Iterable[Packet]] = [self._read_rows(track, start_ns, stop_ns) for track in others]
        streams += [self._read_camera(track, start_ns, stop_ns, report, moments) for track in cameras]
        yield from heapq.merge(*streams, key=lambda packet: packet.time_ns)

    def _read_rows(self, track: Track, start_ns: int, stop_ns: int) -> Iterator[Packet]:
        if track.medium == "text":
            for begin_ns, end_ns, text in track.details["cues"]:
                if begin_ns < stop_ns and end_ns > start_ns:
                    yield Packet(track.name, begin_ns, Cue(begin_ns, end_ns, text))
            return
        values = self._rows[track.topic]
        around_ns = max(track.max_age_ns, track.period_ns)
        first, after = np.searchsorted(self._times_ns, (start_ns - around_ns, stop_ns + around_ns)).tolist()
        first = max(0, first - 1)  # what holds before the window, however old
        for index in range(first, after):
            yield Packet(track.name, int(self._times_ns[index]), values[index])

    def _read_camera(
        self, track: Track, start_ns: int, stop_ns: int, report: Report, moments: Mapping[str, Moments]
    ) -> Iterator[Packet]:
        offset_ns = self._offset_ns(self._episode.cameras[track.topic])

        def shifted(incident: Incident) -> None:
            times = {"start_ns": incident.start_ns - offset_ns, "stop_ns": incident.stop_ns - offset_ns}
            report(replace(incident, track=track.name, **times))  # type: ignore[arg-type]

        source, inner = self._camera(track.topic), _inner(track)
        span = start_ns + offset_ns, stop_ns + offset_ns
        wanted = moments.get(track.name)
        if isinstance(wanted, np.ndarray):
            wanted = wanted + offset_ns
        chosen = NO_CHOICE if wanted is None else {inner.name: wanted}
        for packet in source.read([inner], *span, shifted, chosen):
            yield replace(packet, time_ns=packet.time_ns - offset_ns)

    def decoder(self, track: Track) -> Decoder:
        """See `Source`."""
        if track.medium == "text":
            return _AsItIs()
        if track.medium == "signal":
            return _RowValues(len(track.columns))
        if "file_start_ns" in track.details:
            camera = self._episode.cameras[track.topic]
            inner = self._camera(track.topic).decoder(_inner(track))
            return _Shifted(inner, self._offset_ns(camera))
        from ingest.decoders.ros_pictures import RosPictures

        return RosPictures(_image)

    def _camera(self, name: str) -> Source:
        if name not in self._cameras:
            from ingest.sources.video_file import VideoFile

            self._cameras[name] = VideoFile(self._episode.cameras[name].path, [])
        return self._cameras[name]

    def close(self) -> None:
        """See `Source`."""
        for source in self._cameras.values():
            source.close()
        self._cameras.clear()

    def __enter__(self) -> LeRobotEpisode:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _inner(track: Track) -> Track:
    """Return a camera's track as its file has it."""
    details = track.details
    return replace(track, start_ns=details["file_start_ns"], stop_ns=details["file_stop_ns"])


@lru_cache(maxsize=8)
def _probed_video(path: Path, _changed_ns: int) -> Recording:
    """Probe a video file; episodes that share it ask one after the other."""
    from ingest.sources.video_file import VideoFile

    with VideoFile(path, []) as source:
        return source.probe()


def _rows_of(path: Path, index: int) -> dict[str, Any]:
    """Return an episode's rows by column: numbers as float64 [N, D], everything else as lists."""
    try:
        table = parquet().read_table(path, filters=[("episode_index", "==", index)])
    except FileNotFoundError as error:
        raise CannotOpen(f"the file with its rows is missing: {path.name}") from error
    except (OSError, NotImplementedError, *MISFITS) as error:
        raise CannotOpen(f"its rows can't be read ({_words(error, path)})") from error
    order = np.argsort(np.asarray(table["frame_index"]), kind="stable")
    columns: dict[str, Any] = {}
    for name in table.column_names:
        if str(table[name].type).startswith("struct"):
            columns[name] = _Stored(table[name], order)
            continue
        values = table[name].to_pylist()
        values = [values[at] for at in order]
        try:
            columns[name] = np.asarray(values, np.float64).reshape(len(values), -1)
        except (TypeError, ValueError):
            columns[name] = values
    for name in ("frame_index", "task_index"):
        if name in columns:
            columns[name] = columns[name].reshape(-1).astype(np.int64)
    return columns


def _times_of(rows: Mapping[str, Any], fps: Fraction) -> np.ndarray:
    """Return when each row is: int64 [N]."""
    frames = np.asarray(rows["frame_index"], np.int64)
    seconds = np.asarray(rows["timestamp"], np.float64).reshape(-1)
    if len(frames) and not (frames.min() >= 0 and frames.max() <= MOST_FRAMES):
        raise ValueError("frame_index is none")
    if not (np.abs(seconds) < FARTHEST_NS / NS).all():  # NaN is not, either
        raise ValueError("a timestamp is none")
    # as whole numbers without end: a rate may have any terms
    exact = [frame * NS * fps.denominator // fps.numerator for frame in frames.tolist()]
    if max(exact, default=0) > FARTHEST_NS:
        raise ValueError("frame_index is none")
    steady = np.array(exact, np.int64)
    stamps = np.rint(seconds * NS).astype(np.int64)
    near = len(stamps) == 0 or np.abs(stamps - steady).max() <= TOLERANCE_NS
    return np.asarray(steady if near else stamps)


def _words(error: BaseException, path: Path) -> str:
    return " ".join(str(error).replace(str(path), path.name).split())[:200] or type(error).__name__


class _Stored:
    """Images of rows, taken out one by one."""

    def __init__(self, column: Any, order: np.ndarray) -> None:
        self._column = column
        self._order = order

    def __getitem__(self, index: int) -> Any:
        try:
            return self._column[int(self._order[index])].as_py()
        except ValueError:  # a text in it is none
            return None


def _runs(times: Sequence[int], texts: Sequence[str], stop_ns: int) -> Iterator[tuple[int, int, str]]:
    """Yield start, stop and text of rows that follow each other with the same text; empty ones are none."""
    borders = [k for k in range(len(texts)) if k == 0 or texts[k] != texts[k - 1]]
    for begin, end in zip(borders, [*borders[1:], len(texts)], strict=True):
        if texts[begin]:
            yield times[begin], times[end] if end < len(texts) else stop_ns, texts[begin]


def _image(value: Any) -> Any:
    """Return an image of a row as what decodes it takes.

    Raises:
        CannotDecode: it is not stored in the row.
    """
    if not isinstance(value, dict) or not value.get("bytes"):
        raise CannotDecode("an image is not stored in its row")
    return SimpleNamespace(format="png", data=value["bytes"])


class _AsItIs:
    """Cues arrive as they are."""

    def decode(self, packet: Packet) -> list[Cue]:
        return [packet.data]

    def flush(self) -> list[Cue]:
        return []


class _RowValues:
    """Rows arrive as numbers."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._batches = RowBatches()

    def decode(self, packet: Packet) -> list[Rows]:
        with as_promised("a row"):
            row = np.asarray(packet.data, np.float64).reshape(-1)
        if len(row) != self._width:
            raise CannotDecode(f"a row has {len(row)} values where its feature has {self._width}")
        return self._batches.add(packet.time_ns, row)

    def flush(self) -> list[Rows]:
        return self._batches.flush()


class _Shifted:
    """Pictures of a file that several episodes share, on the time of one of them; earlier ones are not
    shown.
    """

    def __init__(self, inner: Decoder, offset_ns: int) -> None:
        self._inner = inner
        self._offset_ns = offset_ns

    def decode(self, packet: Packet) -> list[Any]:
        return self._moved(self._inner.decode(packet))

    def flush(self) -> list[Any]:
        return self._moved(self._inner.flush())

    def _moved(self, pictures: Iterable[Any]) -> list[Any]:
        moved = []
        for picture in pictures:
            own = copy(picture)
            own.time_ns = picture.time_ns - self._offset_ns
            own.stop_ns = picture.stop_ns - self._offset_ns if picture.stop_ns else 0
            if own.time_ns >= 0:
                moved.append(own)
        return moved
