"""Values at one set of times from values at another: the policies, as functions on arrays.

    linear   between the two neighbours; past the last neighbour its value, until it is too old
    slerp    the same along the great circle of a quaternion (Shoemake 1985, "Animating rotation
             with quaternion curves", section 3)
    last     the last value at or before, until it is too old
    mean     when the grid is coarser than the values: the average over one step around the grid time

Nothing is invented: where the neighbours are further apart than the maximum age and the last value
is older than it, the answer is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ingest.timing import index_at_or_before

FOREVER_NS = 2**62


def resample(
    times_ns: np.ndarray,
    values: np.ndarray,
    kinds: Sequence[str],
    quaternions: Sequence[tuple[int, int, int, int]],
    grid_ns: np.ndarray,
    step_ns: int,
    period_ns: int,
    max_age_ns: int,
) -> np.ndarray:
    """Put the values of one track onto a grid.

    Args:
        times_ns: int64 [N], in any order; of equal times the last row counts.
        values: float64 [N, D]; NaN where a row lacks the column.
        kinds: `linear`, `last` or `slerp` per column.
        quaternions: x, y, z, w column indices of each quaternion.
        grid_ns: int64 [K], non-decreasing.
        step_ns: distance of the grid times.
        period_ns: median distance of the values; a step of 1.5 periods or more averages.
        max_age_ns: how old a value may be; 0: without limit.

    Returns:
        float32 [K, D], NaN where nothing is known.
    """
    result = np.full((len(grid_ns), values.shape[1]), np.nan)
    if not len(times_ns) or not len(grid_ns):
        return result.astype(np.float32)
    order = np.argsort(times_ns, kind="stable")
    times_ns, values = times_ns[order], values[order]
    age_ns = max_age_ns or FOREVER_NS
    averages = bool(period_ns) and 2 * step_ns >= 3 * period_ns
    in_quaternion = {column for group in quaternions for column in group}
    for group in quaternions:
        columns = list(group)
        known = np.isfinite(values[:, columns]).all(axis=1)
        if known.any():
            result[:, columns] = _quaternion(
                times_ns[known], values[known][:, columns], grid_ns, step_ns, age_ns, averages
            )
    for columns, known in _same_gaps(values, [c for c in range(values.shape[1]) if c not in in_quaternion]):
        at_ns, of = times_ns[known], values[known]
        discrete = [c for c in columns if kinds[c] == "last"]
        smooth = [c for c in columns if kinds[c] != "last"]
        if discrete:
            result[:, discrete] = _last(at_ns, of[:, discrete], grid_ns, age_ns)
        if smooth:
            result[:, smooth] = _linear(at_ns, of[:, smooth], grid_ns, age_ns)
            if averages:
                mean = _mean(at_ns, of[:, smooth], grid_ns, step_ns)
                result[:, smooth] = np.where(np.isnan(mean), result[:, smooth], mean)
    return result.astype(np.float32)


def _same_gaps(values: np.ndarray, columns: list[int]) -> list[tuple[list[int], np.ndarray]]:
    """Group columns that are known in the same rows, so that each group is handled at once."""
    known = np.isfinite(values)
    groups: dict[bytes, list[int]] = {}
    for column in columns:
        groups.setdefault(known[:, column].tobytes(), []).append(column)
    return [(group, known[:, group[0]]) for group in groups.values() if known[:, group[0]].any()]


def _neighbours(
    times_ns: np.ndarray, grid_ns: np.ndarray, age_ns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return indices before and after each grid time, the share of the way, and where it is known."""
    before = index_at_or_before(times_ns, grid_ns)
    has_before = before >= 0
    before = np.maximum(before, 0)
    after = np.minimum(before + 1, len(times_ns) - 1)
    apart = times_ns[after] - times_ns[before]
    since = grid_ns - times_ns[before]
    between = has_before & (after > before) & (apart <= age_ns)
    share = np.where(between, since / np.maximum(apart, 1), 0.0)
    return before, after, share, between | (has_before & (since <= age_ns))


def _linear(times_ns: np.ndarray, values: np.ndarray, grid_ns: np.ndarray, age_ns: int) -> np.ndarray:
    before, after, share, known = _neighbours(times_ns, grid_ns, age_ns)
    mixed = values[before] + (values[after] - values[before]) * share[:, None]
    return np.where(known[:, None], mixed, np.nan)


def _last(times_ns: np.ndarray, values: np.ndarray, grid_ns: np.ndarray, age_ns: int) -> np.ndarray:
    before = index_at_or_before(times_ns, grid_ns)
    known = (before >= 0) & (grid_ns - times_ns[np.maximum(before, 0)] <= age_ns)
    return np.where(known[:, None], values[np.maximum(before, 0)], np.nan)


def _mean(times_ns: np.ndarray, values: np.ndarray, grid_ns: np.ndarray, step_ns: int) -> np.ndarray:
    """Average the rows in [t - step/2, t + step/2); NaN where there is none.

    Centred, so that averaging does not delay the signal: on a straight line it gives the line.
    """
    low = np.searchsorted(times_ns, grid_ns - step_ns // 2, side="left")
    high = np.searchsorted(times_ns, grid_ns - step_ns // 2 + step_ns, side="left")
    count = high - low
    base = values[0]
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values - base, axis=0)])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count[:, None] > 0, base + (total[high] - total[low]) / count[:, None], np.nan)


def _quaternion(
    times_ns: np.ndarray, q: np.ndarray, grid_ns: np.ndarray, step_ns: int, age_ns: int, averages: bool
) -> np.ndarray:
    """Interpolate unit quaternions; the sign of neighbours is aligned first (q and -q are one turn)."""
    norm = np.linalg.norm(q, axis=1, keepdims=True)
    q = np.divide(q, norm, out=np.zeros_like(q), where=norm > 0)
    flips = np.cumprod(np.concatenate([[1.0], np.where((q[1:] * q[:-1]).sum(axis=1) < 0, -1.0, 1.0)]))
    q = q * flips[:, None]
    before, after, share, known = _neighbours(times_ns, grid_ns, age_ns)
    a, b = q[before], q[after]
    dot = np.clip((a * b).sum(axis=1), -1.0, 1.0)
    angle = np.arccos(dot)
    sine = np.sin(angle)
    near = sine < 1e-6
    safe = np.where(near, 1.0, sine)
    weight_a = np.where(near, 1 - share, np.sin((1 - share) * angle) / safe)
    weight_b = np.where(near, share, np.sin(share * angle) / safe)
    mixed = a * weight_a[:, None] + b * weight_b[:, None]
    if averages:
        mean = _mean(times_ns, q, grid_ns, step_ns)
        mixed = np.where(np.isnan(mean), mixed, mean)
    length = np.linalg.norm(mixed, axis=1, keepdims=True)
    mixed = np.divide(mixed, length, out=np.full_like(mixed, np.nan), where=length > 1e-9)
    # one sign for one turn, whatever came before: w is not negative
    mixed = np.where(mixed[:, 3:4] < 0, -mixed, mixed)
    return np.where(known[:, None], mixed, np.nan)
