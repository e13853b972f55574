"""`fast-1024`: chunks of a signal to few tokens, by frequencies.

Per column, values are brought to [-1, 1] by their 1st and 99th percentile; a chunk of rows goes through a
DCT along time; coefficients are multiplied by `scale` and rounded, laid out lowest frequencies first, and
pairs that are met often become one token. Everything is whole numbers, so that every machine makes the same.

Source: FAST, arXiv 2501.09747, sections 4 and 5. Ours has an escape for whatever lies out of range, keeps
what is invalid invalid, and raises where tokens can't be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.encoder import check_launch
from encoders.errors import NotFitted, WrongInput, WrongSetting
from encoders.fast_symbols import SYMBOLS, chunk_symbols, read_symbols
from encoders.pair_merging import BORDER, apply_merges, expansions, learn_merges
from encoders.samples import evenly_spaced_rows
from encoders.spec import InputSpec, TokenSpec
from encoders.tokens import TokenArray

VOCABULARY = 1024
ROWS_KEPT = 65_536
SYMBOLS_KEPT = 400_000
LAUNCH_CHUNKS = 16
UNIT_BITS = 16
"""A normalised value of 1 is 2^16."""
BASIS_BITS = 18
LARGEST_UNITS = 1 << 30
"""2^14 times the usual range; what is larger saturates. Sums stay below 2^30 * 2^18 * 1000^0.5 < 2^53."""
MOST_ROWS, MOST_SCALE = 1000, 1000


class Fast:
    """A token stream per chunk of `rows` rows, with offsets: 16-bit codes below 1,024.

    An error in the frequencies is at most half of `1 / scale` of the half-range between the percentiles, so
    in the values a root mean square of about 0.29 / scale of it, however far out of range they lie (up to
    16,384 times; beyond, they saturate and are counted). Invalid values come back as NaN; for the
    transform, what lies between their neighbours stands for them.
    """

    def __init__(
        self,
        device: torch.device,
        rows: int = 50,
        scale: int = 50,
        fitted: Mapping[str, Any] | None = None,
    ) -> None:
        if rows not in range(1, MOST_ROWS + 1) or scale not in range(1, MOST_SCALE + 1):
            raise WrongSetting(
                f"fast-1024 takes rows and a scale from 1 to {MOST_ROWS}, got rows={rows!r}, scale={scale!r}"
            )
        self.device = device
        self._rows, self._scale = rows, scale
        data = dict(fitted or {})
        self._columns = [(float(c["centre"]), float(c["half"])) for c in data.get("columns", ())]
        self._merges = [(int(left), int(right)) for left, right in data.get("merges", ())]
        self._meanings = expansions(self._merges, SYMBOLS)
        self.spec = TokenSpec(
            encoder="fast-1024",
            revision=1,
            kind="codes",
            dtype="uint16",
            axes="N",
            shape=(),
            strides=(0,),
            steps_per_chunk=1,
            codebook_sizes=(VOCABULARY,),
            exact_across_devices=True,
            needs_fit=True,
            settings={"rows": rows, "scale": scale},
            fitted=data,
            input=InputSpec("signal", "float32", None, "BTD", len(self._columns), LAUNCH_CHUNKS, chunk=rows),
        )

    def fit(self, samples: Iterable[np.ndarray]) -> Fast:
        """Return the encoder with percentiles and merges of these samples, float32 [T, D] each."""
        width: list[int] = []
        most = max(1, ROWS_KEPT // self._rows)
        chunks = evenly_spaced_rows(self._chunks(samples, width), most).reshape(-1, self._rows, *width)
        columns = [_percentiles(column) for column in chunks.reshape(-1, *width).T]
        plain = Fast(self.device, self._rows, self._scale, {"columns": columns, "merges": []})
        streams = [np.append(symbols, BORDER) for symbols, _ in map(plain._symbols, chunks)]
        symbols = np.concatenate([np.array([BORDER]), *_spread(streams)])
        merges = learn_merges(symbols, SYMBOLS, VOCABULARY)
        fitted = {"columns": columns, "merges": [list(pair) for pair in merges]}
        return Fast(self.device, self._rows, self._scale, fitted)

    def _chunks(self, samples: Iterable[np.ndarray], width: list[int]) -> Iterator[np.ndarray]:
        for sample in samples:
            rows = np.asarray(sample, np.float32)
            width[:] = width or rows.shape[1:]
            if rows.ndim != 2 or [rows.shape[1]] != width:
                raise WrongInput(f"samples must be [T, {width[0] if width else 'D'}], got {list(rows.shape)}")
            padded = np.pad(rows, ((0, -len(rows) % self._rows), (0, 0)), constant_values=np.nan)
            yield padded.reshape(-1, self._rows * width[0])

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn [B, rows, D] into the tokens of B steps."""
        check_launch(self, batch)
        made = [self._symbols(chunk) for chunk in batch.cpu().numpy()]
        joined = np.concatenate([np.append(symbols, BORDER) for symbols, _ in made])
        tokens = apply_merges(joined, self._merges, SYMBOLS)
        ends = np.flatnonzero(tokens == BORDER)
        offsets = np.concatenate([[0], ends - np.arange(len(ends))]).astype(np.int64)
        data = torch.from_numpy(tokens[tokens != BORDER].astype(np.uint16))
        return TokenArray(data, torch.from_numpy(offsets), torch.tensor([outside for _, outside in made]))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn the tokens of B steps into values [B, rows, D], NaN where invalid."""
        if not self.spec.is_fitted:
            raise NotFitted("fast-1024 must be fitted before it reconstructs: use encoder_for(stored spec)")
        if tokens.offsets is None or tokens.data.ndim != 1:
            raise WrongInput("fast-1024 reconstructs codes [N] with offsets [steps + 1]")
        codes, edges = tokens.data.cpu().numpy().astype(np.int64), tokens.offsets.tolist()
        if len(codes) and (codes.min() < 0 or codes.max() >= len(self._meanings)):
            raise WrongInput(
                f"fast-1024 has codes from 0 to below {len(self._meanings)}, "
                f"got {codes.min()} to {codes.max()}"
            )
        out = np.empty((len(edges) - 1, self._rows, len(self._columns)), np.float32)
        for step, chunk in enumerate(out):
            part = codes[edges[step] : edges[step + 1]]
            symbols = np.concatenate([np.empty(0, np.int64), *(self._meanings[code] for code in part)])
            chunk[:] = self._values(symbols)
        return torch.from_numpy(out).to(self.device)

    def _symbols(self, chunk: np.ndarray) -> tuple[np.ndarray, int]:
        """Return the symbols of float32 [rows, D], and how many of its values saturated."""
        finite = np.isfinite(chunk)
        centres, halves = self._scaling()
        values = _filled(chunk.astype(np.float64), finite, centres)
        units = np.floor((values - centres) / halves * (1 << UNIT_BITS) + 0.5)
        saturated = int(np.isinf(chunk).sum() + (np.abs(units) > LARGEST_UNITS).sum())
        # whole numbers below 2^53 all the way: float64 adds them exactly, in whatever order
        sums = (_whole_basis(self._rows) @ units.clip(-LARGEST_UNITS, LARGEST_UNITS)).astype(np.int64)
        shift = UNIT_BITS + BASIS_BITS
        coefficients = (sums * self._scale + (1 << (shift - 1))) >> shift
        return chunk_symbols(coefficients.reshape(-1), finite.reshape(-1)), saturated

    def _values(self, symbols: np.ndarray) -> np.ndarray:
        shape = (self._rows, len(self._columns))
        coefficients, valid = read_symbols(symbols, self._rows * len(self._columns))
        values = _basis(self._rows).T @ (coefficients.reshape(shape) / self._scale)
        centres, halves = self._scaling()
        made = (values * halves + centres).astype(np.float32)
        return np.where(valid.reshape(shape), made, np.float32(np.nan))

    def _scaling(self) -> tuple[np.ndarray, np.ndarray]:
        """Return centres and halves of the columns, float64 [D] each."""
        both = np.array(self._columns).reshape(-1, 2)
        return both[:, 0], both[:, 1]


def _percentiles(values: np.ndarray) -> dict[str, float]:
    """Return the centre and half of the range from the 1st to the 99th percentile; of a constant, half 1."""
    values = np.sort(values[np.isfinite(values)].astype(np.float64))
    if not len(values):
        return {"centre": 0.0, "half": 1.0}
    low, high = values[len(values) // 100], values[-1 - len(values) // 100]
    centre = (low + high) / 2
    half = (high - low) / 2 or max(high - values[0], values[-1] - low) or 1.0
    return {"centre": float(centre), "half": float(half)}


def _filled(chunk: np.ndarray, finite: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return [T, D] with straight lines over gaps, level at the ends; the centre where there is nothing."""
    if finite.all():
        return chunk
    filled = np.broadcast_to(centres, chunk.shape).copy()
    for place in np.flatnonzero(finite.any(axis=0)):
        there = np.flatnonzero(finite[:, place])
        filled[:, place] = np.interp(np.arange(len(chunk)), there, chunk[there, place])
    return filled


def _spread(streams: list[np.ndarray]) -> list[np.ndarray]:
    """Return evenly spaced streams that have about `SYMBOLS_KEPT` symbols together, at most."""
    total = sum(len(stream) for stream in streams)
    return streams[:: max(1, -(-total // SYMBOLS_KEPT))]


@cache
def _basis(rows: int) -> np.ndarray:
    """Return the orthonormal DCT-II, float64 [frequencies, rows]."""
    n, k = np.arange(rows)[None, :], np.arange(rows)[:, None]
    # Whole numbers of 1/4N turns are reduced first, so that the cosine's argument is small and precise.
    turns = (2 * n + 1) * k % (4 * rows)
    basis: np.ndarray = np.sqrt(2 / rows) * np.cos(turns * (2 * np.pi / (4 * rows)))
    basis[0] = np.sqrt(1 / rows)
    return basis


@cache
def _whole_basis(rows: int) -> np.ndarray:
    """Return it in units of 2^-18: whole numbers, as float64."""
    whole: np.ndarray = np.rint(_basis(rows) * (1 << BASIS_BITS))
    return whole
