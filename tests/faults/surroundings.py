"""Faults of the surroundings: the disk is full, read-only or gone, the run is killed, two runs meet.

    sudo python tests/faults/surroundings.py [--kills N]        (Linux: it mounts small tmpfs folders)

Not part of the suite. Each fault is made while recordings are sharded; then what is there is verified, the
fault is taken away, and the same run again must give the bytes of one that nobody disturbed. Prints a table
in Markdown, as in `tests/faults.md`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import torch  # noqa: F401 # once, not in every child

from ingest.cli_errors import exit_code_of
from ingest.configuration import Settings
from ingest.pipeline import shard_recordings
from shards import DatasetFolder, Problem, verify_dataset

sys.path.insert(0, str(Path(__file__).parent.parent / "made_media"))

from made_sound import tone, write_sound
from made_video import Pictures, write_video

SETTINGS = Settings(clip_seconds=Fraction(1), fps=Fraction(4), size=64, device="cpu", shard_seconds=2)
STOPPED = ("left by a stopped run", "not finished", "no shard that a record names", "is missing")
ROOM = "64m"


def make_recordings(folder: Path) -> None:
    """Write sounds and videos: eight tasks."""
    folder.mkdir()
    for number in range(5):
        write_sound(folder / f"{number}.wav", tone(200 + 100 * number, 2))
    for number in range(3):
        write_video(folder / f"{number}.mp4", Pictures(frames=40 + number))


def hashes(out: Path) -> dict[str, str]:
    """Return the sha256 of everything that must not depend on how a dataset was made."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("run.jsonl", ".lock") and ".locks" not in path.parts
    }


def start(inputs: Path, out: Path, told: Path) -> int:
    """Begin a run in a child; its last words and exit code go to `told`."""
    child = os.fork()
    if child:
        return child
    words, code = "done", 0
    try:
        run = shard_recordings([inputs], out, SETTINGS, workers=0)
        if run.unfinished:
            words, code = run.unfinished[0], 1
    except Exception as error:
        words, code = f"{type(error).__name__}: {error}", exit_code_of(error) or 99
    told.write_text(words.replace(str(out), "OUT"))
    os._exit(code)


def ended(child: int) -> int:
    """Wait for a run; return its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def when(condition: Callable[[], bool], child: int) -> None:
    """Wait until something holds, or the run has ended."""
    while not condition():
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return
        time.sleep(0.001)


def half_done(problems: list[Problem]) -> list[Problem]:
    """Return what a stopped run may not leave."""
    files = ("fifth.json", ".nv-meta/.info.json", "README.md")
    return [p for p in problems if not any(word in p.what for word in STOPPED) and p.file not in files]


class Trial:
    """One folder in which faults are made, with what an undisturbed run gives."""

    def __init__(self, folder: Path) -> None:
        self.inputs, self.told, self.mounted = folder / "in", folder / "told", folder / "mounted"
        self.out = self.mounted / "out"
        make_recordings(self.inputs)
        assert ended(start(self.inputs, folder / "whole", self.told)) == 0, self.told.read_text()
        self.whole = hashes(folder / "whole")
        self.size_bytes = sum(path.stat().st_size for path in (folder / "whole").rglob("*"))
        self.mounted.mkdir()

    @contextlib.contextmanager
    def mount(self, room: str) -> Iterator[None]:
        """Have a small disk of one's own."""
        mount("-t", "tmpfs", "-o", f"size={room}", "tmpfs", str(self.mounted))
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", str(self.mounted)], check=True)

    def run(self) -> int:
        return ended(start(self.inputs, self.out, self.told))

    def report(self, fault: str, how: str, code: int, spoke: bool = True) -> bool:
        """Verify what is there, run again, compare, print."""
        bad = half_done(verify_dataset(self.out)) if DatasetFolder(self.out).is_dataset() else []
        words = self.told.read_text() if spoke else ""
        again = self.run()
        equal = again == 0 and hashes(self.out) == self.whole and not verify_dataset(self.out)
        happened = f"{code}: {words[:110]}" if words else str(code)
        then = "equal" if equal else f"NOT EQUAL ({again}: {self.told.read_text()[:100]})"
        half = f"; HALF DONE: {bad[0]}" if bad else ""
        print(f"| {fault} | {how} | {happened}{half} | {then} |", flush=True)
        return equal and not bad


def mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def full_disks(trial: Trial) -> Iterator[bool]:
    """The disk is full at each kind of write: ever more room, until it suffices."""
    seen: set[str] = set()
    for room in range(4096, 2 * trial.size_bytes + 400_000, 4096):
        with trial.mount(str(room)):
            code = trial.run()
            if code == 0:
                return
            written = {path.parent.name for path in trial.out.rglob("*") if path.is_file()}
            last = next(
                (name for name in ("tables", "records", "shards", "plan") if name in written), "nothing"
            )
            stage = f"{last}, {len(list(trial.out.glob('records/*')))} records"
            if stage in seen:
                continue
            seen.add(stage)
            mount("-o", f"remount,size={ROOM}", str(trial.mounted))
            yield trial.report("full disk", f"a tmpfs of {room >> 10} KiB: full after {stage}", code)


def read_only(trial: Trial) -> Iterator[bool]:
    """Read-only from the start, and from the middle on."""
    with trial.mount(ROOM):
        mount("-o", "remount,ro", str(trial.mounted))
        code = trial.run()
        mount("-o", "remount,rw", str(trial.mounted))
        yield trial.report("read-only output", "from the start", code)
    for name in ("records", "shards", "tables"):
        with trial.mount(ROOM):
            child = start(trial.inputs, trial.out, trial.told)
            when(lambda: len(list(trial.out.glob("records/*.json"))) >= 2, child)
            place = trial.out / name
            shutil.copytree(place, trial.mounted / "kept")
            mount("-t", "tmpfs", "tmpfs", str(place))
            shutil.copytree(trial.mounted / "kept", place, dirs_exist_ok=True)
            mount("-o", "remount,ro", str(place))
            code = ended(child)
            subprocess.run(["umount", str(place)], check=True)
            shutil.rmtree(trial.mounted / "kept")
            yield trial.report("read-only output", f"`{name}/` becomes so in the middle", code)


def vanishing(trial: Trial) -> Iterator[bool]:
    """The output is removed, or its disk is taken away, in the middle."""
    with trial.mount(ROOM):
        child = start(trial.inputs, trial.out, trial.told)
        when(lambda: len(list(trial.out.glob("records/*.json"))) >= 2, child)
        trial.out.rename(trial.mounted / "gone")
        code = ended(child)
        shutil.rmtree(trial.out, ignore_errors=True)
        (trial.mounted / "gone").rename(trial.out)
        yield trial.report("output vanishes", "renamed in the middle, back for the next run", code)
    with trial.mount(ROOM):
        child = start(trial.inputs, trial.out, trial.told)
        when(lambda: len(list(trial.out.glob("records/*.json"))) >= 2, child)
        shutil.rmtree(trial.out, ignore_errors=True)
        code = ended(child)
        shutil.rmtree(trial.out, ignore_errors=True)
        yield trial.report("output vanishes", "removed in the middle", code)
    with trial.mount(ROOM):
        child = start(trial.inputs, trial.out, trial.told)
        when(lambda: len(list(trial.out.glob("records/*.json"))) >= 2, child)
        subprocess.run(["umount", "-l", str(trial.mounted)], check=True)
        code = ended(child)
        shutil.rmtree(trial.out, ignore_errors=True)
        mount("-t", "tmpfs", "tmpfs", str(trial.mounted))
        yield trial.report("output vanishes", "its disk is unmounted in the middle", code)


def killed(trial: Trial, count: int) -> Iterator[bool]:
    """`kill -9` at random moments, several in a row on one dataset."""
    randomly = random.Random(3)
    begun = time.monotonic()
    with trial.mount(ROOM):
        trial.run()
    seconds = time.monotonic() - begun
    for number in range(count):
        with trial.mount(ROOM):
            records, bad = [], []
            for _ in range(3):
                child = start(trial.inputs, trial.out, trial.told)
                time.sleep(randomly.uniform(0, seconds / 2))
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                ended(child)
                records.append(len(list(trial.out.glob("records/*.json"))))
                if DatasetFolder(trial.out).is_dataset():
                    bad += half_done(verify_dataset(trial.out))
            how = f"run {number + 1}: three times, with {', '.join(map(str, records))} records done"
            yield trial.report("`kill -9`", how, -9, spoke=False) and not bad


def two_at_once(trial: Trial) -> Iterator[bool]:
    """The second run is refused, with host and process of the first; a killed holder is none."""
    with trial.mount(ROOM):
        first = start(trial.inputs, trial.out, trial.mounted / "first")
        when(lambda: bool(list(trial.out.glob("plan/*.jsonl"))), first)
        code = trial.run()
        words = trial.told.read_text()
        named = f"process {first} on {os.uname().nodename}" in words
        first_code = ended(first)
        trial.told.write_text(words.replace(str(first), "PID").replace(os.uname().nodename, "HOST"))
        yield trial.report(
            "two runs at once", f"the second while the first plans (that ends with {first_code})", code
        )
        yield named


def main() -> int:
    """Make all faults; return how many did not end well."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--only", default="")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder))
        print(f"{len(trial.whole)} files, {trial.size_bytes} bytes\n")
        print(
            "| fault | how it was made | exit code, last words | bytes after the next run |\n"
            "|---|---|---|---|"
        )
        kinds: dict[str, Callable[[], Iterator[bool]]] = {
            "full": lambda: full_disks(trial),
            "read-only": lambda: read_only(trial),
            "vanishing": lambda: vanishing(trial),
            "two": lambda: two_at_once(trial),
            "killed": lambda: killed(trial, words.kills),
        }
        results = [good for name, make in kinds.items() if words.only in name for good in make()]
    print(f"\n{results.count(True)} of {len(results)} ended well")
    return results.count(False)


if __name__ == "__main__":
    sys.exit(main() != 0)
