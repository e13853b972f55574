"""`bins-255`: signals to 255 quantile bins per column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import fsum, inf
from typing import Any

import numpy as np
import torch
from torch import Tensor

from encoders.encoder import check_codes, check_launch
from encoders.samples import evenly_spaced_rows
from encoders.spec import InputSpec, TokenSpec
from encoders.staircase import Staircase
from encoders.tokens import TokenArray

BINS = 255
ROWS_KEPT = 65_536
LAUNCH_ROWS = 4096
NOTHING = (inf, -inf)
"""The span of a column that never had a value: everything lies outside."""


class Bins:
    """255 bins of equal population per column, fitted; 0 where the value is invalid.

    A column with up to 255 different values gets one bin for each, and comes back exactly. Of others, a
    bin comes back as the mean of the fitted values in it. Values beyond the fitted ones fall into the
    first or last bin and are counted. A column that never had a value has one bin that stands for
    nothing: what comes later is counted, and comes back as NaN.
    """

    def __init__(self, device: torch.device, fitted: Mapping[str, Any] | None = None) -> None:
        self.device = device
        self.spec = _spec(dict(fitted or {}))
        self._stairs: Staircase | None = None
        if fitted:
            columns = fitted["columns"]
            self._stairs = Staircase.of(
                [np.array(column["edges"], np.float32) for column in columns],
                [np.array(column["values"], np.float32) for column in columns],
                [(column["low"], column["high"]) if column["values"] else NOTHING for column in columns],
                device,
            )

    def fit(self, samples: Iterable[np.ndarray]) -> Bins:
        """Return the encoder with bins of these samples' columns, float32 [T, D] each."""
        rows = evenly_spaced_rows(samples, ROWS_KEPT)
        return Bins(self.device, {"columns": [fit_column(column) for column in rows.T]})

    def encode(self, batch: Tensor) -> TokenArray:
        """Turn [B, 1, D] into codes [B, 1, D]."""
        check_launch(self, batch)
        assert self._stairs is not None
        steps, outside = self._stairs.steps(batch.flatten(0, 1))
        codes = (steps + 1).to(torch.uint8).reshape(batch.shape)
        return TokenArray(codes, saturated=outside.reshape(len(batch), -1).sum(1))

    def reconstruct(self, tokens: TokenArray) -> Tensor:
        """Turn codes into each bin's mean, NaN where invalid."""
        check_codes(self, tokens)
        assert self._stairs is not None
        steps = tokens.data.flatten(0, 1).to(self.device, torch.int64) - 1
        return self._stairs.stand_ins(steps).reshape(tokens.data.shape)


def _spec(fitted: dict[str, Any]) -> TokenSpec:
    width = len(fitted.get("columns", ()))
    return TokenSpec(
        encoder="bins-255",
        revision=1,
        kind="codes",
        dtype="uint8",
        axes="TD",
        shape=(width,),
        strides=(1, 1),
        steps_per_chunk=1,
        codebook_sizes=(BINS + 1,),
        lowest_code=1,
        exact_across_devices=True,
        needs_fit=True,
        fitted=fitted,
        input=InputSpec("signal", "float32", None, "BTD", width, LAUNCH_ROWS),
    )


def fit_column(values: np.ndarray) -> dict[str, Any]:
    """Return edges, values, lowest and highest of one column, as JSON: every number is a float32.

    Bins are closed from left to right, each taking its fair share of what is left: a value that fills
    more than one share stands alone, and the bins it saves go to the rest.
    """
    values = np.sort(values[np.isfinite(values)].astype(np.float32))
    if not len(values):
        return {"edges": [], "values": [], "low": 0.0, "high": 0.0}
    distinct, counts = np.unique(values, return_counts=True)
    starts = _bin_starts(counts, BINS)
    bounds = [*starts, len(distinct)]
    row_bounds = np.concatenate([[0], np.cumsum(counts)])[bounds]
    means = [
        float(
            np.clip(
                np.float32(fsum(values[start:stop].tolist()) / (stop - start)),
                values[start],
                values[stop - 1],
            )
        )
        for start, stop in pairwise(row_bounds.tolist())
    ]
    edges = [_between(distinct[start - 1], distinct[start]) for start in starts[1:]]
    return {"edges": edges, "values": means, "low": float(values[0]), "high": float(values[-1])}


def _bin_starts(counts: np.ndarray, bins: int) -> list[int]:
    """Return the index of the distinct value with which each bin starts."""
    if len(counts) <= bins:
        return list(range(len(counts)))
    ends = np.cumsum(counts)
    total, starts = int(ends[-1]), [0]
    while len(starts) < bins and starts[-1] < len(counts):
        before = int(ends[starts[-1] - 1]) if starts[-1] else 0
        share = (total - before) / (bins - len(starts) + 1)
        stop = int(np.searchsorted(ends, before + share, side="left")) + 1
        if stop >= len(counts):
            break
        starts.append(stop)
    return starts


def _between(low: np.float32, high: np.float32) -> float:
    """Return a float32 edge half way, above `low` and at most `high`."""
    middle = np.float32((float(low) + float(high)) / 2)
    return float(middle if middle > low else high)
