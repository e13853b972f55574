"""The command `fifth repair`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ingest.cli_errors import FAILED, WITH_FAILURES, fail, speaks


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.argument("inputs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes (default: number of cores).")
@click.option("--quiet", is_flag=True, help="No progress.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@speaks
def repair(
    dataset: Path, inputs: tuple[Path, ...], dry_run: bool, workers: int | None, quiet: bool, as_json: bool
) -> None:
    """Make again exactly what is damaged in DATASET, from its own files and from its recordings in INPUTS.

    What is made again has the bytes that were there, or nothing is replaced and the reason is told; all other
    files stay untouched. Without INPUTS only what the dataset itself still tells is made again: tables,
    manifest and card, an index, a record, what stands around a shard's data.

    Exit code 0: all is well afterwards. 3: something stays damaged. 1: nothing could be mended.

    \b
    fifth repair dataset/ --dry-run
    fifth repair dataset/ videos/
    """
    from ingest.cli_progress import Display
    from ingest.repairing import repair as make_again

    display = Display(quiet)
    try:
        done = make_again(dataset, inputs, dry_run=dry_run, workers=workers, listener=display)
    finally:
        display.close()
    if as_json:
        mended = [{"file": made.file, "how": made.how} for made in done.mended]
        left = [{"file": entry.file, "why": entry.why} for entry in done.left]
        click.echo(json.dumps({"mended": mended, "left": left}, indent=1))
    else:
        for line in map(str, done.mended):
            click.echo(line)
        if not (done.mended or done.left):
            click.echo(f"{dataset}: nothing is damaged")
    for entry in done.left:
        click.echo(f"fifth: {entry}", err=True)
    if done.left and not done.mended:
        fail(f"{dataset}: {len(done.left)} files stay as they are", FAILED)
    sys.exit(WITH_FAILURES if done.left else 0)
