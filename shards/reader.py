"""Read a dataset through its rows: samples in order, or any one by its key. Nothing is unpacked.

dataset = open_dataset("dataset")
for sample in dataset.samples("video-audio"):
    sample.arrays["video.tokens"]           a view of the mapped tar
dataset.sample("3f9a1c00d2e4b6a8_0000000004000000000").provenance
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.canonical_json import parse_json
from shards.dataset_files import Files, LocalFiles, files_of
from shards.errors import DamagedDataset, UnknownName
from shards.folder import MANIFEST, is_shard_name, shard_name
from shards.joined import Addition, additions_of, joined_layout
from shards.keys import is_key, parse_key
from shards.layout import Layout, Member
from shards.manifest import file_facts, read_manifest
from shards.npy import BadNpy, npy_view
from shards.problem import Problem
from shards.regular_file import open_regular
from shards.remote.options import RemoteOptions
from shards.sample_rows import check_places, check_rows
from shards.shapes import RECORDING_LINE, misfit
from shards.tables import shard_lines
from shards.tar import BLOCK_BYTES, NAME_BYTES

Array = npt.NDArray[Any]
Json = dict[str, Any]
_SHARDS_KEPT_OPEN = 16


class Sample:
    """One sample. Members are decoded when they are first asked for.

    Args:
        layout: of its shard.
        row: its own there.
        tar: the shard's.
        added: the same sample in additions to the dataset (`shards.joined`).
    """

    def __init__(self, layout: Layout, row: Any, tar: memoryview, added: Sequence[Sample] = ()) -> None:
        self._layout = layout
        self._row = row
        self._tar = tar
        self._added = added

    @cached_property
    def key(self) -> str:
        """The sample's name, unique in the dataset."""
        header_offset = int(self._row[f"{self._layout.members[0].name}:offset"]) - BLOCK_BYTES
        name = bytes(self._tar[header_offset : header_offset + NAME_BYTES])
        key = name.partition(b".")[0].decode("ascii", "replace")
        if not is_key(key):
            raise DamagedDataset(f"a sample is called {key!r}, which is no key; run fifth verify")
        return key

    @property
    def layout(self) -> str:
        """Name of its layout."""
        return self._layout.name

    @property
    def start_ns(self) -> int:
        """Start of the clip on the recording's own timeline."""
        return int(self._row["start_ns"])

    @property
    def stop_ns(self) -> int:
        """End of the clip on the recording's own timeline; not in it."""
        return int(self._row["stop_ns"])

    @cached_property
    def tokens(self) -> dict[str, int]:
        """Number of codes per track."""
        tokens = {track: int(self._row[f"{track}:tokens"]) for track in self._layout.tracks}
        return tokens | {track: count for more in self._added for track, count in more.tokens.items()}

    @cached_property
    def valid(self) -> dict[str, int]:
        """Valid length per track, before padding."""
        valid = {track: int(self._row[f"{track}:valid"]) for track in self._layout.tracks}
        return valid | {track: count for more in self._added for track, count in more.valid.items()}

    @cached_property
    def provenance(self) -> Json:
        """Recording, content id, start and stop, and what is known per track."""
        value = parse_json(self._bytes("json"), Path(f"{self.key}.json"))
        for more in self._added:
            value["tracks"] = _tracks_in(value) | _tracks_in(more.provenance)
        return value

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """Read-only views of the arrays, by member name without `.npy`."""
        members = [member for member in self._layout.members if member.kind == "array"]
        arrays = {member.field: self._array(member) for member in members}
        return arrays | {name: array for more in self._added for name, array in more.arrays.items()}

    @cached_property
    def text(self) -> dict[str, str]:
        """The text members, by name without `.txt`: one line per cue, its own line breaks escaped."""
        members = [member for member in self._layout.members if member.kind == "text"]
        try:
            return {member.field: self._bytes(member.name).decode() for member in members}
        except UnicodeDecodeError as error:
            raise DamagedDataset(f"sample {self.key}: its text is not UTF-8; run fifth verify") from error

    @property
    def recording(self) -> int:
        """The recording, as it stands in the key: `recording_number(content id)`."""
        return int(self._row["recording"])

    def raw(self, member: str) -> bytes:
        """Return a member's bytes as they stand in the tar, by its full name."""
        if self._layout.index_of(member) is None:
            return next(m.raw(member) for m in self._added if m._layout.index_of(member) is not None)
        return self._bytes(member)

    def _array(self, member: Member) -> Array:
        try:
            view = npy_view(self._tar, *self._span(member.name))
        except BadNpy as error:
            raise DamagedDataset(f"sample {self.key}: {member.name}: {error}; run fifth verify") from error
        if view.dtype != member.dtype or not member.fits(view.shape):
            got = f"{view.dtype} {list(view.shape)}"
            raise DamagedDataset(
                f"sample {self.key}: {member.name} is {got:.100}; its layout says {member.describe()}"
            )
        return view

    def _span(self, member: str) -> tuple[int, int]:
        return int(self._row[f"{member}:offset"]), int(self._row[f"{member}:size"])

    def _bytes(self, member: str) -> bytes:
        offset, size_bytes = self._span(member)
        return bytes(self._tar[offset : offset + size_bytes])

    def __repr__(self) -> str:
        shapes = {name: f"{array.dtype} {list(array.shape)}" for name, array in self.arrays.items()}
        return f"Sample({self.key}, {self.layout}, {shapes})"


def _tracks_in(provenance: Json) -> Json:
    tracks = provenance.get("tracks")
    if not isinstance(tracks, dict):
        raise DamagedDataset("a sample's provenance names no tracks; run fifth verify")
    return tracks


class Shard:
    """One shard, mapped into memory when it is first read."""

    def __init__(
        self, files: Files, name: str, layout: Layout, added: Sequence[Shard] = (), samples: int | None = None
    ) -> None:
        self.name = name
        self._samples = samples
        self.layout = layout
        self._files = files
        self._added = added

    @property
    def path(self) -> Path:
        """Where the tar is, here."""
        return self._files.path(f"shards/{self.name}.tar")

    @property
    def rows_path(self) -> Path:
        """Where the rows are, here."""
        return self._files.path(f"shards/{self.name}.samples.npy")

    @cached_property
    def rows(self) -> Array:
        """One row per sample (`shards.sample_rows`), mapped.

        Raises:
            DamagedDataset: they are not those of this shard.
        """
        try:
            rows = npy_view(self._mapped(".samples.npy"))
            check_rows(rows, self.layout, len(rows) if self._samples is None else self._samples)
            check_places(rows, self.layout)
            return rows
        except (ValueError, TypeError) as error:  # no npy, or of another shape
            path = self._files.folder / f"shards/{self.name}.samples.npy"
            raise DamagedDataset(f"{path}: {error}; run fifth verify, and make the shard again") from error

    @cached_property
    def _tar(self) -> memoryview:
        return self._mapped(".tar")

    def _mapped(self, ending: str) -> memoryview:
        return mapped(self._files, f"shards/{self.name}{ending}")

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, index: int) -> Sample:
        """Return the sample of this number in the shard; negative numbers count from the end."""
        added = [shard.sample(index) for shard in self._added]
        return Sample(self.layout, self.rows[index], self._tar, added)

    def __iter__(self) -> Iterator[Sample]:
        return (self.sample(index) for index in range(len(self)))


def mapped(files: Files, name: str) -> memoryview:
    """Return a file of a dataset, mapped.

    Raises:
        DamagedDataset: it is empty.
        FileNotFoundError: there is none.
    """
    with files.open(name) as file:
        try:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except ValueError as error:
            raise DamagedDataset(
                f"{files.folder / name}: is empty; run fifth verify, and make the shard again"
            ) from error


class Dataset:
    """A finished dataset, opened for reading."""

    def __init__(self, path: Path | str, remote: RemoteOptions | None = None, joined: bool = True) -> None:
        """Read the manifest, and check that the table of shards is the one it names.

        Args:
            path: a folder, or an address for fsspec: `https://…`, `s3://…`, `gs://…`, `hf://…`.
            remote: how an address is read.
            joined: with what `fifth add` added to it (of a local folder; `shards.joined`).

        Raises:
            FileNotFoundError: no such folder.
            NotADataset: no dataset is there, or none that was finished.
            DamagedDataset: manifest or table is not what was written.
            CannotFetch: an address can't be read.
            MissingPackage: what reads such addresses is not installed.
        """
        self.files: Files = files_of(path, remote)
        self.path = self.files.folder
        if not isinstance(self.files, LocalFiles):
            for name in (MANIFEST, f"{MANIFEST}.sha256"):
                self.files.path(name)
        self.manifest: Json = read_manifest(self.path)
        self._own: Mapping[str, Layout] = {
            layout["name"]: Layout.from_json(layout) for layout in self.manifest["layouts"]
        }
        facts = file_facts(self.table("shards"))
        if facts.sha256 != self.manifest["tables"]["tables/shards.jsonl"]["sha256"]:
            raise DamagedDataset(
                f"{self.table('shards')}: not the table that the manifest names; "
                "run the command that made the dataset again"
            )
        self.additions: list[Addition] = []
        """What was added to it, and is joined to its samples."""
        self.not_joined: list[Problem] = []
        """Additions that can't be joined, and why."""
        if joined and isinstance(self.files, LocalFiles):
            self.additions, self.not_joined = additions_of(self.path, self.manifest)
        self.layouts: Mapping[str, Layout] = {
            name: joined_layout(layout, [a.layouts[name] for a in self.additions if name in a.layouts])
            for name, layout in self._own.items()
        }
        self._shard = lru_cache(_SHARDS_KEPT_OPEN)(self.shard)

    def shards(self, layout: str | None = None) -> Iterator[Shard]:
        """Yield the shards, all or of one layout, in the order of their tasks.

        Raises:
            UnknownName: there is no such layout.
        """
        if layout is not None:
            self._layout(layout)
        for line in self.shard_lines():
            if layout in (None, line["layout"]):
                yield self.shard(line["name"], line["layout"], line["samples"])

    def shard_lines(self) -> Iterator[Json]:
        """Yield what is known of each shard: name, layout, samples, bytes, hashes, tokens."""
        for line in shard_lines(self.table("shards")):
            if line["layout"] not in self._own or set(line["tokens"]) != set(
                self._own[line["layout"]].tracks
            ):
                raise DamagedDataset(
                    f"{self.table('shards')}: shard {line['name']!r} is of no layout that {MANIFEST} has"
                )
            yield line

    def shard(self, name: str, layout: str, samples: int | None = None) -> Shard:
        """Return the shard of this name, unread as yet.

        Args:
            name, layout: as the table of shards has them.
            samples: that it must have; None: any number.

        Raises:
            UnknownName: there is no such layout.
        """
        self._layout(layout)
        if not is_shard_name(name):
            raise UnknownName(f"{self.path}: no shard is called {name!r:.100}")
        added = [
            Shard(LocalFiles(path), beside, of, (), samples) for path, beside, of in self.beside(name, layout)
        ]
        return Shard(self.files, name, self._own[layout], added, samples)

    def beside(self, name: str, layout: str) -> list[tuple[Path, str, Layout]]:
        """Return where the shards lie that additions have beside one: folder, name and layout of each."""
        task = int(name.rpartition("-")[2])
        return [
            (addition.path, shard_name(addition.layouts[layout].name, task), addition.layouts[layout])
            for addition in self.additions
            if layout in addition.layouts
        ]

    def own_layout(self, name: str) -> Layout:
        """Return a layout without what additions have."""
        self._layout(name)
        return self._own[name]

    def samples(self, layout: str | None = None) -> Iterator[Sample]:
        """Yield the samples, all or of one layout, in the order in which they were written."""
        for shard in self.shards(layout):
            yield from shard

    def sample(self, key: str) -> Sample:
        """Return the sample of this key, found through the table of recordings and the shards' rows.

        Raises:
            UnknownName: there is none; the message gives keys near it.
        """
        parsed = parse_key(key)
        candidates = [] if parsed is None else list(self._nearest(*parsed))
        distance_ns, nearest = min(candidates, key=lambda found: found[0], default=(0, None))
        if nearest is not None and distance_ns == 0:
            return nearest
        if nearest is not None:
            raise UnknownName(f"{self.path}: no sample {key}; the nearest of its recording is {nearest.key}")
        shards = islice(self.shard_lines(), 3)
        examples = ", ".join(line["first_key"] for line in shards) or "nothing: it has no samples"
        raise UnknownName(f"{self.path}: no sample {key!r}; it has {examples} …")

    def _nearest(self, recording_id: int, offset_ns: int) -> Iterator[tuple[int, Sample]]:
        """Yield, from each shard with samples of a recording, the nearest in time and its distance in ns."""
        for line in self._recordings_with(f"{recording_id:016x}"):
            for name in line["shards"]:
                shard = self._shard(name, line["layout"])
                mine = np.flatnonzero(shard.rows["recording"] == recording_id)
                distances = np.abs(shard.rows["start_ns"][mine] - (line["origin_ns"] + offset_ns))
                if len(mine):
                    yield int(distances.min()), shard.sample(int(mine[distances.argmin()]))

    def spec(self, layout: str, track: str) -> Json:
        """Return the token spec of a track: what made its tokens. Empty for text tracks.

        Raises:
            UnknownName: there is no such layout or track.
        """
        return dict(self._layout(layout).track(track).get("spec") or {})

    def _layout(self, name: str) -> Layout:
        if name not in self.layouts:
            raise UnknownName(f"{self.path}: no layout {name!r}; it has {', '.join(self.layouts) or 'none'}")
        return self.layouts[name]

    def table(self, name: str) -> Path:
        """Return the file of a table: `shards`, `recordings` or `failures`."""
        return self.files.path(f"tables/{name}.jsonl")

    def _recordings_with(self, id_prefix: str) -> Iterator[Json]:
        """Yield the lines of the recordings whose content id begins so; the table is not parsed."""
        if self.manifest["tables"]["tables/recordings.jsonl"]["bytes"] == 0:
            return
        with (
            open_regular(self.table("recordings")) as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as table,
        ):
            wanted = b'"id":"%b' % id_prefix.encode()
            at = table.find(wanted)
            while at >= 0:
                table.seek(table.rfind(b"\n", 0, at) + 1)
                line = parse_json(table.readline(), self.table("recordings"))
                if what := misfit(line, RECORDING_LINE):
                    raise DamagedDataset(f"{self.table('recordings')}: {what}")
                if line["id"].startswith(id_prefix):  # not a name that looks like one
                    yield line
                at = table.find(wanted, table.tell())


def open_dataset(path: Path | str, remote: RemoteOptions | None = None, joined: bool = True) -> Dataset:
    """Open a finished dataset for reading, by its folder or address. Raises what `Dataset` raises."""
    return Dataset(path, remote, joined)
