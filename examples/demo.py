"""The whole way in one go: `python examples/demo.py FOLDER` (or `make demo`).

Makes a few recordings, shards them, reads the shards back and turns tokens into a film again. Each
command is shown before it runs, so that all of it can be repeated by hand.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
FIFTH = Path(sys.executable).with_name("fifth")
MARKER = ".made-by-the-demo"
"""Lies in a folder that the demo may empty when it runs again."""


def say(text: str) -> None:
    """Print a heading."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def run(*command: str | Path, expect: int = 0) -> None:
    """Show a command and run it; end the demo where it does not end as expected."""
    words = [str(word) for word in command]
    print(f"$ {shlex.join(words)}", flush=True)
    if words[0] == "fifth":
        words[0] = str(FIFTH)
    elif words[0] == "python":
        words[0] = sys.executable
    code = subprocess.run(words, check=False).returncode
    if code != expect:
        sys.exit(f"\nThis command ended with exit code {code}, not {expect}: the demo stops here.")


def fresh(folder: Path) -> None:
    """Make the folder, or empty it if an earlier demo made it."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            sys.exit(f"{folder} holds something that no demo made: name another folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


def key_of(dataset: Path, recording: str) -> str:
    """Return the key of a recording's first sample."""
    from shards import as_webdataset

    for sample in as_webdataset(dataset):
        if sample["json"]["recording"] == recording:
            return str(sample["__key__"])
    sys.exit(f"{dataset} has no sample of {recording}")


def main() -> None:
    """Run all steps in the folder that the command line names."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: python examples/demo.py FOLDER")
    folder = Path(sys.argv[1])
    recordings, dataset = folder / "recordings", folder / "dataset"
    begin = time.monotonic()
    fresh(folder)

    say("1. Make recordings: two videos, two robot recordings (ROS 2 and ROS 1), and a broken video")
    run("python", HERE / "make_recordings.py", recordings)

    say("2. Look inside. The broken one is named with its cause (and makes the exit code 3)")
    run("fifth", "probe", recordings, expect=3)

    say("3. Shard them. Exit code 3 says: all done, but something could not be read, and it is listed")
    run("fifth", "shard", recordings, dataset, expect=3)

    say("4. Read everything back and compare sizes, hashes and token ranges")
    run("fifth", "verify", dataset)

    say("5. Read it the way a training loop would, with nothing but the webdataset package")
    run("python", HERE / "read_shards.py", dataset)

    say("6. Turn tokens back into pictures, sound and numbers")
    run("fifth", "reconstruct", dataset, key_of(dataset, "videos/balls.mp4"), "-o", folder / "balls.mp4")
    run("fifth", "reconstruct", dataset, key_of(dataset, "robots/arm_1.mcap"), "-o", folder / "arm")

    say(f"Done in {time.monotonic() - begin:.0f} s. What to do next")
    bin_folder = shlex.quote(str(FIFTH.parent))
    print(f"""\
  Play what came back:     {folder / "balls.mp4"}, beside {recordings / "videos" / "balls.mp4"}
  Read about the dataset:  {dataset / "README.md"}
  Use your own recordings (videos, sound, .bag, .mcap, ROS 2 folders):
    export PATH={bin_folder}:$PATH
    fifth probe YOUR_FOLDER
    fifth shard YOUR_FOLDER YOUR_DATASET
  Run a stopped command again and it goes on where it was; add recordings and run it again to add them.""")


if __name__ == "__main__":
    main()
