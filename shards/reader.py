"""Read a dataset through its rows: samples in order, or any one by its key. Nothing is unpacked.

dataset = open_dataset("dataset")
for sample in dataset.samples("video-audio"):
    sample.arrays["video.tokens"]           a view of the mapped tar
dataset.sample("3f9a1c00d2e4b6a8_0000000004000000000").provenance
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.canonical_json import read_json_lines
from shards.dataset_files import Files, LocalFiles, files_of
from shards.errors import DamagedDataset, UnknownName
from shards.folder import MANIFEST, shard_name
from shards.joined import Addition, additions_of, joined_layout
from shards.keys import parse_key
from shards.layout import Layout
from shards.manifest import file_facts, read_manifest
from shards.npy import npy_view
from shards.problem import Problem
from shards.remote.options import RemoteOptions
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
        return name.partition(b".")[0].decode()

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
        value: Json = json.loads(self._bytes("json"))
        for more in self._added:
            value["tracks"] = value["tracks"] | more.provenance["tracks"]
        return value

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """Read-only views of the arrays, by member name without `.npy`."""
        members = [member for member in self._layout.members if member.kind == "array"]
        arrays = {member.field: npy_view(self._tar, *self._span(member.name)) for member in members}
        return arrays | {name: array for more in self._added for name, array in more.arrays.items()}

    @cached_property
    def text(self) -> dict[str, str]:
        """The text members, by name without `.txt`: one line per cue, its own line breaks escaped."""
        members = [member for member in self._layout.members if member.kind == "text"]
        return {member.field: self._bytes(member.name).decode() for member in members}

    @property
    def recording(self) -> int:
        """The recording, as it stands in the key: `recording_number(content id)`."""
        return int(self._row["recording"])

    def raw(self, member: str) -> bytes:
        """Return a member's bytes as they stand in the tar, by its full name."""
        if self._layout.index_of(member) is None:
            return next(m.raw(member) for m in self._added if m._layout.index_of(member) is not None)
        return self._bytes(member)

    def _span(self, member: str) -> tuple[int, int]:
        return int(self._row[f"{member}:offset"]), int(self._row[f"{member}:size"])

    def _bytes(self, member: str) -> bytes:
        offset, size_bytes = self._span(member)
        return bytes(self._tar[offset : offset + size_bytes])

    def __repr__(self) -> str:
        shapes = {name: f"{array.dtype} {list(array.shape)}" for name, array in self.arrays.items()}
        return f"Sample({self.key}, {self.layout}, {shapes})"


class Shard:
    """One shard, mapped into memory when it is first read."""

    def __init__(self, files: Files, name: str, layout: Layout, added: Sequence[Shard] = ()) -> None:
        self.name = name
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
        """One row per sample (`shards.sample_rows`), mapped."""
        return npy_view(self._mapped(".samples.npy"))

    @cached_property
    def _tar(self) -> memoryview:
        return self._mapped(".tar")

    def _mapped(self, ending: str) -> memoryview:
        with self._files.open(f"shards/{self.name}{ending}") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, index: int) -> Sample:
        """Return the sample of this number in the shard; negative numbers count from the end."""
        added = [shard.sample(index) for shard in self._added]
        return Sample(self.layout, self.rows[index], self._tar, added)

    def __iter__(self) -> Iterator[Sample]:
        return (self.sample(index) for index in range(len(self)))


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
                yield self.shard(line["name"], line["layout"])

    def shard_lines(self) -> Iterator[Json]:
        """Yield what is known of each shard: name, layout, samples, bytes, hashes, tokens."""
        yield from read_json_lines(self.table("shards"))

    def shard(self, name: str, layout: str) -> Shard:
        """Return the shard of this name, unread as yet.

        Raises:
            UnknownName: there is no such layout.
        """
        self._layout(layout)
        added = [Shard(LocalFiles(path), beside, of) for path, beside, of in self.beside(name, layout)]
        return Shard(self.files, name, self._own[layout], added)

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
        shards = islice(read_json_lines(self.table("shards")), 3)
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
            self.table("recordings").open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as table,
        ):
            wanted = b'"id":"%b' % id_prefix.encode()
            at = table.find(wanted)
            while at >= 0:
                table.seek(table.rfind(b"\n", 0, at) + 1)
                line = json.loads(table.readline())
                if line["id"].startswith(id_prefix):  # not a name that looks like one
                    yield line
                at = table.find(wanted, table.tell())


def open_dataset(path: Path | str, remote: RemoteOptions | None = None, joined: bool = True) -> Dataset:
    """Open a finished dataset for reading, by its folder or address. Raises what `Dataset` raises."""
    return Dataset(path, remote, joined)
