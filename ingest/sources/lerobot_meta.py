"""What a LeRobot dataset says of itself: episodes, features, and the files that hold them.

    v2.0, v2.1   meta/episodes.jsonl, meta/tasks.jsonl; one parquet and one mp4 per camera and episode
    v3.0         meta/episodes/*/*.parquet, meta/tasks.parquet; many episodes in a file, found by row and time

Paths come from templates in `meta/info.json`; they never lead out of the dataset's folder.

Source: github.com/huggingface/lerobot, "lerobot/datasets/utils.py" and "lerobot_dataset.py".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Any

from ingest.decoders.promised import MISFITS
from ingest.decoders.ros_columns import MOST_COLUMNS
from ingest.errors import CannotOpen
from ingest.timing import fraction_of

MOST_FPS = 1_000_000
INFO = Path("meta") / "info.json"
VERSIONS = ("v2.0", "v2.1", "v3.0")
MISSING_PACKAGE = "a LeRobot dataset: reading it needs pyarrow (pip install pyarrow)"
OWN_COLUMNS = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Columns that say where a row belongs; everything else is a feature of the robot."""


@dataclass(frozen=True)
class Camera:
    """Where one episode's pictures of one camera are."""

    path: Path
    from_seconds: float
    """When the episode begins in the file."""


@dataclass(frozen=True)
class Episode:
    """One episode, and where its rows and pictures are."""

    index: int
    length: int
    """Rows, as the dataset says."""
    data: Path
    cameras: Mapping[str, Camera]
    tasks: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Rows first, then the cameras' files in the order of their names."""
        return (self.data, *(self.cameras[name].path for name in sorted(self.cameras)))


@dataclass(frozen=True)
class LeRobotMeta:
    """A dataset's description."""

    root: Path
    version: str
    fps: Fraction
    robot_type: str
    features: Mapping[str, Mapping[str, Any]]
    episodes: tuple[Episode, ...]
    tasks: Mapping[int, str]

    def episode(self, index: int) -> Episode:
        """Return an episode.

        Raises:
            CannotOpen: there is none of this index.
        """
        for episode in self.episodes:
            if episode.index == index:
                return episode
        raise CannotOpen(f"the LeRobot dataset has no episode {index}")


def lerobot_version(folder: Path) -> str:
    """Return what `meta/info.json` says that a folder is; empty where it is no LeRobot dataset."""
    try:
        info = json.loads((folder / INFO).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    return str(info.get("codebase_version", "")) if isinstance(info, dict) else ""


def lerobot_root(path: Path) -> Path | None:
    """Return the LeRobot dataset that a file or folder is in; None where it is in none."""
    return next((folder for folder in (path, *path.parents) if (folder / INFO).is_file()), None)


def read_lerobot(root: Path) -> LeRobotMeta:
    """Read a dataset's description.

    Raises:
        CannotOpen: it is of a version that is not read, or something in it is missing.
    """
    return _read(root, (root / INFO).stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read(root: Path, _changed_ns: int) -> LeRobotMeta:
    try:
        info = json.loads((root / INFO).read_text("utf-8"))
        version = str(info["codebase_version"])
        if version not in VERSIONS:
            raise CannotOpen(f"a LeRobot dataset of version {version}: read are {', '.join(VERSIONS)}")
        fps = fraction_of(str(info["fps"]))
        if not (Fraction(1, 3600) <= fps <= MOST_FPS and fps.denominator <= MOST_FPS):
            raise CannotOpen(f"meta/info.json says {info['fps']!r:.40} frames per second")
        reader = _Version3(root, info) if version == "v3.0" else _Version2(root, info)
        return LeRobotMeta(
            root=root,
            version=version,
            fps=fps,
            robot_type=str(info.get("robot_type") or ""),
            features=info["features"],
            episodes=tuple(sorted(reader.episodes(), key=lambda episode: episode.index)),
            tasks=reader.tasks(),
        )
    except _MISFITS as error:
        words = f"{type(error).__name__}: {error}" if not isinstance(error, OSError) else "a file is missing"
        words = words.replace(str(root), "").strip()
        raise CannotOpen(f"the LeRobot dataset's meta folder can't be read ({words})") from error


_DIGITS = re.compile(r"(0?\d{1,2}d?)?")


_MISFITS = (*MISFITS, OSError, NotImplementedError)
"""The last is what pyarrow raises for a type that it does not read."""


class _Version2:
    """Episodes that have files of their own."""

    def __init__(self, root: Path, info: Mapping[str, Any]) -> None:
        self._root = root
        self._info = info

    def tasks(self) -> dict[int, str]:
        return {int(line["task_index"]): str(line["task"]) for line in self._lines("tasks.jsonl")}

    def episodes(self) -> Iterator[Episode]:
        info = self._info
        keys = video_keys(info["features"])
        for line in self._lines("episodes.jsonl"):
            index = int(line["episode_index"])
            names = {"episode_index": index, "episode_chunk": index // int(info["chunks_size"])}
            yield Episode(
                index=index,
                length=int(line["length"]),
                data=_place(self._root, info["data_path"], names),
                cameras={
                    key: Camera(_place(self._root, info["video_path"], {**names, "video_key": key}), 0.0)
                    for key in keys
                },
                tasks=tuple(str(task) for task in line.get("tasks", ())),
            )

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        for line in (self._root / "meta" / name).read_text("utf-8").splitlines():
            if line.strip():
                yield json.loads(line)


class _Version3:
    """Episodes that share files."""

    def __init__(self, root: Path, info: Mapping[str, Any]) -> None:
        self._root = root
        self._info = info

    def tasks(self) -> dict[int, str]:
        rows = _table(self._root / "meta" / "tasks.parquet").to_pylist()
        named = {}
        for row in rows:  # pandas keeps the text as its index, whatever that is called
            text = next(value for key, value in row.items() if key != "task_index")
            named[int(row["task_index"])] = str(text)
        return named

    def episodes(self) -> Iterator[Episode]:
        info = self._info
        keys = video_keys(info["features"])
        for path in sorted((self._root / "meta" / "episodes").rglob("*.parquet")):
            table = _table(path)
            table = table.select([name for name in table.column_names if not name.startswith("stats/")])
            for row in table.to_pylist():
                data = {"chunk_index": row["data/chunk_index"], "file_index": row["data/file_index"]}
                cameras = {}
                for key in keys:
                    place = {name: row[f"videos/{key}/{name}"] for name in ("chunk_index", "file_index")}
                    place["video_key"] = key
                    where = _place(self._root, info["video_path"], place)
                    cameras[key] = Camera(where, float(row[f"videos/{key}/from_timestamp"]))
                yield Episode(
                    index=int(row["episode_index"]),
                    length=int(row["length"]),
                    data=_place(self._root, info["data_path"], data),
                    cameras=cameras,
                    tasks=tuple(str(task) for task in row.get("tasks") or ()),
                )


def video_keys(features: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the features that are video files."""
    return sorted(name for name, feature in features.items() if feature["dtype"] == "video")


def _place(root: Path, template: str, names: Mapping[str, Any]) -> Path:
    """Fill a template in; it must stay below the root, and ask for nothing but numbers of a few digits."""
    for _, name, form, conversion in Formatter().parse(str(template)):
        if name is not None and (name not in names or conversion or not _DIGITS.fullmatch(form or "")):
            raise CannotOpen(f"meta/info.json has a path with a field that is not read: {template!r:.200}")
    relative = Path(str(template).format(**names))
    if relative.is_absolute() or ".." in relative.parts:
        raise CannotOpen(f"meta/info.json has a path that leaves the dataset: {template!r}")
    return root / relative


def _table(path: Path) -> Any:
    return parquet().read_table(path)


def parquet() -> Any:
    """Return pyarrow's parquet module.

    Raises:
        CannotOpen: it is not installed; says what to do.
    """
    try:
        from pyarrow import parquet as module
    except ImportError as error:
        raise CannotOpen(MISSING_PACKAGE) from error
    return module


def flat_names(feature: Mapping[str, Any], name: str) -> list[str]:
    """Return a column name per value of a feature: its own names where there are as many, else numbers.

    Names are a list, a list of lists, or a mapping of lists.

    Raises:
        ValueError: it has no values, or too many.
    """
    count = 1
    for edge in feature["shape"]:
        count *= int(edge)
    if not 1 <= count <= MOST_COLUMNS:
        raise ValueError(f"{count} values, and 1 to {MOST_COLUMNS} can be columns")

    def flat(value: Any) -> Iterator[str]:
        if isinstance(value, Mapping):
            value = list(value.values())
        if isinstance(value, Sequence) and not isinstance(value, str):
            for inner in value:
                yield from flat(inner)
        elif value is not None:
            yield str(value)

    names = list(flat(feature.get("names")))
    if len(names) == count and len(set(names)) == count and (count > 1 or names[0] != name):
        return names
    return [name] if count == 1 else [f"[{index}]" for index in range(count)]
