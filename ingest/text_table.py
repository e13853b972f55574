"""A plain table for a terminal: columns as wide as they need to be, numbers to the right."""

from __future__ import annotations

from collections.abc import Sequence

LONGEST_CELL = 100


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return lines of aligned columns; the last column is as long as it is.

    >>> print(text_table(("track", "s"), [("video", "1.5"), ("sound", "12.0")]))
    track     s
    video   1.5
    sound  12.0
    """
    cells = [list(head), *([_cell(c) for c in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    numeric = [all(_is_number(row[i]) for row in cells[1:]) for i in range(len(head))]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Return a cell that can't disturb a terminal: one line, nothing unprintable, not too long."""
    one_line = "".join(c if c.isprintable() else "�" for c in " ".join(text.split()))
    return one_line if len(one_line) <= LONGEST_CELL else one_line[: LONGEST_CELL - 1] + "…"


def _is_number(text: str) -> bool:
    return not text or text.lstrip("+-").replace(".", "", 1).replace(",", "").isdigit()
