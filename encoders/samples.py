"""A bounded, evenly spaced choice of rows, for what must be fitted."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from encoders.errors import WrongInput


def evenly_spaced_rows(samples: Iterable[np.ndarray], most: int) -> np.ndarray:
    """Return float32 [R, D], R <= most: every n-th row of all samples, n the smallest power of two that fits.

    Depends on the rows and their order alone, not on how they are cut into samples.

    Raises:
        WrongInput: there are no samples, or they differ in their number of columns.
    """
    kept: list[np.ndarray] = []
    count, seen, stride, width = 0, 0, 1, -1
    for sample in samples:
        rows = np.asarray(sample, np.float32)
        width = rows.shape[1] if rows.ndim == 2 and width < 0 else width
        if rows.ndim != 2 or rows.shape[1] != width:
            raise WrongInput(f"samples must be [T, {width if width >= 0 else 'D'}], got {list(rows.shape)}")
        part = rows[-seen % stride :: stride]
        kept.append(part.copy())
        seen, count = seen + len(rows), count + len(part)
        while count > most:
            kept = [np.concatenate(kept)[::2].copy()]
            stride, count = stride * 2, len(kept[0])
    if width < 0:
        raise WrongInput("there are no samples to fit to: give at least one array [T, D]")
    return np.concatenate(kept)
