"""LeRobot datasets whose answer is known, in both layouts: v2.1 (a file per episode), v3.0 (shared files).

Row k of episode e is at k / fps; its card is 100 e + k, its state (k / 10, -k), its action 2 k, and from the
middle on its task is the second one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pyarrow as pa
from made_cards import draw_card
from made_video import Pictures, write_video
from pyarrow import parquet

CAMERA = "observation.images.top"
TASKS = ("pick it up", "put it down")


@dataclass(frozen=True)
class Robot:
    """What the dataset holds."""

    root: Path
    version: str = "v2.1"
    lengths: tuple[int, ...] = (20, 13, 24)
    """Rows per episode."""
    fps: int = 10
    late_seconds: float = 0.0
    """Added to each row's stamp once more than to the one before it."""

    def rows(self, episode: int) -> list[dict[str, Any]]:
        """Return an episode's rows."""
        count, before = self.lengths[episode], sum(self.lengths[:episode])
        return [
            {
                "observation.state": [k / 10, -float(k)],
                "action": [2.0 * k],
                "next.done": k == count - 1,
                "timestamp": k / self.fps + k * self.late_seconds,
                "frame_index": k,
                "episode_index": episode,
                "index": before + k,
                "task_index": int(k >= count // 2),
            }
            for k in range(count)
        ]


SCHEMA = pa.schema(
    [
        ("observation.state", pa.list_(pa.float32(), 2)),
        ("action", pa.list_(pa.float32(), 1)),
        ("next.done", pa.bool_()),
        ("timestamp", pa.float32()),
        *((name, pa.int64()) for name in ("frame_index", "episode_index", "index", "task_index")),
    ]
)


def write_lerobot(robot: Robot) -> Robot:
    """Write the dataset."""
    shared = robot.version == "v3.0"
    (robot.root / "meta").mkdir(parents=True)
    _write_info(robot, shared)
    (_write_v3 if shared else _write_v2)(robot)
    return robot


def _write_info(robot: Robot, shared: bool) -> None:
    place = "chunk-{chunk_index:03d}/file-{file_index:03d}"
    own = "chunk-{episode_chunk:03d}/episode_{episode_index:06d}"
    chunk, _, name = own.partition("/")
    video = f"videos/{{video_key}}/{place}.mp4" if shared else f"videos/{chunk}/{{video_key}}/{name}.mp4"

    def feature(dtype: str, *shape: int, names: Any = None) -> dict[str, Any]:
        return {"dtype": dtype, "shape": list(shape), "names": names}

    info = {
        "codebase_version": robot.version,
        "robot_type": "made",
        "total_episodes": len(robot.lengths),
        "chunks_size": 1000,
        "fps": robot.fps,
        "data_path": f"data/{place if shared else own}.parquet",
        "video_path": video,
        "features": {
            "observation.state": feature("float32", 2, names=["lift", "turn"]),
            "action": feature("float32", 1, names={"motors": ["grip"]}),
            CAMERA: feature("video", 96, 160, 3, names=["height", "width", "channel"]),
            "next.done": feature("bool", 1),
            "timestamp": feature("float32", 1),
            **{name: feature("int64", 1) for name in ("frame_index", "episode_index", "index", "task_index")},
        },
    }
    (robot.root / "meta" / "info.json").write_text(json.dumps(info))


def _video(path: Path, robot: Robot, episodes: list[int]) -> None:
    numbers = [100 * e + k for e in episodes for k in range(robot.lengths[e])]
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = Pictures(
        len(numbers), Fraction(robot.fps), 160, 96, keyframe_every=6,
        draw=lambda k, width, height: draw_card(numbers[k], width, height),
    )  # fmt: skip
    write_video(path, pictures)


def _parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows, SCHEMA), path)


def _write_v2(robot: Robot) -> None:
    lines = []
    for episode, length in enumerate(robot.lengths):
        name = f"episode_{episode:06d}"
        _parquet(robot.root / "data" / "chunk-000" / f"{name}.parquet", robot.rows(episode))
        _video(robot.root / "videos" / "chunk-000" / CAMERA / f"{name}.mp4", robot, [episode])
        lines.append(json.dumps({"episode_index": episode, "tasks": list(TASKS), "length": length}))
    (robot.root / "meta" / "episodes.jsonl").write_text("\n".join(lines) + "\n")
    tasks = [json.dumps({"task_index": k, "task": task}) for k, task in enumerate(TASKS)]
    (robot.root / "meta" / "tasks.jsonl").write_text("\n".join(tasks) + "\n")


def _write_v3(robot: Robot) -> None:
    episodes = list(range(len(robot.lengths)))
    _parquet(robot.root / "data/chunk-000/file-000.parquet", [r for e in episodes for r in robot.rows(e)])
    _video(robot.root / f"videos/{CAMERA}/chunk-000/file-000.mp4", robot, episodes)
    rows = []
    for episode in episodes:
        before = sum(robot.lengths[:episode])
        rows.append(
            {
                "episode_index": episode,
                "tasks": list(TASKS),
                "length": robot.lengths[episode],
                "data/chunk_index": 0,
                "data/file_index": 0,
                "dataset_from_index": before,
                "dataset_to_index": before + robot.lengths[episode],
                f"videos/{CAMERA}/chunk_index": 0,
                f"videos/{CAMERA}/file_index": 0,
                f"videos/{CAMERA}/from_timestamp": before / robot.fps,
                f"videos/{CAMERA}/to_timestamp": (before + robot.lengths[episode]) / robot.fps,
                "stats/action/min": [0.0],
            }
        )
    folder = robot.root / "meta" / "episodes" / "chunk-000"
    folder.mkdir(parents=True)
    parquet.write_table(pa.Table.from_pylist(rows), folder / "file-000.parquet")
    table = pa.table({"task_index": [0, 1], "__index_level_0__": list(TASKS)})
    parquet.write_table(table, robot.root / "meta" / "tasks.parquet")


def decoded_cards(path: Path) -> int:
    """Return how many frames a video has, by decoding all of it."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))
