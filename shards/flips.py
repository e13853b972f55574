"""A file with one flipped bit, or one changed byte, is found again by trying: its hash says which it was.

Only for small files: all single bits of 50 kB are tried in about ten seconds, all values of one byte of 8 kB.
Lines of JSON that are not as we write them are tried first, in files of any size that the budget allows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from shards.canonical_json import json_line
from shards.errors import WrongPlan

BUDGET_BYTES = 10**10
"""How many bytes are hashed in all: about ten seconds."""

_BITS = [1 << bit for bit in range(8)]
_OTHERS = [change for change in range(1, 256) if change not in _BITS]


def unflipped(data: bytes, sha256: str, budget_bytes: int = BUDGET_BYTES) -> bytes | None:
    """Return the file that has this hash and differs from `data` in one byte; None where none was found.

    Args:
        data: the file as it is.
        sha256: of the file as it was.
        budget_bytes: when to give up, in bytes hashed.
    """
    view = memoryview(data)
    wanted = bytes.fromhex(sha256)
    suspects = list(_odd_lines(data))
    for spans, changes in (
        (suspects, _BITS),
        (suspects, _OTHERS),
        ([(0, len(data))], _BITS),
        ([(0, len(data))], _OTHERS),
    ):
        for start, stop in spans:
            before = hashlib.sha256(view[:start])
            for place in range(start, stop):
                budget_bytes -= len(changes) * (len(data) - place)
                if budget_bytes < 0:
                    return None
                for change in changes:
                    tried = before.copy()
                    tried.update(bytes([data[place] ^ change]))
                    tried.update(view[place + 1 :])
                    if tried.digest() == wanted:
                        return data[:place] + bytes([data[place] ^ change]) + data[place + 1 :]
                before.update(view[place : place + 1])
    return None


def _odd_lines(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and stop of each line that is not JSON as we write it."""
    start = 0
    for line in data.splitlines(keepends=True):
        try:
            odd = json_line(json.loads(line)) != line
        except (ValueError, WrongPlan, RecursionError):
            odd = True
        if odd:
            yield start, start + len(line)
        start += len(line)
