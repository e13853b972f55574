"""Readers that know nothing of us: tar, webdataset, Hugging Face datasets, Megatron-Energon."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_dataset import VIDEO, Task, run_task, write_dataset, write_part

from shards import (
    DatasetFolder,
    MissingPackage,
    NotADataset,
    Sample,
    ShardsError,
    as_webdataset,
    open_dataset,
)

Fields = dict[str, Any]


def fields_of(sample: Sample) -> Fields:
    """A sample as other readers name its members."""
    arrays = {f"{name}.npy": array for name, array in sample.arrays.items()}
    texts = {f"{name}.txt": text for name, text in sample.text.items()}
    return {"json": sample.provenance} | arrays | texts


def wanted(dataset: Path, layout: str | None = None) -> dict[str, Fields]:
    return {sample.key: fields_of(sample) for sample in open_dataset(dataset).samples(layout)}


def assert_same(got: Fields, want: Fields, exact: bool = True) -> None:
    """All members are there and equal; `exact`: also in type and shape."""
    assert {name for name in got if not name.startswith("__")} == want.keys()
    for name, value in want.items():
        if not isinstance(value, np.ndarray):
            assert got[name] == value, name
            continue
        array = np.asarray(got[name])
        if exact:
            assert (array.dtype, array.shape) == (value.dtype, value.shape), name
        array = array.astype(value.dtype).reshape(value.shape)
        assert np.array_equal(array, value, equal_nan=value.dtype.kind == "f"), name


def test_plain_tar_and_numpy_read_it(finished: Path) -> None:
    """The system's tar lists it without a word of complaint; `tarfile` and `np.load` give the arrays."""
    want = wanted(finished)
    found: dict[str, Fields] = {}
    for path in sorted((finished / "shards").glob("*.tar")):
        listed = subprocess.run(["tar", "tf", str(path)], capture_output=True, text=True, check=True)
        assert listed.stderr == ""
        with tarfile.open(path) as tar:
            for info in tar:
                key, _, name = info.name.partition(".")
                file = tar.extractfile(info)
                assert file is not None
                found.setdefault(key, {})[name] = decoded(name, file.read())
    assert found.keys() == want.keys()
    for key, fields in found.items():
        assert_same(fields, want[key])


def decoded(name: str, data: bytes) -> Any:
    if name.endswith(".npy"):
        return np.load(io.BytesIO(data), allow_pickle=False)
    return json.loads(data) if name == "json" else data.decode()


leaves_files_open = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def webdataset() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it says when it is imported is not about us
        yield pytest.importorskip("webdataset")
    gc.collect()  # it leaves its files to the collector, which complains


@leaves_files_open
def test_webdataset_reads_it(webdataset: Any, finished: Path) -> None:
    """Its own decoding gives the same fields, for every sample once."""
    want = wanted(finished)
    shards = sorted(map(str, (finished / "shards").glob("*.tar")))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    assert [sample["__key__"] for sample in samples] == sorted(want, key=list(want).index) or len(
        samples
    ) == len(want)
    for sample in samples:
        assert_same(sample_without_place(sample), want[sample["__key__"]])


def sample_without_place(sample: Fields) -> Fields:
    return {name: value for name, value in sample.items() if not name.startswith("__")}


@leaves_files_open
def test_as_webdataset_is_ready(webdataset: Any, finished: Path) -> None:
    """A pipeline in the dataset's order, all or one layout, whose arrays belong to the user."""
    want = wanted(finished)
    samples = list(as_webdataset(finished))
    assert [sample["__key__"] for sample in samples] == list(want)
    for sample in samples:
        assert_same(sample_without_place(sample), want[sample["__key__"]])
        assert all(value.flags.writeable for value in sample.values() if isinstance(value, np.ndarray))
    alone = [sample["__key__"] for sample in as_webdataset(finished, "video")]
    assert alone == list(wanted(finished, "video"))
    shuffled = as_webdataset(finished, shardshuffle=3, seed=1).shuffle(5)
    assert sorted(sample["__key__"] for sample in shuffled) == sorted(want)


def test_as_webdataset_needs_a_dataset_and_the_package(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its own answer; the package's with the line that installs it."""
    pytest.importorskip("webdataset")
    with pytest.raises(NotADataset):
        as_webdataset(tmp_path)
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(MissingPackage, match="pip install webdataset"):
        as_webdataset(finished)


@pytest.fixture
def hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    return datasets


@contextlib.contextmanager
def their_warnings() -> Iterator[None]:
    """Let others warn: their habits are not what is tested here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize("layout", ["video", "video-audio"])
@pytest.mark.parametrize("streaming", [False, True])
def test_hugging_face_reads_it(
    hugging_face: Any, finished: Path, tmp_path: Path, layout: str, streaming: bool
) -> None:
    """Streaming or not, each layout by its name, equal arrays, although the first samples are empty."""
    want = wanted(finished, layout)
    with their_warnings():
        options = {} if streaming else {"cache_dir": str(tmp_path / "cache")}
        loaded = hugging_face.load_dataset(
            str(finished), layout, split="train", streaming=streaming, **options
        )
        plain, arrays = list(loaded), list(loaded.with_format("numpy"))
    assert [sample["__key__"] for sample in plain] == list(want)
    for sample, as_array in zip(plain, arrays, strict=True):
        fields = want[sample["__key__"]]
        assert_same(sample_without_place(sample), fields, exact=False)
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                assert as_array[name].shape == value.shape


def test_hugging_face_lists_the_layouts(hugging_face: Any, finished: Path) -> None:
    """One configuration per layout with shards."""
    with their_warnings():
        assert hugging_face.get_dataset_config_names(str(finished)) == ["video-audio", "video"]


def test_hugging_face_types_are_ours(hugging_face: Any, finished: Path) -> None:
    """No column's type is guessed: 64-bit times, 16-bit codes, texts."""
    with their_warnings():
        loaded = hugging_face.load_dataset(str(finished), "video-audio", split="train", streaming=True)
    features = loaded.features
    assert features["video.tokens.npy"] == hugging_face.Array3D((None, 4, 4), "uint16")
    assert features["latents.features.npy"] == hugging_face.Array2D((None, 5), "float16")
    assert features["jpegs.offsets.npy"] == hugging_face.List(hugging_face.Value("int64"))
    assert features["json"]["tracks"]["subs"]["valid"] == hugging_face.Value("int64")
    assert features["subs.txt"] == hugging_face.Value("string")


def test_energon_streams_it(finished: Path) -> None:
    """Without `prepare`: every sample once, equal arrays."""
    with their_warnings():
        energon: Any = pytest.importorskip("megatron.energon")

        @energon.stateless  # type: ignore[untyped-decorator]
        def cook(sample: Fields) -> Fields:
            return {**energon.basic_sample_keys(sample), "fields": sample_without_place(sample)}

        class Encoder(energon.DefaultTaskEncoder):  # type: ignore[misc]
            cookers = [energon.Cooker(cook)]  # noqa: RUF012  # energon's own form

            def batch(self, samples: list[Fields]) -> list[Fields]:
                return samples

        want = wanted(finished)
        loaded = energon.get_train_dataset(
            str(finished),
            worker_config=energon.WorkerConfig(rank=0, world_size=1, num_workers=0),
            batch_size=1,
            shuffle_buffer_size=None,
            max_samples_per_sequence=None,
            repeat=False,
            task_encoder=Encoder(),
        )
        samples = [batch[0] for batch in energon.get_loader(loaded)]
    assert sorted(sample["__key__"] for sample in samples) == sorted(want)
    for sample in samples:
        assert_same(sample["fields"], want[sample["__key__"]])


PACKAGE_OF = {"Fifth": "shards", "webdataset": "webdataset", "Hugging Face datasets": "datasets"}
PACKAGE_OF |= {"Megatron-Energon": "megatron.energon"}


@pytest.mark.parametrize("way", PACKAGE_OF)
def test_the_code_on_the_card_runs(finished: Path, tmp_path: Path, way: str) -> None:
    """Copied from the card as it is, with FOLDER set, it prints a line per sample of the layout."""
    with their_warnings():
        pytest.importorskip(PACKAGE_OF[way])
    card = (finished / "README.md").read_text()
    block = re.search(rf"\*\*{way}\*\*.*?```python\n(.*?)```", card, re.DOTALL)
    assert block is not None
    program = tmp_path / "program.py"
    program.write_text(f"FOLDER = {str(finished)!r}\n{block[1]}")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    keys = {line.split()[0] for line in done.stdout.splitlines() if re.match(r"[0-9a-f]{16}_\d{19} ", line)}
    assert keys >= wanted(finished, "video-audio").keys()


HOSTILE = [
    "50 % off.mp4",
    "a: b, {c} [d] # e.mp4",
    "'\"quoted\"'.mkv",
    "日本語 – ü.bag",
    "-n.wav",
    "a\nb\t.mp4",
    "| x |.mp4",
]


@leaves_files_open
def test_hostile_recording_names_reach_every_reader(webdataset: Any, tmp_path: Path) -> None:
    """Whatever a file is called: it is a value, never a key, a pattern or markup."""
    folder = DatasetFolder(tmp_path / "dataset")
    folder.create()
    task = Task(VIDEO, {name: range(2) for name in HOSTILE})
    write_part(folder, {0: task})
    run_task(folder, 0, task)
    folder.finish()
    names = [sample["json"]["recording"] for sample in as_webdataset(folder.path)]
    assert names == [name for name in HOSTILE for _ in range(2)]


@leaves_files_open
@pytest.mark.parametrize("name", ["a b", "a{b,c}", "x::y", "pipe:ls", "ü", "a%20b", "{000000..000003}"])
def test_hostile_folder_names_are_only_names(webdataset: Any, tmp_path: Path, name: str) -> None:
    """A path is never taken for a pattern, a command or a URL."""
    assert len(list(as_webdataset(write_dataset(tmp_path / name).path))) == 18


@pytest.mark.parametrize("name", ["what?", "#1"])
def test_a_path_that_webdataset_would_cut_is_refused(webdataset: Any, tmp_path: Path, name: str) -> None:
    """With the way out, instead of a file that is not found."""
    path = write_dataset(tmp_path / name).path
    assert len(list(open_dataset(path).samples())) == 18
    with pytest.raises(ShardsError, match=r"webdataset cuts a path at \? and #; rename the folder"):
        as_webdataset(path)
