"""Writing a LeRobot dataset, version 3.0: one parquet and one mp4 per camera and episode.

    meta/info.json  meta/stats.json  meta/tasks.parquet
    meta/episodes/chunk-000/file-000.parquet           one row per episode
    data/chunk-CCC/file-FFF.parquet                    one row per step
    videos/FEATURE/chunk-CCC/file-FFF.mp4

Source: github.com/huggingface/lerobot 0.4, "lerobot/datasets/utils.py" and "lerobot_dataset.py".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ingest.errors import WrongUse

CHUNK_FILES = 1000
"""Files per folder."""
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
OWN_FEATURES = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


@dataclass(frozen=True)
class Feature:
    """One feature of the dataset."""

    name: str
    columns: tuple[str, ...] = ()
    """Of values."""
    size: int = 0
    """Edge of the square pictures; 0 for values."""


@dataclass
class _Sums:
    """Running figures of one feature: over steps, per column or colour."""

    count: int = 0
    low: Any = None
    high: Any = None
    total: Any = 0.0
    squares: Any = 0.0

    def add(self, values: np.ndarray) -> None:
        """Take in float64 [N, D]."""
        low, high = values.min(axis=0), values.max(axis=0)
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)
        self.count += len(values)
        self.total = self.total + values.sum(axis=0)
        self.squares = self.squares + (values**2).sum(axis=0)

    def join(self, other: _Sums) -> None:
        """Take in another's steps."""
        self.low = other.low if self.low is None else np.minimum(self.low, other.low)
        self.high = other.high if self.high is None else np.maximum(self.high, other.high)
        self.count += other.count
        self.total, self.squares = self.total + other.total, self.squares + other.squares

    def figures(self, *, pictures: bool) -> dict[str, Any]:
        """Return min, max, mean, std and count as the format has them: pictures as [3][1][1]."""
        mean = self.total / self.count
        std = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0))
        found = {"min": self.low, "max": self.high, "mean": mean, "std": std}
        shape = (-1, 1, 1) if pictures else (-1,)
        return {**{k: np.reshape(v, shape).tolist() for k, v in found.items()}, "count": [self.count]}


@dataclass
class _Episode:
    """The episode that is being written."""

    values: dict[str, list[np.ndarray]]
    videos: dict[str, _Video]
    tasks: list[str] = field(default_factory=list)
    """Per step."""
    sums: dict[str, _Sums] = field(default_factory=dict)


class LeRobotWriter:
    """Writes episodes, step by step.

    Args:
        root: an empty folder.
        fps: steps per second.
        features: values and pictures.
        robot_type: what the robot is called.
    """

    def __init__(self, root: Path, fps: int, features: Sequence[Feature], robot_type: str) -> None:
        self._root = root
        self._fps = fps
        self._features = list(features)
        self._robot_type = robot_type
        self._episode: _Episode | None = None
        self._rows: list[dict[str, Any]] = []
        self._tasks: dict[str, int] = {}
        self._sums: dict[str, _Sums] = {feature.name: _Sums() for feature in features}
        self._frames = 0

    @property
    def episode_count(self) -> int:
        """Episodes that are complete."""
        return len(self._rows)

    @property
    def step_count(self) -> int:
        """Steps of all complete episodes."""
        return self._frames

    def add(
        self, values: Mapping[str, np.ndarray], frames: Mapping[str, np.ndarray], tasks: Sequence[str]
    ) -> None:
        """Add steps that follow the last ones without a break.

        Args:
            values: per feature float32 [N, D].
            frames: per feature uint8 [N, 3, H, W].
            tasks: per step, the text that holds.
        """
        if self._episode is None:
            place = self._place(len(self._rows))
            videos = {
                f.name: _Video(self._root / VIDEO_PATH.format(video_key=f.name, **place), self._fps, f.size)
                for f in self._features
                if f.size
            }
            sums = {feature.name: _Sums() for feature in self._features}
            self._episode = _Episode({f.name: [] for f in self._features if not f.size}, videos, [], sums)
        for name, rows in values.items():
            self._episode.values[name].append(rows)
            self._episode.sums[name].add(rows.astype(np.float64))
        for name, pictures in frames.items():
            self._episode.videos[name].add(pictures)
            colours = pictures[:, :, ::4, ::4].astype(np.float64) / 255  # every 16th pixel, for the figures
            self._episode.sums[name].add(colours.transpose(0, 2, 3, 1).reshape(-1, 3))
        self._episode.tasks += tasks

    def end_episode(self) -> None:
        """What comes next is another episode."""
        if self._episode is None:
            return
        episode, self._episode = self._episode, None
        index, count = len(self._rows), len(episode.tasks)
        for video in episode.videos.values():
            video.close()
        place = self._place(index)
        self._write_steps(self._root / DATA_PATH.format(**place), episode, index)
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": list(dict.fromkeys(episode.tasks)),
            "length": count,
            "data/chunk_index": place["chunk_index"],
            "data/file_index": place["file_index"],
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + count,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for name in episode.videos:
            row |= {f"videos/{name}/{key}": value for key, value in place.items()}
            row |= {f"videos/{name}/from_timestamp": 0.0, f"videos/{name}/to_timestamp": count / self._fps}
        for feature in self._features:
            sums = episode.sums[feature.name]
            self._sums[feature.name].join(sums)
            figures = sums.figures(pictures=bool(feature.size))
            row |= {f"stats/{feature.name}/{key}": value for key, value in figures.items()}
        self._rows.append(row)
        self._frames += count

    def _place(self, index: int) -> dict[str, int]:
        return {"chunk_index": index // CHUNK_FILES, "file_index": index % CHUNK_FILES}

    def _write_steps(self, path: Path, episode: _Episode, index: int) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        count = len(episode.tasks)
        steps = np.arange(count)
        numbers = [self._tasks.setdefault(task, len(self._tasks)) for task in episode.tasks]
        columns: dict[str, Any] = {}
        for name, parts in episode.values.items():
            values = np.concatenate(parts).astype(np.float32)
            flat = pa.array(values.reshape(-1))
            width = values.shape[1]
            columns[name] = flat if width == 1 else pa.FixedSizeListArray.from_arrays(flat, width)
        columns["timestamp"] = pa.array((steps / self._fps).astype(np.float32))
        columns["frame_index"] = pa.array(steps)
        columns["episode_index"] = pa.array(np.full(count, index))
        columns["index"] = pa.array(self._frames + steps)
        columns["task_index"] = pa.array(np.array(numbers, np.int64))
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table(columns), path)

    def close(self) -> None:
        """Write what describes the episodes.

        Raises:
            WrongUse: there is none.
        """
        import pyarrow as pa
        from pyarrow import parquet

        self.end_episode()
        if not self._rows:
            raise WrongUse("no step has a picture and a value of every track: nothing to export")
        meta = self._root / "meta"
        (meta / "episodes" / "chunk-000").mkdir(parents=True)
        parquet.write_table(pa.Table.from_pylist(self._rows), meta / "episodes/chunk-000/file-000.parquet")
        parquet.write_table(_tasks_table(list(self._tasks)), meta / "tasks.parquet")
        stats = {f.name: self._sums[f.name].figures(pictures=bool(f.size)) for f in self._features}
        _write_json(meta / "stats.json", stats)
        _write_json(meta / "info.json", self._info())

    def _info(self) -> dict[str, Any]:
        features = {feature.name: self._described(feature) for feature in self._features}
        features |= {n: {"dtype": d, "shape": [1], "names": None} for n, d in OWN_FEATURES.items()}
        has_video = any(feature.size for feature in self._features)
        return {
            "codebase_version": "v3.0",
            "robot_type": self._robot_type,
            "total_episodes": len(self._rows),
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": CHUNK_FILES,
            "data_files_size_in_mb": 100,
            "video_files_size_in_mb": 200,
            "fps": self._fps,
            "splits": {"train": f"0:{len(self._rows)}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if has_video else None,
            "features": features,
        }

    def _described(self, feature: Feature) -> dict[str, Any]:
        if not feature.size:
            return {"dtype": "float32", "shape": [len(feature.columns)], "names": list(feature.columns)}
        info = {"height": feature.size, "width": feature.size, "codec": "h264", "pix_fmt": "yuv420p"}
        info |= {"is_depth_map": False, "fps": self._fps, "channels": 3}
        return {
            "dtype": "video",
            "shape": [feature.size, feature.size, 3],
            "names": ["height", "width", "channels"],
            "info": {**{f"video.{key}": value for key, value in info.items()}, "has_audio": False},
        }


class _Video:
    """One camera's pictures of one episode, as H.264."""

    def __init__(self, path: Path, fps: int, size: int) -> None:
        import av

        path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(f"file:{path}", "w", format="mp4")
        self._stream: Any = self._container.add_stream(
            "libx264", rate=fps, options={"crf": "16", "preset": "fast", "g": "2"}
        )
        self._stream.width = self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.max_b_frames = 0
        self._stream.codec_context.thread_count = 1
        self._count = 0

    def add(self, pictures: np.ndarray) -> None:
        """Add uint8 [N, 3, H, W]."""
        import av

        for picture in pictures:
            rgb = np.ascontiguousarray(picture.transpose(1, 2, 0))
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = self._count
            self._count += 1
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


def _tasks_table(tasks: Sequence[str]) -> Any:
    """Return the table of tasks as pandas writes one whose index is the text."""
    import pyarrow as pa

    kinds = [("task_index", "int64"), ("__index_level_0__", "unicode")]
    columns = [
        {"name": None if name.startswith("__") else name, "field_name": name, "pandas_type": kind,
         "numpy_type": "object" if kind == "unicode" else kind, "metadata": None}
        for name, kind in kinds
    ]  # fmt: skip
    pandas = {
        "index_columns": ["__index_level_0__"],
        "column_indexes": [],
        "columns": columns,
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": np.arange(len(tasks)), "__index_level_0__": pa.array(tasks, pa.string())})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=4) + "\n", "utf-8")
