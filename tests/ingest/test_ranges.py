"""Files that are read by ranges give the bytes of files, in few requests, whoever reads."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.sources.mapped_file import mapped
from ingest.sources.ranges import FIRST_BYTES, KEPT, LARGEST_BYTES, RangeReader

DATA = bytes(range(251)) * 1200  # 301,200 bytes: several requests
LARGE = os.urandom(3 * LARGEST_BYTES)


class Counting:
    """Fetches ranges of some bytes, and counts them."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[tuple[int, int]] = []

    def __call__(self, start: int, stop: int) -> bytes:
        assert 0 <= start < stop <= len(self.data)
        self.asked.append((start, stop))
        return self.data[start:stop]


places = st.integers(0, len(DATA) + 1000)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), places),
        st.tuples(st.just("back"), st.integers(0, len(DATA))),
        st.tuples(st.just("read"), st.integers(-1, 200_000)),
    ),
    max_size=12,
)


@given(steps)
def test_it_reads_as_a_file_does(steps: list[tuple[str, int]]) -> None:
    """Any seeks and reads give what the same bytes in memory give, also behind the end."""
    ours, twin = RangeReader(Counting(DATA), len(DATA), "x"), io.BytesIO(DATA)
    for kind, number in steps:
        if kind == "read":
            assert ours.read(number) == twin.read(number)
        elif kind == "seek":
            assert ours.seek(number) == twin.seek(number)
        else:
            assert ours.seek(-number, os.SEEK_END) == twin.seek(-number, os.SEEK_END)
        assert ours.tell() == twin.tell()


def test_reading_on_asks_for_more_at_a_time() -> None:
    """64 KiB, then the double each time, up to 4 MiB: a whole file is few requests, each byte once."""
    fetch = Counting(LARGE)
    reader = RangeReader(fetch, len(LARGE), "x")
    assert b"".join(iter(lambda: reader.read(10_000), b"")) == LARGE
    sizes = [stop - start for start, stop in fetch.asked]
    assert sizes[:3] == [FIRST_BYTES, 2 * FIRST_BYTES, 4 * FIRST_BYTES]
    assert max(sizes) == LARGEST_BYTES
    assert sum(sizes) == len(LARGE)


def test_a_jump_asks_for_little() -> None:
    """As content ids and indexes do: 64 places cost 64 small requests, not 64 large ones."""
    fetch = Counting(LARGE)
    reader = RangeReader(fetch, len(LARGE), "x")
    for place in range(64):
        reader.seek(place * len(LARGE) // 64)
        reader.read(FIRST_BYTES)
    assert [stop - start for start, stop in fetch.asked] == [FIRST_BYTES] * 64


def test_two_places_may_be_read_in_turns() -> None:
    """Pictures and sound that lie far apart are both read on, and memory is bounded."""
    fetch = Counting(LARGE)
    reader = RangeReader(fetch, len(LARGE), "x")
    half = len(LARGE) // 2
    for at in range(0, half, 50_000):
        for base in (0, half):
            reader.seek(base + at)
            assert reader.read(50_000) == LARGE[base + at : base + at + 50_000]
    assert len(fetch.asked) < 30
    assert len(reader._kept) <= KEPT


def test_threads_may_ask_for_stretches() -> None:
    """Each gets its own, as a map of the file would give."""
    reader = RangeReader(Counting(LARGE), len(LARGE), "x")
    found: dict[int, bool] = {}

    def read(number: int) -> None:
        for at in range(number * 1000, len(LARGE) - 100_000, 700_001):
            found[at] = mapped(reader, at, 100_000) == LARGE[at : at + 100_000]

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) > 40
    assert all(found.values())


def test_it_cannot_go_before_the_beginning() -> None:
    """As a file."""
    with pytest.raises(OSError, match="before the file's first byte"):
        RangeReader(Counting(DATA), len(DATA), "x").seek(-1)


def test_what_fetching_raises_is_passed_on(tmp_path: Path) -> None:
    """Nothing is taken for the end of the file."""

    def fails(start: int, stop: int) -> bytes:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        RangeReader(fails, 10, "x").read()
