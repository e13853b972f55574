"""The policies that put values on a grid, against closed forms and a slow loop."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from ingest.sampling.resampling import as_float32, resample

NAN = math.nan
Row = tuple[int, list[float]]
TURN = [(0, 1, 2, 3)]


def on_grid(
    rows: Sequence[Row],
    kinds: Sequence[str],
    grid: Sequence[int],
    *,
    step: int = 1,
    period: int = 0,
    age: int = 0,
    quaternions: Sequence[tuple[int, int, int, int]] = (),
) -> np.ndarray:
    """Resample rows of (time, values); the result is float32 [K, D]."""
    times = np.array([time for time, _ in rows], np.int64)
    values = np.array([values for _, values in rows], np.float64).reshape(len(rows), len(kinds))
    grid_ns = np.array(grid, np.int64)
    result = resample(times, values, kinds, quaternions, grid_ns, step, period, age)
    assert result.dtype == np.float32
    assert result.shape == (len(grid), len(kinds))
    return result


def one_column(
    rows: Sequence[tuple[int, float]],
    kind: str,
    grid: Sequence[int],
    *,
    step: int = 1,
    period: int = 0,
    age: int,
) -> list[float | None]:
    """Resample a single column; NaN is None, so that lists compare."""
    result = on_grid(
        [(time, [value]) for time, value in rows], [kind], grid, step=step, period=period, age=age
    )
    return [None if np.isnan(value) else value for value in result[:, 0].tolist()]


def known_rows(rows: Sequence[Row], column: int) -> list[tuple[int, float]]:
    """Return one column's (time, value), by time; of equal times the last that is known."""
    by_time = {time: values[column] for time, values in rows if math.isfinite(values[column])}
    return sorted(by_time.items())


def twin(rows: Sequence[Row], kind: str, column: int, at: int, step: int, period: int, age: int) -> float:
    """The slow twin: one value at one time."""
    known = known_rows(rows, column)
    begin = at - step // 2
    near = [value for time, value in known if begin <= time < begin + step]
    if kind == "linear" and period and step >= 1.5 * period and near:
        return sum(near) / len(near)
    earlier = [row for row in known if row[0] <= at]
    later = [row for row in known if row[0] > at]
    if not earlier:
        return NAN
    time, value = earlier[-1]
    if kind == "linear" and later and (not age or later[0][0] - time <= age):
        return value + (later[0][1] - value) * (at - time) / (later[0][0] - time)
    return value if not age or at - time <= age else NAN


values = st.sampled_from([NAN, NAN, 0.0, 1.0, -2.5, 8.0])
row_lists = st.lists(st.tuples(st.integers(0, 60), st.lists(values, min_size=2, max_size=2)), max_size=12)


@given(
    row_lists,
    st.tuples(st.sampled_from(["linear", "last"]), st.sampled_from(["linear", "last"])),
    st.sampled_from([1, 4, 7]),
    st.sampled_from([0, 1, 3, 5]),
    st.sampled_from([0, 3, 20]),
)
@example([(3, [1.0, NAN]), (3, [NAN, 2.0]), (1, [8.0, 8.0])], ("linear", "linear"), 1, 0, 0)
def test_every_value_is_what_a_slow_loop_finds(
    rows: list[Row], kinds: tuple[str, str], step: int, period: int, age: int
) -> None:
    """Unordered rows, equal times, missing values, gaps, any maximum age, averaging or not."""
    grid = range(-5, 70, step)
    expected = [
        [twin(rows, kind, column, at, step, period, age) for column, kind in enumerate(kinds)] for at in grid
    ]
    found = on_grid(rows, kinds, grid, step=step, period=period, age=age)
    np.testing.assert_allclose(found, np.array(expected, np.float32), rtol=1e-6, atol=1e-6)


@given(row_lists, st.integers(0, 60), st.sampled_from([1, 7]), st.sampled_from([3, 20]))
def test_a_value_depends_only_on_the_rows_around_it(rows: list[Row], at: int, step: int, age: int) -> None:
    """Rows further away than the maximum age and a step change not a single bit."""
    columns = [*range(2), *range(2)]
    rows = [(time, [of[column] / 3 for column in columns]) for time, of in rows]
    near = [row for row in rows if abs(row[0] - at) <= age + step]
    for quaternions in ([], TURN):
        whole, part = (
            on_grid(some, ["slerp"] * 4, [at], step=step, period=4, age=age, quaternions=quaternions)
            for some in (rows, near)
        )
        assert whole.tobytes() == part.tobytes()


def test_a_straight_line_stays_straight() -> None:
    """Interpolated on finer grids; averaged on coarser ones, half a period early: a step's end is out."""
    rows = [(time, 0.5 * time) for time in range(0, 1001, 10)]
    for step, early in ((3, 0), (10, 0), (20, 5), (40, 5), (200, 5)):
        grid = range(100, 900, step)
        found = one_column(rows, "linear", grid, step=step, period=10, age=30)
        assert found == pytest.approx([0.5 * (time - early) for time in grid], rel=1e-6)


def test_a_grid_of_one_and_a_half_periods_averages() -> None:
    """At the border of 1.5 the average is taken, just below it is not."""
    rows = [(0, 0.0), (10, 0.0), (20, 6.0), (30, 0.0)]
    assert one_column(rows, "linear", [20], step=15, period=10, age=30) == [6.0]
    assert one_column(rows, "linear", [18], step=15, period=10, age=30) == [6.0]  # 18 - 7 to 18 + 8
    assert one_column(rows, "linear", [18], step=14, period=10, age=30) == [pytest.approx(4.8)]


def test_the_window_of_an_average_is_half_open() -> None:
    """Half a step before is in, half a step after is out."""
    rows = [(10, 1.0), (20, 3.0), (30, 100.0)]
    assert one_column(rows, "linear", [20], step=20, period=10, age=30) == [2.0]


def test_linear_is_between_its_neighbours() -> None:
    """And on them; after the last one its value stays until it is too old."""
    rows = [(0, 0.0), (10, 5.0)]
    assert one_column(rows, "linear", [-1, 0, 4, 10, 15, 16], age=10) == [None, 0.0, 2.0, 5.0, 5.0, 5.0]
    assert one_column(rows, "linear", [20, 21], age=10) == [5.0, None]


def test_nothing_is_interpolated_across_a_gap() -> None:
    """In a gap the value before stays until it is too old; a gap of exactly the maximum age is none."""
    assert one_column([(0, 0.0), (11, 11.0)], "linear", [5, 10, 11], age=10) == [0.0, 0.0, 11.0]
    assert one_column([(0, 0.0), (12, 12.0)], "linear", [5, 10, 11, 12], age=10) == [0.0, 0.0, None, 12.0]
    assert one_column([(0, 0.0), (10, 10.0)], "linear", [5, 10], age=10) == [5.0, 10.0]


def test_last_never_looks_ahead() -> None:
    """A discrete value changes when its message comes, and is valid for exactly its maximum age."""
    rows = [(0, 1.0), (10, 2.0)]
    assert one_column(rows, "last", [-1, 0, 9, 10, 15, 16], age=5) == [None, 1.0, None, 2.0, 2.0, None]
    assert one_column(rows, "last", [9, 10, 2**61], age=0) == [1.0, 2.0, 2.0]


def test_discrete_values_are_not_averaged() -> None:
    """Half a mode is no mode."""
    rows = [(time, time % 20 / 10) for time in range(0, 100, 10)]
    assert one_column(rows, "last", [20, 50], step=50, period=10, age=30) == [0.0, 1.0]


def test_equal_times_count_once() -> None:
    """The last row that knows the column, also in an average."""
    rows = [(0, [1.0, 7.0]), (0, [3.0, NAN]), (1, [5.0, 9.0])]
    assert on_grid(rows, ["linear", "last"], [0]).tolist() == [[3.0, 7.0]]
    assert on_grid(rows, ["linear", "linear"], [0], step=4, period=1, age=3).tolist() == [[4.0, 8.0]]


def test_numbers_that_float32_cannot_hold_are_no_values() -> None:
    """Infinity, and the largest double, which drivers send for 'no limit'."""
    rows = [(0, 1.0), (10, 1.797e308), (20, math.inf), (30, -1e39), (40, 5.0)]
    assert one_column(rows, "linear", [10, 40], age=40) == [2.0, 5.0]
    assert one_column(rows, "last", [10, 39, 40], age=0) == [1.0, 1.0, 5.0]
    found = as_float32(np.array([1e39, -1e39, math.inf, NAN, 3e38]))
    assert np.isnan(found[:4]).all()
    assert found[4] == np.float32(3e38)


def test_nothing_comes_of_nothing() -> None:
    """Without rows everything is NaN; without a grid there is nothing."""
    assert np.isnan(on_grid([], ["linear", "last"], [0, 1])).all()
    quaternions = [(0, 1, 2, 3)]
    assert np.isnan(on_grid([], ["slerp"] * 4, [0], quaternions=quaternions)).all()
    rows = [(0, [0.0, 0.0, 0.0, 1.0])]
    assert on_grid(rows, ["slerp"] * 4, [], step=9, period=1, age=3, quaternions=quaternions).shape == (0, 4)
    assert on_grid(rows, ["linear"] * 4, [], step=9, period=1, age=3).shape == (0, 4)


# quaternions: x, y, z, w

Quaternion = tuple[float, float, float, float]


def around_z(degrees: float) -> Quaternion:
    half = math.radians(degrees) / 2
    return 0.0, 0.0, math.sin(half), math.cos(half)


def turns(
    rows: Sequence[tuple[int, Sequence[float]]],
    grid: Sequence[int],
    *,
    step: int = 1,
    period: int = 0,
    age: int = 0,
) -> np.ndarray:
    of = [(time, list(q)) for time, q in rows]
    return on_grid(of, ["slerp"] * 4, grid, step=step, period=period, age=age, quaternions=TURN)


def product(a: Sequence[float], b: Sequence[float]) -> Quaternion:
    ax, ay, az, aw = a
    bx, by, bz, bw = b
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def power(q: Quaternion, share: float) -> Quaternion:
    """Return a part of a turn: the same axis, a share of its angle."""
    length = math.hypot(*q[:3])
    if length < 1e-12:
        return 0.0, 0.0, 0.0, 1.0
    half = math.atan2(length, q[3]) * share
    x, y, z = (math.sin(half) * value / length for value in q[:3])
    return x, y, z, math.cos(half)


def test_a_steady_turn_stays_steady() -> None:
    """At 45 degrees a second every grid time shows its own angle, exactly on the circle."""
    rows = [(10 * k, around_z(4.5 * k)) for k in range(30)]
    grid = list(range(0, 290, 3))
    expected = [around_z(0.45 * time) for time in grid]
    assert turns(rows, grid, step=3, period=10, age=30) == pytest.approx(np.array(expected), abs=1e-6)


def test_a_steady_turn_averages_to_its_middle() -> None:
    """Five turns evenly around a grid time average to the one in the middle."""
    rows = [(10 * k, around_z(20.0 * k)) for k in range(11)]
    found = turns(rows, [50], step=50, period=10, age=30)
    assert found == pytest.approx(np.array([around_z(100)]), abs=1e-6)


def test_the_sign_of_a_quaternion_does_not_matter() -> None:
    """A quaternion and its negative are one turn; of the two ways between two turns the short one counts."""
    rows = [(0, around_z(10)), (10, tuple(-v for v in around_z(30))), (20, around_z(50))]
    for how in ({"step": 1}, {"step": 30, "period": 10}):
        found = turns(rows, [10], age=30, **how)
        assert found == pytest.approx(np.array([around_z(30)]), abs=1e-6)
    assert turns(rows, [5], age=30) == pytest.approx(np.array([around_z(20)]), abs=1e-6)


def test_half_a_turn_has_one_sign() -> None:
    """Where w is 0, z is positive; where it is 0 too, y; then x: whatever the messages say."""
    for axis in ((0.0, 0.0, 1.0, 0.0), (0.0, 1.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (-0.6, 0.8, 0.0, 0.0)):
        for sign in (1, -1):
            found = turns([(0, [sign * value for value in axis])], [0])
            assert found == pytest.approx(np.array([axis]), abs=1e-7)


def test_quaternions_need_not_be_of_length_one() -> None:
    """Neither tiny nor huge ones; of length 0 they say nothing."""
    rows = [(0, [1e-160 * v for v in around_z(0)]), (10, [0.0] * 4), (20, [1e37 * v for v in around_z(40)])]
    assert turns(rows, [10], age=30) == pytest.approx(np.array([around_z(20)]), abs=1e-6)
    assert np.isnan(turns([(0, [0.0] * 4)], [0])).all()


def test_a_quaternion_is_known_as_a_whole_or_not_at_all() -> None:
    """One missing component makes all four unknown; the maximum age holds for them as for all."""
    rows = [(0, around_z(0)), (10, (0.0, NAN, 0.0, 1.0)), (40, around_z(40))]
    assert turns(rows, [10], age=40) == pytest.approx(np.array([around_z(10)]), abs=1e-6)
    assert np.isnan(turns(rows, [31, 39], age=30)).all()
    assert not np.isnan(turns(rows, [30], age=30)).any()


components = st.floats(-1, 1, width=32)
quaternions = st.tuples(components, components, components, components)


@given(quaternions, quaternions, st.integers(0, 10))
def test_slerp_is_a_part_of_the_turn_between(a: Quaternion, b: Quaternion, at: int) -> None:
    """The twin: a times the share of (a inverted, times b), by quaternion algebra."""
    assume(math.hypot(*a) > 0.1)
    assume(math.hypot(*b) > 0.1)
    a = tuple(value / math.hypot(*a) for value in a)  # type: ignore[assignment]
    b = tuple(value / math.hypot(*b) for value in b)  # type: ignore[assignment]
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    assume(abs(dot) > 1e-3)  # half a turn apart, both ways are as short
    b = tuple(value if dot > 0 else -value for value in b)  # type: ignore[assignment]
    expected = product(a, power(product((-a[0], -a[1], -a[2], a[3]), b), at / 10))
    found = turns([(0, a), (10, b)], [at])[0].tolist()
    assert math.hypot(*found) == pytest.approx(1, abs=1e-6)
    assert found[3] >= 0
    sign = 1 if sum(x * y for x, y in zip(found, expected, strict=True)) > 0 else -1
    assert found == pytest.approx([sign * value for value in expected], abs=1e-5)
