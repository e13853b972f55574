"""No byte can change unseen: each is flipped where a reader might not look, and some of those where it would.

`tests/faults/every_byte.py` does it for all bytes of a dataset; here, for the smallest files, for some of
what stands between a shard's data, and for a few of the rest.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_dataset import VIDEO, Task, content_id, run_task, write_part
from test_verify import flip

from shards import DatasetFolder, verify_dataset

EVERY = {"fifth.json.sha256": 1, "shards/video-000000.tar.idx": 1, "shards/video-000000.tar": 61}
"""How far apart the flipped bytes are; 151 in all other files."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two samples, in one shard."""
    folder = DatasetFolder(tmp_path_factory.mktemp("small") / "dataset")
    folder.create()
    task = Task(VIDEO, {"a.mp4": range(1, 3)})
    write_part(folder, {0: task})
    run_task(folder, 0, task)
    folder.finish()
    assert content_id("a.mp4") in folder.record_path(0).read_text()
    return folder.path


def between_data(folder: Path) -> list[int]:
    """Places in the tar that are no data of a member: the ends and some of each header, padding, the end."""
    rows = np.load(folder / "shards" / "video-000000.samples.npy")
    size_bytes = (folder / "shards" / "video-000000.tar").stat().st_size
    places = set(range(size_bytes))
    for row in rows:
        for name in [name for name in rows.dtype.names if name.endswith(":offset")]:
            start = int(row[name])
            places -= set(range(start, start + int(row[name.replace(":offset", ":size")])))
    assert len(places) > 8 * 512
    return sorted(places)[::29]


def test_each_flipped_byte_is_found_and_named(small: Path) -> None:
    """Whatever file it is in, verify says that this file is not the one that was written."""
    for path in sorted(file for file in small.rglob("*") if file.is_file() and file.name != ".lock"):
        name = path.relative_to(small).as_posix()
        places = set(range(0, path.stat().st_size, EVERY.get(name, 151)))
        if path.suffix == ".tar":
            places |= set(between_data(small))
        for place in sorted(places):
            flip(path, place, place % 8)
            problems = verify_dataset(small)
            flip(path, place, place % 8)
            changed = {problem.file for problem in problems if problem.kind == "changed"}
            assert name in changed, f"byte {place} of {name}: {problems}"
    assert verify_dataset(small) == []
