"""The commands that make datasets of datasets: `fifth reshard` and `fifth export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ingest.cli_errors import FAILED, fail, speaks

quiet_option = click.option("--quiet", is_flag=True, help="Say nothing on the way.")


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option("--shuffle", is_flag=True, help="Put all samples of a layout in random order.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random order.")
@click.option("--shard-mb", type=int, default=512, show_default=True, help="Most bytes of a shard, in MiB.")
@click.option("--tracks", multiple=True, metavar="GLOB", help="Keep only tracks that match.")
@click.option("--where", default="", metavar="CONDITION", help="Keep only samples that fit.")
@click.option("--split", default="", metavar="NAME=SHARE,...", help="One dataset per split, by recording.")
@quiet_option
@speaks
def reshard(paths: tuple[str, ...], quiet: bool, **options: Any) -> None:
    """Write datasets anew as OUT (the last of PATHS): shuffled, merged, filtered, split.

    Samples stay as they are, with their provenance. Safe to run again. With --split, OUT/NAME is a dataset
    of its own for each NAME, and all samples of a recording are in one. A dataset may be an address, such as
    https://... or s3://...; OUT is a folder.

    A CONDITION compares recording, layout, id, seconds, start, tokens, tokens.TRACK, valid.TRACK or json.PATH
    with numbers or quoted texts: == != < <= > >=, ~ for globs; and, or, not, brackets.

    \b
    fifth reshard dataset/ shuffled/ --shuffle --seed 7
    fifth reshard monday/ tuesday/ week/ --shuffle --split train=0.9,validation=0.1
    fifth reshard dataset/ long/ --where "seconds >= 2 and recording ~ 'arm_*'" --tracks "camera*,state"
    """
    from ingest.errors import WrongUse
    from shards import Reshaping, WrongCondition, dataset_info, parse_shares
    from shards import reshard as write_anew

    if len(paths) < 2:
        raise WrongUse("reshard takes at least one DATASET and the folder OUT to write")
    if "://" in paths[-1]:
        raise WrongUse(f"OUT must be a folder on this machine, got {paths[-1]}; copy it there afterwards")
    globs = tuple(glob for given in options["tracks"] for glob in given.split(","))
    try:
        reshaping = Reshaping(
            shuffle=options["shuffle"],
            seed=options["seed"],
            shard_mb=options["shard_mb"],
            tracks=globs,
            where=options["where"],
            split=parse_shares(options["split"]) if options["split"] else {},
        )
    except WrongCondition as error:
        raise WrongUse(f"--where: {error}") from error
    say = (lambda line: None) if quiet else (lambda line: click.echo(f"fifth: {line}", err=True))
    for folder in write_anew(paths[:-1], paths[-1], reshaping, say):
        info = dataset_info(folder.path)
        size = f"{info['bytes'] / 1e6:.1f} MB in {len(info['shards'])} shards"
        click.echo(f"{folder.path}: {info['samples']} samples of {_with_samples(info)} recordings, {size}")


def _with_samples(info: dict[str, Any]) -> int:
    return sum(entry["samples"] > 0 for entry in info["per_recording"])


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--video", default="", metavar="NAME", help="Frame encoder to add (see: fifth encoders).")
@click.option("--depth", default="", metavar="NAME", help="Depth encoder to add.")
@click.option("--audio", default="", metavar="NAME", help="Sound encoder to add.")
@click.option("--signals", default="", metavar="NAME", help="Signal encoder to add.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes (default: number of cores).")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--quiet", is_flag=True, help="No progress.")
@speaks
def add(paths: tuple[Path, ...], workers: int | None, device: str, quiet: bool, **encoders: str) -> None:
    """Encode the recordings of a finished DATASET (the last of PATHS) with one more encoder.

    Nothing in DATASET changes: what is made lies in DATASET/added/SLUG, a dataset of its own with the same
    keys, and every command and reader of Fifth joins the two. The INPUTs before it hold the recordings, which
    are found by their content. Safe to run again, also after the dataset has grown.

    \b
    fifth add videos/ dataset/ --video hf:google/siglip2-base-patch16-256
    fifth add bags/ dataset/ --signals mulaw-1024
    """
    from ingest.adding import Addition, add_encoder
    from ingest.cli_progress import Display
    from ingest.cli_tables import run_line
    from ingest.errors import WrongUse

    media = {"video": "pictures", "depth": "depth", "audio": "sound", "signals": "signal"}
    asked = [Addition(media[option], name) for option, name in encoders.items() if name]
    if len(asked) != 1:
        raise WrongUse("add takes one of --video, --depth, --audio and --signals")
    if len(paths) < 2:
        raise WrongUse("add takes at least one INPUT and the DATASET to add to")
    display = Display(quiet)
    try:
        run, folder = add_encoder(
            paths[:-1], paths[-1], asked[0], workers=workers, device=device, listener=display
        )
    finally:
        display.close()
    click.echo(f"{folder}: {run_line(run)}")
    if run.unfinished:
        listed = "\n  ".join(run.unfinished[:10])
        fail(f"{len(run.unfinished)} tasks are not done:\n  {listed}\nRun the same command again.", FAILED)


@click.group()
def export() -> None:
    """Write a dataset in another format."""


@export.command()
@click.argument("dataset")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--shard-mb", type=int, default=64, show_default=True, help="Bytes of a shard, about, in MiB.")
@speaks
def mds(dataset: str, out: Path, shard_mb: int) -> None:
    """Write DATASET for MosaicML Streaming: OUT/LAYOUT is an MDS folder for each layout.

    \b
    fifth export mds dataset/ exported/
    """
    from shards import export_mds

    for layout, samples in export_mds(dataset, out, shard_mb).items():
        click.echo(f"{out / layout}: {samples} samples")


@export.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--layout", default="", metavar="NAME", help="Which layout, where the dataset has several.")
@click.option("--tracks", multiple=True, metavar="GLOB", help="Take only tracks that match.")
@click.option("--robot-type", default="unknown", show_default=True, help="What the robot is called.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@speaks
def lerobot(
    dataset: Path, out: Path, layout: str, tracks: tuple[str, ...], robot_type: str, as_json: bool
) -> None:
    """Write DATASET as a LeRobot dataset (version 3.0): values as stored, pictures reconstructed.

    An episode is an unbroken stretch of a recording in which every track has something at every step;
    steps without it are dropped and counted.

    \b
    fifth export lerobot dataset/ robot/
    """
    import json
    from dataclasses import asdict

    from ingest.lerobot_export import export_lerobot

    done = export_lerobot(dataset, out, layout, tracks, robot_type)
    if as_json:
        click.echo(json.dumps(asdict(done), indent=1, sort_keys=True))
        return
    click.echo(f"{out}: {done.episodes} episodes, {done.steps} steps")
    if done.dropped:
        click.echo(f"fifth: {done.dropped} steps at which a track has nothing are dropped", err=True)
    if done.left_out:
        click.echo(f"fifth: left out (no place in the format): {', '.join(done.left_out)}", err=True)
