"""What grows with a dataset while it is planned, kept in temporary files instead of memory.

They are SQLite's temporary databases and unnamed files: the system removes them with the process. They lie
where `SQLITE_TMPDIR` or `TMPDIR` say.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import weakref
from collections.abc import Iterator
from typing import Any

_CACHE_KIB = 16_384
_IN_MEMORY_BYTES = 1 << 20


def temporary_database(owner: object, schema: str) -> sqlite3.Connection:
    """Return a database that is closed, and gone, with its owner.

    Args:
        owner: the object that keeps it.
        schema: SQL that makes the tables.
    """
    database = sqlite3.connect("", check_same_thread=False)  # whatever thread collects the owner closes it
    weakref.finalize(owner, database.close)
    database.executescript(
        f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{_CACHE_KIB}; {schema}"
    )
    return database


class Names:
    """A set of texts."""

    def __init__(self) -> None:
        schema = "CREATE TABLE names (name TEXT PRIMARY KEY) WITHOUT ROWID"
        self._database = temporary_database(self, schema)

    def add(self, name: str) -> bool:
        """Add a text; return whether it is new."""
        return self._database.execute("INSERT OR IGNORE INTO names VALUES (?)", (name,)).rowcount > 0


class Spool:
    """JSON lines that are kept for later, in their order."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 # it goes with its owner
        weakref.finalize(self, self._file.close)

    def append(self, line: dict[str, Any]) -> None:
        """Keep a line."""
        self._file.write(json.dumps(line).encode() + b"\n")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield all lines; nothing may be appended meanwhile."""
        self._file.seek(0)
        for text in self._file:
            yield json.loads(text)
        self._file.seek(0, os.SEEK_END)
