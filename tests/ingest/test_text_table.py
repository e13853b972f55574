"""Tables for terminals."""

from __future__ import annotations

from ingest.text_table import LONGEST_CELL, text_table


def test_columns_are_aligned() -> None:
    """Words to the left, numbers to the right, no blanks at the end of a line."""
    table = text_table(("name", "MB", "why"), [("a", "1.5", ""), ("longer", "12,000", "late")])
    assert table.splitlines() == ["name        MB  why", "a          1.5", "longer  12,000  late"]


def test_a_cell_cannot_disturb_the_terminal() -> None:
    """Line breaks are blanks; control characters and bytes that are no text are replaced."""
    table = text_table(("name", "x"), [("two\nlines", "1"), ("red\x1b[31m", "2"), ("caf\udce9", "3")])
    lines = table.splitlines()
    assert len(lines) == 4
    assert lines[1].startswith("two lines ")
    assert table.replace("\n", "").isprintable()
    table.encode()


def test_long_cells_are_cut() -> None:
    """The cut is shown."""
    cell = text_table(("a",), [("x" * 500,)]).splitlines()[1]
    assert len(cell) == LONGEST_CELL
    assert cell.endswith("x…")


def test_a_table_without_rows_is_its_head() -> None:
    """Nothing found is no error."""
    assert text_table(("a", "b"), []) == "a  b"
