"""Flip one bit of every byte of a dataset, one after the other: verify must find each, and repair mend it.

    python tests/faults/every_byte.py DATASET [--repair INPUT...]

Not part of the suite: a dataset of 100 kB takes some minutes. Prints what was not found, and totals per file.
With --repair, every 97th damage is also mended, and must give the bytes that were there.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ingest.repairing import repair
from shards import verify_dataset

NOT_PROMISED = (".lock", "run.jsonl")
EVERY = 97


def flips(dataset: Path) -> Iterator[tuple[Path, int]]:
    """Yield every byte of every file that is promised."""
    for path in sorted(dataset.rglob("*")):
        if path.is_file() and path.name not in NOT_PROMISED:
            yield from ((path, place) for place in range(path.stat().st_size))


def main(words: list[str]) -> int:
    """Do it, and return how many bytes could change unseen or stayed damaged."""
    given, inputs = Path(words[0]), words[2:]
    randomly = random.Random(1)
    found: Counter[str] = Counter()
    missed = mended = 0
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "dataset"
        shutil.copytree(given, dataset)
        assert not verify_dataset(dataset), "the dataset is damaged already"
        for number, (path, place) in enumerate(flips(dataset)):
            whole = path.read_bytes()
            changed = bytearray(whole)
            changed[place] ^= 1 << randomly.randrange(8)
            path.write_bytes(changed)
            name = path.relative_to(dataset).as_posix()
            problems = verify_dataset(dataset)
            if any(problem.file == name and problem.kind == "changed" for problem in problems):
                found[name] += 1
            else:
                missed += 1
                print(f"byte {place} of {name}: {problems or 'not found'}")
            if inputs and number % EVERY == 0:
                done = repair(dataset, inputs, workers=0)
                mended += 1
                if path.read_bytes() != whole or done.left:
                    missed += 1
                    print(f"byte {place} of {name}: not mended: {done}")
                (dataset / "README.before-repair.md").unlink(missing_ok=True)
            path.write_bytes(whole)
    for name, count in sorted(found.items()):
        print(f"{count:8} {name}")
    print(f"{sum(found.values())} found and named, {mended} mended of them, {missed} not")
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) != 0)
