"""Small files: written whole, as canonical JSON, and as others parse them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_dataset import EVERYTHING, VIDEO

from shards import WrongPlan
from shards.atomic import is_temporary, temporary_path, write_whole
from shards.canonical_json import json_bytes, json_line, json_page
from shards.energon import dataset_yaml, info_json, split_yaml
from shards.hugging_face import front_matter

Json = dict[str, Any]
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    scalars | texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=40
)


@given(values)
def test_json_comes_back_from_every_form(value: Any) -> None:
    """Compact, as a line and as a page: the same value, in sorted order; a line is one line."""
    for data in (json_bytes(value), json_line(value), json_page(value)):
        assert json.loads(data) == value
    assert json_line(value).count(b"\n") == 1
    assert json_page(value) == json_page(json.loads(json.dumps(value)))


def test_a_page_is_for_people() -> None:
    """What fits on a line stands on one; a list of numbers always does."""
    value = {"b": {"x": 1, "y": [1, 2]}, "a": ["t" * 60, {"u": "v" * 60}], "c": list(range(60))}
    assert json_page(value).decode() == (
        "{\n"
        f' "a": [\n  "{"t" * 60}",\n  {{"u": "{"v" * 60}"}}\n ],\n'
        ' "b": {"x": 1, "y": [1, 2]},\n'
        f' "c": {list(range(60))}\n'
        "}\n"
    )


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, os.fsdecode(b"\xff"), {"a": object()}])
def test_what_is_not_json_is_refused(value: Any) -> None:
    """With the value in the message."""
    with pytest.raises(WrongPlan, match="cannot be written as JSON"):
        json_line({"value": value})
    with pytest.raises(WrongPlan, match="cannot be written as JSON"):
        json_page({"value": value})


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    """Its facts are those of its bytes, and nothing else is left in the folder."""
    facts = write_whole(tmp_path / "a.json", (piece for piece in (b"one", b"", b"two")))
    assert (tmp_path / "a.json").read_bytes() == b"onetwo"
    assert (facts.size_bytes, facts.sha256) == (6, hashlib.sha256(b"onetwo").hexdigest())
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_file_that_fails_half_way_is_as_it_was(tmp_path: Path) -> None:
    """Whatever stops the writing, the old file stays, and no temporary one."""
    write_whole(tmp_path / "a.json", [b"old"])

    def pieces() -> Iterator[bytes]:
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a.json", pieces())
    assert (tmp_path / "a.json").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["a.tar", "a.samples.npy", "fifth.json", ".info.json"])
def test_temporary_names_are_known_and_never_the_same(name: str) -> None:
    """No reader takes one for the real file: it ends otherwise."""
    first, second = (temporary_path(Path("x") / name) for _ in range(2))
    assert first != second
    assert is_temporary(first.name)
    assert not is_temporary(name)
    assert first.suffix == ".partial"


def entry(layout: Json, shards: int) -> Json:
    types = {
        "id": "string",
        "yes: no": ["int64"],
        "tracks": {"#": {"valid": "int64"}},
        "list": [{"x": "bool"}],
    }
    return layout | {"shards": shards, "provenance": types}


def test_the_front_matter_is_yaml() -> None:
    """Parsed, it is what Hugging Face expects; a layout without shards is not offered."""
    yaml = pytest.importorskip("yaml")
    other = VIDEO | {"name": "empty"}
    parsed = yaml.safe_load("\n".join(front_matter([entry(VIDEO, 1), entry(other, 0)])))
    path = "shards/video-[0-9][0-9][0-9][0-9][0-9][0-9]*.tar"
    assert parsed == {
        "tags": ["fifth", "webdataset"],
        "configs": [{"config_name": "video", "data_files": [{"split": "train", "path": path}]}],
        "dataset_info": [
            {
                "config_name": "video",
                "features": [
                    {
                        "name": "json",
                        "struct": [
                            {"name": "id", "dtype": "string"},
                            {"name": "list", "list": [{"name": "x", "dtype": "bool"}]},
                            {
                                "name": "tracks",
                                "struct": [{"name": "#", "struct": [{"name": "valid", "dtype": "int64"}]}],
                            },
                            {"name": "yes: no", "list": "int64"},
                        ],
                    },
                    {
                        "name": "video.tokens.npy",
                        "dtype": {"array3_d": {"shape": [None, 4, 4], "dtype": "uint16"}},
                    },
                    {"name": "video.times.npy", "list": "int64"},
                    {"name": "__key__", "dtype": "string"},
                    {"name": "__url__", "dtype": "string"},
                ],
            }
        ],
    }


def test_a_card_without_shards_offers_nothing() -> None:
    """There is no configuration that would fail to load."""
    assert list(front_matter([entry(EVERYTHING, 0)])) == ['tags: ["fifth", "webdataset"]']


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_files_for_energon_parse(count: int) -> None:
    """As JSON and YAML, with all shards for training, also when there is none."""
    yaml = pytest.importorskip("yaml")
    shards = [{"name": f"video-{n:06d}", "samples": n + 1} for n in range(count)]
    paths = [f"shards/video-{n:06d}.tar" for n in range(count)]
    info = json.loads(b"".join(info_json(shards)))
    assert info["shard_counts"] == {path: n + 1 for n, path in enumerate(paths)}
    split = yaml.safe_load(b"".join(split_yaml(shards)))
    assert split == {"exclude": [], "split_parts": {"train": paths, "val": [], "test": []}}
    assert yaml.safe_load(b"".join(dataset_yaml()))["__class__"] == "CrudeWebdataset"
