"""The command `fifth capacity`: what an inflow of media needs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ingest.cli_errors import speaks


@click.command()
@click.option(
    "--hours-per-minute", type=float, required=True, help="Hours of media that arrive every minute."
)
@click.option(
    "--measured",
    type=click.Path(path_type=Path),
    required=True,
    help="File of rates; our benchmarks write it.",
)
@click.option(
    "--set",
    "given",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Give or change a field of the file, such as machine.cores=64, machine.gpus=8, "
    "machine.price_per_hour=20, machine.network_bytes_per_second=3e9, "
    "storage.price_per_terabyte_month=20, storage.keep_days=365, storage.keep_input=false, read_back=1.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@speaks
def capacity(hours_per_minute: float, measured: Path, given: tuple[str, ...], as_json: bool) -> None:
    """Say which machines, storage and money keep pace with an inflow, stage by stage.

    Nothing is assumed: what is neither measured nor given is an error that names it. The format of the file
    is described in `ingest/capacity.py`.

    \b
    fifth capacity --hours-per-minute 500 --measured rates.json --set machine.price_per_hour=2.5
    """
    from ingest.capacity import capacity as work_out
    from ingest.capacity import capacity_json, read_measured, with_given
    from ingest.errors import WrongUse

    values = {}
    for text in given:
        field, equals, value = text.partition("=")
        if not (field and equals and value):
            raise WrongUse(f"--set takes FIELD=VALUE, got {text!r}")
        values[field] = value
    found = work_out(hours_per_minute, with_given(read_measured(measured), values))
    if as_json:
        click.echo(json.dumps(capacity_json(found), indent=1))
        return
    from ingest.capacity_table import capacity_table

    click.echo(capacity_table(found, hours_per_minute))
