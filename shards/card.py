"""`README.md` of a dataset: what is inside, how it was made, how to load it.

For people first; its front matter is for Hugging Face (`shards.hugging_face`). Made from the manifest
alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shards.canonical_json import json_page
from shards.hugging_face import front_matter

Json = dict[str, Any]
_MAX_CAUSES = 30
_MAX_SIZES = 8


def card(manifest: Json) -> str:
    """Return the dataset card."""
    lines = ["---", *front_matter(manifest["layouts"]), "---", ""]
    lines += _introduction(manifest)
    lines += _layouts(manifest)
    lines += _made(manifest)
    lines += _losses(manifest)
    lines += _loading(manifest)
    return "\n".join(lines) + "\n"


def _introduction(manifest: Json) -> Iterator[str]:
    totals, statuses = manifest["totals"], manifest["counts"]["recordings"]
    yield "# Tokenised recordings"
    yield ""
    yield (
        f"{_hours(totals['seconds_ns'])} of media as tokens, in WebDataset shards. "
        f"Recordings: {_number(totals['recordings'])}. Samples: {_number(totals['samples'])}. "
        f"Shards: {_number(totals['shards'])} ({_size(totals['bytes'])}). "
        f"Made by Fifth {manifest['fifth']}, format {manifest['format']}."
    )
    tasks = manifest["tasks"]
    if tasks["done"] < tasks["planned"]:
        yield ""
        yield (
            f"**Not finished**: {_number(tasks['done'])} of {_number(tasks['planned'])} tasks are done. "
            "Run the same command again to go on."
        )
    yield ""
    yield "| recordings | number |"
    yield "|---|---:|"
    for status in sorted(statuses):
        yield f"| {status} | {_number(statuses[status])} |"
    yield ""
    yield "| tokens of track | number |"
    yield "|---|---:|"
    for track in sorted(totals["tokens"]):
        yield f"| {track} | {_number(totals['tokens'][track])} |"
    yield ""


def _layouts(manifest: Json) -> Iterator[str]:
    yield "## What is inside"
    yield ""
    yield (
        "A *sample* is one clip of one recording. All samples of a *layout* have the same members in the "
        "same order; its shards are `shards/LAYOUT-NUMBER.tar`. A sample's key is the first 16 hex digits of "
        "its recording's content id, `_`, and the clip's start in nanoseconds after the recording's origin. "
        "Axes: T time, H and W height and width, K codes of one place, D columns, N bytes; *codes* is how "
        "many different ones there are per codebook. Features are continuous outputs: what was done to the "
        "media before, and what to do with the numbers, stands with the encoder's settings in `fifth.json`."
    )
    for layout in manifest["layouts"]:
        yield ""
        yield f"### {layout['name']}"
        yield ""
        yield (
            f"Samples: {_number(layout['samples'])} ({_hours(layout['seconds_ns'])}). "
            f"Shards: {_number(layout['shards'])} ({_size(layout['bytes'])})."
        )
        yield ""
        yield "| track | medium | encoder | axes | codes | rate, Hz | tokens |"
        yield "|---|---|---|---|---|---|---:|"
        for track in layout["tracks"]:
            yield _track_row(track, layout["tokens"].get(track["name"], 0))
        yield ""
        yield "| member | what | type |"
        yield "|---|---|---|"
        for member in layout["members"]:
            yield f"| `{member['name']}` | {_what(member['name'])} | {_type(member)} |"
        columns = {track["name"]: track["columns"] for track in layout["tracks"] if track.get("columns")}
        for track, names in columns.items():
            yield ""
            yield f"Columns of `{track}`: {', '.join(f'`{name}`' for name in names)}."
    yield ""


def _track_row(track: Json, tokens: int) -> str:
    spec = track.get("spec") or {}
    cells = (
        track["name"],
        track.get("medium", ""),
        f"`{spec['encoder']}` r{spec.get('revision', '?')}" if spec.get("encoder") else "–",
        spec.get("axes") or "–",
        "features" if spec.get("kind") == "features" else _sizes(spec.get("codebook_sizes") or []),
        track.get("rate") or "native",
        _number(tokens),
    )
    return f"| {' | '.join(cells)} |"


def _sizes(codebook_sizes: list[int]) -> str:
    if len(set(codebook_sizes)) <= 1:
        return ", ".join(map(_number, codebook_sizes[:1])) or "–"
    more = ", …" if len(codebook_sizes) > _MAX_SIZES else ""
    return ", ".join(map(_number, codebook_sizes[:_MAX_SIZES])) + more


def _what(member: str) -> str:
    if member == "json":
        return (
            "provenance: recording, content id, start and stop in ns; per track valid length and grid start"
        )
    meanings = {
        ".tokens.npy": "codes, time first",
        ".offsets.npy": "where the codes of each time step begin in the tokens, and the end",
        ".features.npy": "continuous outputs, time first",
        ".times.npy": "times in ns, relative to the clip's start",
        ".values.npy": "values beside their tokens, NaN where invalid",
        ".txt": "one line per cue; line breaks inside a cue are `\\n`",
    }
    return next((text for ending, text in meanings.items() if member.endswith(ending)), "bytes")


def _type(member: Json) -> str:
    if "dtype" not in member:
        return "JSON" if member["name"] == "json" else "UTF-8" if member["name"].endswith(".txt") else "bytes"
    sizes = ", ".join("?" if size is None else str(size) for size in member["shape"])
    return f"{member['dtype']} [{sizes}]"


def _made(manifest: Json) -> Iterator[str]:
    yield "## How it was made"
    yield ""
    yield f"Configuration, sha256 `{manifest['configuration_digest']}`:"
    yield ""
    yield "```json"
    yield json_page(manifest["configuration"]).decode().rstrip()
    yield "```"
    yield ""
    yield (
        "The full token specs (enough to rebuild each encoder) stand in `fifth.json`, what was planned in "
        "`plan/`, what became of it in `records/` and `tables/`. The same recordings, configuration, library "
        "versions and kind of device give the same bytes."
    )
    yield ""


def _losses(manifest: Json) -> Iterator[str]:
    counts = manifest["counts"]
    yield "## What was lost, repaired or passed over"
    for name, title in (
        ("failures", "Media lost"),
        ("notes", "Repaired or ignored"),
        ("passed_over", "No recordings"),
    ):
        found: Mapping[str, int] = counts[name]
        yield ""
        if not found:
            yield f"{title}: nothing."
            continue
        yield f"| {title} | times |"
        yield "|---|---:|"
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        for cause, times in ordered[:_MAX_CAUSES]:
            yield f"| {_cell(cause)} | {_number(times)} |"
        if len(ordered) > _MAX_CAUSES:
            rest = sum(times for _, times in ordered[_MAX_CAUSES:])
            yield f"| … and {len(ordered) - _MAX_CAUSES} other causes | {_number(rest)} |"
    yield ""
    yield "Each one, with recording and time span: `tables/failures.jsonl`, or `fifth info FOLDER`."
    yield ""


def _loading(manifest: Json) -> Iterator[str]:
    loadable = [layout for layout in manifest["layouts"] if layout["shards"]]
    if not loadable:
        return
    layout = loadable[0]
    arrays = [member["name"] for member in layout["members"] if member["name"].endswith(".npy")]
    member = arrays[0] if arrays else "json"
    yield _LOADING.format(
        layout=layout["name"],
        member=member,
        lookup=f'sample.arrays["{member.removesuffix(".npy")}"].shape' if arrays else "sample.provenance",
    )


_LOADING = """\
## How to load it

With `FOLDER` as the path of this folder.

**Fifth** (its `shards` package; of others it needs numpy alone): memory-mapped, any sample by its key.

```python
from shards import open_dataset

dataset = open_dataset(FOLDER)
for sample in dataset.samples("{layout}"):
    print(sample.key, sample.provenance["recording"], {lookup})
```

**webdataset**

```python
import glob
import webdataset

shards = sorted(glob.glob(f"{{FOLDER}}/shards/{layout}-[0-9]*.tar"))
for sample in webdataset.WebDataset(shards, shardshuffle=False).decode():
    print(sample["__key__"], sample["json"]["recording"], sample["{member}"])
```

**Hugging Face datasets**

```python
from datasets import load_dataset

for sample in load_dataset(FOLDER, "{layout}", split="train", streaming=True).with_format("numpy"):
    print(sample["__key__"], sample["json"]["recording"], sample["{member}"])
```

**Megatron-Energon** (no `prepare` needed; a cooker makes of the crude sample what the model takes)

```python
from megatron.energon import (
    Cooker, DefaultTaskEncoder, WorkerConfig, basic_sample_keys, get_loader, get_train_dataset, stateless,
)

@stateless
def cook(sample):
    return dict(**basic_sample_keys(sample), recording=sample["json"]["recording"], value=sample["{member}"])

class Encoder(DefaultTaskEncoder):
    cookers = [Cooker(cook)]
    def batch(self, samples):
        return samples

dataset = get_train_dataset(
    FOLDER, worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0), batch_size=1,
    shuffle_buffer_size=None, max_samples_per_sequence=None, repeat=False, task_encoder=Encoder(),
)
for batch in get_loader(dataset):
    print(batch[0]["__key__"], batch[0]["recording"])
```"""


def _number(value: int) -> str:
    return f"{value:,}"


def _hours(seconds_ns: int) -> str:
    hours = seconds_ns / 3.6e12
    return f"{hours:,.1f} h" if hours >= 1 else f"{seconds_ns / 6e10:.1f} min"


def _size(size_bytes: int) -> str:
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:,.1f} {unit}"
    return f"{size_bytes / 1e3:,.1f} kB"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
