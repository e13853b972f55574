"""Values at one set of times from values at another: the policies, as functions on arrays.

    linear   between the two neighbours; past the last neighbour its value, until it is too old
    slerp    the same along the great circle of a quaternion (Shoemake 1985, "Animating rotation
             with quaternion curves", section 3)
    last     the last value at or before, until it is too old
    nearest  the value whose time is nearest (of two, the earlier), unless it is farther than that
    mean     when the grid is coarser than the values: the average over one step around the grid time

Nothing is invented: where the neighbours are further apart than the maximum age and the last value
is older than it, the answer is NaN. What stands at one time depends only on the values around it, to
the last bit: not on how much else is known of the track.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ingest.timing import index_at_or_before

FOREVER_NS = 2**62
LARGEST = float(np.finfo(np.float32).max)


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
        times_ns: int64 [N], in any order; of equal times the last row that knows a column counts.
        values: float64 [N, D]; NaN where a row lacks the column. What float32 can't hold (infinity, a
            driver's mark for "no limit") is no value either, nor is a quaternion of length 0.
        kinds: `linear`, `last`, `nearest` or `slerp` per column.
        quaternions: x, y, z, w column indices of each quaternion.
        grid_ns: int64 [K], non-decreasing.
        step_ns: distance of the grid times.
        period_ns: median distance of the values; a step of 1.5 periods or more averages.
        max_age_ns: how old a value may be, and still be valid; 0: without limit.

    Returns:
        float32 [K, D], NaN where nothing is known. Quaternions have length 1, and a w that is not
        negative.
    """
    result = np.full((len(grid_ns), values.shape[1]), np.nan)
    order = np.argsort(times_ns, kind="stable")
    times_ns, values = times_ns[order], _representable(values[order])
    age_ns = max_age_ns or FOREVER_NS
    averages = bool(period_ns) and 2 * step_ns >= 3 * period_ns
    for group in quaternions:
        columns = list(group)
        turned = (values[:, columns] != 0).any(axis=1, keepdims=True)
        at_ns, q = _known_rows(times_ns, np.where(turned, values[:, columns], np.nan))
        if len(at_ns):
            result[:, columns] = _quaternion(at_ns, q, grid_ns, step_ns, age_ns, averages)
    in_quaternion = {column for group in quaternions for column in group}
    for columns in _same_gaps(values, [c for c in range(values.shape[1]) if c not in in_quaternion]):
        at_ns, of = _known_rows(times_ns, values[:, columns])
        if not len(at_ns):
            continue
        smooth = np.ones(len(columns), bool)
        for kind, taken in (("last", _last), ("nearest", _nearest)):
            chosen = np.array([kinds[c] == kind for c in columns])
            smooth &= ~chosen
            if chosen.any():
                result[:, np.compress(chosen, columns)] = taken(at_ns, of[:, chosen], grid_ns, age_ns)
        if smooth.any():
            sampled = _linear(at_ns, of[:, smooth], grid_ns, age_ns)
            if averages:
                mean = _mean(at_ns, of[:, smooth], grid_ns, step_ns)
                sampled = np.where(np.isnan(mean), sampled, mean)
            result[:, np.compress(smooth, columns)] = sampled
    return (result + 0.0).astype(np.float32)  # -0.0 depends on what came before; 0.0 does not


def as_float32(values: np.ndarray) -> np.ndarray:
    """Return values as float32; NaN where float32 can't hold them."""
    return _representable(values).astype(np.float32)


def _representable(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def _same_gaps(values: np.ndarray, columns: list[int]) -> list[list[int]]:
    """Group columns that are known in the same rows, so that each group is handled at once."""
    known = np.isfinite(values)
    groups: dict[bytes, list[int]] = {}
    for column in columns:
        groups.setdefault(known[:, column].tobytes(), []).append(column)
    return list(groups.values())


def _known_rows(times_ns: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows in which all of these columns are known, one per time."""
    known = np.isfinite(values).all(axis=1)
    times_ns, values = times_ns[known], values[known]
    last_of_equal = np.append(times_ns[1:] != times_ns[:-1], True)[: len(times_ns)]
    return times_ns[last_of_equal], values[last_of_equal]


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


def _nearest(times_ns: np.ndarray, values: np.ndarray, grid_ns: np.ndarray, age_ns: int) -> np.ndarray:
    before = np.maximum(index_at_or_before(times_ns, grid_ns), 0)
    after = np.minimum(before + 1, len(times_ns) - 1)
    is_after = np.abs(times_ns[after] - grid_ns) < np.abs(grid_ns - times_ns[before])
    nearest = np.where(is_after, after, before)
    known = np.abs(times_ns[nearest] - grid_ns) <= age_ns
    return np.where(known[:, None], values[nearest], np.nan)


def _mean(times_ns: np.ndarray, values: np.ndarray, grid_ns: np.ndarray, step_ns: int) -> np.ndarray:
    """Average the rows in [t - step/2, t + step/2); NaN where there is none.

    Centred, so that averaging does not delay the signal: on a straight line it gives the line.
    """
    low = np.searchsorted(times_ns, grid_ns - step_ns // 2, side="left")
    high = np.searchsorted(times_ns, grid_ns - step_ns // 2 + step_ns, side="left")
    count = (high - low)[:, None]
    # each sum is made of its own rows (a difference of running sums would depend on all before)
    padded = np.append(values, np.zeros((1, values.shape[1])), axis=0)
    total = np.add.reduceat(padded, np.stack([low, high], axis=1).ravel(), axis=0)[::2]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _quaternion(
    times_ns: np.ndarray, q: np.ndarray, grid_ns: np.ndarray, step_ns: int, age_ns: int, averages: bool
) -> np.ndarray:
    """Interpolate unit quaternions; the sign of neighbours is aligned first (q and -q are one turn)."""
    q = q / np.abs(q).max(axis=1, keepdims=True)  # so that no square is too small or too large
    q = q / np.linalg.norm(q, axis=1, keepdims=True)
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
    mixed = np.where(known[:, None], a * weight_a[:, None] + b * weight_b[:, None], np.nan)
    if averages:
        mean = _mean(times_ns, q, grid_ns, step_ns)
        mixed = np.where(np.isnan(mean), mixed, mean)
    length = np.linalg.norm(mixed, axis=1, keepdims=True)
    mixed = np.divide(mixed, length, out=np.full_like(mixed, np.nan), where=length > 1e-9)
    return np.asarray(mixed * _upper_sign(mixed))


def _upper_sign(q: np.ndarray) -> np.ndarray:
    """Return for each quaternion [K, 4] the sign [K, 1] that makes w positive; where w is 0 z, y, x.

    One sign for one turn, whatever came before.
    """
    signs = np.sign(q)
    sign = signs[:, 3]
    for column in (2, 1, 0):
        sign = np.where(sign == 0, signs[:, column], sign)
    return np.asarray(sign)[:, None]
