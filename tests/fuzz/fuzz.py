"""Damage inputs of one kind and see that each is used or reported, and nothing else happens.

    python tests/fuzz/fuzz.py mcap --inputs 10000 --seed 1 --out found/
    python tests/fuzz/fuzz.py mcap --only 4711 --seed 1 --out found/      one of them again, its files kept
    python tests/fuzz/fuzz.py all --inputs 20 --made                      made media only, every kind

Input number N of a kind follows from seed and number alone. What goes wrong is written to `--out`: the
input, what happened, and how to have it again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

import dataset_targets
import hostile
import recording_targets
import seeds
import setting_targets
from fork_server import ForkServer, Limits, Result
from mutations import damaged, damaged_json, damaged_text, json_text
from structures import Field, fields_of

Seed = seeds.Seed
DEFECTS = ("crash", "hang", "memory", "escape", "foreign", "silent", "wrong")
HOSTILE_SHARE = 0.03
KEPT_PER_CAUSE = 3


@dataclass
class Kind:
    """What is damaged, how, and what reads it."""

    name: str
    seeds: list[Seed]
    run: Callable[[Seed, Path, int], recording_targets.Outcome]
    make: Callable[[Seed, list[bytes], random.Random], Seed]
    hostile: list[hostile.Make] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.others = [data for seed in self.seeds for data in seed.values() if len(data) < 200_000]

    def input(self, seed: int, number: int) -> Seed:
        """Return the files of an input. The first inputs are the hostile ones, then the seeds themselves."""
        if number < len(self.hostile):
            return self.hostile[number]()
        number -= len(self.hostile)
        if number < len(self.seeds):
            return self.seeds[number]
        rng = random.Random(f"{self.name} {seed} {number}")
        return self.make(rng.choice(self.seeds), self.others, rng)


_FIELDS: dict[int, list[Field]] = {}


def _fields(data: bytes) -> list[Field]:
    """Return a seed's length fields, found once."""
    if id(data) not in _FIELDS:
        _FIELDS[id(data)] = fields_of(data)
    return _FIELDS[id(data)]


def damaged_files(seed: Seed, others: list[bytes], rng: random.Random) -> Seed:
    """Return a folder of recordings with damage in one file or two."""
    made = dict(seed)
    names = sorted(made)
    for name in rng.sample(names, min(len(names), rng.choice((1, 1, 1, 2)))):
        data = made[name]
        if name.endswith((".json", ".jsonl", ".yaml")) and rng.random() < 0.85:
            made[name] = _damaged_text(data, others, name, rng)
        else:
            made[name] = damaged(data, others, _fields(data), rng)
    return made


def _damaged_text(data: bytes, others: list[bytes], name: str, rng: random.Random) -> bytes:
    if name.endswith(".yaml"):
        return damaged_text(data.decode("utf-8", "replace"), (), rng).encode("utf-8", "surrogatepass")
    if name.endswith(".json"):
        return json_text(damaged_json(json.loads(data), rng), rng)
    lines = data.splitlines()
    place = rng.randrange(len(lines))
    lines[place] = json_text(damaged_json(json.loads(lines[place]), rng), rng)
    return b"\n".join(lines) + b"\n"


def _recordings(name: str, found: list[Seed], hostile_inputs: list[hostile.Make]) -> Kind:
    return Kind(name, found, recording_targets.run_input, damaged_files, hostile_inputs)


def _datasets() -> list[Seed]:
    return [dict(seeds.made_dataset_seed()), dict(seeds.true_dataset_seed())]


def _shards_kind() -> Kind:
    found = _datasets()

    def make(seed: Seed, others: list[bytes], rng: random.Random) -> Seed:
        if rng.random() < 0.1:
            return dataset_targets.hostile_archive(seed, rng)
        return dataset_targets.damaged_shards(seed, others, rng)

    def with_odd(seed: Seed, what: str) -> Seed:
        return {**seed, "odd": what.encode()}

    odd: list[hostile.Make] = [
        partial(with_odd, seed, what) for what in dataset_targets.LINKS for seed in found
    ]

    def run(seed: Seed, folder: Path, number: int) -> recording_targets.Outcome:
        what = seed.get("odd", b"").decode()
        files = {name: data for name, data in seed.items() if name != "odd"}
        return dataset_targets.read_dataset(files, folder, number, what)

    return Kind("shards", found, run, make, odd)


def _remote_kind() -> Kind:
    def make(seed: Seed, others: list[bytes], rng: random.Random) -> Seed:
        way = dataset_targets.damaged_shards if rng.random() < 0.3 else dataset_targets.damaged_texts
        return way(seed, others, rng)

    return Kind("remote", _datasets(), dataset_targets.read_remote, make)


KINDS: dict[str, Callable[[], Kind]] = {
    "video": lambda: _recordings("video", seeds.video_seeds(), hostile.video_inputs()),
    "sound": lambda: _recordings("sound", seeds.sound_seeds(), hostile.sound_inputs()),
    "bag": lambda: _recordings("bag", seeds.bag_seeds(), hostile.bag_inputs()),
    "mcap": lambda: _recordings("mcap", seeds.mcap_seeds(), hostile.mcap_inputs()),
    "sqlite": lambda: _recordings("sqlite", seeds.sqlite_seeds(), hostile.sqlite_inputs()),
    "packed": lambda: _recordings("packed", seeds.packed_seeds(), hostile.packed_inputs()),
    "lerobot": lambda: _recordings("lerobot", seeds.lerobot_seeds(), hostile.lerobot_inputs()),
    "shards": _shards_kind,
    "dataset": lambda: Kind(
        "dataset", _datasets(), dataset_targets.read_dataset, dataset_targets.damaged_texts
    ),
    "remote": _remote_kind,
    "settings": lambda: Kind(
        "settings", [{"map": b"a=/b"}], setting_targets.read_settings, setting_targets.make_settings
    ),
    "small": lambda: Kind(
        "small", setting_targets.small_files(), setting_targets.read_small, setting_targets.make_small
    ),
}


def ready(name: str) -> Kind:
    """Return a kind; what reads it has run once here, so that all is imported before anything is forked."""
    kind = KINDS[name]()
    if kind.run is recording_targets.run_input:
        recording_targets.prepare()
    if name == "small":
        setting_targets.keep_stream(Path(tempfile.mkdtemp(prefix="fuzz-stream-")))
    for seed in kind.seeds[:3]:
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Exception):
            kind.run(seed, Path(folder), 0)
    return kind


@dataclass
class Tally:
    """What became of a kind's inputs."""

    kind: str
    outcomes: Counter[str] = field(default_factory=Counter)
    causes: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: float = 0.0
    slowest: float = 0.0
    most_bytes: int = 0

    def add(self, result: Result) -> None:
        """Count a result."""
        self.outcomes[result.outcome] += 1
        self.seconds += result.seconds
        self.slowest = max(self.slowest, result.seconds)
        self.most_bytes = max(self.most_bytes, result.grown_bytes)
        if result.outcome in DEFECTS:
            self.causes[result.outcome, result.about] += 1

    def line(self) -> str:
        """Return the tally as one line."""
        total = sum(self.outcomes.values())
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self.outcomes.items()))
        rate = total / self.seconds if self.seconds else 0
        return (
            f"{self.kind}: {total} inputs: {counts}; {rate:.0f} a second of CPU, "
            f"the slowest {self.slowest:.2f} s, at most {self.most_bytes >> 20} MiB"
        )


def keep(out: Path, kind: Kind, seed: int, result: Result) -> None:
    """Write an input, what it did, and how to have it again."""
    folder = out / f"{kind.name}-{seed}-{result.number}"
    recording_targets.write_seed(kind.input(seed, result.number), folder / "input")
    again = f"python tests/fuzz/fuzz.py {kind.name} --only {result.number} --seed {seed} --out {out}"
    text = f"{result.outcome}: {result.about}\n{again}\n\n{result.detail}\n"
    (folder / "what.txt").write_text(text, errors="backslashreplace")


def fuzz(
    kind: Kind, seed: int, numbers: Sequence[int], out: Path | None, limits: Limits, every: int = 0
) -> Tally:
    """Run inputs of one kind."""
    tally = Tally(kind.name)

    def make(number: int) -> Seed:
        return kind.input(seed, number)

    def run(given: Seed, number: int, folder: Path) -> recording_targets.Outcome:
        return kind.run(given, folder, number)

    for result in ForkServer(make, run, limits).results(numbers):
        tally.add(result)
        if result.outcome in DEFECTS:
            count = tally.causes[result.outcome, result.about]
            if out is not None and count <= KEPT_PER_CAUSE:
                keep(out, kind, seed, result)
            if count == 1:
                print(f"{kind.name} {result.number}: {result.outcome}: {result.about}", flush=True)
        if every and sum(tally.outcomes.values()) % every == 0:
            print(tally.line(), flush=True)
    return tally


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=[*KINDS, "all"])
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="this input alone")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--made", action="store_true", help="made media only")
    parser.add_argument("--cpu-seconds", type=float, default=30.0)
    parser.add_argument("--without-hostile", action="store_true")
    chosen = parser.parse_args()
    if chosen.made:
        os.environ.pop("FIFTH_MEDIA", None)
    failed = 0
    for name in KINDS if chosen.kind == "all" else [chosen.kind]:
        kind = ready(name)
        if chosen.without_hostile:
            kind.hostile = []
        numbers = range(chosen.first, chosen.first + chosen.inputs) if chosen.only is None else [chosen.only]
        tally = fuzz(
            kind, chosen.seed, numbers, chosen.out, Limits(cpu_seconds=chosen.cpu_seconds), every=1000
        )
        print(tally.line(), flush=True)
        for (outcome, about), count in tally.causes.most_common():
            print(f"  {count} x {outcome}: {about}", flush=True)
        failed += sum(tally.causes.values())
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
