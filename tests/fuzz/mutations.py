"""Damage done to bytes, texts and JSON values: everything follows from the random numbers given."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from typing import Any

INTERESTING = (
    *(0, 1, 2, 7, 8, 12, 16, 64, 100, 127, 128, 255, 256, 1000, 4096, 32767, 32768, 65535, 65536, 100_000),
    *(
        2**24,
        2**28,
        2**31 - 1,
        2**31,
        2**32 - 1,
        2**32,
        10**9,
        10**12,
        2**53,
        2**62,
        2**63 - 1,
        2**63,
        2**64 - 1,
    ),
)
"""Numbers at the borders of what fields can hold, and sizes that nothing has."""
HOSTILE_TEXTS = (
    *(
        "",
        "../../../canary/secret",
        "/etc/passwd",
        "..",
        ".",
        "a/../../b",
        "C:\\x",
        "a\0b",
        "\ud800",
        "😀" * 50,
    ),
    *("A" * 100_000, "%s%n", "{0.__class__}", "{episode_index:999999999}", "\x1b[2J", "-1", "1e999", "NaN"),
    *("1/0", "\n", "con", "${HOME}", "*", "[" * 2000),
)
"""Texts that lead elsewhere, are too long, or mean something to somebody."""
FIELD_BYTES = (1, 2, 4, 8)

Bytes = bytes | bytearray


def damaged(
    data: bytes, others: Sequence[bytes], fields: Sequence[tuple[int, int, str]], rng: random.Random
) -> bytes:
    """Return bytes with one to a few kinds of damage.

    Args:
        data: a whole file.
        others: files whose pieces may be spliced in.
        fields: offset, size and byte order of length fields that are known (`structures`).
        rng: decides everything.
    """
    changed = bytearray(data)
    count = rng.choice((1, 1, 1, 2, 2, 3, 5))
    for turn in range(count):
        if fields and rng.random() < 0.5 and (turn == 0 or len(changed) == len(data)):
            _set_field(changed, rng.choice(fields), rng)
        else:
            _ways(rng)(changed, others, rng)
    return bytes(changed)


def _ways(rng: random.Random) -> Callable[[bytearray, Sequence[bytes], random.Random], None]:
    ways = (
        *(_flip_bits, _flip_bits, _overwrite, _overwrite, _set_number, _set_number, _set_number),
        *(_truncate, _truncate, _remove, _repeat, _zeros, _splice, _insert, _swap),
    )
    return rng.choice(ways)


def _place(data: bytearray, rng: random.Random) -> int:
    """Return a place, more often near the beginning or the end, where headers and indexes are."""
    size = len(data)
    near = min(size, 512)
    where = rng.random()
    if not size:
        return 0
    if where < 0.3:
        return rng.randrange(near)
    if where < 0.45:
        return size - 1 - rng.randrange(near)
    return rng.randrange(size)


def _length(data: bytearray, rng: random.Random) -> int:
    return min(len(data), 1 + int(2 ** (rng.random() * 12)))


def _flip_bits(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 4, 16)) if data else 0):
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _overwrite(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    at, length = _place(data, rng), rng.choice((1, 2, 4, 8, 32, 200))
    stop = min(len(data), at + length)
    data[at:stop] = rng.randbytes(stop - at)


def _set_number(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    size = rng.choice(FIELD_BYTES)
    _set_field(data, (_place(data, rng), size, rng.choice(("little", "big"))), rng)


def _set_field(data: bytearray, place: tuple[int, int, str], rng: random.Random) -> None:
    """Give a number another value: at a border, near the one it has, or any."""
    at, size, order = place
    if at < 0 or at + size > len(data):
        return
    was = int.from_bytes(data[at : at + size], order)  # type: ignore[arg-type]
    near = was + rng.choice((-8, -1, 1, 2, 8, 1000, -was // 2, was))
    value = rng.choice((rng.choice(INTERESTING), near, len(data), rng.getrandbits(8 * size)))
    data[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, order)  # type: ignore[arg-type]


def _truncate(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    del data[_place(data, rng) :]


def _remove(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    at = _place(data, rng)
    del data[at : at + _length(data, rng)]


def _repeat(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    at = _place(data, rng)
    piece = data[at : at + _length(data, rng)]
    data[at:at] = piece * rng.choice((1, 1, 2, 10))


def _zeros(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    at = _place(data, rng)
    stop = min(len(data), at + _length(data, rng))
    data[at:stop] = bytes([rng.choice((0, 0, 255))]) * (stop - at)


def _splice(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    """Put a piece of another file over, or between, what is there."""
    other = rng.choice(others) if others else bytes(data)
    if not other:
        return
    begin = rng.randrange(len(other))
    piece = other[begin : begin + rng.choice((8, 64, 512, 4096, len(other)))]
    at = _place(data, rng)
    data[at : at + (len(piece) if rng.random() < 0.5 else 0)] = piece


def _insert(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    at = _place(data, rng)
    data[at:at] = rng.randbytes(rng.choice((1, 3, 8, 100)))


def _swap(data: bytearray, others: Sequence[bytes], rng: random.Random) -> None:
    one, two, length = _place(data, rng), _place(data, rng), rng.choice((1, 4, 32, 256))
    one, two = min(one, two), max(one, two)
    if one + length <= two and two + length <= len(data):
        data[one : one + length], data[two : two + length] = (
            data[two : two + length],
            data[one : one + length],
        )


# JSON


def damaged_json(value: Any, rng: random.Random) -> Any:
    """Return a JSON value in which some members are missing, doubled, of another type, or out of range."""
    changed = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(_places(changed))
        if not places:
            return hostile_value(rng)
        holder, key = rng.choice(places)
        way = rng.random()
        if way < 0.2:
            del holder[key]
        elif way < 0.3 and isinstance(holder, list):
            holder.append(holder[key])
        elif way < 0.4 and len(places) > 1:
            other, another = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[another]))
        elif way < 0.55 and isinstance(holder[key], int) and not isinstance(holder[key], bool):
            holder[key] = holder[key] + rng.choice((-1, 1, 1000, -2 * holder[key], 2**40))
        else:
            holder[key] = hostile_value(rng)
    return changed


def _places(value: Any) -> Any:
    """Yield (container, key) for every member, however deep."""
    found: list[Any] = [value] if isinstance(value, (dict, list)) else []
    while found:
        holder = found.pop()
        pairs = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, inner in pairs:
            yield holder, key
            if isinstance(inner, (dict, list)):
                found.append(inner)


def hostile_value(rng: random.Random) -> Any:
    """Return a JSON value that is seldom what is wanted."""
    deep: Any = []
    if rng.random() < 0.05:
        for _ in range(150):
            deep = [deep]
    values: tuple[Any, ...] = (
        *(None, True, False, -1, 0.5, -1.5, 1e308, [], {}, [None], {"": ""}, deep),
        *(rng.choice(INTERESTING), -rng.choice(INTERESTING), rng.choice(INTERESTING) * 10**20),
        *(rng.choice(HOSTILE_TEXTS), rng.choice(HOSTILE_TEXTS), str(rng.choice(INTERESTING))),
        *([rng.choice(INTERESTING)] * 3, "x" * 70_000),
    )
    return rng.choice(values)


def json_text(value: Any, rng: random.Random) -> bytes:
    """Return JSON, now and then with what only some readers take."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.8)
    if rng.random() < 0.03:
        text = re.sub(
            r"\d+", lambda _: rng.choice(("NaN", "Infinity", "1e999", "-0", "9" * 5000)), text, count=1
        )
    if rng.random() < 0.02:
        text = rng.choice(("[" * 100_000, '{"a":' * 100_000, "", "null", "[]", "\ufeff" + text))
    return text.encode("utf-8", "surrogatepass")


# texts: TOML, YAML, options


_TOKEN = re.compile(r"-?\d+(?:\.\d+)?|\"[^\"\n]*\"|'[^'\n]*'|[A-Za-z_][\w/.-]*|[\[\]{}=:,@+&*|>!-]")


def damaged_text(text: str, others: Sequence[str], rng: random.Random) -> str:
    """Return a text in which words, numbers or lines were changed."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        tokens = list(_TOKEN.finditer(text))
        way = rng.random()
        lines = text.split("\n")
        if way < 0.6 and tokens:
            token = rng.choice(tokens)
            others_here = rng.choice(tokens)[0]
            number = str(rng.choice(INTERESTING) * rng.choice((1, -1)))
            new = rng.choice(
                (number, repr(rng.choice(HOSTILE_TEXTS)), rng.choice(HOSTILE_TEXTS), others_here, "", "null")
            )
            text = text[: token.start()] + new + text[token.end() :]
        elif way < 0.75:
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            text = "\n".join(lines)
        elif way < 0.85:
            lines.pop(rng.randrange(len(lines)))
            text = "\n".join(lines)
        elif way < 0.9 and others:
            other = rng.choice(others)
            at = rng.randrange(len(text) + 1)
            text = text[:at] + other[rng.randrange(len(other) + 1) :][:200] + text[at:]
        elif way < 0.95:
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(("[" * 3000, "{" * 3000, "a: &a [" * 500, "- " * 3000)) + text[at:]
        else:
            text = text[: rng.randrange(len(text) + 1)]
    return text
