"""The clocks of a bag's topics as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ingest.text_table import text_table

HEAD = ("track", "clock", "log - header ms (5 to 95 %)", "jitter ms", "rate", "missing", "back", "why")


def clock_table(tracks: Sequence[Mapping[str, Any]]) -> str:
    """Return a line per topic whose clocks were measured; empty where there is none.

    Args:
        tracks: as `fifth probe --json` gives them.
    """
    rows = [_row(track) for track in tracks if track["clock"] and track["clock"].get("report")]
    return text_table(HEAD, rows) if rows else ""


def _row(track: Mapping[str, Any]) -> tuple[str, ...]:
    clock, report = track["clock"], track["clock"]["report"]
    has_offset = report["offset_p5_ns"] or report["offset_p95_ns"] or clock["choice"] == "header"
    spread = f"({_ms(report['offset_p5_ns'])} to {_ms(report['offset_p95_ns'])})"
    jitter = report["period_p95_ns"] - report["period_p5_ns"]
    missing = "-" if report["missing"] < 0 else str(report["missing"])
    back = report["log_back"] + report["header_back"]
    return (
        track["name"],
        clock["choice"],
        f"{_ms(clock['offset_ns'])} {spread}" if has_offset else "-",
        _ms(jitter) if track["item_count"] > 2 else "-",
        f"{report['rate_hz']:g}/s",
        missing,
        f"{back} (up to {_ms(report['farthest_back_ns'])} ms)" if back else "0",
        clock["reason"],
    )


def _ms(time_ns: int) -> str:
    return f"{time_ns / 1e6:.4g}"
