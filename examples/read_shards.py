"""Read a dataset with the `webdataset` package alone: `python examples/read_shards.py DATASET`.

The shards are plain WebDataset tars, so nothing of Fifth is needed. Samples of one layout have the same
fields with the same types; the layout is the shard's name without its number.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import webdataset


def shards_by_layout(dataset: Path) -> dict[str, list[str]]:
    """Return the paths of the shards of each layout, of a dataset or of a folder of tars."""
    folder = dataset / "shards" if (dataset / "shards").is_dir() else dataset
    layouts: dict[str, list[str]] = {}
    for tar in sorted(folder.glob("*.tar")):
        layouts.setdefault(tar.stem.rpartition("-")[0], []).append(str(tar))
    return layouts


def describe(value: Any) -> str:
    """Say in a few words what a decoded field is."""
    if hasattr(value, "dtype"):
        shape = ", ".join(str(size) for size in value.shape)
        return f"{value.dtype} [{shape}]"
    if isinstance(value, str):
        return repr(value) if len(value) < 60 else f"{value[:57]!r}..."
    if isinstance(value, dict):
        return f"{{{', '.join(value)}}}"
    return type(value).__name__


def main() -> None:
    """Print the number of samples of each layout and the fields of its first sample."""
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/read_shards.py DATASET")
    layouts = shards_by_layout(Path(sys.argv[1]))
    if not layouts:
        sys.exit(f"there are no shards in {sys.argv[1]}: make a dataset first, with fifth shard")
    for layout, tars in layouts.items():
        samples = list(webdataset.WebDataset(tars, shardshuffle=False, empty_check=False).decode())
        first = samples[0]
        print(f"layout {layout}: {len(samples)} samples. The first:")
        print(f"    {'key':<38} {first['__key__']}, from {first['json']['recording']}")
        for field, value in first.items():
            if not field.startswith("__"):
                print(f"    {field:<38} {describe(value)}")


if __name__ == "__main__":
    main()
