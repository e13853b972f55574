"""The command `fifth`: parses, calls one function, prints. Everything it does can be done from Python.

Results go to standard output (`--json` gives them as JSON), progress and warnings to standard error.
Exit codes: 0 all done; 1 could not do it, or everything failed; 2 wrong use; 3 done, with failures
that are listed. Heavy imports happen in the commands: `fifth --help` loads none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingest.cli_capacity import capacity
from ingest.cli_datasets import add, export, reshard
from ingest.cli_errors import FAILED, WITH_FAILURES, fail, speaks
from ingest.cli_models import evaluate, train
from ingest.cli_places import Place
from ingest.cli_repair import repair
from ingest.decoders.backends import DECODERS
from ingest.timing import fraction_of

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


if TYPE_CHECKING:  # generic for the type checker of newer versions only
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType


class Rate(ParamType):
    """A positive or negative number or fraction: `8`, `29.97`, `30000/1001`."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        """Read the number exactly."""
        if isinstance(value, Fraction):
            return value
        try:
            return fraction_of(str(value))
        except (ValueError, ZeroDivisionError):
            self.fail(f"{value!r} is no number such as 8, 29.97 or 30000/1001", param, ctx)


class SignalRate(Rate):
    """A rate, or `native`."""

    name = "number|native"

    def convert(  # type: ignore[override]
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Fraction | None:
        """Read `native` as None."""
        return None if value in (None, "native") else super().convert(value, param, ctx)


def check_islands() -> None:
    """End with a clear line where a folder of the user's shadows one of our packages."""
    from importlib.util import find_spec

    home = Path(__file__).resolve().parent.parent
    for name in ("encoders", "shards"):
        spec = find_spec(name)
        where = spec.submodule_search_locations if spec else None
        if not where or Path(next(iter(where))).resolve().parent != home:
            place = next(iter(where)) if where else "nowhere"
            fail(f"the package {name!r} is taken from {place}, not from Fifth: rename that folder", FAILED)


@click.group(context_settings=HELP)
@click.version_option(package_name="fifth", message="fifth %(version)s")
def main() -> None:
    """Turn video files and robot recordings into token shards for model training.

    \b
    fifth probe run7.mcap              what is inside a recording
    fifth shard videos/ dataset/       make a dataset; safe to run again
    fifth info dataset/                what came out, and what failed
    """
    check_islands()


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
paths_argument = click.argument("paths", nargs=-1, required=True, type=Place())
dataset_argument = click.argument("dataset", type=Place())
audio_format_option = click.option(
    "--audio-format",
    "audio_formats",
    multiple=True,
    metavar="TOPIC=FORMAT:RATE:CHANNELS",
    help="Format of raw sound in bags, such as /audio=s16le:16000:1.",
)


def parse_audio_formats(given: tuple[str, ...]) -> dict[str, str]:
    """Read `TOPIC=FORMAT:RATE:CHANNELS` options."""
    from ingest.errors import WrongUse

    formats = {}
    for text in given:
        topic, equals, form = text.partition("=")
        if not (topic and equals and form):
            raise WrongUse(f"--audio-format takes TOPIC=FORMAT:RATE:CHANNELS, got {text!r}")
        formats[topic] = form
    return formats


@main.command()
@paths_argument
@json_option
@audio_format_option
@click.option("--workers", type=click.IntRange(min=1), help="Processes (default: number of cores).")
@click.option("--decoders", is_flag=True, help="Compare all decoders on these video files instead.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="PNG", help="Draw one recording's clocks.")
@speaks
def probe(
    paths: tuple[Path | str, ...],
    as_json: bool,
    audio_formats: tuple[str, ...],
    workers: int | None,
    decoders: bool,
    plot: Path | None,
) -> None:
    """Show what is inside recordings: tracks, rates, durations, clocks, gaps, damage.

    Nothing is written. A folder gives a line per recording and totals; a single recording its table.

    \b
    fifth probe run7.mcap
    fifth probe videos/ --json
    fifth probe --decoders clip.mp4    which decoder is how fast, and exact
    fifth probe run7.mcap --plot clocks.png
    """
    if decoders:
        _compare(paths, as_json)
        return
    from ingest.probing import probe_recordings, probe_table

    if plot is not None:
        from ingest.clock_plot import plot_recordings

        plot_recordings([Path(path) for path in paths], parse_audio_formats(audio_formats), plot)
    found = probe_recordings(list(paths), parse_audio_formats(audio_formats), workers)
    click.echo(json.dumps(found, indent=1, sort_keys=True) if as_json else probe_table(found))
    if not found["recordings"]:
        fail("no recordings found", FAILED)
    if all("cause" in entry for entry in found["recordings"]):
        sys.exit(FAILED)
    damaged = bool(found["unreadable"]) or any(
        "cause" in entry or entry["failures"] for entry in found["recordings"]
    )
    sys.exit(WITH_FAILURES if damaged else 0)


def _compare(paths: tuple[Path | str, ...], as_json: bool) -> None:
    from ingest.comparing import compare_decoders, comparison_table

    found = [compare_decoders(Path(path)) for path in paths]
    tables = "\n\n".join(comparison_table(entry) for entry in found)
    click.echo(json.dumps(found, indent=1, sort_keys=True) if as_json else tables)


@main.command()
@paths_argument
@click.option("--clip-seconds", type=Rate(), default="4", show_default=True, help="Length of a clip.")
@click.option("--fps", type=Rate(), default="8", show_default=True, help="Frames per second.")
@click.option(
    "--size", type=int, default=256, show_default=True, help="Edge of the square frames, in pixels."
)
@click.option(
    "--fit",
    type=click.Choice(["auto", "crop", "pad", "stretch"]),
    default="auto",
    show_default=True,
    help="How pictures become square; auto crops files and pads bags.",
)
@click.option(
    "--sample",
    type=click.Choice(["grid", "keyframes"]),
    default="grid",
    show_default=True,
    help="Frames at --fps, or keyframes alone (much faster), each at its own time.",
)
@click.option(
    "--video",
    default="auto",
    metavar="NAME[@KEY=VALUE...][,NAME...]|none",
    help="Frame encoders, one or several (see: fifth encoders); hf:FOLDER_OR_NAME for pretrained ones.",
)
@click.option("--depth", default="auto", metavar="NAME|none", help="Encoder of depth and point clouds.")
@click.option(
    "--depth-size",
    type=int,
    default=128,
    show_default=True,
    help="Depth pictures are N x N, nearest-sampled.",
)
@click.option("--audio", default="auto", metavar="NAME|none", help="Sound encoders.")
@click.option("--signals", default="auto", metavar="NAME|none", help="Signal encoders.")
@click.option("--signal-hz", type=SignalRate(), default="50", show_default=True, help="Grid of signals.")
@click.option("--tracks", multiple=True, metavar="GLOB", help="Take only tracks or topics that match.")
@click.option(
    "--map",
    "maps",
    multiple=True,
    metavar="NAME=TOPIC[:COLUMNS][+...][@OPTIONS] or FILE.toml",
    help="Take this track under this name, such as state=/joint_states:position+/gripper@rate=20. "
    "OPTIONS: rate=, policy=auto|linear|nearest|asof|hold, max_age=SECONDS.",
)
@click.option(
    "--reference", default="", metavar="NAME", help="Sample at this track's own stamps, on no grid."
)
@audio_format_option
@click.option("--include", multiple=True, metavar="GLOB", help="Take only recordings whose name matches.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out recordings whose name matches.")
@click.option("--list", "list_file", type=click.Path(path_type=Path), help="File with one input per line.")
@click.option("--shard-mb", type=int, default=64, show_default=True, help="Bytes of a shard, about, in MiB.")
@click.option("--shard-seconds", type=int, default=3600, show_default=True, help="Most media of a shard.")
@click.option("--workers", type=click.IntRange(min=0), help="Processes (default: number of cores).")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="What runs the tasks: processes of this machine, or a Ray cluster. The bytes are the same.",
)
@click.option(
    "--address",
    default="",
    metavar="auto|HOST:PORT",
    help="Of the Ray cluster (default: one is started on this machine, and ended).",
)
@click.option(
    "--stall-seconds",
    type=click.FloatRange(min=0),
    default=600,
    show_default=True,
    help="End a worker that shows no sign of life for so long, and try its task again; 0: wait for ever.",
)
@click.option(
    "--worker-memory-mb",
    type=click.IntRange(min=0),
    help="End a worker that takes more memory of its own, in MiB (default: its share of four fifths of the "
    "machine's; 0: no limit).",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--encode-in",
    type=click.Choice(["auto", "worker", "process"]),
    default="auto",
    show_default=True,
    help="Where tokens are made: in every worker, or in one process per GPU that serves all of them. "
    "auto: the latter on GPUs. The bytes are the same.",
)
@click.option(
    "--decoder",
    type=click.Choice(["auto", *DECODERS]),
    default="auto",
    show_default=True,
    help="What decodes video files, where it is exact (see: fifth probe --decoders).",
)
@click.option("--retry-failed", is_flag=True, help="Try recordings again that lost something.")
@click.option("--replace", is_flag=True, help="Drop old samples where a name has new content.")
@click.option("--strict", is_flag=True, help="Stop at the first failure, with exit code 1.")
@click.option("--dry-run", is_flag=True, help="Say what would be made, and write nothing.")
@click.option(
    "--max-failure-share",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="Stop, with exit code 1, when more than this share of the recordings (20 or more) have failures.",
)
@click.option("--plan-only", is_flag=True, help="Plan what is new, and do none of it.")
@click.option(
    "--part", default="", metavar="I/N", help="Take one of N shares of the plan, beside the others."
)
@click.option(
    "--wait-seconds",
    type=click.FloatRange(min=0),
    default=3600,
    show_default=True,
    help="How long a part waits for the run that plans, or for another one that holds the dataset alone.",
)
@click.option(
    "--metrics-port", type=click.IntRange(0, 65535), help="Serve Prometheus metrics here; 0: any port."
)
@click.option("--metrics-address", default="127.0.0.1", show_default=True, help="Where metrics are served.")
@click.option("--quiet", is_flag=True, help="No progress.")
@json_option
@speaks
def shard(paths: tuple[Path | str, ...], **options: Any) -> None:
    """Decode recordings, encode them to tokens, write shards to DATASET (the last of PATHS).

    Safe to run again: finished work is skipped, new recordings are added, what a stopped run left is
    cleaned up. A recording that fails costs what is damaged; the exit code is then 3.

    With --part, machines that share a file system do shares of one plan beside each other, any number of
    times and in any order; `fifth finish DATASET` then merges what they did.

    \b
    fifth shard videos/ dataset/
    fifth shard bags/ dataset/ --map state=/joint_states:position --fps 10
    fifth shard s3://bucket/videos s3://bucket/dataset
    fifth shard videos/ dataset/ --engine ray --address auto
    fifth shard videos/ dataset/ --part 3/8
    fifth shard videos/ --dry-run
    """
    from ingest.errors import WrongUse

    inputs = [*paths, *_listed(options["list_file"])]
    dry = options["dry_run"]
    if not dry:
        if len(paths) + bool(options["list_file"]) < 2:
            raise WrongUse("shard takes at least one INPUT and the DATASET folder to write")
        dataset = paths[-1]
        inputs.remove(dataset)
    settings = _settings(options)
    if dry:
        _dry_run(inputs, settings, options)
        return
    _shard(inputs, dataset, settings, options)


def _listed(path: Path | None) -> list[Path | str]:
    """Read a file of inputs: one per line; empty lines and lines that begin with # are passed over."""
    if path is None:
        return []
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    return [Place().convert(line, None, None) for line in lines if line and not line.startswith("#")]


def _settings(options: dict[str, Any]) -> Any:
    from ingest.configuration import Settings
    from ingest.track_map import read_map

    globs = tuple(glob for given in options["tracks"] for glob in given.split(","))
    return Settings(
        clip_seconds=options["clip_seconds"],
        fps=options["fps"],
        size=options["size"],
        fit=options["fit"],
        sample=options["sample"],
        depth_size=options["depth_size"],
        video=options["video"],
        depth=options["depth"],
        audio=options["audio"],
        signals=options["signals"],
        signal_hz=options["signal_hz"],
        tracks=globs,
        maps=tuple(entry for given in options["maps"] for entry in read_map(given)),
        reference=options["reference"],
        audio_formats=parse_audio_formats(options["audio_formats"]),
        shard_mb=options["shard_mb"],
        shard_seconds=options["shard_seconds"],
        device=options["device"],
        decoder=options["decoder"],
    )


def _choice(options: dict[str, Any]) -> Any:
    from ingest.pipeline import Choice

    return Choice(
        include=options["include"],
        exclude=options["exclude"],
        retry_failed=options["retry_failed"],
        replace=options["replace"],
        strict=options["strict"],
        max_failure_share=options["max_failure_share"],
    )


def _scope(options: dict[str, Any]) -> Any:
    from ingest.parts import Part, Scope

    part = Part.parse(options["part"]) if options["part"] else None
    return Scope(part, options["plan_only"], options["wait_seconds"])


def _limits(options: dict[str, Any]) -> Any:
    import os

    from ingest.engine.watch import Limits, default_memory_bytes

    given = options["worker_memory_mb"]
    workers = options["workers"] or os.cpu_count() or 1
    memory_bytes = default_memory_bytes(workers) if given is None else given << 20
    return Limits(options["stall_seconds"], memory_bytes)


def _dry_run(inputs: list[Path | str], settings: Any, options: dict[str, Any]) -> None:
    from ingest.cli_progress import Display
    from ingest.cli_tables import dry_run_table
    from ingest.forecast import forecast
    from ingest.pipeline import dry_run

    display = Display(options["quiet"])
    try:
        lines = dry_run(
            inputs, settings, choice=_choice(options), workers=options["workers"], listener=display
        )
    finally:
        display.close()
    seen = forecast(lines)
    click.echo(json.dumps(seen, indent=1, sort_keys=True) if options["as_json"] else dry_run_table(seen))
    if not seen["recordings"]:
        fail("no recordings found in the inputs", FAILED)


def _shard(inputs: list[Path | str], dataset: Path | str, settings: Any, options: dict[str, Any]) -> None:
    from ingest.cli_progress import Display
    from ingest.cli_tables import MOST_LISTED, run_line
    from ingest.engine_choice import EngineChoice
    from ingest.pipeline import shard_recordings
    from shards import dataset_info
    from shards.dataset_files import folder_of

    scope = _scope(options)
    display = Display(options["quiet"])
    with closing(display), _metrics(options, display) as listener:
        run = shard_recordings(
            inputs,
            dataset,
            settings,
            choice=_choice(options),
            workers=options["workers"],
            encode_in=options["encode_in"],
            limits=_limits(options),
            listener=listener,
            engine=EngineChoice(options["engine"], options["address"]),
            scope=scope,
        )
    if run.stopped_by:
        fail(f"stopped: {run.stopped_by}", FAILED)
    if not folder_of(dataset).is_dataset():
        fail(f"no recordings found in {', '.join(str(path) for path in inputs)}: nothing to shard", FAILED)
    if scope.part:
        _part_ended(run, scope.part, dataset)
        return
    info = dataset_info(dataset, None if options["as_json"] else MOST_LISTED)
    _print_info(info, dataset, options["as_json"])
    click.echo(f"fifth: {run_line(run)}", err=True)
    _end_unfinished(run)
    if scope.plan_only:
        return
    if not info["samples"]:
        fail("no samples were made; see the failures above", FAILED)
    _end_with_failures(info)


@contextmanager
def _metrics(options: dict[str, Any], display: Any) -> Iterator[Any]:
    """Serve metrics beside the display, where that is asked for."""
    if options["metrics_port"] is None:
        yield display
        return
    from ingest.listening import Listeners
    from ingest.metrics import Metrics, serving

    metrics = Metrics()
    with serving(metrics, options["metrics_address"], options["metrics_port"]) as address:
        display.say(f"metrics at {address}")
        yield Listeners(display, metrics)


def _part_ended(run: Any, part: Any, dataset: Path | str) -> None:
    from ingest.cli_tables import run_line

    click.echo(f"fifth: part {part}: {run_line(run)}", err=True)
    _end_unfinished(run)
    click.echo(f"{dataset}: part {part} is done; when all are: fifth finish {dataset}")
    if run.failures:
        click.echo(f"fifth: done, with {run.failures} failures", err=True)
        sys.exit(WITH_FAILURES)


def _end_unfinished(run: Any) -> None:
    if run.unfinished:
        listed = "\n  ".join(run.unfinished[:10])
        fail(f"{len(run.unfinished)} tasks are not done:\n  {listed}\nRun the same command again.", FAILED)


@main.command()
@dataset_argument
@json_option
@speaks
def info(dataset: Path | str, as_json: bool) -> None:
    """Show a dataset's totals, its tokens per track, and every failure.

    \b
    fifth info dataset/
    fifth info dataset/ --json
    """
    from ingest.cli_tables import MOST_LISTED
    from shards import dataset_info

    _print_info(dataset_info(dataset, None if as_json else MOST_LISTED), dataset, as_json)


def _print_info(found: dict[str, Any], dataset: Path | str, as_json: bool) -> None:
    from ingest.cli_tables import info_table

    click.echo(json.dumps(found, indent=1, sort_keys=True) if as_json else info_table(found, str(dataset)))


def _end_with_failures(info: dict[str, Any]) -> None:
    failures = sum(info["counts"]["failures"].values())
    if failures:
        click.echo(f"fifth: done, with {failures} failures (listed above)", err=True)
        sys.exit(WITH_FAILURES)


@main.command()
@dataset_argument
@json_option
@speaks
def finish(dataset: Path, as_json: bool) -> None:
    """Merge what parts (fifth shard --part) have done into DATASET's tables and manifest.

    May be run at any time when no part is at work, again and again. Says what is still missing; the exit code
    is then 3, as it is where recordings failed.

    \b
    fifth finish dataset/
    """
    from ingest.cli_tables import MOST_LISTED
    from ingest.parts import finish_dataset

    done = finish_dataset(dataset, None if as_json else MOST_LISTED)
    _print_info(done.info, dataset, as_json)
    if done.missing:
        some = ", ".join(map(str, done.some_missing)) + (
            " …" if done.missing > len(done.some_missing) else ""
        )
        many = f"{done.missing} of {done.info['tasks']['planned']} tasks are not done (numbers {some})"
        fail(f"{many}: run the parts again, then finish again", WITH_FAILURES)
    _end_with_failures(done.info)


@main.command()
@dataset_argument
@json_option
@speaks
def verify(dataset: Path | str, as_json: bool) -> None:
    """Read everything back: sizes, counts, hashes, members, token ranges.

    Exit code 1 where anything is wrong; each problem is named. No byte of a shard, an index, a record, a plan
    part, a table, the manifest, the card or .nv-meta can change unseen. `fifth repair` makes again what did.

    \b
    fifth verify dataset/
    """
    from dataclasses import asdict

    from shards import dataset_info, verify_dataset

    problems = verify_dataset(dataset)
    found = dataset_info(dataset) if not problems else {}
    if as_json:
        told = {"problems": [str(problem) for problem in problems], "findings": [asdict(p) for p in problems]}
        click.echo(json.dumps(told, indent=1))
    elif not problems:
        amount = f"{found['samples']} samples in {len(found['shards'])} shards"
        click.echo(f"{dataset}: {amount}: all is as it was written")
    for problem in problems:
        click.echo(f"fifth: {problem}", err=True)
    if any(problem.kind in ("missing", "changed") for problem in problems):
        click.echo(f"fifth: `fifth repair {dataset} INPUT...` makes again what is damaged", err=True)
    if problems:
        fail(f"{dataset}: {len(problems)} problems", FAILED)


@main.command()
@dataset_argument
@click.argument("key")
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="mp4, wav, csv, txt or folder."
)
@click.option("--track", default="", help="Which track, where several fit.")
@speaks
def reconstruct(dataset: Path | str, key: str, out: Path, track: str) -> None:
    """Turn the tokens of one sample back into pictures, sound or numbers.

    The ending of OUT decides: .mp4 (with sound), .wav, .csv, .txt; a folder gets every track.

    \b
    fifth reconstruct dataset/ 0a1b2c3d4e5f6071_0000000000004000000 -o clip.mp4
    """
    from ingest.reconstruction import reconstruct_sample, write_reconstruction

    tracks = reconstruct_sample(dataset, key, track, lambda line: click.echo(f"fifth: {line}", err=True))
    for path in write_reconstruction(tracks, out, track):
        click.echo(str(path))


@main.command()
@click.option("--measure", type=click.Path(path_type=Path), help="Measure quality on this file or folder.")
@click.option(
    "--seconds", type=Rate(), default="20", show_default=True, help="Media to measure per recording."
)
@json_option
@speaks
def encoders(measure: Path | None, seconds: Fraction, as_json: bool) -> None:
    """List the encoders: what they take, what they give, how many bits.

    With --measure, encode and reconstruct real media and print the quality: PSNR, SNR, RMSE.

    \b
    fifth encoders
    fifth encoders --measure videos/
    """
    from ingest.cli_tables import encoders_table, quality_table
    from ingest.measuring import list_encoders, measure_encoders

    found = measure_encoders(measure, seconds) if measure else list_encoders()
    table = quality_table if measure else encoders_table
    click.echo(json.dumps(found, indent=1, sort_keys=True) if as_json else table(found))


main.add_command(add)
main.add_command(repair)
main.add_command(capacity)
main.add_command(reshard)
main.add_command(export)
main.add_command(train)
main.add_command(evaluate)
