"""Reading ahead in threads: the same values in the same order, bounded, and nothing left running."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_bags import START_NS
from made_bags import open_bag as make_bag

from ingest.opening import open_recording
from ingest.sources.mapped_file import mapped
from ingest.sources.read_ahead import AHEAD_BYTES, ReadAhead


@given(
    asked=st.lists(st.booleans(), min_size=1, max_size=30), threads=st.integers(1, 4), late=st.integers(0, 3)
)
@settings(max_examples=30)
def test_answers_are_those_of_one_thread(asked: list[bool], threads: int, late: int) -> None:
    """Whatever keys are left out, and whichever thread is slow, each key gets its own value."""

    def read(key: int) -> int:
        if key % 4 == late:
            time.sleep(0.0005)
        return key * key

    with ReadAhead(range(len(asked)), read, lambda _: 1, threads) as ahead:
        wanted = [key for key, is_asked in enumerate(asked) if is_asked]
        assert [ahead.take(key) for key in wanted] == [key * key for key in wanted]
        assert ahead.take(1000) == 1_000_000  # not announced


def _size(size_bytes: int, value: int) -> int:
    return size_bytes


def test_no_more_is_read_ahead_than_there_is_room_for() -> None:
    """At most as many values as threads wait, and of large ones fewer; with one thread none."""
    for threads, size_bytes, most in (
        (1, 1, 0),
        (3, 1, 3),
        (3, AHEAD_BYTES // 2, 2),
        (3, 2 * AHEAD_BYTES, 0),
    ):
        begun: list[int] = []

        def read(key: int, begun: list[int] = begun) -> int:
            begun.append(key)
            return key

        with ReadAhead(range(100), read, partial(_size, size_bytes), threads) as ahead:
            for key in range(20):
                assert ahead.take(key) == key
            time.sleep(0.02)  # whoever has begun comes to an end
            assert len(begun) <= 20 + max(most, threads if threads > 1 else 0)
            if not most:
                before = len(begun)
                ahead.take(20 + threads)
                assert len(begun) == before + 1


def test_errors_come_where_they_belong() -> None:
    """What a key's reading raises is raised when that key is asked for, and later ones still come."""

    def read(key: int) -> int:
        if key == 2:
            raise OSError("bad sector")
        return key

    with ReadAhead(range(5), read, lambda _: 1, 2) as ahead:
        assert [ahead.take(0), ahead.take(1)] == [0, 1]
        with pytest.raises(OSError, match="bad sector"):
            ahead.take(2)
        assert [ahead.take(3), ahead.take(4)] == [3, 4]


@pytest.mark.parametrize("kind", ["mcap zstd", "bag lz4"])
def test_bags_are_the_same_in_threads(tmp_path: Path, kind: str) -> None:
    """Every packet of a bag of many chunks, as with one thread; none is left when it is closed half way."""
    ending, compression = kind.split()
    path = tmp_path / ("run" if ending == "mcap" else "run.bag")
    noise = np.random.default_rng(1).integers(0, 4, 150_000, np.uint8)
    with make_bag(path, compression=compression) as bag:
        for k in range(40):
            fields = {"height": 250, "width": 200, "encoding": "rgb8", "step": 600, "data": np.roll(noise, k)}
            bag.write("/camera", "sensor_msgs/msg/Image", START_NS + k * 10**7, **fields)
    found = []
    for threads in (1, 3):
        with open_recording(path, threads=threads) as source:
            recording = source.probe()
            packets = source.read(recording.tracks, recording.origin_ns, recording.stop_ns, print)
            found.append([(packet.time_ns, bytes(packet.data)) for packet in packets])
            again = source.read(recording.tracks, recording.origin_ns, recording.stop_ns, print)
            next(iter(again))
            del again
    assert found[0] == found[1]
    assert len(found[0]) == 40
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("unpack")]


@given(st.integers(0, 200_000), st.integers(1, 100_000))
@settings(max_examples=20)
def test_a_map_is_the_files_bytes(offset: int, size_bytes: int) -> None:
    """From any offset on, a map holds what the file holds there, read-only; a file too short is an error."""
    import tempfile

    content = np.arange(75_000, dtype=np.uint32).tobytes()
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        if offset + size_bytes > len(content):
            with pytest.raises(OSError, match="any more"):
                mapped(file, len(content), 2**20)
            return
        view = mapped(file, offset, size_bytes)
        assert bytes(view) == content[offset : offset + size_bytes]
        assert view.readonly
