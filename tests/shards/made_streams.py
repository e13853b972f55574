"""Datasets to stream, and a slow, obvious way of streaming them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from made_dataset import EVERYTHING, VIDEO, Task, run_task, write_part

from shards import DatasetFolder, TokenStream, Vocabulary, open_dataset
from shards.reader import Sample
from shards.streaming.torch_bridge import Place


def write_recordings(path: Path, tasks: Sequence[Task], finish: bool = True) -> Path:
    """Write a dataset of these tasks, one shard each."""
    folder = DatasetFolder(path)
    folder.create()
    numbered = dict(enumerate(tasks))
    write_part(folder, numbered)
    for number, task in numbered.items():
        run_task(folder, number, task)
    if finish:
        folder.finish()
    return path


def add_recordings(path: Path, tasks: Sequence[Task], first: int) -> None:
    """Append tasks to a dataset."""
    folder = DatasetFolder(path)
    numbered = dict(enumerate(tasks, first))
    part = write_part(folder, numbered)
    for number, task in numbered.items():
        run_task(folder, number, task, part)
    folder.finish()


def video_dataset(path: Path, sizes: Sequence[int]) -> Path:
    """Write a dataset of video alone, with one recording and one shard per size."""
    return write_recordings(path, [Task(VIDEO, {f"{n}.mp4": range(size)}) for n, size in enumerate(sizes)])


def mixed_dataset(path: Path) -> Path:
    """Write a dataset of two layouts; one recording lies in two shards, and two in one."""
    tasks = [
        Task(EVERYTHING, {"a.mp4": range(5), "b.bag": range(4)}),
        Task(EVERYTHING, {"b.bag": range(4, 9)}),
        Task(VIDEO, {"c.mkv": range(7)}),
        Task(VIDEO, {"d.mkv": range(3)}),
        Task(EVERYTHING, {"e.bag": range(1)}),
    ]
    return write_recordings(path, tasks)


@contextmanager
def as_worker(number: int, count: int) -> Iterator[None]:
    """Let streams believe that they iterate in a worker of a `DataLoader`."""
    with mock.patch("shards.streaming.token_stream.worker_of_process", return_value=Place(number, count)):
        yield


def taken_from(stream: TokenStream, workers: int, count: int) -> list[Any]:
    """Return the first so many things, as a `DataLoader` with so many workers gives them."""
    if not workers:
        return [thing for _, thing in zip(range(count), stream, strict=False)]
    iterators = []
    for worker in range(workers):
        with as_worker(worker, workers):
            iterators.append(iter(stream))
    things: list[Any] = []
    while len(things) < count:
        turn = len(things) % workers
        with as_worker(turn, workers):
            thing = next(iterators[turn], None)
        if thing is None:
            break
        things.append(thing)
    return things


def rows_of(batch: dict[str, Any], fields: Sequence[str]) -> list[Any]:
    """Return a batch row by row, without the padding: comparable whoever made it."""
    found = []
    for row in range(len(batch["dataset"])):
        values = [(int(batch["dataset"][row]), int(batch["item"][row]))]
        for field in fields:
            length = int(batch[f"{field}.length"][row])
            assert not np.asarray(batch[field][row, length:]).any(), "padding must be zeros"
            values.append(np.asarray(batch[field][row, :length]).tolist())
        found.append(values)
    return found


def samples_in_order(path: Path) -> list[Sample]:
    """Return all samples of a dataset: item k of a stream over everything is sample k."""
    return list(open_dataset(path).samples())


def interleaved(
    sample: Sample, tracks: Sequence[str], vocabulary: Vocabulary, slot_ns: int, layout: Any
) -> list[int]:
    """Return the ids of one clip, code by code: the slow twin of `shards.streaming.interleaving`."""
    length_ns = sample.stop_ns - sample.start_ns
    slots: list[dict[str, list[int]]] = [{} for _ in range(-(-length_ns // slot_ns))]
    for track in tracks:
        if not sample.tokens[track]:
            continue
        for slot in slots:
            slot[track] = []
        for begin_ns, codes in steps_of(sample, track, layout):
            number = min(max(begin_ns // slot_ns, 0), len(slots) - 1)
            offsets = vocabulary.offsets(track)
            slots[number][track] += [code + offsets[k % len(offsets)] for k, code in enumerate(codes)]
    ids = [vocabulary.begin_clip]
    for slot in slots:
        for track, codes in slot.items():
            ids += [vocabulary.begin(track), *codes, vocabulary.end(track)]
    return [*ids, vocabulary.end_clip]


def steps_of(sample: Sample, track: str, layout: Any) -> Iterator[tuple[int, list[int]]]:
    """Yield when each step begins, and its codes."""
    codes = sample.arrays[f"{track}.tokens"]
    described = layout.track(track)
    offsets = sample.arrays.get(f"{track}.offsets")
    times = sample.arrays.get(f"{track}.times")
    steps = len(codes) if offsets is None else len(offsets) - 1
    stride = (described["spec"].get("strides") or [1])[0] or 1
    for step in range(steps):
        mine = codes[step] if offsets is None else codes[offsets[step] : offsets[step + 1]]
        if times is not None:
            begin_ns = int(times[min(step * stride, len(times) - 1)])
        else:
            rate = int(described["rate"].partition("/")[0])
            begin_ns = -(-step * stride * 10**9 // rate)
        yield begin_ns, mine.reshape(-1).tolist()
