"""JSON as we write it: sorted keys, no spaces, UTF-8, so that equal values are equal bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shards.errors import DamagedDataset, WrongPlan
from shards.regular_file import open_regular, read_regular

_COMPACT = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_SPACED = json.JSONEncoder(sort_keys=True, ensure_ascii=False, allow_nan=False)
_PAGE_WIDTH = 110


def json_text(value: Any) -> str:
    """Return a value as compact JSON.

    Raises:
        ValueError: not a JSON value (NaN).
        TypeError: not a JSON value (a numpy number, a set, mixed keys).
    """
    return _COMPACT.encode(value)


def json_bytes(value: Any) -> bytes:
    """Return a value as compact JSON in UTF-8.

    Raises:
        ValueError: not a JSON value (NaN; a text that is not valid Unicode).
        TypeError: not a JSON value (a numpy number, a set, mixed keys).
    """
    return json_text(value).encode()


def json_line(value: Any) -> bytes:
    """Return a value as one line of a `.jsonl` file.

    Raises:
        WrongPlan: it is not a JSON value.
    """
    try:
        return json_bytes(value) + b"\n"
    except (TypeError, ValueError) as error:
        raise WrongPlan(f"cannot be written as JSON: {error} (in {str(value)[:200]})") from error


def json_page(value: Any) -> bytes:
    """Return a value as JSON that people can read: what fits on a line stands on one.

    Raises:
        WrongPlan: it is not a JSON value.
    """
    try:
        return f"{_page(value, 0)}\n".encode()
    except (TypeError, ValueError) as error:
        raise WrongPlan(f"cannot be written as JSON: {error} (in {str(value)[:200]})") from error


def _page(value: Any, depth: int) -> str:
    numbers = isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)
    if numbers or not isinstance(value, dict | list):
        return _SPACED.encode(value)
    if _room_behind(value, _PAGE_WIDTH - depth) >= 0:  # else no need to write it out on every level
        flat = _SPACED.encode(value)
        if len(flat) + depth <= _PAGE_WIDTH:
            return flat
    margin = "\n" + " " * (depth + 1)
    if isinstance(value, list):
        items = [_page(item, depth + 1) for item in value]
    else:
        items = [f"{_SPACED.encode(key)}: {_page(value[key], depth + 1)}" for key in sorted(value)]
    body = margin + f",{margin}".join(items) + "\n" + " " * depth
    return f"[{body}]" if isinstance(value, list) else f"{{{body}}}"


def _room_behind(value: Any, room: int) -> int:
    """Return how many characters of a line are left behind a value, at the most; negative: it is too long."""
    if isinstance(value, dict):
        for key, item in value.items():
            room = _room_behind(item, room - len(str(key)) - 4)
            if room < 0:
                break
        return room
    if isinstance(value, list):
        for item in value:
            room = _room_behind(item, room - 2)
            if room < 0:
                break
        return room
    return room - (len(value) + 2 if isinstance(value, str) else 1)


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        DamagedDataset: it does not.
    """
    return parse_json(read_regular(path), path)


def parse_json(data: bytes, path: Path) -> dict[str, Any]:
    """Return the JSON object that a file's bytes hold.

    Raises:
        DamagedDataset: they don't; the message names the file.
    """
    try:
        value = _loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedDataset(f"{path}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise DamagedDataset(f"{path}: a JSON object must stand here, not {type(value).__name__}")
    return value


def _loads(data: bytes) -> Any:
    """Return the JSON value that bytes hold: UTF-8, finite numbers, valid Unicode, as we write it.

    Raises:
        ValueError: they hold something else.
    """
    value = _DECODER.decode(data.decode())
    if b"\\ud" in data.lower():  # halves of a pair, it may be; nobody could write them again
        json_bytes(value)
    return value


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


_DECODER = json.JSONDecoder(parse_constant=_no_number)


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a `.jsonl` file.

    Raises:
        DamagedDataset: a line is not a JSON object; the message gives its number.
    """
    for _, value in placed_json_lines(path):
        yield value


def placed_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON objects of a `.jsonl` file, each with its offset. Raises what `read_json_lines` does."""
    offset = 0
    with open_regular(path) as file:
        for number, line in enumerate(file, 1):
            try:
                value = _loads(line)
            except (ValueError, RecursionError) as error:
                raise DamagedDataset(f"{path}: line {number} is not JSON ({error})") from error
            if not isinstance(value, dict):
                raise DamagedDataset(f"{path}: line {number} must be a JSON object")
            yield offset, value
            offset += len(line)
