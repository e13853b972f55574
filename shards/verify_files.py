"""Which of a dataset's small files changed: each against the hash that another one holds of it.

    fifth.json.sha256 -> fifth.json -> plan parts, tables, card, Energon's files, and all records at once
                                       tables/shards.jsonl -> each record that has a shard

Where the manifest and its hash don't agree, the others decide which of the two is damaged: plan and records
give the manifest again, and it is the one whose hash is there, or the one that is there, or neither is and
the tables are still those that plan and records give.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shards.atomic import FileFacts, measure
from shards.canonical_json import json_page, parse_json
from shards.errors import DamagedDataset, WrongLayout
from shards.finishing import derive
from shards.folder import FORMAT, MANIFEST, DatasetFolder
from shards.ledger import Ledger
from shards.manifest import file_facts, hash_line
from shards.problem import Kind, Problem
from shards.regular_file import bytes_of_regular, read_regular
from shards.shapes import MANIFEST as SHAPE
from shards.shapes import misfit
from shards.tables import shard_lines

Json = dict[str, Any]
HASH_FILE = f"{MANIFEST}.sha256"
CARD = "README.md"
BESIDE = (CARD, ".nv-meta/.info.json", ".nv-meta/split.yaml", ".nv-meta/dataset.yaml")
"""Made for people and other readers."""


@dataclass
class SmallFiles:
    """What is known of a dataset's small files."""

    manifest: Json | None
    """The one to rely on: that which is there, or that which plan and records give; None: neither."""
    proven: bool
    """Whether two files agree on that manifest."""
    sound: bool = False
    """Whether plan and records can be relied on: they can be read, and nothing speaks against them."""
    problems: list[Problem] = field(default_factory=list)


def read_ledger(folder: DatasetFolder) -> tuple[Ledger | None, str]:
    """Return what plan and records give; None, and why, where they can't be read."""
    try:
        return Ledger(folder), ""
    except (DamagedDataset, WrongLayout) as error:
        return None, str(error)


def check_small_files(folder: DatasetFolder, ledger: Ledger | None, unread: str) -> SmallFiles:
    """Compare plan, records, tables, manifest and what stands beside it with each other.

    Args:
        folder: of a dataset.
        ledger: its plan and records; None: they can't be read.
        unread: why not.
    """
    anew = _manifest_anew(folder, ledger)
    small = _chosen(folder, anew)
    manifest = small.manifest
    if manifest is None:
        lost = list(_records_in_table(folder))
        small.sound = ledger is not None and not lost
        small.problems += lost
        small.problems += _unread(unread, small.problems)
        return small
    try:
        plan = list(_plan_parts(folder, manifest))
        later = any(problem.kind == "left" for problem in plan)
        records = list(_records(folder, ledger, manifest, later))
        small.problems += [*plan, *records]
        small.problems += _unread(unread, small.problems)
        small.problems += _others(folder, manifest)
    except (KeyError, TypeError, ValueError) as error:
        small.problems.append(Problem(MANIFEST, "", f"lacks or mistypes {error}"))
        records = plan = []
    changed = any(problem.kind in ("missing", "changed") for problem in [*plan, *records])
    small.sound = ledger is not None and not changed
    if small.sound and anew is not None:
        for key in sorted((anew.keys() | manifest.keys()) - {"plan", "records", "files"}):
            if anew.get(key) != manifest.get(key):
                small.problems.append(Problem(MANIFEST, "", f"{key!r} is not what plan and records give"))
    return small


def _unread(unread: str, found: list[Problem]) -> Iterator[Problem]:
    """Say why plan and records can't be read, where no file was named for it."""
    folders = {problem.file.partition("/")[0] for problem in found if problem.kind in ("missing", "changed")}
    if unread and not folders & {"plan", "records"}:
        yield Problem("plan, records", "", unread)


def _manifest_anew(folder: DatasetFolder, ledger: Ledger | None) -> Json | None:
    if ledger is None:
        return None
    try:
        return derive(folder, ledger, measure)
    except (WrongLayout, KeyError, TypeError, ValueError, AttributeError):  # JSON, but no layout
        return None


def _chosen(folder: DatasetFolder, anew: Json | None) -> SmallFiles:
    """Decide which manifest is the one that was written."""
    page, line = (bytes_of_regular(folder.path / name) for name in (MANIFEST, HASH_FILE))
    if page is not None and line == _hash_line(page):
        manifest, problems = _parsed(page)
        is_whole = all(problem.kind != "changed" for problem in problems)
        return SmallFiles(manifest, is_whole, problems=problems)
    if anew is not None:
        given = json_page(anew)
        if line == _hash_line(given):
            what = f"is not the file whose hash stands in {HASH_FILE}, which is what plan and records give"
            return SmallFiles(anew, True, problems=[_damaged(MANIFEST, page, what)])
        if page == given:
            what = f"does not hold the hash of {MANIFEST}, which is what plan and records give"
            return SmallFiles(anew, True, problems=[_damaged(HASH_FILE, line, what)])
        if page is not None and _tables_fit(folder, anew):
            what = f"is not the file whose hash stands in {HASH_FILE}, nor what plan and records give"
            found = [_damaged(MANIFEST, page, what), _damaged(HASH_FILE, line, f"is not that of {MANIFEST}")]
            return SmallFiles(anew, True, problems=found)
    stopped = "is missing: not finished; run the same command again"
    missing = [name for name, data in ((MANIFEST, page), (HASH_FILE, line)) if data is None]
    found = [Problem(name, "", stopped, "missing") for name in missing]
    if page is None:
        return SmallFiles(None, False, problems=found)
    if line is not None:
        what = f"is not the file whose hash stands in {HASH_FILE}"
        found.append(Problem(MANIFEST, "", what, "changed"))
    manifest, more = _parsed(page)
    return SmallFiles(manifest, False, problems=found + more)


def _damaged(name: str, data: bytes | None, what: str) -> Problem:
    kind: Kind = "missing" if data is None else "changed"
    return Problem(name, "", "is missing" if data is None else what, kind)


def _hash_line(page: bytes) -> bytes:
    return hash_line(hashlib.sha256(page).hexdigest())


def _parsed(page: bytes) -> tuple[Json | None, list[Problem]]:
    try:
        manifest = parse_json(page, Path(MANIFEST))
    except DamagedDataset:
        return None, [Problem(MANIFEST, "", "is not JSON", "changed")]
    if manifest.get("format") != FORMAT:
        what = f"is of format {manifest.get('format')!r}, not {FORMAT}"
        return None, [Problem(MANIFEST, "", what)]
    if what := misfit(manifest, SHAPE):
        return None, [Problem(MANIFEST, "", what, "changed")]
    return manifest, []


def _tables_fit(folder: DatasetFolder, manifest: Json) -> bool:
    tables: Json = manifest["tables"]
    return all(
        (folder.path / name).is_file() and _fits(folder.path / name, facts) for name, facts in tables.items()
    )


def _fits(path: Path, facts: Json) -> bool:
    return file_facts(path) == FileFacts(facts["bytes"], facts["sha256"])


def _plan_parts(folder: DatasetFolder, manifest: Json) -> Iterator[Problem]:
    stored = {f"plan/{part['part']:06d}.jsonl": part for part in manifest["plan"]}
    yield from _compared(folder, stored)
    for part in folder.plan_parts():
        if f"plan/{part:06d}.jsonl" not in stored:
            what = f"is not in {MANIFEST}: a later run was not finished"
            yield Problem(f"plan/{part:06d}.jsonl", "", what, "left")


def _others(folder: DatasetFolder, manifest: Json) -> Iterator[Problem]:
    """Compare tables, card and Energon's files."""
    files = manifest.get("files", {})  # datasets that were written before it was there have none
    yield from _compared(folder, {**manifest["tables"], **files})
    for name in BESIDE:
        if name not in files and not (folder.path / name).is_file():
            yield Problem(name, "", "is missing", "missing")


def _compared(folder: DatasetFolder, stored: Json) -> Iterator[Problem]:
    for name, facts in stored.items():
        path = folder.path / name
        if not path.is_file():
            yield Problem(name, "", "is missing", "missing")
        elif not _fits(path, facts):
            found = file_facts(path)
            got = f"its {found.size_bytes} bytes have sha256 {found.sha256}"
            what = f"{got}; {MANIFEST} says {facts['bytes']} and {facts['sha256']}"
            yield Problem(name, "", what, "changed")


def _records(folder: DatasetFolder, ledger: Ledger | None, manifest: Json, later: bool) -> Iterator[Problem]:
    """Say which records are not those that the manifest was made from.

    A record with a shard has its hash in the table of shards. The others are known by the hash of all
    records alone: one that changed is named where it is the only one, or no JSON any more.
    """
    now = {"count": ledger.tasks["done"], "sha256": ledger.records_sha256} if ledger else _chain(folder)
    if now == manifest["records"]:
        return
    found = list(_records_in_table(folder))
    known = {line["task"] for line in readable_shard_lines(folder)}
    others = sorted(folder.tasks_done() - known)
    for task in others:
        path = folder.record_path(task)
        try:
            if parse_json(read_regular(path), path).get("task") == task:
                continue
            what = "is of another task"
        except DamagedDataset as error:
            what = str(error).rpartition(f"{path.name}: ")[2]
        found.append(Problem(f"records/{path.name}", "", what, "changed"))
    missing = [problem for problem in found if problem.kind == "missing"]
    more = manifest["records"]["count"] - len(folder.tasks_done()) - len(missing)
    if found and more > 0:
        found.append(Problem("records", "", f"{more} more are missing, without a shard", "missing"))
    if found or later:
        yield from found
        return
    if len(others) == 1 and now["count"] == manifest["records"]["count"]:
        name = f"records/{folder.record_path(others[0]).name}"
        yield Problem(name, "", "is not the record that was written", "changed")
        return
    what = f"are {now}, and {manifest['records']} in {MANIFEST}: one without a shard changed or is missing"
    yield Problem("records", "", what, "changed")


def _records_in_table(folder: DatasetFolder) -> Iterator[Problem]:
    """Say which records with shards are not those that the table of shards was made from."""
    gone: set[int] | None = None
    for line in readable_shard_lines(folder):
        path = folder.record_path(line["task"])
        data = bytes_of_regular(path)
        if data is None or hashlib.sha256(data).hexdigest() != line["record_sha256"]:
            gone = _superseded(folder) if gone is None else gone
            if line["task"] not in gone:
                what = "is not the record that the tables were made from"
                yield _damaged(f"records/{path.name}", data, what)


def _superseded(folder: DatasetFolder) -> set[int]:
    try:
        return folder.superseded_tasks()
    except DamagedDataset:
        return set()


def _chain(folder: DatasetFolder) -> Json:
    """Return number and hash of all records as they are, for a plan that can't be read."""
    tasks = sorted(folder.tasks_done())
    return {
        "count": len(tasks),
        "sha256": chain_sha256((n, bytes_of_regular(folder.record_path(n)) or b"") for n in tasks),
    }


def chain_sha256(records: Iterable[tuple[int, bytes]]) -> str:
    """Return the hash that the manifest has of all records, by task and in its order."""
    digest = hashlib.sha256()
    for task, data in records:
        digest.update(f"{task:06d}.json {hashlib.sha256(data).hexdigest()}\n".encode())
    return digest.hexdigest()


def readable_shard_lines(folder: DatasetFolder) -> Iterator[Json]:
    """Yield the lines of `tables/shards.jsonl` as far as they can be read."""
    try:
        yield from shard_lines(folder.path / "tables" / "shards.jsonl")
    except (DamagedDataset, OSError):
        return
