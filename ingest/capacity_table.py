"""What `fifth capacity` prints for people."""

from __future__ import annotations

from fractions import Fraction

from ingest.capacity import TERABYTE, Capacity
from ingest.text_table import text_table


def capacity_table(found: Capacity, hours_per_minute: float) -> str:
    """Return the stages, what they add up to, and what it costs."""
    rows = [
        (
            stage.name,
            _amount(stage.amount, stage.unit),
            f"{_amount(stage.each, stage.unit)} per {stage.per}",
            f"{float(stage.count):,.1f} {stage.per}s",
            f"{float(stage.machines):,.2f}",
        )
        for stage in found.stages
    ]
    needed = ", ".join(
        f"{float(share):,.2f} for their {name}" for name, share in found.shares.items() if share
    )
    return "\n".join(
        [
            f"{hours_per_minute:g} hours of media per minute ({float(found.inflow):,.0f} x real time)",
            text_table(("stage", "flow", "each does", "needs", "machines"), rows),
            f"machines: {found.machines:,} ({needed})",
            f"bottleneck: {found.bottleneck}",
            f"storage: {_terabytes(found.stored_bytes_per_day)} a day, {_terabytes(found.stored_bytes)} kept",
            f"cost: {_money(found.machine_cost_per_hour)} an hour for machines "
            f"({_money(found.cost_per_media_hour)} per hour of media), "
            f"{_money(found.storage_cost_per_month)} a month for storage when it is full",
        ]
    )


def _amount(value: Fraction, unit: str) -> str:
    return f"{float(value) / 1e6:,.2f} MB/s" if unit == "bytes" else f"{float(value):,.2f} s/s"


def _terabytes(size_bytes: Fraction) -> str:
    return f"{float(size_bytes / TERABYTE):,.2f} TB"


def _money(value: Fraction) -> str:
    return f"{float(value):,.4g}" if value < 1 else f"{float(value):,.2f}"
