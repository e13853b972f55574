"""The symbols that `fast-1024` writes for a chunk of a signal, before pairs of them are merged.

    WHOLE                          coefficients …        every value is valid
    GAPS  run run run …            coefficients …        runs of valid and invalid values in turn, row by row

A coefficient from -100 to 100 is one symbol; any other is `ESCAPE` and six digits of base 64, the highest
first (2 c, or -2 c - 1 below zero). A run is as many digits as the number of values in a chunk needs. Zeros
at the end are left out.
"""

from __future__ import annotations

import numpy as np

from encoders.errors import WrongInput

WHOLE, GAPS, ESCAPE = 0, 1, 2
DIGIT_BITS = 6
FIRST_DIGIT = 3
ESCAPE_DIGITS = 6
ZERO = FIRST_DIGIT + (1 << DIGIT_BITS) + 100
"""The symbol of coefficient 0."""
LARGEST = 100
SYMBOLS = ZERO + LARGEST + 1


def chunk_symbols(coefficients: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return int64 [N] symbols of one chunk.

    Args:
        coefficients: int64 [T * D], lowest frequencies first, each below 2^35 in size.
        valid: bool [T * D], row by row.
    """
    head = np.array([WHOLE]) if valid.all() else _gaps(valid)
    used = np.flatnonzero(coefficients)
    kept = coefficients[: used[-1] + 1 if len(used) else 0]
    small = np.abs(kept) <= LARGEST
    if small.all():
        return np.concatenate([head, kept + ZERO])
    parts = [
        np.array([value + ZERO])
        if fits
        else np.concatenate([[ESCAPE], _digits(_folded(value), ESCAPE_DIGITS)])
        for value, fits in zip(kept.tolist(), small.tolist(), strict=True)
    ]
    return np.concatenate([head, *parts])


def read_symbols(symbols: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 coefficients [count] and bool valid [count] of a chunk's symbols.

    Raises:
        WrongInput: they are not what `chunk_symbols` writes.
    """
    plain = symbols[1:] - ZERO
    if len(symbols) and symbols[0] == WHOLE and len(plain) <= count and (np.abs(plain) <= LARGEST).all():
        return np.pad(plain, (0, count - len(plain))), np.ones(count, bool)  # the usual case, and a fast one
    reader = _Reader(symbols.tolist())
    valid = reader.validity(count)
    coefficients = np.zeros(count, np.int64)
    found = reader.coefficients()
    if len(found) > count:
        raise WrongInput(f"a chunk holds {len(found)} coefficients, more than its {count} values")
    coefficients[: len(found)] = found
    return coefficients, valid


def _gaps(valid: np.ndarray) -> np.ndarray:
    edges = np.flatnonzero(np.diff(np.concatenate([[True], valid])))
    runs = np.diff(np.concatenate([[0], edges, [len(valid)]]))
    width = _width(len(valid))
    return np.concatenate([[GAPS], *(_digits(run, width) for run in runs.tolist())])


def _width(count: int) -> int:
    return -(-count.bit_length() // DIGIT_BITS)


def _digits(number: int, width: int) -> np.ndarray:
    places = range((width - 1) * DIGIT_BITS, -1, -DIGIT_BITS)
    return np.array([FIRST_DIGIT + (number >> place) % (1 << DIGIT_BITS) for place in places])


def _folded(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


class _Reader:
    def __init__(self, symbols: list[int]) -> None:
        self._symbols = symbols
        self._at = 0

    def validity(self, count: int) -> np.ndarray:
        kind = self._next()
        if kind == WHOLE:
            return np.ones(count, bool)
        if kind != GAPS:
            raise WrongInput(f"a chunk begins with symbol {kind}, not with {WHOLE} or {GAPS}")
        runs: list[int] = []
        while sum(runs) < count:
            runs.append(self._number(_width(count)))
        if sum(runs) > count:
            raise WrongInput(f"the runs of a chunk have {sum(runs)} values, {count} are in it")
        return np.repeat(np.arange(len(runs)) % 2 == 0, runs)

    def coefficients(self) -> list[int]:
        found = []
        while self._at < len(self._symbols):
            symbol = self._next()
            if symbol == ESCAPE:
                folded = self._number(ESCAPE_DIGITS)
                found.append(-(folded + 1) // 2 if folded % 2 else folded // 2)
            elif abs(symbol - ZERO) <= LARGEST:
                found.append(symbol - ZERO)
            else:
                raise WrongInput(f"symbol {symbol} stands where a coefficient must be")
        return found

    def _number(self, width: int) -> int:
        number = 0
        for _ in range(width):
            digit = self._next() - FIRST_DIGIT
            if not 0 <= digit < 1 << DIGIT_BITS:
                raise WrongInput(f"symbol {digit + FIRST_DIGIT} stands where a digit must be")
            number = number << DIGIT_BITS | digit
        return number

    def _next(self) -> int:
        if self._at == len(self._symbols):
            raise WrongInput("a chunk ends before it is complete")
        self._at += 1
        return self._symbols[self._at - 1]
