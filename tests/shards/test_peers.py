"""The real packages read what we write: in the Python that FIFTH_PEERS names, or in this one.

A package that neither holds is skipped, with its name.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from peer_readers import fingerprint

from shards import CannotCreate, Reshaping, export_mds, open_dataset, reshard

Lines = list[dict[str, Any]]
PROGRAM = Path(__file__).with_name("peer_readers.py")


@cache
def python_with(module: str) -> str:
    """Return a Python that has a module; skip the test where none does."""
    for python in filter(None, (os.environ.get("FIFTH_PEERS"), sys.executable)):
        code = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
        if subprocess.run([python, "-c", code], capture_output=True, check=False, timeout=60).returncode == 0:
            return python
    pytest.skip(f"{module} is not installed here, nor where FIFTH_PEERS points to")


def read_with(reader: str, module: str, folder: Path, tmp_path: Path) -> Lines:
    """Return the lines that a reader prints."""
    told = environment(tmp_path)
    command = [python_with(module), str(PROGRAM), reader, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=told, check=False, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"key"')]


def environment(tmp_path: Path) -> dict[str, str]:
    """The peers must not find our packages, nor write into a home."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return kept | {"HF_HUB_OFFLINE": "1", "HOME": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0"}


def wanted(dataset: Path, *, ending: bool) -> dict[str, Any]:
    """What a reader must print, by key; `ending`: members keep `.npy` and `.txt`."""
    npy, txt = (".npy", ".txt") if ending else ("", "")
    found = {}
    for sample in open_dataset(dataset).samples():
        members = {f"{name}{npy}": fingerprint(array) for name, array in sample.arrays.items()}
        texts = {f"{name}{txt}": text for name, text in sample.text.items()}
        found[sample.key] = json.loads(json.dumps({"json": sample.provenance} | members | texts))
    return found


def assert_all(lines: Lines, want: dict[str, Any]) -> None:
    """Every sample once, every member equal."""
    assert sorted(line["key"] for line in lines) == sorted(want)
    for line in lines:
        assert line["members"] == want[line["key"]], line["key"]


@pytest.fixture(scope="module")
def shuffled(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A resharded dataset: the packages must not care how a dataset came to be."""
    out = tmp_path_factory.mktemp("shuffled") / "dataset"
    reshard([finished], out, Reshaping(shuffle=True))
    return out


@pytest.mark.slow
def test_mosaicml_streaming_reads_an_export(finished: Path, tmp_path: Path) -> None:
    """Hashes checked, every array with its dtype and shape, empty ones too."""
    python_with("streaming")
    assert export_mds(finished, tmp_path / "mds") == {"video-audio": 14, "video": 4}
    assert_all(read_with("mds", "streaming", tmp_path / "mds", tmp_path), wanted(finished, ending=False))


def test_an_export_is_made_anew_and_spares_what_is_not_its_own(finished: Path, tmp_path: Path) -> None:
    """The same bytes again; a folder with something else in it is refused before anything is written."""
    export_mds(finished, tmp_path / "mds")
    files = {path: path.read_bytes() for path in (tmp_path / "mds").rglob("*") if path.is_file()}
    (tmp_path / "mds" / "video" / "shard.00007.mds").touch()  # of an earlier, longer one
    export_mds(finished, tmp_path / "mds")
    assert {p: p.read_bytes() for p in (tmp_path / "mds").rglob("*") if p.is_file()} == files
    index = json.loads((tmp_path / "mds" / "video" / "index.json").read_bytes())
    assert [shard["samples"] for shard in index["shards"]] == [4]
    (tmp_path / "other" / "video").mkdir(parents=True)
    (tmp_path / "other" / "video" / "thesis.tex").touch()
    with pytest.raises(CannotCreate, match=r"it holds thesis\.tex"):
        export_mds(finished, tmp_path / "other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["video"]
    with pytest.raises(CannotCreate, match="from 1 to 4095 MiB, got 0"):
        export_mds(finished, tmp_path / "mds", 0)


@pytest.mark.slow
def test_energon_restores_in_the_middle(finished: Path, tmp_path: Path) -> None:
    """On `.nv-meta` as written: a saved and restored loader goes on with the next sample."""
    whole = read_with("energon", "megatron.energon", finished, tmp_path)
    assert_all(whole, wanted(finished, ending=True))
    rest = read_with("energon_restored", "megatron.energon", finished, tmp_path)
    assert rest == whole[7:]


@pytest.mark.slow
def test_energon_prepare_accepts_the_folder(shuffled: Path, tmp_path: Path) -> None:
    """For those who want its index and splits: prepared anew, it reads the same."""
    energon = Path(python_with("megatron.energon")).with_name("energon")
    prepared = shutil.copytree(shuffled, tmp_path / "dataset")
    options = ["--non-interactive", "--split-ratio", "1,0,0", "--force-overwrite", "--num-workers", "1"]
    options += ["--sample-type", "CrudeWebdataset", "--no-progress"]
    command = [str(energon), "prepare", *options, str(prepared)]
    told = environment(tmp_path)
    done = subprocess.run(command, capture_output=True, text=True, env=told, check=False, timeout=200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (prepared / ".nv-meta" / "index.sqlite").is_file()
    for path in (shuffled / "shards").iterdir():
        assert (prepared / "shards" / path.name).read_bytes() == path.read_bytes(), path.name
    assert_all(read_with("energon", "megatron.energon", prepared, tmp_path), wanted(shuffled, ending=True))


@pytest.mark.slow
def test_ray_data_reads_it(shuffled: Path, tmp_path: Path) -> None:
    """`read_webdataset`, with its own decoding."""
    assert_all(read_with("ray", "ray.data", shuffled, tmp_path), wanted(shuffled, ending=True))
