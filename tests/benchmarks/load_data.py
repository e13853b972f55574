"""The same token samples in every loader's own form. Each is made by the process that has its package."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Json = dict[str, Any]
CLIP_NS = 4 * 10**9
SHARD_BYTES = 48 << 20


@dataclass(frozen=True)
class Load:
    """What is loaded."""

    name: str
    codes: int
    samples: int

    @property
    def per_shard(self) -> int:
        """Samples of one shard."""
        return max(1, min(-(-self.samples // 8), SHARD_BYTES // (2 * self.codes + 2048)))

    def chunks(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield, shard by shard, the number of the first sample and the codes, uint16 [samples, codes]."""
        for shard, first in enumerate(range(0, self.samples, self.per_shard)):
            random = np.random.default_rng(shard)
            count = min(self.per_shard, self.samples - first)
            yield first, random.integers(0, 1 << 14, (count, self.codes), dtype=np.uint16)


def make_fifth(folder: Path, load: Load) -> None:
    """A dataset of ours; webdataset, Energon and Hugging Face read it too."""
    from shards import DatasetFolder, ShardWriter, recording_number, sample_key, shard_name

    spec = {"encoder": "made", "kind": "codes", "strides": [1], "codebook_sizes": [1 << 14]}
    layout: Json = {
        "name": "video",
        "members": [{"name": "json"}, {"name": "video.tokens.npy", "dtype": "uint16", "shape": [None]}],
        "tracks": [{"name": "video", "medium": "pictures", "rate": "256/1", "columns": [], "details": {},
                    "spec": spec}],
    }  # fmt: skip
    dataset = DatasetFolder(folder)
    dataset.create()
    lines: list[Json] = [
        {"kind": "part", "part": 0, "format": 1, "fifth": "0", "configuration": {},
         "configuration_digest": "0" * 64},
        {"kind": "layout", "layout": layout},
    ]  # fmt: skip
    tasks = []
    for number, (first, codes) in enumerate(load.chunks()):
        name = f"recording{number}.mp4"
        content = hashlib.sha256(name.encode()).hexdigest()
        lines.append(
            {"kind": "recording", "recording": name, "id": content, "size_bytes": 1, "status": "planned",
             "duplicate_of": "", "layout": "video", "origin_ns": 0, "stop_ns": len(codes) * CLIP_NS,
             "clips": len(codes), "info": {}, "replaces": []}
        )  # fmt: skip
        clips = [{"id": content, "first": 0, "count": len(codes)}]
        tasks.append({"kind": "task", "task": number, "layout": "video", "clips": clips})
        with ShardWriter(dataset.shards_folder, shard_name("video", number), layout) as writer:
            for clip, sample in enumerate(codes):
                span = {"start_ns": clip * CLIP_NS, "stop_ns": (clip + 1) * CLIP_NS}
                track = {"valid": load.codes, "grid_start_ns": clip * CLIP_NS, "sample": first + clip}
                recording = recording_number(content)
                writer.add(
                    sample_key(recording, clip * CLIP_NS),
                    ({"recording": name, "id": content, **span, "tracks": {"video": track}}, sample),
                    recording_id=recording,
                    tokens={"video": load.codes},
                    valid={"video": load.codes},
                    **span,
                )
            figures = writer.close()
        assert figures is not None
        done = {
            "id": content,
            "clips": len(codes),
            "samples": len(codes),
            "seconds_ns": len(codes) * 4 * 10**9,
        }
        dataset.write_record(
            number,
            {"task": number, "layout": "video", "part": 0, "shard": figures.to_json(), "recordings": [done],
             "failures": [], "notes": [], "counts": {"clips_without_content": 0, "saturated": {}}},
        )  # fmt: skip
    dataset.write_plan_part([*lines, *tasks])
    dataset.finish()


def make_memmap(folder: Path, load: Load) -> None:
    """The codes and nothing else."""
    folder.mkdir(parents=True)
    with (folder / "tokens.bin").open("wb") as file:
        for _, codes in load.chunks():
            codes.tofile(file)


def make_litdata(folder: Path, load: Load) -> None:
    """Chunks as `litdata.optimize` writes them."""
    from litdata.streaming.writer import BinaryWriter

    folder.mkdir(parents=True)
    writer = BinaryWriter(str(folder), chunk_bytes=SHARD_BYTES)
    for first, codes in load.chunks():
        for number, sample in enumerate(codes, first):
            writer.add_item(number, {"tokens": sample, "sample": number})
    writer.done()
    writer.merge()


def make_mosaicml(folder: Path, load: Load) -> None:
    """MDS, MosaicML Streaming's own form."""
    from load_variants import stand_in_for_torchvision

    stand_in_for_torchvision()
    from streaming import MDSWriter

    columns = {"tokens": f"ndarray:uint16:{load.codes}", "sample": "int"}
    with MDSWriter(out=str(folder), columns=columns, size_limit=SHARD_BYTES) as writer:
        for first, codes in load.chunks():
            for number, sample in enumerate(codes, first):
                writer.write({"tokens": sample, "sample": number})


FORMS: dict[str, Callable[[Path, Load], None]] = {
    "fifth": make_fifth,
    "memmap": make_memmap,
    "litdata": make_litdata,
    "mosaicml": make_mosaicml,
}


def make(form: str, parent: Path, load: Load) -> Path:
    """Make a form of the samples, once; return its folder."""
    folder = parent / f"{load.name}-{load.samples}" / form
    done = folder.parent / f"{form}.json"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        FORMS[form](folder, load)
        done.write_text(json.dumps({"codes": load.codes, "samples": load.samples}))
    return folder
