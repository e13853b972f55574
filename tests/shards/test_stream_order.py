"""The order of an epoch is a permutation, depends on the seed and the epoch alone, and mixes well."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.streaming.mixing import clumping
from shards.streaming.order import EpochOrder, mix, mix_all, permutation

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any)


@given(st.integers(0, 3000), st.integers(0, 2**70))
def test_a_permutation_has_every_number_once(count: int, seed: int) -> None:
    """Nothing is lost, nothing comes twice, for any seed."""
    assert sorted(permutation(count, seed).tolist()) == list(range(count))


def test_orders_never_change() -> None:
    """The numbers are those of the first release: a run that was stopped goes on after an update."""
    assert permutation(10, 7, 0).tolist() == [8, 5, 3, 2, 9, 7, 6, 0, 1, 4]
    assert EpochOrder([3, 0, 4, 2], 5, 4).all_items(1).tolist() == [0, 8, 1, 7, 3, 4, 2, 5, 6]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_hashing_many_is_hashing_each(values: list[int]) -> None:
    """The vector form agrees with plain integers."""
    assert mix_all(np.array(values, np.uint64)).tolist() == [mix(value) for value in values]


@given(COUNTS, st.integers(0, 99), st.integers(0, 3), st.integers(1, 60))
def test_any_place_is_found_without_those_before(
    counts: list[int], seed: int, epoch: int, window: int
) -> None:
    """Asking for places in any order gives what walking from the start gives: every item once."""
    order = EpochOrder(counts, seed, window)
    walked = order.all_items(epoch)
    assert sorted(walked.tolist()) == list(range(sum(counts)))
    asked = permutation(order.count, seed + 1)
    assert order.items(epoch, asked).tolist() == walked[asked].tolist()


@given(COUNTS, st.integers(0, 3))
def test_without_a_window_everything_keeps_its_place(counts: list[int], epoch: int) -> None:
    """Window 0 is the dataset's own order, in every epoch."""
    assert EpochOrder(counts, 3, 0).all_items(epoch).tolist() == list(range(sum(counts)))


def test_epochs_and_seeds_differ() -> None:
    """Another epoch or seed gives another order."""
    orders = [
        tuple(EpochOrder([50] * 4, seed, 64).all_items(epoch).tolist()) for seed in (0, 1) for epoch in (0, 1)
    ]
    assert len(set(orders)) == 4


def test_items_stay_within_their_window_of_shards() -> None:
    """A block holds items of the shards that lie side by side in it, and no others: reading stays local."""
    order = EpochOrder([100] * 50, 1, 200)
    shards = order.all_items(0).reshape(-1, 200) // 100
    assert all(len(set(block)) <= 3 for block in shards.tolist())


@pytest.mark.parametrize(("lanes", "worst"), [(8, 1.25), (32, 1.1), (128, 1.05)])
def test_lanes_mix_nearly_as_well_as_a_full_permutation(lanes: int, worst: float) -> None:
    """In 20,000 clips of 400 recordings, two of one recording meet in a batch about as often as by chance."""
    from shards.streaming.dealing import lane_position

    order = EpochOrder([1000] * 20, 1, 1024)
    recording = np.arange(20_000) // 50
    dealt = order.items(0, lane_position(np.arange(20_000), 20_000, lanes))
    full = permutation(20_000, 99)
    assert clumping(recording[dealt], lanes) < worst
    assert clumping(recording[full], lanes) == pytest.approx(1, abs=0.15)
    assert clumping(recording, lanes) > 10


def test_clumping_counts_pairs() -> None:
    """Two groups of two, in two batches of two: always together is three times as often as by chance."""
    assert clumping(np.array(["a", "a", "b", "b"]), 2) == pytest.approx(3)
    assert clumping(np.array(["a", "b", "b", "a"]), 2) == 0
