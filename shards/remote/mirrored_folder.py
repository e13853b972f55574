"""A dataset that is made elsewhere: on an object store, with a local folder for what a run has to look up.

    the store                                       the local folder
    plan/, records/ ...   the truth          <->    the same, brought here when a run begins
    shards/               all of them        <--    only those that are on their way there
    runs/                 what happened in each run   run.jsonl, of the one that goes on
    .lock, .locks/        who writes it (`shards.remote.locks`)

Everything goes to the store first, and whole (an object appears when its upload is complete): a plan part
before it counts here, a shard before its record, the manifest's hash last. So what a stopped run leaves
there is what a stopped run leaves in a folder, and the next run goes on, on this machine or another one.
The local folder holds nothing that the store does not; it may be removed while no run uses it.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shards.atomic import write_whole
from shards.canonical_json import json_line
from shards.errors import CannotCreate
from shards.folder import (
    EVENTS,
    FOLDERS,
    MANIFEST,
    OURS,
    RECORD,
    SHARD_ENDINGS,
    DatasetFolder,
    plan_bytes,
    task_of,
)
from shards.remote.locks import RemoteLocks
from shards.remote.options import RemoteOptions
from shards.remote.store import Store

WRITABLE = ("s3", "s3a", "gs", "gcs")
"""What addresses begin with of places where datasets can be made."""
UPLOAD_PART_BYTES = 16 * 2**20
"""What is larger goes up in parts of this size, and appears when all of them are there."""
_TABLES = tuple(f"tables/{name}.jsonl" for name in ("shards", "recordings", "failures"))
_NV_META = tuple(f".nv-meta/{name}" for name in (".info.json", "split.yaml", "dataset.yaml"))
_FINISHED = (*_TABLES, "README.md", *_NV_META, MANIFEST, f"{MANIFEST}.sha256")
"""What finishing writes, in the order in which it goes to the store."""


class MirroredFolder(DatasetFolder):
    """A dataset on an object store, made by way of a local folder."""

    def __init__(self, url: str, options: RemoteOptions | None = None) -> None:
        """Touch nothing as yet.

        Raises:
            CannotCreate: nothing can be written at such an address.
        """
        self.url = url.rstrip("/")
        if self.url.partition("://")[0] not in WRITABLE:
            raise CannotCreate(f"{url}: datasets are made in folders, s3://... and gs://..., not there")
        self.options = options or RemoteOptions()
        name = hashlib.sha256(self.url.encode()).hexdigest()[:32]
        super().__init__(self.options.cache_folder / "made" / name)
        self._store = Store(self.url, self.options)
        self._locks = RemoteLocks(self._store)

    @property
    def address(self) -> str:
        """See `DatasetFolder`."""
        return self.url

    @property
    def shards_folder(self) -> Path:
        """Where a shard is written before it goes to the store; it is made where it is not there."""
        folder = self.path / "shards"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def asked_again(self) -> tuple[int, str]:
        """See `DatasetFolder`."""
        return self._store.asked_again, self._store.last_cause

    # What is there

    def is_dataset(self) -> bool:
        """See `DatasetFolder`: as of the last `refresh`."""
        return self.plan_path(0).is_file()

    def refresh(self) -> None:
        """Bring the plan here. Its parts are asked for one by one: a listing may be older than they are."""
        for name in FOLDERS:
            (self.path / name).mkdir(parents=True, exist_ok=True)
        part = 0
        while (identity := self._identity(self._plan_name(part))) is not None:
            if self._seen(part) != identity:
                if self.plan_path(part).exists():  # another dataset was here before
                    self._remove_all(self.record_path(task) for task in self.tasks_done())
                self._bring(self._plan_name(part))
                self._mark(part, identity)
            part += 1
        self._remove_all(self.plan_path(later) for later in self.plan_parts() if later >= part)

    def bring_records(self) -> None:
        """Bring the records here that are not here yet, and drop those that are gone from the store."""
        there = {int(match[1]) for name in self._names("records") if (match := RECORD.fullmatch(name))}
        here = self.tasks_done()
        self._remove_all(self.record_path(task) for task in here - there)
        for task in sorted(there - here):
            with contextlib.suppress(FileNotFoundError):  # listed still, and removed already
                self._bring(f"records/{task:06d}.json")

    def bring_results(self) -> None:
        """Bring everything here but the shards: what `fifth info` looks at."""
        self.refresh()
        self.bring_records()
        for name in _FINISHED:
            (self.path / name).unlink(missing_ok=True)
        for name in _FINISHED:
            with contextlib.suppress(FileNotFoundError):
                self._bring(name)

    def shard_files(self) -> Iterator[str]:
        """See `DatasetFolder`."""
        return self._names("shards")

    @contextmanager
    def shard_at_hand(self, name: str) -> Iterator[None]:
        """See `DatasetFolder`: bring the shard here, and drop its tar afterwards."""
        for ending in SHARD_ENDINGS:
            with contextlib.suppress(FileNotFoundError):  # whoever looks for it says so
                self._bring(f"shards/{name}{ending}")
        try:
            yield
        finally:
            (self.path / "shards" / f"{name}.tar").unlink(missing_ok=True)

    # Writing

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the dataset for writing, on this machine and on the store; then bring plan and records here.

        Raises:
            DatasetLocked: another run holds it; the message says which, and what to do if it is dead.
        """
        with super().lock(), self._locks.exclusive(), self._looked_up():
            yield

    @contextmanager
    def lock_part(
        self, number: int, of: int, wait_seconds: float, waiting: Callable[[str], None]
    ) -> Iterator[None]:
        """See `DatasetFolder`; on the store as well."""
        name = f"{number}-of-{of}"
        here = super().lock_part(number, of, wait_seconds, waiting)
        with here, self._locks.as_part(name, wait_seconds, waiting), self._looked_up():
            yield

    @contextmanager
    def plan_turn(self) -> Iterator[None]:
        """See `DatasetFolder`; on the store as well. What others added is here then."""
        with super().plan_turn(), self._locks.plan_turn():
            self.refresh()
            yield

    @contextmanager
    def _looked_up(self) -> Iterator[None]:
        """Bring plan and records here; in the end, bring the events there, as an object of their own."""
        self.refresh()
        self.bring_records()
        yield
        events = self.path / EVENTS
        if events.exists():
            self._upload(events, f"runs/{os.uname().nodename}-{os.urandom(4).hex()}.jsonl")
            events.unlink()

    def write_plan_part(self, lines: Iterable[Mapping[str, Any]]) -> int:
        """See `DatasetFolder`."""
        part = self.next_part()
        outgoing = self.path / "plan" / "outgoing"
        write_whole(outgoing, plan_bytes(lines, part))
        self._upload(outgoing, self._plan_name(part))
        outgoing.replace(self.plan_path(part))
        self._mark(part, self._identity(self._plan_name(part)) or "")
        return part

    def write_record(self, task: int, record: Mapping[str, Any]) -> None:
        """Bring a task's shard to the store, and then its record."""
        shard = record.get("shard")
        files = [self.shards_folder / f"{shard['name']}{ending}" for ending in SHARD_ENDINGS] if shard else []
        for file in files:
            self._upload(file, f"shards/{file.name}")
        data, name = json_line(record), f"records/{task:06d}.json"
        self._put(name, data)
        self.record_path(task).parent.mkdir(parents=True, exist_ok=True)
        super().write_record(task, record)
        self._remove_all(files)

    def remove_leftovers(self) -> list[str]:
        """See `DatasetFolder`: here and on the store."""
        self._remove_all(self._files("shards"))  # what is on the store is not needed, the rest is lost
        removed = super().remove_leftovers()
        strangers = (
            [name for name in self.shard_files() if not self.is_named(name)] if self.is_dataset() else []
        )
        for name in strangers:
            self._store.remove(f"shards/{name}")
        return sorted(removed + [f"shards/{name}" for name in strangers])

    def remove_superseded(self) -> list[str]:
        """See `DatasetFolder`: on the store first."""
        tasks = self.tasks_done() & self.superseded_tasks()
        for task in sorted(tasks):
            self._store.remove(f"records/{task:06d}.json")
        shards = [name for name in self.shard_files() if task_of(name) in tasks] if tasks else []
        for name in shards:
            self._store.remove(f"shards/{name}")
        return sorted(super().remove_superseded() + [f"shards/{name}" for name in shards])

    def finish(self) -> dict[str, Any]:
        """See `DatasetFolder`."""
        self.bring_records()  # other machines' too
        self._store.remove(f"{MANIFEST}.sha256")
        manifest = super().finish()
        for name in _FINISHED:
            self._upload(self.path / name, name)
        return manifest

    def _refuse_foreign(self) -> None:
        """Look at some of what is on the store where there is no plan."""
        if self.is_dataset():
            return
        some = itertools.islice(self._store.listed(""), 1000)
        foreign = sorted({name.partition("/")[0] for name in some} - OURS)
        if foreign:
            names = ", ".join(foreign[:3]) + (", …" if len(foreign) > 3 else "")
            raise CannotCreate(f"{self.url}: not empty, and no dataset (it holds {names}); choose another")

    # One object

    def _identity(self, name: str) -> str | None:
        """Return what tells an object from another one of its name; None where there is none."""
        try:
            return self._store.facts(name).identity
        except FileNotFoundError:
            return None

    def _seen(self, part: int) -> str:
        """Return the identity of the plan part that is here; empty where none is."""
        mark = self.path / "seen" / f"{part:06d}"
        return mark.read_text() if mark.exists() and self.plan_path(part).exists() else ""

    def _mark(self, part: int, identity: str) -> None:
        """Keep in mind which plan part is here."""
        (self.path / "seen").mkdir(parents=True, exist_ok=True)
        write_whole(self.path / "seen" / f"{part:06d}", [identity.encode()])

    def _bring(self, name: str) -> None:
        size_bytes = self._store.facts(name).size_bytes
        step = self.options.part_bytes
        parts = (
            self._store.part(name, start, min(start + step, size_bytes))
            for start in range(0, size_bytes, step)
        )
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / name, parts)

    def _upload(self, file: Path, name: str) -> None:
        """Bring a file to the store whole; it is there as a whole, or as it was before."""
        size_bytes = file.stat().st_size

        def ask(fs: Any, root: str) -> None:
            fs.put_file(str(file), f"{root}/{name}", chunksize=UPLOAD_PART_BYTES)
            fs.invalidate_cache()
            if (there := fs.info(f"{root}/{name}")["size"]) != size_bytes:
                raise OSError(f"{there} bytes are there, not {size_bytes}")

        self._store.ask(name, ask)

    def _put(self, name: str, data: bytes) -> None:
        self._store.ask(name, lambda fs, root: fs.pipe_file(f"{root}/{name}", data))

    def _names(self, folder: str) -> Iterator[str]:
        """Yield the names of the objects right below a folder."""
        for name in self._store.listed(folder):
            inside = name.removeprefix(f"{folder}/")
            if "/" not in inside:
                yield inside

    def _plan_name(self, part: int) -> str:
        return f"plan/{self.plan_path(part).name}"

    def _remove_all(self, paths: Iterable[Path]) -> None:
        for path in list(paths):
            path.unlink(missing_ok=True)
