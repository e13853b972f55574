"""The commands that make and judge our own encoders: `fifth train` and `fifth evaluate`.

Each medium is a command of `train` below, with the options that all of them share and its own, and calls
one function of a module of its own: `ingest.training_video`, `ingest.training_audio`, ....
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ingest.cli_errors import speaks

Command = TypeVar("Command", bound=Callable[..., Any])


def training_options() -> Callable[[Command], Command]:
    """Return the options that every training command has."""
    options = (
        click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder to train on."),
        click.option(
            "--out", required=True, type=click.Path(path_type=Path), help="The .safetensors file to write."
        ),
        click.option(
            "--held-out", type=click.Path(path_type=Path), help="Folder to score on; never trained on."
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Of all that is drawn."),
        click.option("--quiet", is_flag=True, help="No progress."),
    )

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.group()
def train() -> None:
    """Train an encoder of our own on a folder of recordings.

    \b
    fifth train video --data videos/ --out video.safetensors
    """


@train.command()
@training_options()
@click.option("--crop", type=int, default=128, show_default=True, help="Edge of a crop, in pixels.")
@speaks
def video(**options: Any) -> None:
    """Fit `fifth-video` to the pictures of all recordings below a folder.

    Takes minutes on one core. Safe to run again: it goes on where it stopped. The same command makes the same
    file, byte for byte, on the same kind of machine.

    \b
    fifth train video --data videos/ --held-out others/ --out video.safetensors
    """
    from ingest.training_video import train_video

    train_video(**options)


@train.command()
@training_options()
@click.option("--steps", type=click.IntRange(min=1), default=1875, show_default=True, help="Steps in all.")
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, help="Crops per step.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@speaks
def audio(quiet: bool, **options: Any) -> None:
    """Train `fifth-audio` on the sound of all recordings below a folder.

    Safe to run again: it goes on where it stopped. The same command makes the same file, byte for byte, on
    the same kind of machine.

    \b
    fifth train audio --data sound/ --held-out others/ --out audio.safetensors
    """
    from ingest.training_sound import train_audio

    train_audio(**options, says=_silent if quiet else _said)


@train.command()
@click.option("--data", required=True, type=click.Path(path_type=Path), help="Folder to fit to.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The .json file to write.")
@click.option("--rows", type=int, default=50, show_default=True, help="Rows of a chunk.")
@click.option("--scale", type=int, default=50, show_default=True, help="Steps per half of a column's range.")
@click.option("--quiet", is_flag=True, help="No progress.")
@speaks
def signals(quiet: bool, **options: Any) -> None:
    """Fit `fast-1024` to the signals of all recordings below a folder, and say how well it does.

    Takes seconds. A tenth of each track is held out and scored. What is written holds a token spec per track,
    for `encoders.encoder_for`. `fifth shard --signals fast-1024` fits by itself and needs no file.

    \b
    fifth train signals --data bags/ --out signals.json
    """
    from ingest.training_signals import train_signals

    train_signals(**options, says=_silent if quiet else _said)


def _said(line: str) -> None:
    click.echo(f"fifth: {line}", err=True)


def _silent(line: str) -> None:
    """Say nothing."""


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path), help="File or folder to measure on.")
@click.option("--encoder", "names", multiple=True, metavar="NAME", help="Which (default: all that apply).")
@click.option("--picture", type=click.Path(path_type=Path), metavar="PNG", help="Draw originals and copies.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@speaks
def evaluate(data: Path, names: tuple[str, ...], picture: Path | None, as_json: bool) -> None:
    """Compare encoders with each other and with codecs at equal bits, on recordings they were not made from.

    \b
    fifth evaluate --data held-out/
    fifth evaluate --data held-out/ --encoder fifth-video --picture copies.png
    """
    from ingest.evaluating import evaluate_encoders, evaluation_table

    found = evaluate_encoders(data, names, picture)
    click.echo(json.dumps(found, indent=1, sort_keys=True) if as_json else evaluation_table(found))
