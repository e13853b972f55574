"""Datasets from strangers: everything that reads one, on damaged files whose hashes were made to fit."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import tarfile
from functools import partial
from pathlib import Path
from typing import Any

from fork_server import unwatched
from mutations import damaged, damaged_json, json_text
from recording_targets import Outcome, write_seed
from seeds import Seed
from structures import fields_of

MOST_SAMPLES = 12
MOST_STEPS = 3
WRITES = [False]
"""Whether media are written as well: that is slow, and of the tokens no more is asked."""


def fitting(seed: Seed) -> Seed:
    """Return a dataset in which all hashes are those of the files that are there, as a forger would."""
    made = dict(seed)
    records = {name: _parsed(data) for name, data in made.items() if name.startswith("records/")}
    shards: dict[str, dict[str, Any]] = {}
    for name, record in records.items():
        shard = record.get("shard") if isinstance(record, dict) else None
        if isinstance(shard, dict) and isinstance(shard.get("name"), str):
            _fit_shard(made, shard)
            made[name] = (json.dumps(record) + "\n").encode()
            shards[shard["name"]] = shard | {"record_sha256": _sha(made[name])}
    lines = []
    for line in made.get("tables/shards.jsonl", b"").splitlines():
        facts = _parsed(line)
        if isinstance(facts, dict) and isinstance(facts.get("name"), str):
            _fit_shard(made, facts)
            known = shards.get(facts["name"], {})
            facts |= {key: known[key] for key in ("record_sha256",) if key in known}
            line = json.dumps(facts).encode()
        lines.append(line + b"\n")
    if "tables/shards.jsonl" in made:
        made["tables/shards.jsonl"] = b"".join(lines)
    return _fit_manifest(made)


def _fit_shard(made: Seed, facts: dict[str, Any]) -> None:
    for ending, key in ((".tar", "sha256"), (".tar.idx", "idx_sha256"), (".samples.npy", "samples_sha256")):
        data = made.get(f"shards/{facts['name']}{ending}")
        if data is not None and isinstance(facts.get(key), str):
            facts[key] = _sha(data)
            if ending == ".tar" and "bytes" in facts:
                facts["bytes"] = len(data)
            if ending == ".samples.npy" and "samples_bytes" in facts:
                facts["samples_bytes"] = len(data)


def _fit_manifest(made: Seed) -> Seed:
    manifest = _parsed(made.get("fifth.json", b""))
    if isinstance(manifest, dict):
        tables = manifest.get("tables")
        for name, facts in tables.items() if isinstance(tables, dict) else ():
            if name in made and isinstance(facts, dict):
                facts |= {"bytes": len(made[name]), "sha256": _sha(made[name])}
        parts = manifest.get("plan")
        for part in parts if isinstance(parts, list) else ():
            name = f"plan/{part.get('part', 0):06d}.jsonl" if _is_part(part) else ""
            if name in made:
                part |= {"bytes": len(made[name]), "sha256": _sha(made[name])}
        made["fifth.json"] = json.dumps(manifest, indent=1).encode()
    if "fifth.json" in made:
        made["fifth.json.sha256"] = f"{_sha(made['fifth.json'])}  fifth.json\n".encode()
    return made


def _is_part(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("part"), int) and part["part"] >= 0


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def damaged_shards(seed: Seed, others: list[bytes], rng: random.Random) -> Seed:
    """Return a dataset with damage in the files of its shards."""
    made = dict(seed)
    names = [name for name in made if name.startswith("shards/")]
    for name in rng.sample(names, rng.choice((1, 1, 1, 2))):
        made[name] = damaged(made[name], others, fields_of(made[name]), rng)
        if name.endswith(".tar") and rng.random() < 0.7:
            made[name] = _with_fitting_headers(made[name])
    return fitting(made) if rng.random() < 0.8 else made


def _with_fitting_headers(data: bytes) -> bytes:
    """Return a tar whose headers have the checksums of what is in them."""
    made = bytearray(data)
    for at in range(0, len(made) - 511, 512):
        if made[at + 257 : at + 262] == b"ustar":
            made[at + 148 : at + 156] = b" " * 8
            made[at + 148 : at + 156] = b"%06o\0 " % sum(made[at : at + 512])
    return bytes(made)


def damaged_texts(seed: Seed, others: list[bytes], rng: random.Random) -> Seed:
    """Return a dataset with damage in manifest, plan, records or tables."""
    made = dict(seed)
    names = [name for name in made if name.endswith((".json", ".jsonl"))]
    weights = [4 if name == "fifth.json" else 1 for name in names]
    for name in rng.choices(names, weights, k=rng.choice((1, 1, 2))):
        made[name] = _damaged_lines(made[name], others, name, rng)
    if rng.random() < 0.05:
        del made[rng.choice(sorted(made))]
    return fitting(made) if rng.random() < 0.85 else made


def _damaged_lines(data: bytes, others: list[bytes], name: str, rng: random.Random) -> bytes:
    if rng.random() < 0.12:
        return damaged(data, others, (), rng)
    if name.endswith(".json"):
        return json_text(damaged_json(_parsed(data), rng), rng)
    lines = data.splitlines() or [b"{}"]
    place = rng.randrange(len(lines))
    way = rng.random()
    if way < 0.1:
        lines.pop(place)
    elif way < 0.2:
        lines.insert(place, rng.choice(lines))
    elif way < 0.25:
        rng.shuffle(lines)
    else:
        lines[place] = json_text(damaged_json(_parsed(lines[place]), rng), rng)
    return b"\n".join(lines) + b"\n"


def hostile_archive(seed: Seed, rng: random.Random) -> Seed:
    """Return a dataset with members in a shard that lead elsewhere, or are no files."""
    made = dict(seed)
    name = rng.choice([name for name in made if name.endswith(".tar")])
    out = io.BytesIO(made[name] if rng.random() < 0.5 else b"")
    out.seek(0, io.SEEK_END)
    with tarfile.open(
        fileobj=out,
        mode="w",
        format=rng.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)),
    ) as tar:
        for _ in range(rng.choice((1, 3))):
            where = rng.choice(
                (
                    "../../../canary/secret",
                    "/canary/secret",
                    "a" * 90,
                    "x" * 3000 + "/y",
                    "k.json",
                    "\x00a",
                    "é" * 60,
                )
            )
            entry = tarfile.TarInfo(where)
            entry.type = rng.choice(
                (
                    tarfile.REGTYPE,
                    tarfile.SYMTYPE,
                    tarfile.LNKTYPE,
                    tarfile.CHRTYPE,
                    tarfile.FIFOTYPE,
                    tarfile.DIRTYPE,
                )
            )
            entry.linkname = rng.choice(("../../../canary/secret", "/etc/passwd", ""))[:100]
            body = b"x" * rng.choice((0, 10, 600)) if entry.isreg() else b""
            entry.size = len(body)
            try:
                tar.addfile(entry, io.BytesIO(body))
            except (ValueError, UnicodeError):
                continue
    data = out.getvalue()
    made[name] = data if rng.random() < 0.5 else data + made[name]
    return fitting(made)


LINKS = (
    "link-tar",
    "link-records",
    "link-manifest",
    "link-added",
    "fifo-tar",
    "fifo-record",
    "fifo-plan",
    "folder-tar",
    "sparse-tar",
    "fifo-manifest",
    "fifo-table",
)
"""What a dataset that was unpacked from a stranger's archive may hold instead of files."""


def odd_files(folder: Path, what: str) -> None:
    """Put something else where a dataset's files should be."""
    tar = next((folder / "shards").glob("*.tar"))
    record = sorted((folder / "records").glob("*.json"))[-1]
    targets = {
        "tar": tar,
        "record": record,
        "plan": folder / "plan" / "000000.jsonl",
        "manifest": folder / "fifth.json",
        "table": folder / "tables" / "recordings.jsonl",
        "records": record,
    }
    way, _, which = what.partition("-")
    if which == "added":
        (folder / "added").symlink_to("/")
        return
    target = targets[which]
    target.unlink()
    if way == "link":
        target.symlink_to("../../../canary/secret")
    elif way == "fifo":
        os.mkfifo(target)
    elif way == "folder":
        target.mkdir()
    else:
        with target.open("wb") as file:
            file.truncate(1 << 30)


def read_dataset(seed: Seed, folder: Path, number: int, odd: str = "") -> Outcome:
    """Read a dataset in every way there is."""
    where = folder / "d"
    write_seed(seed, where)
    if odd:
        with unwatched():
            odd_files(where, odd)
    return read_all(where, number, folder)


def read_all(where: Any, number: int, folder: Path, remote: Any = None) -> Outcome:
    """Read a dataset in every way; each must give content, or one of our errors."""
    from encoders import EncodersError
    from ingest.errors import IngestError
    from shards import ShardsError

    said: list[str] = []
    got = 0
    WRITES[0] = number % 20 == 0
    ways = [_read_samples, _read_batches, _read_packed, _read_windows]
    if remote is None:
        ways += [_verify, _inform]
        ways += [_reconstruct] if number % 5 == 0 else []
        ways += [_repair, _finish] if number % 5 == 1 else []  # the last: they write to it
    for way in ways:
        try:
            got += way(where, folder, remote)
        except (
            ShardsError,
            EncodersError,
            IngestError,
            FileNotFoundError,
            IsADirectoryError,
            PermissionError,
        ) as error:
            said.append(f"{way.__name__}: {type(error).__name__}: {error}"[:200])
    if said:
        return "reported", "", "; ".join(said)[:600]
    return "used", "", f"{got} things"


def _read_samples(where: Any, folder: Path, remote: Any) -> int:
    import numpy as np

    from shards import open_dataset

    dataset = open_dataset(where, remote)
    count = 0
    for sample, _ in zip(dataset.samples(), range(MOST_SAMPLES), strict=False):
        count += (
            len(sample.key)
            + len(sample.provenance)
            + len(sample.text)
            + len(sample.tokens)
            + len(sample.valid)
        )
        count += sum(int(np.asarray(array).size > 0) for array in sample.arrays.values())
        repr(sample)
        if count % 3 == 0:
            dataset.sample(sample.key)
        dataset.spec(sample.layout, next(iter(sample.tokens), "video"))
    return count


def _stream(where: Any, remote: Any, **settings: Any) -> Any:
    from shards import TokenStream

    return TokenStream(where if remote else Path(where), global_batch=4, epochs=1, remote=remote, **settings)


def _steps(stream: Any) -> int:
    return sum(1 for _ in zip(stream, range(MOST_STEPS), strict=False))


def _read_batches(where: Any, folder: Path, remote: Any) -> int:
    return _steps(
        _stream(where, remote).batches(members=("tokens", "times", "values", "features", "offsets"))
    )


def _read_packed(where: Any, folder: Path, remote: Any) -> int:
    return _steps(_stream(where, remote).packed(256))


def _read_windows(where: Any, folder: Path, remote: Any) -> int:
    count = 0
    for sample, _ in zip(
        _stream(where, remote, window=2, stride=1).samples(), range(MOST_STEPS), strict=False
    ):
        count += len(sample.arrays) + len(sample.provenance) + len(sample.text) + len(sample.key)
    return count


def _verify(where: Any, folder: Path, remote: Any) -> int:
    from shards import verify_dataset

    return len(verify_dataset(where))


def _repair(where: Any, folder: Path, remote: Any) -> int:
    """What is sound stays as it is; what was made again is sound."""
    import shards.repair as repairing
    from ingest.repairing import repair
    from shards import verify_dataset
    from shards.flips import unflipped

    # trying bits is given ten seconds for each file: as long as an input may take here
    vars(repairing)["unflipped"] = partial(unflipped, budget_bytes=10**7)
    before = verify_dataset(where)
    repaired = repair(where, workers=0)
    mended = {mended.file for mended in repaired.mended}
    assert before or not (mended or repaired.left), f"nothing was damaged: {repaired}"
    damaged = {problem.file for problem in verify_dataset(where)}
    assert not mended & damaged, f"made again, and damaged: {sorted(mended & damaged)}"
    return len(mended)


def _finish(where: Any, folder: Path, remote: Any) -> int:
    """What plan and records say makes a manifest, or is refused."""
    from shards import DatasetFolder

    return len(DatasetFolder(Path(where)).finish())


def _inform(where: Any, folder: Path, remote: Any) -> int:
    from shards import dataset_info

    return int(len(dataset_info(where)) > 0)


def _reconstruct(where: Any, folder: Path, remote: Any) -> int:
    from ingest.reconstruction import reconstruct_sample, write_reconstruction
    from shards import open_dataset

    count = 0
    keys: dict[str, str] = {}
    for sample, _ in zip(open_dataset(where).samples(), range(40), strict=False):
        keys.setdefault(sample.layout, sample.key)
    for key in keys.values():
        tracks = reconstruct_sample(where, key, left_out=lambda _: None)
        if WRITES[0]:
            count += len(write_reconstruction(tracks, folder / "out" / key))
    return count


def read_remote(seed: Seed, folder: Path, number: int) -> Outcome:
    """Read a dataset through the cache, as if from elsewhere."""
    import fsspec

    from shards.remote.options import RemoteOptions

    fs = fsspec.filesystem("memory")
    fs.store.clear()
    for name, data in seed.items():
        with fs.open(f"/d/{name}", "wb") as file:
            file.write(data)
    options = RemoteOptions(
        folder / "work-cache", tries=1, first_pause_s=0.0, prefetch=0, cache_bytes=1 << 24
    )
    try:
        return read_all("memory://d", number, folder, options)
    finally:
        fs.store.clear()
