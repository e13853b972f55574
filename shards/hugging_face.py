"""The card's front matter: how Hugging Face `datasets` loads each layout.

    load_dataset(FOLDER, LAYOUT)        streaming or not, locally or from the Hub

Without `features` the loader infers types from the first five samples, and an n-d array that is empty
in all five fails later. With them every column has its type: arrays of 2 to 5 axes are `ArrayND`, whose
first axis may have any length; the loader's own columns `__key__` and `__url__` must stand there too.

Source: `datasets` 5.2, `packaged_modules/webdataset/webdataset.py` and `features/features.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from shards.layout import Layout, Member
from shards.provenance import Types

Json = dict[str, Any]

_TEXT = "string"


def front_matter(layouts: list[Json]) -> Iterator[str]:
    """Yield the lines between the two `---`.

    Args:
        layouts: the manifest's. Those without a shard are left out: there is nothing to load.
    """
    layouts = [layout for layout in layouts if layout["shards"]]
    head: Json = {"tags": ["fifth", "webdataset"]}
    if layouts:
        head["configs"] = [_config(layout["name"]) for layout in layouts]
        head["dataset_info"] = [
            {
                "config_name": layout["name"],
                "features": features(Layout.from_json(layout), layout["provenance"]),
            }
            for layout in layouts
        ]
    yield from _yaml(head, "")


def _config(layout: str) -> Json:
    # Layout `video` must not take the shards of `video-audio`, so the pattern spells out the digits of a
    # task's number: six, or more in a very large dataset.
    path = f"shards/{layout}-{'[0-9]' * 6}*.tar"
    return {"config_name": layout, "data_files": [{"split": "train", "path": path}]}


def features(layout: Layout, provenance: Types) -> list[Json]:
    """Return the columns of a layout, in the form of the front matter."""
    columns = [{"name": member.name, **_feature(member, provenance)} for member in layout.members]
    return [*columns, {"name": "__key__", "dtype": _TEXT}, {"name": "__url__", "dtype": _TEXT}]


def _feature(member: Member, provenance: Types) -> Json:
    if member.kind == "json":
        return {"struct": _struct(provenance)}
    if member.dtype is None:
        return {"dtype": _TEXT if member.kind == "text" else "binary"}
    name = np.dtype(member.dtype).name
    axes = len(member.shape)
    if axes == 0:
        return {"dtype": name}
    if 2 <= axes <= 5 and None not in member.shape[1:]:
        return {"dtype": {f"array{axes}_d": {"shape": list(member.shape), "dtype": name}}}
    feature: Any = name
    for _ in range(axes):
        feature = {"list": feature}
    return dict(feature)


def _struct(types: Types) -> list[Json]:
    return [{"name": name, **_json_feature(types[name])} for name in sorted(types)]


def _json_feature(types: Any) -> Json:
    if isinstance(types, dict):
        return {"struct": _struct(types)}
    if isinstance(types, list):
        item = types[0]
        return {"list": _struct(item) if isinstance(item, dict) else item}
    return {"dtype": types}


def _yaml(value: Any, indent: str) -> Iterator[str]:
    """Yield a mapping or list as lines of block YAML; scalars as JSON, which is YAML too."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, Mapping | list) and item and not _is_flat(item):
                yield f"{indent}{key}:"
                yield from _yaml(item, indent + ("  " if isinstance(item, Mapping) else ""))
            else:
                yield f"{indent}{key}: {json.dumps(item)}"
        return
    for item in value:
        if isinstance(item, Mapping):
            lines = list(_yaml(item, indent + "  "))
            yield f"{indent}- {lines[0].strip()}"
            yield from lines[1:]
        else:
            yield f"{indent}- {json.dumps(item)}"


def _is_flat(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(item, Mapping | list) for item in value)
