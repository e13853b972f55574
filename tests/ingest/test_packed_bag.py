"""Bags packed as a whole file are what they are unpacked; what damage leaves is used."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tempfile
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
from backports import zstd
from made_bags import START_NS, open_bag

from ingest.errors import CannotOpen
from ingest.opening import open_recording
from ingest.recording import Recording
from ingest.sources import packed_bag

PACK: dict[str, Callable[[bytes], bytes]] = {
    "zstd": zstd.compress, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress,
    "lz4": lz4.frame.compress,
}  # fmt: skip


def made(path: Path) -> Path:
    """Write a bag of 200 numbers."""
    with open_bag(path) as bag:
        for k in range(200):
            bag.write("/level", "std_msgs/msg/Float32", START_NS + k * 1_000_000, data=k)
    return path


def probed(path: Path) -> Recording:
    with open_recording(path) as source:
        return source.probe()


@pytest.mark.parametrize("ending", PACK)
@pytest.mark.parametrize("kind", ["mcap", "bag", "db3"])
def test_a_packed_bag_is_the_bag(
    tmp_path: Path, kind: str, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same tracks, and the same values at the end; the temporary file leaves no trace."""
    plain = made(tmp_path / f"a.{kind}")
    packed = tmp_path / f"a.{kind}.{ending}"
    packed.write_bytes(PACK[ending](plain.read_bytes()))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    expected = probed(plain)
    with open_recording(packed) as source:
        found = source.probe()
        assert list((tmp_path / "temporary").iterdir()) == []
        assert found.tracks == expected.tracks
        (track,) = found.tracks
        decoder = source.decoder(track)
        start_ns = START_NS + 190 * 1_000_000
        rows = [
            row
            for packet in source.read([track], start_ns, found.stop_ns, lambda _: None)
            for row in decoder.decode(packet)
        ]
        rows += decoder.flush()
    assert rows[-1].values[-1, 0] == 199  # type: ignore[union-attr]


def test_a_packed_bag_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened again, it is not unpacked again; other content under its name is unpacked anew."""
    opened: list[Path] = []
    name, plain_open = packed_bag.PACKINGS[b"\x1f\x8b"]

    def counted(path: Path) -> object:
        opened.append(path)
        return plain_open(path)

    monkeypatch.setitem(packed_bag.PACKINGS, b"\x1f\x8b", (name, counted))
    packed = tmp_path / "a.mcap.gz"
    packed.write_bytes(gzip.compress(made(tmp_path / "a.mcap").read_bytes()))
    found = [probed(packed) for _ in range(3)]
    assert found[0] == found[1] == found[2]
    assert len(opened) == 1
    other = made(tmp_path / "b.mcap").read_bytes()
    packed.write_bytes(gzip.compress(other[: len(other) // 2]))
    assert probed(packed) != found[0]
    assert len(opened) == 2


def test_what_comes_before_the_damage_is_used(tmp_path: Path) -> None:
    """A packed file that was cut short gives its first messages, and a failure that says so."""
    data = made(tmp_path / "a.mcap").read_bytes()
    packed = tmp_path / "b.mcap.zstd"
    pieces = zstd.ZstdCompressor()
    whole = b"".join(pieces.compress(data[k : k + 512], pieces.FLUSH_BLOCK) for k in range(0, len(data), 512))
    packed.write_bytes(whole[: len(whole) // 3])
    recording = probed(packed)
    assert 0 < recording.details["messages"] < 200
    assert any("zstd file is damaged or cut short" in i.cause for i in recording.incidents)


def test_what_is_no_bag_inside_is_refused(tmp_path: Path) -> None:
    """Nothing, something else, or another packing: each with its cause."""
    for name, content, words in (
        ("a.bag.gz", gzip.compress(b""), "gzip file is empty"),
        ("b.bag.gz", gzip.compress(b"hello"), "not a bag"),
        ("c.bag.gz", gzip.compress(gzip.compress(b"hello")), "packed twice"),
        ("d.bag.xz", b"\xfd7zXZ\x00rubbish", "xz file is damaged"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CannotOpen, match=words):
            open_recording(tmp_path / name)


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that unpacks to far more than it can hold does not fill the disk."""
    monkeypatch.setattr(packed_bag, "LEAST_BYTES", 1 << 20)
    monkeypatch.setattr(packed_bag, "LARGEST_RATIO", 10)
    path = tmp_path / "a.bag.gz"
    path.write_bytes(gzip.compress(bytes(1 << 23)))
    with pytest.raises(CannotOpen, match="unpacks to more than"):
        open_recording(path)


@pytest.mark.media
def test_a_real_packed_bag(media: Path) -> None:
    """A whole MCAP in zstd gives the tracks of the file beside it."""
    assert (
        probed(media / "bags/test_sample.mcap.zstd").tracks == probed(media / "bags/test_sample.mcap").tracks
    )
