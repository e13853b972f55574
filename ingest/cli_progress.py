"""How a run shows itself: a live bar on a terminal, plain lines otherwise, all on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import click

from ingest.listening import Listener

PLAIN_EVERY_SECONDS = 10.0


class Display(Listener):
    """Shows recordings, clips, hours, x real time, tokens, failures and the time left."""

    def __init__(self, quiet: bool = False) -> None:
        self._live = sys.stderr.isatty() and not quiet
        self._quiet = quiet
        self._bar: Any = None
        self._examined = 0
        self._recordings_total = 0
        self._begun = time.monotonic()
        self._told = time.monotonic()
        self._media_ns = self._total_ns = self._before_ns = 0
        self._clips = self._tokens = self._failures = self._tasks = self._tasks_done = 0

    def say(self, line: str) -> None:
        """Print a line without tearing the bar."""
        if self._bar is not None:
            self._bar.clear()
        click.echo(f"fifth: {line}", err=True)

    def examined(self, name: str) -> None:
        """Count a recording that was looked at."""
        self._examined += 1
        if self._live:
            click.echo(f"\r\x1b[Kreading recordings: {self._examined} ({name[-60:]})", err=True, nl=False)
        elif not self._quiet and time.monotonic() - self._told > PLAIN_EVERY_SECONDS:
            self._told = time.monotonic()
            click.echo(f"fifth: reading recordings: {self._examined}", err=True)

    def planned(self, tasks: int, media_ns: int, done_ns: int) -> None:
        """Begin the bar."""
        if self._live:
            click.echo("\r\x1b[K", err=True, nl=False)
        self._tasks, self._total_ns, self._before_ns = tasks, media_ns, done_ns
        self._begun = self._told = time.monotonic()
        if not tasks or self._quiet:
            return
        if self._live:
            from tqdm import tqdm

            self._bar = tqdm(
                total=media_ns / 1e9,
                initial=done_ns / 1e9,
                unit="s",
                bar_format="{percentage:3.0f}% {bar} {postfix}, {remaining} left",
                file=sys.stderr,
                dynamic_ncols=True,
            )
        else:
            hours = (media_ns - done_ns) / 3.6e12
            click.echo(f"fifth: {tasks} tasks to do, {hours:.2f} h of media", err=True)

    def progressed(self, media_ns: int, clips: int) -> None:
        """Move the bar."""
        self._media_ns += media_ns
        self._clips += clips
        if self._bar is not None:
            self._bar.set_postfix_str(self._figures(), refresh=False)
            self._bar.update(media_ns / 1e9)
        elif not self._quiet and time.monotonic() - self._told > PLAIN_EVERY_SECONDS:
            self._told = time.monotonic()
            share = (self._before_ns + self._media_ns) / max(1, self._total_ns)
            click.echo(f"fifth: {share:4.0%} {self._figures()}", err=True)

    def task_ended(self, result: Mapping[str, Any]) -> None:
        """Add a task's figures."""
        self._tasks_done += 1
        self._tokens += result["tokens"]
        self._failures += result["failures"]

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        elif self._live:
            click.echo("\r\x1b[K", err=True, nl=False)

    def _figures(self) -> str:
        speed = self._media_ns / 1e9 / max(1e-3, time.monotonic() - self._begun)
        return (
            f"{self._tasks_done}/{self._tasks} shards, {self._clips} clips, {self._media_ns / 3.6e12:.2f} h, "
            f"{speed:.1f} x real time, {short_count(self._tokens)} tokens, {self._failures} failures"
        )


def short_count(number: int) -> str:
    """Return a count for people: 950, 12.3 k, 4.56 M.

    >>> short_count(12345)
    '12.3 k'
    """
    for size, unit in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)
